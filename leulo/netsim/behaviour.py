"""The behaviour table: what a flow must achieve, case by case, with its bounds.

Each case runs its own simulations and gives one number, a ratio wherever there is something to
compare with. Five seeds of 60 s are the rule; a case of one seed leaves nothing to chance, so that
another would give the same number. ``quick`` uses fewer seeds and shorter runs, for the tests.
Sources of the bounds stand beside them. The cases of ``long`` take minutes and are left out unless
asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isqrt
from typing import Final

from leulo.netsim.simulation import Flow, Path, Result, Simulation
from leulo.tcp.config import Config
from leulo.trace import Trace
from leulo.units import KIB, NS_PER_MS, NS_PER_S

MSS: Final = 1448
_FRAME_BYTES: Final = 1514
_PER_BILLION: Final = 10**9
_THOUSANDTHS: Final = 1000
_QUICK_SEEDS: Final = 2
_QUICK_SECONDS: Final = 20
_QUICK_LONG_SECONDS: Final = 100  # of rows that look away for the first 20
_QUICK_SLACK: Final = 250  # by so much a few losses more or less move a rate in a quick look
_CLEAN_RATE: Final = 20_000_000
_RTT_NS: Final = 40 * NS_PER_MS
_BDP_PACKETS: Final = _CLEAN_RATE * _RTT_NS // NS_PER_S // 8 // _FRAME_BYTES


@dataclass(frozen=True, slots=True)
class Case:
    """One row. ``measure(seeds, seconds)`` gives thousandths; they must lie in the bounds, which
    are wider by ``slack`` where there are fewer seeds or seconds than these."""

    name: str
    what: str
    least: int
    most: int | None
    measure: Callable[[int, int], int]
    seeds: int = 5
    seconds: int = 60
    is_long: bool = False
    slack: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a case measured, in thousandths."""

    case: Case
    value: int

    @property
    def is_held(self) -> bool:
        case = self.case
        return self.value >= case.least and (case.most is None or self.value <= case.most)


def check(case: Case, quick: bool = False) -> Verdict:
    """Run one case; ``quick`` with fewer seeds, for a shorter time."""
    if not quick:
        return Verdict(case, case.measure(case.seeds, case.seconds))
    most = None if case.most is None else case.most + case.slack
    wider = replace(case, least=max(0, case.least - case.slack), most=most)
    most_seconds = _QUICK_LONG_SECONDS if case.is_long else _QUICK_SECONDS
    seeds, seconds = min(_QUICK_SEEDS, case.seeds), min(most_seconds, case.seconds)
    return Verdict(wider, case.measure(seeds, seconds))


