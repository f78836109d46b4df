"""A guest in Python: writes descriptors into RAM, reads answers and the event ring.

Beside it, a small engine whose sockets do what a test tells them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from leulo.clock import Clock
from leulo.hypercalls import Hypercalls, Limits, MachineInfo, abi
from leulo.irq import Line
from leulo.memory import Memory
from leulo.tcp.account import Lent
from leulo.trace import Trace

CALL = 0x1000
DATA = 0x9000
TABLE = 0x20000
RING = 0x30000
HELLO = 0x3000
ADDRESS = bytes([10, 0, 2, 15])
GATEWAY = bytes([10, 0, 2, 2])
DNS = bytes([10, 0, 2, 3])
MAC = bytes.fromhex("525400123456")
INFO = MachineInfo(ADDRESS, 24, GATEWAY, DNS, MAC, 1500, 1_000_000_000, 0)
IN, OUT, ERR, HUP, RDHUP, NVAL = 1, 4, 8, 16, 0x2000, 0x20
EAGAIN = 11


class HandClock(Clock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time_ns = 0

    def now_ns(self) -> int:
        return self.time_ns


@dataclass
class Answer:
    handle: int
    result: int
    status: int
    flags: int
    events: int
    cookie: int
    args: tuple[int, int, int, int]
    local: tuple[int, int, bytes]
    peer: tuple[int, int, bytes]


def endpoint(address: bytes, port: int, family: int = 2, scope: int = 0) -> bytes:
    return abi.ENDPOINT_STRUCT.pack(family, port, scope, address)


class FakeSocket:
    """A socket whose readiness and buffers a test sets."""

    def __init__(self, stack: FakeStack) -> None:
        self.stack = stack
        self.serial = len(stack.made)
        self.wants_every_byte = False
        self.is_datagram = False
        self.owner: object | None = None
        self.events = 0
        self.local: tuple[bytes, int] | None = None
        self.peer: tuple[bytes, int] | None = None
        self.incoming = bytearray()
        self.sent = bytearray()
        self.more: list[bool] = []
        self.lent: list[Lent] = []
        self.room = 1 << 20
        self.rcvbuf = 65536
        self.queue: list[FakeSocket] = []
        self.options: dict[tuple[int, int], bytes] = {}
        self.is_closed = False
        self.is_ended = False

    @property
    def ends(self) -> tuple[bytes, int, bytes, int]:
        return (*(self.local or (b"", 0)), *(self.peer or (b"", 0)))

    def turn(self, events: int) -> None:
        """The socket's readiness changes; the stack reports it."""
        self.events = events
        if self.owner is not None and self not in self.stack.ready:
            self.stack.ready.append(self)

    def bind(self, address: bytes, port: int) -> int:
        self.local = (address, port or 49152)
        return 0

    def listen(self, backlog: int) -> int:
        if self.local is None:
            self.local = (bytes(4), 49153)
        return 0

    def connect(self, address: bytes, port: int) -> int:
        self.local, self.peer = (ADDRESS, 50000), (address, port)
        return -int(abi.Errno.EINPROGRESS)

    def connect_with(self, data: bytes, address: bytes, port: int) -> int:
        return self.connect(address, port) or self.send(data)

    def accept(self) -> Any:
        if not self.queue:
            return -EAGAIN
        socket = self.queue.pop(0)
        if not self.queue:
            self.events &= ~IN
        return socket

    def send_room(self) -> int:
        return self.room

    def send(self, data: bytes, more: bool = False) -> int:
        assert isinstance(data, bytes) and data
        if self.room <= 0:
            return self.room or -EAGAIN
        data = data[: self.room]
        self.sent += data
        self.more.append(more)
        return len(data)

    def send_urgent(self, data: bytes) -> int:
        return self.send(data[: self.room]) if data and self.room else -EAGAIN

    def recv_urgent(self, flags: int = 0) -> bytes | int:
        return -int(abi.Errno.EINVAL)

    def send_lent(self, views: list[memoryview], lent: Lent, more: bool = False) -> int:
        if not self.room:
            return -EAGAIN
        lent.in_flight += 1
        self.lent.append(lent)
        for view in views:
            self.sent += view
        return sum(len(view) for view in views)

    def recv_into(self, view: memoryview, flags: int = 0) -> int:
        if not self.incoming:
            return 0 if self.is_ended else -EAGAIN
        taken = min(len(view), len(self.incoming))
        view[:taken] = self.incoming[:taken]
        if not flags & 2:
            del self.incoming[:taken]
            if not self.incoming and not self.is_ended:
                self.events &= ~IN
        return taken

    def shutdown(self, how: int) -> int:
        return 0

    def close(self) -> None:
        self.is_closed = True
        self.give_back()

    def give_back(self) -> None:
        """Everything lent has been acknowledged."""
        while self.lent:
            self.lent.pop().give_back()

    def getsockopt(self, level: int, name: int) -> bytes | int:
        if (level, name) == (1, 8):
            return self.rcvbuf.to_bytes(4, "little")
        return self.options.get((level, name), -int(abi.Errno.ENOPROTOOPT))

    def setsockopt(self, level: int, name: int, value: bytes) -> int:
        self.options[level, name] = value
        return 0


class FakeStack:
    def __init__(self) -> None:
        self.ready: list[FakeSocket] = []
        self.made: list[FakeSocket] = []

    def socket(self, family: int, kind: int, protocol: int = 0) -> Any:
        if family != 2:
            return -int(abi.Errno.EAFNOSUPPORT)
        socket = FakeSocket(self)
        self.made.append(socket)
        return socket

    def recall_lent(self) -> None:
        for socket in self.made:
            socket.give_back()

    def lent_of(self, number: int) -> Lent | None:
        return None

    def take_ready(self) -> Sequence[FakeSocket]:
        ready, self.ready = self.ready, []
        return ready

    def socket_of(self, serial: int) -> FakeSocket | None:
        return self.made[serial] if serial < len(self.made) else None


