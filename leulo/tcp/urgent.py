"""Urgent data: a mark in the stream, and one byte that can be read past it.

The sender's pointer stands behind the last urgent byte. The receiver keeps the newest mark; reading
stops at it, and unless the user wants it in line the byte there is read by MSG_OOB alone. All of it
as BSD and Linux do it; new applications should use something else. `Urgent` exists only while there
is such a mark on either side. [RFC 9293 3.8.5] [RFC 6093 3, 4]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.errno import EAGAIN, EINVAL, ENOTCONN, POLL_IN, POLL_PRI
from leulo.tcp.state import CLOSED

if TYPE_CHECKING:
    from leulo.tcp.socket import TcpSocket
    from leulo.tcp.socket_state import SocketState
    from leulo.tcp.tcb import Tcb

NO_MARK: Final = -1
# Values of `Urgent.byte` beside the byte's own
NOT_HERE: Final = -1
READ: Final = -2

_MOST: Final = 0xFFFF  # how far the pointer reaches

_FIELDS: Final = ("byte", "rcv_mark", "snd_up")


class Urgent:
    """Both directions of one connection. Numbers are unwrapped."""

    __slots__ = ("byte", "rcv_mark", "snd_up")

    def __init__(self) -> None:
        self.snd_up: int = NO_MARK  # behind the last urgent byte we send
        self.rcv_mark: int = NO_MARK  # the last urgent byte of the peer's
        self.byte: int = NOT_HERE  # what stands there, until it is read

    def save(self) -> Saved:
        return save_fields(self, 1, _FIELDS)

    @classmethod
    def loaded(cls, state: Saved) -> Urgent:
        """What was saved as ``state``."""
        urgent = cls()
        load_fields(urgent, 1, _FIELDS, state)
        return urgent


def sends(tcb: Tcb) -> bool:
    """The last byte the user has given is urgent: say so from now on, and at once, which is to be
    seen to if True, when the window is closed. [RFC 9293 3.8.5, 3.10.2]"""
    urgent = tcb.urgent
    if urgent is None:
        urgent = tcb.urgent = Urgent()
        tcb.is_ordinary = False
        tcb.is_odd = True
    urgent.snd_up = tcb.snd_end
    tcb.is_pushing = True
    return not tcb.snd_wnd


def pointer(tcb: Tcb, urgent: Urgent, seq: int) -> int:
    """What stands in the urgent pointer of a segment from ``seq``, 0: it is not urgent.
    [RFC 6093 4]"""
    if tcb.snd_una >= urgent.snd_up:
        urgent.snd_up = NO_MARK
        settle(tcb, urgent)
        return 0
    if seq >= urgent.snd_up:
        return 0
    return min(urgent.snd_up - seq, _MOST)


def pointer_arrives(tcb: Tcb, seq: int, up: int) -> None:
    """A segment from ``seq`` has the URG flag, and ``up`` as its pointer: the user is told when
    the mark moves on. [RFC 9293 3.10.7.4 sixth] [RFC 6093 3.1]"""
    mark = seq + max(up - 1, 0)
    if tcb.engine.config.has_old_urgent_pointer:
        mark = seq + up
    # Nothing behind what was read, nor a copy of a pointer whose byte has been here already.
    if mark < read_seq(tcb) or mark < tcb.rcv_nxt - _has_fin(tcb):
        return
    urgent = tcb.urgent
    if urgent is None:
        urgent = tcb.urgent = Urgent()
        tcb.is_ordinary = False
        tcb.is_odd = True
    if urgent.rcv_mark >= mark:
        return
    if is_at_mark(tcb) and not tcb.settings.is_urgent_inline and tcb.receive_buffer is not None:
        tcb.receive_buffer.read(1)  # the byte of the mark that is given up stays out of band
    urgent.rcv_mark = mark
    urgent.byte = NOT_HERE


def text_arrives(tcb: Tcb, urgent: Urgent, frame: bytes, start: int, seq: int, length: int) -> None:
    """``length`` bytes from ``seq`` stand at ``start`` of the frame: is the urgent one there?"""
    offset = urgent.rcv_mark - seq
    # Deviation: the user is told when the byte is here, not when its pointer is, as Linux's poll()
    # does: there is nothing to be read before. [RFC 9293 3.8.5 (MUST-32)]
    if urgent.byte == NOT_HERE and urgent.rcv_mark != NO_MARK and 0 <= offset < length:
        urgent.byte = frame[start + offset]
        if tcb.socket is not None:
            tcb.engine.notify(tcb.socket)


def has_byte(urgent: Urgent) -> bool:
    """Is there an urgent byte to be read?"""
    return urgent.byte >= 0


def is_at_mark(tcb: Tcb) -> bool:
    """Has the user read up to the mark? [POSIX sockatmark]"""
    urgent = tcb.urgent
    return urgent is not None and urgent.rcv_mark == read_seq(tcb) and urgent.rcv_mark != NO_MARK


def readable(socket: SocketState, tcb: Tcb, length: int) -> int:
    """How many of ``length`` bytes in the buffer an ordinary read can come to: the urgent one at
    the mark is not among them."""
    is_hole = not socket.settings.is_urgent_inline and is_at_mark(tcb)
    return length - 1 if is_hole and length else length


def before_mark(socket: TcpSocket, tcb: Tcb, urgent: Urgent) -> int:
    """Bytes that wait before the mark; all of them if it is in line or has been passed."""
    length = tcb.received()
    ahead = urgent.rcv_mark - read_seq(tcb)
    if socket.settings.is_urgent_inline or not 0 <= ahead < length:
        return length
    return ahead


def read_byte(socket: TcpSocket, is_peek: bool) -> bytes | int:
    """recv(MSG_OOB): the byte, -EINVAL if there is none, or it is in line, or was read, -EAGAIN
    if it is not here yet; b"" at the end. It never waits. [Linux tcp(7)]"""
    tcb = socket.tcb
    urgent = None if tcb is None else tcb.urgent
    if tcb is None or urgent is None or socket.settings.is_urgent_inline:
        return -EINVAL if tcb is not None else -ENOTCONN
    if urgent.rcv_mark == NO_MARK or urgent.byte == READ:
        return -EINVAL
    if urgent.byte != NOT_HERE:
        data = bytes((urgent.byte,))
        if not is_peek:
            urgent.byte = READ
        return data
    return b"" if tcb.state is CLOSED or socket.is_read_shut or _has_fin(tcb) else -EAGAIN


def read(socket: TcpSocket, tcb: Tcb, urgent: Urgent, limit: int, is_peek: bool) -> bytes:
    """Up to ``limit`` bytes of the stream, not across the mark; b"" if there are none but the
    urgent one."""
    buffer = tcb.receive_buffer
    if buffer is None or not limit:
        return b""
    ahead = urgent.rcv_mark - read_seq(tcb)
    hole = 0
    if urgent.rcv_mark != NO_MARK and 0 <= ahead < buffer.length:
        if ahead:
            limit = min(limit, ahead)
        elif not socket.settings.is_urgent_inline:
            hole = 1
    data = buffer.read(limit + hole, is_peek)[hole:]
    if not is_peek and urgent.rcv_mark != NO_MARK and read_seq(tcb) > urgent.rcv_mark:
        urgent.rcv_mark = NO_MARK
        urgent.byte = NOT_HERE
        settle(tcb, urgent)
    return data


def with_mark(socket: SocketState, tcb: Tcb, urgent: Urgent, mask: int, is_read_shut: bool) -> int:
    """The mask with what an urgent mark changes in it."""
    if has_byte(urgent):
        mask |= POLL_PRI
    if not is_read_shut and readable(socket, tcb, tcb.received()) < 1:
        mask &= ~POLL_IN
    return mask


def settle(tcb: Tcb, urgent: Urgent) -> None:
    """Nothing may be left to keep."""
    if urgent.snd_up == NO_MARK and urgent.rcv_mark == NO_MARK:
        tcb.urgent = None
        tcb.refresh_odd()
        tcb.refresh_ordinary()


def read_seq(tcb: Tcb) -> int:
    """The sequence number of the next byte that the user has not read."""
    return tcb.rcv_nxt - _has_fin(tcb) - tcb.received()


def _has_fin(tcb: Tcb) -> int:
    return int(0 <= tcb.fin_at < tcb.rcv_nxt)
