"""Options that are taken have an effect: each is seen from outside or in time."""

from __future__ import annotations

from struct import pack, unpack

import pytest
from engine_world import EngineWorld
from hypercall_guest import ADDRESS, DATA, IN, OUT, TABLE

from leulo.hypercalls import abi
from leulo.tcp.socket import TcpSocket
from leulo.units import NS_PER_MS, NS_PER_S

Op, Errno, SO, TCP = abi.Op, abi.Errno, abi.SocketOption, abi.TcpOption


def fill(world: EngineWorld, handle: int, limit: int = 1 << 30) -> int:
    """Send until nothing more is taken; the number of bytes."""
    total = 0
    while total < limit:
        answer = world.guest.send(handle, bytes(10_000))
        if answer.result <= 0:
            assert answer.result == -Errno.EAGAIN and not answer.events & OUT
            return total
        total += answer.result
    raise AssertionError("it takes everything")


def frames_of(world: EngineWorld) -> list[bytes]:
    return [b"".join(frame) for frame in world.stack.drain(world.clock.now_ns())]


def test_rcvlowat_makes_readable_only_with_enough() -> None:
    world = EngineWorld()
    guest = world.guest
    handle, other = world.connected()
    assert world.set_option(handle, 1, SO.SO_RCVLOWAT, 1000) == 0
    guest.call(Op.SUBSCRIBE, handle, events=IN, cookie=1)
    for _ in range(9):
        other.send(bytes(100))
        world.sleep(NS_PER_S)
    assert guest.drain() == []
    other.send(bytes(100))
    world.sleep(NS_PER_S)
    assert [event[0] for event in guest.drain()] == [1]
    got = guest.recv(handle, 600)
    assert isinstance(got, bytes) and len(got) == 600
    assert not guest.call(Op.GETSOCKNAME, handle).events & IN
    other.close()  # the end of the stream is readable whatever is there
    world.settle()
    assert guest.drain()[-1][2] & IN


def test_rcvlowat_beyond_the_buffer_does_not_stand_still() -> None:
    world = EngineWorld()
    handle, other = world.connected()
    assert world.set_option(handle, 1, SO.SO_RCVLOWAT, 0x7FFFFFFF) == 0
    for _ in range(100):
        other.send(bytes(100_000))
        world.sleep(NS_PER_MS)
    assert world.guest.call(Op.GETSOCKNAME, handle).events & IN


def test_lowering_rcvlowat_tells_what_is_there() -> None:
    world = EngineWorld()
    handle, other = world.connected()
    world.set_option(handle, 1, SO.SO_RCVLOWAT, 1000)
    world.guest.call(Op.SUBSCRIBE, handle, events=IN, cookie=1)
    other.send(bytes(10))
    world.sleep(NS_PER_S)
    assert world.set_option(handle, 1, SO.SO_RCVLOWAT, 1) == 0
    assert world.guest.call(Op.GETSOCKNAME, handle).events & IN


def test_notsent_lowat_bounds_what_waits_unsent() -> None:
    world = EngineWorld()
    guest = world.guest
    handle, other = world.connected()
    assert world.set_option(handle, 6, TCP.TCP_NOTSENT_LOWAT, 8000) == 0
    guest.call(Op.SUBSCRIBE, handle, events=OUT, cookie=1)
    most = 0
    for _ in range(50):
        fill(world, handle)
        info = unpack("<I", tcp_info(world, handle)[144:148])[0]  # tcpi_notsent_bytes
        most = max(most, info)
        guest.drain()
        world.settle()  # until the window is full
        if not guest.drain():
            break
    assert 8000 <= most < 18_000  # one write of 10,000 over it
    assert not guest.call(Op.GETSOCKNAME, handle).events & OUT
    while isinstance(other.recv(1 << 20), bytes):
        world.sleep(300 * NS_PER_MS)
    events = guest.drain()
    assert events and events[-1][2] & OUT


def tcp_info(world: EngineWorld, handle: int) -> bytes:
    answer = world.guest.call(Op.GETSOCKOPT, handle, args=(6, TCP.TCP_INFO, TABLE, 256))
    return world.guest.memory.read(TABLE, answer.result)


def test_window_clamp_bounds_what_is_offered() -> None:
    world = EngineWorld()
    handle = world.guest.socket()
    assert world.set_option(handle, 6, TCP.TCP_WINDOW_CLAMP, 5000) == 0
    listener = world.other_listener(9)
    world.guest.call(Op.CONNECT, handle, peer=pack("<HHI16s", 2, 9, 0, b"\x0a\0\2\2"))
    world.settle()
    other = listener.accept()
    assert isinstance(other, TcpSocket) and other.tcb is not None
    for _ in range(20):
        other.send(bytes(50_000))
        world.sleep(NS_PER_MS)
        assert other.tcb.snd_max_wnd < 5000 + (1 << other.tcb.snd_wscale)
        got = world.guest.recv(handle, 500_000)
        assert not isinstance(got, bytes) or len(got) <= 5120


