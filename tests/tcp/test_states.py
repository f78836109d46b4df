"""State by event: what each state does with each kind of segment. [RFC 9293 3.10.7]"""

from __future__ import annotations

import pytest
from script_peer import HERE, MS, THERE, S, Script

SYNCHRONIZED = ["ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING", "LAST_ACK"]


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_each_state_is_reached(state: str) -> None:
    Script().enter(state)


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_exact_rst_ends_the_connection(state: str) -> None:
    s = Script()
    s.enter(state)
    s.inject("R", s.peer_next)
    s.expect_none()
    s.expect_state("CLOSED")


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_rst_in_window_gets_a_challenge(state: str) -> None:
    """[RFC 5961 3.2]"""
    s = Script()
    s.enter(state)
    s.inject("R", s.peer_next + 100)
    s.expect("A", s.own_next, s.peer_next)
    s.expect_state(state)


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_rst_outside_window_is_ignored(state: str) -> None:
    s = Script()
    s.enter(state)
    s.inject("R", s.peer_next + 10_000_000)
    s.inject("R", s.peer_next - 2)
    s.expect_none()
    s.expect_state(state)


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_rst_that_does_not_count_the_fin_before_it(state: str) -> None:
    """One below RCV.NXT: a reset only where the peer's FIN stands there."""
    s = Script()
    s.enter(state)
    s.inject("R", s.peer_next - 1)
    s.expect_none()
    s.expect_state("CLOSED" if state in ("CLOSE_WAIT", "CLOSING", "LAST_ACK") else state)


def test_rst_behind_what_was_overtaken_resets() -> None:
    """The right edge of what SACK reports is where the peer is."""
    s = Script()
    s.passive()
    s.inject("A", 11, 1, b"later")
    s.expect("A", 1, 1)
    s.inject("R", 12)
    s.expect("A", 1, 1)
    s.inject("R", 16)
    s.expect_state("CLOSED")


@pytest.mark.parametrize("state", SYNCHRONIZED)
@pytest.mark.parametrize("offset", [0, 50])
def test_syn_gets_a_challenge(state: str, offset: int) -> None:
    """[RFC 5961 4.2]"""
    s = Script()
    s.enter(state)
    s.inject("S", s.peer_next + offset)
    s.expect("A", s.own_next, s.peer_next)
    s.expect_state(state)


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_ack_of_unsent_is_answered_and_dropped(state: str) -> None:
    s = Script(acks_unsent=True)
    s.enter(state)
    s.inject("A", s.peer_next, s.own_next + 1000)
    s.expect("A", s.own_next, s.peer_next)
    s.expect_state(state)


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_very_old_ack_is_challenged(state: str) -> None:
    """Blind data injection: the acknowledgement must be near. [RFC 5961 5.2]"""
    s = Script()
    s.enter(state)
    s.inject("A", s.peer_next, s.own_next - 0x40000000, b"evil")
    s.expect("A", s.own_next, s.peer_next)
    s.expect_state(state)


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_segment_without_ack_is_dropped(state: str) -> None:
    s = Script()
    s.enter(state)
    s.inject("", s.peer_next, None, b"x")
    s.expect_none()
    s.expect_state(state)


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_out_of_window_data_is_answered(state: str) -> None:
    s = Script()
    s.enter(state)
    s.inject("A", s.peer_next + 5_000_000, s.own_next, b"x")
    s.expect("A", s.own_next, s.peer_next)


