"""The user gateway: bytes, ends and resets pass between real sockets and a guest's stack."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator

import pytest
from user_world import (
    GATEWAY,
    LINGER_NONE,
    LOOPBACK,
    GuestSocket,
    Port,
    World,
    echo,
    pattern,
    sink,
    source,
)

from leulo.errors import EnvironmentProblem
from leulo.links.user import gateway
from leulo.links.user.splice import Splice
from leulo.tcp.config import Config
from leulo.trace import Event
from leulo.units import NS_PER_S

MIB = 1 << 20


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.close()


def make(worlds: list[World], *ports: int, host_loopback: bool = False) -> World:
    world = World(*[Port(port) for port in ports], host_loopback=host_loopback)
    worlds.append(world)
    return world


def test_ten_megabytes_each_way_arrive_as_they_were(worlds: list[World]) -> None:
    """libkrun 772: bytes lost on a short write stalled a stream at some 240 KiB."""
    world = make(worlds, 7, 9, 19)
    data = pattern(10 * MIB)
    world.serve(9, sink)
    world.serve(19, source(data))
    up = world.client(world.ports[1], data)
    down = world.client(world.ports[2])
    world.until(lambda: up.has_ended and down.has_ended)
    assert down.received == data
    assert world.connections[0].received == data or world.connections[1].received == data
    counters = world.link.counters()
    assert counters["connections"] == 0
    assert (counters["bytes_to_guest"], counters["bytes_from_guest"]) == (len(data), len(data))


def test_what_comes_from_the_host_has_the_time_at_which_it_comes(worlds: list[World]) -> None:
    """Protects: events, and what the engine measures, after a while in which nothing happened."""
    world = make(worlds, 7)
    world.serve(7, echo)
    seen: list[Event] = []
    world.trace.subscribe("tcp.state", seen.append)

    def last(cause: str) -> int:
        return max(e.time_ns for e in seen if (plain := e.plain())["cause"] == cause
                   and plain["stack"] == "gateway")  # fmt: skip

    world.skipped_ns += 5 * NS_PER_S
    client = world.client(world.ports[0], b"first", shuts=False)
    world.until(lambda: client.received == b"first")
    assert last("ACTIVE_OPEN") >= 5 * NS_PER_S
    world.skipped_ns += 5 * NS_PER_S
    client.shuts = True
    world.until(lambda: client.has_ended)
    assert last("CLOSE") >= 10 * NS_PER_S


def test_echo_both_ways_at_once(worlds: list[World]) -> None:
    world = make(worlds, 7)
    data = pattern(10 * MIB, 2)
    world.serve(7, echo)
    client = world.client(world.ports[0], data)
    world.until(lambda: client.has_ended)
    assert client.received == data
    assert client.error is None


def test_two_hundred_connections_at_once(worlds: list[World]) -> None:
    world = make(worlds, 7)
    world.serve(7, echo)
    clients = [
        world.client(world.ports[0], pattern(20_000, seed), shuts=False) for seed in range(200)
    ]
    world.until(lambda: all(len(client.received) == 20_000 for client in clients))
    assert world.link.counters()["connections"] == 200
    for seed, client in enumerate(clients):
        assert client.received == pattern(20_000, seed)
        client.shuts = True
    world.until(lambda: all(client.has_ended for client in clients))
    world.until(lambda: world.link.counters()["connections"] == 0)


def test_connections_one_after_another_leave_nothing_behind(worlds: list[World]) -> None:
    """libkrun 112, 116: connections leaked."""
    world = make(worlds, 7)
    world.serve(7, echo)
    for number in range(300):
        client = world.client(world.ports[0], b"%d" % number)
        world.until(client.is_over)
        assert client.received == b"%d" % number
        world.clients.remove(client)
        client.close()
    assert world.link.counters()["connections"] == 0


def test_half_close_by_the_host_passes_and_the_answer_still_comes(worlds: list[World]) -> None:
    world = make(worlds, 9)
    seen: list[GuestSocket] = []

    def answer_at_the_end(connection: GuestSocket) -> None:
        connection.read()
        if connection.has_ended and not seen:
            seen.append(connection)
            connection.tcp.send(b"all of it: " + bytes(connection.received))
            connection.tcp.close()

    world.serve(9, answer_at_the_end)
    client = world.client(world.ports[0], b"question")
    world.until(lambda: client.has_ended)
    assert client.received == b"all of it: question"


def test_half_close_by_the_guest_passes_and_the_host_may_go_on(worlds: list[World]) -> None:
    world = make(worlds, 19)
    world.serve(19, source(b"no more from me"))
    client = world.client(world.ports[0], shuts=False)
    world.until(lambda: client.has_ended)
    assert client.received == b"no more from me"
    client.to_send = memoryview(pattern(MIB))
    client.shuts = True
    world.until(lambda: world.connections[0].has_ended)
    assert world.connections[0].received == pattern(MIB)


def test_port_nobody_listens_on_is_a_reset_at_once(worlds: list[World]) -> None:
    """libkrun 684, 806: a refusal arrived five seconds late."""
    world = make(worlds, 81)
    client = world.client(world.ports[0], shuts=False)
    world.until(lambda: client.error, seconds=2)
    assert client.error is not None and client.error.errno == errno.ECONNRESET
    assert world.link.counters()["connections"] == 0


def test_reset_by_the_host_reaches_the_guest(worlds: list[World]) -> None:
    world = make(worlds, 9)
    world.serve(9, sink)
    client = world.client(world.ports[0], b"hello", shuts=False)
    world.until(lambda: world.connections and world.connections[0].received == b"hello")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
    client.close()
    world.clients.remove(client)
    world.until(lambda: world.connections[0].error)
    assert world.connections[0].error == errno.ECONNRESET
    world.until(lambda: world.link.counters()["connections"] == 0)


def test_reset_by_the_guest_reaches_the_host(worlds: list[World]) -> None:
    world = make(worlds, 9)

    def abort(connection: GuestSocket) -> None:
        connection.read()
        if connection.received and not connection.error:
            connection.error = 1
            connection.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
            connection.tcp.owner = None
            connection.tcp.close()

    world.serve(9, abort)
    client = world.client(world.ports[0], b"x", shuts=False)
    world.until(lambda: client.error)
    assert client.error is not None and client.error.errno == errno.ECONNRESET
    assert world.link.counters()["connections"] == 0


def test_slow_reader_stalls_its_own_connection_only(worlds: list[World]) -> None:
    world = make(worlds, 19, 7)
    data = pattern(60 * MIB, 3)
    world.serve(19, source(data))
    world.serve(7, echo)
    slow = world.client(world.ports[0], shuts=False)
    slow.is_reading = False
    quick = world.client(world.ports[1], pattern(2 * MIB, 4))
    world.until(lambda: quick.has_ended)
    assert quick.received == pattern(2 * MIB, 4)
    for _ in range(2000):
        world.turn()
    held = world.connections[0].sent
    assert held < len(data)  # the guest was made to wait, nothing piled up without bound
    slow.is_reading = slow.shuts = True
    world.until(lambda: slow.has_ended)
    assert slow.received == data


def test_slow_guest_makes_the_host_wait(worlds: list[World]) -> None:
    world = make(worlds, 9)
    world.serve(9, sink)
    data = pattern(40 * MIB, 5)
    client = world.client(world.ports[0], data)
    world.until(lambda: world.connections)
    world.connections[0].is_reading = False
    for _ in range(3000):
        world.turn()
    assert len(client.to_send) > 0
    world.connections[0].is_reading = True
    sink(world.connections[0])
    world.until(lambda: client.has_ended)
    assert world.connections[0].received == data


def test_what_dead_peers_leave_in_the_gateway_is_bounded(
    worlds: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither guests nor hosts that stop reading take more than the gateway's buffers, whoever
    finds them full waits without a loop, and all arrives when there is room again."""
    monkeypatch.setattr(gateway, "BUFFERS_BYTES", MIB)
    world = make(worlds, 9, 19)
    data = pattern(4 * MIB)

    world.serve(9, lambda connection: None)
    world.serve(19, source(data))
    for _ in range(30):
        world.client(world.ports[0], data)
    out = [world.client(world.ports[1]) for _ in range(5)]
    for client in out:
        client.is_reading = False

    def held() -> int:
        pending = sum(len(splice._pending or b"") for splice in world.link._splices)
        return world.link.counters()["gateway.tcp_buffered_bytes"] + pending

    most = 0
    for _ in range(300):
        world.turn()
        most = max(most, held())
    assert len(world.connections) == 35
    assert MIB // 2 < most < 2 * MIB
    retried: list[object] = []
    monkeypatch.setattr(Splice, "retry", lambda splice: retried.append(splice))
    world.skipped_ns += NS_PER_S  # every timer of theirs is due; those who wait look once
    world.turn()
    assert retried
    monkeypatch.undo()
    for splice in retried:
        splice.retry()  # type: ignore[attr-defined]
    for client in out:
        client.is_reading = True
    world.servers[9] = sink
    for connection in world.connections:
        if connection.tcp.local and connection.tcp.local[1] == 9:
            connection.serve = sink
            sink(connection)
    world.until(lambda: all(client.is_over() for client in world.clients))
    assert all(client.received == data for client in out)
    assert sum(connection.received == data for connection in world.connections) == 30
    assert world.link.counters()["resets"] == 0


