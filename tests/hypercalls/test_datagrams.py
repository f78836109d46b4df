"""SENDTO and RECVFROM on the real engine, with another stack of ours as the other end."""

from __future__ import annotations

import pytest
from engine_world import OTHER, EngineWorld
from hypercall_guest import ADDRESS, DATA, EAGAIN, ERR, IN, OUT, TABLE, endpoint

from leulo.hypercalls import abi
from leulo.tcp.config import Config
from leulo.tcp.socket import TcpSocket
from leulo.udp.socket import UdpSocket

Op, Status, Errno = abi.Op, abi.Status, abi.Errno
NOBODY = bytes(24)


class World(EngineWorld):
    """With a datagram socket on either side: ``handle`` of the guest, ``server`` at port 53."""

    def __init__(self) -> None:
        super().__init__()
        server = self.other.socket(2, 2)
        assert isinstance(server, UdpSocket)
        assert server.bind(bytes(4), 53) == 0
        self.server = server
        self.handle = self.guest.call(Op.SOCKET, args=(2, 2, 0)).handle
        self.guest.call(Op.SUBSCRIBE, self.handle, events=5, cookie=99)

    def send(self, text: bytes, to: bytes = endpoint(OTHER, 53), op: int = Op.SENDTO) -> int:
        self.guest.memory.write(DATA, text)
        answer = self.guest.call(op, self.handle, args=(DATA, len(text)), peer=to)
        assert answer.status == Status.OK
        return answer.result


@pytest.fixture
def world() -> World:
    return World()


def test_question_and_answer_with_both_addresses(world: World) -> None:
    world.guest.memory.write(DATA, b"question")
    answer = world.guest.call(Op.SENDTO, world.handle, args=(DATA, 8), peer=endpoint(OTHER, 53))
    assert answer.result == 8
    family, port, _ = answer.local
    assert family == 2 and port  # chosen, and told at once
    world.settle()
    assert world.server.recvfrom(100) == (b"question", (ADDRESS, port), 8)
    assert world.server.sendto(b"the answer", ADDRESS, port) == 10
    world.settle()
    assert [(e[0], e[2]) for e in world.guest.drain()] == [(99, IN | OUT)]
    peek = world.guest.call(Op.RECVFROM, world.handle, args=(DATA, 3), flags=int(abi.Flag.MSG_PEEK))
    assert (peek.result, peek.args[0], peek.events) == (3, 10, IN | OUT)
    got = world.guest.call(Op.RECVFROM, world.handle, args=(DATA, 100))
    assert (got.result, got.args[0], got.events) == (10, 10, OUT)
    assert got.peer == (2, 53, OTHER)
    assert world.data(10) == b"the answer"
    assert world.guest.call(Op.RECVFROM, world.handle, args=(DATA, 100)).result == -EAGAIN


def test_pieces_are_one_datagram_each_way(world: World) -> None:
    memory = world.guest.memory
    memory.write(DATA, b"abcdefgh")
    table = b"".join(abi.IOVEC_STRUCT.pack(DATA + at, 3) for at in (5, 0))
    memory.write(TABLE, table)
    flags = int(abi.Flag.IOVEC)
    sent = world.guest.call(
        Op.SENDTO, world.handle, args=(TABLE, 2), flags=flags, peer=endpoint(OTHER, 53)
    )
    assert sent.result == 6
    world.settle()
    got = world.server.recvfrom(100)
    assert not isinstance(got, int) and got[0] == b"fghabc"
    world.server.sendto(b"12345", *got[1])
    world.server.sendto(b"678", *got[1])
    world.settle()
    answer = world.guest.call(Op.RECVFROM, world.handle, args=(TABLE, 2), flags=flags)
    assert (answer.result, answer.args[0]) == (5, 5)
    assert memory.read(DATA + 5, 3) + memory.read(DATA, 2) == b"12345"
    # RECV too never joins two datagrams.
    assert world.guest.call(Op.RECV, world.handle, args=(TABLE, 2), flags=flags).result == 3


def test_connected_socket_needs_no_address_and_hears_refusals(world: World) -> None:
    assert world.send(b"x", NOBODY) == -Errno.EDESTADDRREQ
    connected = world.guest.call(Op.CONNECT, world.handle, peer=endpoint(OTHER, 99))
    assert connected.result == 0
    assert world.send(b"x", NOBODY) == 1
    world.settle()
    assert [(e[0], e[2] & ERR) for e in world.guest.drain()] == [(99, ERR)]
    refused = world.guest.call(Op.RECVFROM, world.handle, args=(DATA, 9))
    assert refused.result == -Errno.ECONNREFUSED
    assert world.send(b"x", NOBODY, Op.SEND) == 1
    assert world.guest.call(Op.GETPEERNAME, world.handle).peer == (2, 99, OTHER)


