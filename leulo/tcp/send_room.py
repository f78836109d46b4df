"""How much more of the user's data a connection takes: what SO_SNDBUF means.

Linux counts memory, twice the bytes asked for, of which each piece of a super-segment takes some
for itself; a piece that is begun is filled, so a little more is taken than the limit says. A stack
whose buffers are not doubled (`Config.is_buffer_doubled` off) takes exactly the limit.
"""

from __future__ import annotations

from typing import Final

from leulo.tcp.tcb import MORE_NONE, MORE_RECORDS, Tcb

_PIECE_COST_BYTES: Final = 1_024  # what a piece takes beside its payload
_MOST_PIECE_BYTES: Final = 65_215  # payload of the largest super-segment
_LEAST_WINDOW: Final = 536  # below this, pieces are as long as the window is wide
_HEADERS_BYTES: Final = 640  # room kept before and behind the payload of one segment
_RECORD_BYTES: Final = 256  # of one segment
_LEAST_SEGMENTS: Final = 10


def room(tcb: Tcb) -> int:
    """Bytes that one write may put into the stream now; 0 or less if it is full."""
    limit = tcb.snd_limit
    held = tcb.snd_end - tcb.snd_una
    if not tcb.engine.config.is_buffer_doubled:
        return limit - held
    piece = _piece(tcb)
    end = 2 * limit
    unsent = tcb.snd_end - tcb.snd_nxt
    window = tcb.cwnd if tcb.cwnd < tcb.snd_wnd else tcb.snd_wnd
    leaving = max(0, window - tcb.snd_nxt + tcb.snd_una)
    leaving -= leaving % max(tcb.mss, 1)
    if unsent > leaving:
        # There is a piece at the end: it can be filled up, if it was begun by this rule.
        whole = (tcb.piece_end - tcb.snd_end) % piece
        if _cost(max(0, held + whole - piece), piece) >= end:
            whole = 0
    elif unsent:
        whole = leaving - unsent
    elif piece > max(tcb.cwnd >> 1, tcb.mss):
        # A piece leaves in parts, each at most half a congestion window, and is filled up again.
        whole = leaving + piece if _begun(held, end, piece) else 0
    else:
        # Pieces that can leave as a whole do; one that cannot is cut, and filled up again.
        leaves, rest = divmod(leaving, piece)
        whole = min(leaves, _begun(held, end, piece)) * piece
        if rest and _cost(held + whole, piece) < end:
            whole += rest + piece
    more = _begun(held + whole, end, piece)
    lowat = tcb.settings.notsent_lowat
    if lowat:
        # Each piece is begun only while less than this is unsent.
        more = min(more, max(0, -(-(lowat - unsent - whole + leaving) // piece)))
    whole += more * piece
    tcb.piece_end = tcb.snd_end + whole
    return whole


def is_roomy(tcb: Tcb) -> bool:
    """Is a third of the room free, so that it is worth waking who waits for it?"""
    limit = tcb.snd_limit
    held = tcb.snd_end - tcb.snd_una
    if not tcb.engine.config.is_buffer_doubled:
        return (limit - held) * 3 >= limit
    if not held:
        return True
    cost = held + _PIECE_COST_BYTES if held <= tcb.mss else _cost(held, _piece(tcb))
    return cost * 3 <= limit * 4


def is_lowat_reached(tcb: Tcb, times: int = 1) -> bool:
    """Does TCP_NOTSENT_LOWAT keep the user from writing? Who waits is woken at the half."""
    lowat = tcb.settings.notsent_lowat
    return (tcb.snd_end - tcb.snd_nxt) * times >= lowat > 0


def end_record(tcb: Tcb, is_end: bool) -> None:
    """A write goes behind the end of a record, or ``is_end`` of one itself."""
    if is_end:
        tcb.record_ends = [*(tcb.record_ends or ()), tcb.snd_end]
    if tcb.more == MORE_NONE:
        tcb.more = MORE_RECORDS


def for_window(tcb: Tcb) -> int:
    """The limit that lets a whole congestion window be in flight and another wait behind it."""
    if not tcb.engine.config.is_buffer_doubled:
        return tcb.cwnd << 1
    segment = 1 << (tcb.mss + _HEADERS_BYTES - 1).bit_length()
    return max(tcb.cwnd // tcb.mss, _LEAST_SEGMENTS) * (segment + _RECORD_BYTES)


def _piece(tcb: Tcb) -> int:
    """Bytes of payload in one piece."""
    window = tcb.snd_max_wnd
    most = window >> 1 if window > _LEAST_WINDOW else window
    mss = max(tcb.mss, 1)
    return max(min(most, _MOST_PIECE_BYTES) // mss, 1) * mss


def _cost(length: int, piece: int) -> int:
    """Memory that so many bytes of payload take."""
    return length + _PIECE_COST_BYTES * -(-length // piece)


def _begun(held: int, end: int, piece: int) -> int:
    """How many pieces more are begun before memory is used up to ``end``."""
    return max(0, -((_cost(held, piece) - end) // (piece + _PIECE_COST_BYTES)))