def test_ended_host_with_a_guest_that_does_not_read_does_not_spin(worlds: list[World]) -> None:
    """libkrun 344: epoll reports a hang-up for ever; a gateway that listens to it spins."""
    world = World(Port(9), tcp=Config(rcv_default=8192, rcv_max=8192))
    worlds.append(world)

    def end_and_sleep(connection: GuestSocket) -> None:
        if connection.sent == 0:
            connection.sent = 1
            connection.tcp.shutdown(1)

    world.serve(9, end_and_sleep)
    client = world.client(world.ports[0], shuts=False)
    world.until(lambda: client.has_ended)
    (splice,) = world.link._splices
    data = pattern(20_000)
    sent = 0
    while splice.bytes_to_guest == sent:  # until the gateway leaves some in the host's kernel
        client.to_send = memoryview(data)
        sent += len(data)
        for _ in range(20):
            world.turn()
        assert sent < 20 * MIB
    client.shuts = True
    for _ in range(100):
        world.turn()
    served = 0
    for _ in range(50):
        served += world.poller.wait(0)
        world.turn()
    assert served <= 2
    world.servers[9] = world.connections[0].serve = sink
    sink(world.connections[0])
    world.until(lambda: world.connections[0].has_ended)
    assert len(world.connections[0].received) == sent


