"""Headers of what we send: virtio_net_hdr, Ethernet, IPv4 or IPv6 and TCP, in one piece.

A connection keeps the first two as they stand before nearly all of its segments (`front`), and its
addresses and ports in the order of a header; `output` packs the rest of the usual segment itself,
`plain` makes every other header. The datagram is atomic, so its identification may stay zero
[RFC 6864 4.1]. With checksum offload the TCP checksum field holds the pseudo header's sum, as
the link expects it; without, `finish` replaces it. [virtio 1.2 5.1.6] [RFC 9293 3.1]
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from leulo.net.wire.checksum import sum_parts, sum_words
from leulo.tcp.addresses import words_of
from leulo.tcp.options import SYN_MSS, SYN_TIMESTAMPS, SYN_WSCALE
from leulo.tcp.seq import MASK

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
AE: Final = 0x100  # [RFC 9768 7]

VNET_PLAIN: Final = bytes(VNET_BYTES)
_VNET: Final = Struct("<BBHHHH")
_NEEDS_CSUM: Final = 1
_GSO_NONE: Final = 0
_GSO_TCPV4: Final = 1
_GSO_TCPV6: Final = 4
_GSO_ECN: Final = 0x80
VNET_CHECKSUM: Final = _VNET.pack(_NEEDS_CSUM, _GSO_NONE, 0, 0, LINK_BYTES + 20, 16)
VNET_CHECKSUM_6: Final = _VNET.pack(_NEEDS_CSUM, _GSO_NONE, 0, 0, LINK_BYTES + 40, 16)

# front; of IPv4 version to length, identification and fragment, TTL and protocol, checksum;
# addresses and ports; seq, ack, offset and flags, window, checksum, urgent
_PLAIN: Final = Struct("!24sIIHH12sIIHHHH")
# front; of IPv6 version to flow label, length, next header and hop limit [RFC 8200 3]; the rest
_PLAIN_6: Final = Struct("!24sIHH36sIIHHHH")
# the usual segment: IPv4, NOP NOP TS
TIMESTAMPED: Final = Struct("!24sIIHH12sIIHHHHIII")
TIMESTAMPED_BYTES: Final = 32  # of its TCP header
TIMESTAMPED_WORDS: Final = 0x8000  # its data offset

# the usual SYN: IPv4; MSS, SACK permitted, timestamps and window scale in Linux's order
_SYN: Final = Struct("!24sIIHH12sIIHHHHHHIIII")
_SYN_TCP_BYTES: Final = 40
_SYN_WORDS: Final = 0xA000

VERSION_4: Final = 0x45000000  # twenty bytes, and the length to be added
DONT_FRAGMENT: Final = 0x4000
TTL_AND_TCP: Final = 0x4006
IP_SUM: Final = 0x4500 + DONT_FRAGMENT + TTL_AND_TCP  # of the words that are always so
TCP: Final = 6
_VERSION_6: Final = 0x60000000
_TCP_AND_HOPS: Final = 0x0640
_IPV6_BYTES: Final = 40
ENDS_4_BYTES: Final = 12  # of IPv4: two addresses, two ports
_CHECKSUM_AT: Final = 16  # in the TCP header


def front(link_header: bytes, is_v6: bool, has_checksum_offload: bool) -> bytes:
    """What begins a segment that is not a super-segment: virtio_net_hdr, Ethernet header."""
    if not has_checksum_offload:
        return VNET_PLAIN + link_header
    return (VNET_CHECKSUM_6 if is_v6 else VNET_CHECKSUM) + link_header


def gso_front(
    front: bytes, tcp_header_bytes: int, mss: int, is_v6: bool, is_cwr_set: bool
) -> bytes:
    """The same for a super-segment that the link cuts into pieces of ``mss``; CWR is to be set in
    the first one only."""
    kind, start = (_GSO_TCPV6, LINK_BYTES + 40) if is_v6 else (_GSO_TCPV4, LINK_BYTES + 20)
    if is_cwr_set:
        kind |= _GSO_ECN
    vnet = _VNET.pack(_NEEDS_CSUM, kind, start + tcp_header_bytes, mss, start, 16)
    return vnet + front[VNET_BYTES:]


def finish(header: bytes, payload: Frame) -> bytes:
    """``header`` with the whole TCP checksum in place of the pseudo header's sum."""
    start = TCP_AT if header[IP_AT] >> 4 == 4 else IP_AT + _IPV6_BYTES
    total = sum_parts((header[start:], *payload)) if payload else sum_words(header[start:])
    at = start + _CHECKSUM_AT
    return header[:at] + (0xFFFF - total).to_bytes(2, "big") + header[at + 2 :]


