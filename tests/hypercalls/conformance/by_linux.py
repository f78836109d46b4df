"""The judge: the host kernel's own sockets over its loopback, never waiting."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from struct import pack, unpack

from conformance.provider import Box, Peer

_LOOPBACK = "127.0.0.1"
_LOOKS = 5_000  # of a millisecond each


class LinuxPeer:
    """A socket of the host that plays the other end."""

    def __init__(self, of: socket.socket) -> None:
        self.socket = of
        self.socket.setblocking(False)
        self.accepted: list[LinuxPeer] = []

    def accept(self) -> Peer | None:
        try:
            self.accepted.append(LinuxPeer(self.socket.accept()[0]))
        except BlockingIOError:
            return None
        return self.accepted[-1]

    def send(self, data: bytes) -> int:
        try:
            return self.socket.send(data, socket.MSG_NOSIGNAL)
        except OSError as error:
            return -(error.errno or 0)

    def recv(self, limit: int) -> bytes | int:
        try:
            return self.socket.recv(limit)
        except OSError as error:
            return -(error.errno or 0)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("<ii", 1, 0))
        self.socket.close()


class LinuxBox:
    """A datagram socket of the host, at the other end."""

    def __init__(self, of: socket.socket) -> None:
        self.socket = of

    def send(self, data: bytes, port: int) -> None:
        assert self.socket.sendto(data, (_LOOPBACK, port)) == len(data)

    def receive(self) -> tuple[bytes, int] | int:
        try:
            data, sender = self.socket.recvfrom(70_000)
        except OSError as error:
            return -(error.errno or 0)
        return data, sender[1]


class LinuxProvider:
    """See `Provider`. A socket's number is its file descriptor."""

    name = "linux"

    def __init__(self) -> None:
        self.open: dict[int, socket.socket] = {}
        self.peers: list[LinuxPeer] = []

    def _number(self, of: socket.socket) -> int:
        of.setblocking(False)
        self.open[of.fileno()] = of
        return of.fileno()

    def _result(self, call: Callable[[], object]) -> int:
        try:
            call()
        except OSError as error:
            return -(error.errno or 0)
        return 0

    def socket(self) -> int:
        return self._number(socket.socket())

    def bind(self, number: int, port: int) -> int:
        return self._result(lambda: self.open[number].bind((_LOOPBACK, port)))

    def port_of(self, number: int) -> int:
        port: int = self.open[number].getsockname()[1]
        return port

    def peer_port_of(self, number: int) -> int:
        try:
            port: int = self.open[number].getpeername()[1]
        except OSError as error:
            return -(error.errno or 0)
        return port

    def listen(self, number: int, backlog: int) -> int:
        return self._result(lambda: self.open[number].listen(backlog))

    def connect(self, number: int, port: int) -> int:
        return self._result(lambda: self.open[number].connect((_LOOPBACK, port)))

    def accept(self, number: int) -> int:
        try:
            return self._number(self.open[number].accept()[0])
        except OSError as error:
            return -(error.errno or 0)

    def send(self, number: int, data: bytes) -> int:
        return LinuxPeer(self.open[number]).send(data)

    def recv(self, number: int, limit: int) -> bytes | int:
        return LinuxPeer(self.open[number]).recv(limit)

    def datagram(self) -> int:
        return self._number(socket.socket(type=socket.SOCK_DGRAM))

    def sendto(self, number: int, data: bytes, port: int) -> int:
        try:
            return self.open[number].sendto(data, (_LOOPBACK, port))
        except OSError as error:
            return -(error.errno or 0)

    def recvfrom(self, number: int, limit: int) -> tuple[bytes, int] | int:
        try:
            data, sender = self.open[number].recvfrom(limit)
        except OSError as error:
            return -(error.errno or 0)
        return data, sender[1]

    def shutdown(self, number: int, how: int) -> int:
        return self._result(lambda: self.open[number].shutdown(how))

    def close(self, number: int) -> int:
        self.open.pop(number).close()
        return 0

    def poll(self, number: int) -> int:
        poller = select.poll()
        poller.register(number, 0x2015)
        return sum(mask for _, mask in poller.poll(0))

    def option(self, number: int, level: int, name: int) -> int:
        try:
            value: int = unpack("<i", self.open[number].getsockopt(level, name, 4))[0]
        except OSError as error:
            return -(error.errno or 0)
        return value

    def set_option(self, number: int, level: int, name: int, value: int) -> int:
        return self._result(lambda: self.open[number].setsockopt(level, name, value))

    def linger_none(self, number: int) -> None:
        self.open[number].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("<ii", 1, 0))

    def peer_listens(self, port: int) -> Peer:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_LOOPBACK, port))
        listener.listen(128)
        return self._peer(listener)

    def peer_connects(self, port: int) -> Peer:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((_LOOPBACK, port))
        return self._peer(client)

    def _peer(self, of: socket.socket) -> LinuxPeer:
        self.peers.append(LinuxPeer(of))
        return self.peers[-1]

    def peer_box(self, port: int) -> Box:
        of = socket.socket(type=socket.SOCK_DGRAM)
        of.setblocking(False)
        of.bind((_LOOPBACK, port))
        self.peers.append(LinuxPeer(of))
        return LinuxBox(of)

    def silent_port(self) -> int:
        return 0  # its loopback always answers

    def free_port(self) -> int:
        with socket.socket() as probe:
            probe.bind((_LOOPBACK, 0))
            port: int = probe.getsockname()[1]
        return port

    def until(self, is_so: Callable[[], bool]) -> None:
        for _ in range(_LOOKS):
            if is_so():
                return
            select.select([], [], [], 0.001)
        raise AssertionError("it never came to pass")

    def rest(self) -> None:
        pass

    def open_connections(self) -> int:
        return -1

    def close_all(self) -> None:
        for of in self.open.values():
            of.close()
        for peer in self.peers:
            for each in (peer, *peer.accepted):
                each.close()
