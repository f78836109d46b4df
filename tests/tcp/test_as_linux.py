"""What the preset linux does in Linux's own way, on the sending side."""

from __future__ import annotations

from struct import pack

from script_peer import MS, Script

from leulo.pkt.snippets import decode_info
from leulo.tcp.socket import TcpSocket

NODELAY = (6, 1)
CORK = (6, 3)
MSS = 1448  # 1460 less timestamps


def on(value: int = 1) -> bytes:
    return pack("<i", value)


def test_last_fin_waits_for_the_window_of_congestion_where_it_must() -> None:
    s = Script(sends_last_fin=False)
    socket = s.passive()
    socket.send(bytes(10 * MSS))
    for i in range(10):
        s.expect("A", 1 + i * MSS, 1, MSS)
    socket.close()
    s.expect_none()
    s.inject("A", 1, 1 + MSS)
    s.expect("FA", 1 + 10 * MSS, 1, 0)


def test_last_fin_goes_out_at_once() -> None:
    s = Script()
    socket = s.passive()
    socket.send(bytes(10 * MSS))
    for i in range(10):
        s.expect("A", 1 + i * MSS, 1, MSS)
    socket.close()
    s.expect("FA", 1 + 10 * MSS, 1, 0)


def test_text_and_fin_of_more_than_a_segment_are_acknowledged_at_once() -> None:
    """The FIN has a number, too: a full segment and a FIN are more than a segment."""
    s = Script(quick_acks=0)
    s.passive()
    s.inject("A", 1, 1, bytes(1000))
    s.expect_none()
    s.wait(50 * MS)
    s.expect("A", 1, 1001)
    s.inject("FA", 1001, 1, bytes(1000))
    s.expect("A", 1, 2002)


def test_data_that_more_follows_is_not_pushed() -> None:
    """MSG_MORE holds a partial segment until an acknowledgement, and it carries no PSH then."""
    s = Script()
    socket = s.passive()
    socket.setsockopt(*NODELAY, on())
    socket.send(bytes(MSS))
    s.expect("A", 1, 1, MSS)
    socket.send(b"head", more=True)
    s.expect_none()
    s.inject("A", 1, 1 + MSS)
    seen = s.expect("A", 1 + MSS, 1, 4)
    assert "P" not in seen.flags


def test_nodelay_pushes_what_a_cork_holds() -> None:
    s = Script()
    socket = s.passive()
    socket.setsockopt(*CORK, on())
    socket.send(b"held")
    s.expect_none()
    socket.setsockopt(*NODELAY, on())
    s.expect("A", 1, 1, 4)


def test_window_grows_by_what_is_news_only() -> None:
    """What SACK has reported already does not let the window grow once more."""
    s = Script(sack=True)
    socket = s.passive()
    socket.send(bytes(20 * MSS))
    for i in range(10):
        s.expect("A", 1 + i * MSS, 1, MSS)
    s.inject("A", 1, 1, sacks=[(1 + MSS, 1 + 3 * MSS)])
    before = socket.tcb.cwnd
    s.inject("A", 1, 1 + 3 * MSS)
    assert socket.tcb.cwnd == before + MSS


def test_sack_of_a_part_of_a_segment_is_no_news() -> None:
    s = Script(sack=True)
    socket = s.passive()
    socket.send(bytes(4 * MSS))
    for i in range(4):
        s.expect("A", 1 + i * MSS, 1, MSS)
    s.inject("A", 1, 1, sacks=[(4 * MSS, 1 + 4 * MSS)])
    assert socket.tcb.scoreboard is None
    s.inject("A", 1, 1, sacks=[(2 * MSS, 1 + 4 * MSS)])
    assert socket.tcb.scoreboard.ranges()[0][0] == socket.tcb.snd_una + 2 * MSS


