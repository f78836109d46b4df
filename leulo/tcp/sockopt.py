"""Socket options: names, layouts and limits are Linux's. [Linux socket(7)] [Linux tcp(7)]

An option that is not kept is refused with ENOPROTOOPT, never taken in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

from leulo.tcp import congestion, info
from leulo.tcp.errno import AF_INET6, EINVAL, ENOENT, ENOPROTOOPT
from leulo.tcp.state import CLOSED, TIME_WAIT
from leulo.tcp.tcb import ACK_NOW
from leulo.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.socket import TcpSocket

SOL_SOCKET: Final = 1
IPPROTO_TCP: Final = 6

IPPROTO_IPV6: Final = 41

SO_REUSEADDR: Final = 2
SO_TYPE: Final = 3
SO_ERROR: Final = 4
SO_SNDBUF: Final = 7
SO_RCVBUF: Final = 8
SO_KEEPALIVE: Final = 9
SO_LINGER: Final = 13
SO_ACCEPTCONN: Final = 30

IPV6_V6ONLY: Final = 26

TCP_NODELAY: Final = 1
TCP_MAXSEG: Final = 2
TCP_CORK: Final = 3
TCP_KEEPIDLE: Final = 4
TCP_KEEPINTVL: Final = 5
TCP_KEEPCNT: Final = 6
TCP_INFO: Final = 11
TCP_QUICKACK: Final = 12
TCP_CONGESTION: Final = 13
TCP_USER_TIMEOUT: Final = 18

_INT: Final = Struct("<i")
_LINGER: Final = Struct("<ii")
_CONGESTION_BYTES: Final = 16
_MOST_KEEP_S: Final = 32_767
_MOST_KEEP_PROBES: Final = 127
_LEAST_MSS: Final = 88
_MOST_MSS: Final = 32_767
_MOST_LINGER_S: Final = 0x7FFFFFFF
_QUICK_ACKS: Final = 16

Getter = Callable[["TcpSocket"], int]
Setter = Callable[["TcpSocket", int], int]


def get(socket: TcpSocket, level: int, name: int) -> bytes | int:
    """The value's bytes, or -ENOPROTOOPT."""
    if level == SOL_SOCKET and name == SO_LINGER:
        seconds = socket.settings.linger_s
        return _LINGER.pack(seconds >= 0, max(0, seconds))
    if level == IPPROTO_TCP and name == TCP_CONGESTION:
        tcb = socket.tcb
        text = socket.settings.congestion if tcb is None else tcb.congestion.name
        return text.encode().ljust(_CONGESTION_BYTES, b"\0")
    if level == IPPROTO_TCP and name == TCP_INFO:
        return info.tcp_info(socket)
    getter = _GETTERS.get((level, name))
    if getter is None:
        return -ENOPROTOOPT
    number = getter(socket)
    return number if number == -ENOPROTOOPT else _INT.pack(number)


def set(socket: TcpSocket, level: int, name: int, value: bytes) -> int:
    """0, -EINVAL, -ENOPROTOOPT or -ENOENT."""
    if level == IPPROTO_TCP and name == TCP_CONGESTION:
        return _set_congestion(socket, value)
    if level == SOL_SOCKET and name == SO_LINGER:
        if len(value) < _LINGER.size:
            return -EINVAL
        is_on, seconds = _LINGER.unpack_from(value)
        seconds = seconds if 0 <= seconds <= _MOST_LINGER_S else _MOST_LINGER_S
        socket.change_settings(linger_s=seconds if is_on else -1)
        return 0
    setter = _SETTERS.get((level, name))
    if setter is None:
        return -ENOPROTOOPT
    if len(value) < _INT.size:
        return -EINVAL
    return setter(socket, _INT.unpack_from(value)[0])


def _get_maxseg(socket: TcpSocket) -> int:
    if socket.tcb is not None and socket.tcb.mss:
        return socket.tcb.mss
    return socket.settings.max_segment or socket.engine.config.default_mss


