"""Calls that look at or change a descriptor: socket options, fcntl, ioctl, poll.

Each is a function of the process (`leulo.pkt.calls.Calls`) and the call under way, with the
results of `Calls.attempt`.
"""

from __future__ import annotations

from struct import Struct as Layout
from typing import TYPE_CHECKING, Final

from leulo.pkt.constants import CONSTANTS, ERRNO, LOCAL_OPTION
from leulo.pkt.differences import CallDiffers
from leulo.pkt.error_queue import OPT_ID, OPT_TSONLY, TX_ACK, TX_SCHED, TX_SOFTWARE
from leulo.pkt.lexer import Refused, ScriptError
from leulo.pkt.signatures import key_argument, switch_key
from leulo.pkt.snippets import decode_info
from leulo.pkt.syntax import Array, Ellipsis_, Expression, Struct, Text
from leulo.tcp.socket import TcpSocket
from leulo.tcp.sockopt.names import TCP_MD5SIG, TCP_MD5SIG_EXT

if TYPE_CHECKING:
    from leulo.pkt.calls import Calls, Descriptor, Running

O_NONBLOCK: Final = 0o4000
O_RDWR: Final = 2
_SO_LINGER: Final = (1, 13)
_TCP_INFO: Final = (6, 11)
_KEYS: Final = ((6, TCP_MD5SIG), (6, TCP_MD5SIG_EXT))
TIMEOUTS: Final = ((1, 20), (1, 21))  # SO_RCVTIMEO, SO_SNDTIMEO: kept as microseconds
_US_PER_S: Final = 1_000_000
_TIMED: Final = {
    **dict.fromkeys(("accept", "accept4", "read", "readv", "recv", "recvfrom", "recvmsg"), (1, 20)),
    **dict.fromkeys(("connect", "write", "writev", "send", "sendto", "sendmsg"), (1, 21)),
}
_TCP_INQ: Final = (6, 36)
_SO_TIMESTAMPING: Final = (1, 37)
# Kept and told, without effect: they steer what this world has not (routing marks, queues, the
# address that is not there yet), or what calls do rather than packets.
_KEPT: Final = (
    (1, 5),  # SO_DONTROUTE
    (1, 6),  # SO_BROADCAST
    (1, 12),  # SO_PRIORITY
    (1, 15),  # SO_REUSEPORT: a second listener on a port has no address
    (1, 36),  # SO_MARK
    (1, 46),  # SO_BUSY_POLL
    (1, 49),  # SO_INCOMING_CPU
    (1, 60),  # SO_ZEROCOPY
    (1, 74),  # SO_TXREHASH
    (6, 17),  # TCP_THIN_DUPACK, which Linux keeps without effect, too
    (0, 11),  # IP_RECVERR
    (0, 15),  # IP_FREEBIND
    (0, 24),  # IP_BIND_ADDRESS_NO_PORT
    (41, 25),  # IPV6_RECVERR
)
_KNOWN_STAMPS: Final = TX_SOFTWARE | 0x8 | 0x10 | OPT_ID | TX_SCHED | TX_ACK | OPT_TSONLY
_POLL_ALWAYS: Final = 0x8 | 0x10 | 0x20
_POLL_NVAL: Final = 0x20
_INT: Final = Layout("<i")
_PAIR: Final = Layout("<ii")
_NS_PER_MS: Final = 1_000_000
_EBADF: Final = -ERRNO["EBADF"]
_QUEUES: Final = tuple(CONSTANTS[name] for name in ("SIOCINQ", "SIOCOUTQ", "SIOCOUTQNSD"))


def _option(calls: Calls, running: Running) -> tuple[int, int]:
    return calls.number(running, 1), calls.number(running, 2)


def setsockopt(calls: Calls, running: Running) -> int:
    descriptor = calls.descriptor_for(running)
    if descriptor is None:
        return _EBADF
    level, name = _option(calls, running)
    if name >= LOCAL_OPTION:
        return 0
    value = running.call.arguments[3]
    line = running.line
    if isinstance(value, Text):
        data = value.value
    elif isinstance(value, Struct) and (level, name) in _KEYS:
        data = key_argument(calls, descriptor, value, name, line)
    elif (level, name) in _KEYS and calls.world.setup.md5_secret:
        return switch_key(calls, descriptor, _is_set(calls, value, line))
    elif isinstance(value, Struct):
        parts = list(value.fields.values())
        if (level, name) != _SO_LINGER and (level, name) not in TIMEOUTS:
            raise Refused(line, "this structure as a socket option")
        data = b"".join(_INT.pack(_signed(calls.value(part, line))) for part in parts)
    elif isinstance(value, Array):
        data = b"".join(_INT.pack(_signed(calls.value(item, line))) for item in value.items)
    else:
        data = _INT.pack(_signed(calls.value(value, line)))
    if (level, name) in _KEPT or (level, name) in (_TCP_INQ, _SO_TIMESTAMPING):
        return _keep(descriptor, (level, name), data, line)
    if (level, name) in TIMEOUTS:
        seconds, microseconds = _PAIR.unpack(data[:8].ljust(8, b"\0"))
        if not 0 <= microseconds < _US_PER_S:
            return -ERRNO["EDOM"]
        descriptor.kept[level, name] = max(0, seconds) * _US_PER_S + microseconds
        return 0
    return _known(descriptor.socket.setsockopt(level, name, data), running)