def mathis(loss: int, rtt_ns: int = _RTT_NS) -> int:
    """Payload bit/s of Reno at a loss rate (parts per billion): MSS/RTT sqrt(3/2p).

    From Mathis, Semke, Mahdavi and Ott, "The macroscopic behavior of the TCP congestion avoidance
    algorithm", 1997, with an ACK for every segment.
    """
    root = isqrt(3 * _PER_BILLION * 10**12 // (2 * loss))  # times 10^6
    return MSS * 8 * NS_PER_S // rtt_ns * root // 10**6


def mean_rate(congestion: str, path: Path, seeds: int, seconds: int) -> int:
    """Payload bit/s of one flow, the mean over seeds."""
    total = 0
    for seed in range(seeds):
        total += Simulation(path, [Flow(congestion)], seed).run(seconds * NS_PER_S).rate()
    return total // seeds


def _lossy(congestion: str, loss: int) -> Callable[[int, int], int]:
    def measure(seeds: int, seconds: int) -> int:
        rate = mean_rate(congestion, Path(loss=loss), seeds, seconds)
        if congestion == "reno":
            return rate * _THOUSANDTHS // mathis(loss)
        return rate * _THOUSANDTHS // mean_rate("reno", Path(loss=loss), seeds, seconds)

    return measure


def _window_at(loss: int, segments: int) -> Callable[[int, int], int]:
    """CUBIC's mean window in segments beside that of RFC 9438's table, at RTT 100 ms."""

    def measure(seeds: int, seconds: int) -> int:
        total = 0
        for seed in range(seeds):
            path = Path(rate=10**9, rtt_ns=100 * NS_PER_MS, queue=100_000, loss=loss)
            simulation = Simulation(path, [Flow("cubic")], seed, sample_ns=100 * NS_PER_MS)
            samples = simulation.run(seconds * NS_PER_S).flows[0].samples
            late = [s.cwnd // MSS for s in samples if s.time_ns >= 20 * NS_PER_S]
            total += sum(late) // len(late)
        return total * _THOUSANDTHS // (seeds * segments)

    return measure


def _clean(congestion: str) -> Callable[[int, int], int]:
    def measure(seeds: int, seconds: int) -> int:
        path = Path(rate=_CLEAN_RATE, queue=_BDP_PACKETS)
        payload = _CLEAN_RATE * MSS // _FRAME_BYTES
        return mean_rate(congestion, path, 1, seconds) * _THOUSANDTHS // payload

    return measure


def _marked(seeds: int, seconds: int) -> int:
    """A queue that marks from its half on: goodput, or nothing if it still drops after the first
    two seconds. [RFC 3168 5]"""
    path = Path(rate=_CLEAN_RATE, queue=_BDP_PACKETS, ecn=_BDP_PACKETS // 2)
    dropped = [
        Simulation(path, [Flow("cubic")], 1).run(duration * NS_PER_S) for duration in (2, seconds)
    ]
    if dropped[0].dropped != dropped[1].dropped or not dropped[1].marked:
        return 0
    return dropped[1].rate() * _THOUSANDTHS * _FRAME_BYTES // (_CLEAN_RATE * MSS)


def _fair(congestion: str) -> Callable[[int, int], int]:
    def measure(seeds: int, seconds: int) -> int:
        total = 0
        for later in range(1, seeds + 1):  # nothing else is left to chance on such a path
            path = Path(rate=_CLEAN_RATE, queue=_BDP_PACKETS)
            flows = [Flow(congestion), Flow(congestion, start_ns=later * NS_PER_S)]
            result = Simulation(path, flows, 1).run((10 + seconds) * NS_PER_S, 10 * NS_PER_S)
            rates = [result.rate(0), result.rate(1)]
            total += sum(rates) ** 2 * _THOUSANDTHS // (2 * sum(rate * rate for rate in rates))
        return total // seeds

    return measure


def _queueing_ns(congestion: str, seconds: int) -> int:
    """Mean of the smoothed round trip beyond the path's own, after ten seconds."""
    path = Path(rate=_CLEAN_RATE, queue=_BDP_PACKETS)
    flow = Flow(congestion)
    simulation = Simulation(path, [flow], 1, sample_ns=100 * NS_PER_MS)
    simulation.run((10 + seconds) * NS_PER_S)
    late = [s.srtt_ns - _RTT_NS for s in flow.samples if s.time_ns >= 10 * NS_PER_S]
    return sum(late) // len(late)


def _queueing(seeds: int, seconds: int) -> int:
    return _queueing_ns("bbr", seconds) * _THOUSANDTHS // _queueing_ns("cubic", seconds)


def _random_loss(seeds: int, seconds: int) -> int:
    """BBR's goodput at a loss of one in a hundred, where CUBIC's has collapsed."""
    path = Path(rate=_CLEAN_RATE, queue=_BDP_PACKETS, loss=10_000_000)
    payload = _CLEAN_RATE * MSS // _FRAME_BYTES
    return mean_rate("bbr", path, seeds, seconds) * _THOUSANDTHS // payload


def _share(seeds: int, seconds: int) -> int:
    """What BBR takes of a link that it shares with CUBIC."""
    total = 0
    for later in range(1, seeds + 1):
        path = Path(rate=_CLEAN_RATE, queue=_BDP_PACKETS)
        flows = [Flow("cubic"), Flow("bbr", start_ns=later * NS_PER_S)]
        result = Simulation(path, flows, later).run((10 + seconds) * NS_PER_S, 10 * NS_PER_S)
        total += result.rate(1) * _THOUSANDTHS // (result.rate(0) + result.rate(1))
    return total // seeds


def slow_start_flights(congestion: str = "reno", rounds: int = 5) -> list[int]:
    """Segments sent in each of the first round trips of a connection on a wide path."""
    path = Path(rate=10**9, queue=100_000)
    # Looked at half way between the bursts of acknowledgements.
    simulation = Simulation(path, [Flow(congestion)], 1, sample_ns=_RTT_NS // 2)
    samples = simulation.run((rounds + 4) * _RTT_NS).flows[0].samples
    return [sample.cwnd // MSS for sample in samples[1 : 2 * rounds : 2]]


def _slow_start(seeds: int, seconds: int) -> int:
    flights = slow_start_flights()
    wanted = [10 << n for n in range(len(flights))]
    return min(got * _THOUSANDTHS // want for got, want in zip(flights, wanted, strict=True))


def run_tail_loss(lost: int = 2, trace: Trace | None = None) -> Result:
    """32 segments, the last ``lost`` of which are lost once."""
    path = Path(loss_plan=lambda number: 32 - lost <= number < 32)
    flow = Flow("reno", bytes_limit=32 * MSS)
    return Simulation(path, [flow], 1, trace=trace).run(10 * NS_PER_S)


def _silence(lost: int) -> int:
    """Nanoseconds for which nothing was heard before the loss of a tail was repaired."""
    trace = Trace()
    heard: list[int] = []
    repaired: list[int] = []
    trace.subscribe("tcp.segment.in", lambda event: heard.append(event.time_ns))
    trace.subscribe("tcp.retransmit", lambda event: repaired.append(event.time_ns))
    result = run_tail_loss(lost, trace)
    if result.flows[0].timeouts or not repaired:
        return NS_PER_S
    return repaired[0] - max(time_ns for time_ns in heard if time_ns < repaired[0])


def _tail_loss(seeds: int, seconds: int) -> int:
    """A loss probe goes out after two smoothed round trips of silence; a timeout, which takes the
    same and a fifth of a second, is none. [RFC 8985 7.2] (Where a single segment was lost, its
    acknowledgement may be delayed as long, and the probe waits for that.)"""
    longest = max(_silence(lost) for lost in (2, 3, 5))
    return longest * _THOUSANDTHS // _RTT_NS


def _tail_repair(seeds: int, seconds: int) -> int:
    """Round trips by which the loss of two segments makes the end later: what the probe for the
    one reports brings the other, a round trip after it."""
    late = run_tail_loss(2).flows[0].finished_ns - run_tail_loss(0).flows[0].finished_ns
    return late * _THOUSANDTHS // _RTT_NS


def _reordering(congestion: str) -> Callable[[int, int], int]:
    """Retransmissions beyond what was lost, which is nothing, after the first second: the first
    segments that are overtaken are taken for lost, and teach the sender. [RFC 8985 6.2]"""

    def measure(seeds: int, seconds: int) -> int:
        again = 0
        for seed in range(seeds):
            path = Path(reorder=10_000_000, reorder_by_ns=_RTT_NS // 4)
            config = Config(rcv_max=256 * KIB)  # so that no queue builds up
            counts = []
            for duration in (1, seconds):
                flow = Flow(congestion)
                Simulation(path, [flow], seed, config=config).run(duration * NS_PER_S)
                counts.append(flow.retransmits)
            again += counts[1] - counts[0]
        return again * _THOUSANDTHS

    return measure


# Mbit/s and milliseconds. How far the last doubling overshoots depends on where it begins: the path
# of the other rows, and eight.
_LINK: Final = ((20, 40),)
OVERSHOOTS: Final = (
    (12, 40), (16, 40), (20, 40), (24, 40), (28, 40), (32, 40), (20, 80), (20, 100),
)  # fmt: skip


def slow_start_loss(congestion: str, knobs: Config, megabits: int, rtt_ms: int) -> int:
    """Segments dropped in the first two seconds on a path whose queue holds one bandwidth-delay
    product."""
    queue = megabits * 1000 * rtt_ms // 8 // _FRAME_BYTES
    path = Path(rate=megabits * 10**6, rtt_ns=rtt_ms * NS_PER_MS, queue=queue)
    config = replace(knobs, rcv_max=16 << 20, snd_max=16 << 20)
    return Simulation(path, [Flow(congestion)], 1, config=config).run(2 * NS_PER_S).dropped


def _hystart(
    congestion: str, hystart: str, paths: tuple[tuple[int, int], ...]
) -> Callable[[int, int], int]:
    """What the queue drops of slow start, of what it drops of plain slow start. ``hystart`` as in
    `Config`."""

    def measure(seeds: int, seconds: int) -> int:
        plain, lost = (
            sum(slow_start_loss(congestion, Config(hystart=kind), *path) for path in paths)
            for kind in ("", hystart)
        )
        return lost * _THOUSANDTHS // plain

    return measure


ALGORITHMS: Final = ("reno", "cubic", "bbr")
_LOSSES: Final = (0, 1_000_000, 10_000_000)
_QUEUES: Final = (_BDP_PACKETS // 4, _BDP_PACKETS, _BDP_PACKETS * 4)


def loss_and_buffer(congestion: str, seconds: int = 10) -> list[tuple[int, int, int]]:
    """(loss in ppm, queue in packets, kbit/s): what the snapshot in the repository says."""
    rows = []
    for loss in _LOSSES:
        for queue in _QUEUES:
            path = Path(rate=_CLEAN_RATE, queue=queue, loss=loss)
            rows.append((loss // 1000, queue, mean_rate(congestion, path, 1, seconds) // 1000))
    return rows


def _by_chance(
    name: str, what: str, least: int, most: int, measure: Callable[[int, int], int]
) -> Case:
    """A case in which losses decide."""
    return Case(name, what, least, most, measure, slack=_QUICK_SLACK)


def _window_case(name: str, what: str, loss: int, segments: int) -> Case:
    measure = _window_at(loss, segments)
    return Case(name, what, 800, 1300, measure, 5, 300, is_long=True, slack=_QUICK_SLACK)


CASES: Final = (
    _by_chance("reno 0.1 %", "of Mathis' formula", 700, 1150, _lossy("reno", 1_000_000)),
    _by_chance("reno 0.3 %", "of Mathis' formula", 700, 1150, _lossy("reno", 3_000_000)),
    _by_chance("reno 1 %", "of Mathis' formula", 700, 1150, _lossy("reno", 10_000_000)),
    _by_chance("cubic 0.1 %", "of our Reno", 800, 1300, _lossy("cubic", 1_000_000)),
    _by_chance("cubic 0.3 %", "of our Reno", 800, 1300, _lossy("cubic", 3_000_000)),
    _by_chance("cubic 1 %", "of our Reno", 800, 1300, _lossy("cubic", 10_000_000)),
    _window_case("cubic window 0.01 %", "of 187 segments", 100_000, 187),
    _window_case("cubic window 0.001 %", "of 1,054 segments", 10_000, 1054),
    Case("reno clean link", "of 20 Mbit/s payload", 930, 1001, _clean("reno"), 1),
    Case("cubic clean link", "of 20 Mbit/s payload", 930, 1001, _clean("cubic"), 1),
    Case("cubic, marked", "of 20 Mbit/s payload", 930, 1001, _marked, 1),
    Case("bbr clean link", "of 20 Mbit/s payload", 930, 1001, _clean("bbr"), 1),
    Case("bbr queue", "of CUBIC's queueing delay", 0, 500, _queueing, 1),
    Case("bbr 1 %", "of 20 Mbit/s payload", 800, 1001, _random_loss),
    Case("two bbr flows", "Jain's index", 950, None, _fair("bbr")),
    Case("bbr beside cubic", "of what both get", 200, 900, _share),
    Case("two reno flows", "Jain's index", 950, None, _fair("reno")),
    Case("two cubic flows", "Jain's index", 950, None, _fair("cubic")),
    Case("slow start", "of 10, 20, 40 ... segments", 950, None, _slow_start, 1),
    Case("tail loss", "round trips of silence", 1900, 2200, _tail_loss, 1),
    Case("tail repair", "round trips later", 2900, 3300, _tail_repair, 1),
    Case("reordering", "spurious retransmissions", 0, 0, _reordering("reno")),
    Case("hystart++", "of plain slow start's loss", 0, 333, _hystart("reno", "++", _LINK), 1),
    Case("hystart++, 8 paths", "of the same", 0, 550, _hystart("reno", "++", OVERSHOOTS), 1),
    Case("hystart, 8 paths", "of the same", 0, 333, _hystart("cubic", "linux", OVERSHOOTS), 1),
)
