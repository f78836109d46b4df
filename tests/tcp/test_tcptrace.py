"""tcptrace as a judge: what it counts in our captures is what the engine says of itself.

Captures are taken at the sender's interface: what it sent, lost later or not, and what arrived at
it. TCP_INFO must tell of the same segments, bytes, repeats, reports and round trips; and nothing
may look like a fault of the sender: data out of order, doubled packets, bad checksums.
"""

from __future__ import annotations

import heapq
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tcp_world import MS, Receiver, S, Sender, Wire, connect, make_stack
from test_info import info

from leulo.net import pcapng
from leulo.tcp.socket import TcpSocket

pytestmark = pytest.mark.skipif(
    shutil.which("tcptrace") is None, reason="needs tcptrace (Debian: tcptrace)"
)

MSS = 1448
DELAY_NS = 10 * MS
TICK_MS = 0.1  # what tcptrace's times are rounded to


class TappedWire(Wire):
    """Keeps what passes the first stack's interface, each frame at its time there."""

    def __init__(self, *stacks: Any, **faults: Any) -> None:
        super().__init__(*stacks, **faults)
        self.arrivals: list[tuple[int, int, bytes]] = []

    def _post(self, to: int, frame: bytes) -> None:
        super()._post(to, frame)
        if to == 0:
            [at] = [at for at, serial, _, _ in self.flying if serial == self.serial]
            self.arrivals.append((at, self.serial, frame))

    def capture(self, path: Path) -> None:
        """Write it all as our captures are written."""
        sent = [(at, 0, frame) for at, who, frame in self.log if who == 0]
        arrived = sorted(one for one in self.arrivals if one[0] <= self.now_ns)
        blocks = [pcapng.section_header("test"), pcapng.interface("wire")]
        # What arrives at a moment is answered at the same one.
        for at, serial, frame in heapq.merge(arrived, sent, key=lambda one: one[0]):
            direction = pcapng.INBOUND if serial else pcapng.OUTBOUND
            blocks.append(pcapng.packet(0, at, (frame[10:],), len(frame) - 10, direction))
        path.write_bytes(b"".join(blocks))