@pytest.mark.parametrize(("count", "seconds"), [(1, 7), (2, 11), (3, 19)])
def test_syncnt_says_how_often_is_asked(count: int, seconds: int) -> None:
    """After four repetitions a second apart and so many more, each twice as long in coming, the
    connect has failed."""
    world = EngineWorld()
    world.is_cut = True
    handle = world.guest.socket()
    assert world.set_option(handle, 6, TCP.TCP_SYNCNT, count) == 0
    world.is_cut = False
    world.connect(9)  # its refusal teaches the neighbour's address
    world.settle()
    world.is_cut = True
    world.guest.call(Op.CONNECT, handle, peer=pack("<HHI16s", 2, 9, 0, b"\x0a\0\2\2"))
    world.sleep((seconds - 1) * NS_PER_S)
    assert world.option(handle, 1, SO.SO_ERROR) == 0
    world.sleep(2 * NS_PER_S)
    assert world.option(handle, 1, SO.SO_ERROR) == Errno.ETIMEDOUT


@pytest.mark.parametrize(("value", "seconds"), [(5, 5), (0, 60), (1000, 120)])
def test_linger2_says_how_long_the_other_side_is_waited_for(value: int, seconds: int) -> None:
    world = EngineWorld()
    handle, _ = world.connected()
    assert world.set_option(handle, 6, TCP.TCP_LINGER2, value) == 0
    assert world.option(handle, 6, TCP.TCP_LINGER2) == seconds
    world.guest.call(Op.CLOSE, handle)
    world.sleep((seconds - 1) * NS_PER_S)
    assert world.stack.counters()["tcp_connections"] == 1
    world.sleep(2 * NS_PER_S)
    assert world.stack.counters()["tcp_connections"] == 0


@pytest.mark.parametrize("order", ["close, then acknowledged", "shutdown, then closed"])
def test_negative_linger2_does_not_wait(order: str) -> None:
    world = EngineWorld()
    handle, other = world.connected()
    assert world.set_option(handle, 6, TCP.TCP_LINGER2, -1) == 0
    if order.startswith("shutdown"):
        world.guest.call(Op.SHUTDOWN, handle, args=(1,))
        world.settle()
    world.guest.call(Op.CLOSE, handle)
    world.settle()
    assert world.stack.counters()["tcp_connections"] == 0
    while isinstance(got := other.recv(10), bytes) and got:
        pass
    assert other.state.name == "CLOSED"  # reset


def deferring(world: EngineWorld, seconds: int) -> tuple[int, TcpSocket]:
    """A listener that defers, and a client whose handshake is done on its side."""
    listener = world.guest.listen(80)
    assert world.set_option(listener, 6, TCP.TCP_DEFER_ACCEPT, seconds) == 0
    world.guest.call(Op.SUBSCRIBE, listener, events=IN, cookie=1)
    client = world.other_socket()
    client.connect(ADDRESS, 80)
    world.settle()
    assert client.state.name == "ESTABLISHED"
    assert world.guest.call(Op.ACCEPT, listener).result == -Errno.EAGAIN
    assert world.guest.drain() == []
    return listener, client


