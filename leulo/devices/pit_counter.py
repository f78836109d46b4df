"""One counter of the 8254: what it counts and what its OUT pin shows at a given clock.

Time is given as an index of the chip's own clock (1,193,182 Hz), never in nanoseconds; a counter
does nothing by itself: count and OUT are computed from the index at which it was loaded.
Counts are kept as integers from 1 to 65,536 (1 to 10,000 in BCD). An invalid BCD digit counts
as ten to fifteen of its place. A count of 1 in modes 2 and 3 is illegal by the datasheet; here
OUT then has an edge at every clock.
"""

from __future__ import annotations

from typing import Final

from leulo.state import State, load_fields, save_fields

RW_LATCH: Final = 0
RW_LSB: Final = 1
RW_MSB: Final = 2
RW_BOTH: Final = 3

STATUS_OUT: Final = 0x80
STATUS_NULL_COUNT: Final = 0x40


class PitCounter:
    """Modes 0 to 5, with a GATE input. [8254 Mode Definitions]"""

    FIELDS: Final = (
        "mode",
        "is_bcd",
        "rw",
        "count",
        "start",
        "pending_count",
        "pending_start",
        "frozen",
        "gate",
        "low_byte",
        "reads_high",
        "latched_count",
        "latched_bytes",
        "latched_status",
    )

    def __init__(self) -> None:
        self.gate = True
        self.reset()

    def reset(self) -> None:
        """Power-on: the datasheet leaves it undefined; here mode 3 and no count written."""
        self.mode = 3
        self.is_bcd = False
        self.rw = RW_BOTH
        self.count = 0  # the initial count in use; 0: none was ever written
        self.start: int | None = None  # the clock at which it was, or will be, loaded
        self.pending_count = 0  # written, but to be used only from pending_start on; 0: none
        self.pending_start: int | None = None  # None with a pending count: at the next trigger
        self.frozen: int | None = None  # how far it had got when GATE stopped it
        self.low_byte: int | None = None  # first byte of a two-byte count
        self.reads_high = False  # the next read of an unlatched two-byte count is the high byte
        self.latched_count = 0
        self.latched_bytes = 0  # bytes of the latched count still to be read
        self.latched_status: int | None = None

    # Programming

    def set_control(self, value: int) -> None:
        """A control word for this counter that is not a latch command. [8254 Control Word]"""
        self.rw = value >> 4 & 3
        mode = value >> 1 & 7
        self.mode = mode - 4 if mode > 5 else mode  # bit 2 of modes 2 and 3 is "don't care"
        self.is_bcd = bool(value & 1)
        self.count = 0
        self.start = None
        self.pending_count = 0
        self.pending_start = None
        self.frozen = None
        self.low_byte = None
        self.reads_high = False
        self.latched_bytes = 0
        self.latched_status = None

    def write(self, value: int, clock: int) -> None:
        """A byte of the initial count, at ``clock``."""
        self.advance(clock)
        if self.rw == RW_BOTH and self.low_byte is None:
            self.low_byte = value
            if self.mode == 0:  # the first byte stops the count
                self.count = 0
                self.start = None
                self.frozen = None
            return
        if self.rw == RW_BOTH:
            raw = (self.low_byte or 0) | value << 8
        else:
            raw = value << 8 if self.rw == RW_MSB else value
        self.low_byte = None
        self._set_count(self._decode(raw), clock)

    def set_gate(self, high: bool, clock: int) -> None:
        """GATE is now ``high``. A rising edge is the trigger of modes 1, 2, 3 and 5."""
        if high == self.gate:
            return
        self.advance(clock)
        elapsed = self._elapsed(clock)
        self.gate = high
        if self.mode in (1, 5):
            if high:
                self._trigger(clock)
        elif not high:
            self.frozen = elapsed
            self.pending_start = None  # a count still pending waits for the trigger
        elif self.mode in (0, 4):
            if self.start is not None and self.frozen is not None:
                self.start = clock + 1 - self.frozen
            self.frozen = None
        else:
            self.frozen = None
            self._trigger(clock)

    # Reading

    def latch_count(self, clock: int) -> None:
        """Keep the count for reading; an earlier one not yet read stays."""
        if not self.latched_bytes:
            self.latched_count = self._encode(self.element(clock))
            self.latched_bytes = 2 if self.rw == RW_BOTH else 1

    def latch_status(self, clock: int) -> None:
        """Keep the status byte for reading; an earlier one not yet read stays."""
        if self.latched_status is None:
            self.latched_status = self.status(clock)

    def peek(self, clock: int) -> int:
        """The byte that `read` would return."""
        if self.latched_status is not None:
            return self.latched_status
        if self.latched_bytes:
            high = self.latched_bytes == 1 and self.rw != RW_LSB
            value = self.latched_count
        else:
            high = self.rw == RW_MSB or (self.rw == RW_BOTH and self.reads_high)
            value = self._encode(self.element(clock))
        return value >> 8 if high else value & 0xFF

    def read(self, clock: int) -> int:
        value = self.peek(clock)
        if self.latched_status is not None:
            self.latched_status = None
        elif self.latched_bytes:
            self.latched_bytes -= 1
        elif self.rw == RW_BOTH:
            self.reads_high = not self.reads_high
        return value

    def status(self, clock: int) -> int:
        """[8254 Read-Back Command], status byte."""
        null = self.start is None or clock < self.start or bool(self._pending_at(clock))
        return (
            (STATUS_OUT if self.out(clock) else 0)
            | (STATUS_NULL_COUNT if null else 0)
            | self.rw << 4
            | self.mode << 1
            | int(self.is_bcd)
        )

    # The counting element

    def element(self, clock: int) -> int:
        """The count as an integer: 0 to 65,535, or to 9,999 in BCD."""
        if self.start is None:
            return self.count % self._modulus()
        count, start = self._loaded_at(clock)
        passed = self._passed(clock, start)
        if self.mode == 2:
            return (count - passed % count) % self._modulus()
        if self.mode == 3:
            phase = passed % count
            half = (count + 1) // 2
            return ((count & ~1) - 2 * (phase if phase < half else phase - half)) % self._modulus()
        return (count - passed) % self._modulus()

    def out(self, clock: int) -> bool:
        """The OUT pin."""
        if self.start is None:
            return self.mode != 0
        count, start = self._loaded_at(clock)
        passed = self._passed(clock, start)
        if self.mode == 0:
            return passed >= count
        if clock < start:
            return True
        if self.mode == 1:
            return passed >= count
        if self.mode in (4, 5):
            return passed != count
        if not self.gate:
            return True
        if self.mode == 2:
            return passed % count != count - 1
        return passed % count < (count + 1) // 2

    def next_rise(self, clock: int) -> int | None:
        """The first clock after ``clock`` at which OUT rises; None if it will not by itself."""
        if self.start is None or self.frozen is not None:
            return None
        count, start = self._loaded_at(clock)
        if self.mode in (0, 1):
            rise = start + count
            return rise if rise > clock else None
        if self.mode in (4, 5):
            rise = start + count + 1
            return rise if rise > clock else None
        rise = start + count if clock < start else start + ((clock - start) // count + 1) * count
        pending = self.pending_start
        if self._pending_at(clock) and pending is not None and pending < rise:
            count, start = self._switched()  # the low half will have the new length
            rise = start + count
        return rise

    def advance(self, clock: int) -> None:
        """Make a pending count the one in use if its time has come."""
        if self.pending_count and self.pending_start is not None and clock >= self.pending_start:
            self.count, self.start = self._switched()
            self.pending_count = 0
            self.pending_start = None

    def save(self) -> State:
        return save_fields(self, 1, self.FIELDS)

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)

    def _set_count(self, count: int, clock: int) -> None:
        if self.mode in (0, 4):
            self.count = count
            self.start = clock + 1
            self.frozen = None if self.gate else 0
        elif self.mode in (1, 5):
            self.pending_count = count
            self.pending_start = None
            if self.start is None:
                self.count = count
        elif self.start is None:
            self.count = count
            self.start = clock + 1
            self.frozen = None if self.gate else 0
        else:
            self.pending_count = count
            self.pending_start = self._end_of_part(clock)

    def _trigger(self, clock: int) -> None:
        """Load at the next clock. [8254 Gate Operations]"""
        if self.pending_count:
            self.count = self.pending_count
            self.pending_count = 0
            self.pending_start = None
        if self.count:
            self.start = clock + 1

    def _end_of_part(self, clock: int) -> int | None:
        """When a new count of modes 2 and 3 takes effect: at the end of the (half) cycle."""
        if self.start is None or self.frozen is not None:
            return None
        if clock < self.start:
            return self.start
        phase = (clock - self.start) % self.count
        part = self.count
        if self.mode == 3 and phase < (self.count + 1) // 2:
            part = (self.count + 1) // 2
        return clock - phase + part

    def _pending_at(self, clock: int) -> int:
        """The pending count, if it is still only pending at ``clock``."""
        if self.pending_start is not None and clock >= self.pending_start:
            return 0
        return self.pending_count

    def _loaded_at(self, clock: int) -> tuple[int, int]:
        """(count, start) as `advance` would leave them at ``clock``; both are set."""
        if self.pending_count and not self._pending_at(clock):
            return self._switched()
        return self.count, self.start or 0

    def _switched(self) -> tuple[int, int]:
        """(count, start) once the pending count is in use: OUT's half cycle goes on in phase."""
        start = self.pending_start or 0
        if self.mode == 3 and self.start is not None and start > self.start:
            phase = (start - self.start) % self.count
            if phase:  # the high half has ended
                start -= (self.pending_count + 1) // 2
        return self.pending_count, start

    def _elapsed(self, clock: int) -> int | None:
        if self.start is None:
            return None
        return self._passed(clock, self._loaded_at(clock)[1])

    def _passed(self, clock: int, start: int) -> int:
        """Clocks counted since the load."""
        if self.frozen is not None:
            return self.frozen
        return max(0, clock - start)

    def _modulus(self) -> int:
        return 10_000 if self.is_bcd else 0x10000

    def _decode(self, raw: int) -> int:
        """The written 16 bits as a count; zero stands for the largest. [8254 Counter]"""
        if self.is_bcd:
            raw = sum((raw >> 4 * place & 0xF) * 10**place for place in range(4)) % 10_000
        return raw or self._modulus()

    def _encode(self, count: int) -> int:
        """The integer as the 16 bits that are read."""
        if not self.is_bcd:
            return count & 0xFFFF
        return sum(count // 10**place % 10 << 4 * place for place in range(4))