def judged(path: Path) -> list[dict[str, str]]:
    """A dictionary for each connection, its columns by tcptrace's names."""
    command = ["tcptrace", "-n", "-l", "-r", "--csv", "--checksum", "--warn_printbadmbz",
               "--warn_printbad_syn_fin_seq", "--warn_printhwdups", str(path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    for kind in ("IP", "TCP"):
        assert re.search(rf"^#bad {kind} checksums: *0$", done.stdout, re.M), done.stdout[:1000]
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
    names = lines[0].rstrip(",").split(",")
    rows = [[cell.strip() for cell in line.rstrip(",").split(",")] for line in lines[1:]]
    assert not done.stderr
    return [dict(zip(names, row, strict=True)) for row in rows]


class Writer(Sender):
    """Writes, and leaves the connection open: what is counted goes with it."""

    def go(self) -> None:
        while self.at < len(self.data):
            count = self.socket.send(self.data[self.at : self.at + self.chunk])
            if count <= 0:
                return
            self.at += count
        self.is_done = True


@dataclass(frozen=True)
class Run:
    """A path and what is different from the presets' own."""

    knobs: dict[str, Any] = field(default_factory=dict)  # of both sides
    faults: dict[str, Any] = field(default_factory=dict)
    bytes: int = 400_000
    back: int = 0  # bytes of the other direction
    window: int = 0  # SO_RCVBUF of the receiver


RUNS = {
    "clean": Run(),
    "both ways": Run(back=200_000),
    "loss": Run(faults={"loss": 0.03}),
    "loss, both ways": Run(faults={"loss": 0.02}, back=200_000),
    "loss, reno": Run({"congestion": "reno", "has_rack": False}, {"loss": 0.02}),
    "loss, without SACK": Run({"has_sack": False}, {"loss": 0.02}),
    "loss, without timestamps": Run({"has_timestamps": False}, {"loss": 0.02}),
    "loss, bbr": Run({"congestion": "bbr", "has_pacing": True}, {"loss": 0.02}),
    "doubled": Run(faults={"duplicate": 0.05}),
    "out of order": Run(faults={"jitter_ns": 4 * MS}),
    "everything": Run(faults={"loss": 0.02, "duplicate": 0.02, "jitter_ns": 2 * MS}),
    "small window": Run(window=8_000, bytes=100_000),
}


def play(run: Run, seed: int) -> tuple[TappedWire, TcpSocket]:
    """The transfer, up to the last acknowledgement; nobody closes."""
    random = Random(seed)
    wire = TappedWire(
        make_stack(1, seed=seed, checksum=False, **run.knobs),
        make_stack(2, seed=seed, checksum=False, **run.knobs),
        seed=seed, delay_ns=DELAY_NS, **run.faults,
    )  # fmt: skip
    client, server, _ = connect(wire)
    if run.window:
        assert server.setsockopt(1, 8, run.window.to_bytes(4, "little")) == 0
    up, down = random.randbytes(run.bytes), random.randbytes(run.back)
    actors: list[Any] = [Writer(client, up), Receiver(server)]
    if run.back:
        actors += [Writer(server, down), Receiver(client)]

    def is_over() -> bool:
        for actor in actors:
            actor.go()
        return (
            len(actors[1].data) == run.bytes
            and (not run.back or len(actors[3].data) == run.back)
            and info(client)["unacked"] == 0
        )

    assert wire.run(300 * S, is_over)
    assert bytes(actors[1].data) == up
    wire.run(5 * S)  # until nothing is on its way
    return wire, client


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", RUNS)
def test_tcptrace_counts_what_tcp_info_says(name: str, seed: int, tmp_path: Path) -> None:
    run = RUNS[name]
    wire, client = play(run, seed)
    wire.capture(tmp_path / "run.pcapng")
    [row] = judged(tmp_path / "run.pcapng")
    ours = info(client)

    def count(column: str) -> int:
        return int(row[column])

    assert count("total_packets_a2b") == ours["segs_out"]
    assert count("total_packets_b2a") == ours["segs_in"]
    assert count("actual_data_pkts_a2b") == ours["data_segs_out"]
    assert count("actual_data_pkts_b2a") == ours["data_segs_in"]
    assert count("actual_data_bytes_a2b") == ours["bytes_sent"]
    assert count("unique_bytes_sent_a2b") == run.bytes == ours["bytes_acked"] - 1
    assert count("rexmt_data_bytes_a2b") == ours["bytes_retrans"]
    told = count("dsack_pkts_sent_b2a")
    if "jitter_ns" in run.faults:
        assert ours["dsack_dups"] <= told  # PAWS has dropped some that were overtaken
    else:
        assert count("initial_window_pkts_a2b") <= 10
        assert ours["dsack_dups"] == (told if run.knobs.get("has_rack", True) else 0)
    syns = count("total_packets_a2b") - count("actual_data_pkts_a2b") - count("pure_acks_sent_a2b")
    assert count("rexmt_data_pkts_a2b") + syns - 1 == ours["total_retrans"]
    # What would be a fault of the sender, whatever the path does.
    assert count("outoforder_pkts_a2b") == 0
    assert count("hardware_dups_a2b") == 0
    assert count("max_segm_size_a2b") <= MSS + 12 * (not run.knobs.get("has_timestamps", True))
    assert row["SYN/FIN_pkts_sent_a2b"].endswith("/0")
    if run.faults:
        return
    # A clean path: its times are known, and nothing was sent twice.
    assert count("rexmt_data_pkts_a2b") == count("rexmt_data_pkts_b2a") == 0
    assert abs(float(row["RTT_min_a2b"]) - ours["min_rtt"] / 1000) <= TICK_MS
    assert float(row["RTT_from_3WHS_a2b"]) == 2 * DELAY_NS / MS
    low, high = float(row["RTT_min_a2b"]), float(row["RTT_max_a2b"])
    assert low - TICK_MS <= ours["rtt"] / 1000 <= high + TICK_MS
    assert count("adv_wind_scale_b2a") == ours["snd_wscale"]
    assert row["req_sack_a2b"] == row["req_sack_b2a"] == "Y"
    assert count("zero_win_adv_a2b") == 0


def test_tcptrace_sees_a_window_that_closes(tmp_path: Path) -> None:
    """Nobody reads for a while: the window closes, and is probed by what carries nothing new."""
    stacks = make_stack(1, checksum=False), make_stack(2, checksum=False)
    wire = TappedWire(*stacks, delay_ns=DELAY_NS)
    client, server, _ = connect(wire)
    assert server.setsockopt(1, 8, (8_000).to_bytes(4, "little")) == 0
    sender = Writer(client, bytes(100_000))

    def never() -> bool:
        sender.go()
        return False

    wire.run(10 * S, never)
    probes = wire.stacks[0].counters()["tcp_window_probes"]
    assert probes > 2
    receiver = Receiver(server)

    def is_over() -> bool:
        sender.go()
        receiver.go()
        return len(receiver.data) == 100_000

    assert wire.run(60 * S, is_over)
    wire.run(5 * S)
    wire.capture(tmp_path / "run.pcapng")
    [row] = judged(tmp_path / "run.pcapng")
    assert int(row["zero_win_adv_b2a"]) > 2
    assert int(row["unique_bytes_sent_a2b"]) == 100_000
    assert int(row["rexmt_data_pkts_a2b"]) == int(row["outoforder_pkts_a2b"]) == 0


def test_tcptrace_puts_the_stream_together_as_it_was_sent(tmp_path: Path) -> None:
    """What it extracts from the segments, repeats and all, is the stream."""
    run = RUNS["everything"]
    wire, _ = play(run, 3)
    wire.capture(tmp_path / "run.pcapng")
    command = ["tcptrace", "-n", "-e", f"--output_dir={tmp_path}", str(tmp_path / "run.pcapng")]
    subprocess.run(command, capture_output=True, timeout=60, check=True, cwd=tmp_path)
    assert (tmp_path / "a2b_contents.dat").read_bytes() == Random(3).randbytes(run.bytes)
