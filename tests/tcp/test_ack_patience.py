"""The ACKs of a connection's beginning wait for the answer of a guest that runs, and no longer."""

from __future__ import annotations

import copy

from script_peer import MS, Script
from tcp_world import make_stack

PATIENCE = 10 * MS


def patient() -> Script:
    s = Script(quick_acks=16, ack_patience_ns=PATIENCE)
    s.passive()
    s.inject("A", 1, 1, b"request")
    return s


def test_answer_carries_it() -> None:
    s = patient()
    s.expect_none()
    assert s.socket is not None
    assert s.socket.send(b"answer") == 6
    s.expect("A", 1, 8, 6)
    s.wait(PATIENCE)
    s.expect_none()


def test_without_an_answer_it_goes_when_the_time_is_over() -> None:
    s = patient()
    s.wait(PATIENCE - 1)
    s.expect_none()
    s.wait(1)
    s.expect("A", 1, 8, 0)


def test_it_goes_when_the_user_rests() -> None:
    s = patient()
    assert s.stack.holds_acks
    s.stack.release_acks(s.now_ns)
    assert not s.stack.holds_acks
    s.expect("A", 1, 8, 0)


def test_a_second_segment_does_not_wait() -> None:
    """The sender may be in slow start: it learns of every second one as soon as ever."""
    s = patient()
    s.inject("A", 8, 1, b"more")
    s.expect("A", 1, 12, 0)
    s.stack.release_acks(s.now_ns)
    s.expect_none()


def test_a_super_segment_does_not_wait() -> None:
    """It stands for several, and the window opens by its ACK. [RFC 5681 4.2]"""
    s = Script(quick_acks=16, ack_patience_ns=PATIENCE)
    s.passive()
    s.inject("A", 1, 1, bytes(10 * 1448))
    s.expect("A", 1, 1 + 10 * 1448, 0)
    s.inject("A", 1 + 10 * 1448, 1, bytes(1448))
    s.expect_none()


def test_a_crowd_is_released_in_its_own_time() -> None:
    """Each waits its whole time; one whose answer came and who waits again waits anew."""
    s = patient()
    s.wait(4 * MS)
    assert s.socket is not None
    assert s.socket.send(b"answer") == 6
    s.expect("A", 1, 8, 6)
    s.inject("A", 8, 7, b"")
    tcb = s.socket.tcb
    assert tcb is not None
    tcb.quick_acks = 1  # the peers take turns; as if they did not
    s.inject("A", 8, 7, b"again")
    s.wait(PATIENCE - 1)
    s.expect_none()
    s.wait(1)
    s.expect("A", 7, 13, 0)


def test_saved_and_loaded_it_still_waits_for_the_user() -> None:
    s = patient()
    state = copy.deepcopy(s.stack.save())
    other = make_stack(1, checksum=False, quick_acks=16, ack_patience_ns=PATIENCE)
    other.load(state)
    assert other.holds_acks
    assert not other.has_output
    other.release_acks(s.now_ns)
    assert len(other.drain(s.now_ns)) == 1
