"""Knobs of `Config` that nobody else tests do what the sysctls do that they stand for.
[Linux tcp(7)] [FreeBSD tcp(4)]"""

from __future__ import annotations

import pytest
from script_peer import MS, S, Script

from leulo.pkt.settings import Setup
from leulo.tcp.config import PRESETS

MSS = 1448


@pytest.mark.parametrize("is_reset", [False, True])
def test_handshake_that_ends_at_a_full_queue_is_reset_or_goes_on(is_reset: bool) -> None:
    """tcp_abort_on_overflow"""
    s = Script(resets_on_overflow=is_reset)
    s.listen(0)
    isses = {}
    for port in (4001, 4002):
        s.peer_port = port
        s.inject("S", 0)
        s.expect("SA", 0, 1)
        isses[port] = s.iss
    for port in (4001, 4002):
        s.peer_port, s.iss = port, isses[port]
        s.inject("A", 1, 1)
    if is_reset:
        s.expect("R", 1)
        s.wait(2 * S)
        s.expect_none()
    else:
        s.expect_none()
        s.wait(2 * S)
        s.expect("SA", 0, 1)
    assert len(s.stack.engine.half_open) == (not is_reset)


@pytest.mark.parametrize("is_tuned", [False, True])
def test_receive_buffer_grows_by_what_is_read_or_not(is_tuned: bool) -> None:
    """tcp_moderate_rcvbuf"""
    s = Script(tunes_rcvbuf=is_tuned, wscale=7)
    socket = s.passive()
    before = s.tcb.rcv_limit
    at = 1
    for _ in range(6):
        for _ in range(40):
            s.inject("A", at, 1, bytes(MSS))
            at += MSS
        s.wait(5 * MS)
        socket.recv(1 << 20)
    s.inject("A", at + 40 * MSS, 1, bytes(MSS))  # and by what has come ahead of a gap
    assert (s.tcb.rcv_limit > before) is is_tuned


def test_pacing_goes_by_the_percentages() -> None:
    """tcp_pacing_ss_ratio and tcp_pacing_ca_ratio"""
    rates = []
    for slow_start, avoidance, ssthresh in (
        (200, 120, 1 << 40), (300, 120, 1 << 40), (200, 50, 0), (0, 120, 1 << 40),
    ):  # fmt: skip
        s = Script(
            has_pacing=True,
            pacing_slow_start_percent=slow_start,
            pacing_avoidance_percent=avoidance,
        )
        socket = s.passive()
        s.tcb.srtt_ns = 10 * MS
        s.tcb.ssthresh = ssthresh
        raw = socket.getsockopt(6, 11)
        assert isinstance(raw, bytes)
        rates.append(int.from_bytes(raw[104:112], "little"))
    by_window = 10 * MSS * 100
    assert rates == [2 * by_window, 3 * by_window, by_window // 2, (1 << 64) - 1]


def test_reordering_counts_up_to_the_bound() -> None:
    """tcp_max_reordering"""
    for most in (300, 4):
        s = Script(max_reordering=most)
        socket = s.passive()
        s.wait(100 * MS)
        socket.send(bytes(10 * MSS))
        s.wait(0)
        s.queue.clear()
        s.wait(50 * MS)
        s.inject("A", 1, 1, sacks=[(1 + 8 * MSS, 1 + 9 * MSS)])
        s.inject("A", 1, 1 + MSS, sacks=[(1 + 8 * MSS, 1 + 9 * MSS)])
        assert s.tcb.reordering is not None
        assert s.tcb.reordering.degree == min(9, most)


def test_duplicates_let_nothing_out_where_that_is_off() -> None:
    """net.inet.tcp.rfc3042"""
    s = Script(has_limited_transmit=False, sack=False)
    socket = s.passive()
    socket.send(bytes(20 * MSS))
    s.wait(0)
    s.queue.clear()
    s.inject("A", 1, 1)
    s.inject("A", 1, 1)
    s.expect_none()
    s.inject("A", 1, 1)
    s.expect("A", 1, 1, MSS)


@pytest.mark.parametrize("preset", ["linux", "freebsd"])
def test_silence_is_asked_about_without_being_told_to(preset: str) -> None:
    """net.inet.tcp.always_keepalive, which FreeBSD has on; SO_KEEPALIVE still says what was set."""
    s = Script(always_keepalive=PRESETS[preset].always_keepalive)
    socket = s.passive()
    s.wait(7_201 * S)
    if preset == "freebsd":
        s.expect("A", 0, 1, 0)
    s.expect_none()
    assert socket.getsockopt(1, 9) == bytes(4)


def test_scripts_set_them_by_the_systems_names() -> None:
    setup = Setup()
    setup.command(
        "sysctl -q net.ipv4.tcp_moderate_rcvbuf=0 net.ipv4.tcp_pacing_ss_ratio=250"
        " net.ipv4.tcp_pacing_ca_ratio=110 net.ipv4.tcp_max_reordering=20"
        " net.ipv4.tcp_abort_on_overflow=1 net.ipv4.tcp_stdurg=1; sysctl net.inet.tcp.rfc3042=0",
        1,
    )
    assert setup.changes == {
        "tunes_rcvbuf": False,
        "pacing_slow_start_percent": 250,
        "pacing_avoidance_percent": 110,
        "max_reordering": 20,
        "resets_on_overflow": True,
        "has_old_urgent_pointer": True,
        "has_limited_transmit": False,
    }
