"""Rules of the options, number by number, that no script shows. [RFC 7323] [RFC 2018] [RFC 7413]

docs/requirements names each of these tests beside the line that it holds.
"""

from __future__ import annotations

from script_peer import MS, Script
from sender_script import MSS, end, opened, write

from leulo.tcp.handshake import scale_for

WINDOW_SCALE = 3


def scale_of(seen) -> bytes | None:  # type: ignore[no-untyped-def]
    return next((data for kind, data in seen.tcp.options if kind == WINDOW_SCALE), None)


def test_a_scale_of_nothing_is_offered_too() -> None:
    """Or the peer could not scale its own. [RFC 7323 2.2]"""
    s = Script(rcv_default=32_768, rcv_max=32_768)
    s.dial()
    assert scale_of(s.expect("S", 0)) == b"\0"


def test_a_scale_is_14_at_most() -> None:
    """[RFC 7323 2.3]"""
    assert scale_for(1 << 40) == 14
    assert scale_for(65_535) == 0
    assert scale_for(65_536) == 1


def test_a_scale_that_the_peer_does_not_answer_is_not_used() -> None:
    """Neither way. [RFC 7323 2.3]"""
    s = Script(wscale=-1)
    s.dial()
    s.expect("S", 0)
    s.inject("SA", 0, 1)
    assert (s.tcb.snd_wscale, s.tcb.rcv_wscale) == (0, 0)


def test_the_scales_are_those_of_the_syns() -> None:
    """[RFC 7323 2.3]"""
    s = Script(wscale=5)
    s.listen()
    s.inject("S", 0)
    offered = scale_of(s.expect("SA", 0, 1))
    s.inject("A", 1, 1, window=100)
    assert offered is not None
    assert (s.tcb.snd_wscale, s.tcb.rcv_wscale) == (5, offered[0])
    assert s.tcb.snd_wnd == 3_200


def test_a_window_is_offered_by_its_scale() -> None:
    """[RFC 7323 2.3]"""
    s = Script(rcv_default=1 << 20)
    s.passive()
    s.inject("A", 1, 1, b"x")
    s.wait(40 * MS)
    seen = s.expect("A", 1, 2)
    assert seen.window << s.tcb.rcv_wscale == s.tcb.rcv_adv - s.tcb.rcv_nxt
    assert 500_000 < s.tcb.rcv_adv - s.tcb.rcv_nxt <= 1 << 20


def test_what_the_window_has_said_holds() -> None:
    """A segment that fits the window as it stood in our last ACK is taken, whatever has come
    since. [RFC 7323 2.4 (1)]"""
    s = Script(rcv_default=8_192, rcv_max=8_192, trims_to_window=True)
    s.passive()
    right = s.tcb.rcv_adv - s.tcb.irs
    s.inject("A", 1, 1, bytes(100))  # its ACK waits
    s.inject("A", right - 50, 1, bytes(50))
    assert s.tcb.reassembly is not None and s.tcb.reassembly.length == 50


def test_the_edge_is_the_one_that_the_scale_could_say() -> None:
    """[RFC 7323 2.4 (2)]"""
    s = Script(rcv_default=1 << 20)
    s.passive()
    s.inject("A", 1, 1, b"x")
    s.wait(40 * MS)
    assert (s.tcb.rcv_adv - s.tcb.rcv_nxt) % (1 << s.tcb.rcv_wscale) == 0


def test_a_syn_echoes_nothing() -> None:
    """[RFC 7323 3.2]"""
    s = Script()
    s.dial()
    timestamps = s.expect("S", 0).tcp.timestamps
    assert timestamps is not None and timestamps[1] == 0


def test_what_a_syn_without_an_ack_echoes_is_ignored() -> None:
    """Both open at once; the peer's SYN has rubbish there. [RFC 7323 3.2]"""
    s = Script()
    s.dial()
    s.expect("S", 0)
    s.inject("S", 0, tsecr=12_345)
    s.expect("SA", 0, 1)


def test_an_abort_carries_a_timestamp() -> None:
    """[RFC 7323 3.2, 5.2]"""
    s = Script()
    socket = s.passive()
    s.inject("A", 1, 1, b"unread")
    s.wait(40 * MS)
    s.queue.clear()
    socket.close()
    assert s.expect("RA").tcp.timestamps is not None


def test_a_segment_without_a_timestamp_ends_nothing() -> None:
    """[RFC 7323 3.2]"""
    s = Script(drops_missing_timestamps=True)
    socket = s.passive()
    s.inject("A", 1, 1, b"bare", tsval=-1)
    s.inject("A", 1, 1, b"good")
    assert socket.recv(10) == b"good"


