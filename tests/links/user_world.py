"""A world for the user gateway: a second stack as the guest, with small servers on it, and
clients with real sockets of the host. All in one thread and one loop, without sleeping.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from leulo.clock import RealClock
from leulo.links.context import LinkContext
from leulo.links.poller import Poller
from leulo.links.user import UserLink, open_user
from leulo.stack import Stack, StackConfig
from leulo.tcp.config import Config
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace

GUEST = bytes((10, 0, 2, 15))
GATEWAY = bytes((10, 0, 2, 2))
LOOPBACK = bytes((127, 0, 0, 1))
IN, OUT, ERR, HUP, RDHUP = 1, 4, 8, 16, 0x2000
EAGAIN = 11
LINGER_NONE = struct.pack("<ii", 1, 0)


def pattern(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


@dataclass
class Port:
    guest_port: int
    host_port: int = 0
    host_address: bytes = LOOPBACK
    protocol: str = "tcp"


class GuestSocket:
    """One connection on the guest: what came, what is to be sent, and how it ended."""

    def __init__(self, tcp: TcpSocket, serve: Callable[[GuestSocket], None]) -> None:
        self.tcp = tcp
        self.serve = serve
        self.received = bytearray()
        self.to_send = b""
        self.sent = 0
        self.has_ended = False
        self.error = 0
        self.is_reading = True
        tcp.owner = self

    def read(self, limit: int = 1 << 20) -> None:
        while not self.has_ended and not self.error:
            data = self.tcp.recv(limit)
            if isinstance(data, int):
                if data != -EAGAIN:
                    self.error = -data
                return
            if not data:
                self.has_ended = True
                return
            self.received += data

    def write(self) -> bool:
        """True when everything has been taken."""
        while self.sent < len(self.to_send):
            taken = self.tcp.send(self.to_send[self.sent : self.sent + 65536])
            if taken <= 0:
                if taken != -EAGAIN:
                    self.error = -taken
                return False
            self.sent += taken
        return True


class Client:
    """A host's socket that sends and receives as far as it can at every `pump`."""

    def __init__(self, port: int, to_send: bytes = b"", *, shuts: bool = True) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))
        self.to_send = memoryview(to_send)
        self.shuts = shuts
        self.received = bytearray()
        self.has_ended = False
        self.has_shut = False
        self.error: OSError | None = None
        self.is_reading = True

    def pump(self) -> None:
        if self.error is not None:
            return
        try:
            while self.to_send:
                self.to_send = self.to_send[self.socket.send(self.to_send) :]
            if self.shuts and not self.has_shut:
                self.socket.shutdown(socket.SHUT_WR)
                self.has_shut = True
        except BlockingIOError:
            pass
        except OSError as error:
            self.error = error
            return
        try:
            while self.is_reading and not self.has_ended:
                data = self.socket.recv(1 << 20)
                self.received += data
                self.has_ended = not data
        except BlockingIOError:
            pass
        except OSError as error:
            self.error = error

    def is_over(self) -> bool:
        return self.has_ended or self.error is not None

    def close(self) -> None:
        self.socket.close()