def test_empty_datagrams_are_sent_and_taken(world: World) -> None:
    for op in (Op.SENDTO, Op.SEND):
        world.guest.call(Op.CONNECT, world.handle, peer=endpoint(OTHER, 53))
        assert world.send(b"", NOBODY, op) == 0
        world.settle()
        got = world.server.recvfrom(10)
        assert not isinstance(got, int) and got[0] == b""
        world.server.sendto(b"", *got[1])
        world.settle()
        assert world.guest.call(Op.POLL, args=(0, 0)).status == Status.OK
        assert world.guest.call(Op.RECVFROM, world.handle, args=(DATA, 0)).result == 0
        assert world.guest.call(Op.RECVFROM, world.handle, args=(DATA, 0)).result == -EAGAIN


def test_wrong_use_is_refused_before_anything_moves(world: World) -> None:
    call = world.guest.call
    end = world.guest.memory.size
    to = endpoint(OTHER, 53)
    assert call(Op.SENDTO, world.handle, args=(end - 4, 5), peer=to).status == Status.BAD_ADDRESS
    assert call(Op.SENDTO, world.handle, args=(0, 65_536), peer=to).result == -Errno.EMSGSIZE
    assert call(Op.SENDTO, world.handle, args=(0, 65_508), peer=to).result == -Errno.EMSGSIZE
    unknown = endpoint(OTHER, 53, family=7)
    assert call(Op.SENDTO, world.handle, args=(0, 4), peer=unknown).result == -Errno.EAFNOSUPPORT
    strange = call(Op.SENDTO, world.handle, args=(0, 4), peer=to, flags=1 << 30)
    assert strange.result == -Errno.EOPNOTSUPP
    assert world.send(b"x") == 1
    world.settle()
    port = world.guest.call(Op.GETSOCKNAME, world.handle).local[1]
    world.server.sendto(b"kept", ADDRESS, port)
    world.settle()
    assert call(Op.RECVFROM, world.handle, args=(end - 4, 5)).status == Status.BAD_ADDRESS
    assert call(Op.RECVFROM, world.handle, args=(DATA, 9)).result == 4  # it was not lost


def test_on_a_stream_they_are_send_and_recv(world: World) -> None:
    handle, other = world.connected()
    world.guest.memory.write(DATA, b"stream")
    call = world.guest.call
    assert call(Op.SENDTO, handle, args=(DATA, 6), peer=endpoint(OTHER, 1)).result == 6
    world.settle()
    assert other.recv(10) == b"stream"
    other.send(b"back")
    world.settle()
    got = call(Op.RECVFROM, handle, args=(DATA, 10), peer=endpoint(OTHER, 1))
    assert (got.result, got.args[0], got.peer) == (4, 4, (0, 0, bytes(4)))


def test_stream_opens_with_data_in_the_syn(world: World) -> None:
    """MSG_FASTOPEN: the first time asks for a cookie, the second carries the data."""
    world.other.engine.config = Config(fast_open=3)
    listener = world.other_listener(80)
    listener.setsockopt(6, 23, b"\5\0\0\0")
    guest = world.guest
    fast = int(abi.Flag.MSG_FASTOPEN)
    results = []
    for _ in range(2):
        stream = guest.socket()
        guest.memory.write(DATA, b"early bird")
        args = (DATA, 10)
        answer = guest.call(Op.SENDTO, stream, args=args, flags=fast, peer=endpoint(OTHER, 80))
        assert answer.local[1]  # the port is told at once
        results.append(answer.result)
        world.settle()
    assert results == [-Errno.EINPROGRESS, 10]
    assert isinstance(listener.accept(), TcpSocket)
    second = listener.accept()
    assert isinstance(second, TcpSocket)
    assert second.recv(100) == b"early bird"


def test_stream_opened_with_pieces_and_wrong_calls(world: World) -> None:
    guest = world.guest
    fast = int(abi.Flag.MSG_FASTOPEN)
    stream = guest.socket()
    peek = int(abi.Flag.MSG_PEEK)
    to = endpoint(OTHER, 80)
    assert guest.call(Op.SENDTO, stream, flags=fast | peek, peer=to).result == -Errno.EOPNOTSUPP
    assert guest.call(Op.SENDTO, stream, flags=fast, peer=NOBODY).result == -Errno.EAFNOSUPPORT
    assert guest.call(Op.SEND, stream, flags=fast).result == -Errno.EOPNOTSUPP
    outside = guest.call(Op.SENDTO, stream, args=(1 << 40, 4), flags=fast, peer=to)
    assert outside.status == Status.BAD_ADDRESS
