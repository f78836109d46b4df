"""Linux's TCP and ours across the same bad link, in the same run: bytes, goodput, repetitions.

Two emulated links with the same faults run side by side, from Linux to Linux and between Linux and
the engine. Every byte is checked; ours must be neither much slower nor much greedier than Linux
with the same congestion control; what it sends again must have been lost.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from engine_process import ADDRESS, GATEWAY, EngineProcess
from link_emulator import LinkEmulator, LinkSpec, open_end, socket_ends
from linux_peer import LinuxServer, available_congestion, fetch_checked, send_checked
from netns import Namespace

from leulo.tcp.congestion import names

pytestmark = [pytest.mark.netns, pytest.mark.slow]

TO_ENGINE, TO_LINUX = 0, 1
# A run in which the emulator or the engine was kept waiting for more proves nothing of timers.
LATE_MS = 60
MOST_WAITING = 0.15  # 0.05 alone on two cores, 0.1 beside another test
TRIES = 3


@dataclass(frozen=True)
class Road:
    """``size`` bytes over a link; the goodput of ours against Linux's must lie in between."""

    spec: LinkSpec
    size: int
    least: float = 0.45
    most: float = 2.2


ROADS = {
    # one bandwidth-delay product of queue: all losses are our own doing
    "queue": Road(LinkSpec(mbit_s=20, queue_frames=33), 2_500_000, 0.7, 1.4),
    "lossy": Road(LinkSpec(mbit_s=50, loss=0.01), 1_500_000),
    "jumbled": Road(LinkSpec(mbit_s=50, reordering=0.02, duplication=0.01), 2_000_000, 0.6),
    "bad": Road(
        LinkSpec(mbit_s=50, loss=0.01, reordering=0.02, duplication=0.01, corruption=0.005),
        1_000_000,
    ),
}


@dataclass
class Outcome:
    """Of one run. Counters of the links are those of the data's direction."""

    ratio: float
    ours: dict[str, float]
    linux: dict[str, float]
    engine: dict[str, int]
    linux_timeouts: int
    waiting: float  # of the time the engine was ready to run, but others ran

    @property
    def latest_ms(self) -> float:
        return max(self.ours["latest_ms"], self.linux["latest_ms"])

    @property
    def dropped(self) -> int:
        """Data of the engine's that did not arrive."""
        ours = self.ours
        return int(ours["lost_data"] + ours["queue_full_data"] + ours["corrupted"])


def timeouts(namespace: Namespace) -> int:
    """Retransmission timeouts of Linux inside. [Linux proc_net]"""
    lines = namespace.run("cat", "/proc/net/netstat").splitlines()
    names, values = (line.split() for line in lines[:2])
    return int(values[names.index("TCPTimeouts")])


