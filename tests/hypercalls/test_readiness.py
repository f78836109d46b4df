"""The event ring, the interrupt and POLL: no wake-up is lost, none comes that was not asked for."""

from __future__ import annotations

import json
import random

import pytest
from hypercall_guest import (
    DATA,
    ERR,
    HUP,
    IN,
    NVAL,
    OUT,
    RDHUP,
    RING,
    TABLE,
    FakeSocket,
    Guest,
    HandClock,
)

from leulo.hypercalls import Limits, abi
from leulo.units import NS_PER_MS

Op, Status, Flag = abi.Op, abi.Status, abi.Flag


def subscribed(guest: Guest, events: int = IN, cookie: int = 1, flags: int = 0) -> int:
    handle = guest.socket()
    guest.call(Op.SUBSCRIBE, handle, events=events, cookie=cookie, flags=flags)
    return handle


def deliver(guest: Guest, socket: FakeSocket, events: int) -> None:
    socket.turn(events)
    guest.hypercalls.deliver()


def test_subscribe_answers_with_the_present_mask() -> None:
    """What is already up comes with the answer, not as an event: nothing falls between."""
    guest = Guest()
    handle = guest.socket()
    guest.stack.made[0].turn(IN)
    answer = guest.call(Op.SUBSCRIBE, handle, events=IN, cookie=9)
    assert answer.events == IN
    guest.hypercalls.deliver()
    assert guest.drain() == []


def test_risen_bit_is_an_event_and_one_interrupt() -> None:
    guest = Guest()
    handle = subscribed(guest, cookie=0xFFFF_FFFF_FFFF_FFF0)
    guest.arm()
    deliver(guest, guest.stack.made[0], IN | OUT)
    assert guest.interrupts == 1
    assert guest.ring_word("armed") == 0
    assert guest.drain() == [(0xFFFF_FFFF_FFFF_FFF0, handle, IN | OUT)]


def test_unarmed_ring_fills_in_silence() -> None:
    guest = Guest()
    subscribed(guest)
    deliver(guest, guest.stack.made[0], IN)
    assert guest.interrupts == 0
    assert len(guest.drain()) == 1


def test_armed_but_unread_ring_interrupts_at_the_next_event() -> None:
    """A guest that arms without looking again is still woken by the next event."""
    guest = Guest()
    subscribed(guest, cookie=1)
    subscribed(guest, cookie=2)
    deliver(guest, guest.stack.made[0], IN)
    guest.arm()
    deliver(guest, guest.stack.made[1], IN)
    assert guest.interrupts == 1


def test_only_wanted_bits_and_trouble_count() -> None:
    guest = Guest()
    handle = subscribed(guest, events=IN)
    deliver(guest, guest.stack.made[0], OUT)
    assert guest.drain() == []
    for bit in (ERR, HUP, RDHUP):
        deliver(guest, guest.stack.made[0], guest.stack.made[0].events | bit)
        assert guest.drain()[0][1:] == (handle, guest.stack.made[0].events)


def test_unread_entry_is_updated_in_place() -> None:
    guest = Guest()
    handle = subscribed(guest, events=IN | OUT)
    deliver(guest, guest.stack.made[0], OUT)
    deliver(guest, guest.stack.made[0], IN | OUT)
    assert guest.drain() == [(1, handle, IN | OUT)]


def test_answer_updates_the_unread_entry() -> None:
    """Else an older entry, read after a newer answer, would hide a bit for ever."""
    guest = Guest()
    handle = subscribed(guest, events=IN | OUT)
    socket = guest.stack.made[0]
    deliver(guest, socket, OUT)  # unread: OUT
    socket.incoming += b"x"
    socket.turn(IN | OUT)  # arrives before the next delivery
    assert guest.send(handle, b"y").events == IN | OUT
    guest.hypercalls.deliver()  # nothing risen over the answer
    assert guest.drain() == [(1, handle, IN | OUT)]


def test_bit_that_fell_by_an_answer_rises_again() -> None:
    guest = Guest()
    handle = subscribed(guest)
    socket = guest.stack.made[0]
    for _ in range(20):
        socket.incoming += b"z"
        deliver(guest, socket, IN)
        assert guest.drain() == [(1, handle, IN)]
        assert guest.recv(handle, 10) == b"z"


def test_listener_with_a_new_connection_after_the_last_accept_is_an_event() -> None:
    guest = Guest()
    listener = guest.listen(80)
    guest.call(Op.SUBSCRIBE, listener, events=IN, cookie=3)
    listening = guest.stack.made[0]
    for _ in range(3):
        listening.queue.append(FakeSocket(guest.stack))
        deliver(guest, listening, IN)
        assert guest.drain() == [(3, listener, IN)]
        assert guest.call(Op.ACCEPT, listener).result == 0


