"""Protects: how flows behave in simulated time, and that the same seed gives the same flow."""

from __future__ import annotations

import itertools
import json
import math
import sys
from dataclasses import replace
from pathlib import Path as FilePath
from statistics import fmean
from types import FrameType

import pytest
from click.testing import CliRunner

from leulo.cli.netsim import command
from leulo.errors import ConfigError
from leulo.netsim import behaviour
from leulo.netsim.behaviour import (
    ALGORITHMS,
    CASES,
    MSS,
    Verdict,
    check,
    loss_and_buffer,
    mathis,
    slow_start_loss,
)
from leulo.netsim.plots import Record
from leulo.netsim.simulation import Flow, Path, Simulation
from leulo.tcp.config import PRESETS, Config
from leulo.trace import Trace
from leulo.units import NS_PER_MS, NS_PER_S


def test_mathis_formula_is_that_of_the_paper() -> None:
    # 1448 bytes, 40 ms, 1 %: 1448 * 8 / 0.04 * sqrt(150) = 3.547 Mbit/s
    assert abs(mathis(10_000_000) - 3_546_924) < 2_000


@pytest.mark.parametrize(
    "name",
    [
        "tail loss", "tail repair", "reordering", "slow start", "reno 1 %",
        "hystart++", "hystart++, 8 paths", "hystart, 8 paths",
        "cubic 1 %", "reno clean link", "cubic clean link", "two reno flows", "two cubic flows",
        "cubic, marked", "bbr clean link", "bbr queue", "bbr 1 %", "two bbr flows",
        "bbr beside cubic",
    ],
)  # fmt: skip
def test_the_behaviour_table_is_held(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    verdict = Verdict(case, check(case, quick=True).value)  # within its own bounds, not quick's
    assert verdict.is_held, f"{name}: {verdict.value / 1000} {case.what}"


@pytest.mark.parametrize("name", ["reno 0.1 %", "reno 0.3 %"])
def test_a_quick_look_at_what_needs_many_seeds_is_no_failure(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    verdict = check(case, quick=True)
    assert verdict.is_held
    assert verdict.case.most is not None
    assert case.most is not None
    assert verdict.case.most > case.most


def test_a_quick_look_at_a_long_row_looks_beyond_its_beginning() -> None:
    """Protects: `leulo netsim 'cubic*' --quick`, which divided by no samples at all."""
    asked: list[tuple[int, int]] = []

    def measure(seeds: int, seconds: int) -> int:
        asked.append((seeds, seconds))
        return 1000

    for case in CASES:
        check(replace(case, measure=measure), quick=True)
    long = [case.name for case in CASES if case.is_long]
    assert long == ["cubic window 0.01 %", "cubic window 0.001 %"]
    assert asked.count((2, 100)) == len(long)
    assert max(seconds for _, seconds in asked) == 100


@pytest.mark.parametrize(
    ("words", "has_long"),
    [
        (["cubic*"], False),
        (["cubic*", "--long"], True),
        (["cubic window*"], True),
        (["cubic window 0.01 %", "cubic, *"], True),
        ([], False),
    ],
)
def test_a_glob_chooses_rows_that_take_minutes_only_with_long(
    words: list[str], has_long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(behaviour, "check", lambda case, quick: Verdict(case, 1000))
    result = CliRunner().invoke(command, words)
    assert ("cubic window 0.01 %" in result.output) == has_long
    assert ("cubic 1 %" in result.output) == (words[:1] in ([], ["cubic*"]))


def test_a_quick_look_is_wider_only_where_losses_decide() -> None:
    assert {case.name for case in CASES if case.slack} == {
        f"{name} {loss} %" for name in ("reno", "cubic") for loss in ("0.1", "0.3", "1")
    } | {"cubic window 0.01 %", "cubic window 0.001 %"}


def test_every_row_has_five_seeds_of_a_minute_or_leaves_nothing_to_chance() -> None:
    few = {case.name for case in CASES if case.seeds < 5 or case.seconds < 60}
    assert few == {
        "reno clean link", "cubic clean link", "cubic, marked", "bbr clean link", "bbr queue",
        "slow start", "tail loss", "tail repair", "hystart++", "hystart++, 8 paths",
        "hystart, 8 paths",
    }  # fmt: skip
    for congestion in ("reno", "cubic"):
        for path in (Path(rate=20_000_000, queue=66), Path(rate=20_000_000, queue=66, ecn=33)):
            flows = [Flow(congestion), Flow(congestion)]
            for seed, flow in enumerate(flows):
                Simulation(path, [flow], seed, sample_ns=NS_PER_S // 10).run(5 * NS_PER_S)
            assert flows[0].samples == flows[1].samples


@pytest.mark.parametrize(("megabits", "rtt_ms"), behaviour.OVERSHOOTS)
def test_hystart_plus_plus_loses_what_its_rounds_let_out(megabits: int, rtt_ms: int) -> None:
    """Decision 9 has the reckoning: the alarm of a flight of f segments comes when 2f are out."""
    holds = megabits * 1000 * rtt_ms // 8 // 1514
    flight = 10
    while 8 * flight < 9 * holds:
        flight *= 2
    expected = min(2 * holds, 1.5 * flight - holds)
    plain = slow_start_loss("reno", Config(hystart=""), megabits, rtt_ms)
    assert abs(plain / holds - 2) < 0.1
    config = Config(hystart="++", css_growth_divisor=4)
    lost = slow_start_loss("reno", config, megabits, rtt_ms)
    assert expected * 0.7 < lost < expected * 1.05


def test_growing_by_an_eighth_loses_less_in_the_same_time() -> None:
    """Conservative slow start by the RFC's quarter and by ours, over paths on which a round trip
    varies by a quarter, so that there are false alarms, too: twenty bandwidth-delay products."""

    def sent(divisor: int) -> tuple[float, int]:
        """Nanoseconds, the geometric mean, and drops."""
        config = Config(
            rcv_max=16 << 20, snd_max=16 << 20, hystart="++", css_growth_divisor=divisor
        )
        logarithms, dropped = [], 0
        for megabits, holds, seed in itertools.product((20, 60), (1, 3), range(2)):
            product = megabits * 1000 * 40 // 8  # bytes
            flow = Flow("reno", bytes_limit=20 * product)
            path = Path(rate=megabits * 10**6, queue=holds * product // 1514, jitter_ns=_JITTER_NS)
            dropped += Simulation(path, [flow], seed, config=config).run(60 * NS_PER_S).dropped
            logarithms.append(math.log(flow.finished_ns))
        return math.exp(fmean(logarithms)), dropped

    (quarter_ns, quarter), (eighth_ns, eighth) = sent(4), sent(8)
    assert eighth_ns < quarter_ns * 1.01
    assert eighth < quarter * 0.8


_JITTER_NS = 10 * NS_PER_MS

SNAPSHOT = FilePath(__file__).with_name("loss_and_buffer.txt")


@pytest.mark.parametrize("congestion", ALGORITHMS)
def test_loss_and_buffer_are_as_the_snapshot_says(congestion: str) -> None:
    """A change of the engine that moves a cell by more than an eighth is meant, or is a mistake:
    if meant, `leulo netsim --snapshot` writes the file anew."""
    kept = {
        (int(loss), int(queue)): int(rate)
        for name, loss, queue, rate in (
            line.split() for line in SNAPSHOT.read_text().splitlines() if not line.startswith("#")
        )
        if name == congestion
    }
    rows = loss_and_buffer(congestion)
    assert [(loss, queue) for loss, queue, _ in rows] == list(kept)
    moved = [
        f"loss {loss} ppm, queue {queue}: {rate} kbit/s, kept {kept[loss, queue]}"
        for loss, queue, rate in rows
        if abs(rate - kept[loss, queue]) * 8 > kept[loss, queue]
    ]
    assert not moved, "\n".join(moved)


def test_the_same_seed_is_the_same_flow_and_another_is_not() -> None:
    def samples(seed: int) -> list[object]:
        simulation = Simulation(
            Path(loss=10_000_000), [Flow("cubic")], seed, sample_ns=50 * NS_PER_MS
        )
        return list(simulation.run(5 * NS_PER_S).flows[0].samples)

    assert samples(3) == samples(3)
    assert samples(3) != samples(4)


@pytest.mark.sources
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="another interpreter counts otherwise")
def test_what_a_frame_hop_costs() -> None:
    """In steps of the interpreter, which no load of the machine changes: at some 8.5 ns each the
    bound is 65,000 hops in a second of CPU time."""
    steps = 0

    def enter(frame: FrameType, event: str, argument: object) -> object:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return count

    def count(frame: FrameType, event: str, argument: object) -> object:
        nonlocal steps
        steps += event == "opcode"
        return count

    simulation = Simulation(Path(loss=1_000_000), [Flow("reno")], 1)
    before = sys.gettrace()
    sys.settrace(enter)
    try:
        result = simulation.run(4 * NS_PER_S)
    finally:
        sys.settrace(before)
    assert steps / result.hops < 1_780


def test_a_limited_flow_arrives_whole_and_ends() -> None:
    path = Path(loss_plan=lambda number: number in (3, 4, 17))
    flow = Flow("reno", bytes_limit=100 * MSS + 7)
    result = Simulation(path, [flow], 1).run(60 * NS_PER_S)
    assert flow.delivered == 100 * MSS + 7
    assert 0 < flow.finished_ns < 5 * NS_PER_S
    assert result.lost == 3
    assert flow.retransmits >= 3


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_fills_a_link_that_loses(preset: str) -> None:
    """Whoever's TCP both ends speak: a flow repairs its losses without a pause."""
    flow = Flow("reno")
    path = Path(rate=10_000_000, rtt_ns=20 * NS_PER_MS, loss=500_000)
    result = Simulation(path, [flow], 5, preset=preset).run(10 * NS_PER_S)
    assert result.lost > 0
    assert result.rate() > 8_000_000
    assert flow.timeouts == 0


def test_the_command_prints_json_and_draws(tmp_path: FilePath) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "flow.png"
    done = CliRunner().invoke(
        command,
        ["--flow", "reno", "--loss", "0.01", "--seconds", "3", "--json", "--plot", str(picture)],
        standalone_mode=False,
    )
    assert done.exception is None, done.output
    assert json.loads(done.output)["flows"][0]["bit_s"] > 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_a_picture_shows_close_by_is_the_beginning() -> None:
    path = Path(
        rtt_ns=10 * NS_PER_MS, loss_plan=lambda number: number in (40, 2000)
    )  # of all that are sent, repeats too
    trace = Trace()
    record = Record(trace, path)
    flow = Flow("reno")
    Simulation(path, [flow], 1, trace=trace).run(NS_PER_S)
    assert flow.tcb is not None
    port, first = flow.tcb.local_port, flow.tcb.iss + 1
    sent = [(seq - first) % 2**32 // MSS for _, seq in record.sent[port]]
    assert sent[:12] == list(range(12))
    assert [(seq - first) % 2**32 // MSS for _, seq in record.again[port]] == [40, 1999]
    assert sent.count(40) == 2
    assert 0 < record.sent[port][-1][0] <= 250 * NS_PER_MS < record.again[port][-1][0]
    assert {at for at, _ in record.acknowledged[port]} - {at for at, _ in record.sent[port]}


@pytest.mark.parametrize(
    "words",
    [
        ["--flow", "nonsense"],
        ["no such row"],
        ["--plot", "x.png"],
        ["--rate", "1mbit"],
        ["--seed", "1"],
        ["--snapshot", "--quick"],
        ["--snapshot", "--loss", "0.1"],
        ["--flow", "reno", "reno*"],
        ["--flow", "reno", "--long"],
        ["--flow", "reno", "--snapshot"],
        ["--flow", "reno", "--rate", "x"],
        ["--flow", "reno", "--rate", "9" * 5000],
        ["--flow", "reno", "--seconds", "1", "--plot", "x.txt"],
    ],
)
def test_what_makes_no_sense_is_a_sentence(words: list[str]) -> None:
    done = CliRunner().invoke(command, words, standalone_mode=False)
    assert isinstance(done.exception, ConfigError)


def test_the_table_ends_with_what_the_simulation_cost() -> None:
    before = Simulation.total_hops
    done = CliRunner().invoke(command, ["slow start", "--quick", "--json"])
    report = json.loads(done.output)
    assert report["hops"] == Simulation.total_hops > before
    assert report["hops_per_cpu_s"] > 0


def test_the_snapshot_is_told_as_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour, "loss_and_buffer", lambda name: [(100, 66, 19_000)])
    result = CliRunner().invoke(command, ["--snapshot", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output)
    assert {row["algorithm"] for row in rows} == set(ALGORITHMS)
    assert (rows[0]["loss_ppm"], rows[0]["queue_packets"], rows[0]["kbit_per_s"]) == (
        100, 66, 19_000,
    )  # fmt: skip
    text = CliRunner().invoke(command, ["--snapshot"]).output
    assert len(text.splitlines()) == 1 + len(rows)
