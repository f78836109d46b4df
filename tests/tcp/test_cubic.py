"""Protects: CUBIC's curve, its Reno-friendly floor and its reductions, in integers. [RFC 9438]"""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from leulo.stack import Stack, StackConfig
from leulo.tcp.config import Config
from leulo.tcp.congestion import beginner, make
from leulo.tcp.congestion.cubic import Cubic, cube_root
from leulo.tcp.tcb import Tcb
from leulo.trace import Trace
from leulo.units import NS_PER_MS, NS_PER_S

MSS = 1448


def stack(as_linux: bool) -> Stack:
    config = StackConfig(
        name="test", mac=bytes(6), address=bytes((10, 0, 0, 1)), prefix_length=24,
        tcp=Config(has_linux_cubic=as_linux),
    )  # fmt: skip
    return Stack(config, Random(1).getrandbits, Trace())


STACK = stack(False)
LINUX = stack(True)


def connection(segments: int, rtt_ms: int = 100, of: Stack = STACK) -> Tcb:
    """A connection with a window of so many segments, past slow start."""
    tcb = Tcb(of.engine, 1, b"", bytes(12), 0, of.engine.settings, 0, 0)
    tcb.mss = MSS
    tcb.cwnd = segments * MSS
    tcb.srtt_ns = rtt_ms * NS_PER_MS
    tcb.rto_ns = NS_PER_S
    return tcb