def test_defer_accept_waits_for_data() -> None:
    world = EngineWorld()
    listener, client = deferring(world, 5)
    world.sleep(NS_PER_S // 2)
    client.send(b"GET /")
    world.settle()
    assert [event[0] for event in world.guest.drain()] == [1]
    answer = world.guest.call(Op.ACCEPT, listener)
    assert answer.result == 0 and world.guest.recv(answer.handle, 10) == b"GET /"


def test_defer_accept_gives_up_waiting() -> None:
    """Who never says anything is accepted in the end, as on Linux."""
    world = EngineWorld()
    listener, _ = deferring(world, 3)
    assert world.option(listener, 6, TCP.TCP_DEFER_ACCEPT) == 3
    world.sleep(2 * NS_PER_S)
    assert world.guest.call(Op.ACCEPT, listener).result == -Errno.EAGAIN
    world.sleep(2 * NS_PER_S)
    assert world.guest.call(Op.ACCEPT, listener).result == 0


def test_user_timeout_ends_a_silent_connection() -> None:
    world = EngineWorld()
    handle, _ = world.connected()
    assert world.set_option(handle, 6, TCP.TCP_USER_TIMEOUT, 3000) == 0
    world.is_cut = True
    world.guest.send(handle, b"anybody?")
    world.sleep(2 * NS_PER_S)
    assert world.option(handle, 1, SO.SO_ERROR) == 0
    world.sleep(5 * NS_PER_S)
    assert world.option(handle, 1, SO.SO_ERROR) == Errno.ETIMEDOUT


def test_keepalive_finds_a_dead_peer() -> None:
    world = EngineWorld()
    handle, _ = world.connected()
    for name, value in ((TCP.TCP_KEEPIDLE, 10), (TCP.TCP_KEEPINTVL, 2), (TCP.TCP_KEEPCNT, 3)):
        assert world.set_option(handle, 6, name, value) == 0
    assert world.set_option(handle, 1, SO.SO_KEEPALIVE, 1) == 0
    world.sleep(100 * NS_PER_S)
    assert world.option(handle, 1, SO.SO_ERROR) == 0  # the peer answers
    world.is_cut = True
    world.sleep(30 * NS_PER_S)
    assert world.option(handle, 1, SO.SO_ERROR) == Errno.ETIMEDOUT


def test_sizes_of_buffers_bound_what_they_take() -> None:
    world = EngineWorld()
    handle, other = world.connected()
    assert world.set_option(handle, 1, SO.SO_SNDBUF, 20_000) == 0
    assert world.option(handle, 1, SO.SO_SNDBUF) == 40_000
    world.is_cut = True
    # Twice as much memory, and the piece that was begun is filled.
    assert 20_000 <= fill(world, handle) < 40_000 + 65_536
    world.is_cut = False
    assert world.set_option(handle, 1, SO.SO_RCVBUF, 10_000) == 0
    for _ in range(100):
        other.send(bytes(10_000))
        world.sleep(NS_PER_MS)
    # What had been offered before is taken; nothing more is.
    got = world.guest.recv(handle, 500_000)
    assert isinstance(got, bytes) and len(got) <= 65_535


def test_nodelay_cork_and_more_decide_when_small_segments_leave() -> None:
    world = EngineWorld()
    guest = world.guest
    handle, _ = world.connected()
    world.settle()

    def sizes() -> list[int]:
        return [len(f) - 10 - 14 - 20 - 32 for f in frames_of(world)]

    guest.send(handle, b"a")
    assert sizes() == [1]
    guest.send(handle, b"b")  # Nagle: something is unacknowledged
    assert sizes() == []
    assert world.set_option(handle, 6, TCP.TCP_NODELAY, 1) == 0
    assert sizes() == [1]
    guest.send(handle, b"c", abi.Flag.MSG_MORE)
    assert sizes() == []
    guest.send(handle, b"d")
    assert sizes() == [2]
    assert world.set_option(handle, 6, TCP.TCP_CORK, 1) == 0
    guest.send(handle, b"e")
    assert sizes() == []
    assert world.set_option(handle, 6, TCP.TCP_CORK, 0) == 0
    assert sizes() == [1]


def test_maxseg_bounds_segments() -> None:
    world = EngineWorld()
    handle = world.guest.socket()
    assert world.set_option(handle, 6, TCP.TCP_MAXSEG, 500) == 0
    listener = world.other_listener(9)
    world.guest.call(Op.CONNECT, handle, peer=pack("<HHI16s", 2, 9, 0, b"\x0a\0\2\2"))
    world.settle()
    assert isinstance(listener.accept(), TcpSocket)
    assert world.option(handle, 6, TCP.TCP_MAXSEG) == 488  # without the timestamps
    tcb = next(iter(world.stack.engine.connections.values()))
    assert tcb.mss == 488


def test_quickack_acknowledges_at_once() -> None:
    world = EngineWorld()
    handle, other = world.connected()
    world.sleep(NS_PER_S)
    assert world.set_option(handle, 6, TCP.TCP_QUICKACK, 0) == 0
    other.send(b"x")
    world.settle()
    tcb = other.tcb
    assert tcb is not None and tcb.snd_una < tcb.snd_max  # it is held back
    assert world.set_option(handle, 6, TCP.TCP_QUICKACK, 1) == 0
    world.settle()
    assert tcb.snd_una == tcb.snd_max


def test_lingering_for_no_time_resets() -> None:
    world = EngineWorld()
    handle, other = world.connected()
    world.guest.memory.write(DATA, pack("<ii", 1, 0))
    world.guest.call(Op.SETSOCKOPT, handle, args=(1, SO.SO_LINGER, DATA, 8))
    world.guest.call(Op.CLOSE, handle)
    world.settle()
    assert other.recv(1) == -Errno.ECONNRESET


def test_reuseaddr_lets_a_server_begin_again() -> None:
    world = EngineWorld()
    guest = world.guest
    listener = guest.listen(80)
    client = world.other_socket()
    client.connect(ADDRESS, 80)
    world.settle()
    accepted = guest.call(Op.ACCEPT, listener).handle
    guest.call(Op.CLOSE, accepted)
    guest.call(Op.CLOSE, listener)
    world.settle()
    client.close()
    world.settle()  # TIME_WAIT is on the guest's side
    again = guest.socket()
    name = pack("<HHI16s", 2, 80, 0, bytes(16))
    assert guest.call(Op.BIND, again, local=name).result == -Errno.EADDRINUSE
    assert world.set_option(again, 1, SO.SO_REUSEADDR, 1) == 0
    result = guest.call(Op.BIND, again, local=name).result
    # As on Linux, both must have allowed it: the old one had not.
    assert result in (0, -Errno.EADDRINUSE)
