"""The neighbour cache: resolves, keeps frames, gives up, and cannot be led astray."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leulo.net import neighbours as cache_module
from leulo.net.arp import LOCK_NS, ArpCache
from leulo.net.neighbours import (
    FAILED_NS,
    MAX_ENTRIES,
    MAX_WAITING_FRAMES,
    REACHABLE_NS,
    REQUESTS,
    RETRANSMIT_NS,
)
from leulo.net.wire.arp import REPLY, REQUEST, ArpRepr
from leulo.net.wire.ethernet import BROADCAST, EthernetRepr
from leulo.units import NS_PER_S

MY_MAC = bytes.fromhex("525400000001")
MY_ADDRESS = bytes((10, 0, 0, 1))
PEER = bytes((10, 0, 0, 2))
PEER_MAC = bytes.fromhex("525400000002")
EVIL_MAC = bytes.fromhex("525400000666")
NOBODY = bytes(6)


@pytest.fixture
def cache() -> ArpCache:
    return ArpCache(MY_MAC, MY_ADDRESS)


def message(
    operation: int, mac: bytes = PEER_MAC, sender: bytes = PEER, target: bytes = MY_ADDRESS
) -> bytes:
    return ArpRepr(operation, mac, sender, MY_MAC, target).emit()


def sent(cache: ArpCache) -> list[tuple[bytes, ArpRepr]]:
    """(Ethernet destination, ARP) of everything the cache wants to send."""
    frames = [b"".join(parts)[10:] for parts in cache.take_output()]
    return [(EthernetRepr.parse(f).destination, ArpRepr.parse(f[14:])) for f in frames]


def frame(tag: bytes) -> tuple[bytes, ...]:
    return (bytes(10) + bytes(6) + MY_MAC + b"\x08\x00" + tag, b"payload")


def test_unknown_address_is_asked_for_and_frames_wait_in_order(cache: ArpCache) -> None:
    assert cache.send(PEER, frame(b"1"), 0)
    assert cache.send(PEER, frame(b"2"), 0)
    [(to, request)] = sent(cache)
    assert to == BROADCAST
    assert (request.operation, request.target_address) == (REQUEST, PEER)
    assert cache.lookup(PEER, 0) is None
    assert cache.input(message(REPLY), 5) is None
    out = cache.take_output()
    assert [parts[0][24:] for parts in out] == [b"1", b"2"]
    assert all(parts[0][10:16] == PEER_MAC and parts[1] == b"payload" for parts in out)
    assert cache.lookup(PEER, 6) == PEER_MAC


def test_no_answer_is_retried_then_failed_then_forgotten(cache: ArpCache) -> None:
    cache.send(PEER, frame(b"1"), 0)
    now = 0
    for _ in range(REQUESTS):
        assert len(sent(cache)) == 1
        deadline = cache.next_deadline()
        assert deadline == now + RETRANSMIT_NS
        now = deadline
        cache.advance(now - 1)
        assert not cache.has_output
        cache.advance(now)
    assert cache.take_failed() == [PEER]
    assert cache.take_failed() == []
    assert cache.counters()["arp_waiting_dropped"] == 1
    assert not cache.send(PEER, frame(b"2"), now)  # told at once, nothing is asked
    assert not cache.resolve(PEER, now)
    assert not cache.has_output
    now += FAILED_NS
    cache.advance(now)
    assert cache.next_deadline() is None
    assert cache.send(PEER, frame(b"3"), now)
    assert len(sent(cache)) == 1


def test_late_answer_revives_a_failed_address(cache: ArpCache) -> None:
    cache.resolve(PEER, 0)
    for second in range(1, REQUESTS + 1):
        cache.advance(second * NS_PER_S)
    assert not cache.resolve(PEER, 4 * NS_PER_S)
    cache.input(message(REPLY), 4 * NS_PER_S)
    assert cache.lookup(PEER, 4 * NS_PER_S) == PEER_MAC


def test_old_entry_is_used_and_asked_again_by_unicast(cache: ArpCache) -> None:
    cache.resolve(PEER, 0)
    cache.input(message(REPLY), 0)
    cache.take_output()
    cache.advance(REACHABLE_NS)
    assert not cache.has_output  # nobody uses it: nobody is asked
    assert cache.lookup(PEER, REACHABLE_NS) == PEER_MAC
    [(to, request)] = sent(cache)
    assert (to, request.operation) == (PEER_MAC, REQUEST)
    cache.input(message(REPLY), REACHABLE_NS + 1)
    assert cache.next_deadline() <= 2 * REACHABLE_NS + 1  # type: ignore[operator]
    cache.advance(REACHABLE_NS + RETRANSMIT_NS)
    assert not cache.has_output


def test_unasked_reply_makes_no_entry(cache: ArpCache) -> None:
    assert cache.input(message(REPLY, EVIL_MAC), 0) is None
    assert cache.input(message(REPLY, EVIL_MAC, target=PEER), 0) is None  # gratuitous
    assert cache.entries() == []
    assert not cache.has_output


def test_fresh_entry_is_not_replaced_at_once_but_later(cache: ArpCache) -> None:
    cache.resolve(PEER, 0)
    cache.input(message(REPLY), 0)
    cache.input(message(REPLY, EVIL_MAC), LOCK_NS - 1)
    assert cache.lookup(PEER, LOCK_NS) == PEER_MAC
    cache.input(message(REQUEST, EVIL_MAC, target=PEER), LOCK_NS)  # a station that moved
    assert cache.lookup(PEER, LOCK_NS) == EVIL_MAC


def test_request_for_us_is_answered_and_learnt(cache: ArpCache) -> None:
    assert cache.input(message(REQUEST), 0) is None
    [(to, reply)] = sent(cache)
    assert to == PEER_MAC
    assert reply == ArpRepr(REPLY, MY_MAC, MY_ADDRESS, PEER_MAC, PEER)
    assert cache.lookup(PEER, 0) == PEER_MAC


def test_request_for_another_is_neither_answered_nor_learnt(cache: ArpCache) -> None:
    assert cache.input(message(REQUEST, target=bytes((10, 0, 0, 3))), 0) is None
    assert not cache.has_output
    assert cache.entries() == []


def test_address_probe_is_answered_and_not_learnt(cache: ArpCache) -> None:
    """A probe has the sender address 0.0.0.0. [RFC 5227 2.1.1]"""
    assert cache.input(message(REQUEST, sender=bytes(4)), 0) is None
    assert len(sent(cache)) == 1
    assert cache.entries() == []


def test_conflict_is_counted_and_defended_rarely(cache: ArpCache) -> None:
    for now in (0, 1, NS_PER_S):
        assert cache.input(message(REQUEST, EVIL_MAC, sender=MY_ADDRESS), now) == "arp_conflict"
    [(to, announcement)] = sent(cache)
    assert to == BROADCAST
    assert announcement.sender_address == announcement.target_address == MY_ADDRESS
    assert cache.counters()["arp_conflicts"] == 3


def test_accept_any_answers_for_all_but_the_asker_and_neighbours() -> None:
    cache = ArpCache(MY_MAC, MY_ADDRESS, accept_any=True)
    somebody = bytes((93, 184, 216, 34))
    cache.input(message(REQUEST, target=somebody), 0)
    [(_, reply)] = sent(cache)
    assert (reply.sender_mac, reply.sender_address) == (MY_MAC, somebody)
    cache.input(message(REQUEST, target=PEER), 0)  # gratuitous: his own
    cache.input(message(REQUEST, target=bytes((224, 0, 0, 1))), 0)
    cache.input(message(REQUEST, sender=bytes(4), target=bytes((10, 0, 0, 9))), 0)  # probe
    assert not cache.has_output
    neighbour = bytes((10, 0, 0, 3))
    cache.input(message(REQUEST, EVIL_MAC, sender=neighbour), 0)
    cache.take_output()
    cache.input(message(REQUEST, target=neighbour), 0)
    assert not cache.has_output


@pytest.mark.parametrize("sender", [bytes((224, 0, 0, 1)), b"\xff" * 4, bytes((127, 0, 0, 1))])
def test_impossible_senders_are_dropped(cache: ArpCache, sender: bytes) -> None:
    assert cache.input(message(REQUEST, sender=sender), 0) == "arp_sender"
    assert cache.input(message(REQUEST, BROADCAST), 0) == "arp_sender"
    assert not cache.has_output


def test_waiting_frames_are_bounded_and_the_newest_stay(cache: ArpCache) -> None:
    for number in range(MAX_WAITING_FRAMES + 10):
        cache.send(PEER, frame(bytes((number,))), 0)
    cache.take_output()
    cache.input(message(REPLY), 1)
    out = cache.take_output()
    assert len(out) == MAX_WAITING_FRAMES
    assert out[-1][0][24] == MAX_WAITING_FRAMES + 9
    assert cache.counters()["arp_waiting_dropped"] == 10


def test_flood_of_requests_cannot_grow_the_table(cache: ArpCache) -> None:
    cache.send(PEER, frame(b"x"), 0)
    for number in range(3 * MAX_ENTRIES):
        sender = bytes((10, 1)) + number.to_bytes(2, "big")
        cache.input(message(REQUEST, sender=sender), 1)
    assert cache.counters()["arp_entries"] == MAX_ENTRIES
    cache.take_output()
    cache.input(message(REPLY), 2)  # the one somebody waits for was not pushed out
    assert cache.take_output()[0][0][24:] == b"x"


def test_restored_cache_behaves_like_the_saved_one(cache: ArpCache) -> None:
    cache.resolve(bytes((10, 0, 0, 9)), 0)
    cache.input(message(REQUEST), 0)
    cache.send(bytes((10, 0, 0, 7)), frame(b"wait"), 3)
    copy = ArpCache(NOBODY, bytes(4))
    copy.load(cache.save())
    assert copy.save() == cache.save()
    for each in (cache, copy):
        each.take_output()
        each.advance(2 * NS_PER_S)
        each.input(message(REPLY, EVIL_MAC, sender=bytes((10, 0, 0, 7))), 2 * NS_PER_S)
    assert [b"".join(f) for f in copy.take_output()] == [b"".join(f) for f in cache.take_output()]
    assert copy.next_deadline() == cache.next_deadline()
    with pytest.raises(ValueError, match="version"):
        copy.load({"version": 99})


actions = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 5)),
        st.tuples(st.just("input"), st.binary(max_size=40)),
        st.tuples(
            st.just("arp"), st.tuples(st.integers(1, 2), st.integers(0, 7), st.integers(0, 7))
        ),
        st.tuples(st.just("wait"), st.integers(1, 40 * NS_PER_S)),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(actions)
def test_any_sequence_keeps_the_cache_sound(steps: list[tuple[str, object]]) -> None:
    """No exception, a deadline always ahead after advance, no frame twice or lost uncounted."""
    cache = ArpCache(MY_MAC, MY_ADDRESS)
    now = frames_in = frames_out = refused = 0
    for kind, value in steps:
        if kind == "send":
            assert isinstance(value, int)
            frames_in += 1
            if not cache.send(bytes((10, 0, 0, 10 + value)), frame(b"f"), now):
                refused += 1
        elif kind == "input":
            assert isinstance(value, bytes)
            cache.input(value, now)
        elif kind == "arp":
            assert isinstance(value, tuple)
            operation, host, mac = value
            mac_bytes = bytes((0x52, 0, 0, 0, 0, mac))
            cache.input(message(operation, mac_bytes, bytes((10, 0, 0, 10 + host))), now)
        else:
            assert isinstance(value, int)
            now += value
            cache.advance(now)
            deadline = cache.next_deadline()
            assert deadline is None or deadline > now
        frames_out += sum(1 for f in cache.take_output() if f[-1] == b"payload")
    waiting = sum(len(e["waiting"]) for e in cache.save()["entries"])
    dropped = cache.counters()["arp_waiting_dropped"]
    assert frames_in == frames_out + waiting + dropped + refused
    assert (
        cache_module.MAX_WAITING_BYTES
        >= cache._waiting_bytes
        == sum(len(f) for e in cache.save()["entries"] for f in e["waiting"])
    )
