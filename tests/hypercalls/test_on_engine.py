"""Hypercalls on the real engine. Each of the first tests is a bug that another project had."""

from __future__ import annotations

import pytest
from engine_world import OTHER, EngineWorld
from hypercall_guest import ADDRESS, DATA, ERR, GATEWAY, HUP, IN, OUT, RDHUP, endpoint

from leulo.hypercalls import abi
from leulo.tcp.config import Config
from leulo.tcp.socket import TcpSocket
from leulo.units import NS_PER_S

Op, Errno, Flag = abi.Op, abi.Errno, abi.Flag
LINGER_NONE = b"\1\0\0\0\0\0\0\0"


def tables(world: EngineWorld) -> dict[str, int]:
    """The engine's counters that are sizes of tables."""
    counters = world.stack.counters()
    return {name: counters["tcp_" + name] for name in ("connections", "sockets", "listeners")}


def test_accept_without_a_connection_does_not_wait() -> None:
    """libkrunfw 137: accept on a non-blocking listener blocked."""
    world = EngineWorld()
    listener = world.guest.listen(80)
    assert world.guest.call(Op.ACCEPT, listener, events=IN).result == -Errno.EAGAIN


def test_names_and_close_answer_during_a_connect_without_answer() -> None:
    """libkrun 819: a lock held over a blocking call stopped getsockname and close."""
    world = EngineWorld()
    world.is_cut = True
    handle = world.connect(80)
    world.turn()
    name = world.guest.call(Op.GETSOCKNAME, handle)
    assert name.result == 0 and name.local[2] == ADDRESS and name.local[1]
    assert world.guest.call(Op.CLOSE, handle).result == 0


def test_slow_connect_stalls_nobody_else() -> None:
    """PVCalls: one slow connect stalled every call."""
    world = EngineWorld()
    slow = world.guest.socket()
    gone = bytes((10, 0, 2, 200))  # nobody there: not even its MAC address will be known
    assert world.guest.call(Op.CONNECT, slow, peer=endpoint(gone, 9)).result == -Errno.EINPROGRESS
    handle, other = world.connected()
    assert world.guest.send(handle, b"quick").result == 5
    world.settle()
    assert other.recv(10) == b"quick"


def test_port_0_is_one_port_on_both_sides() -> None:
    """libkrun 818: bind to port 0, and the two sides chose different ports."""
    world = EngineWorld()
    handle = world.guest.socket()
    bound = world.guest.call(Op.BIND, handle, local=endpoint(bytes(4), 0))
    port = bound.local[1]
    assert bound.result == 0 and port
    assert world.guest.call(Op.LISTEN, handle, args=(8,)).local[1] == port
    client = world.other_socket()
    assert client.connect(ADDRESS, port) == -Errno.EINPROGRESS
    world.settle()
    answer = world.guest.call(Op.ACCEPT, handle)
    assert answer.result == 0
    assert (answer.local[1], answer.local[2]) == (port, ADDRESS)
    assert client.local is not None
    assert (answer.peer[2], answer.peer[1]) == client.local


def test_port_in_use_is_refused() -> None:
    """libkrun 860: reuse was forced on, and two shared a port in silence."""
    world = EngineWorld()
    world.guest.listen(80)
    second = world.guest.socket()
    answer = world.guest.call(Op.BIND, second, local=endpoint(bytes(4), 80))
    if answer.result == 0:
        answer = world.guest.call(Op.LISTEN, second, args=(8,))
    assert answer.result == -Errno.EADDRINUSE


def test_stream_past_four_times_every_buffer_loses_nothing() -> None:
    """libkrun 772: a short write lost bytes, and the stream stood still at some 240 KiB."""
    world = EngineWorld()
    handle, other = world.connected()
    data = world.chance.randbytes(28 << 20)
    sent = taken = 0
    received = bytearray()
    turns = 0
    while len(received) < len(data):
        turns += 1
        assert turns < 20_000, f"stands still at {len(received)}"
        if sent < len(data):
            answer = world.guest.send(handle, data[sent : sent + 100_000])
            if answer.result > 0:
                sent += answer.result
            else:
                assert answer.result == -Errno.EAGAIN
        if world.turn() == 0 and turns % 7:
            world.sleep(1_000_000)
        chunk = other.recv(77_777)
        if isinstance(chunk, bytes):
            received += chunk
            taken += 1
    assert received == data


