"""Protects: HyStart++, its constants and its two phases. [RFC 9406]"""

from __future__ import annotations

from random import Random

import pytest

from leulo.stack import Stack, StackConfig
from leulo.tcp import hystart
from leulo.tcp.config import PRESETS, Config
from leulo.tcp.congestion.reno import Reno
from leulo.tcp.pacer import Pacer
from leulo.tcp.tcb import Tcb
from leulo.trace import Trace

MSS = 1000
MANY = 1 << 40


class Slow:
    """A connection in its first slow start, and round after round of acknowledgements."""

    def __init__(self, **knobs: object) -> None:
        knobs = {"congestion": "reno", "hystart": "++", **knobs}
        config = StackConfig(
            "test", bytes(6), bytes((10, 0, 0, 1)), 24, tcp=Config(**knobs)  # type: ignore[arg-type]
        )  # fmt: skip
        engine = Stack(config, Random(1).getrandbits, Trace()).engine
        self.tcb = Tcb(engine, 1, b"", bytes(12), 0, engine.settings, 0, 0)
        self.tcb.mss = MSS
        self.tcb.cwnd = 10 * MSS
        self.tcb.snd_nxt = self.tcb.cwnd
        self.tcb.congestion = Reno()

    @property
    def is_cautious(self) -> bool:
        return self.tcb.hystart is not None and self.tcb.hystart.is_cautious

    def round(self, rtt_us: int, samples: int = 8, segments: int = 0) -> None:
        """One round with ``samples`` acknowledgements, each of ``segments``; its end comes with
        the last."""
        tcb = self.tcb
        end = tcb.snd_nxt
        for n in range(samples):
            if n == samples - 1:
                tcb.snd_una = end
                tcb.snd_nxt = end + 10 * MSS
            hystart.sample(tcb, rtt_us * 1000)
            if segments:
                Reno().on_ack(tcb, segments * MSS, 0)


def begun(rtt_us: int = 40_000, **knobs: object) -> Slow:
    """Two rounds of this round trip have passed."""
    slow = Slow(**knobs)
    slow.round(rtt_us)
    slow.round(rtt_us)
    return slow


@pytest.mark.parametrize(
    ("rtt_us", "rise_us"),
    [(40_000, 5_000), (8_000, 4_000), (800, 4_000), (400_000, 16_000), (128_000, 16_000)],
)
def test_an_eighth_more_ends_it_within_4_and_16_ms(rtt_us: int, rise_us: int) -> None:
    slow = begun(rtt_us)
    slow.round(rtt_us + rise_us - 1)
    assert not slow.is_cautious
    slow = begun(rtt_us)
    slow.round(rtt_us + rise_us)
    assert slow.is_cautious


def test_eight_samples_are_needed() -> None:
    slow = begun()
    slow.round(80_000, samples=7)
    assert not slow.is_cautious
    slow = begun()
    slow.round(80_000, samples=8)
    assert slow.is_cautious


def cautious_growth(acked: int, **knobs: object) -> int:
    """By how many bytes cwnd grows in conservative slow start."""
    slow = begun(**knobs)
    before = slow.tcb.cwnd
    slow.round(80_000)
    Reno().on_ack(slow.tcb, acked, 0)
    return slow.tcb.cwnd - before


def test_then_growth_is_a_quarter_by_the_rfc() -> None:
    divisor = PRESETS["rfc"].css_growth_divisor
    assert cautious_growth(4 * MSS, css_growth_divisor=divisor) == MSS


def test_then_growth_is_an_eighth() -> None:
    assert cautious_growth(4 * MSS) == MSS // 2


@pytest.mark.parametrize("divisor", [2, 1, 0, -4])
def test_growth_is_halved_at_least(divisor: int) -> None:
    assert cautious_growth(4 * MSS, css_growth_divisor=divisor) == 2 * MSS


def test_after_five_rounds_congestion_avoidance_begins() -> None:
    """The one that raised the alarm counts."""
    slow = begun()
    for number in range(5):
        assert slow.tcb.ssthresh == MANY, number
        slow.round(80_000)
    assert slow.tcb.ssthresh == slow.tcb.cwnd
    assert slow.tcb.hystart is None


def test_a_shorter_round_trip_means_a_false_alarm() -> None:
    slow = begun()
    slow.round(80_000)
    assert slow.is_cautious
    slow.round(79_000)
    assert not slow.is_cautious and slow.tcb.ssthresh == MANY
    slow.round(100_000)
    assert slow.is_cautious  # and it looks on


def test_an_ack_counts_for_eight_segments_at_most() -> None:
    """However many it acknowledges, because what it lets out goes at once."""
    slow = begun()
    before = slow.tcb.cwnd
    Reno().on_ack(slow.tcb, 20 * MSS, 0)
    assert slow.tcb.cwnd == before + 8 * MSS


def test_a_paced_one_counts_all() -> None:
    slow = begun()
    slow.tcb.pacer = Pacer(slow.tcb)
    before = slow.tcb.cwnd
    Reno().on_ack(slow.tcb, 20 * MSS, 0)
    assert slow.tcb.cwnd == before + 20 * MSS


def test_only_in_the_first_slow_start() -> None:
    slow = Slow()
    slow.tcb.ssthresh = 100 * MSS
    for rtt_us in (40_000, 40_000, 80_000, 160_000):
        slow.round(rtt_us)
    assert slow.tcb.hystart is None and slow.tcb.ssthresh == 100 * MSS