def test_timestamps_nobody_agreed_on_mean_nothing() -> None:
    """An older one is no old duplicate. [RFC 7323 3.2]"""
    s = Script(timestamps=False)
    socket = s.passive()
    for number, stamp in enumerate((0xF000_0000, 0xA000_0000)):
        pair = stamp.to_bytes(4, "big") + bytes(4)
        s.inject("A", 1 + number, 1, b"x", options=[(1, b""), (1, b""), (8, pair)])
    assert socket.recv(10) == b"xx"


def test_one_measurement_a_round_trip() -> None:
    """Ten segments of one flight are acknowledged one by one: the history moves once.
    [RFC 7323 4.2]"""
    s = opened(10, timestamps=True)
    s.wait(180 * MS)
    for number in range(1, 11):
        s.inject("A", 1, end(number))
    assert s.tcb.srtt_ns == 110 * MS


def test_what_fills_a_gap_is_echoed() -> None:
    """[RFC 7323 4.3 (C)]"""
    s = Script()
    s.passive()
    first = s.now_ns // MS
    s.inject("A", 11, 1, bytes(10), tsval=first + 10)
    s.queue.clear()
    s.inject("A", 1, 1, bytes(10), tsval=first + 20)
    timestamps = s.expect("A", 1, 21).tcp.timestamps
    assert timestamps is not None and timestamps[1] == first + 20


def test_an_old_timestamp_is_an_old_segment_on_the_short_way_too() -> None:
    """What is kept for comparison never goes back. [RFC 7323 5.2]"""
    s = Script()
    socket = s.passive()
    now_ms = s.now_ns // MS
    s.inject("A", 1, 1, b"a", tsval=now_ms + 50)
    s.inject("A", 2, 1, b"b", tsval=now_ms + 49)
    assert socket.recv(10) == b"a"
    assert s.tcb.ts_recent == now_ms + 50


def test_a_resets_timestamp_is_not_kept() -> None:
    """[RFC 7323 5.2]"""
    s = Script()
    s.passive()
    before = s.tcb.ts_recent
    pair = (before + 1_000).to_bytes(4, "big") + bytes(4)
    s.inject("R", 100, options=[(1, b""), (1, b""), (8, pair)])
    assert s.tcb.ts_recent == before