def _is_set(calls: Calls, value: Expression, line: int) -> bool:
    item = value.items[0] if isinstance(value, Array) and value.items else value
    return calls.value(item, line) != 0


def given_up(calls: Calls, running: Running) -> int | None:
    """What a call returns that has slept for as long as SO_RCVTIMEO or SO_SNDTIMEO allows; None:
    it sleeps on."""
    name = running.call.name
    descriptor = calls.descriptor_for(running) if name in _TIMED else None
    timeout_us = 0 if descriptor is None else descriptor.kept.get(_TIMED[name], 0)
    if not timeout_us:
        return None
    running.wake_ns = running.since_ns + timeout_us * 1000
    if calls.world.now_ns < running.wake_ns:
        return None
    return running.progress or -ERRNO["EINPROGRESS" if name == "connect" else "EAGAIN"]


def _known(result: int, running: Running) -> int:
    """``result`` of an option. One that is not there is refused, unless that is expected."""
    if result == -ERRNO["ENOPROTOOPT"] and running.call.errno_name != "ENOPROTOOPT":
        raise Refused(running.line, f"the socket option of {running.call.text}")
    return result


def _keep(descriptor: Descriptor, option: tuple[int, int], data: bytes, line: int) -> int:
    """Options of the layer that a script's calls play: they change what calls tell, or nothing."""
    if not data:
        return -ERRNO["EINVAL"]
    value = int.from_bytes(data[:4], "little", signed=True)
    if option == _TCP_INQ:
        if value not in (0, 1):
            return -ERRNO["EINVAL"]
        descriptor.has_inq = value == 1
    elif option == _SO_TIMESTAMPING:
        if value & ~_KNOWN_STAMPS:
            raise Refused(line, f"SO_TIMESTAMPING with the flags {value & ~_KNOWN_STAMPS:#x}")
        tcb = descriptor.socket.tcb if isinstance(descriptor.socket, TcpSocket) else None
        if value & OPT_ID and not descriptor.errors.stamps & OPT_ID:
            if tcb is None:
                return -ERRNO["EINVAL"]
            descriptor.errors.key_base = tcb.snd_una
        descriptor.errors.stamps = value
    descriptor.kept[option] = value
    return 0


def getsockopt(calls: Calls, running: Running) -> int:
    descriptor = calls.descriptor_for(running)
    if descriptor is None:
        return _EBADF
    level, name = _option(calls, running)
    if (level, name) in _KEPT or (level, name) in (_TCP_INQ, _SO_TIMESTAMPING):
        data: bytes | int = _INT.pack(descriptor.kept.get((level, name), 0))
    elif (level, name) in TIMEOUTS:
        data = _PAIR.pack(*divmod(descriptor.kept.get((level, name), 0), _US_PER_S))
    else:
        data = descriptor.socket.getsockopt(level, name)
    if isinstance(data, int):
        return _known(data, running)
    expected = running.call.arguments[3]
    if isinstance(expected, Text):
        actual = data.rstrip(b"\0")
        if actual != expected.value:
            raise CallDiffers(_quoted(expected.value), _quoted(actual))
    elif isinstance(expected, Struct):
        _compare_structure(calls, expected, (level, name), data, running.line)
    elif isinstance(expected, Array) and len(expected.items) == 1:
        item = expected.items[0]
        if not isinstance(item, Ellipsis_):
            wanted = _signed(calls.value(item, running.line))
            actual_number = int.from_bytes(data[:4], "little", signed=True)
            if wanted != actual_number:
                raise CallDiffers(f"[{wanted}]", f"[{actual_number}]")
    return 0


