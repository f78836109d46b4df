"""What sockets answer to setsockopt and getsockopt: Linux's on the loopback, and a guest's.

Both go through the same calls on a new socket, a listener and a connection; a `Judge` is one of
the two. Numbers and layouts are asked of both as raw integers and bytes.
"""

from __future__ import annotations

import socket
from typing import Protocol

from engine_world import OTHER, EngineWorld
from hypercall_guest import ADDRESS, TABLE, endpoint

from leulo.hypercalls import abi
from leulo.tcp.socket import TcpSocket

Op = abi.Op
STATES = ("new", "listening", "connected")


class Judge(Protocol):
    """A machine with a socket in each state. Results are bytes, 0 or a negative errno."""

    def set(self, state: str, level: int, name: int, value: bytes) -> int: ...

    def get(self, state: str, level: int, name: int, length: int) -> bytes | int: ...


class LinuxSockets:
    """The host's kernel, over its loopback."""

    def __init__(self) -> None:
        self.new = socket.socket()
        self.listening = socket.socket()
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen(8)
        self.connected = socket.create_connection(self.listening.getsockname())
        self.other = self.listening.accept()[0]

    def close(self) -> None:
        for each in (self.new, self.connected, self.other, self.listening):
            each.close()

    def set(self, state: str, level: int, name: int, value: bytes) -> int:
        try:
            getattr(self, state).setsockopt(level, name, value)
        except OSError as error:
            return -(error.errno or 0)
        return 0

    def get(self, state: str, level: int, name: int, length: int) -> bytes | int:
        try:
            got: bytes = getattr(self, state).getsockopt(level, name, length)
        except OSError as error:
            return -(error.errno or 0)
        return got


class GuestSockets:
    """A guest's, by hypercall."""

    def __init__(self) -> None:
        self.world = EngineWorld()
        guest = self.world.guest
        client = self.world.other_socket()
        listener = guest.listen(80)
        assert client.connect(ADDRESS, 80) < 0
        self.world.settle()
        assert guest.call(Op.ACCEPT, listener).result == 0
        connected, other = self.world.connected()
        assert isinstance(other, TcpSocket)
        self.handles = {"new": guest.socket(), "listening": listener, "connected": connected}
        self.other = other

    def close(self) -> None:
        pass

    def set(self, state: str, level: int, name: int, value: bytes) -> int:
        guest = self.world.guest
        guest.memory.write(TABLE, value)
        answer = guest.call(
            Op.SETSOCKOPT, self.handles[state], args=(level, name, TABLE, len(value))
        )
        assert answer.status == 0
        return answer.result

    def get(self, state: str, level: int, name: int, length: int) -> bytes | int:
        guest = self.world.guest
        answer = guest.call(Op.GETSOCKOPT, self.handles[state], args=(level, name, TABLE, length))
        assert answer.status == 0
        return answer.result if answer.result < 0 else guest.memory.read(TABLE, answer.result)

    def connect(self, port: int) -> int:
        handle = self.world.guest.socket()
        self.world.guest.call(Op.CONNECT, handle, peer=endpoint(OTHER, port))
        return handle