def _get_quickack(socket: TcpSocket) -> int:
    return int(socket.tcb is not None and socket.tcb.quick_acks > 0)


def _get_rcvbuf(socket: TcpSocket) -> int:
    if socket.tcb is not None:
        return 2 * socket.tcb.rcv_limit
    return 2 * (socket.settings.rcv_bytes or socket.engine.config.rcv_default)


def _get_sndbuf(socket: TcpSocket) -> int:
    if socket.tcb is not None:
        return 2 * socket.tcb.snd_limit
    return 2 * (socket.settings.snd_bytes or socket.engine.config.snd_default)


def _set_reuseaddr(socket: TcpSocket, value: int) -> int:
    socket.change_settings(is_address_reused=value != 0)
    return 0


def _set_keepalive(socket: TcpSocket, value: int) -> int:
    socket.change_settings(has_keepalive=value != 0)
    _arm_keepalive(socket)
    return 0


def _set_keepidle(socket: TcpSocket, value: int) -> int:
    if not 1 <= value <= _MOST_KEEP_S:
        return -EINVAL
    socket.change_settings(keep_idle_ns=value * NS_PER_S)
    _arm_keepalive(socket)
    return 0


def _set_keepintvl(socket: TcpSocket, value: int) -> int:
    if not 1 <= value <= _MOST_KEEP_S:
        return -EINVAL
    socket.change_settings(keep_interval_ns=value * NS_PER_S)
    return 0


def _set_keepcnt(socket: TcpSocket, value: int) -> int:
    if not 1 <= value <= _MOST_KEEP_PROBES:
        return -EINVAL
    socket.change_settings(keep_count=value)
    return 0


def _arm_keepalive(socket: TcpSocket) -> None:
    tcb = socket.tcb
    if tcb is None or tcb.state in (CLOSED, TIME_WAIT):
        return
    tcb.keep_at = 0
    if socket.settings.has_keepalive:
        tcb.keep_at = socket.engine.now_ns + socket.settings.keep_idle_ns
        socket.engine.timers.arm(tcb, tcb.keep_at)


def _set_rcvbuf(socket: TcpSocket, value: int) -> int:
    """The kernel's double-the-value is kept in what is reported; the value is the payload."""
    config = socket.engine.config
    size = max(config.rcv_min, min(value if value >= 0 else config.rcv_max, config.rcv_max))
    socket.change_settings(rcv_bytes=size)
    if socket.tcb is not None:
        socket.tcb.rcv_limit = size
    return 0


def _set_sndbuf(socket: TcpSocket, value: int) -> int:
    config = socket.engine.config
    size = max(config.snd_min, min(value if value >= 0 else config.snd_max, config.snd_max))
    socket.change_settings(snd_bytes=size)
    if socket.tcb is not None:
        socket.tcb.snd_limit = size
    return 0


def _set_nodelay(socket: TcpSocket, value: int) -> int:
    socket.change_settings(has_nodelay=value != 0)
    if value and socket.tcb is not None:
        socket.engine.want_output(socket.tcb)
    return 0


def _set_cork(socket: TcpSocket, value: int) -> int:
    socket.change_settings(is_corked=value != 0)
    tcb = socket.tcb
    if not value and tcb is not None:
        tcb.is_pushing = tcb.snd_nxt < tcb.snd_top  # what was held goes at once
        socket.engine.want_output(tcb)
    return 0


def _set_maxseg(socket: TcpSocket, value: int) -> int:
    if value and not _LEAST_MSS <= value <= _MOST_MSS:
        return -EINVAL
    socket.change_settings(max_segment=value)
    return 0


def _set_quickack(socket: TcpSocket, value: int) -> int:
    tcb = socket.tcb
    if tcb is not None:
        tcb.quick_acks = _QUICK_ACKS if value else 0
        if value and tcb.ack_due:
            tcb.ack_due = ACK_NOW
            socket.engine.want_output(tcb)
    return 0


def _set_user_timeout(socket: TcpSocket, value: int) -> int:
    if value < 0:
        return -EINVAL
    socket.change_settings(user_timeout_ns=value * NS_PER_MS)
    return 0