class World:
    def __init__(
        self, *ports: Port, host_loopback: bool = False, tcp: Config | None = None
    ) -> None:
        self.skipped_ns = 0  # what a test takes for gone by
        self.clock = RealClock(lambda: time.monotonic_ns() + self.skipped_ns)
        self.poller = Poller()
        self.chance = random.Random(5)
        self.trace = Trace()
        self.link: UserLink = open_user(
            LinkContext(
                self.clock, self.poller, self.trace, self.chance.getrandbits, GUEST, 24, GATEWAY,
                bytes((10, 0, 2, 3)), 1500, ports, host_loopback,
            )
        )  # fmt: skip
        self.guest = Stack(
            StackConfig(
                name="guest", mac=b"\x52\x54\0\0\0\1", address=GUEST, prefix_length=24,
                gateway=GATEWAY, mtu=1500, checksum=True, tso_bytes=65535, tcp=tcp or Config(),
            ),
            self.chance.getrandbits,
            self.trace,
        )  # fmt: skip
        self.link.attach(lambda frames: self.guest.input(frames, self.clock.now_ns()))
        self.connections: list[GuestSocket] = []
        self.clients: list[Client] = []
        self.servers: dict[Any, Callable[[GuestSocket], None]] = {}

    @property
    def ports(self) -> list[int]:
        return [published.port for published in self.link.published]

    def serve(self, port: int, server: Callable[[GuestSocket], None]) -> TcpSocket:
        listener = self.guest.socket(2, 1)
        assert isinstance(listener, TcpSocket)
        listener.owner = self
        assert listener.bind(bytes(4), port) == 0
        assert listener.listen(512) == 0
        self.servers[port] = server
        return listener

    def connect(
        self, address: bytes, port: int, server: Callable[[GuestSocket], None]
    ) -> GuestSocket:
        tcp = self.guest.socket(2, 1)
        assert isinstance(tcp, TcpSocket)
        connection = GuestSocket(tcp, server)
        self.connections.append(connection)
        assert tcp.connect(address, port) in (0, -115)
        return connection

    def client(self, port: int, to_send: bytes = b"", *, shuts: bool = True) -> Client:
        client = Client(port, to_send, shuts=shuts)
        self.clients.append(client)
        return client

    def turn(self) -> None:
        self._drain()
        self.poller.wait(0)
        now = self.clock.now_ns()
        due = self.link.next_deadline()
        if due is not None and due <= now:
            self.link.advance(now)
        due = self.guest.next_deadline()
        if due is not None and due <= now:
            self.guest.advance(now)
        for ready in self.guest.take_ready():
            owner = ready.owner
            if owner is self:
                self._accept(ready)
            elif isinstance(owner, GuestSocket):
                owner.serve(owner)
        self._drain()
        for client in self.clients:
            client.pump()

    def until(self, condition: Callable[[], object], seconds: float = 20) -> None:
        """Turn until the condition holds. Fails, with the counters, if it does not."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not in {seconds} s: {self.link.counters()}"
            self.turn()

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.link.close()
        self.poller.close()

    def _accept(self, listener: TcpSocket) -> None:
        assert listener.local is not None
        server = self.servers[listener.local[1]]
        while isinstance(tcp := listener.accept(), TcpSocket):
            connection = GuestSocket(tcp, server)
            self.connections.append(connection)
            server(connection)

    def _drain(self) -> None:
        while self.guest.has_output:
            frames = self.guest.drain(self.clock.now_ns())
            if not frames:
                return
            self.link.transmit(frames, self.clock.now_ns())


def echo(connection: GuestSocket) -> None:
    """Sends back what comes, holding at most 256 KiB; ends when the other side ends."""
    while True:
        if not connection.write():
            return
        connection.to_send, connection.sent = b"", 0
        data = connection.tcp.recv(256 * 1024) if not connection.has_ended else -EAGAIN
        if isinstance(data, int):
            connection.error = 0 if data == -EAGAIN else -data
            return
        if not data:
            connection.has_ended = True
            connection.tcp.close()
            return
        connection.to_send = data


def sink(connection: GuestSocket) -> None:
    """Keeps what comes, as long as it is to read, and then closes."""
    if connection.is_reading:
        connection.read()
    if connection.has_ended or connection.error:
        connection.tcp.close()


def source(data: bytes) -> Callable[[GuestSocket], None]:
    """Sends ``data`` and ends its side; reads until the other side ends, then closes."""

    def serve(connection: GuestSocket) -> None:
        if not connection.to_send:
            connection.to_send = data
        if connection.write() and connection.sent == len(data):
            connection.sent += 1  # once
            connection.tcp.shutdown(1)
        connection.read()
        if connection.has_ended and connection.sent > len(data):
            connection.tcp.close()

    return serve