def _compare_structure(
    calls: Calls, expected: Struct, option: tuple[int, int], data: bytes, line: int
) -> None:
    if option == _SO_LINGER:
        is_on, seconds = _PAIR.unpack(data[:8].ljust(8, b"\0"))
        known: dict[str, object] = {
            "onoff": is_on, "linger": seconds, "l_onoff": is_on, "l_linger": seconds,
        }  # fmt: skip
    elif option == _TCP_INFO:
        known = decode_info(data)
    elif option in TIMEOUTS:
        known = dict(zip(("tv_sec", "tv_usec"), _PAIR.unpack(data), strict=True))
    else:
        raise Refused(line, "this structure as a socket option")
    for name, value in expected.fields.items():
        if isinstance(value, Ellipsis_):
            continue
        if name not in known:
            raise Refused(line, f"the field {name}")
        if known[name] != calls.value(value, line):
            raise CallDiffers(f"{name}={calls.value(value, line)}", f"{name}={known[name]}")


def fcntl(calls: Calls, running: Running) -> int:
    descriptor = calls.descriptor_for(running)
    if descriptor is None:
        return _EBADF
    command = calls.number(running, 1)
    if command == CONSTANTS["F_GETFL"]:
        return O_RDWR | (O_NONBLOCK if descriptor.is_nonblocking else 0)
    if command == CONSTANTS["F_SETFL"]:
        descriptor.is_nonblocking = bool(calls.number(running, 2) & O_NONBLOCK)
        return 0
    if command in (CONSTANTS["F_GETFD"], CONSTANTS["F_SETFD"]):
        return 0
    raise Refused(running.line, f"fcntl command {command}")


def ioctl(calls: Calls, running: Running) -> int:
    descriptor = calls.descriptor_for(running)
    if descriptor is None:
        return _EBADF
    command = calls.number(running, 1)
    if command == CONSTANTS["FIONBIO"]:
        descriptor.is_nonblocking = calls.number(running, 2) != 0
        return 0
    socket = descriptor.socket
    tcb = socket.tcb if isinstance(socket, TcpSocket) else None
    if command in _QUEUES and isinstance(socket, TcpSocket) and socket.listener is not None:
        return -ERRNO["EINVAL"]  # it has no queues [Linux tcp(7)]
    if command == CONSTANTS["SIOCINQ"]:
        actual = 0
        if tcb is not None and isinstance(socket, TcpSocket):
            actual = socket.readable
    elif command == CONSTANTS["SIOCATMARK"]:
        actual = int(isinstance(socket, TcpSocket) and socket.is_at_mark)
    elif command == CONSTANTS["SIOCOUTQ"]:  # a FIN counts as a byte
        actual = 0 if tcb is None else max(0, tcb.snd_top - max(tcb.snd_una, tcb.iss + 1))
    elif command == CONSTANTS["SIOCOUTQNSD"]:
        actual = 0 if tcb is None else max(0, tcb.snd_top - max(tcb.snd_nxt, tcb.iss + 1))
    else:
        raise Refused(running.line, f"ioctl command {command:#x}")
    expected = running.call.arguments[2]
    if not isinstance(expected, Ellipsis_) and calls.value(expected, running.line) != actual:
        raise CallDiffers(f"[{calls.value(expected, running.line)}]", f"[{actual}]")
    return 0


def poll(calls: Calls, running: Running) -> int | None:
    line = running.line
    entries = running.call.arguments[0]
    if not isinstance(entries, Array):
        raise ScriptError(line, "expected an array of pollfd")
    timeout_ms = _signed(calls.number(running, 2))
    if timeout_ms >= 0 and running.wake_ns is None:
        running.wake_ns = running.since_ns + timeout_ms * _NS_PER_MS
    found: list[tuple[int, int, int]] = []  # descriptor, expected, actual
    ready = 0
    for entry in entries.items:
        if not isinstance(entry, Struct):
            raise ScriptError(line, "expected {fd=, events=, revents=}")
        number = calls.value(entry.fields.get("fd", -1), line)
        wanted = calls.value(entry.fields.get("events", 0), line)
        expected = calls.value(entry.fields.get("revents", 0), line)
        descriptor = calls.descriptors.get(number)
        mask = _POLL_NVAL if descriptor is None else descriptor.socket.events
        if descriptor is not None and descriptor.errors.notices:
            mask |= CONSTANTS["POLLERR"]
        actual = mask & (wanted | _POLL_ALWAYS)
        found.append((number, expected, actual))
        ready += actual != 0
    if not ready and (running.wake_ns is None or calls.world.now_ns < running.wake_ns):
        return None
    for number, expected, actual in found:
        if expected != actual:
            raise CallDiffers(
                f"revents={_poll_text(expected)} of descriptor {number}",
                f"revents={_poll_text(actual)}",
            )
    return ready


def _poll_text(mask: int) -> str:
    names = ("POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP", "POLLNVAL", "POLLRDHUP")
    return "|".join(name for name in names if mask & CONSTANTS[name]) or "0"


def _signed(value: int) -> int:
    """As the C int with these 32 bits."""
    return (value + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def _quoted(data: bytes) -> str:
    return '"' + data.decode("latin-1") + '"'