def fragmentable(head: bytes, identification: int) -> bytes:
    """``head`` of a packet that may be fragmented: without DF and with a number of its own. Over
    IPv6 only the sender fragments. [RFC 6864 4.1]"""
    if head[IP_AT] >> 4 != 4:
        return head
    at = IP_AT + 4
    words = (identification << 16).to_bytes(4, "big")
    total = int.from_bytes(head[at + 6 : at + 8], "big") + DONT_FRAGMENT + 0xFFFF - identification
    return b"".join((head[:at], words, head[at + 4 : at + 6], (total % 0xFFFF).to_bytes(2, "big"),
                     head[at + 8 :]))  # fmt: skip


def plain(
    front: bytes,
    ends: bytes,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes,
    length: int = 0,
    tos: int = 0,
) -> bytes:
    """All headers of a segment with ``length`` bytes of payload, the pseudo header's sum in place
    of the checksum. ``ends`` are addresses and ports as they stand in it, see
    `leulo.tcp.addresses.turned`; ``tos`` is the byte of DSCP and ECN."""
    addresses = words_of(ends)
    header_bytes = 20 + len(options)
    control = header_bytes << 10 | flags
    tcp_bytes = header_bytes + length
    pseudo = (addresses + TCP + tcp_bytes) % 0xFFFF
    if len(ends) == ENDS_4_BYTES:
        total = 20 + tcp_bytes
        return _PLAIN.pack(
            front, VERSION_4 + (tos << 16) + total, DONT_FRAGMENT, TTL_AND_TCP,
            0xFFFF - (addresses + IP_SUM + tos + total) % 0xFFFF, ends,
            seq & MASK, ack & MASK, control, window, pseudo, 0,
        ) + options  # fmt: skip
    return _PLAIN_6.pack(
        front, _VERSION_6 | tos << 20, tcp_bytes, _TCP_AND_HOPS, ends,
        seq & MASK, ack & MASK, control, window, pseudo, 0,
    ) + options  # fmt: skip


def usual_syn(
    front: bytes,
    ends: bytes,
    words: int,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    mss: int,
    tsval: int,
    tsecr: int,
    wscale: int,
) -> bytes:
    """As `plain`, of a SYN or SYN-ACK over IPv4 with all of Linux's options; ``words`` is the sum
    of the addresses modulo 0xFFFF."""
    return _SYN.pack(
        front, VERSION_4 + 20 + _SYN_TCP_BYTES, DONT_FRAGMENT, TTL_AND_TCP,
        0xFFFF - (words + IP_SUM + 20 + _SYN_TCP_BYTES) % 0xFFFF, ends, seq & MASK, ack & MASK,
        _SYN_WORDS | flags, window, (words + TCP + _SYN_TCP_BYTES) % 0xFFFF, 0,
        SYN_MSS, mss, SYN_TIMESTAMPS, tsval, tsecr, SYN_WSCALE | wscale,
    )  # fmt: skip


def is_intact(frame: bytes, end: int) -> bool:
    """Are the checksums of a received IPv4 header of twenty bytes and of its segment, which ends
    at ``end``, right? [RFC 9293 3.1]"""
    if int.from_bytes(frame[IP_AT:TCP_AT], "big") % 0xFFFF:
        return False
    pseudo = int.from_bytes(frame[36:44], "big") + TCP + end - TCP_AT
    return sum_words(frame[TCP_AT:end], pseudo) == 0xFFFF
