"""pcapng blocks: read back by scapy and by tshark."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
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


def test_scapy_reads_all_of_it(written: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(written)
    with RawPcapNgReader(str(path)) as reader:
        packets = list(reader)
    assert [bytes(data) for data, _ in packets] == FRAMES
    assert [(m.tshigh << 32) + m.tslow for _, m in packets] == list(TIMES)
    assert {(m.tsresol, m.ifname) for _, m in packets} == {(10**9, b"wire")}
    assert [m.direction for _, m in packets] == [1, 2, 1, 2]
    assert [m.comments for _, m in packets[:2]] == [None, ["frame 1 ✓".encode()]]


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
    assert block == pcapng.packet(0, 0, (b"x",), 1, 1, "ä" * (pcapng.MAX_COMMENT_BYTES // 2))
    assert "ä".encode() * (pcapng.MAX_COMMENT_BYTES // 2) + bytes(4) in block
