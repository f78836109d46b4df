"""The provider of raw hypercalls: descriptors in guest RAM, the engine, and a stack as peer."""

from __future__ import annotations

from collections.abc import Callable

from engine_world import OTHER, EngineWorld
from hypercall_guest import ADDRESS, DATA, endpoint

from conformance.provider import Box, Peer
from leulo.hypercalls import abi
from leulo.stack import Stack
from leulo.tcp.socket import TcpSocket
from leulo.udp.socket import UdpSocket
from leulo.units import NS_PER_MS, NS_PER_S

Op = abi.Op
LINGER_NONE = b"\1\0\0\0\0\0\0\0"


class StackPeer:
    """A socket of the other stack."""

    def __init__(self, socket: TcpSocket) -> None:
        self.socket = socket

    def accept(self) -> Peer | None:
        got = self.socket.accept()
        return StackPeer(got) if isinstance(got, TcpSocket) else None

    def send(self, data: bytes) -> int:
        return self.socket.send(data)

    def recv(self, limit: int) -> bytes | int:
        return self.socket.recv(limit)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(1, 13, LINGER_NONE)
        self.socket.close()


class StackBox:
    """A datagram socket of the other stack."""

    def __init__(self, stack: Stack, port: int) -> None:
        socket = stack.socket(2, 2)
        assert isinstance(socket, UdpSocket)
        assert socket.bind(bytes(4), port) == 0
        self.socket = socket

    def send(self, data: bytes, port: int) -> None:
        assert self.socket.sendto(data, ADDRESS, port) == len(data)

    def receive(self) -> tuple[bytes, int] | int:
        got = self.socket.recvfrom(70_000)
        return got if isinstance(got, int) else (got[0], got[1][1])


class HypercallProvider:
    """See `Provider`. A socket's number is its handle."""

    name = "hypercalls"

    def __init__(self) -> None:
        self.world = EngineWorld()
        self.guest = self.world.guest
        self.next_port = 20_000

    def socket(self) -> int:
        return self.guest.socket()

    def bind(self, number: int, port: int) -> int:
        return self.guest.call(Op.BIND, number, local=endpoint(bytes(4), port)).result

    def port_of(self, number: int) -> int:
        return self.guest.call(Op.GETSOCKNAME, number).local[1]

    def peer_port_of(self, number: int) -> int:
        answer = self.guest.call(Op.GETPEERNAME, number)
        return answer.result or answer.peer[1]

    def listen(self, number: int, backlog: int) -> int:
        return self.guest.call(Op.LISTEN, number, args=(backlog,)).result

    def connect(self, number: int, port: int) -> int:
        where = bytes((10, 0, 2, 200)) if port == self.silent_port() else OTHER
        return self.guest.call(Op.CONNECT, number, peer=endpoint(where, port)).result

    def accept(self, number: int) -> int:
        answer = self.guest.call(Op.ACCEPT, number)
        return answer.result or answer.handle

    def send(self, number: int, data: bytes) -> int:
        return self.guest.send(number, data).result

    def recv(self, number: int, limit: int) -> bytes | int:
        return self.guest.recv(number, limit)

    def datagram(self) -> int:
        answer = self.guest.call(Op.SOCKET, args=(2, 2, 0))
        return answer.result or answer.handle

    def sendto(self, number: int, data: bytes, port: int) -> int:
        self.guest.memory.write(DATA, data)
        peer = endpoint(OTHER, port)
        return self.guest.call(Op.SENDTO, number, args=(DATA, len(data)), peer=peer).result

    def recvfrom(self, number: int, limit: int) -> tuple[bytes, int] | int:
        answer = self.guest.call(Op.RECVFROM, number, args=(DATA, limit))
        if answer.result < 0:
            return answer.result
        return self.guest.memory.read(DATA, answer.result), answer.peer[1]

    def shutdown(self, number: int, how: int) -> int:
        return self.guest.call(Op.SHUTDOWN, number, args=(how,)).result

    def close(self, number: int) -> int:
        return self.guest.call(Op.CLOSE, number).result

    def poll(self, number: int) -> int:
        return self.guest.call(Op.GETSOCKNAME, number).events

    def option(self, number: int, level: int, name: int) -> int:
        return self.world.option(number, level, name)

    def set_option(self, number: int, level: int, name: int, value: int) -> int:
        return self.world.set_option(number, level, name, value)

    def linger_none(self, number: int) -> None:
        self.guest.memory.write(DATA, LINGER_NONE)
        assert self.guest.call(Op.SETSOCKOPT, number, args=(1, 13, DATA, 8)).result == 0

    def peer_listens(self, port: int) -> Peer:
        return StackPeer(self.world.other_listener(port))

    def peer_connects(self, port: int) -> Peer:
        socket = self.world.other_socket()
        socket.connect(ADDRESS, port)
        return StackPeer(socket)

    def peer_box(self, port: int) -> Box:
        return StackBox(self.world.other, port)

    def silent_port(self) -> int:
        return 9

    def free_port(self) -> int:
        self.next_port += 1
        return self.next_port

    def until(self, is_so: Callable[[], bool]) -> None:
        self.world.settle()
        for _ in range(2000):
            if is_so():
                return
            self.world.sleep(NS_PER_MS)
        raise AssertionError("it never came to pass")

    def rest(self) -> None:
        self.world.sleep(130 * NS_PER_S)

    def open_connections(self) -> int:
        counters = self.world.stack.counters()
        return counters["tcp_connections"] + counters["tcp_half_open"]

    def close_all(self) -> None:
        self.guest.hypercalls.reset()
