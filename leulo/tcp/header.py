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
ECE: Final = 0x40
CWR: Final = 0x80

VNET_PLAIN: Final = bytes(VNET_BYTES)
_VNET: Final = Struct("<BBHHHH")
_NEEDS_CSUM: Final = 1
_GSO_NONE: Final = 0
_GSO_TCPV4: Final = 1
_GSO_TCPV6: Final = 4
_GSO_ECN: Final = 0x80
VNET_CHECKSUM: Final = _VNET.pack(_NEEDS_CSUM, _GSO_NONE, 0, 0, LINK_BYTES + 20, 16)
VNET_CHECKSUM_6: Final = _VNET.pack(_NEEDS_CSUM, _GSO_NONE, 0, 0, LINK_BYTES + 40, 16)

# virtio_net_hdr, Ethernet; of IPv4 version to length, identification and fragment, TTL and
# protocol, checksum; addresses and ports
_PREFIX: Final = Struct("!10s14sIIHH12s")
# the same with seq, ack, offset and flags, window, checksum, urgent
_PLAIN: Final = Struct("!10s14sIIHH12sIIHHHH")
# the same over IPv6: version to flow label, length, next header and hop limit [RFC 8200 3]
_PREFIX_6: Final = Struct("!10s14sIHH36s")
_PLAIN_6: Final = Struct("!10s14sIHH36sIIHHHH")
_FIXED: Final = Struct("!IIHHHH")
_VERSION_4: Final = 0x45000000  # twenty bytes, and the length to be added
_DONT_FRAGMENT: Final = 0x4000
_TTL_AND_TCP: Final = 0x4006
_IP_SUM: Final = 0x4500 + _DONT_FRAGMENT + _TTL_AND_TCP  # of the words that are always so
_TCP: Final = 6
_VERSION_6: Final = 0x60000000
_TCP_AND_HOPS: Final = 0x0640
_IPV6_BYTES: Final = 40
_ENDS_BYTES: Final = 12  # of IPv4: two addresses, two ports
_CHECKSUM_AT: Final = 16  # in the TCP header

TIMESTAMPED: Final = Struct("!IIHHHHIII")  # the same with NOP NOP TS
TIMESTAMPED_WORDS: Final = 0x8000  # data offset of that form


def gso_vnet(tcp_header_bytes: int, mss: int, is_v6: bool, is_cwr_set: bool) -> bytes:
    """The virtio_net_hdr of a super-segment that the link cuts into pieces of ``mss``; CWR is to
    be set in the first one only."""
    kind, start = (_GSO_TCPV6, LINK_BYTES + 40) if is_v6 else (_GSO_TCPV4, LINK_BYTES + 20)
    if is_cwr_set:
        kind |= _GSO_ECN
    return _VNET.pack(_NEEDS_CSUM, kind, start + tcp_header_bytes, mss, start, 16)


def of_tcb(tcb: Tcb, header_bytes: int, length: int) -> tuple[bytes, int]:
    """Everything up to the ports for a segment of this connection, and the sum of its pseudo
    header. ``tcb.link_header`` must be known."""
    ends = tcb.ends
    is_v4 = len(ends) == _ENDS_BYTES
    ecn = tcb.ecn
    tos = 0 if ecn is None or not length else ecn.codepoint
    if not tcb.engine.has_checksum_offload:
        vnet = VNET_PLAIN
    elif length > tcb.mss:
        vnet = gso_vnet(header_bytes, tcb.mss, not is_v4, ecn is not None and ecn.is_cwr_set)
    else:
        vnet = VNET_CHECKSUM if is_v4 else VNET_CHECKSUM_6
    link_header = tcb.link_header or bytes(LINK_BYTES)
    tcp_bytes = header_bytes + length
    addresses = int.from_bytes(ends[:-4], "big")
    pseudo = (addresses + _TCP + tcp_bytes) % 0xFFFF
    if not is_v4:
        first = _VERSION_6 | tos << 20
        return _PREFIX_6.pack(vnet, link_header, first, tcp_bytes, _TCP_AND_HOPS, ends), pseudo
    total = 20 + tcp_bytes
    checksum = 0xFFFF - (addresses + _IP_SUM + tos + total) % 0xFFFF
    return _PREFIX.pack(
        vnet,
        link_header,
        _VERSION_4 + (tos << 16) + total,
        _DONT_FRAGMENT,
        _TTL_AND_TCP,
        checksum,
        ends,
    ), pseudo


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
    ends: bytes,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes,
    has_checksum_offload: bool,
) -> bytes:
    """A whole segment without payload. ``ends`` are addresses and ports as they stand in it, see
    `leulo.tcp.addresses.turned`."""
    addresses = int.from_bytes(ends[:-4], "big")
    tcp_bytes = 20 + len(options)
    pseudo = (addresses + _TCP + tcp_bytes) % 0xFFFF
    control = tcp_bytes << 10 | flags
    if len(ends) == _ENDS_BYTES:
        total = 20 + tcp_bytes
        head = _PLAIN.pack(
            VNET_CHECKSUM if has_checksum_offload else VNET_PLAIN, link_header, _VERSION_4 + total,
            _DONT_FRAGMENT, _TTL_AND_TCP, 0xFFFF - (addresses + _IP_SUM + total) % 0xFFFF, ends,
            seq & MASK, ack & MASK, control, window, pseudo, 0,
        )  # fmt: skip
    else:
        head = _PLAIN_6.pack(
            VNET_CHECKSUM_6 if has_checksum_offload else VNET_PLAIN, link_header, _VERSION_6,
            tcp_bytes, _TCP_AND_HOPS, ends, seq & MASK, ack & MASK, control, window, pseudo, 0,
        )  # fmt: skip
    frame = head + options
    return frame if has_checksum_offload else finish(frame, ())