def test_spread_of_the_timeout_falls_once_a_window_and_not_below_its_least() -> None:
    """As Linux: SRTT and four deviations, those at least 200 ms, smoothed over windows."""
    s = Script()
    socket = s.passive()
    tcb = socket.tcb
    for rtt_ms in (400, 40, 40, 40):
        before = tcb.spread_ns
        socket.send(b"x")
        s.queue.clear()
        s.wait(rtt_ms * MS)
        s.queue.clear()
        s.inject("A", 1, tcb.snd_max - tcb.iss, b"", tsecr=s.last_tsval)
        assert tcb.rto_ns == tcb.srtt_ns + tcb.spread_ns
        assert tcb.spread_ns >= max(200 * MS, before * 3 // 4 - 1)


def test_no_segment_reaches_across_the_end_of_a_record() -> None:
    """MSG_EOR: what follows begins a segment of its own; the record is pushed."""
    s = Script()
    socket = s.passive()
    socket.send(bytes(10 * MSS + 100))
    for i in range(10):
        s.expect("A", 1 + i * MSS, 1, MSS)
    at = 1 + 10 * MSS
    socket.send(b"end", ends_record=True)
    socket.send(b"record", ends_record=True)
    socket.send(bytes(2 * MSS))
    s.inject("A", 1, at)
    for length in (103, 6, MSS, MSS):
        seen = s.expect("A", at, 1, length)
        assert ("P" in seen.flags) == (length < MSS or at > 1 + 11 * MSS)
        at += length
    s.inject("A", 1, at)
    socket.send(b"plain")
    s.expect("A", at, 1, 5)
    assert socket.tcb.record_ends is None


def test_window_grows_to_twice_what_was_used_of_it() -> None:
    """Nine of ten segments in flight: slow start may make eighteen of it, not nineteen."""
    s = Script()
    socket = s.passive()
    socket.send(bytes(9 * MSS))
    for i in range(9):
        s.expect("A", 1 + i * MSS, 1, MSS)
    for i in (2, 4, 6, 8, 9):
        s.inject("A", 1, 1 + i * MSS)
    assert socket.tcb.cwnd == 18 * MSS


def test_ack_after_a_timeout_stands_behind_all_that_was_sent() -> None:
    """The peer may have what is sent again, and an older number would be outside its window."""
    s = Script(sack=False)
    socket = s.passive()
    socket.send(bytes(3 * MSS))
    for i in range(3):
        s.expect("A", 1 + i * MSS, 1, MSS)
    while not s.queue:
        s.wait(10 * MS)
    s.expect("A", 1, 1, MSS)
    s.inject("A", 11, 1, b"later")
    s.expect("A", 1 + 3 * MSS, 1, 0)


def test_degree_of_reordering_is_what_was_overtaken() -> None:
    s = Script(sack=True)
    socket = s.passive()
    socket.send(bytes(10 * MSS))
    for i in range(10):
        s.expect("A", 1 + i * MSS, 1, MSS)
    s.inject("A", 1, 1, sacks=[(1 + 7 * MSS, 1 + 8 * MSS)])
    s.inject("A", 1, 1, sacks=[(1 + 3 * MSS, 1 + 4 * MSS), (1 + 7 * MSS, 1 + 8 * MSS)])
    assert socket.tcb.reordering.degree == 5
    assert socket.tcb.reordering.count == 1


def limited(s: Script, socket: TcpSocket) -> tuple[int, ...]:
    """Milliseconds busy, kept back by the peer's window, by the send buffer."""
    s.stack.advance(s.now_ns)
    values = decode_info(socket.getsockopt(6, 11))
    names = ("busy_time", "rwnd_limited", "sndbuf_limited")
    return tuple(int(str(values["tcpi_" + name])) // 1000 for name in names)


def test_info_tells_how_long_the_window_of_the_peer_limited() -> None:
    s = Script()
    socket = s.passive()
    s.inject("A", 1, 1, window=0)
    s.wait(50 * MS)
    assert limited(s, socket) == (0, 0, 0)
    socket.send(bytes(100))
    s.expect_none()
    s.wait(100 * MS)
    assert limited(s, socket) == (100, 100, 0)
    s.inject("A", 1, 1, window=1000)
    s.wait(30 * MS)
    assert limited(s, socket) == (130, 100, 0)
    s.inject("A", 1, 101)
    s.wait(30 * MS)
    assert limited(s, socket) == (130, 100, 0)


def test_info_tells_how_long_the_send_buffer_limited() -> None:
    """Everything is on its way, the window has room, and the user was let in no further."""
    s = Script(is_buffer_doubled=False)
    socket = s.passive()
    socket.setsockopt(1, 7, pack("<i", 2 * MSS))
    assert socket.send(bytes(100_000)) == 2 * MSS
    s.expect("A", 1, 1, MSS)
    s.expect("A", 1 + MSS, 1, MSS)
    s.wait(20 * MS)
    assert limited(s, socket) == (20, 0, 20)
    s.inject("A", 1, 1 + 2 * MSS)
    s.wait(20 * MS)
    assert limited(s, socket) == (20, 0, 20)
