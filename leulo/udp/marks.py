"""What a user sets in the IP headers of his datagrams: time to live and type of service.

Each version of IP has its own. The whole byte of the type of service is his, the bits of ECN too.
[RFC 1122 4.1.4] [RFC 3493 5.1] [RFC 3542 6.3, 6.5] [Linux ip(7)] [Linux ipv6(7)]
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from leulo.tcp.errno import AF_INET6, EINVAL, ENOPROTOOPT, EOPNOTSUPP

if TYPE_CHECKING:
    from leulo.udp.socket import UdpSocket

TTL: Final = 64  # of who sets none
IPPROTO_IP: Final = 0
IPPROTO_IPV6: Final = 41
IP_TOS: Final = 1
IP_TTL: Final = 2
IPV6_UNICAST_HOPS: Final = 16
IPV6_TCLASS: Final = 67
OPTIONS: Final = (
    (IPPROTO_IP, IP_TOS), (IPPROTO_IP, IP_TTL),
    (IPPROTO_IPV6, IPV6_UNICAST_HOPS), (IPPROTO_IPV6, IPV6_TCLASS),
)  # fmt: skip

_BYTE: Final = 0xFF
_INT: Final = Struct("<i")


def marks_for(socket: UdpSocket, address: bytes) -> tuple[int, int]:
    """Time to live and type of service of what it sends to ``address``."""
    if len(address) == 16:
        return socket.hops, socket.traffic_class
    return socket.ttl, socket.tos


def get_option(socket: UdpSocket, level: int, name: int) -> int:
    """The value of one of `OPTIONS`, or -EOPNOTSUPP (IPv6 of a socket of IPv4)."""
    if level == IPPROTO_IP:
        return socket.tos if name == IP_TOS else socket.ttl
    if socket.family != AF_INET6:
        return -EOPNOTSUPP
    return socket.traffic_class if name == IPV6_TCLASS else socket.hops


def set_option(socket: UdpSocket, level: int, name: int, value: bytes) -> int:
    """0, -EINVAL, -ENOPROTOOPT. Of times to live -1 is the stack's own."""
    is_short = len(value) < _INT.size
    if level == IPPROTO_IP:  # a byte counts
        number = (value[0] if value else 0) if is_short else _INT.unpack_from(value)[0]
        if name == IP_TOS:
            socket.tos = number & _BYTE
            return 0
        if number != -1 and not 1 <= number <= _BYTE:
            return -EINVAL
        socket.ttl = TTL if number == -1 else number
        return 0
    if socket.family != AF_INET6:
        return -ENOPROTOOPT
    if is_short:
        return -EINVAL
    number = _INT.unpack_from(value)[0]
    if not -1 <= number <= _BYTE:
        return -EINVAL
    if name == IPV6_TCLASS:
        socket.traffic_class = max(0, number)
    else:
        socket.hops = TTL if number == -1 else number
    return 0
