"""How large a datagram's packet may be, and whether it may be cut: IP_MTU_DISCOVER and its like.

The stack knows what a path carries as far as routers have told; what a socket makes of that is its
user's choice. One who searches the path himself sends packets that are cut nowhere, of any size up
to the link's, and hears of those that did not fit. [Linux ip(7)] [Linux ipv6(7)] [RFC 8899 3, 6.1]
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from leulo.net.icmp import IcmpError
from leulo.tcp.errno import AF_INET6, EINVAL, EMSGSIZE, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP
from leulo.tcp.settings import (
    PATH_DO,
    PATH_DONT,
    PATH_INTERFACE,
    PATH_OMIT,
    PATH_PROBE,
    PATH_WANT,
)

if TYPE_CHECKING:
    from leulo.udp.socket import UdpSocket

IPPROTO_IP: Final = 0
IPPROTO_IPV6: Final = 41
IP_MTU_DISCOVER: Final = 10
IP_MTU: Final = 14
IPV6_MTU_DISCOVER: Final = 23
IPV6_MTU: Final = 24
IPV6_DONTFRAG: Final = 62

_DISCOVER: Final = ((IPPROTO_IP, IP_MTU_DISCOVER), (IPPROTO_IPV6, IPV6_MTU_DISCOVER))
_MTU: Final = ((IPPROTO_IP, IP_MTU), (IPPROTO_IPV6, IPV6_MTU))
_DONTFRAG: Final = (IPPROTO_IPV6, IPV6_DONTFRAG)
_HEADERS: Final = 20
_HEADERS_6: Final = 40
_UDP_BYTES: Final = 8
_INT: Final = Struct("<i")


def choice_of(socket: UdpSocket, address: bytes) -> int:
    """What its user wants of paths to such an address: each version of IP has its own."""
    return socket.path_discovery if len(address) == 4 else socket.path_discovery6


def packet_limit(socket: UdpSocket, address: bytes) -> int:
    """The largest packet to ``address`` that is cut nowhere here; 0: any, it may be cut."""
    choice = choice_of(socket, address)
    network = socket.table.network
    if len(address) == 16 and socket.forbids_fragments:
        return network.path_mtu(address)
    if choice == PATH_DO:
        return network.path_mtu(address)
    return network.link_mtu(address) if choice in (PATH_PROBE, PATH_INTERFACE) else 0


def is_too_large(socket: UdpSocket, address: bytes, length: int) -> bool:
    """Would a datagram of ``length`` bytes have to be cut, which its user has forbidden?"""
    limit = packet_limit(socket, address)
    if not limit:
        return False
    headers = _HEADERS if len(address) == 4 else _HEADERS_6
    return headers + length + (0 if socket.space else _UDP_BYTES) > limit


def mtu_for(socket: UdpSocket, address: bytes) -> int:
    """What packets of ``socket`` to ``address`` are cut to."""
    network = socket.table.network
    if choice_of(socket, address) < PATH_PROBE:
        return network.path_mtu(address)
    return network.link_mtu(address)


def forbids_cutting(socket: UdpSocket) -> bool:
    """Are its IPv4 packets that fit sent so that no router cuts them?"""
    return socket.path_discovery in (PATH_WANT, PATH_DO, PATH_PROBE)


def too_big(socket: UdpSocket, error: IcmpError) -> str | None:
    """A datagram of ``socket`` did not fit. Returns why the report is ignored, or None. Over IPv6
    the path's MTU has been kept already, by the address alone. [RFC 8201 4]"""
    address = error.remote[0]
    choice = choice_of(socket, address)
    if choice >= PATH_INTERFACE:
        return "icmp_unwanted"
    if len(address) == 4 and not socket.table.network.learn_path(address, error.mtu):
        return "icmp_mtu"
    if choice != PATH_DONT and socket.remote == error.remote:
        socket.fail(EMSGSIZE)
        socket.table.counts["udp_errors"] += 1
    return None


def get_option(socket: UdpSocket, level: int, name: int) -> int:
    """The value of an option of this module, or -ENOPROTOOPT, -EOPNOTSUPP (IPv6 of a socket of
    IPv4), -ENOTCONN (of no one path)."""
    if level == IPPROTO_IPV6 and socket.family != AF_INET6:
        return -EOPNOTSUPP
    option = level, name
    if option in _DISCOVER:
        return socket.path_discovery if level == IPPROTO_IP else socket.path_discovery6
    if option in _MTU:
        remote = socket.remote
        if remote is None or (len(remote[0]) == 16) != (level == IPPROTO_IPV6):
            return -ENOTCONN
        return mtu_for(socket, remote[0])
    return int(socket.forbids_fragments) if option == _DONTFRAG else -ENOPROTOOPT


def set_option(socket: UdpSocket, level: int, name: int, value: bytes) -> int:
    """0, -EINVAL, -ENOPROTOOPT."""
    if level == IPPROTO_IPV6 and socket.family != AF_INET6:
        return -ENOPROTOOPT
    option = level, name
    if option not in _DISCOVER and option != _DONTFRAG:
        return -ENOPROTOOPT
    is_short = len(value) < _INT.size
    if is_short:  # a byte counts for IPv4; for IPv6 nothing does
        number = value[0] if value and level == IPPROTO_IP else 0
    else:
        number = _INT.unpack_from(value)[0]
    if option == _DONTFRAG:
        socket.forbids_fragments = number != 0
    elif not PATH_DONT <= number <= PATH_OMIT or (is_short and level == IPPROTO_IPV6):
        return -EINVAL
    elif level == IPPROTO_IP:
        socket.path_discovery = number
    else:
        socket.path_discovery6 = number
    return 0