def test_the_timestamp_is_looked_at_first() -> None:
    """Before the place in the window. [RFC 7323 5.3]"""
    s = Script()
    s.passive()
    s.inject("A", 500_000, 1, b"far", tsval=s.now_ns // MS - 100)
    s.expect_drop("tcp_paws")


def test_what_was_kept_is_not_looked_at_again() -> None:
    """A newer timestamp fills the gap before it. [RFC 7323 5.3]"""
    s = Script()
    socket = s.passive()
    now_ms = s.now_ns // MS
    s.inject("A", 2, 1, b"b", tsval=now_ms)
    s.inject("A", 1, 1, b"a", tsval=now_ms + 500)
    assert socket.recv(10) == b"ab"


# -- selective acknowledgement


def test_a_report_is_kept() -> None:
    """[RFC 2018 5]"""
    for has_rack in (True, False):
        s = opened(5, sack=True, rack=has_rack)
        s.inject("A", 1, 1, sacks=[(end(2), end(4))])
        base = s.tcb.iss
        assert s.tcb.scoreboard.ranges() == [(base + end(2), base + end(4))]


def test_the_left_edge_goes_again_after_a_timeout_reported_or_not() -> None:
    """[RFC 2018 5]"""
    s = opened(4, sack=True, rack=True, has_tail_probe=False)
    s.inject("A", 1, 1, sacks=[(end(1), end(2))])
    s.inject("A", 1, end(1))  # and not the second: it was dropped again
    s.queue.clear()
    s.wait(s.tcb.rto_at - s.now_ns)
    s.expect("A", end(1), length=MSS)


def test_a_timeout_ends_sack_recovery_and_none_begins_before_its_end() -> None:
    """[RFC 6675 5.1]"""
    s = opened(10, sack=True)
    for number in range(2, 5):
        s.inject("A", 1, 1, sacks=[(end(1), end(number))])
    assert s.tcb.recovery == 1
    write(s, 5)
    for number in range(5, 10):
        s.inject("A", 1, 1, sacks=[(end(1), end(number))])
    assert s.tcb.snd_max > s.tcb.recover
    s.wait(s.tcb.rto_at - s.now_ns)
    ssthresh = s.tcb.ssthresh
    assert s.tcb.recovery == 2
    assert s.tcb.recover == s.tcb.snd_max
    for number in range(5, 11):
        s.inject("A", 1, 1, sacks=[(end(1), end(number))])
    assert s.tcb.recovery == 2 and s.tcb.ssthresh == ssthresh
    s.inject("A", 1, s.tcb.snd_max - s.tcb.iss)
    assert s.tcb.recovery == 0


def test_an_acknowledgement_of_something_new_ends_the_count() -> None:
    """Two reports, progress, two reports: no loss. [RFC 6675 5]"""
    s = opened(10, sack=True, duplicate_threshold=3)
    s.inject("A", 1, 1, sacks=[(end(1), end(1) + 10)])
    s.inject("A", 1, 1, sacks=[(end(1), end(1) + 20)])
    assert s.tcb.dupacks == 2
    s.inject("A", 1, end(1))
    assert s.tcb.dupacks == 0


def test_three_small_reports_are_enough() -> None:
    """Though they are less than two segments. [RFC 6675 5 (1)]"""
    s = opened(10, sack=True)
    for size in (10, 20, 30):
        s.expect_none()
        s.inject("A", 1, 1, sacks=[(end(1), end(1) + size)])
    s.expect("A", 1, length=MSS)


def test_reports_are_kept_when_recovery_ends() -> None:
    """[RFC 6675 5 (A)]"""
    s = opened(10, sack=True)
    write(s, 10)
    for number in range(2, 11):
        s.inject("A", 1, 1, sacks=[(end(1), end(number))])
    assert s.tcb.recovery == 1
    last = s.tcb.recover - s.tcb.iss
    assert s.tcb.snd_max - s.tcb.iss >= last + 2 * MSS
    s.inject("A", 1, last, sacks=[(last + MSS, last + 2 * MSS)])
    assert s.tcb.recovery == 0
    assert s.tcb.scoreboard is not None


def test_what_is_not_known_to_be_lost_goes_if_there_is_nothing_else() -> None:
    """The first of ten is lost; of the seventh only the eighth's arrival tells.
    [RFC 6675 4 (3)]"""
    s = opened(10, sack=True)
    for number in range(2, 7):
        s.inject("A", 1, 1, sacks=[(end(1), end(number))])
    s.inject("A", 1, 1, sacks=[(end(7), end(8)), (end(1), end(6))])
    assert s.tcb.high_rxt - s.tcb.iss == end(7)
    s.queue.clear()
    s.inject("A", 1, 1, sacks=[(end(7), end(9)), (end(1), end(6))])
    s.expect_none()  # and then there is nothing (5)


def test_the_highest_segment_goes_once_more_when_nothing_else_can() -> None:
    """A partial acknowledgement of all that was reported: the last of what is out goes again, and
    its report shows the holes below. [RFC 6675 4 (4)]"""
    s = opened(10, sack=True)
    for number in range(2, 5):
        s.inject("A", 1, 1, sacks=[(end(1), end(number))])
    s.queue.clear()
    s.inject("A", 1, end(7))
    s.expect("A", end(9), length=MSS)
    assert s.tcb.high_rxt - s.tcb.iss == end(7)
    s.inject("A", 1, end(8))
    s.expect_none()  # not twice
    s.inject("A", 1, end(8), sacks=[(end(9), end(10))])
    s.expect("A", end(8), length=MSS)


def test_new_data_goes_before_it() -> None:
    """[RFC 6675 4 (2)]"""
    s = opened(10, sack=True)
    for number in range(2, 7):
        s.inject("A", 1, 1, sacks=[(end(1), end(number))])
    write(s, 5)
    s.queue.clear()
    s.inject("A", 1, 1, sacks=[(end(7), end(8)), (end(1), end(6))])
    s.expect("A", end(10), length=MSS)
    assert s.tcb.high_rxt - s.tcb.iss == end(1)


def test_a_second_hole_goes_before_new_data() -> None:
    """[RFC 6675 4 (1), 5 (C.1)]"""
    s = opened(10, sack=True)
    for number in range(4, 7):
        s.inject("A", 1, 1, sacks=[(end(3), end(number)), (end(1), end(2))])
    s.expect("A", 1, length=MSS)
    write(s, 5)
    s.queue.clear()
    for number in range(7, 11):
        s.inject("A", 1, 1, sacks=[(end(3), end(number)), (end(1), end(2))])
        if s.queue:
            break
    s.expect("A", end(2), length=MSS)


# -- fast open


def test_a_listener_that_was_not_asked_to_takes_no_part() -> None:
    """It gives no cookie. [RFC 7413 4.2]"""
    s = Script(fast_open=2)
    s.listen()
    s.inject("S", 0, options=[(2, b"\x05\xb4"), (34, b"")])
    assert 34 not in [kind for kind, _ in s.expect("SA", 0, 1).tcp.options]
