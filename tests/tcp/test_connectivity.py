"""What a router says who has no way to the peer: timeouts' doublings undone. [RFC 6069]"""

from __future__ import annotations

from script_peer import HERE, MS, THERE, S, Script

from leulo.tcp.icmp_errors import icmp_error_arrives


def _no_way(s: Script) -> None:
    ends = (HERE, s.port), (THERE, s.peer_port)
    sequence = s.tcb.snd_una & 0xFFFFFFFF
    assert icmp_error_arrives(s.stack.engine, *ends, sequence, 3, False, 0, 1) is None


def _wait_for_segment(s: Script) -> int:
    since_ns = s.now_ns
    while not s.queue:
        s.wait(MS)
    return (s.now_ns - since_ns + MS // 2) // MS


def test_a_syn_keeps_its_doubled_timeout() -> None:
    """[RFC 6069 4.2]"""
    s = Script(icmp_ends_open=False, syn_linear_timeouts=0)
    s.dial()
    s.expect("S", 0)
    assert 999 <= _wait_for_segment(s) <= 1001
    s.expect("S", 0)
    _no_way(s)
    assert s.tcb.backoff == 1
    assert 1999 <= _wait_for_segment(s) <= 2001


def test_the_longest_timeout_holds() -> None:
    """However many doublings are left that were cut off by it. [RFC 6069 4.2]"""
    s = Script(rto_max_ns=S)
    s.passive().send(b"x")
    for _ in range(7):
        s.queue.clear()
        last = _wait_for_segment(s)
    assert last == 1000
    s.queue.clear()
    _no_way(s)
    assert _wait_for_segment(s) == 1000


def test_lies_keep_no_connection_for_ever() -> None:
    """Who says so of each segment lengthens a connection's life by no more than its timeouts."""
    s = Script(retries=3)
    s.passive().send(b"x")
    began_ns = s.now_ns
    while s.state == "ESTABLISHED":
        if s.tcb.backoff:
            _no_way(s)
        s.queue.clear()
        s.wait(10 * MS)
        assert s.now_ns < began_ns + 10 * S


def test_no_more_is_undone_than_was_doubled() -> None:
    """[RFC 6069 4.2 (4)]"""
    s = Script()
    s.passive().send(b"x")
    s.queue.clear()
    _wait_for_segment(s)
    while not s.tcb.backoff:
        s.wait(MS)
    for _ in range(2):
        _no_way(s)
        assert s.tcb.backoff == 0
