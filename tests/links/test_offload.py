"""Software offload: what leaves is exactly what a card with offload would have sent.

scapy checks every checksum, and the pieces joined again are the super-segment.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from leulo.links.base import Offload, TxFrame
from leulo.links.offload import EVERYTHING, NOTHING, complete, convert, is_accepted
from leulo.net.wire import ParseError, vnet
from leulo.net.wire.checksum import pseudo_header

MACS = {"src": "52:54:00:00:00:01", "dst": "52:54:00:00:00:02"}
CHECKSUM_ONLY = Offload(checksum=True, tso_bytes=0)
FIN, PSH, ACK, CWR, URG = 1, 8, 16, 0x80, 0x20


def super_segment(
    payload: bytes, gso_size: int, *, version: int = 4, flags: int = ACK, cut: int = 0,
    options: list[tuple[str, object]] | None = None, seq: int = 0xFFFFFF00, ident: int = 0xFFFE,
) -> TxFrame:  # fmt: skip
    """A TCP super-segment as a stack sends it: partial checksum, payload in pieces of ``cut``."""
    network = (
        IP(src="10.0.0.1", dst="10.0.0.2", id=ident)
        if version == 4
        else IPv6(src="fd00::1", dst="fd00::2")
    )
    tcp = TCP(sport=80, dport=4000, seq=seq, ack=5, flags=flags, options=options or [])
    whole = bytes(Ether(**MACS) / network / tcp / payload)
    head_bytes = len(whole) - len(payload)
    start = 34 if version == 4 else 54
    addresses = (whole[26:30], whole[30:34]) if version == 4 else (whole[22:38], whole[38:54])
    partial = pseudo_header(*addresses, 6, len(whole) - start)
    head = bytearray(whole[:head_bytes])
    head[start + 16 : start + 18] = partial.to_bytes(2, "big")
    kind = vnet.GSO_TCPV4 if version == 4 else vnet.GSO_TCPV6
    header = vnet.VnetRepr(vnet.F_NEEDS_CSUM, kind, head_bytes, gso_size, start, 16)
    view = memoryview(payload)
    pieces = [view[i : i + cut] for i in range(0, len(view), cut)] if cut else [view]
    return (header.emit() + bytes(head), *[p for p in pieces if len(p)])


def judged(frame: TxFrame) -> Ether:
    """The frame as scapy sees it; fails if the link is left anything to do or a checksum,
    length or id is not what scapy would have written."""
    data = b"".join(frame)
    assert data[:10] == bytes(10)
    seen = Ether(data[10:])
    again = seen.copy()
    for layer, fields in ((IP, ("chksum", "len")), (TCP, ("chksum",)), (UDP, ("chksum", "len")),
                          (IPv6, ("plen",))):  # fmt: skip
        if layer in again:
            for field in fields:
                delattr(again[layer], field)
    assert bytes(again) == data[10:]
    return seen


@settings(max_examples=120)
@given(
    size=st.integers(1, 20_000),
    gso_size=st.integers(300, 9000),
    version=st.sampled_from((4, 6)),
    cut=st.integers(1, 5000),
    flags=st.sampled_from((ACK, ACK | PSH, ACK | PSH | FIN, ACK | CWR | PSH, ACK | CWR | FIN)),
)
def test_cut_pieces_join_to_the_super_segment(
    size: int, gso_size: int, version: int, cut: int, flags: int
) -> None:
    payload = random.Random(size).randbytes(size)
    options: list[tuple[str, object]] = [("NOP", None), ("NOP", None), ("Timestamp", (7, 8))]
    frame = super_segment(payload, gso_size, version=version, cut=cut, flags=flags, options=options)
    segments = [judged(piece) for piece in convert(frame, NOTHING)]
    assert len(segments) == -(-size // gso_size)
    assert b"".join(bytes(s[TCP].payload) for s in segments) == payload
    seq = 0xFFFFFF00
    for number, segment in enumerate(segments):
        is_first, is_last = number == 0, number == len(segments) - 1
        assert segment[TCP].seq == seq
        seq = (seq + len(segment[TCP].payload)) % 2**32
        assert len(segment[TCP].payload) == gso_size or is_last
        assert segment[TCP].options == options
        expected = flags
        if not is_first:
            expected &= ~CWR
        if not is_last:
            expected &= ~(FIN | PSH)
        assert int(segment[TCP].flags) == expected
        if version == 4:
            assert segment[IP].id == (0xFFFE + number) % 65536


def test_cut_for_a_port_that_fills_checksums_leaves_them_partial() -> None:
    frame = super_segment(bytes(5000), 1448)
    pieces = convert(frame, CHECKSUM_ONLY)
    assert len(pieces) == 4
    for piece in pieces:
        header = vnet.VnetRepr.parse(piece[0], sum(map(len, piece)) - 10)
        assert header.flags == vnet.F_NEEDS_CSUM
        assert header.gso_type == vnet.GSO_NONE
        judged(complete_and_strip(piece))


def complete_and_strip(frame: TxFrame) -> TxFrame:
    done = complete(frame)
    return (bytes(10) + done[0][10:], *done[1:])


def test_frames_that_are_accepted_stay_the_same_object() -> None:
    frame = super_segment(bytes(5000), 1448)
    assert convert(frame, EVERYTHING) == [frame]
    assert convert(frame, EVERYTHING)[0] is frame
    assert not is_accepted(frame, Offload(checksum=True, tso_bytes=4000))
    assert is_accepted(frame, Offload(checksum=True, tso_bytes=5040))


def test_payload_is_sliced_and_not_copied() -> None:
    payload = bytearray(b"a" * 4000)
    frame = super_segment(b"", 1000)
    frame = (frame[0], memoryview(payload))
    pieces = convert(frame, CHECKSUM_ONLY)
    payload[:] = b"b" * 4000
    assert b"".join(bytes(p) for f in pieces for p in f[1:]) == b"b" * 4000


@pytest.mark.parametrize("size", [0, 1, 7, 1400, 1401])
@pytest.mark.parametrize("split", [0, 1, 2, 3])
def test_partial_checksum_is_filled_wherever_the_buffers_end(size: int, split: int) -> None:
    frame = super_segment(random.Random(size).randbytes(size), 9000)
    plain = bytes((vnet.F_NEEDS_CSUM, 0)) + frame[0][2:4] + bytes(2) + frame[0][6:]
    data = plain + b"".join(frame[1:])
    at = {0: len(data), 1: 12, 2: 61, 3: len(data) - size // 3}[split]
    [filled] = convert((data[:at], data[at:]), NOTHING)
    judged(filled)


def test_udp_checksum_of_zero_is_sent_as_ones() -> None:
    """RFC 768: zero would mean that there is no checksum."""
    base = bytes(Ether(**MACS) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / b"xx")
    partial = pseudo_header(base[26:30], base[30:34], 17, 10)
    whole = bytearray(base)
    whole[40:42] = partial.to_bytes(2, "big")
    # Choose the payload so that the whole sum is all ones, that is a checksum of zero.
    whole[42:44] = bytes(2)
    total = partial + 1 + 2 + 10
    whole[42:44] = (0xFFFF - (total % 0xFFFF)).to_bytes(2, "big")
    header = vnet.VnetRepr(vnet.F_NEEDS_CSUM, 0, 0, 0, 34, 6)
    [filled] = convert((header.emit() + bytes(whole),), NOTHING)
    assert filled[0][50:52] == b"\xff\xff"


def test_complete_leaves_a_super_segment_whole_and_right() -> None:
    payload = random.Random(3).randbytes(30_001)
    done = complete(super_segment(payload, 1448, cut=777))
    seen = judged((bytes(10) + done[0][10:], *done[1:]))
    assert bytes(seen[TCP].payload) == payload


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({1: vnet.GSO_UDP}, "gso_kind"),
        ({1: vnet.GSO_TCPV6}, "gso_kind"),
        ({4: 0, 5: 0}, "vnet_gso"),
        ({6: 255, 7: 255}, "vnet_checksum_place"),
        ({22: 0x86}, "gso_kind"),
        ({33: 17}, "gso_kind"),
        ({24: 0x41}, "gso_header"),
        ({56: 0x10}, "gso_header"),
        ({4: 1, 5: 0}, "gso_header"),  # 30,000 frames of a byte
        ({4: 255, 5: 255}, "gso_header"),  # pieces larger than an IP packet
    ],
)
def test_hostile_headers_are_dropped_with_a_reason(damage: dict[int, int], reason: str) -> None:
    frame = super_segment(bytes(30_000), 1448)
    head = bytearray(frame[0])
    for place, value in damage.items():
        head[place] = value
    with pytest.raises(ParseError) as caught:
        convert((bytes(head), *frame[1:]), NOTHING)
    assert caught.value.reason == reason


@settings(max_examples=400)
@given(
    header=st.tuples(
        st.integers(0, 3), st.sampled_from((0, 1, 3, 4, 0x81, 0x84, 9)), st.integers(0, 200),
        st.integers(0, 3000), st.integers(0, 200), st.integers(0, 40),
    ),
    body=st.binary(max_size=150),
    is_tcp=st.booleans(),
    offload=st.sampled_from((NOTHING, CHECKSUM_ONLY, EVERYTHING)),
)  # fmt: skip
def test_any_frame_is_converted_or_dropped(
    header: tuple[int, int, int, int, int, int], body: bytes, is_tcp: bool, offload: Offload
) -> None:
    if is_tcp:
        base = bytearray(super_segment(b"", 100)[0][10:])
        for place, value in enumerate(body[:40]):
            base[place * 3 % len(base)] ^= value & 3
        body = bytes(base) + body
    frame = (vnet.HEADER.pack(*header), body)
    complete((frame[0] + body,))
    for given_frame in ((frame[0] + body,), frame):
        try:
            for piece in convert(given_frame, offload):
                assert is_accepted(piece, offload)
        except ParseError as error:
            assert error.reason.isidentifier()
