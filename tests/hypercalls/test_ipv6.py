"""Sockets of AF_INET6 through hypercalls: offered where the machine has IPv6, refused elsewhere."""

from __future__ import annotations

import random
from dataclasses import replace

from engine_world import EngineWorld
from hypercall_guest import DATA, INFO, TABLE, Guest, endpoint

from leulo.hypercalls import abi
from leulo.stack import Stack, StackConfig
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace
from leulo.udp.socket import UdpSocket

Op, Errno, Feature, Status = abi.Op, abi.Errno, abi.Feature, abi.Status
SIX = int(abi.Family.INET6)
FEATURES = abi.HELLO.offset("features")


def six(n: int) -> bytes:
    return b"\xfd" + bytes(14) + bytes((n,))


def stack(n: int) -> Stack:
    config = StackConfig(
        name=f"s{n}", mac=bytes((2, 0, 0, 0, 0, n)), address=bytes((10, 0, 2, n)),
        prefix_length=24, checksum=True, has_ipv6=True, address6=six(n),
    )  # fmt: skip
    return Stack(config, random.Random(n).getrandbits, Trace())


def make_world() -> EngineWorld:
    world = EngineWorld()
    world.stack, world.other = stack(1), stack(2)
    world.guest = Guest(world.stack, clock=world.clock, ring_entries=0)
    world.guest.hypercalls.session.info = replace(INFO, has_ipv6=True)
    world.sleep(2_000_000_000)
    world.guest.memory.write(0x3000 + FEATURES, bytes(8))
    world.guest.hello()
    return world


def peer_of(world: EngineWorld, address: int) -> bytes:
    """The peer's endpoint in the descriptor at ``address``."""
    at = address + abi.PEER_OFFSET
    return world.guest.memory.read(at, abi.ENDPOINT_BYTES)


def test_offered_only_where_there_is_some() -> None:
    guest = Guest()
    assert guest.call(Op.SOCKET, args=(SIX, 1, 0)).result == -Errno.EAFNOSUPPORT
    world = make_world()
    features = int.from_bytes(world.guest.memory.read(0x3000 + FEATURES, 8), "little")
    assert features == abi.OFFERED | Feature.IPV6
    assert world.guest.call(Op.SOCKET, args=(SIX, 1, 0)).result == 0


def test_stream_and_datagram_with_addresses_of_sixteen_bytes() -> None:
    world = make_world()
    call = world.guest.call
    listener = world.other.socket(SIX, 1)
    box = world.other.socket(SIX, 2)
    assert isinstance(listener, TcpSocket) and isinstance(box, UdpSocket)
    assert listener.bind(bytes(16), 80) == listener.listen(5) == box.bind(bytes(16), 53) == 0
    handle = call(Op.SOCKET, args=(SIX, 1, 0)).handle
    to = endpoint(six(2), 80, SIX, scope=1)
    assert call(Op.CONNECT, handle, peer=to).result == -Errno.EINPROGRESS
    world.settle()
    server = listener.accept()
    assert isinstance(server, TcpSocket)
    world.guest.memory.write(DATA, b"hello")
    assert call(Op.SEND, handle, args=(DATA, 5)).result == 5
    world.settle()
    assert server.recv(10) == b"hello"
    assert call(Op.GETPEERNAME, handle).status == Status.OK
    assert peer_of(world, 0x1000) == endpoint(six(2), 80, SIX)
    datagram = call(Op.SOCKET, args=(SIX, 2, 0)).handle
    sent = call(Op.SENDTO, datagram, args=(DATA, 5), peer=endpoint(six(2), 53, SIX))
    assert sent.result == 5
    world.settle()
    got = box.recvfrom(10)
    assert not isinstance(got, int) and got[1][0] == six(1)
    box.sendto(b"back", *got[1])
    world.settle()
    assert call(Op.RECVFROM, datagram, args=(DATA, 10)).result == 4
    assert peer_of(world, 0x1000) == endpoint(six(2), 53, SIX)


def test_another_scope_is_reserved_and_v6only_is_an_option() -> None:
    world = make_world()
    call = world.guest.call
    handle = call(Op.SOCKET, args=(SIX, 1, 0)).handle
    strange = endpoint(six(2), 80, SIX, scope=2)
    assert call(Op.CONNECT, handle, peer=strange).status == Status.RESERVED
    world.guest.memory.write(TABLE, b"\1\0\0\0")
    level, name = int(abi.Level.IPPROTO_IPV6), int(abi.Ipv6Option.IPV6_V6ONLY)
    assert call(Op.SETSOCKOPT, handle, args=(level, name, TABLE, 4)).result == 0
    world.guest.memory.write(TABLE, bytes(4))
    assert call(Op.GETSOCKOPT, handle, args=(level, name, TABLE, 4)).result == 4
    assert world.guest.memory.read(TABLE, 4) == b"\1\0\0\0"
