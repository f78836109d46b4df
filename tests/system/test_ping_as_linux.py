"""Ping sockets beside the host kernel's own: the same calls on both, over each one's loopback.

In a namespace of their own, where ``net.ipv4.ping_group_range`` may allow them to everybody.
"""

from __future__ import annotations

import random
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from netns import Namespace

from leulo.stack import Stack, StackConfig
from leulo.trace import Trace
from leulo.udp.socket import UdpSocket

pytestmark = pytest.mark.netns

INET, INET6, DGRAM = 2, 10, 2
PROTOCOLS = {INET: 1, INET6: 58}
LOOPBACK = {INET: "127.0.0.1", INET6: "::1"}
NOBODY = {INET: "192.0.2.1", INET6: "2001:db8::1"}
REQUEST = {INET: b"\x08\0", INET6: b"\x80\0"}


class Linux:
    """The host's, as results: a count, bytes, or a negative errno."""

    def _try(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except OSError as error:
            return -(error.errno or 0)

    def open(self, family: int, kind: int, protocol: int) -> Any:
        made = self._try(lambda: socket.socket(family, kind, protocol))
        if isinstance(made, socket.socket):
            made.settimeout(2)
        return made

    def bind(self, of: socket.socket, address: str, port: int) -> Any:
        return self._try(lambda: of.bind((address, port))) or 0

    def connect(self, of: socket.socket, address: str, port: int) -> Any:
        return self._try(lambda: of.connect((address, port))) or 0

    def sendto(self, of: socket.socket, data: bytes, address: str, port: int) -> Any:
        return self._try(lambda: of.sendto(data, (address, port)))

    def send(self, of: socket.socket, data: bytes) -> Any:
        return self._try(lambda: of.send(data))

    def name(self, of: socket.socket, is_peer: bool = False) -> Any:
        found = self._try(of.getpeername if is_peer else of.getsockname)
        return found if isinstance(found, int) else found[:2]

    def receive(self, of: socket.socket, limit: int = 70_000) -> Any:
        if not select.select([of], [], [], 0.3)[0]:
            return None
        data, sender = of.recvfrom(limit)
        return data, sender[:2]

    def option(self, of: socket.socket, name: int) -> Any:
        return self._try(lambda: of.getsockopt(1, name))

    def close(self, of: socket.socket) -> None:
        of.close()


class Ours:
    """A stack that has nobody but itself."""

    def __init__(self) -> None:
        config = StackConfig(
            name="ours", mac=bytes((2, 0, 0, 0, 0, 1)), address=bytes((10, 0, 0, 1)),
            prefix_length=24, has_ipv6=True,
        )  # fmt: skip
        self.stack = Stack(config, random.Random(1).getrandbits, Trace())

    def _bytes(self, address: str) -> bytes:
        return socket.inet_pton(INET6 if ":" in address else INET, address)

    def _shown(self, name: tuple[bytes, int] | None) -> Any:
        if name is None:
            return None
        return socket.inet_ntop(INET if len(name[0]) == 4 else INET6, name[0]), name[1]

    def open(self, family: int, kind: int, protocol: int) -> Any:
        return self.stack.socket(family, kind, protocol)

    def bind(self, of: UdpSocket, address: str, port: int) -> Any:
        return of.bind(self._bytes(address), port)

    def connect(self, of: UdpSocket, address: str, port: int) -> Any:
        return of.connect(self._bytes(address), port)

    def sendto(self, of: UdpSocket, data: bytes, address: str, port: int) -> Any:
        return of.sendto(data, self._bytes(address), port)

    def send(self, of: UdpSocket, data: bytes) -> Any:
        return of.send(data)

    def name(self, of: UdpSocket, is_peer: bool = False) -> Any:
        return self._shown(of.peer if is_peer else of.local)

    def receive(self, of: UdpSocket, limit: int = 70_000) -> Any:
        self.stack.drain(0)
        got = of.recvfrom(limit)
        return None if isinstance(got, int) else (got[0], self._shown(got[1]))

    def option(self, of: UdpSocket, name: int) -> Any:
        got = of.getsockopt(1, name)
        return got if isinstance(got, int) else int.from_bytes(got, "little")

    def close(self, of: UdpSocket) -> None:
        of.close()


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with Namespace("pings") as made:
        made.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
        yield made


def talk(api: Linux | Ours, family: int) -> Iterator[tuple[str, Any]]:
    """The calls, each with its name and what came of it."""
    here, request = LOOPBACK[family], REQUEST[family]
    protocol, other = PROTOCOLS[family], PROTOCOLS[INET + INET6 - family]
    yield "stream", api.open(family, 1, protocol)
    yield "of the other version", api.open(family, DGRAM, other)
    of = api.open(family, DGRAM, protocol)
    yield "options", [api.option(of, name) for name in (2, 3, 30, 38, 39, 4)]
    yield "send unconnected", api.send(of, request + bytes(6))
    for what, data in (
        ("nothing", b""),
        ("too short", request + bytes(5)),
        ("a reply", REQUEST[family][:0] + (b"\0\0" if family == INET else b"\x81\0") + bytes(6)),
        ("a code", request[:1] + b"\1" + bytes(6)),
        ("another type", b"\x0d\0" + bytes(18)),
        ("the other version's", REQUEST[INET + INET6 - family] + bytes(6)),
        ("too long", request + bytes(65_600)),
    ):
        yield what, api.sendto(of, data, here, 0)
    yield "bind behind a failed send", api.bind(of, here, 4321)
    yield "it has an identifier", (api.name(of)[0], api.name(of)[1] > 0)
    api.close(of)
    of = api.open(family, DGRAM, protocol)
    yield "bind", api.bind(of, here, 4321)
    yield "name", api.name(of)
    yield "bind again", api.bind(of, here, 4322)
    second = api.open(family, DGRAM, protocol)
    yield "bind to the same", api.bind(second, here, 4321)
    yield "which is served, then", api.sendto(of, request + bytes(6), here, 0)
    yield "the last", (api.receive(of), api.receive(second) is not None)
    api.close(second)
    second = api.open(family, DGRAM, protocol)
    yield "bind to another address", api.bind(second, NOBODY[family], 4323)
    yield "sendto", api.sendto(of, request + b"??\xde\xad\0\7hello", here, 99)
    data, sender = api.receive(of)
    yield "echo", (data[:2], data[4:], sender)
    yield "cut", api.sendto(of, request + b"\0\0\0\0\0\1" + bytes(range(40)), here, 0)
    data, _ = api.receive(of, 20)
    yield "cut echo", data[6:]
    yield "and the rest", api.receive(of)
    yield "connect", api.connect(of, here, 77)
    yield "send", api.send(of, request + b"\0\0\0\0\0\2")
    yield "its echo", api.receive(of)[0][4:]
    yield "to somebody else", api.connect(second, here, 0)
    yield "an identifier of its own", api.name(second)[1] not in (0, 4321)
    api.close(of)
    third = api.open(family, DGRAM, protocol)
    yield "an identifier that is free again", api.bind(third, here, 4321)
    for each in (second, third):
        api.close(each)


@pytest.mark.parametrize("family", [INET, INET6])
def test_every_call_answers_as_linux_does(namespace: Namespace, family: int) -> None:
    theirs = namespace.inside(lambda: dict(talk(Linux(), family)))
    ours = dict(talk(Ours(), family))
    assert ours == theirs
