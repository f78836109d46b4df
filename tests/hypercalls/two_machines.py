"""Two machines of one host on one switch; hypercalls are made for them from outside, by their
own descriptors in their own RAM."""

from __future__ import annotations

import random
from collections.abc import Sequence
from struct import pack
from typing import Any

from hypercall_guest import Answer, endpoint

from leulo.bench import guests
from leulo.bench.guests import Guest as Program
from leulo.clock import Clock, VirtualClock
from leulo.config import DEFAULT_QUANTUM_NS, MachineConfig, NetSpec
from leulo.host import Host
from leulo.hypercalls import abi
from leulo.links.base import Offload
from leulo.links.poller import Poller
from leulo.machine import Machine
from leulo.outcome import Outcome
from leulo.trace import Trace

Op = abi.Op
CALL = 0x500000
HELLO = 0x501000
DATA = 0x510000
FOREVER = 0x7FFFFFFF


def storm_program() -> Program:
    """As `guests.hypercalls`, but each turn first writes 1 to the descriptor's ``flags``."""
    calls = guests.hypercalls(FOREVER)
    plain = guests._loop(guests._CALL)
    arming = guests._loop(bytes.fromhex("c7461001000000") + guests._CALL)  # mov [esi + 16], 1
    assert calls.code.count(plain) == 1
    code = calls.code.replace(plain, arming)
    return Program(guests._image(code, b""), FOREVER, code)


class Pair:
    """``a`` and ``b``, each with its program; run them with `run`."""

    def __init__(
        self,
        program_a: Program,
        program_b: Program,
        quantum_ns: int = DEFAULT_QUANTUM_NS,
        timeout_ns: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock: Any = clock or VirtualClock()
        self.poller = Poller()
        self.trace = Trace()
        self.host = Host(self.clock, self.poller, quantum_ns=quantum_ns, timeout_ns=timeout_ns)
        self.a = self._machine("a", bytes((10, 0, 2, 15)), program_a)
        self.b = self._machine("b", bytes((10, 0, 2, 16)), program_b)

    def _machine(self, name: str, address: bytes, program: Program) -> Machine:
        machine = Machine(
            MachineConfig(name=name, net=NetSpec("none"), publish=(), seed=0, address=address),
            self.clock,
            self.trace,
            offload=Offload(checksum=True, tso_bytes=65_535),
            console=lambda data: None,
            random_bits=random.Random(name).getrandbits,
            epoch_s=0,
        )
        self.host.add(machine)
        machine.load(program.image, name)
        return machine

    def close(self) -> None:
        self.a.close()
        self.b.close()
        self.poller.close()

    def run(self) -> Outcome:
        return self.host.run()

    def settle(self) -> None:
        """Pass frames and events until nobody has any; no CPU runs."""
        for _ in range(1000):
            self.host._serve(0)
            if not any(machine.stack.has_output for machine in (self.a, self.b)):
                return
        raise AssertionError("the two never stop talking")

    def sleep(self, duration_ns: int) -> None:
        end = self.clock.now_ns() + duration_ns
        while (due := self.host.next_deadline()) is not None and due < end:
            self.clock.skip_to(max(due, self.clock.now_ns()))
            self.settle()
        self.clock.skip_to(end)
        self.settle()


def call(
    machine: Machine, op: int, handle: int = 0, *, args: Sequence[int] = (), flags: int = 0,
    events: int = 0, cookie: int = 0, local: bytes = b"", peer: bytes = b"", at: int = CALL,
) -> Answer:  # fmt: skip
    """One hypercall of ``machine``."""
    write(machine, op, handle, args=args, flags=flags, events=events, cookie=cookie, at=at,
          local=local, peer=peer)  # fmt: skip
    machine.hypercalls.call(at)
    return read(machine, at)


def write(
    machine: Machine, op: int, handle: int = 0, *, args: Sequence[int] = (), flags: int = 0,
    events: int = 0, cookie: int = 0, local: bytes = b"", peer: bytes = b"", at: int = CALL,
) -> None:  # fmt: skip
    padded = [*args, 0, 0, 0, 0][:4]
    memory = machine.memory
    head = op | abi.CALL_BYTES << 16
    abi.CALL_FETCH.pack_into(memory.view, at, head, handle, flags, events, cookie, *padded, 0, 0)
    memory.write(at + abi.LOCAL_OFFSET, local.ljust(24, b"\0"))
    memory.write(at + abi.PEER_OFFSET, peer.ljust(24, b"\0"))


def read(machine: Machine, at: int = CALL) -> Answer:
    view = machine.memory.view
    handle, result, status, flags, events = abi.CALL_ANSWER.unpack_from(view, at + 4)
    args = abi.ARGS_STRUCT.unpack_from(view, at + abi.ARGS_OFFSET)
    ends = []
    for offset in (abi.LOCAL_OFFSET, abi.PEER_OFFSET):
        family, port, _, address = abi.ENDPOINT_STRUCT.unpack_from(view, at + offset)
        ends.append((family, port, address[:4]))
    cookie = int.from_bytes(view[at + 24 : at + 32], "little")
    return Answer(handle, result, status, flags, events, cookie, args, ends[0], ends[1])


def hello(machine: Machine) -> None:
    machine.memory.write(HELLO, pack("<IIQ", abi.HELLO.size, abi.VERSION, 0))
    assert call(machine, Op.HELLO, args=(HELLO,)).status == 0


def listen(machine: Machine, port: int) -> int:
    handle = call(machine, Op.SOCKET, args=(2, 1, 0)).handle
    assert call(machine, Op.BIND, handle, local=endpoint(bytes(4), port)).result == 0
    assert call(machine, Op.LISTEN, handle, args=(128,)).result == 0
    return handle


def connect(
    pair: Pair, source: Machine, target: Machine, port: int, listener: int
) -> tuple[int, int]:
    """A connection from one machine to the other: both handles."""
    handle = call(source, Op.SOCKET, args=(2, 1, 0)).handle
    to = endpoint(target.config.address, port)
    assert call(source, Op.CONNECT, handle, peer=to).result == -abi.Errno.EINPROGRESS
    pair.settle()
    answer = call(target, Op.ACCEPT, listener)
    assert answer.result == 0
    return handle, answer.handle