def test_accept_updates_the_listeners_unread_entry() -> None:
    guest = Guest()
    listener = guest.listen(80)
    guest.call(Op.SUBSCRIBE, listener, events=IN, cookie=3)
    listening = guest.stack.made[0]
    listening.queue.append(FakeSocket(guest.stack))
    deliver(guest, listening, IN)
    guest.call(Op.ACCEPT, listener)
    assert guest.drain() == [(3, listener, 0)]


def test_closed_sockets_entry_is_to_be_skipped() -> None:
    guest = Guest()
    handle = subscribed(guest, cookie=4)
    deliver(guest, guest.stack.made[0], IN)
    guest.call(Op.CLOSE, handle)
    assert guest.drain() == [(4, 0, 0)]


def test_full_ring_keeps_the_rest_outside_until_the_guest_has_drained() -> None:
    guest = Guest(ring_entries=4)
    handles = [subscribed(guest, cookie=n) for n in range(10)]
    guest.arm()
    for socket in guest.stack.made:
        deliver(guest, socket, IN)
    assert guest.ring_word("overflow") == 6
    seen = guest.drain()
    assert [cookie for cookie, _, _ in seen] == [0, 1, 2, 3]
    for expected in ([4, 5, 6, 7], [8, 9]):
        guest.call(Op.EVENTS_ACK)
        found = guest.drain()
        assert [cookie for cookie, _, _ in found] == expected
        seen += found
    assert guest.ring_word("overflow") == 0
    assert [handle for _, handle, _ in seen] == handles


def test_what_waits_outside_and_was_answered_meanwhile_is_no_event() -> None:
    guest = Guest(ring_entries=2)
    handles = [subscribed(guest, cookie=n) for n in range(3)]
    for socket in guest.stack.made:
        socket.incoming += b"q"
        deliver(guest, socket, IN)
    assert guest.recv(handles[2], 5) == b"q"
    guest.drain()
    assert guest.call(Op.EVENTS_ACK).result == 0
    assert guest.drain() == []


def test_acknowledging_interrupts_only_an_armed_guest() -> None:
    guest = Guest(ring_entries=2)
    for number in range(3):
        subscribed(guest, cookie=number)
    for socket in guest.stack.made:
        deliver(guest, socket, IN)
    guest.drain()
    guest.arm()
    guest.call(Op.EVENTS_ACK)
    assert guest.interrupts == 1


def test_level_repeats_at_each_acknowledgement() -> None:
    guest = Guest()
    handle = subscribed(guest, flags=Flag.LEVEL)
    socket = guest.stack.made[0]
    socket.incoming += b"ab"
    deliver(guest, socket, IN)
    for _ in range(3):
        assert guest.drain() == [(1, handle, IN)]
        guest.call(Op.EVENTS_ACK)
    guest.drain()
    guest.recv(handle, 10)
    guest.call(Op.EVENTS_ACK)
    assert guest.drain() == []


def test_oneshot_sleeps_after_one_event() -> None:
    guest = Guest()
    handle = subscribed(guest, flags=Flag.ONESHOT)
    socket = guest.stack.made[0]
    deliver(guest, socket, IN)
    assert len(guest.drain()) == 1
    guest.recv(handle, 1)
    socket.events = 0
    guest.recv(handle, 1)
    deliver(guest, socket, IN | ERR)
    assert guest.drain() == []
    socket.events = 0
    guest.call(Op.SUBSCRIBE, handle, events=IN, cookie=2, flags=Flag.ONESHOT)
    deliver(guest, socket, IN)
    assert guest.drain() == [(2, handle, IN)]


def test_unsubscribed_socket_is_silent() -> None:
    guest = Guest()
    handle = subscribed(guest)
    guest.call(Op.SUBSCRIBE, handle, events=0)
    deliver(guest, guest.stack.made[0], IN | ERR)
    assert guest.drain() == []


def test_two_modes_are_refused() -> None:
    guest = Guest()
    handle = guest.socket()
    flags = Flag.EDGE | Flag.ONESHOT
    answer = guest.call(Op.SUBSCRIBE, handle, events=IN, flags=flags)
    assert answer.status == Status.BAD_ARGUMENT


def test_ring_set_up_after_the_subscription_tells_what_is_up() -> None:
    guest = Guest(ring_entries=0)
    handle = subscribed(guest)
    deliver(guest, guest.stack.made[0], IN)
    guest.entries = 8
    assert guest.call(Op.EVENTS_SETUP, args=(RING, 8)).status == Status.OK
    guest.hypercalls.deliver()
    assert guest.drain() == [(1, handle, IN)]


