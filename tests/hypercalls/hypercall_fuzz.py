"""A hostile guest: random descriptors, half of them mutations of calls that make sense.

`Fuzzer.step` makes one call and checks that it raised nothing and wrote nowhere but where the
descriptor (or the event ring) allows it to: all other RAM is compared with what it was.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from hypercall_guest import ADDRESS, CALL, GATEWAY, Guest, endpoint

from leulo.hypercalls import abi
from leulo.hypercalls.operations import OPERATIONS

Op = abi.Op
RAM = 0x10000
_TRANSFERS = (Op.SEND, Op.RECV, Op.SENDTO, Op.RECVFROM)
_FAMILIES = (2,) * 20 + (0, 10, 99)
_MODES = (0, 0, 0, 0x20000, 0x40000, 0x80000, 0x60000)
_FLAGS_OF = {
    Op.SEND: (0, 0, 0, 0x40, 0x4000, 0x8000, 0x1),
    Op.SENDTO: (0, 0, 0, 0, 0x40, 0x2, 0x20000000, 0x20000000),
    Op.SENDFILE: (0, 0, 0, 0x40, 0x8000, 0x10000),
    Op.RECV: (0, 0, 0, 0x40, 0x1, 0x2, 0x100, 0x102, 0x8000),
    Op.RECVFROM: (0, 0, 0, 0x2, 0x8000),
}
_DEAD = (-9, -32, -95, -104, -107, -111, -113)  # what a stream's end says
_OFTEN = (Op.SOCKET, Op.CONNECT, Op.LISTEN, Op.ACCEPT, Op.SEND, Op.RECV, Op.SENDFILE, Op.SUBSCRIBE)
_ON_STREAMS = (Op.SEND, Op.RECV, Op.SENDFILE, Op.SUBSCRIBE, Op.GETPEERNAME)
RING_AT = 0x8000
PLACES = (0x1000, 0x2000, 0x2008, 0x4000, 0xA000, RAM - 128, RAM - 64)
EDGES = (
    0, 1, 4, 7, 8, 16, 63, 64, 65, 127, 128, 129, 0x1000, RAM - 129, RAM - 128, RAM - 1, RAM,
    RAM + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 128,
    (1 << 64) - 1,
)  # fmt: skip
Range = tuple[int, int]


class Fuzzer:
    """``turn`` is called now and then: the world moves on (frames, time, delivery)."""

    def __init__(self, guest: Guest, seed: int, turn: Callable[[], None]) -> None:
        assert guest.memory.size == RAM
        self.guest = guest
        self.chance = random.Random(seed)
        self.turn = turn
        self.handles: list[int] = []
        self.listeners: list[int] = []
        self.connections: list[int] = []
        self.boxes: list[int] = []  # sockets of datagrams
        self.pings: list[int] = []
        self.buffers: list[int] = []
        self.steps = 0
        self.storms = 0
        self.ring: Range = (0, 0)
        self.said_hello = guest.hypercalls.said_hello
        self.statuses: dict[int, int] = {}
        self.results: dict[int, int] = {}
        guest.memory.write(0, self.chance.randbytes(RAM))  # the guard pattern

    def step(self) -> None:
        chance = self.chance
        self.steps += 1
        if not self.said_hello and chance.random() < 0.2:
            self._say_hello()
        if chance.random() < 0.01:
            self._abuse_ring()
        if len(self.connections) < 4 and self.listeners and chance.random() < 0.3:
            self.guest.write(Op.ACCEPT, self.listeners[0])
            self._call(CALL)
        at = chance.choice(PLACES)
        if at + 128 > RAM:
            at = 0x1000
        if chance.random() < 0.5:
            self._sensible(at)
        else:
            self._sensible(at)
            for _ in range(chance.randrange(1, 4)):
                self._mutate(at)
        if chance.random() < 0.05:
            self.guest.memory.write(at, chance.randbytes(128))
        address = at
        if chance.random() < 0.03:
            address = chance.choice([*EDGES, -1, at + 1, at + 4])
        self._call(address)
        if chance.random() < 0.1:
            self._move_on()

    def _move_on(self) -> None:
        before = self.guest.memory.read(0, RAM)
        self.turn()
        self._compare(before, [self.ring], "turn")

    def _say_hello(self) -> None:
        wish = self.chance.choice([0, 0, 0, 0xFFFFFFFF, 0x1, 0x9, 0x5, 0x8])
        head = b"\x90\0\0\0\1\0\0\0" + wish.to_bytes(8, "little")
        self.guest.memory.write(0x3000, head)
        self.guest.write(Op.HELLO, args=(0x3000,))
        self._call(CALL)

    def _abuse_ring(self) -> None:
        """The guest's words in the ring say anything; or it arms it, drains it and asks for more
        as fast as it can, subscribed to everything: a storm."""
        chance = self.chance
        base, length = self.ring
        if not length:
            return
        if chance.random() < 0.5:
            word = chance.choice([0, 1, 2, 0x7FFFFFFF, 0xFFFFFFFF, chance.getrandbits(32)])
            at = base + 4 * chance.randrange(4)
            self.guest.memory.write(at, word.to_bytes(4, "little"))
            return
        self.storms += 1
        view = self.guest.memory.view
        for handle in self.handles[-8:]:
            self.guest.write(Op.SUBSCRIBE, handle, events=0x2015, flags=int(abi.Flag.LEVEL))
            self._call(CALL)
        for turn in range(12):
            view[base + 8 : base + 12] = bytes(view[base + 4 : base + 8])  # all of it is read
            view[base : base + 4] = b"\1\0\0\0"
            self.guest.write(Op.EVENTS_ACK)
            self._call(CALL)
            if turn % 4 == 3:
                self._move_on()

    # ---------------------------------------------------------------- calls

    def _sensible(self, at: int) -> None:
        chance, guest = self.chance, self.guest
        op = chance.choice([int(operation.op) for operation in OPERATIONS])
        if chance.random() < 0.5:
            op = chance.choice(_OFTEN)
        if len(self.handles) > 62:
            op = chance.choice([op, op, Op.CLOSE])
        elif op == Op.CLOSE and chance.random() < 0.7:
            op = Op.RECV
        if not self.listeners and self.said_hello:
            self._listen()
        handles = self.handles
        if op == Op.ACCEPT:
            handles = self.listeners
        elif op in _ON_STREAMS and self.connections and chance.random() < 0.8:
            handles = self.connections
        elif op in (Op.SENDTO, Op.RECVFROM) and self.pings and chance.random() < 0.3:
            handles = self.pings
            guest.memory.write(0xC000, chance.choice([b"\x08\0", b"\x08\0", b"\x80\0"]))  # an echo
        elif op in (Op.SENDTO, Op.RECVFROM) and self.boxes and chance.random() < 0.8:
            handles = self.boxes
        elif op == Op.BUFFER_RELEASE:
            handles = self.buffers
        elif op == Op.CLOSE and len(self.handles) < 20:
            handles = []
        handle = chance.choice(handles) if handles else 0
        args: list[int] = [0xC000, chance.choice([0, 1, 16, 100, 2000, 0x3800]), 0, 0]
        flags = chance.choice(_FLAGS_OF.get(op, _MODES))
        port = chance.choice([0, 7, 80, 81, 40000])
        address = chance.choice([ADDRESS, GATEWAY, bytes(4), b"\x7f\0\0\1", b"\x0a\0\2\x63"])
        if op == Op.HELLO:
            if chance.random() < 0.95:
                op = Op.TIME
            else:
                args[0] = 0x3000
                size, version = chance.choice([(0x90, 1), (0x8F, 1), (0x90, 2), (0x1000, 1)])
                guest.memory.write(0x3000, size.to_bytes(4, "little"))
                guest.memory.write(0x3004, version.to_bytes(4, "little") + bytes(8))
        elif op == Op.EVENTS_SETUP:
            args = [RING_AT, chance.choice([0, 2, 8, 64, 256]), 0, 0]
        elif op == Op.SOCKET:
            family = chance.choice([2, 2, 2, 2, 2, 10])
            args = [family, chance.choice([1, 1, 2, 2]), chance.choice([0, 0, 0, 6]), 0]
            if args[1] == 2 and chance.random() < 0.4:  # a ping socket, if both belong together
                args[2] = chance.choice([1, 58])
        elif op in (Op.LISTEN, Op.SHUTDOWN):
            args[0] = chance.choice([0, 1, 2, 100])
        elif op in (Op.GETSOCKOPT, Op.SETSOCKOPT):
            args = [chance.choice([1, 6]), chance.randrange(40), 0xC000, chance.choice([4, 8, 104])]
            if op == Op.SETSOCKOPT:  # small numbers are what options understand
                value = chance.choice([0, 1, 2, 1000, chance.getrandbits(32)])
                guest.memory.write(0xC000, value.to_bytes(8, "little"))
        elif op in _TRANSFERS and chance.random() < 0.3:
            flags |= int(abi.Flag.IOVEC)
            args = [0xB000, chance.randrange(5), 0, 0]
            self._iovec(at, args[1])
        elif op == Op.SENDFILE:
            args[0] = chance.choice(self.buffers) if self.buffers else 1
            args[1] = chance.choice([0, 0, 1, 100, 5000])
            args[2] = chance.choice([0, 1, 100, 5000, 0x3000, 0x20000])
        elif op == Op.BUFFER_REGISTER:
            flags = 0
            if chance.random() < 0.5:
                flags = int(abi.Flag.IOVEC)
                args = [0xB000, chance.randrange(5), 0, 0]
                self._iovec(at, args[1])
        elif op == Op.POLL:
            args = [0xB000, chance.randrange(6), 0, 0]
            for number in range(args[1]):
                row = abi.POLLFD_STRUCT.pack(handle, chance.getrandbits(4), 0, 0)
                guest.memory.write(0xB000 + 16 * number, row)
        elif op == Op.TRACE_MARK:
            args[1] = chance.randrange(64)
        guest.write(
            op, handle, flags=flags, events=chance.choice([0, 1, 5]),
            cookie=chance.getrandbits(64), args=args,
            local=endpoint(bytes(4), port, chance.choice(_FAMILIES)),
            peer=self._peer(address, port), at=at,
        )  # fmt: skip

    def _iovec(self, call: int, count: int) -> None:
        """A table of pieces; now and then they are the table, the descriptor, the ring, each
        other, everything, or no RAM."""
        chance = self.chance
        for number in range(count):
            piece = (0xC000 + 1000 * number, chance.randrange(1000))
            if chance.random() < 0.2:
                piece = chance.choice(
                    [(0xC000 + 1000 * number, 1000), (0xB000, 16 * count), (call, 128), self.ring,
                     (0xC000, 5000), (0, RAM), (RAM - 1, 1), (RAM, 0), (RAM, 1),
                     ((1 << 64) - 1, 2), (0, 1 << 63)]
                )  # fmt: skip
            self.guest.memory.write(0xB000 + 16 * number, abi.IOVEC_STRUCT.pack(*piece))

    def _listen(self) -> None:
        """A listener that works, so that there is something to be accepted."""
        guest = self.guest
        answer = guest.call(Op.SOCKET, args=(2, 1, 0))
        if answer.result == 0:
            guest.call(Op.BIND, answer.handle, local=endpoint(bytes(4), 80))
            guest.call(Op.LISTEN, answer.handle, args=(16,))
            self.listeners = [answer.handle]

    def _peer(self, address: bytes, port: int) -> bytes:
        number = self.chance.random()
        if number < 0.02:
            return bytes(24)
        if number < 0.1:
            long = self.chance.choice([bytes(10) + b"\xff\xff", b"\xfd" + bytes(11)]) + address
            return endpoint(long, port, 10, self.chance.choice([0, 0, 1, 2]))
        return endpoint(address, port)

    def _mutate(self, at: int) -> None:
        chance, view = self.chance, self.guest.memory.view
        what = chance.randrange(5)
        if what == 0:  # a bit
            place = at + chance.randrange(128)
            view[place] ^= 1 << chance.randrange(8)
        elif what == 1:  # an argument
            place = at + 32 + 8 * chance.randrange(4)
            view[place : place + 8] = chance.choice(EDGES).to_bytes(8, "little")
        elif what == 2:  # operation
            view[at : at + 2] = chance.choice([0, 15, *range(1, 128), 0xFFFF]).to_bytes(2, "little")
        elif what == 3:  # handle
            number = chance.choice([0, 1, 0x10000, 0xFFFFFFFF, chance.getrandbits(32)])
            view[at + 4 : at + 8] = number.to_bytes(4, "little")
        else:  # flags and events
            place = at + chance.choice([16, 20])
            view[place : place + 4] = chance.getrandbits(32).to_bytes(4, "little")

    # ---------------------------------------------------------------- what it may write

    def _call(self, address: int) -> None:
        guest = self.guest
        before = guest.memory.read(0, RAM)
        allowed = [self.ring]
        op = args = None
        if 0 <= address <= RAM - 128:
            op = abi.CALL_FETCH.unpack_from(before, address)[0] & 0xFFFF
            args = abi.ARGS_STRUCT.unpack_from(before, address + abi.ARGS_OFFSET)
            allowed.append((address, 128))
            allowed += self._named(before, address, op, args)
        guest.hypercalls.call(address)
        if op is None or args is None:
            self._compare(before, allowed, f"address {address:#x}")
            return
        answer = guest.read(address)
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if answer.status == abi.Status.OK:
            if answer.result in _DEAD and answer.handle in self.connections:
                self.connections.remove(answer.handle)
            elif op == Op.SENDFILE and answer.result >= 4096 and self.chance.random() < 0.3:
                self.guest.write(Op.BUFFER_RELEASE, args[0])  # while it is in flight
                self._call(CALL)
                return
            self.results[op] = self.results.get(op, 0) + (answer.result >= 0)
            if op in (Op.SOCKET, Op.ACCEPT) and answer.result == 0:
                self.handles.append(answer.handle)
                if op == Op.SOCKET and args[2] in (1, 58):
                    self.pings = [*self.pings[-3:], answer.handle]
                elif op == Op.SOCKET and args[1] == 2:
                    self.boxes = [*self.boxes[-7:], answer.handle]
                elif op == Op.ACCEPT or self.chance.random() < 0.3:
                    self.connections = [*self.connections[-15:], answer.handle]
            elif op == Op.CLOSE and answer.result == 0:
                for known in (
                    self.handles, self.listeners, self.connections, self.boxes, self.pings,
                ):  # fmt: skip
                    if answer.handle in known:
                        known.remove(answer.handle)
            elif op == Op.BUFFER_REGISTER and answer.result == 0:
                self.buffers = [*self.buffers[-7:], answer.handle]
            elif op == Op.EVENTS_SETUP:
                self.ring = (args[0], 64 + 16 * args[1]) if args[1] else (0, 0)
            elif op == Op.HELLO:
                self.ring = (0, 0)
                self.said_hello = True
                self.forget()
        self._compare(before, allowed, f"op {op} args {args} status {answer.status}")

    def forget(self) -> None:
        """Sockets, buffers and ring are gone."""
        self.ring = (0, 0)
        self.handles, self.listeners, self.connections, self.buffers = [], [], [], []
        self.boxes, self.pings = [], []

    def _named(self, ram: bytes, at: int, op: int, args: tuple[int, ...]) -> list[Range]:
        """The ranges that the descriptor lets the hypervisor write."""
        flags = int.from_bytes(ram[at + 16 : at + 20], "little")
        if op == Op.HELLO:
            return [(args[0], abi.HELLO.size)]
        if op == Op.EVENTS_SETUP:
            return [(args[0], 64 + 16 * args[1])]
        if op in (Op.RECV, Op.RECVFROM):
            if not flags & abi.Flag.IOVEC:
                return [(args[0], args[1])]
            table = ram[args[0] : args[0] + 16 * min(args[1], 64)]
            return [
                abi.IOVEC_STRUCT.unpack_from(table, offset)
                for offset in range(0, len(table) - 15, 16)
            ]
        if op == Op.GETSOCKOPT:
            return [(args[2], min(args[3], 256))]
        if op == Op.POLL:
            return [(args[0], 16 * args[1])]
        return []

    def _compare(self, before: bytes, allowed: list[Range], what: str) -> None:
        after = self.guest.memory.read(0, RAM)
        if before == after:
            return
        patched = bytearray(before)
        for start, length in allowed:
            if start < RAM:
                patched[start : start + length] = after[start : start + length]
        assert bytes(patched) == after, f"wrote where it must not: {what}"