def _get_v6only(socket: TcpSocket) -> int:
    return int(socket.is_v6only) if socket.family == AF_INET6 else -ENOPROTOOPT


def _set_v6only(socket: TcpSocket, value: int) -> int:
    """Before the socket is bound only. [RFC 3493 5.3]"""
    if socket.family != AF_INET6:
        return -ENOPROTOOPT
    if socket.bound_port or socket.tcb is not None:
        return -EINVAL
    socket.is_v6only = value != 0
    return 0


def _set_congestion(socket: TcpSocket, value: bytes) -> int:
    name = value[: _CONGESTION_BYTES - 1].split(b"\0")[0].decode("ascii", "replace")
    algorithm = congestion.make(name)
    if algorithm is None:
        return -ENOENT
    socket.change_settings(congestion=name)
    tcb = socket.tcb
    if tcb is not None and tcb.congestion.name != name:
        tcb.congestion = algorithm
        tcb.cwnd_credit = 0
        algorithm.begin(tcb, socket.engine.now_ns)
    return 0


_GETTERS: Final[dict[tuple[int, int], Getter]] = {
    (SOL_SOCKET, SO_REUSEADDR): lambda s: int(s.settings.is_address_reused),
    (SOL_SOCKET, SO_TYPE): lambda s: 1,
    (SOL_SOCKET, SO_ERROR): lambda s: s.take_error(),
    (SOL_SOCKET, SO_SNDBUF): _get_sndbuf,
    (SOL_SOCKET, SO_RCVBUF): _get_rcvbuf,
    (SOL_SOCKET, SO_KEEPALIVE): lambda s: int(s.settings.has_keepalive),
    (SOL_SOCKET, SO_ACCEPTCONN): lambda s: int(s.listener is not None),
    (IPPROTO_IPV6, IPV6_V6ONLY): _get_v6only,
    (IPPROTO_TCP, TCP_NODELAY): lambda s: int(s.settings.has_nodelay),
    (IPPROTO_TCP, TCP_MAXSEG): _get_maxseg,
    (IPPROTO_TCP, TCP_CORK): lambda s: int(s.settings.is_corked),
    (IPPROTO_TCP, TCP_KEEPIDLE): lambda s: s.settings.keep_idle_ns // NS_PER_S,
    (IPPROTO_TCP, TCP_KEEPINTVL): lambda s: s.settings.keep_interval_ns // NS_PER_S,
    (IPPROTO_TCP, TCP_KEEPCNT): lambda s: s.settings.keep_count,
    (IPPROTO_TCP, TCP_QUICKACK): _get_quickack,
    (IPPROTO_TCP, TCP_USER_TIMEOUT): lambda s: s.settings.user_timeout_ns // NS_PER_MS,
}
_SETTERS: Final[dict[tuple[int, int], Setter]] = {
    (SOL_SOCKET, SO_REUSEADDR): _set_reuseaddr,
    (SOL_SOCKET, SO_SNDBUF): _set_sndbuf,
    (SOL_SOCKET, SO_RCVBUF): _set_rcvbuf,
    (SOL_SOCKET, SO_KEEPALIVE): _set_keepalive,
    (IPPROTO_IPV6, IPV6_V6ONLY): _set_v6only,
    (IPPROTO_TCP, TCP_NODELAY): _set_nodelay,
    (IPPROTO_TCP, TCP_MAXSEG): _set_maxseg,
    (IPPROTO_TCP, TCP_CORK): _set_cork,
    (IPPROTO_TCP, TCP_KEEPIDLE): _set_keepidle,
    (IPPROTO_TCP, TCP_KEEPINTVL): _set_keepintvl,
    (IPPROTO_TCP, TCP_KEEPCNT): _set_keepcnt,
    (IPPROTO_TCP, TCP_QUICKACK): _set_quickack,
    (IPPROTO_TCP, TCP_USER_TIMEOUT): _set_user_timeout,
}
