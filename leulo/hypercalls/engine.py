"""What the hypercalls need of the TCP engine, and nothing more.

`leulo.stack.Stack` and its sockets fit; so does the stub of ``leulo.bench.hypercalls``. Addresses
are ``bytes`` of 4 or 16, calls return a count or a negative errno (Linux i386 values), never
block and never raise for wrong use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from leulo.tcp.account import Lent

Address = tuple[bytes, int]


class EngineSocket(Protocol):
    """One socket. ``events`` is its readiness in the bits of `abi.Poll`, ``serial`` names it in
    saved states. With ``wants_every_byte`` it is ready again at each arrival of data, not only
    when ``events`` changes. Only one that ``is_datagram`` has ``sendto`` and ``recvfrom``.
    """

    is_datagram: bool
    owner: object | None
    wants_every_byte: bool
    serial: int

    @property
    def events(self) -> int: ...

    @property
    def local(self) -> Address | None: ...

    @property
    def peer(self) -> Address | None: ...

    def bind(self, address: bytes, port: int) -> int: ...

    def listen(self, backlog: int) -> int: ...

    def connect(self, address: bytes, port: int) -> int: ...

    def connect_with(self, data: bytes, address: bytes, port: int) -> int: ...

    def accept(self) -> Any: ...  # another EngineSocket, or -EAGAIN

    def send_room(self) -> int: ...

    def send(self, data: bytes, more: bool = False) -> int: ...

    def send_urgent(self, data: bytes) -> int: ...

    def recv_urgent(self, flags: int = 0) -> bytes | int: ...

    def send_lent(self, views: list[memoryview], lent: Lent, more: bool = False) -> int: ...

    def sendto(self, data: bytes, address: bytes, port: int) -> int: ...

    def recvfrom(self, limit: int, flags: int = 0) -> tuple[bytes, Address, int] | int: ...

    def recv_into(self, view: memoryview, flags: int = 0) -> int: ...

    def shutdown(self, how: int) -> int: ...

    def close(self) -> Any: ...

    def getsockopt(self, level: int, name: int) -> bytes | int: ...

    def setsockopt(self, level: int, name: int, value: bytes) -> int: ...


class Engine(Protocol):
    """One machine's stack."""

    def socket(self, family: int, kind: int, protocol: int = 0) -> Any: ...

    def recall_lent(self) -> None: ...

    def lent_of(self, number: int) -> Lent | None: ...

    def take_ready(self) -> Sequence[Any]: ...

    def socket_of(self, serial: int) -> Any: ...