def test_ring_of_a_strange_size_or_place_is_refused() -> None:
    guest = Guest()
    for args in ((RING, 3), (RING, 1), (RING, 8192), (RING + 4, 8), (RING, 1 << 40)):
        assert guest.call(Op.EVENTS_SETUP, args=args).status == Status.BAD_ARGUMENT
    assert guest.call(Op.EVENTS_SETUP, args=(0, 0)).status == Status.OK
    subscribed(guest)
    deliver(guest, guest.stack.made[0], IN)
    guest.call(Op.EVENTS_ACK)


def test_counts_of_the_ring_run_past_32_bits() -> None:
    guest = Guest(ring_entries=2)
    guest.hypercalls.ring.head = guest.tail = 0xFFFFFFFE
    guest.set_ring_word("head", guest.tail)
    guest.set_ring_word("tail", guest.tail)
    handle = subscribed(guest)
    socket = guest.stack.made[0]
    for _ in range(6):
        socket.incoming += b"1"
        deliver(guest, socket, IN)
        assert guest.drain() == [(1, handle, IN)]
        guest.recv(handle, 5)
    assert guest.ring_word("head") == 4


def test_rubbish_in_the_ring_harms_only_the_guest() -> None:
    """PVCalls: a response index was used unchecked."""
    guest = Guest(ring_entries=4)
    handles = [subscribed(guest, cookie=n) for n in range(8)]
    chance = random.Random(7)
    before = guest.memory.read(0x40000, 0x1000)
    for _ in range(2000):
        for name in ("armed", "head", "tail", "overflow"):
            if chance.random() < 0.3:
                guest.set_ring_word(name, chance.choice([0, 1, chance.getrandbits(32)]))
        number = chance.randrange(8)
        deliver(guest, guest.stack.made[number], chance.choice([0, IN, IN | OUT, ERR]))
        if chance.random() < 0.3:
            guest.call(Op.EVENTS_ACK)
        guest.call(Op.GETSOCKNAME, handles[number])
    assert guest.memory.read(0x40000, 0x1000) == before
    assert guest.hypercalls.counters()["ring.waiting"] <= 8


def test_interrupt_storm_is_capped_and_not_lost() -> None:
    """XSA-332: an event storm starved the host."""
    clock = HandClock()
    limits = Limits(storm_raises=5, storm_window_ns=NS_PER_MS)
    guest = Guest(limits=limits, clock=clock)
    clock.time_ns = 10 * NS_PER_MS
    handle = subscribed(guest)
    socket = guest.stack.made[0]
    for _ in range(50):
        guest.drain()
        guest.recv(handle, 10)
        guest.arm()
        socket.incoming += b"1"
        deliver(guest, socket, IN)
    assert guest.interrupts == 5
    due = guest.hypercalls.next_deadline()
    assert due == 11 * NS_PER_MS
    clock.time_ns = due - 1
    guest.hypercalls.deliver()
    assert guest.interrupts == 5
    clock.time_ns = due
    guest.hypercalls.deliver()
    assert guest.interrupts == 6
    assert guest.hypercalls.next_deadline() is None


def test_capped_interrupt_of_a_guest_that_looked_by_itself_is_forgotten() -> None:
    """Else its deadline would stay in the past and the host would spin."""
    clock = HandClock()
    guest = Guest(limits=Limits(storm_raises=1, storm_window_ns=NS_PER_MS), clock=clock)
    clock.time_ns = 10 * NS_PER_MS
    handle = subscribed(guest)
    socket = guest.stack.made[0]
    for _ in range(2):
        guest.arm()
        socket.incoming += b"1"
        deliver(guest, socket, IN)
        guest.drain()
        guest.recv(handle, 10)
    assert guest.hypercalls.next_deadline() is not None
    clock.time_ns = 20 * NS_PER_MS
    guest.hypercalls.deliver()
    assert guest.hypercalls.next_deadline() is None


def test_time_from_the_interrupt_to_the_guests_look_is_measured() -> None:
    clock = HandClock()
    guest = Guest(clock=clock)
    handle = subscribed(guest)
    events = guest.record("hypercall.[is]*")
    guest.arm()
    clock.time_ns = 1000
    deliver(guest, guest.stack.made[0], IN)
    clock.time_ns = 1500
    guest.call(Op.TIME)  # has not looked yet
    guest.drain()
    clock.time_ns = 1700
    guest.recv(handle, 1)
    guest.recv(handle, 1)
    assert [(event.NAME, event.time_ns) for event in events] == [
        ("hypercall.irq", 1000),
        ("hypercall.seen", 1700),
    ]
    assert events[1].latency_ns == 700
    at = RING + abi.RING.offset("raised_ns")
    assert int.from_bytes(guest.memory.read(at, 8), "little") == 1000
    assert guest.hypercalls.counters()["irq.latency_max_ns"] == 700


