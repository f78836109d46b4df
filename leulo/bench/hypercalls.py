"""What one hypercall costs, without the engine: nanoseconds a call by operation, on a stub.

The stub answers at once and does nothing, so what is measured is the fetch, the checks, the
route, the copy of a small payload and the answer. Run it with ``python -m leulo.bench.hypercalls``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns

from leulo.clock import Clock
from leulo.hypercalls import Hypercalls, Limits, MachineInfo, abi
from leulo.irq import Line
from leulo.memory import Memory
from leulo.tcp.account import Lent
from leulo.trace import Trace

_CALL = 0x1000
_DATA = 0x2000
_RING = 0x4000
_HELLO = 0x8000
_HEAD = abi.CALL_FETCH
_HANDLE = abi.CALL.offset("handle")


class StubClock(Clock):
    """Time stands still."""

    def now_ns(self) -> int:
        return 0


class StubSocket:
    """A socket that is always ready, takes everything and gives whatever is asked for."""

    owner: object | None = None
    serial = 0
    wants_every_byte = False
    is_datagram = False
    events = int(abi.Poll.IN | abi.Poll.OUT)
    local: tuple[bytes, int] | None = (bytes([10, 0, 2, 15]), 80)
    peer: tuple[bytes, int] | None = (bytes([10, 0, 2, 2]), 40000)
    ends = (bytes([10, 0, 2, 15]), 80, bytes([10, 0, 2, 2]), 40000)

    def bind(self, address: bytes, port: int) -> int:
        return 0

    def listen(self, backlog: int) -> int:
        return 0

    def connect(self, address: bytes, port: int) -> int:
        return 0

    def accept(self) -> StubSocket | int:
        return StubSocket()

    def send_room(self) -> int:
        return 1 << 20

    def send(self, data: bytes, more: bool = False) -> int:
        return len(data)

    def send_lent(self, views: list[memoryview], lent: Lent, more: bool = False) -> int:
        return sum(len(view) for view in views)

    def recv_into(self, view: memoryview, flags: int = 0) -> int:
        return len(view)

    def shutdown(self, how: int) -> int:
        return 0

    def close(self) -> None:
        pass

    def getsockopt(self, level: int, name: int) -> bytes | int:
        return b"\0\0\0\0"

    def setsockopt(self, level: int, name: int, value: bytes) -> int:
        return 0


class StubStack:
    """An engine that makes stub sockets; ``ready`` is what the next `take_ready` gives."""

    def __init__(self) -> None:
        self.ready: list[StubSocket] = []

    def socket(self, family: int, kind: int, protocol: int = 0) -> StubSocket | int:
        return StubSocket()

    def recall_lent(self) -> None:
        pass

    def lent_of(self, number: int) -> Lent | None:
        return None

    def take_ready(self) -> Sequence[StubSocket]:
        ready, self.ready = self.ready, []
        return ready

    def socket_of(self, serial: int) -> StubSocket | None:
        return None


class _Guest:
    """Writes descriptors as a guest would."""

    def __init__(self) -> None:
        self.memory = Memory(1 << 20)
        self.stack = StubStack()
        self.hypercalls = Hypercalls(
            self.stack, self.memory, Line(lambda level: None), StubClock(), Trace(), Limits(),
            MachineInfo(bytes([10, 0, 2, 15]), 24, bytes([10, 0, 2, 2]), None, bytes(6)),
        )  # fmt: skip
        self.memory.write(_HELLO, abi.HELLO.size.to_bytes(4, "little") + b"\x01\0\0\0")
        self.call(abi.Op.HELLO, 0, 0, _HELLO)
        self.call(abi.Op.EVENTS_SETUP, 0, 0, _RING, 256)

    def write(self, op: int, handle: int, events: int = 0, a0: int = 0, a1: int = 0) -> None:
        head = op | abi.CALL_BYTES << 16
        _HEAD.pack_into(self.memory.view, _CALL, head, handle, 0, events, 0, a0, a1, 0, 0, 0, 0)

    def call(self, op: int, handle: int, events: int = 0, a0: int = 0, a1: int = 0) -> int:
        """Make the call; the handle it answers with."""
        self.write(op, handle, events, a0, a1)
        self.hypercalls.call(_CALL)
        return int.from_bytes(self.memory.read(_CALL + _HANDLE, 4), "little")


def _time(what: Callable[[], object], rounds: int) -> int:
    before = perf_counter_ns()
    for _ in range(rounds):
        what()
    return (perf_counter_ns() - before) // rounds


def measure(rounds: int = 1_000, repeats: int = 60) -> dict[str, int]:
    """Nanoseconds a call by operation: the least of ``repeats`` short runs, since whatever else
    the computer does can only add to it. ``loop`` is the measurement's own part."""
    guest = _Guest()
    call = guest.hypercalls.call
    handle = guest.call(abi.Op.SOCKET, 0, 0, abi.Family.INET, abi.SockType.STREAM)
    results: dict[str, list[int]] = {}

    def note(name: str, value: int) -> None:
        results.setdefault(name, []).append(value)

    for _ in range(repeats):
        note("loop", _time(lambda: None, rounds))
        guest.write(abi.Op.SEND, handle, 0, _DATA, 64)
        note("SEND 64 B", _time(lambda: call(_CALL), rounds))
        guest.write(abi.Op.SEND, handle, 0, _DATA, 4096)
        note("SEND 4 KiB", _time(lambda: call(_CALL), rounds))
        guest.write(abi.Op.RECV, handle, 0, _DATA, 1024)
        note("RECV 1 KiB", _time(lambda: call(_CALL), rounds))
        guest.write(abi.Op.TIME, 0)
        note("TIME", _time(lambda: call(_CALL), rounds))
        listener = guest.call(abi.Op.SOCKET, 0, 0, abi.Family.INET, abi.SockType.STREAM)
        accept_ns = close_ns = 0
        for _ in range(rounds // 1000):
            handles = []
            for _ in range(1000):
                guest.write(abi.Op.ACCEPT, listener, abi.Poll.IN)
                before = perf_counter_ns()
                call(_CALL)
                accept_ns += perf_counter_ns() - before
                handles.append(guest.memory.view[_CALL + _HANDLE : _CALL + _HANDLE + 4].tobytes())
            for raw in handles:
                guest.write(abi.Op.CLOSE, int.from_bytes(raw, "little"))
                before = perf_counter_ns()
                call(_CALL)
                close_ns += perf_counter_ns() - before
        note("ACCEPT", accept_ns // (rounds // 1000 * 1000))
        note("CLOSE", close_ns // (rounds // 1000 * 1000))
    return {name: min(values) for name, values in results.items()}


def main() -> None:
    for name, value in measure().items():
        print(f"{name:<12}{value:>7} ns")


if __name__ == "__main__":
    main()