@pytest.mark.parametrize("state", SYNCHRONIZED)
def test_old_timestamp_is_paws(state: str) -> None:
    """[RFC 7323 5.3]"""
    s = Script()
    s.enter(state)
    s.inject("A", s.peer_next, s.own_next, b"x", tsval=s.now_ns // MS - 10_000)
    s.expect("A", s.own_next, s.peer_next)
    s.expect_drop("tcp_paws")


@pytest.mark.parametrize("state", ["ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2"])
def test_data_is_taken(state: str) -> None:
    s = Script()
    socket = s.enter(state)
    own = 1 if state == "FIN_WAIT_1" else s.own_next
    s.inject("A", s.peer_next, own, b"hello")
    s.do("recv", socket.recv(100), b"hello")
    s.wait(40 * MS)
    s.expect("A", s.own_next, s.peer_next + 5)


@pytest.mark.parametrize("state", ["CLOSE_WAIT", "CLOSING", "LAST_ACK"])
def test_data_behind_a_fin_is_not_taken(state: str) -> None:
    s = Script()
    socket = s.enter(state)
    own = 1 if state in ("CLOSING", "LAST_ACK") else s.own_next  # our FIN is still on its way
    s.inject("A", s.peer_next, own, b"hello")
    s.expect("A", s.own_next, s.peer_next)
    s.do("recv", socket.recv(100), b"")


def test_established_fin_goes_to_close_wait() -> None:
    s = Script()
    socket = s.passive()
    s.inject("FA", 1, 1, b"bye")
    s.expect_none()  # the user may close at once
    s.wait(40 * MS)
    s.expect("A", 1, 5)
    s.expect_state("CLOSE_WAIT")
    s.do("recv", socket.recv(10), b"bye")
    s.do("recv", socket.recv(10), b"")


def test_fin_before_its_data_waits() -> None:
    s = Script()
    socket = s.passive()
    s.inject("FA", 4, 1, b"def")
    s.expect("A", 1, 1, sacks=[(4, 8)])
    s.expect_state("ESTABLISHED")
    s.inject("A", 1, 1, b"abc")
    s.expect("A", 1, 8)
    s.expect_state("CLOSE_WAIT")
    s.do("recv", socket.recv(10), b"abcdef")
    s.do("recv", socket.recv(10), b"")


def test_fin_wait_1_fin_with_ack_goes_to_time_wait() -> None:
    s = Script()
    s.enter("FIN_WAIT_1")
    s.inject("FA", 1, 2)
    s.expect("A", 2, 2)
    s.expect_state("TIME_WAIT")
    s.wait(61 * S)
    s.expect_none()
    s.expect_state("CLOSED")


def test_simultaneous_close() -> None:
    """[RFC 9293 3.6 figure 13]"""
    s = Script()
    s.enter("CLOSING")
    s.inject("A", 2, 2)
    s.expect_none()
    s.expect_state("TIME_WAIT")


def test_last_ack_ends() -> None:
    s = Script()
    s.enter("LAST_ACK")
    s.inject("A", 2, 2)
    s.expect_none()
    s.expect_state("CLOSED")


def test_half_close_still_receives() -> None:
    s = Script()
    socket = s.enter("FIN_WAIT_2")
    for i in range(5):
        s.inject("A", 1 + i, 2, b"x")
    got = b""
    while isinstance(piece := socket.recv(10), bytes) and piece:
        got += piece
    s.do("read", got, b"xxxxx")
    s.do("send", socket.send(b"no"), -32)


def test_close_wait_still_sends() -> None:
    s = Script()
    socket = s.enter("CLOSE_WAIT")
    s.do("send", socket.send(b"tail"), 4)
    s.expect("A", 1, 2, 4)
    socket.close()
    s.expect("FA", 5, 2, 0)
    s.inject("A", 2, 6)
    s.expect_state("CLOSED")


def test_time_wait_takes_no_fin_for_the_peers_but_that() -> None:
    """One with another number is answered, at a limited rate, and the time goes on; else whoever
    knows the ports keeps the connection here for ever."""
    s = Script(time_wait_ns=60 * S)
    s.enter("TIME_WAIT")
    s.wait(50 * S)
    s.inject("FA", 1000, 2)
    s.expect("A", 2, 2)
    s.inject("FA", 2, 2)
    s.expect_none()
    s.wait(10 * S)
    s.expect_state("CLOSED")


def test_time_wait_answers_the_peers_fin_whatever_was_answered_before() -> None:
    s = Script()
    s.enter("TIME_WAIT")
    s.inject("FA", 1000, 2)
    s.expect("A", 2, 2)
    s.inject("FA", 1, 2)
    s.expect("A", 2, 2)


def test_time_wait_answers_a_fin_and_waits_anew() -> None:
    s = Script()
    s.enter("TIME_WAIT")
    s.wait(30 * S)
    s.inject("FA", 1, 2)
    s.expect("A", 2, 2)
    s.wait(45 * S)
    s.expect_state("TIME_WAIT")
    s.wait(16 * S)
    s.expect_state("CLOSED")


@pytest.mark.parametrize("is_ended", [False, True])
def test_time_wait_ends_by_a_reset_or_not(is_ended: bool) -> None:
    """[RFC 1337 3] [RFC 9293 3.10.7.4 second]: by none, or by one of the next number."""
    s = Script(rst_ends_time_wait=is_ended)
    s.enter("TIME_WAIT")
    s.inject("R", 3)
    s.expect_state("TIME_WAIT")
    s.inject("R", 2)
    s.expect_none()
    s.expect_state("CLOSED" if is_ended else "TIME_WAIT")


def test_time_wait_is_reused_by_a_newer_syn() -> None:
    """[RFC 6191 2]"""
    s = Script()
    s.enter("TIME_WAIT")
    old = s.iss
    s.wait(1 * S)
    s.inject("S", 5000)
    seen = s.expect("SA", 0, 5001)
    assert 0 < (seen.tcp.sequence - old) & 0xFFFFFFFF < 1 << 31, "the new number must be larger"
    s.inject("A", 5001, 1)
    s.expect_state("ESTABLISHED")


def test_time_wait_refuses_an_older_syn() -> None:
    s = Script()
    s.enter("TIME_WAIT")
    s.inject("S", 0, tsval=s.now_ns // MS - 100_000)
    s.expect("A", 2, 2)
    s.expect_state("TIME_WAIT")


def test_time_wait_without_timestamps_goes_by_sequence_number() -> None:
    s = Script(timestamps=False)
    s.enter("TIME_WAIT")
    s.inject("S", 1)
    s.expect("A", 2, 2)
    s.inject("S", 5000)
    s.expect("SA", 0, 5001)


@pytest.mark.parametrize("timestamps", [False, True])
def test_time_wait_of_a_bound_port_is_reused_only_with_timestamps(timestamps: bool) -> None:
    """Without them old segments of the peer's could be taken for new ones, even where the user
    lets the address be shared. [RFC 6191 2] [RFC 9293 3.4.3]"""
    s = Script(timestamps=timestamps)
    for _ in range(2):
        socket = s.new_socket()
        socket.setsockopt(1, 2, (1).to_bytes(4, "little"))  # SO_REUSEADDR
        s.do("bind", socket.bind(HERE, 5_000), 0)
        if s.state == "TIME_WAIT":
            break
        s.do("connect", socket.connect(THERE, 80), -115)
        s.expect("S", 0)
        s.inject("SA", 0, 1)
        s.expect("A", 1, 1)
        socket.close()
        s.expect("FA", 1, 1)
        s.inject("FA", 1, 2)
        s.expect("A", 2, 2)
    s.do("connect", socket.connect(THERE, 80), -115 if timestamps else -99)
    s.expect_state("SYN_SENT" if timestamps else "TIME_WAIT")


def test_syn_sent_syn_ack_opens() -> None:
    s = Script()
    socket = s.active()
    s.do("connect again", socket.connect(bytes((10, 0, 0, 2)), 80), 0)
    s.do("and again", socket.connect(bytes((10, 0, 0, 2)), 80), -106)


def test_syn_sent_fin_behind_more_data_than_the_window_is_no_end_yet() -> None:
    """What is cut off the SYN-ACK's data comes again: before that the stream has no end.
    [RFC 9293 3.10.7.3 fourth, 3.10.7.4 eighth]"""
    s = Script(rcv_default=2048, first_window_segments=1)
    socket = s.dial()
    window = s.expect("S", 0).window
    s.inject("SAF", 0, 1, bytes(window) + b"more")
    s.expect("A", 1, 1 + window, 0)
    s.expect_state("ESTABLISHED")
    s.do("recv", len(socket.recv(9000)), window)
    s.do("recv", socket.recv(9000), -11)
    s.expect("A", 1, 1 + window, 0)  # there is room again
    s.inject("FA", 1 + window, 1, b"more")
    s.do("recv", socket.recv(9000), b"more")
    s.expect_state("CLOSE_WAIT")


def test_simultaneous_open_fin_behind_more_data_than_the_window_is_no_end_yet() -> None:
    """The same of a SYN without an ACK, whose data is kept."""
    s = Script(rcv_default=2048, first_window_segments=1, keeps_text_of_syn=True)
    socket = s.dial()
    window = s.expect("S", 0).window
    s.inject("SF", 0, None, bytes(window) + b"more")
    s.expect("SA", 0, 1)
    s.inject("A", 1, 1)
    s.expect_state("ESTABLISHED")
    s.do("recv", len(socket.recv(9000)), window)
    s.do("recv", socket.recv(9000), -11)


def test_syn_sent_refused() -> None:
    s = Script()
    socket = s.dial()
    s.expect("S", 0)
    s.do("events", socket.events, 0)
    s.inject("RA", 0, 1)
    s.expect_state("CLOSED")
    s.do("events", socket.events & 0x2018, 0x2018)
    s.do("connect again", socket.connect(bytes((10, 0, 0, 2)), 80), -111)


def test_syn_sent_rst_without_ack_is_ignored() -> None:
    s = Script()
    s.enter("SYN_SENT")
    s.inject("R", 0)
    s.inject("RA", 0, 500)
    s.expect_none()
    s.expect_state("SYN_SENT")


def test_syn_sent_bad_ack_is_reset() -> None:
    """[RFC 9293 3.10.7.3]"""
    s = Script()
    s.enter("SYN_SENT")
    s.inject("SA", 0, 77)
    s.expect("R", 77)
    s.expect_state("SYN_SENT")


def test_simultaneous_open() -> None:
    """[RFC 9293 3.5 figure 7]"""
    s = Script()
    s.enter("SYN_SENT")
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.expect_state("SYN_RCVD")
    s.inject("SA", 0, 1)
    s.expect_state("ESTABLISHED")


def test_simultaneous_open_takes_the_window_of_a_syn_as_it_is() -> None:
    """However the peer scales its windows, those of its SYN and SYN-ACK are not. [RFC 7323 2.2]"""
    s = Script(wscale=7)
    s.enter("SYN_SENT")
    s.inject("S", 0, window=1000)
    s.expect("SA", 0, 1)
    s.inject("SA", 0, 1, window=1000)
    s.expect_state("ESTABLISHED")
    assert s.tcb.snd_wnd == s.tcb.snd_max_wnd == 1000
    s.inject("A", 1, 1, window=1000)
    assert s.tcb.snd_wnd == 128_000


def test_simultaneous_open_by_plain_ack() -> None:
    s = Script()
    s.enter("SYN_SENT")
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.inject("A", 1, 1)
    s.expect_state("ESTABLISHED")


def test_syn_rcvd_segment_outside_the_window_is_answered_whatever_it_lacks() -> None:
    """[RFC 9293 3.10.7.4 first]; one inside is dropped for having no ACK [fifth]"""
    s = Script()
    s.listen()
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.inject("", 1, None, b"x")
    s.expect_none()
    s.inject("P", 100_000, None, b"x")
    s.expect("A", 1, 1)
    s.expect_state("SYN_RCVD")


def test_syn_rcvd_bad_ack_is_reset() -> None:
    s = Script()
    s.enter("SYN_RCVD")
    s.inject("A", 1, 99)
    s.expect("R", 99)
    s.expect_state("SYN_RCVD")


def test_syn_rcvd_rst_goes_back_to_listen() -> None:
    s = Script()
    s.enter("SYN_RCVD")
    s.inject("R", 1)
    s.expect_none()
    s.expect_state("CLOSED")


def test_syn_rcvd_syn_again_is_answered_again() -> None:
    s = Script()
    s.enter("SYN_RCVD")
    first = s.iss
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    assert s.iss == first


def test_syn_rcvd_data_and_fin_in_the_handshake_ack() -> None:
    s = Script()
    s.enter("SYN_RCVD")
    s.inject("FA", 1, 1, b"request")
    s.wait(40 * MS)
    s.expect("A", 1, 9)
    s.expect_state("CLOSE_WAIT")
    s.do("recv", s.accept().recv(100), b"request")


def test_syn_ack_is_sent_again_then_given_up() -> None:
    s = Script()
    s.enter("SYN_RCVD")
    for wait in (1, 2, 4, 8, 16):
        s.wait(wait * S)
        s.expect("SA", 0, 1)
    s.wait(64 * S)
    s.expect_none()
    s.expect_state("CLOSED")


def test_listen_ack_is_reset() -> None:
    s = Script()
    s.listen()
    s.inject("A", 1, 77)
    s.expect("R", 77)


def test_listen_rst_is_ignored() -> None:
    s = Script()
    s.listen()
    s.inject("R", 1)
    s.inject("RA", 1, 5)
    s.expect_none()


def test_closed_port_refuses_at_once() -> None:
    """[RFC 9293 3.10.7.1]"""
    s = Script()
    s.inject("S", 0)
    s.expect("RA", 0, 1)
    s.inject("S", 0, None, b"abc")
    s.expect("RA", 0, 4)
    s.inject("A", 5, 1234)
    s.expect("R", 1234)
    s.inject("R", 5)
    s.expect_none()


def test_no_timestamp_on_an_open_connection_is_taken_as_by_linux() -> None:
    s = Script()
    socket = s.passive()
    s.inject("A", 1, 1, b"x", tsval=-1)
    s.do("recv", socket.recv(10), b"x")


def test_no_timestamp_on_an_open_connection_is_dropped() -> None:
    """[RFC 7323 3.2]"""
    s = Script(drops_missing_timestamps=True)
    s.passive()
    s.inject("A", 1, 1, b"x", tsval=-1)
    s.expect_none()
    s.expect_drop("tcp_no_timestamp")
