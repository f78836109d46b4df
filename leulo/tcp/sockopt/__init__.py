"""Socket options: names, layouts and limits are Linux's. A file a level.

An option that is not kept is refused with ENOPROTOOPT, never taken in silence.
[Linux socket(7)] [Linux ip(7)] [Linux tcp(7)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leulo.tcp.errno import ENOPROTOOPT
from leulo.tcp.sockopt import ip_level, socket_level, tcp_level
from leulo.tcp.sockopt.names import IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOL_SOCKET

if TYPE_CHECKING:
    from leulo.tcp.socket import TcpSocket


def get(socket: TcpSocket, level: int, name: int) -> bytes | int:
    """The value's bytes, -ENOPROTOOPT, or for IPv6's of a socket of IPv4 -EOPNOTSUPP, as Linux."""
    if level == SOL_SOCKET:
        return socket_level.get(socket, name)
    if level == IPPROTO_TCP:
        return tcp_level.get(socket, name)
    if level == IPPROTO_IP:
        return ip_level.get(socket, name)
    return ip_level.get6(socket, name) if level == IPPROTO_IPV6 else -ENOPROTOOPT


def set(socket: TcpSocket, level: int, name: int, value: bytes) -> int:
    """0, -EINVAL, -ENOPROTOOPT, -ENOENT, -ENOMEM, or -EOPNOTSUPP."""
    if level == SOL_SOCKET:
        return socket_level.set(socket, name, value)
    if level == IPPROTO_TCP:
        return tcp_level.set(socket, name, value)
    if level == IPPROTO_IP:
        return ip_level.set(socket, name, value)
    return ip_level.set6(socket, name, value) if level == IPPROTO_IPV6 else -ENOPROTOOPT
