"""The 8254 interval timer and the PC's port 0x61 that goes with it.

Counter 0's OUT is an interrupt line, counter 2's GATE and OUT are at port 0x61, counter 1's is the
memory refresh of old and shows only as the toggling bit there. The chip's clock is 1,193,182 Hz,
derived from the host clock without drift: index n begins at ``ceil(n * 10**9 / 1193182)`` ns.

Counter 0 has a deadline at each rise of OUT. When the clock has run past several of them, the
line gets one edge and the next comes in phase: ticks coalesce, they do not pile up.
Between its rises OUT of counter 0 is not put on the line: an edge input sees no difference.
"""

from __future__ import annotations

from typing import Final

from leulo.clock import Clock
from leulo.devices.byte_ports import BytePorts
from leulo.devices.pit_counter import RW_BOTH, RW_LATCH, RW_LSB, RW_MSB, PitCounter
from leulo.devices.register import BOTH, WRITE, Register
from leulo.irq import Line
from leulo.state import State, load_fields, save_fields
from leulo.units import NS_PER_S

PIT_HZ: Final = 1_193_182
CONTROL: Final = 3  # offset of the control word
READ_BACK: Final = 3  # "counter 3" of a control word
NOT_COUNT: Final = 0x20  # read-back: do not latch the count
NOT_STATUS: Final = 0x10  # read-back: do not latch the status

GATE_2: Final = 0x01  # port 0x61
SPEAKER_DATA: Final = 0x02
WRITABLE: Final = 0x0F
REFRESH: Final = 0x10
OUT_2: Final = 0x20
REFRESH_CLOCKS: Final = 18  # the refresh bit toggles every 15 us

REGISTERS: Final = (
    *(
        Register(f"counter {number}", number, BOTH, "count, or the latched count or status: bytes "
                 "in the order that RW says", 0)
        for number in range(3)
    ),
    Register("control word", CONTROL, WRITE, "a counter's mode, or a latch command", bits=(
        (0x01, "BCD"),
        (0x0E, "M: mode 0 to 5"),
        (0x30, f"RW: {RW_LSB} low byte, {RW_MSB} high byte, {RW_BOTH} both, low first; "
         f"{RW_LATCH} latches the count"),
        (0xC0, "SC: which counter"),
    )),
    Register("read-back", CONTROL, WRITE, "latches of several counters", when="SC = 3", bits=(
        (0x0E, "CNT: counters 2, 1, 0"),
        (NOT_STATUS, "STATUS: 0 latches the status"),
        (NOT_COUNT, "COUNT: 0 latches the count"),
    )),
)  # fmt: skip
SPEAKER_REGISTERS: Final = (
    Register("port B", 0, BOTH, "speaker and counter 2", None, WRITABLE, (
        (GATE_2, "GATE of counter 2"),
        (SPEAKER_DATA, "speaker data: only kept"),
        (REFRESH, "toggles every 15 us"),
        (OUT_2, "OUT of counter 2"),
    )),
)  # fmt: skip


def clock_index(now_ns: int) -> int:
    """The index of the chip's clock in which ``now_ns`` lies."""
    return now_ns * PIT_HZ // NS_PER_S


def clock_begin_ns(index: int) -> int:
    """The first nanosecond of that index."""
    return -(-index * NS_PER_S // PIT_HZ)


class Pit(BytePorts):
    """Four ports at 0x40; ``speaker`` is the target for port 0x61. ``line`` is IRQ 0's."""

    LENGTH = 4
    REGISTERS: Final = REGISTERS
    FIELDS: Final = ("rise",)

    def __init__(self, clock: Clock, line: Line) -> None:
        self._clock = clock
        self._line = line
        self.counters = (PitCounter(), PitCounter(), PitCounter())
        self.rise: int | None = None  # the clock index of counter 0's next rise
        self.speaker = SpeakerPort(self)
        self.reset()

    def now(self) -> int:
        """The chip's present clock index."""
        return clock_index(self._clock.now_ns())

    def next_deadline(self) -> int | None:
        """When OUT of counter 0 next rises, in the host's nanoseconds."""
        return None if self.rise is None else clock_begin_ns(self.rise)

    def advance(self, now_ns: int) -> None:
        """Give the line its edge if one or more rises are due."""
        if self.rise is None:
            return
        now = clock_index(now_ns)
        if now >= self.rise:
            self._line.set(False)
            self._line.set(True)
            self._plan(now)

    def read_byte(self, offset: int) -> int:
        if offset == CONTROL:
            return 0xFF  # the control word cannot be read [8254 Write Operations]
        return self.counters[offset].read(self.now())

    def peek_byte(self, offset: int) -> int:
        if offset == CONTROL:
            return 0xFF
        return self.counters[offset].peek(self.now())

    def write_byte(self, offset: int, value: int) -> None:
        now = self.now()
        if offset < CONTROL:
            self.counters[offset].write(value, now)
            if offset == 0:
                self._counter_0_changed(now)
            return
        select = value >> 6
        if select == READ_BACK:
            self._read_back(value, now)
        elif value >> 4 & 3 == RW_LATCH:
            self.counters[select].latch_count(now)
        else:
            self.counters[select].set_control(value)
            if select == 0:
                self._counter_0_changed(now)

    def set_gate_2(self, high: bool) -> None:
        """Port 0x61 moves the gate of counter 2."""
        self.counters[2].set_gate(high, self.now())

    def reset(self) -> None:
        for counter in self.counters:
            counter.gate = True
            counter.reset()
        self.rise = None
        self.speaker.reset()
        self._line.set(True)  # OUT is high, so that programming mode 2 or 3 is no edge

    def save(self) -> State:
        state = save_fields(self, 1, self.FIELDS)
        state["counters"] = [counter.save() for counter in self.counters]
        state["speaker"] = self.speaker.save()
        return state

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
        for counter, saved in zip(self.counters, state["counters"], strict=True):
            counter.load(saved)
        self.speaker.load(state["speaker"])

    def _read_back(self, value: int, now: int) -> None:
        """[8254 Read-Back Command]"""
        for i, counter in enumerate(self.counters):
            if value >> 1 + i & 1:
                if not value & NOT_COUNT:
                    counter.latch_count(now)
                if not value & NOT_STATUS:
                    counter.latch_status(now)

    def _counter_0_changed(self, now: int) -> None:
        self._line.set(self.counters[0].out(now))
        self._plan(now)

    def _plan(self, now: int) -> None:
        self.counters[0].advance(now)
        self.rise = self.counters[0].next_rise(now)


class SpeakerPort(BytePorts):
    """Port 0x61: counter 2's gate and OUT, the refresh bit, and two bits that are only kept."""

    LENGTH = 1
    REGISTERS: Final = SPEAKER_REGISTERS
    FIELDS: Final = ("control",)

    def __init__(self, pit: Pit) -> None:
        self._pit = pit
        self.control = 0

    def read_byte(self, offset: int) -> int:
        return self.peek_byte(offset)

    def peek_byte(self, offset: int) -> int:
        now = self._pit.now()
        return (
            self.control
            | (REFRESH if now // REFRESH_CLOCKS & 1 else 0)
            | (OUT_2 if self._pit.counters[2].out(now) else 0)
        )

    def write_byte(self, offset: int, value: int) -> None:
        self.control = value & WRITABLE
        self._pit.set_gate_2(bool(value & GATE_2))

    def reset(self) -> None:
        self.control = 0
        self._pit.counters[2].gate = False

    def save(self) -> State:
        return save_fields(self, 1, self.FIELDS)

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