class Guest:
    """RAM, hypercalls and a stack (the small one unless given); counts interrupts."""

    def __init__(
        self,
        stack: Any = None,
        *,
        limits: Limits | None = None,
        ring_entries: int = 8,
        hello: bool = True,
        memory_bytes: int = 1 << 20,
        clock: Clock | None = None,
    ) -> None:
        self.memory = Memory(memory_bytes)
        self.stack: Any = FakeStack() if stack is None else stack
        self.clock = clock or HandClock()
        self.trace = Trace()
        self.interrupts = 0
        self.tail = 0
        self.entries = ring_entries
        self.hypercalls = Hypercalls(
            self.stack, self.memory, Line(self._line), self.clock, self.trace,
            limits or Limits(), INFO,
        )  # fmt: skip
        if hello:
            self.hello()
            if ring_entries:
                assert self.call(abi.Op.EVENTS_SETUP, args=(RING, ring_entries)).status == 0

    def _line(self, level: bool) -> None:
        self.interrupts += level

    def hello(self, version: int = abi.VERSION, size: int = abi.HELLO.size) -> Answer:
        self.memory.write(HELLO, size.to_bytes(4, "little") + version.to_bytes(4, "little"))
        return self.call(abi.Op.HELLO, args=(HELLO,))

    def write(
        self, op: int, handle: int = 0, *, flags: int = 0, events: int = 0, cookie: int = 0,
        args: Sequence[int] = (), local: bytes = b"", peer: bytes = b"", size: int = 128,
        reserved: tuple[int, int] = (0, 0), at: int = CALL,
    ) -> None:  # fmt: skip
        padded = [*args, 0, 0, 0, 0][:4]
        abi.CALL_FETCH.pack_into(
            self.memory.view, at, op | size << 16, handle, flags, events, cookie, *padded, *reserved
        )
        self.memory.write(at + abi.LOCAL_OFFSET, local.ljust(24, b"\0"))
        self.memory.write(at + abi.PEER_OFFSET, peer.ljust(24, b"\0"))

    def read(self, at: int = CALL) -> Answer:
        view = self.memory.view
        handle, result, status, flags, events = abi.CALL_ANSWER.unpack_from(view, at + 4)
        cookie = int.from_bytes(view[at + 24 : at + 32], "little")
        ends = []
        for offset in (abi.LOCAL_OFFSET, abi.PEER_OFFSET):
            family, port, _, address = abi.ENDPOINT_STRUCT.unpack_from(view, at + offset)
            ends.append((family, port, address[:4]))
        args = abi.ARGS_STRUCT.unpack_from(view, at + abi.ARGS_OFFSET)
        return Answer(handle, result, status, flags, events, cookie, args, ends[0], ends[1])

    def call(self, op: int, handle: int = 0, **fields: Any) -> Answer:
        self.write(op, handle, **fields)
        self.hypercalls.call(fields.get("at", CALL))
        return self.read(fields.get("at", CALL))

    # ---------------------------------------------------------------- sockets

    def socket(self) -> int:
        answer = self.call(abi.Op.SOCKET, args=(2, 1, 0))
        assert (answer.status, answer.result) == (0, 0)
        return answer.handle

    def send(self, handle: int, data: bytes, flags: int = 0) -> Answer:
        self.memory.write(DATA, data)
        return self.call(abi.Op.SEND, handle, flags=flags, args=(DATA, len(data)))

    def recv(self, handle: int, length: int, flags: int = 0) -> bytes | int:
        answer = self.call(abi.Op.RECV, handle, flags=flags, args=(DATA, length))
        assert answer.status == 0
        return answer.result if answer.result < 0 else self.memory.read(DATA, answer.result)

    def listen(self, port: int, backlog: int = 128) -> int:
        handle = self.socket()
        assert self.call(abi.Op.BIND, handle, local=endpoint(bytes(4), port)).result == 0
        assert self.call(abi.Op.LISTEN, handle, args=(backlog,)).result == 0
        return handle

    # ---------------------------------------------------------------- the ring

    def ring_word(self, name: str) -> int:
        at = RING + abi.RING.offset(name)
        return int.from_bytes(self.memory.read(at, 4), "little")

    def set_ring_word(self, name: str, value: int) -> None:
        self.memory.write(RING + abi.RING.offset(name), value.to_bytes(4, "little"))

    def arm(self) -> None:
        self.set_ring_word("armed", 1)

    def drain(self, limit: int = 1 << 30) -> list[tuple[int, int, int]]:
        """(cookie, handle, mask) of up to ``limit`` unread entries."""
        found: list[tuple[int, int, int]] = []
        if not self.entries:
            return found
        head = self.ring_word("head")
        while self.tail != head and len(found) < limit:
            at = RING + abi.RING.size + (self.tail & (self.entries - 1)) * abi.EVENT.size
            found.append(abi.EVENT_STRUCT.unpack_from(self.memory.view, at))
            self.tail = (self.tail + 1) & 0xFFFFFFFF
        self.set_ring_word("tail", self.tail)
        return found

    def record(self, glob: str) -> list[Any]:
        """Every event of that name from now on."""
        events: list[Any] = []
        keep: Callable[[Any], None] = events.append
        self.trace.subscribe(glob, keep)
        return events
