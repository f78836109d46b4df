"""A provider of sockets, as the conformance scenarios see one: whoever carries the calls out.

Calls never wait: they answer a count, a number of a socket, bytes, or a negative errno (Linux
i386 values). ``until`` lets the world go on until something is so, and fails if it never is.
Addresses are ports: the provider knows where its peer is. A new provider (the guest's socket
layer, TCP in the guest) implements this and is added to `PROVIDERS` of the test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

EAGAIN, EPIPE, ENOTCONN, EINPROGRESS, EADDRINUSE = 11, 32, 107, 115, 98
ECONNREFUSED, ECONNRESET, ENOPROTOOPT, EISCONN, EALREADY, EINVAL = 111, 104, 92, 106, 114, 22
ETIMEDOUT, EDESTADDRREQ, EMSGSIZE, EOPNOTSUPP = 110, 89, 90, 95
IN, OUT, ERR, HUP, RDHUP = 1, 4, 8, 16, 0x2000


class Peer(Protocol):
    """One socket at the other end of the wire, which behaves as it is told."""

    def accept(self) -> Peer | None: ...

    def send(self, data: bytes) -> int: ...

    def recv(self, limit: int) -> bytes | int: ...

    def close(self) -> None: ...

    def reset(self) -> None: ...


class Box(Protocol):
    """A socket of datagrams at the other end, bound to a port."""

    def send(self, data: bytes, port: int) -> None:
        """To that port of the provider."""

    def receive(self) -> tuple[bytes, int] | int:
        """The next one and the port it comes from, or a negative errno."""


class Provider(Protocol):
    """Sockets under test, and a peer for them."""

    name: str

    def socket(self) -> int: ...

    def bind(self, number: int, port: int) -> int: ...

    def port_of(self, number: int) -> int: ...

    def peer_port_of(self, number: int) -> int: ...

    def listen(self, number: int, backlog: int) -> int: ...

    def connect(self, number: int, port: int) -> int: ...

    def accept(self, number: int) -> int: ...

    def send(self, number: int, data: bytes) -> int: ...

    def recv(self, number: int, limit: int) -> bytes | int: ...

    def datagram(self) -> int:
        """A socket of UDP."""

    def sendto(self, number: int, data: bytes, port: int) -> int: ...

    def recvfrom(self, number: int, limit: int) -> tuple[bytes, int] | int:
        """The bytes and the port they come from."""

    def shutdown(self, number: int, how: int) -> int: ...

    def close(self, number: int) -> int: ...

    def poll(self, number: int) -> int: ...

    def option(self, number: int, level: int, name: int) -> int: ...

    def set_option(self, number: int, level: int, name: int, value: int) -> int: ...

    def linger_none(self, number: int) -> None: ...

    def peer_listens(self, port: int) -> Peer: ...

    def peer_connects(self, port: int) -> Peer: ...

    def peer_box(self, port: int) -> Box: ...

    def silent_port(self) -> int:
        """A port of the peer where a connect is never answered, 0 if there can be none."""

    def free_port(self) -> int:
        """A port that nobody listens on, here or at the peer."""

    def until(self, is_so: Callable[[], bool]) -> None: ...

    def rest(self) -> None:
        """Everything that was going on is over; what takes time has taken it."""

    def open_connections(self) -> int:
        """Connections the provider's TCP still knows, -1 if it cannot tell."""

    def close_all(self) -> None: ...
