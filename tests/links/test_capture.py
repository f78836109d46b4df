"""A capture of the switch: both directions, right checksums, clear words when it fails."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader
from test_offload import judged, super_segment
from test_switch import FakeLink, Rig, Tick

from leulo.errors import EnvironmentProblem
from leulo.links.capture import Capture
from leulo.net import pcapng


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    """A file with a super-segment out, the same frame in, and a comment."""
    clock = Tick()
    rig = Rig(1)
    link = FakeLink()
    path = tmp_path / "c.pcapng"
    with Capture(path, clock) as capture:
        rig.switch.add_link(link, clock)
        rig.switch.watch(capture.record)
        rig.ports[0].send([super_segment(b"x" * 5001, 1448, cut=999)], 1_000)
        capture.comment("first")
        capture.comment("second")
        clock.now = 2_000_000_005
        assert link.deliver is not None
        link.deliver([b"".join(super_segment(b"y" * 100, 1448))])
        clock.now = 3_000_000_000
    return path


def read(path: Path) -> list[tuple[bytes, RawPcapNgReader.PacketMetadata]]:
    with RawPcapNgReader(str(path)) as reader:
        return list(reader)


def time_ns(says: RawPcapNgReader.PacketMetadata) -> int:
    return (says.tshigh << 32) + says.tslow


def test_frames_are_written_whole_with_checksums_filled(captured: Path) -> None:
    (out, out_says), (back, back_says) = read(captured)
    assert (out_says.direction, time_ns(out_says), out_says.comments) == (
        pcapng.OUTBOUND,
        1_000,
        None,
    )
    assert (back_says.direction, time_ns(back_says)) == (pcapng.INBOUND, 2_000_000_005)
    assert back_says.comments == [b"first; second"]
    assert bytes(judged((bytes(10) + out,)).lastlayer()) == b"x" * 5001
    judged((bytes(10) + back,))
    assert captured.read_bytes().endswith(pcapng.statistics(0, 3_000_000_000, 2, 0))


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark (Debian: tshark)")
def test_tshark_finds_no_bad_checksum(captured: Path) -> None:
    options = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    command = ["tshark", "-r", str(captured), *options, "-T", "fields", "-e", "tcp.checksum.status",
               "-e", "ip.checksum.status", "-e", "tcp.len"]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["1", "1", "5001", "1", "1", "100"]


def test_capture_does_not_change_what_is_sent(tmp_path: Path) -> None:
    rig = Rig(1)
    link = FakeLink()
    rig.switch.add_link(link, Tick())
    frame = super_segment(bytes(3000), 1448)
    with Capture(tmp_path / "c", Tick()) as capture:
        rig.switch.watch(capture.record)
        rig.ports[0].send([frame], 0)
    assert link.sent[0] is frame


def test_comments_that_wait_for_a_frame_are_bounded(tmp_path: Path) -> None:
    """However much a guest says before it sends anything."""
    with Capture(tmp_path / "c", Tick()) as capture:
        for _ in range(10_000):
            capture.comment("ä" * 100)
        assert len(capture._comment) <= pcapng.MAX_COMMENT_BYTES
        capture.record([bytes(60)], True, 5)
    [(_, says)] = read(tmp_path / "c")
    assert says.comments[0].startswith("ä".encode() * 100 + b"; ")


def test_epoch_moves_the_times(tmp_path: Path) -> None:
    with Capture(tmp_path / "c", Tick(), epoch_ns=1_700_000_000_000_000_000) as capture:
        capture.record([bytes(60)], True, 5)
    [(_, says)] = read(tmp_path / "c")
    assert time_ns(says) == 1_700_000_000_000_000_005


def test_file_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"--pcap .*/no/c: cannot be written: No such"):
        Capture(tmp_path / "no" / "c", Tick())
    with pytest.raises(EnvironmentProblem, match="Is a directory"):
        Capture(tmp_path, Tick())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_a_sentence_once() -> None:
    capture = Capture(Path("/dev/full"), Tick())
    with pytest.raises(EnvironmentProblem, match="No space left"):
        for _ in range(1000):
            capture.record([bytes(1000)], True, 0)
    capture.record([bytes(1000)], True, 0)
    capture.close()
    second = Capture(Path("/dev/full"), Tick())
    with pytest.raises(EnvironmentProblem, match="No space left"):
        second.close()
    second.close()