def test_host_that_dies_while_the_guest_does_not_read_is_noticed(worlds: list[World]) -> None:
    world = make(worlds, 9)
    world.serve(9, lambda connection: None)
    client = world.client(world.ports[0], pattern(12 * MIB), shuts=False)
    world.until(lambda: world.connections)
    for _ in range(2000):
        world.turn()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
    client.close()
    world.clients.remove(client)
    world.until(lambda: world.link.counters()["connections"] == 0)


def test_guest_reaches_the_hosts_loopback_only_if_allowed(worlds: list[World]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        world = make(worlds)
        closed = world.connect(GATEWAY, port, sink)
        world.until(lambda: closed.error)
        assert closed.error in (errno.ECONNRESET, errno.ECONNREFUSED)
        for address in (LOOPBACK, bytes((10, 0, 2, 99)), bytes((224, 0, 0, 1))):
            assert world.link._plan.host_address(address) is None

        world = make(worlds, host_loopback=True)
        server.setblocking(False)
        opened = world.connect(GATEWAY, port, source(pattern(3 * MIB)))
        accepted: list[socket.socket] = []

        def take() -> bool:
            try:
                accepted.append(server.accept()[0])
            except BlockingIOError:
                return False
            return True

        world.until(take)
        with accepted[0] as connection:
            connection.setblocking(False)
            received = bytearray()
            has_ended = False

            def read() -> bool:
                nonlocal has_ended
                try:
                    while data := connection.recv(MIB):
                        received.extend(data)
                    has_ended = True
                except BlockingIOError:
                    pass
                return has_ended

            world.until(read)
            assert received == pattern(3 * MIB)
            connection.send(b"thanks")
            connection.shutdown(socket.SHUT_WR)
            world.until(lambda: opened.has_ended)
            assert opened.received == b"thanks"
        world.until(lambda: world.link.counters()["connections"] == 0)


def test_guests_connection_to_a_closed_port_is_reset(worlds: list[World]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        world = make(worlds, host_loopback=True)
        connection = world.connect(GATEWAY, unused.getsockname()[1], sink)
        world.until(lambda: connection.error, seconds=2)
        assert connection.error in (errno.ECONNRESET, errno.ECONNREFUSED)
        world.until(lambda: world.link.counters()["connections"] == 0)


def test_busy_port_is_named_with_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        busy = server.getsockname()[1]
        with pytest.raises(EnvironmentProblem) as caught:
            World(Port(80, busy))
        message = str(caught.value)
        assert f"--publish 127.0.0.1:{busy}:80" in message
        assert f"port {busy} of 127.0.0.1 is in use" in message
        free = int(message.rsplit("--publish ", 1)[1].split(":")[0])
        assert free != busy
    with socket.create_server(("127.0.0.1", free)):
        pass


def test_published_port_goes_on_when_the_process_has_descriptors_again(
    worlds: list[World],
) -> None:
    """With no connection of its own whose end would tell it, and without spinning meanwhile."""
    world = make(worlds, 7)
    world.serve(7, echo)
    client = world.client(world.ports[0], b"at last")
    free = os.dup(client.socket.fileno())
    os.close(free)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))  # the next descriptor is too many
    try:
        world.until(world.link.published[0].next_deadline)
        assert [world.poller.wait(0) for _ in range(20)] == [0] * 20
        assert world.link.counters()["connections_in"] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    world.until(lambda: client.has_ended)
    assert client.received == b"at last"


def test_foreign_address_is_explained() -> None:
    with pytest.raises(EnvironmentProblem, match="not an address of this computer"):
        World(Port(80, 8080, bytes((192, 0, 2, 1))))


def test_small_windows_move_everything_too(worlds: list[World]) -> None:
    """Past four times every buffer, with buffers that can't grow."""
    world = World(
        Port(7), tcp=Config(rcv_default=8192, rcv_max=8192, snd_default=8192, snd_max=8192)
    )
    worlds.append(world)
    world.serve(7, echo)
    data = pattern(MIB, 6)
    client = world.client(world.ports[0], data)
    world.until(lambda: client.has_ended)
    assert client.received == data


def test_closing_the_link_resets_what_is_open() -> None:
    world = World(Port(7))
    world.serve(7, echo)
    client = world.client(world.ports[0], b"x", shuts=False)
    world.until(lambda: client.received)
    world.link.close()
    client.pump()
    assert client.error is not None
    client.close()
    world.poller.close()
