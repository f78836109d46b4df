"""pcapng blocks: read back by our reader, by scapy and by tshark."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapNgReader

from leulo.net import pcapng

TIMES = (0, 1, 1_700_000_000_123_456_789, (1 << 32) + 5)
FRAMES = [
    bytes(Ether(src="52:54:00:00:00:01", dst="52:54:00:00:00:02") / IP() / UDP() / bytes(n))
    for n in range(4)
]


@pytest.fixture
def written() -> bytes:
    blocks = [pcapng.section_header("Leulo test"), pcapng.interface("wire", "a test")]
    for number, (time_ns, frame) in enumerate(zip(TIMES, FRAMES, strict=True)):
        direction = (pcapng.INBOUND, pcapng.OUTBOUND)[number & 1]
        comment = f"frame {number} ✓" if number else ""
        parts = (frame[:20], memoryview(frame)[20:])
        blocks.append(pcapng.packet(0, time_ns, parts, len(frame), direction, comment))
    blocks.append(pcapng.statistics(0, TIMES[2], 4, 0))
    return b"".join(blocks)


def test_reader_gives_back_what_was_written(written: bytes) -> None:
    capture = pcapng.read(written)
    assert capture.interfaces == ["wire"]
    assert [p.data for p in capture.packets] == FRAMES
    assert [p.time_ns for p in capture.packets] == list(TIMES)
    assert [p.direction for p in capture.packets] == [1, 2, 1, 2]
    assert [p.comment for p in capture.packets] == ["", "frame 1 ✓", "frame 2 ✓", "frame 3 ✓"]
    assert capture.received == {0: 4}


def test_scapy_reads_frames_and_times(written: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(written)
    with RawPcapNgReader(str(path)) as reader:
        packets = list(reader)
    assert [bytes(data) for data, _ in packets] == FRAMES
    assert [(m.tshigh << 32) + m.tslow for _, m in packets] == list(TIMES)
    assert {m.tsresol for _, m in packets} == {10**9}


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark (Debian: tshark)")
def test_tshark_reads_directions_comments_and_interface(written: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(written)
    names = ("frame.interface_name", "frame.time_epoch", "frame.packet_flags_direction",
             "frame.comment", "frame.len")  # fmt: skip
    fields = [word for name in names for word in ("-e", name)]
    command = ["tshark", "-r", str(path), "-T", "fields", "-E", "separator=|", *fields]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    rows = [line.split("|") for line in run.stdout.splitlines()]
    assert [row[0] for row in rows] == ["wire"] * 4
    assert rows[2][1].endswith("00.123456789") or "1700000000.123456789" in rows[2][1]
    assert [int(row[2], 0) for row in rows] == [1, 2, 1, 2]
    assert rows[3][3] == "frame 3 ✓"
    assert [int(row[4]) for row in rows] == [len(frame) for frame in FRAMES]
    assert "cut short" not in run.stderr


def test_long_comment_is_cut_between_characters() -> None:
    block = pcapng.packet(0, 0, (b"x",), 1, 1, "ä" * 2000)
    whole = pcapng.section_header("t") + pcapng.interface("i") + block
    [packet] = pcapng.read(whole).packets
    assert packet.comment == "ä" * (pcapng.MAX_COMMENT_BYTES // 2)


def test_cut_off_file_is_one_sentence(written: bytes) -> None:
    whole = 0
    for size in range(len(written)):
        try:
            pcapng.read(written[:size])
            whole += 1  # cut exactly between two blocks
        except ValueError as error:
            assert str(error).startswith("pcapng: ")
    assert whole == 7


@settings(max_examples=200)
@given(st.data())
def test_damaged_file_is_never_worse_than_a_value_error(data: st.DataObject) -> None:
    good = pcapng.section_header("t") + pcapng.interface("i") + pcapng.packet(0, 5, (b"abc",), 3, 1)
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        pcapng.read(bytes(damaged))
    except ValueError as error:
        assert str(error)
