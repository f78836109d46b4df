"""Accounting of hypercalls: every call is counted once, whatever the descriptor holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leulo.hypercalls import abi
from leulo.hypercalls.counted import CountedCalls
from leulo.memory import Memory

MEMORY = Memory(4096)
RESULT = abi.CALL.offset("result")


class Calls:
    """Answers each call with the result that is put in, and takes 5 ns by its own clock."""

    def __init__(self) -> None:
        self.result = 0
        self.ns = 0
        self.seen: list[int] = []
        self.counted = CountedCalls(self._call, MEMORY, lambda: self.ns)

    def _call(self, address: int) -> None:
        self.seen.append(address)
        self.ns += 5
        if 0 <= address <= MEMORY.size - abi.CALL_BYTES:
            MEMORY.view[address + RESULT : address + RESULT + 4] = self.result.to_bytes(
                4, "little", signed=True
            )

    def make(self, op: int, result: int = 0, address: int = 64) -> None:
        if 0 <= address <= MEMORY.size - 2:
            MEMORY.view[address : address + 2] = op.to_bytes(2, "little")
        self.result = result
        self.counted.call(address)


def test_operations_bytes_and_time() -> None:
    calls = Calls()
    calls.make(abi.Op.SEND, 1000)
    calls.make(abi.Op.SEND, -11)
    calls.make(abi.Op.SENDFILE, 500)
    calls.make(abi.Op.RECV, 7)
    calls.make(abi.Op.CLOSE)
    calls.make(60_000)
    counters = calls.counted.counters()
    assert {name: count for name, count in counters.items() if count} == {
        "unknown": 1, "close": 1, "send": 2, "recv": 1, "sendfile": 1,
    }  # fmt: skip
    assert set(counters) == {"unknown", *(op.name.lower() for op in abi.Op)}, "also the zeros"
    assert (calls.counted.sent, calls.counted.received, calls.counted.ns) == (1500, 7, 30)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(-8, 2**32 - 1)), max_size=30))
def test_any_descriptor_anywhere_is_passed_on_and_counted(made: list[tuple[int, int]]) -> None:
    calls = Calls()
    for op, address in made:
        calls.make(op, 1, address)
    assert calls.seen == [address for _, address in made]
    assert sum(calls.counted.counters().values()) == len(made)
    assert len(calls.counted.counters()) == len(abi.Op) + 1
