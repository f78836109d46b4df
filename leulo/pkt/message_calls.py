"""recvmsg, sendmsg, readv and writev: buffers in pieces, and control messages beside the data.

A script writes the control messages that it expects of recvmsg; those that come are compared.
Functions are as those of `option_calls`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.pkt.calls import MAX_BYTES
from leulo.pkt.constants import CONSTANTS, ERRNO
from leulo.pkt.differences import CallDiffers
from leulo.pkt.error_queue import OPT_TSONLY, ORIGIN_TIMESTAMPING, Notice
from leulo.pkt.lexer import Refused, ScriptError
from leulo.pkt.syntax import Array, Ellipsis_, Expression, Struct, Text
from leulo.tcp.socket import TcpSocket
from leulo.tcp.tcb import NO_FIN

if TYPE_CHECKING:
    from leulo.pkt.calls import Calls, Descriptor, Running

_MSG_TRUNC: Final = CONSTANTS["MSG_TRUNC"]
_MSG_ERRQUEUE: Final = CONSTANTS["MSG_ERRQUEUE"]
_MSG_ZEROCOPY: Final = CONSTANTS["MSG_ZEROCOPY"]
_MOST_PIECES: Final = 17  # of memory in one segment
_INQ: Final = (CONSTANTS["SOL_TCP"], CONSTANTS["TCP_INQ"])
_TIMESTAMPING: Final = (CONSTANTS["SOL_SOCKET"], CONSTANTS["SCM_TIMESTAMPING"])
_RECVERR: Final = {2: (0, CONSTANTS["IP_RECVERR"]), 10: (41, CONSTANTS["IPV6_RECVERR"])}
_NS_PER_S: Final = 1_000_000_000

ControlMessage = tuple[tuple[int, int], object]  # level and type, data


def recvmsg(calls: Calls, running: Running) -> int | None:
    total, _ = _message(calls, running, is_sent=False)
    flags = calls.number(running, 2) if len(running.call.arguments) > 2 else 0
    descriptor = calls.descriptor_for(running)
    if descriptor is None:
        return -ERRNO["EBADF"]
    if flags & _MSG_ERRQUEUE:
        return _take_notice(calls, running, descriptor)
    result = calls.receive(running, total, flags, Ellipsis_())
    if result is not None and result >= 0:
        messages: list[ControlMessage] = []
        if descriptor.has_inq and isinstance(descriptor.socket, TcpSocket):
            messages.append((_INQ, _in_queue(descriptor.socket)))
        _compare(calls, running, messages)
    return result


def readv(calls: Calls, running: Running) -> int | None:
    total, _ = _vector(calls, running.call.arguments[1], running.line)
    return calls.receive(running, total, 0, Ellipsis_())


def sendmsg(calls: Calls, running: Running) -> int | None:
    total, flags = _message(calls, running, is_sent=True)
    if len(running.call.arguments) > 2:
        flags = calls.number(running, 2)
    cuts: tuple[int, ...] = ()
    if flags & _MSG_ZEROCOPY:
        cuts = _cuts(calls, running)
    return calls.transmit(running, total, flags, None, cuts)


def _cuts(calls: Calls, running: Running) -> tuple[int, ...]:
    """Where segments end because they hold no more pieces of the user's memory, which Linux sends
    from where it lies: each buffer is one."""
    header = running.call.arguments[1]
    buffers = header.fields.get("msg_iov") if isinstance(header, Struct) else None
    if not isinstance(buffers, Array):
        return ()
    ends = [
        _vector(calls, Array(buffers.items[:count]), running.line)[0]
        for count in range(_MOST_PIECES, len(buffers.items), _MOST_PIECES)
    ]
    return tuple(ends)


def writev(calls: Calls, running: Running) -> int | None:
    total, text = _vector(calls, running.call.arguments[1], running.line)
    return calls.transmit(running, total, 0, text)


def _in_queue(socket: TcpSocket) -> int:
    """Bytes that wait to be read; at the stream's end one, so that the end is read, too."""
    tcb = socket.tcb
    if tcb is None:
        return 0
    return tcb.received() or int(tcb.rcv_nxt > tcb.fin_at != NO_FIN)


