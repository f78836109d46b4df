"""UDP datagrams between the table and IP packets: checks of what came, frames of what goes.

`emit_datagram` makes one frame, or fragments where it does not fit. With checksum offload the
field of a whole datagram holds the pseudo header's sum, as the link expects it; fragments carry
a finished one. [RFC 768] [RFC 1122 4.1] [virtio 1.2 5.1.6]
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from leulo.net import ipv6
from leulo.net.ipv4 import cut
from leulo.net.wire import Buffer, vnet
from leulo.net.wire.checksum import pseudo_header
from leulo.net.wire.ethernet import HEADER_BYTES as LINK_BYTES
from leulo.net.wire.ipv4 import HEADER_BYTES as IPV4_BYTES
from leulo.net.wire.ipv4 import PROTOCOL_UDP, Ipv4Repr
from leulo.net.wire.ipv6 import HEADER_BYTES as IPV6_BYTES
from leulo.net.wire.ipv6 import Ipv6Repr
from leulo.net.wire.udp import CHECKSUM_OFFSET, HEADER_BYTES, UdpRepr
from leulo.udp.marks import TTL
from leulo.udp.socket import Endpoint
from leulo.udp.table import UdpTable

_HEADER: Final = Struct("!HHHH")
_VNET_CHECKSUM: Final = vnet.VnetRepr(
    flags=vnet.F_NEEDS_CSUM, csum_start=LINK_BYTES + IPV4_BYTES, csum_offset=CHECKSUM_OFFSET
).emit()

Frame = tuple[Buffer, ...]


_VNET_CHECKSUM_V6: Final = vnet.VnetRepr(
    flags=vnet.F_NEEDS_CSUM, csum_start=LINK_BYTES + IPV6_BYTES, csum_offset=CHECKSUM_OFFSET
).emit()


def datagram_arrives(
    table: UdpTable,
    addresses: tuple[bytes, bytes],
    payload: Buffer,
    to_everyone: bool,
    is_checksum_trusted: bool,
) -> bool:
    """A datagram from and to ``addresses``. False: nobody has that port.

    ``is_checksum_trusted``: the link has verified the checksum, or left it to be filled. Raises
    ParseError with the reason of a drop. [RFC 1122 4.1.3.4]
    """
    source, destination = addresses
    udp = UdpRepr.parse(payload, source, destination, verify_checksum=not is_checksum_trusted)
    return table.input(
        (source, udp.source_port),
        (destination, udp.destination_port),
        payload[HEADER_BYTES : HEADER_BYTES + udp.payload_bytes],
        to_everyone,
    )


def emit_datagram(
    link_header: bytes,
    source: Endpoint,
    destination: Endpoint,
    data: bytes,
    mtu: int,
    has_checksum_offload: bool,
    identification: int,
    dont_fragment: bool = False,
    ttl: int = TTL,
    tos: int = 0,
) -> list[Frame]:
    """The frames that carry ``data`` over IPv4; the payload of one that fits is not copied.
    ``dont_fragment``: one that fits is not to be cut on its way."""
    length = HEADER_BYTES + len(data)
    ip = Ipv4Repr(
        source[0], destination[0], PROTOCOL_UDP, length, ttl, tos, identification,
        dont_fragment=dont_fragment and IPV4_BYTES + length <= mtu,
    )  # fmt: skip
    if has_checksum_offload and IPV4_BYTES + length <= mtu:
        partial = pseudo_header(source[0], destination[0], PROTOCOL_UDP, length)
        udp = _HEADER.pack(source[1], destination[1], length, partial)
        head = b"".join((_VNET_CHECKSUM, link_header, ip.emit(), udp))
        return [(head, data) if data else (head,)]
    whole = UdpRepr(source[1], destination[1], len(data)).emit(source[0], destination[0], data)
    return [(b"".join((vnet.PLAIN, link_header, packet)),) for packet in cut(ip, whole, mtu)]


def emit_datagram_v6(
    link_header: bytes,
    source: Endpoint,
    destination: Endpoint,
    data: bytes,
    mtu: int,
    has_checksum_offload: bool,
    identification: int,
    hops: int = TTL,
    traffic_class: int = 0,
) -> list[Frame]:
    """The same over IPv6."""
    length = HEADER_BYTES + len(data)
    ip = Ipv6Repr(source[0], destination[0], PROTOCOL_UDP, length, hops, traffic_class)
    if has_checksum_offload and IPV6_BYTES + length <= mtu:
        partial = pseudo_header(source[0], destination[0], PROTOCOL_UDP, length)
        udp = _HEADER.pack(source[1], destination[1], length, partial)
        head = b"".join((_VNET_CHECKSUM_V6, link_header, ip.emit(), udp))
        return [(head, data) if data else (head,)]
    whole = UdpRepr(source[1], destination[1], len(data)).emit(source[0], destination[0], data)
    packets = ipv6.cut(ip, whole, mtu, identification)
    return [(b"".join((vnet.PLAIN, link_header, packet)),) for packet in packets]