def run(direction: int, congestion: str, road: Road, capture: Path | None = None) -> Outcome:
    """``road.size`` bytes from Linux to Linux, and at the same time to or from the engine, all
    senders with ``congestion``."""
    seconds: dict[str, float] = {}
    errors: list[BaseException] = []

    def transfer(who: str, namespace: Namespace, address: str) -> None:
        try:
            if direction == TO_ENGINE:
                seconds[who] = send_checked(namespace, address, road.size, congestion)
            else:
                seconds[who] = fetch_checked(namespace, address, road.size)
        except BaseException as error:
            errors.append(error)

    ours_congestion = congestion if direction == TO_LINUX else None
    with Namespace("judge") as judge, Namespace("near") as near, Namespace("far") as far:
        link_fd, engine_fd = socket_ends()
        with (
            LinkEmulator(open_end(judge, f"{GATEWAY}/24"), link_fd, road.spec) as ours,
            LinkEmulator(
                open_end(near, "10.79.0.1/24"), open_end(far, "10.79.0.2/24"), road.spec
            ) as linux,
            EngineProcess(None, capture, socket_fd=engine_fd, congestion=ours_congestion) as engine,
            LinuxServer(far, ours_congestion),
        ):
            threads = [
                threading.Thread(target=transfer, args=("ours", judge, ADDRESS)),
                threading.Thread(target=transfer, args=("linux", near, "10.79.0.2")),
            ]
            before_us = engine.ask()["kept_waiting_us"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            kept_waiting_us = engine.ask()["kept_waiting_us"] - before_us
            linux_timeouts = timeouts(near if direction == TO_ENGINE else far)
    assert not errors, errors
    return Outcome(
        seconds["linux"] / seconds["ours"], ours.counters[direction], linux.counters[direction],
        {name.removeprefix("stack."): value for name, value in engine.counters.items()},
        linux_timeouts, kept_waiting_us / 1e6 / seconds["ours"],
    )  # fmt: skip


def settled(
    direction: int,
    congestion: str,
    road: Road,
    objections: Callable[[Outcome], list[str]] = lambda outcome: [],
) -> Outcome:
    """The first run of `TRIES` with a ratio in between and without ``objections``: what the host
    keeps waiting is at times not the fault of what waits. `link_emulator` in virtual time, where
    nothing waits, allows none: tests/tcp/test_bad_road.py."""
    judged: list[str] = []
    for _ in range(TRIES):
        outcome = run(direction, congestion, road)
        print(f"goodput {outcome.ratio:.2f} of Linux's, late by {outcome.latest_ms:.0f} ms,",
              f"kept waiting for {outcome.waiting:.0%}")  # fmt: skip
        print("link", outcome.ours, "engine", {k: v for k, v in outcome.engine.items() if v})
        said = objections(outcome)
        if not road.least <= outcome.ratio <= road.most:
            said.append(f"{outcome.ratio} is not in {road.least} to {road.most} of Linux's goodput")
        if not said:
            return outcome
        if outcome.latest_ms <= LATE_MS and outcome.waiting <= MOST_WAITING:
            judged += said
    if not judged:
        pytest.skip("this computer is too busy: what it kept waiting says nothing of timers")
    raise AssertionError("\n".join(judged))


def needs(congestion: str) -> None:
    if congestion not in available_congestion():
        pytest.skip(f"Linux here has no {congestion}: only {' '.join(available_congestion())}")


@pytest.mark.parametrize("name", ROADS)
@pytest.mark.parametrize("congestion", ["reno", "cubic", "bbr"])
def test_linux_sends_to_the_engine(congestion: str, name: str) -> None:
    needs(congestion)
    outcome = settled(TO_ENGINE, congestion, ROADS[name])
    assert outcome.engine["tcp_accepted"] == 1
    if name == "queue":
        assert outcome.engine.get("drop_tcp_checksum", 0) == 0


@pytest.mark.parametrize("name", ROADS)
@pytest.mark.parametrize("congestion", ["reno", "cubic", "bbr"])
def test_the_engine_sends_to_linux(congestion: str, name: str) -> None:
    needs(congestion)
    if congestion not in names():
        pytest.skip(f"the engine has no {congestion}")
    road = ROADS[name]
    if congestion == "bbr":
        # A model takes what a busy computer keeps waiting for the path: Linux's, in the kernel, is
        # kept waiting less.
        road = replace(road, least=road.least / 3)
    settled(TO_LINUX, congestion, road, lambda outcome: objections(outcome, name))


def objections(outcome: Outcome, name: str) -> list[str]:
    """What is wrong with how the engine sent."""
    said = []
    engine, dropped = outcome.engine, outcome.dropped
    # A probe of the tail, or of what was on its way when it was taken for lost, at the most.
    most = dropped + int(outcome.ours["reordered"]) + 3
    if engine["tcp_retransmits"] > most:
        said.append(f"{engine['tcp_retransmits']} segments were sent again, {most} allowed")
    # On that road nothing is lost, so what began as a repair is taken back.
    if name == "jumbled" and engine["tcp_fast_recoveries"] > engine["tcp_undone"] + 1:
        said.append(f"{engine['tcp_fast_recoveries']} repairs, {engine['tcp_undone']} taken back")
    most = outcome.linux_timeouts + dropped // 20
    if engine["tcp_timeouts"] > most:
        said.append(f"{engine['tcp_timeouts']} timeouts, {most} allowed")
    return said


# What a link with faults makes any sender and receiver do, as tshark puts it.
DUE_TO_THE_LINK = (
    "retransmission", "out-of-order", "Duplicate ACK", "D-SACK Sequence", "Previous segment",
    "window specified by the receiver is now completely full",  # of a slow reader
)  # fmt: skip
RST = 0x004  # alone: an open connection's has ACK beside it
WARNING = 0x600000  # PI_WARN, tshark's severity "warning"; "error" lies above it


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark (Debian: tshark)")
def test_tshark_blames_only_the_link(tmp_path: Path) -> None:
    """Both directions over the worst link: nothing is sent again that had been acknowledged, no
    ACK is for what never came, no checksum is wrong, nothing is malformed."""
    path = tmp_path / "bad.pcapng"
    road = ROADS["bad"]
    errors: list[BaseException] = []

    def guarded(transfer: Callable[[Namespace, str, int], float]) -> None:
        try:
            transfer(judge, ADDRESS, road.size)
        except BaseException as error:
            errors.append(error)

    with Namespace("judge") as judge:
        link_fd, engine_fd = socket_ends()
        with (
            LinkEmulator(open_end(judge, f"{GATEWAY}/24"), link_fd, road.spec),
            EngineProcess(None, path, socket_fd=engine_fd),
        ):
            threads = [
                threading.Thread(target=guarded, args=(transfer,))
                for transfer in (send_checked, fetch_checked)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert not errors, errors
        shown = judge.run(
            "tshark", "-r", str(path), "-o", "tcp.check_checksum:TRUE", "-o",
            "ip.check_checksum:TRUE", "-Y", f"ip.src == {ADDRESS} && tcp", "-T", "fields",
            "-e", "frame.number", "-e", "tcp.analysis.spurious_retransmission",
            "-e", "tcp.analysis.ack_lost_segment", "-e", "_ws.expert.severity",
            "-e", "_ws.expert.message", "-e", "tcp.flags", "-E", "aggregator=|", seconds=100,
        )  # fmt: skip
    rows = [row for line in shown.splitlines() if (row := line.split("\t"))[0].isdigit()]
    assert len(rows) > road.size // 1448, "the capture is not whole"
    faults = [row for row in rows if row[1] or row[2]]
    for row in rows:
        severities = [int(text) for text in row[3].split("|") if text]
        messages = [text for text in row[4].split("|") if text]
        if int(row[5], 16) == RST:
            continue  # of what is over: the link has doubled the last ACK [RFC 9293 3.10.7.1]
        for severity, message in zip(severities, messages, strict=True):
            if severity >= WARNING and not any(known in message for known in DUE_TO_THE_LINK):
                faults.append(row)
    assert not faults, faults[:20]
