"""What the user's reading does to the receive window.

It opens as the buffer empties, and grows while the user reads as fast as it fills.
[RFC 9293 3.8.6.2.2]
"""

from __future__ import annotations

from typing import Final

from leulo.tcp.counted_buffer import CountedBuffer
from leulo.tcp.recv_buffer import DeafBuffer, RecvBuffer
from leulo.tcp.state import CLOSED
from leulo.tcp.tcb import ACK_NOW, NO_FIN, Tcb

_ROUND_NS: Final = 1_000_000  # shortest time over which reading is measured
_FIRST_SEGMENTS: Final = 20  # twice an initial window, while nothing has been measured


def after_reading(tcb: Tcb, buffer: RecvBuffer) -> None:
    """Tell the peer of the new room when that is worth a segment; let the buffer grow when
    the user reads as fast as it fills. [RFC 9293 3.8.6.2.2]"""
    if tcb.state is CLOSED or tcb.fin_at != NO_FIN:
        return
    limit = tcb.rcv_limit
    offered = tcb.rcv_adv - tcb.rcv_nxt
    gain = limit - buffer.length - offered
    if (
        # A small buffer never holds two segments.
        (gain >= tcb.rcv_mss << 1 or (gain << 1 >= limit and not isinstance(buffer, CountedBuffer)))
        and (gain >= limit >> 2 or offered <= limit >> 3)
        and not (isinstance(buffer, CountedBuffer) and not buffer.is_news())
    ):
        tcb.ack_due = ACK_NOW
        tcb.engine.want_output(tcb)
    now_ns = tcb.engine.now_ns
    elapsed_ns = now_ns - tcb.rcv_round_at
    if elapsed_ns >= _ROUND_NS and elapsed_ns >= tcb.srtt_ns:
        _tune(tcb, buffer.taken, now_ns)


def stop_reading(tcb: Tcb) -> None:
    """The user has shut the reading side: what comes may still be read, or is thrown away."""
    tcb.is_deaf = True
    if tcb.engine.config.discards_after_shutdown:
        tcb.drop_received()
        tcb.receive_buffer = DeafBuffer(tcb.engine.account)


def _tune(tcb: Tcb, taken: int, now_ns: int) -> None:
    """Dynamic right-sizing: room for twice what was read in a round trip, and while that
    grows for what it will have become when the new window has reached the sender."""
    got = taken - tcb.rcv_round_taken
    got = got * max(tcb.srtt_ns, _ROUND_NS) // (now_ns - tcb.rcv_round_at)
    wanted = 2 * got + 16 * tcb.rcv_mss
    before = tcb.rcv_round_bytes
    if got > before > 0:
        wanted += 2 * wanted * min(got - before, before) // before
    tcb.rcv_round_bytes = got
    tcb.rcv_round_at = now_ns
    tcb.rcv_round_taken = taken
    if isinstance(tcb.receive_buffer, CountedBuffer):
        tcb.receive_buffer.widen(wanted)
        return
    account = tcb.engine.account
    asked = tcb.settings.rcv_bytes
    if asked > tcb.rcv_limit:
        tcb.rcv_limit = min(asked, tcb.settings.window_clamp or asked)  # it was rounded
    is_free = tcb.engine.config.tunes_rcvbuf and not tcb.settings.rcv_bytes
    if wanted > tcb.rcv_limit and is_free and account.used <= account.pressure:
        # Slow start doubles, and a new window is a round trip late.
        most = tcb.settings.window_clamp or tcb.engine.config.rcv_max
        tcb.rcv_limit = min(wanted, 4 * tcb.rcv_limit, most)


def make_room_behind(tcb: Tcb, end: int) -> None:
    """Data up to ``end`` has come ahead of a gap. The user cannot read it before the gap is
    filled: the buffer has room for it besides what is read in two round trips. [RFC 9293 3.8.6]"""
    account = tcb.engine.account
    config = tcb.engine.config
    if tcb.socket is None or tcb.settings.rcv_bytes or account.used > account.pressure:
        return
    if not config.tunes_rcvbuf:
        return
    buffer = tcb.receive_buffer
    counted = buffer if isinstance(buffer, CountedBuffer) else None
    mss = tcb.mss if counted is None else counted.segment_most
    wanted = max(2 * tcb.rcv_round_bytes, _FIRST_SEGMENTS * mss) + end - tcb.rcv_nxt
    if counted is not None:
        counted.widen(wanted)
    elif wanted > tcb.rcv_limit:
        most = tcb.settings.window_clamp or config.rcv_max
        tcb.rcv_limit = max(min(wanted, most), tcb.rcv_limit)
