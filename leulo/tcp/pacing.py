"""Sending at a rate instead of in bursts, for connections that are paced.

A paced connection may send a quantum of some thousandth of a second, then nothing until what it
sent would have left at its rate. `output` asks before it sends, and tells afterwards. A connection
that is not paced has no `Pacer` and pays for none.
"""

from __future__ import annotations

from typing import Final

from leulo.tcp import rack, recovery
from leulo.tcp.pacer import Pacer, quantum, rate
from leulo.tcp.tcb import NO_GROWTH_LIMIT, RECOVERY_CWR, Tcb
from leulo.units import NS_PER_MS, NS_PER_S

_UNPACED_SEGMENTS: Final = 10  # the first ones of a connection, as on Linux
# A timer that comes too late by less costs no rate: a process does not wake to the microsecond, and
# what it sends too slowly a model takes for the path's rate.
_LATE_NS: Final = NS_PER_MS
_LATE_SHIFT: Final = 2  # or a quarter of the round trip


def opens(tcb: Tcb, pacer: Pacer, now_ns: int) -> bool:
    """May something leave now? Then the window is narrowed to the quantum, until `closes`."""
    if now_ns < pacer.next_ns and (pacer.model_rate or rate(tcb, pacer)):
        pacer.at = pacer.next_ns
        arm(pacer)
        return False
    if not pacer.at and not pacer.has_expired:
        pacer.next_ns = max(pacer.next_ns, now_ns - _LATE_NS)  # it was not the rate that waited
    pacer.at = 0
    pacer.has_expired = False
    if tcb.snd_una == tcb.snd_max:
        recovery.restart(tcb, now_ns)
        tcb.congestion.on_sending(tcb, now_ns)
    pacer.nxt = tcb.snd_nxt
    pacer.again = tcb.retransmitted_bytes
    pacer.cwnd = pacer.lent = tcb.cwnd
    pacer.bytes_s = bytes_s = rate(tcb, pacer)
    if bytes_s and tcb.snd_max - tcb.iss > _UNPACED_SEGMENTS * tcb.mss:
        is_repairing = 0 < tcb.recovery < RECOVERY_CWR and rack.is_used(tcb)
        under_way = tcb.pipe() if is_repairing else recovery.in_flight(tcb)
        tcb.cwnd = pacer.lent = min(tcb.cwnd, under_way + quantum(tcb, bytes_s))
    return True


def closes(tcb: Tcb, pacer: Pacer, now_ns: int) -> None:
    """What could leave has left: when may more?"""
    if tcb.cwnd == pacer.lent:
        tcb.cwnd = pacer.cwnd
    sent = tcb.snd_nxt - pacer.nxt
    if sent < 0:
        sent = 0
    if sent == 0 or rack.is_used(tcb):
        sent += tcb.retransmitted_bytes - pacer.again
    is_model = tcb.congestion.is_model
    if not sent and tcb.snd_nxt == tcb.snd_top:
        return
    flight = tcb.snd_nxt - tcb.snd_una
    is_full = is_model or flight + tcb.mss > tcb.cwnd
    tcb.is_cwnd_limited = is_full or (tcb.cwnd < tcb.ssthresh and flight << 1 > tcb.cwnd)
    tcb.growth_limit = NO_GROWTH_LIMIT if is_full else flight << 1
    if not sent:
        return
    if is_model:
        tcb.congestion.on_sent(tcb, pacer.nxt, now_ns)
    bytes_s = pacer.bytes_s
    if not bytes_s or tcb.snd_max - tcb.iss <= _UNPACED_SEGMENTS * tcb.mss:
        return
    late_ns = max(_LATE_NS, tcb.srtt_ns >> _LATE_SHIFT)
    pacer.next_ns = max(pacer.next_ns, now_ns - late_ns) + sent * NS_PER_S // bytes_s
    if tcb.snd_nxt < tcb.snd_top or (tcb.flight is not None and tcb.flight.lost_bytes):
        if pacer.next_ns <= now_ns:
            tcb.engine.want_output(tcb)
        else:
            pacer.at = pacer.next_ns
            arm(pacer)


def expire(pacer: Pacer, now_ns: int) -> None:
    """The pacer's entry of the heap came up."""
    if pacer.at > now_ns:
        arm(pacer)
    elif pacer.at:
        pacer.at = 0
        pacer.has_expired = True
        pacer.tcb.engine.want_output(pacer.tcb)


def arm(pacer: Pacer) -> None:
    """See that it comes up at its deadline."""
    if pacer.at:
        pacer.tcb.engine.timers.arm(pacer, pacer.at)