def test_poll_looks_at_many() -> None:
    guest = Guest()
    first, second = guest.socket(), guest.socket()
    guest.stack.made[0].events = IN | OUT
    guest.stack.made[1].events = HUP
    rows = [(first, IN, 99, 0), (second, 0, 99, 0), (12345, IN, 99, 0), (first, RDHUP, 99, 0)]
    for number, row in enumerate(rows):
        guest.memory.write(TABLE + 16 * number, abi.POLLFD_STRUCT.pack(*row))
    answer = guest.call(Op.POLL, args=(TABLE, 4))
    assert answer.result == 3
    table = guest.memory.read(TABLE, 64)
    masks = [mask for _, _, mask, _ in abi.POLLFD_STRUCT.iter_unpack(table)]
    assert masks == [IN, HUP, NVAL, 0]
    too_many = Limits().max_sockets + 1
    assert guest.call(Op.POLL, args=(TABLE, too_many)).status == Status.BAD_ARGUMENT
    guest.memory.write(TABLE, abi.POLLFD_STRUCT.pack(first, IN, 0, 1))
    assert guest.call(Op.POLL, args=(TABLE, 1)).status == Status.RESERVED
    assert guest.call(Op.POLL, args=(DATA, 0)).result == 0


def test_guests_copy_of_every_mask_is_never_without_a_bit_for_long() -> None:
    """The rule the guest stands on, played at random against a model of the guest.

    The guest keeps each socket's mask from the last answer or the last ring entry. After it has
    drained (and acknowledged an overflow) no wanted bit may be up that its copy lacks.
    """
    for seed in range(30):
        chance = random.Random(seed)
        guest = Guest(ring_entries=chance.choice([2, 4, 16]))
        copy: dict[int, int] = {}
        handles = [subscribed(guest, events=IN | OUT, cookie=n) for n in range(6)]
        for handle in handles:
            copy[handle] = 0
        for _ in range(300):
            number = chance.randrange(6)
            socket = guest.stack.made[number]
            what = chance.random()
            if what < 0.4:
                if not socket.incoming:
                    socket.incoming += b"12"
                socket.turn(chance.choice([IN, IN | OUT]))
            elif what < 0.6:
                length = chance.choice([1, 9])
                answer = guest.call(Op.RECV, handles[number], args=(DATA, length))
                copy[handles[number]] = answer.events
            elif what < 0.8:
                guest.hypercalls.deliver()
            else:
                for _, handle, mask in guest.drain(chance.choice([1, 100])):
                    copy[handle] = mask
        guest.hypercalls.deliver()
        for _ in range(10):
            for _, handle, mask in guest.drain():
                copy[handle] = mask
            if guest.ring_word("overflow"):
                guest.call(Op.EVENTS_ACK)
        for handle, socket in zip(handles, guest.stack.made, strict=True):
            assert not socket.events & (IN | OUT) & ~copy[handle], f"seed {seed}"


def restored(guest: Guest) -> Guest:
    """Another machine with the same RAM, stack and saved hypercalls."""
    state = json.loads(json.dumps(guest.hypercalls.save()))
    after = Guest(guest.stack, hello=False, ring_entries=guest.entries)
    after.memory.write(0, guest.memory.read(0, guest.memory.size))
    after.tail = guest.tail
    after.hypercalls.load(state)
    return after


def test_saved_and_loaded_guest_goes_on_as_if_nothing_had_been() -> None:
    guest = Guest(ring_entries=2)
    handles = [subscribed(guest, cookie=n, flags=Flag.LEVEL if n == 3 else 0) for n in range(4)]
    for socket in guest.stack.made:
        deliver(guest, socket, IN)
    after = restored(guest)
    assert after.drain() == [(0, handles[0], IN), (1, handles[1], IN)]
    after.call(Op.EVENTS_ACK)
    assert after.drain() == [(2, handles[2], IN), (3, handles[3], IN)]
    after.call(Op.EVENTS_ACK)
    assert after.drain() == [(3, handles[3], IN)]
    assert after.call(Op.CLOSE, handles[0]).result == 0
    assert after.socket() not in handles  # its generation went with it
    assert after.hypercalls.save()["handles"]["entries"][0]["handle"] == handles[1]


def test_wake_up_lost_by_a_restore_comes_after_it() -> None:
    """Firecracker 5969: after a restore a queue waited for a kick that was lost."""
    guest = Guest()
    handle = subscribed(guest)
    guest.arm()
    guest.stack.made[0].events = IN  # ready, but the notice of it was not saved
    guest.stack.ready.clear()
    after = restored(guest)
    after.hypercalls.deliver()
    assert after.interrupts == 1
    assert after.drain() == [(1, handle, IN)]


def test_state_of_another_version_or_stack_is_refused() -> None:
    guest = Guest()
    subscribed(guest)
    state = guest.hypercalls.save()
    with pytest.raises(ValueError, match="version"):
        Guest().hypercalls.load({**state, "version": 2})
    with pytest.raises(ValueError, match="no socket"):
        Guest().hypercalls.load(state)
