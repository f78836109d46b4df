"""Headers of what we send: virtio_net_hdr, Ethernet, IPv4 or IPv6 and TCP, in one piece.

A connection keeps the part up to the ports as a template per payload length, since nothing in it
changes from segment to segment: the datagram is atomic, so its identification may stay zero
[RFC 6864 4.1]. Segments without a connection (resets, SYN-ACKs, answers of TIME_WAIT) are built
whole by `plain`. With checksum offload the TCP checksum field holds the pseudo header's sum, as
the link expects it; without, `finish` replaces it. [virtio 1.2 5.1.6] [RFC 9293 3.1]
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from leulo.net.wire.checksum import sum_parts, sum_words
from leulo.tcp.seq import MASK

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

Buffer = bytes | memoryview
Frame = tuple[Buffer, ...]

VNET_BYTES: Final = 10
LINK_BYTES: Final = 14
IP_AT: Final = VNET_BYTES + LINK_BYTES  # offsets in a received frame
TCP_AT: Final = IP_AT + 20
OPTIONS_AT: Final = TCP_AT + 20
TIMESTAMPED_AT: Final = OPTIONS_AT + 12  # payload behind the ordinary header

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20

VNET_PLAIN: Final = bytes(VNET_BYTES)
_VNET: Final = Struct("<BBHHHH")
_NEEDS_CSUM: Final = 1
_GSO_NONE: Final = 0
_GSO_TCPV4: Final = 1
_GSO_TCPV6: Final = 4
VNET_CHECKSUM: Final = _VNET.pack(_NEEDS_CSUM, _GSO_NONE, 0, 0, LINK_BYTES + 20, 16)
VNET_CHECKSUM_6: Final = _VNET.pack(_NEEDS_CSUM, _GSO_NONE, 0, 0, LINK_BYTES + 40, 16)

# virtio_net_hdr, Ethernet, IPv4, ports
_PREFIX: Final = Struct("!10s14sBBHHHBBH4s4sHH")
# the same with seq, ack, offset and flags, window, checksum, urgent
_PLAIN: Final = Struct("!10s14sBBHHHBBH4s4sHHIIHHHH")
# the same over IPv6 [RFC 8200 3]
_PREFIX_6: Final = Struct("!10s14sIHBB16s16sHH")
_PLAIN_6: Final = Struct("!10s14sIHBB16s16sHHIIHHHH")
_FIXED: Final = Struct("!IIHHHH")
_IP_SUM: Final = 0x4500 + 0x4000 + 0x4006  # of the words of an IPv4 header that are always so
_DONT_FRAGMENT: Final = 0x4000
_TTL: Final = 64
_TCP: Final = 6
_VERSION_6: Final = 0x60000000
_IPV6_BYTES: Final = 40
_CHECKSUM_AT: Final = 16  # in the TCP header

TIMESTAMPED: Final = Struct("!IIHHHHIII")  # the same with NOP NOP TS
TIMESTAMPED_WORDS: Final = 0x8000  # data offset of that form


def gso_vnet(tcp_header_bytes: int, mss: int, is_v6: bool) -> bytes:
    """The virtio_net_hdr of a super-segment that the link cuts into pieces of ``mss``."""
    kind, start = (_GSO_TCPV6, LINK_BYTES + 40) if is_v6 else (_GSO_TCPV4, LINK_BYTES + 20)
    return _VNET.pack(_NEEDS_CSUM, kind, start + tcp_header_bytes, mss, start, 16)


def of_tcb(tcb: Tcb, header_bytes: int, length: int) -> tuple[bytes, int]:
    """Everything up to the ports for a segment of this connection, and the sum of its pseudo
    header. ``tcb.link_header`` must be known."""
    local = tcb.local
    peer = tcb.peer
    is_v6 = len(local) == 16
    if not tcb.engine.has_checksum_offload:
        vnet = VNET_PLAIN
    elif length > tcb.mss:
        vnet = gso_vnet(header_bytes, tcb.mss, is_v6)
    else:
        vnet = VNET_CHECKSUM_6 if is_v6 else VNET_CHECKSUM
    addresses = int.from_bytes(local + peer, "big")
    tcp_bytes = header_bytes + length
    link_header = tcb.link_header or bytes(LINK_BYTES)
    if is_v6:
        text = _PREFIX_6.pack(
            vnet, link_header, _VERSION_6, tcp_bytes, _TCP, _TTL,
            local, peer, tcb.local_port, tcb.peer_port,
        )  # fmt: skip
    else:
        total = 20 + tcp_bytes
        text = _PREFIX.pack(
            vnet, link_header, 0x45, 0, total, 0, _DONT_FRAGMENT, _TTL, _TCP,
            0xFFFF - (addresses + _IP_SUM + total) % 0xFFFF,
            local, peer, tcb.local_port, tcb.peer_port,
        )  # fmt: skip
    return text, (addresses + _TCP + tcp_bytes) % 0xFFFF


def fixed(seq: int, ack: int, control: int, window: int, partial: int) -> bytes:
    """The TCP header behind the ports without options; ``control`` holds offset and flags."""
    return _FIXED.pack(seq & MASK, ack & MASK, control, window, partial, 0)


def finish(header: bytes, payload: Frame) -> bytes:
    """``header`` with the whole TCP checksum in place of the pseudo header's sum."""
    start = TCP_AT if header[IP_AT] >> 4 == 4 else IP_AT + _IPV6_BYTES
    total = sum_parts((header[start:], *payload)) if payload else sum_words(header[start:])
    at = start + _CHECKSUM_AT
    return header[:at] + (0xFFFF - total).to_bytes(2, "big") + header[at + 2 :]


def plain(
    link_header: bytes,
    addresses: tuple[bytes, int, bytes, int],
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes,
    has_checksum_offload: bool,
) -> bytes:
    """A whole segment without payload. ``addresses`` are local and peer with their ports."""
    local, local_port, peer, peer_port = addresses
    words = int.from_bytes(local + peer, "big")
    tcp_bytes = 20 + len(options)
    if len(local) == 16:
        head = _PLAIN_6.pack(
            VNET_CHECKSUM_6 if has_checksum_offload else VNET_PLAIN, link_header,
            _VERSION_6, tcp_bytes, _TCP, _TTL, local, peer, local_port, peer_port,
            seq & MASK, ack & MASK, tcp_bytes << 10 | flags, window,
            (words + _TCP + tcp_bytes) % 0xFFFF, 0,
        )  # fmt: skip
        return head + options if has_checksum_offload else finish(head + options, ())
    total = 20 + tcp_bytes
    head = _PLAIN.pack(
        VNET_CHECKSUM if has_checksum_offload else VNET_PLAIN, link_header,
        0x45, 0, total, 0, _DONT_FRAGMENT, _TTL, _TCP,
        0xFFFF - (words + _IP_SUM + total) % 0xFFFF, local, peer, local_port, peer_port,
        seq & MASK, ack & MASK, tcp_bytes << 10 | flags, window,
        (words + _TCP + tcp_bytes) % 0xFFFF, 0,
    )  # fmt: skip
    frame = head + options
    return frame if has_checksum_offload else finish(frame, ())