def test_stream_towards_the_guest_loses_nothing() -> None:
    world = EngineWorld()
    handle, other = world.connected()
    data = world.chance.randbytes(28 << 20)
    sent = turns = 0
    received = bytearray()
    while len(received) < len(data):
        turns += 1
        assert turns < 20_000, f"stands still at {len(received)}"
        if sent < len(data):
            sent += max(0, other.send(data[sent : sent + min(100_000, max(0, other.send_room()))]))
        if world.turn() == 0:
            world.sleep(1_000_000)
        chunk = world.guest.recv(handle, 77_777)
        if isinstance(chunk, bytes):
            assert chunk
            received += chunk
    assert received == data


def test_refusal_is_told_at_once_and_once() -> None:
    """libkrun 684, 806: it came five seconds late; 344: it spun the CPU."""
    world = EngineWorld()
    handle = world.connect(81)
    world.guest.arm()
    world.settle()
    assert world.clock.time_ns == 0
    assert world.guest.interrupts == 1
    events = world.guest.drain()
    assert len(events) == 1 and events[0][1] == handle and events[0][2] & ERR
    world.guest.arm()
    world.sleep(10 * NS_PER_S)
    assert world.guest.interrupts == 1  # nothing more to say
    assert world.option(handle, 1, 4) == Errno.ECONNREFUSED
    assert world.option(handle, 1, 4) == 0  # told once


def test_end_of_stream_is_told_at_once() -> None:
    """libkrun 684: a FIN arrived five seconds late."""
    world = EngineWorld()
    handle, other = world.connected()
    other.send(b"last words")
    other.close()
    world.guest.arm()
    world.settle()
    assert world.clock.time_ns == 0 and world.guest.interrupts == 1
    mask = world.guest.drain()[-1][2]
    assert mask & IN and mask & RDHUP
    assert world.guest.recv(handle, 100) == b"last words"
    assert world.guest.recv(handle, 100) == b""


@pytest.mark.parametrize("how", ["guest", "other", "reset by guest", "reset by other", "refused"])
def test_tables_are_empty_after_many_connections(how: str) -> None:
    """libkrun 112, 116: connections leaked after RST."""
    world = EngineWorld()
    for _ in range(50):
        if how == "refused":
            handle = world.connect(81)
            world.settle()
        else:
            handle, other = world.connected()
            if how == "reset by guest":
                world.guest.memory.write(DATA, LINGER_NONE)
                world.guest.call(Op.SETSOCKOPT, handle, args=(1, 13, DATA, 8))
            elif how == "reset by other":
                other.setsockopt(1, 13, LINGER_NONE)
                other.close()
            elif how == "other":
                other.close()
            world.settle()
        assert world.guest.call(Op.CLOSE, handle).result == 0
        world.settle()
        if how in ("guest", "reset by guest"):
            other.close()
            world.settle()
    world.sleep(130 * NS_PER_S)
    assert world.guest.hypercalls.counters()["sockets"] == 0
    assert tables(world) == {"connections": 0, "sockets": 0, "listeners": 0}


def test_options_are_kept_and_unknown_ones_refused() -> None:
    """mTCP 135: setsockopt was a stub that said yes."""
    world = EngineWorld()
    handle = world.guest.socket()
    for level, name, value in ((1, 9, 1), (6, 1, 1), (1, 2, 1), (6, 18, 5000)):
        assert world.set_option(handle, level, name, value) == 0
        assert world.option(handle, level, name) == value
    for level, name in ((1, 9999), (6, 9999), (0, 9999)):
        assert world.set_option(handle, level, name, 1) == -Errno.ENOPROTOOPT
        assert world.option(handle, level, name) == -Errno.ENOPROTOOPT
    assert world.option(handle, 1, 3) == abi.SockType.STREAM


def test_accept_subscribes_before_anything_can_be_missed() -> None:
    world = EngineWorld()
    listener = world.guest.listen(80)
    world.guest.call(Op.SUBSCRIBE, listener, events=IN, cookie=1)
    client = world.other_socket()
    client.connect(ADDRESS, 80)
    world.settle()
    assert world.guest.drain() == [(1, listener, IN)]
    client.send(b"early")
    world.settle()
    answer = world.guest.call(Op.ACCEPT, listener, events=IN | OUT, cookie=2)
    assert answer.result == 0 and answer.events == IN | OUT
    assert world.guest.recv(answer.handle, 100) == b"early"
    client.send(b"late")
    world.sleep(NS_PER_S)  # Nagle waits for the delayed acknowledgement
    assert world.guest.drain() == [(2, answer.handle, IN | OUT)]