def run(cubic: Cubic, tcb: Tcb, seconds: float, begin_ns: int = NS_PER_S) -> int:
    """Acknowledge one window every round trip; returns the time at the end."""
    now = begin_ns
    end = begin_ns + int(seconds * NS_PER_S)
    while now < end:
        for _ in range(max(1, tcb.cwnd // (2 * MSS))):
            cubic.on_ack(tcb, 2 * MSS, now)
        now += tcb.srtt_ns
    return now


@given(st.integers(0, 1 << 200))
def test_cube_root_is_exact(value: int) -> None:
    root = cube_root(value)
    assert root**3 <= value < (root + 1) ** 3


def test_every_connection_has_its_own_state() -> None:
    first, second = make("cubic"), make("cubic")
    assert isinstance(first, Cubic) and first is not second
    assert make("reno") is make("reno")
    assert make("nonsense") is None


def test_new_connections_share_one_until_one_has_something_to_remember() -> None:
    begin = beginner("cubic")
    assert begin is not None
    fresh = begin()
    assert begin() is fresh and fresh.save() == Cubic().save()
    growing, losing, timing_out = (connection(100) for _ in range(3))
    for tcb in (growing, losing, timing_out):
        tcb.congestion = fresh
    growing.ssthresh = 101 * MSS
    fresh.on_ack(growing, MSS, NS_PER_S)
    assert growing.cwnd == 101 * MSS and growing.congestion is fresh  # slow start keeps nothing
    fresh.on_ack(growing, MSS, NS_PER_S)
    fresh.on_loss(losing, 100 * MSS, NS_PER_S)
    fresh.on_timeout(timing_out, 100 * MSS, NS_PER_S)
    own = [tcb.congestion for tcb in (growing, losing, timing_out)]
    assert all(isinstance(one, Cubic) and one is not fresh for one in own)
    assert len({id(one) for one in own}) == 3
    assert losing.ssthresh == 70 * MSS
    assert fresh.save() == Cubic().save()


def test_loss_reduces_to_seven_tenths() -> None:
    cubic, tcb = Cubic(), connection(100)
    cubic.on_loss(tcb, 100 * MSS, NS_PER_S)
    assert tcb.ssthresh == 70 * MSS
    assert cubic.w_max == 100 * MSS


def test_a_second_loss_below_the_last_maximum_releases_bandwidth() -> None:
    cubic, tcb = Cubic(), connection(100)
    cubic.on_loss(tcb, 100 * MSS, NS_PER_S)
    tcb.cwnd = 80 * MSS
    cubic.on_loss(tcb, 80 * MSS, 2 * NS_PER_S)
    assert cubic.w_max == 68 * MSS  # 80 * (1 + 0.7) / 2 [RFC 9438 4.7]


def test_the_window_is_back_at_its_maximum_after_k_seconds() -> None:
    cubic, tcb = Cubic(), connection(1000)
    cubic.on_loss(tcb, 1000 * MSS, NS_PER_S)
    tcb.cwnd = tcb.ssthresh
    # K = cbrt(300 / 0.4) = 9.09 s
    run(cubic, tcb, 9.1)
    assert abs(cubic.k_us - 9_085_603) < 1000
    assert 0.98 <= tcb.cwnd / (1000 * MSS) <= 1.02
    # Concave before, convex after: eight seconds past K it is 0.4 * 8^3 = 205 segments more.
    run(cubic, tcb, 8.0, begin_ns=cubic.epoch_ns + 9_085_603_000)
    assert 1.17 <= tcb.cwnd / (1000 * MSS) <= 1.24


def test_on_a_short_path_it_grows_as_reno_does() -> None:
    cubic, tcb = Cubic(), connection(20, rtt_ms=10)
    cubic.on_loss(tcb, 20 * MSS, NS_PER_S)
    tcb.cwnd = tcb.ssthresh
    began = tcb.cwnd
    run(cubic, tcb, 1.0)  # 100 round trips: 9/17 segment each, then a segment each
    grown = (tcb.cwnd - began) / MSS
    assert 55 <= grown <= 110


def test_an_idle_application_does_not_let_the_window_jump() -> None:
    cubic, tcb = Cubic(), connection(100)
    cubic.on_loss(tcb, 100 * MSS, NS_PER_S)
    tcb.cwnd = tcb.ssthresh
    end = run(cubic, tcb, 1.0)
    before = tcb.cwnd
    cubic.on_ack(tcb, 2 * MSS, end + 60 * NS_PER_S)
    assert tcb.cwnd <= before + MSS


def test_time_without_work_does_not_count() -> None:
    """[RFC 9438 5.8]: the epoch moves on by the pause."""
    cubic, tcb = Cubic(), connection(100)
    cubic.on_loss(tcb, 100 * MSS, NS_PER_S)
    tcb.cwnd = tcb.ssthresh
    end = run(cubic, tcb, 1.0)
    before = cubic.epoch_ns
    cubic.on_ack(tcb, 2 * MSS, end + 60 * NS_PER_S)
    assert cubic.epoch_ns - before >= 59 * NS_PER_S


def test_after_a_timeout_the_curve_begins_at_its_plateau() -> None:
    """[RFC 9438 4.8]: K is 0 and W_max the window with which congestion avoidance begins."""
    cubic, tcb = Cubic(), connection(1000)
    cubic.on_timeout(tcb, 1000 * MSS, NS_PER_S)
    assert tcb.ssthresh == 700 * MSS
    tcb.cwnd = tcb.ssthresh  # where slow start has ended
    end = run(cubic, tcb, 4.0)
    assert (cubic.w_max, cubic.k_us) == (700 * MSS, 0)
    assert 720 <= tcb.cwnd // MSS <= 732  # 0.4 * 4^3 above it, not the 135 of a way back to 1000
    assert end > cubic.epoch_ns


def test_a_reduction_for_nothing_is_taken_back_whole() -> None:
    """[RFC 9438 4.9.2]: the curve goes on, with its epoch and its plateau."""
    cubic, tcb = Cubic(), connection(1000)
    cubic.on_loss(tcb, 1000 * MSS, NS_PER_S)
    tcb.cwnd = tcb.ssthresh
    end = run(cubic, tcb, 3.0)
    before = {name: cubic.save()[name] for name in ("w_max", "k_us", "epoch_ns", "w_est")}
    window = tcb.cwnd
    cubic.on_timeout(tcb, window, end)
    tcb.cwnd = window  # what the engine restores
    cubic.on_undo(tcb, end)
    assert {name: cubic.save()[name] for name in before} == before
    cubic.on_loss(tcb, window, end)
    tcb.cwnd = window + MSS  # found out late: what is newer counts
    cubic.on_undo(tcb, end)
    assert cubic.epoch_ns == 0


def test_saved_state_goes_on_the_same() -> None:
    cubic, tcb = Cubic(), connection(200)
    cubic.on_loss(tcb, 200 * MSS, NS_PER_S)
    tcb.cwnd = tcb.ssthresh
    end = run(cubic, tcb, 2.0)
    other, twin = Cubic(), connection(200)
    twin.cwnd, twin.ssthresh, twin.cwnd_credit = tcb.cwnd, tcb.ssthresh, tcb.cwnd_credit
    other.load(cubic.save())
    run(cubic, tcb, 2.0, end)
    run(other, twin, 2.0, end)
    assert twin.cwnd == tcb.cwnd


def test_above_its_maximum_the_curve_goes_on() -> None:
    """[RFC 9438 4.5]: eight seconds past K it is 0.4 * 8^3 = 205 segments more."""
    cubic, tcb = Cubic(), connection(1000)
    cubic.on_loss(tcb, 1000 * MSS, NS_PER_S)
    tcb.cwnd = tcb.ssthresh
    run(cubic, tcb, 17.1)
    assert 1.17 <= tcb.cwnd / (1000 * MSS) <= 1.24


def test_after_a_timeout_the_estimate_begins_anew() -> None:
    """[RFC 9438 4.8]"""
    cubic, tcb = Cubic(), connection(1000)
    cubic.on_loss(tcb, 1000 * MSS, NS_PER_S)
    run(cubic, tcb, 1.0)
    cubic.on_timeout(tcb, 1000 * MSS, 3 * NS_PER_S)
    tcb.cwnd = tcb.ssthresh = 20 * MSS
    cubic.on_ack(tcb, MSS, 4 * NS_PER_S)
    assert cubic.w_est == 20 * MSS


def test_below_the_threshold_it_is_slow_start() -> None:
    """[RFC 9438 4.10]"""
    cubic, tcb = Cubic(), connection(10)
    tcb.ssthresh = 15 * MSS
    for _ in range(5):
        cubic.on_ack(tcb, MSS, NS_PER_S)
    assert tcb.cwnd == 15 * MSS
    cubic.on_ack(tcb, MSS, NS_PER_S)
    assert tcb.cwnd < 16 * MSS


def slow_cubic(has_maximum: bool) -> tuple[Cubic, Tcb]:
    """A connection of 7 segments at the flat part of the curve."""
    cubic = Cubic()
    tcb = connection(7, of=LINUX)
    tcb.ssthresh = tcb.cwnd
    if has_maximum:
        cubic.on_loss(tcb, 0, NS_PER_S)
        cubic.w_max = tcb.ssthresh = tcb.cwnd
    cubic.on_ack(tcb, MSS, NS_PER_S)
    return cubic, tcb


def test_as_linux_a_window_is_compared_with_reno_now_and_then() -> None:
    """Acknowledgements within 31 ms do not make it grow to what Reno would have by then."""
    cubic, tcb = slow_cubic(True)
    now = NS_PER_S + 40 * NS_PER_MS
    for _ in range(20):
        cubic.on_ack(tcb, MSS, now)
        now += NS_PER_MS
    assert cubic.w_est >= 8 * MSS
    assert tcb.cwnd // MSS == 7
    cubic.on_ack(tcb, MSS, now + 12 * NS_PER_MS)
    assert tcb.cwnd == cubic.w_est


def test_as_linux_a_window_without_a_maximum_grows_by_a_twentieth() -> None:
    for has_maximum, segments in ((False, 8), (True, 7)):
        cubic, tcb = slow_cubic(has_maximum)
        for _ in range(20):
            cubic.w_est = 0  # Reno is no part of this
            cubic.on_ack(tcb, MSS, NS_PER_S + NS_PER_MS)
        assert tcb.cwnd // MSS == segments
    cubic.on_timeout(tcb, 0, NS_PER_S)
    assert not cubic.has_maximum
