"""What a network card would do, in software: fill checksums and cut super-segments.

For links and NICs that take only plain frames, and for captures. The frame is hostile (a guest's
NIC may send anything): what cannot be done raises `ParseError` with the reason of a drop.
Payload is never copied, only sliced. [virtio 1.2 5.1.6.2] [RFC 9293 3.1]
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from leulo.links.base import Buffer, Offload, TxFrame
from leulo.net.wire import ParseError, vnet
from leulo.net.wire.checksum import fold, pseudo_header, sum_parts, sum_words
from leulo.net.wire.ethernet import HEADER_BYTES as ETHERNET_BYTES
from leulo.net.wire.ethernet import TYPE_IPV4, TYPE_IPV6
from leulo.net.wire.ipv4 import MAX_PACKET_BYTES, PROTOCOL_TCP
from leulo.net.wire.tcp import CHECKSUM_OFFSET, CWR, FIN, PSH

EVERYTHING: Final = Offload(checksum=True, tso_bytes=65_535)
NOTHING: Final = Offload(checksum=False, tso_bytes=0)

_START: Final = vnet.HEADER_BYTES
_IP: Final = _START + ETHERNET_BYTES
_IPV6_BYTES: Final = 40
_UDP_CHECKSUM_OFFSET: Final = 6
_MAX_SEGMENTS: Final = 65_535 // 8  # a hostile gso_size of 1 shall not make 65,535 frames
_SEQUENCE: Final = Struct("!I")
_HALF: Final = Struct("!H")


def is_accepted(frame: TxFrame | bytes, offload: Offload) -> bool:
    """Can a port with this offload take the frame as it is? One look at the header."""
    first = frame if isinstance(frame, bytes) else frame[0]
    if len(first) < _START:
        return False
    if first[1] == vnet.GSO_NONE:
        return offload.checksum or not first[0] & vnet.F_NEEDS_CSUM
    if isinstance(frame, bytes):
        return len(frame) - _IP <= offload.tso_bytes
    return sum(len(part) for part in frame) - _IP <= offload.tso_bytes


def convert(frame: TxFrame, offload: Offload) -> list[TxFrame]:
    """The frames that say the same to a port with this offload; ``[frame]`` if it takes it.

    Raises ParseError: ``vnet_short``, ``vnet_checksum_place``, ``vnet_gso``, ``gso_kind``,
    ``gso_header``.
    """
    if is_accepted(frame, offload):
        return [frame]
    size = sum(len(part) for part in frame)
    header = vnet.VnetRepr.parse(frame[0], size - _START)
    if header.gso_type == vnet.GSO_NONE:
        return [_fill(frame, header)]
    return _cut(frame, header, offload)


def complete(frame: TxFrame) -> TxFrame:
    """The frame with its checksum filled and, if it is a super-segment, left whole: as a
    capture shows it. Never raises: what cannot be filled is returned as it is."""
    try:
        if not frame[0][0] & vnet.F_NEEDS_CSUM:
            return frame
        size = sum(len(part) for part in frame)
        return _fill(frame, vnet.VnetRepr.parse(frame[0], size - _START))
    except (ParseError, IndexError):
        return frame


def _fill(frame: TxFrame, header: vnet.VnetRepr) -> TxFrame:
    """Finish a partial checksum. The field holds the pseudo header's sum, so that the sum over
    everything from ``csum_start`` is the right one. [virtio 1.2 5.1.6.2]"""
    start = _START + header.csum_start
    place = start + header.csum_offset
    first = frame[0]
    if place + 2 > len(first):  # the headers are scattered
        first = b"".join(frame)
        frame = (first,)
    value = ~sum_parts((first[start:], *frame[1:])) & 0xFFFF
    if value == 0 and header.csum_offset == _UDP_CHECKSUM_OFFSET:
        value = 0xFFFF  # zero would mean that there is none [RFC 768]
    done = vnet.PLAIN
    if header.gso_type != vnet.GSO_NONE:
        done = vnet.VnetRepr(0, header.gso_type, header.header_bytes, header.gso_size).emit()
    head = b"".join((done, first[_START:place], value.to_bytes(2, "big"), first[place + 2 :]))
    return (head, *frame[1:])


def _cut(frame: TxFrame, header: vnet.VnetRepr, offload: Offload) -> list[TxFrame]:
    """Segments of at most ``gso_size`` payload bytes, as a card with TSO sends them: FIN and PSH
    on the last, CWR on the first [RFC 3168 6.1.2], the IP identification counted up."""
    kind = header.gso_type & ~vnet.GSO_ECN
    first = frame[0]
    ip_bytes, tcp_bytes, is_ipv4 = _tcp_headers(first, kind)
    head_bytes = _IP + ip_bytes + tcp_bytes
    if len(first) < head_bytes:  # the headers are scattered
        first = b"".join(frame)
        frame = (first,)
        ip_bytes, tcp_bytes, is_ipv4 = _tcp_headers(first, kind)
        head_bytes = _IP + ip_bytes + tcp_bytes
        if len(first) < head_bytes:
            raise ParseError("gso_header")
    payload: list[Buffer] = [memoryview(part) for part in (first[head_bytes:], *frame[1:])]
    total = sum(len(part) for part in payload)
    size = header.gso_size
    if total > _MAX_SEGMENTS * size or ip_bytes + tcp_bytes + size > MAX_PACKET_BYTES:
        raise ParseError("gso_header")
    head = bytearray(first[:head_bytes])
    tcp = _IP + ip_bytes
    source = bytes(head[_IP + 12 : _IP + 16] if is_ipv4 else head[_IP + 8 : _IP + 24])
    destination = bytes(head[_IP + 16 : _IP + 20] if is_ipv4 else head[_IP + 24 : _IP + 40])
    if offload.checksum:
        transport = vnet.HEADER.pack(
            vnet.F_NEEDS_CSUM,
            vnet.GSO_NONE,
            head_bytes - _START,
            0,
            tcp - _START,
            CHECKSUM_OFFSET,
        )
    else:
        transport = vnet.PLAIN
    head[:_START] = transport
    identification = _HALF.unpack_from(head, _IP + 4)[0]
    sequence = _SEQUENCE.unpack_from(head, tcp + 4)[0]
    flags = head[tcp + 13]
    # The fields that differ between segments are cleared, so that the sums of the rest are
    # taken once.
    _SEQUENCE.pack_into(head, tcp + 4, 0)
    _HALF.pack_into(head, tcp + CHECKSUM_OFFSET, 0)
    head[tcp + 13] = 0
    if is_ipv4:
        head[_IP + 2 : _IP + 6] = bytes(4)
        head[_IP + 10 : _IP + 12] = bytes(2)
    ip_sum = sum_words(bytes(head[_IP:tcp]))
    pseudo = pseudo_header(source, destination, PROTOCOL_TCP, tcp_bytes)
    tcp_sum = sum_words(bytes(head[tcp:]))
    segments: list[TxFrame] = []
    at = 0
    for pieces, length in _slices(payload, size, total):
        is_last = at + length >= total
        ip_total = ip_bytes + tcp_bytes + length
        if is_ipv4:
            number = (identification + len(segments)) & 0xFFFF
            _HALF.pack_into(head, _IP + 2, ip_total)
            _HALF.pack_into(head, _IP + 4, number)
            _HALF.pack_into(head, _IP + 10, ~fold(ip_sum + ip_total + number) & 0xFFFF)
        else:
            _HALF.pack_into(head, _IP + 4, ip_total - _IPV6_BYTES)
        place = (sequence + at) & 0xFFFFFFFF
        _SEQUENCE.pack_into(head, tcp + 4, place)
        kept = flags if not segments else flags & ~CWR
        if not is_last:
            kept &= ~(FIN | PSH)
        head[tcp + 13] = kept
        if offload.checksum:
            value = fold(pseudo + length)
        else:
            value = pseudo + length + tcp_sum + (place >> 16) + (place & 0xFFFF) + kept
            value = ~sum_parts(pieces, value) & 0xFFFF
        _HALF.pack_into(head, tcp + CHECKSUM_OFFSET, value)
        segments.append((bytes(head), *pieces))
        at += length
    return segments


def _tcp_headers(first: Buffer, kind: int) -> tuple[int, int, bool]:
    """Lengths of the IP and TCP headers, and whether the packet is IPv4."""
    if len(first) < _IP + 20:
        raise ParseError("gso_header")
    ethertype = first[_IP - 2] << 8 | first[_IP - 1]
    if kind == vnet.GSO_TCPV4 and ethertype == TYPE_IPV4 and first[_IP + 9] == PROTOCOL_TCP:
        ip_bytes = (first[_IP] & 15) * 4
    elif kind == vnet.GSO_TCPV6 and ethertype == TYPE_IPV6 and first[_IP + 6] == PROTOCOL_TCP:
        ip_bytes = _IPV6_BYTES
    else:
        raise ParseError("gso_kind")
    at = _IP + ip_bytes + 12
    if ip_bytes < 20 or len(first) <= at:
        raise ParseError("gso_header")
    tcp_bytes = (first[at] >> 4) * 4
    if tcp_bytes < 20:
        raise ParseError("gso_header")
    return ip_bytes, tcp_bytes, kind == vnet.GSO_TCPV4


def _slices(payload: list[Buffer], size: int, total: int) -> list[tuple[list[Buffer], int]]:
    """The payload in pieces of ``size`` bytes, the last one shorter; one empty if there is
    none."""
    if total == 0:
        return [([], 0)]
    slices: list[tuple[list[Buffer], int]] = []
    pieces: list[Buffer] = []
    room = size
    for part in payload:
        at = 0
        while at < len(part):
            piece = part[at : at + room]
            pieces.append(piece)
            at += len(piece)
            room -= len(piece)
            if room == 0:
                slices.append((pieces, size))
                pieces = []
                room = size
    if pieces:
        slices.append((pieces, size - room))
    return slices