def test_room_in_a_full_buffer_is_an_event() -> None:
    world = EngineWorld()
    handle, other = world.connected()
    world.guest.call(Op.SUBSCRIBE, handle, events=OUT, cookie=1)
    answer = world.guest.send(handle, bytes(100_000))
    while answer.result != -Errno.EAGAIN:
        world.sleep(NS_PER_S)
        world.guest.drain()
        answer = world.guest.send(handle, bytes(100_000))
    assert not answer.events & OUT
    while isinstance(other.recv(1 << 20), bytes):
        world.sleep(300_000_000)
    events = world.guest.drain()
    assert events and events[-1][2] & OUT


def test_reset_of_the_machine_resets_its_connections() -> None:
    world = EngineWorld()
    _, other = world.connected()
    world.guest.hypercalls.reset()
    world.settle()
    assert other.recv(10) == -Errno.ECONNRESET
    assert tables(world)["connections"] == 0


def test_peek_and_waitall_on_a_real_stream() -> None:
    world = EngineWorld()
    handle, other = world.connected()
    other.send(b"abc")
    world.settle()
    assert world.guest.recv(handle, 10, Flag.MSG_PEEK) == b"abc"
    assert world.guest.recv(handle, 5, Flag.MSG_WAITALL) == -Errno.EAGAIN
    world.guest.drain()
    other.send(b"defg")
    world.sleep(NS_PER_S)
    assert world.guest.drain()[-1][2] & IN
    assert world.guest.recv(handle, 5, Flag.MSG_WAITALL) == b"abcde"
    other.close()
    world.settle()
    assert world.guest.recv(handle, 5, Flag.MSG_WAITALL) == b"fg"


def test_waitall_for_more_than_the_buffer_holds_goes_on() -> None:
    """What can never be there at once must not be waited for."""
    world = EngineWorld(tcp=Config(rcv_max=65_535))
    handle, other = world.connected()
    data = world.chance.randbytes(3 << 20)
    sent = 0
    received = b""
    for _ in range(3000):
        while sent < len(data):
            taken = other.send(data[sent : sent + 50_000])
            if taken <= 0:
                break
            sent += taken
        if sent == len(data):
            other.shutdown(1)
        world.sleep(1_000_000)
        got = world.guest.recv(handle, 150_000, Flag.MSG_WAITALL)
        if isinstance(got, bytes):
            received += got
            if not got:
                break
    assert received == data


def test_loopback_stays_inside() -> None:
    world = EngineWorld()
    listener = world.guest.listen(80)
    handle = world.guest.socket()
    result = world.guest.call(Op.CONNECT, handle, peer=endpoint(b"\x7f\0\0\1", 80)).result
    assert result in (0, -Errno.EINPROGRESS)
    world.settle()
    answer = world.guest.call(Op.ACCEPT, listener)
    assert answer.result == 0
    assert world.guest.send(handle, b"to myself").result == 9
    world.settle()
    assert world.guest.recv(answer.handle, 20) == b"to myself"


def test_hang_up_both_ways_is_told() -> None:
    world = EngineWorld()
    handle, other = world.connected()
    world.guest.call(Op.SHUTDOWN, handle, args=(1,))
    world.settle()
    other.close()
    world.settle()
    assert world.guest.drain()[-1][2] & HUP
    assert world.guest.send(handle, b"x").result == -Errno.EPIPE


def test_the_far_end_is_who_it_says() -> None:
    world = EngineWorld()
    handle, other = world.connected()
    answer = world.guest.call(Op.GETPEERNAME, handle)
    assert isinstance(other, TcpSocket) and other.local is not None
    assert (answer.peer[2], answer.peer[1]) == other.local
    assert answer.peer[2] == OTHER == GATEWAY


def test_urgent_byte_goes_and_comes_out_of_band() -> None:
    world = EngineWorld()
    guest = world.guest
    handle, other = world.connected()
    oob = int(Flag.MSG_OOB)
    guest.call(Op.SUBSCRIBE, handle, events=IN | int(abi.Poll.PRI), cookie=7)
    assert guest.send(handle, b"abc", oob).result == 3
    world.settle()
    assert other.recv(10) == b"ab"
    assert other.recv_urgent() == b"c"
    assert other.send_urgent(b"xyz") == 3
    world.settle()
    assert [event[0] for event in guest.drain()] == [7]
    byte = guest.call(Op.RECV, handle, args=(DATA, 10), flags=oob)
    assert byte.result == 1 and world.data(1) == b"z"
    assert guest.call(Op.RECV, handle, args=(DATA, 10), flags=oob).result == -Errno.EINVAL
    assert guest.call(Op.RECV, handle, args=(DATA, 10)).result == 2
    assert world.data(2) == b"xy"
    assert guest.call(Op.RECV, handle, args=(DATA, 0), flags=oob | 0x8000).result == -95
    assert guest.call(Op.SEND, handle, args=(DATA, 1), flags=oob | 0x2).result == -95
