"""A device that takes no packets: its queue has no room, and who sends is told so at once.

Nothing counts as sent then, so nothing is lost. What is not outstanding yet is tried again by the
persist timer, which does not back off: senders share the device; no more does the retransmission
timer, once it has run out. `Engine.stall` begins and ends it. [Linux tc(8)]
[Linux tcp(7) TCP_USER_TIMEOUT]
"""

from __future__ import annotations

from typing import Final

from leulo.tcp.errno import ETIMEDOUT
from leulo.tcp.state import SYN_RCVD, SYN_SENT
from leulo.tcp.tcb import ACK_NONE, PROBE_NONE, Tcb
from leulo.units import NS_PER_MS

INTERVAL_NS: Final = 500 * NS_PER_MS


def hold(tcb: Tcb, now_ns: int) -> None:
    """Instead of sending what ``tcb`` has to send: an ACK is gone, data is tried again."""
    tcb.is_pending = False
    tcb.ack_due = ACK_NONE
    tcb.delack_at = 0
    tcb.probe_due = PROBE_NONE
    if tcb.state is SYN_SENT or tcb.state is SYN_RCVD:
        _try_at(tcb, now_ns + tcb.rto_ns)
    elif tcb.snd_una == tcb.snd_max and tcb.snd_nxt < tcb.snd_top:
        _try_at(tcb, now_ns + (INTERVAL_NS if tcb.first_timeout_at else tcb.rto_ns))
        tcb.is_persisting = True


def try_again(tcb: Tcb, now_ns: int) -> None:
    """The persist timer has run out."""
    engine = tcb.engine
    limit_ns = tcb.settings.user_timeout_ns
    if not tcb.first_timeout_at:
        tcb.first_timeout_at = now_ns
    is_over = limit_ns > 0 and now_ns - tcb.first_timeout_at >= limit_ns
    if is_over or tcb.keep_probes >= engine.config.retries:
        engine.fail(tcb, tcb.soft_error or ETIMEDOUT)
        return
    tcb.keep_probes += 1
    engine.want_output(tcb)


def _try_at(tcb: Tcb, at_ns: int) -> None:
    if not tcb.rto_at:
        limit_ns = tcb.settings.user_timeout_ns
        if limit_ns and tcb.first_timeout_at:
            at_ns = min(at_ns, tcb.first_timeout_at + limit_ns)
        tcb.rto_at = at_ns
        tcb.engine.timers.arm(tcb, at_ns)
