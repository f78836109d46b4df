"""Options at SOL_SOCKET. [Linux socket(7)]"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from leulo.tcp import counted_buffer
from leulo.tcp.errno import EINVAL
from leulo.tcp.pacer import Pacer
from leulo.tcp.sockopt import integers
from leulo.tcp.sockopt.integers import Getter, Setter
from leulo.tcp.sockopt.names import (
    IPPROTO_TCP,
    SO_ACCEPTCONN,
    SO_DOMAIN,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_MAX_PACING_RATE,
    SO_OOBINLINE,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_RCVLOWAT,
    SO_REUSEADDR,
    SO_SNDBUF,
    SO_SNDLOWAT,
    SO_TYPE,
)
from leulo.tcp.sockopt.tcp_level import arm_keepalive
from leulo.tcp.state import CLOSED

if TYPE_CHECKING:
    from leulo.tcp.socket import TcpSocket

_WORD: Final = Struct("<I")
_LONG: Final = Struct("<Q")
_LINGER: Final = Struct("<ii")
_NO_RATE_WORD: Final = 0xFFFFFFFF
_NO_RATE_LONG: Final = 0xFFFFFFFFFFFFFFFF
_MOST_LINGER_S: Final = 0x7FFFFFFF


def get(socket: TcpSocket, name: int) -> bytes | int:
    """The value's bytes or -ENOPROTOOPT."""
    if name == SO_LINGER:
        seconds = socket.settings.linger_s
        return _LINGER.pack(seconds >= 0, max(0, seconds))
    return integers.read(_GETTERS, socket, name)


def set(socket: TcpSocket, name: int, value: bytes) -> int:
    """0, -EINVAL or -ENOPROTOOPT."""
    if name == SO_LINGER:
        if len(value) < _LINGER.size:
            return -EINVAL
        is_on, seconds = _LINGER.unpack_from(value)
        seconds = seconds if 0 <= seconds <= _MOST_LINGER_S else _MOST_LINGER_S
        socket.change_settings(linger_s=seconds if is_on else -1)
        return 0
    if name == SO_MAX_PACING_RATE:
        return _set_max_pacing_rate(socket, value)
    return integers.change(_SETTERS, socket, name, value)


def _get_rcvbuf(socket: TcpSocket) -> int:
    config = socket.engine.config
    limit = socket.settings.rcv_bytes or config.rcv_default
    if socket.tcb is not None:
        limit = counted_buffer.limit(socket.tcb, limit)
    return limit << config.is_buffer_doubled


def _get_sndbuf(socket: TcpSocket) -> int:
    config = socket.engine.config
    size = socket.settings.snd_bytes or config.snd_default
    if socket.tcb is not None:
        size = socket.tcb.snd_limit
    return size << config.is_buffer_doubled


def _set_reuseaddr(socket: TcpSocket, value: int) -> int:
    socket.change_settings(is_address_reused=value != 0)
    return 0


def _set_keepalive(socket: TcpSocket, value: int) -> int:
    socket.change_settings(has_keepalive=value != 0)
    arm_keepalive(socket)
    return 0


def _set_oobinline(socket: TcpSocket, value: int) -> int:
    socket.change_settings(is_urgent_inline=value != 0)
    socket.engine.notify(socket)  # a byte more, or less, is to be read
    return 0


def _set_rcvbuf(socket: TcpSocket, value: int) -> int:
    """The kernel's double-the-value is kept in what is reported; the value is the payload."""
    config = socket.engine.config
    size = max(config.rcv_min, min(value if value >= 0 else config.rcv_max, config.rcv_max))
    socket.change_settings(rcv_bytes=size)
    if socket.tcb is not None:
        counted_buffer.resize(socket.tcb, size)
    return 0


def _set_sndbuf(socket: TcpSocket, value: int) -> int:
    config = socket.engine.config
    size = max(config.snd_min, min(value if value >= 0 else config.snd_max, config.snd_max))
    socket.change_settings(snd_bytes=size)
    if socket.tcb is not None:
        socket.tcb.snd_limit = size
    return 0


def _set_rcvlowat(socket: TcpSocket, value: int) -> int:
    most = socket.engine.config.rcv_max  # more could never be there
    socket.change_settings(rcv_lowat=most if value < 0 else max(1, min(value, most)))
    socket.engine.notify(socket)  # what is there may be enough now
    return 0


def _get_max_pacing_rate(socket: TcpSocket) -> int:
    most = socket.settings.max_pacing_rate
    return most if 0 < most < _NO_RATE_WORD else _NO_RATE_WORD


def _set_max_pacing_rate(socket: TcpSocket, value: bytes) -> int:
    """In four or eight bytes; all ones: no bound, which ends no pacing. [Linux socket(7)]"""
    if len(value) < _WORD.size:
        return -EINVAL
    is_long = len(value) >= _LONG.size
    most: int = (_LONG if is_long else _WORD).unpack_from(value)[0]
    is_unbounded = most == (_NO_RATE_LONG if is_long else _NO_RATE_WORD)
    socket.change_settings(max_pacing_rate=0 if is_unbounded else max(1, most))
    tcb = socket.tcb
    if tcb is not None and tcb.pacer is None and not is_unbounded and tcb.state is not CLOSED:
        tcb.pacer = Pacer(tcb)
    return 0


_GETTERS: Final[dict[int, Getter]] = {
    SO_REUSEADDR: lambda s: int(s.settings.is_address_reused),
    SO_TYPE: lambda s: 1,
    SO_ERROR: lambda s: s.take_error(),
    SO_SNDBUF: _get_sndbuf,
    SO_RCVBUF: _get_rcvbuf,
    SO_KEEPALIVE: lambda s: int(s.settings.has_keepalive),
    SO_OOBINLINE: lambda s: int(s.settings.is_urgent_inline),
    SO_ACCEPTCONN: lambda s: int(s.listener is not None),
    SO_RCVLOWAT: lambda s: s.settings.rcv_lowat,
    SO_SNDLOWAT: lambda s: 1,
    SO_MAX_PACING_RATE: _get_max_pacing_rate,
    SO_PROTOCOL: lambda s: IPPROTO_TCP,
    SO_DOMAIN: lambda s: s.family,
}
_SETTERS: Final[dict[int, Setter]] = {
    SO_REUSEADDR: _set_reuseaddr,
    SO_SNDBUF: _set_sndbuf,
    SO_RCVBUF: _set_rcvbuf,
    SO_KEEPALIVE: _set_keepalive,
    SO_OOBINLINE: _set_oobinline,
    SO_RCVLOWAT: _set_rcvlowat,
}
