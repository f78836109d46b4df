"""Options at IPPROTO_IP and IPPROTO_IPV6. [Linux ip(7)] [Linux ipv6(7)]"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.tcp import path_mtu
from leulo.tcp.errno import AF_INET6, EINVAL, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP
from leulo.tcp.settings import PATH_DONT, PATH_OMIT
from leulo.tcp.sockopt import integers
from leulo.tcp.sockopt.integers import Getter, Setter
from leulo.tcp.sockopt.names import (
    IP_LOCAL_PORT_RANGE,
    IP_MTU,
    IP_MTU_DISCOVER,
    IP_TOS,
    IP_TTL,
    IPV6_MTU,
    IPV6_MTU_DISCOVER,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
)
from leulo.tcp.state import CLOSED, TIME_WAIT

if TYPE_CHECKING:
    from leulo.tcp.socket import TcpSocket

_TTL: Final = 64
_MOST_OF_BYTE: Final = 255
_ECN_BITS: Final = 3


def get(socket: TcpSocket, name: int) -> bytes | int:
    """The value's bytes, -ENOPROTOOPT or -ENOTCONN."""
    return integers.read(_GETTERS, socket, name)


def set(socket: TcpSocket, name: int, value: bytes) -> int:
    """0, -EINVAL or -ENOPROTOOPT."""
    return integers.change(_SETTERS, socket, name, value)


def get6(socket: TcpSocket, name: int) -> bytes | int:
    """As `get`; -EOPNOTSUPP of a socket of IPv4, as Linux."""
    if socket.family != AF_INET6:
        return -EOPNOTSUPP
    return integers.read(_GETTERS_6, socket, name)


def set6(socket: TcpSocket, name: int, value: bytes) -> int:
    """0, -EINVAL or -ENOPROTOOPT."""
    return integers.change(_SETTERS_6, socket, name, value)


def _set_port_range(socket: TcpSocket, value: int) -> int:
    """The first port in the lower half, the last in the upper; 0: the stack's."""
    first, last = value & 0xFFFF, value >> 16 & 0xFFFF
    if first and last and first > last:
        return -EINVAL
    socket.change_settings(first_port=first, last_port=last)
    return 0


def _get_ttl(socket: TcpSocket) -> int:
    return socket.settings.ttl or _TTL


def _set_ttl(socket: TcpSocket, value: int) -> int:
    """-1 is the stack's own. [Linux ip(7)] [Linux ipv6(7)]"""
    if value != -1 and not 1 <= value <= _MOST_OF_BYTE:
        return -EINVAL
    socket.engine.has_marks = True
    socket.change_settings(ttl=max(0, value))
    return 0


def _set_tos(socket: TcpSocket, value: int) -> int:
    """The low byte counts; the bits of ECN are TCP's own and stay. [Linux ip(7)]"""
    socket.engine.has_marks = True
    socket.change_settings(tos=value & _MOST_OF_BYTE & ~_ECN_BITS)
    return 0


def _set_hops(socket: TcpSocket, value: int) -> int:
    return _set_ttl(socket, value) if socket.family == AF_INET6 else -ENOPROTOOPT


def _set_tclass(socket: TcpSocket, value: int) -> int:
    """As `_set_tos`; -1 is the stack's own. [Linux ipv6(7)]"""
    if socket.family != AF_INET6:
        return -ENOPROTOOPT
    if not -1 <= value <= _MOST_OF_BYTE:
        return -EINVAL
    return _set_tos(socket, max(0, value))


def _set_v6only(socket: TcpSocket, value: int) -> int:
    """Before the socket is bound only. [RFC 3493 5.3]"""
    if socket.family != AF_INET6:
        return -ENOPROTOOPT
    if socket.bound_port or socket.tcb is not None:
        return -EINVAL
    socket.is_v6only = value != 0
    return 0


def _set_mtu_discover(socket: TcpSocket, value: int) -> int:
    if not PATH_DONT <= value <= PATH_OMIT:
        return -EINVAL
    socket.change_settings(path_discovery=value)
    tcb = socket.tcb
    if tcb is not None:
        tcb.refresh_odd()
        path_mtu.refresh(tcb)
    return 0


def _get_mtu(socket: TcpSocket) -> int:
    """Of the path of a connection. [Linux ip(7)]"""
    tcb = socket.tcb
    if tcb is None or tcb.state in (CLOSED, TIME_WAIT):
        return -ENOTCONN
    return path_mtu.of_tcb(tcb)


def _set_mtu_discover6(socket: TcpSocket, value: int) -> int:
    return _set_mtu_discover(socket, value) if socket.family == AF_INET6 else -ENOPROTOOPT


_GETTERS: Final[dict[int, Getter]] = {
    IP_TOS: lambda s: s.settings.tos,
    IP_TTL: _get_ttl,
    IP_MTU_DISCOVER: lambda s: s.settings.path_discovery,
    IP_MTU: _get_mtu,
    IP_LOCAL_PORT_RANGE: lambda s: s.settings.last_port << 16 | s.settings.first_port,
}
_SETTERS: Final[dict[int, Setter]] = {
    IP_TOS: _set_tos,
    IP_TTL: _set_ttl,
    IP_MTU_DISCOVER: _set_mtu_discover,
    IP_LOCAL_PORT_RANGE: _set_port_range,
}
_GETTERS_6: Final[dict[int, Getter]] = {
    IPV6_UNICAST_HOPS: _get_ttl,
    IPV6_MTU_DISCOVER: lambda s: s.settings.path_discovery,
    IPV6_MTU: _get_mtu,
    IPV6_V6ONLY: lambda s: int(s.is_v6only),
    IPV6_TCLASS: lambda s: s.settings.tos,
}
_SETTERS_6: Final[dict[int, Setter]] = {
    IPV6_UNICAST_HOPS: _set_hops,
    IPV6_MTU_DISCOVER: _set_mtu_discover6,
    IPV6_V6ONLY: _set_v6only,
    IPV6_TCLASS: _set_tclass,
}