def _take_notice(calls: Calls, running: Running, descriptor: Descriptor) -> int:
    """The first entry of the error queue; never sleeps."""
    calls.look_at_queues()
    if not descriptor.errors.notices:
        return -ERRNO["EAGAIN"]
    notice = descriptor.errors.notices.popleft()
    messages: list[ControlMessage] = []
    flags = _MSG_ERRQUEUE
    if notice.origin == ORIGIN_TIMESTAMPING:
        messages.append((_TIMESTAMPING, notice.at_ns - calls.world.start_ns))
        if not descriptor.errors.stamps & OPT_TSONLY:
            flags |= _MSG_TRUNC  # the packet itself would be there, too
    messages.append((_RECVERR[descriptor.socket.family], notice))
    header = running.call.arguments[1]
    if isinstance(header, Struct):
        expected = header.fields.get("msg_flags", Ellipsis_())
        if not isinstance(expected, Ellipsis_):
            wanted = calls.value(expected, running.line)
            if wanted != flags:
                raise CallDiffers(f"msg_flags={wanted:#x}", f"msg_flags={flags:#x}")
    _compare(calls, running, messages)
    return 0


def _compare(calls: Calls, running: Running, actual: list[ControlMessage]) -> None:
    """Hold the control messages against those that the script gives, if it gives any."""
    header = running.call.arguments[1]
    expected = header.fields.get("msg_control") if isinstance(header, Struct) else None
    if not isinstance(expected, Array):
        return
    line = running.line
    if len(expected.items) != len(actual):
        raise CallDiffers(f"{len(expected.items)} control messages", str(len(actual)))
    for item, (kind, data) in zip(expected.items, actual, strict=True):
        if not isinstance(item, Struct):
            raise ScriptError(line, "expected {cmsg_level=, cmsg_type=, cmsg_data=}")
        level = calls.value(item.fields.get("cmsg_level", 0), line)
        name = calls.value(item.fields.get("cmsg_type", 0), line)
        if (level, name) != kind:
            raise CallDiffers(f"control message {level}, {name}", f"{kind[0]}, {kind[1]}")
        _compare_data(calls, item.fields.get("cmsg_data", Ellipsis_()), data, line)


def _compare_data(calls: Calls, expected: Expression, actual: object, line: int) -> None:
    if isinstance(expected, Ellipsis_):
        return
    if isinstance(actual, Notice):
        if not isinstance(expected, Struct):
            raise ScriptError(line, "expected {ee_errno=, ...}")
        for name, value in expected.fields.items():
            if name not in actual.fields:
                raise Refused(line, f"the field {name}")
            wanted = calls.value(value, line)
            if wanted != actual.fields[name]:
                raise CallDiffers(f"{name}={wanted}", f"{name}={actual.fields[name]}")
        return
    if isinstance(expected, Struct):
        seconds = calls.value(expected.fields.get("scm_sec", 0), line)
        at_ns = seconds * _NS_PER_S + calls.value(expected.fields.get("scm_nsec", 0), line)
        if not isinstance(actual, int) or abs(actual - at_ns) > calls.world.tolerance_ns:
            raise CallDiffers(f"the time {at_ns} ns", f"{actual} ns")
        return
    wanted = calls.value(expected, line)
    if wanted != actual:
        raise CallDiffers(f"cmsg_data={wanted}", f"cmsg_data={actual}")


def _message(calls: Calls, running: Running, is_sent: bool) -> tuple[int, int]:
    """Bytes and flags of a msghdr."""
    header = running.call.arguments[1]
    if not isinstance(header, Struct):
        raise ScriptError(running.line, "expected a msghdr")
    control = header.fields.get("msg_control")
    if is_sent and isinstance(control, Array) and control.items:
        raise Refused(running.line, "control messages that are sent (msg_control)")
    total, _ = _vector(calls, header.fields.get("msg_iov", Array([])), running.line)
    flags = header.fields.get("msg_flags", 0)
    return total, 0 if isinstance(flags, Ellipsis_) else calls.value(flags, running.line)


def _vector(calls: Calls, expression: Expression, line: int) -> tuple[int, bytes | None]:
    """Bytes of an iovec array, and its text if it has any."""
    if not isinstance(expression, Array):
        raise ScriptError(line, "expected an array of buffers")
    total, text = 0, b""
    has_text = False
    for item in expression.items:
        if isinstance(item, Struct) and "iov_len" in item.fields:
            item = Array([item.fields.get("iov_base", Ellipsis_()), item.fields["iov_len"]])
        if not isinstance(item, Array) or len(item.items) != 2:
            raise ScriptError(line, "expected {buffer, length}")
        length = calls.value(item.items[1], line)
        first = item.items[0]
        if isinstance(first, Text):
            has_text = True
            text += first.value[:length].ljust(min(length, MAX_BYTES), b"\0")
        total += length
    return total, text if has_text else None
