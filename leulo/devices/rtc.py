"""The MC146818 real-time clock with its CMOS RAM, as the PC has it at ports 0x70 and 0x71.

The time is the host clock plus the epoch it was given (UTC seconds since 1970), plus whatever the
guest has set; nothing ticks. Flags of register C are worked out when they are looked at, and a
deadline exists only while an enabled interrupt could come.

Left out: the divider chain cannot be held (register A bits 6-4 are stored only), daylight saving
(register B bit 0 is stored only), the square wave. Year 9999 is the last.
"""

from __future__ import annotations

from typing import Final

from leulo.clock import Clock
from leulo.devices.byte_ports import FLOATING, BytePorts
from leulo.devices.calendar_date import SECONDS_PER_DAY, from_seconds, to_seconds
from leulo.devices.register import BOTH, READ, WRITE, Register
from leulo.irq import Line
from leulo.state import State, load_fields, save_fields
from leulo.units import NS_PER_S

SECONDS, MINUTES, HOURS = 0, 2, 4
SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM = 1, 3, 5
DAY_OF_WEEK, DAY_OF_MONTH, MONTH, YEAR = 6, 7, 8, 9
REGISTER_A, REGISTER_B, REGISTER_C, REGISTER_D = 10, 11, 12, 13
CENTURY: Final = 0x32  # a convention of PC firmware, kept in CMOS RAM
TIME_REGISTERS: Final = (
    SECONDS,
    MINUTES,
    HOURS,
    DAY_OF_WEEK,
    DAY_OF_MONTH,
    MONTH,
    YEAR,
    CENTURY,
)
CELLS: Final = 128

A_UIP: Final = 0x80
A_DEFAULT: Final = 0x26  # 32,768 Hz crystal, periodic rate 1,024 Hz
B_24_HOURS: Final = 0x02
B_BINARY: Final = 0x04
B_SQWE: Final = 0x08
B_UIE: Final = 0x10
B_AIE: Final = 0x20
B_PIE: Final = 0x40
B_SET: Final = 0x80
C_UF: Final = 0x10
C_AF: Final = 0x20
C_PF: Final = 0x40
C_IRQF: Final = 0x80
ENABLES: Final = B_PIE | B_AIE | B_UIE  # the same bits as their flags in register C
D_VRT: Final = 0x80
HOURS_PM: Final = 0x80
DO_NOT_CARE: Final = 0xC0  # an alarm byte with both top bits set matches everything

CRYSTAL_HZ: Final = 32_768
UPDATE_NS: Final = 244_000  # UIP rises this long before the update [MC146818 UIP]
A_RATE: Final = 0x0F
A_WRITABLE: Final = 0x7F
INDEX_WRITABLE: Final = 0x7F


def _cell_register(
    index: int, name: str, access: str, meaning: str = "", reset: int | None = None,
    writable: int = 0, bits: tuple[tuple[int, str], ...] = (),
) -> Register:  # fmt: skip
    return Register(name, 1, access, meaning, reset, writable, bits, when=f"index {index:#04x}",
                    select=((0, index),))  # fmt: skip


REGISTERS: Final = (
    Register("index", 0, WRITE, "which register port 0x71 is", bits=(
        (INDEX_WRITABLE, "the register"),
    )),
    _cell_register(SECONDS, "seconds", BOTH, "of the time, BCD or binary (DM)"),
    _cell_register(SECONDS_ALARM, "seconds alarm", BOTH, "both top bits set: any", 0, 0xFF),
    _cell_register(MINUTES, "minutes", BOTH),
    _cell_register(MINUTES_ALARM, "minutes alarm", BOTH, "as above", 0, 0xFF),
    _cell_register(HOURS, "hours", BOTH, "12 or 24 (24/12)", bits=(
        (HOURS_PM, "PM, if 24/12 is 0"),
    )),
    _cell_register(HOURS_ALARM, "hours alarm", BOTH, "as above", 0, 0xFF),
    _cell_register(DAY_OF_WEEK, "day of week", BOTH, "1 is Sunday"),
    _cell_register(DAY_OF_MONTH, "date of month", BOTH),
    _cell_register(MONTH, "month", BOTH),
    _cell_register(YEAR, "year", BOTH, "of the century"),
    _cell_register(REGISTER_A, "register A", BOTH, "divider (only kept) and rate", A_DEFAULT,
                   A_WRITABLE, (
        (A_RATE, "RS: rate of the periodic interrupt"),
        (A_UIP, "UIP: an update comes within 244 us"),
    )),
    _cell_register(REGISTER_B, "register B", BOTH, "", B_24_HOURS, 0xFF, (
        (B_24_HOURS, "24/12: 24 hours"),
        (B_BINARY, "DM: binary"),
        (B_SQWE, "SQWE: only kept"),
        (B_UIE, "UIE: update-ended interrupt, cleared by SET"),
        (B_AIE, "AIE: alarm interrupt"),
        (B_PIE, "PIE: periodic interrupt"),
        (B_SET, "SET: holds the time"),
    )),
    _cell_register(REGISTER_C, "register C", READ, "flags, cleared by reading", 0, 0, (
        (C_UF, "UF: update ended"),
        (C_AF, "AF: alarm"),
        (C_PF, "PF: periodic"),
        (C_IRQF, "IRQF: an enabled one is set"),
    )),
    _cell_register(REGISTER_D, "register D", READ, "", D_VRT, 0, ((D_VRT, "VRT: time is valid"),)),
    _cell_register(CENTURY, "century", BOTH, "a convention of PC firmware"),
    Register("CMOS RAM", 1, BOTH, "all other indexes up to 0x7f", 0, 0xFF,
             when="index 0x0e and up", select=((0, REGISTER_D + 1),)),
)  # fmt: skip


class Rtc(BytePorts):
    """Two ports: index, data. ``line`` is IRQ 8's; ``epoch_s`` the time at clock zero."""

    LENGTH = 2
    REGISTERS: Final = REGISTERS
    FIELDS: Final = (
        "index",
        "offset_s",
        "weekday_shift",
        "held",
        "alarm",
        "register_a",
        "register_b",
        "flags",
        "seen_ns",
    )

    def __init__(self, clock: Clock, epoch_s: int, line: Line) -> None:
        self._clock = clock
        self._epoch_s = epoch_s
        self._line = line
        self.index = 0
        self.offset_s = 0  # what the guest has added to the time
        self.weekday_shift = 0
        self.held: list[int] | None = None  # the time registers while SET stops the update
        self.alarm = [0, 0, 0]  # seconds, minutes, hours
        self.register_a = A_DEFAULT
        self.register_b = B_24_HOURS
        self.flags = 0  # of register C, as they were at seen_ns
        self.seen_ns = clock.now_ns()
        self._cells = bytearray(CELLS)
        self._deadline: int | None = None

    def reset(self) -> None:
        """The RESET pin: interrupts and flags are cleared, time and RAM stay. [MC146818 RESET]"""
        self.index = 0
        self.register_b &= ~(ENABLES | B_SQWE)
        self.flags = 0
        self.seen_ns = self._clock.now_ns()
        self._update()

    def next_deadline(self) -> int | None:
        """When the next enabled interrupt comes; None while one is unanswered."""
        return self._deadline

    def advance(self, now_ns: int) -> None:
        """Raise the interrupts that are due."""
        if self._deadline is not None and now_ns >= self._deadline:
            self._catch_up(now_ns)
            self._update()

    def read_byte(self, offset: int) -> int:
        value = self.peek_byte(offset)
        if offset == 1 and self.index == REGISTER_C:
            self.flags = 0
            self.seen_ns = self._clock.now_ns()
            self._update()
        return value

    def peek_byte(self, offset: int) -> int:
        if offset == 0:
            return FLOATING  # the index cannot be read
        return self._cell(self.index, self._clock.now_ns())

    def write_byte(self, offset: int, value: int) -> None:
        if offset == 0:
            self.index = value & INDEX_WRITABLE  # bit 7 masks NMI, which this machine does not have
            return
        now_ns = self._clock.now_ns()
        self._catch_up(now_ns)
        index = self.index
        if index in TIME_REGISTERS:
            self._set_time(index, value, now_ns)
        elif index in (SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM):
            self.alarm[index // 2] = value
        elif index == REGISTER_A:
            self.register_a = value & A_WRITABLE
        elif index == REGISTER_B:
            self._set_register_b(value, now_ns)
        elif index > REGISTER_D:
            self._cells[index] = value
        self._update()

    def save(self) -> State:
        state = save_fields(self, 1, self.FIELDS)
        state["held"] = None if self.held is None else list(self.held)
        state["alarm"] = list(self.alarm)
        state["cells"] = bytes(self._cells)
        return state

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
        self.held = None if self.held is None else list(self.held)
        self.alarm = list(self.alarm)
        self._cells[:] = state["cells"]
        self._plan()

    # Registers

    def _cell(self, index: int, now_ns: int) -> int:
        if index in TIME_REGISTERS:
            return self._time_registers(now_ns)[TIME_REGISTERS.index(index)]
        if index in (SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM):
            return self.alarm[index // 2]
        if index == REGISTER_A:
            updating = self.held is None and now_ns % NS_PER_S >= NS_PER_S - UPDATE_NS
            return self.register_a | (A_UIP if updating else 0)
        if index == REGISTER_B:
            return self.register_b
        if index == REGISTER_C:
            flags = self._flags_at(now_ns)
            return flags | (C_IRQF if flags & self.register_b & ENABLES else 0)
        if index == REGISTER_D:
            return D_VRT
        return self._cells[index]

    def _set_register_b(self, value: int, now_ns: int) -> None:
        if value & B_SET:
            if self.held is None:
                self.held = self._time_registers(now_ns)
            value &= ~B_UIE  # SET clears it [MC146818 SET]
            self.register_b = value
        else:
            self.register_b = value
            if self.held is not None:
                held, self.held = self.held, None
                self._adopt(held, now_ns)

    def _set_time(self, index: int, value: int, now_ns: int) -> None:
        place = TIME_REGISTERS.index(index)
        if self.held is not None:
            self.held[place] = value
            return
        registers = self._time_registers(now_ns)
        registers[place] = value
        self._adopt(registers, now_ns)

    def _second(self, now_ns: int) -> int:
        """The clock's time in seconds since 1970."""
        return self._epoch_s + self.offset_s + now_ns // NS_PER_S

    def _time_registers(self, now_ns: int) -> list[int]:
        """The time registers in the form that register B asks for, in TIME_REGISTERS' order."""
        if self.held is not None:
            return list(self.held)
        at = from_seconds(self._second(now_ns))
        return [
            self._encode(at.second),
            self._encode(at.minute),
            self._encode_hour(at.hour),
            self._encode((at.weekday - 1 + self.weekday_shift) % 7 + 1),
            self._encode(at.day),
            self._encode(at.month),
            self._encode(at.year % 100),
            self._encode(at.year // 100),
        ]

    def _adopt(self, registers: list[int], now_ns: int) -> None:
        """Go on from this time; the phase within the second stays."""
        second, minute, hour, weekday, day, month, year, century = registers
        wanted = to_seconds(
            self._decode(century) * 100 + self._decode(year),
            self._decode(month),
            self._decode(day),
            self._decode_hour(hour),
            self._decode(minute),
            self._decode(second),
        )
        self.offset_s += wanted - self._second(now_ns)
        self.weekday_shift = (self._decode(weekday) - from_seconds(wanted).weekday) % 7

    def _encode(self, value: int) -> int:
        return value if self.register_b & B_BINARY else value // 10 << 4 | value % 10

    def _decode(self, value: int) -> int:
        return value if self.register_b & B_BINARY else (value >> 4) * 10 + (value & 0x0F)

    def _encode_hour(self, hour: int) -> int:
        if self.register_b & B_24_HOURS:
            return self._encode(hour)
        return self._encode((hour + 11) % 12 + 1) | (HOURS_PM if hour >= 12 else 0)

    def _decode_hour(self, value: int) -> int:
        if self.register_b & B_24_HOURS:
            return self._decode(value)
        return self._decode(value & 0x7F) % 12 + (12 if value & HOURS_PM else 0)

    # Flags, interrupts, deadlines

    def _flags_at(self, now_ns: int) -> int:
        """The flags of register C at ``now_ns``, if nobody reads it before."""
        flags = self.flags
        period = self._period()
        if period and self._crystal(now_ns) // period != self._crystal(self.seen_ns) // period:
            flags |= C_PF
        if self.held is None and now_ns // NS_PER_S != self.seen_ns // NS_PER_S:
            flags |= C_UF
            alarm = self._next_alarm(self._second(self.seen_ns))
            if alarm is not None and alarm <= self._second(now_ns):
                flags |= C_AF
        return flags

    def _catch_up(self, now_ns: int) -> None:
        self.flags = self._flags_at(now_ns)
        self.seen_ns = now_ns

    def _update(self) -> None:
        self._line.set(bool(self.flags & self.register_b & ENABLES))
        self._plan()

    def _plan(self) -> None:
        """Find the next moment at which an enabled interrupt comes."""
        enabled = self.register_b & ENABLES
        self._deadline = None
        if not enabled or self.flags & enabled:
            return  # none wanted, or IRQ stays up until register C is read
        moments: list[int] = []
        period = self._period()
        if enabled & B_PIE and period:
            tick = (self._crystal(self.seen_ns) // period + 1) * period
            moments.append(-(-tick * NS_PER_S // CRYSTAL_HZ))
        if self.held is None:
            if enabled & B_UIE:
                moments.append((self.seen_ns // NS_PER_S + 1) * NS_PER_S)
            if enabled & B_AIE:
                alarm = self._next_alarm(self._second(self.seen_ns))
                if alarm is not None:
                    moments.append((alarm - self._epoch_s - self.offset_s) * NS_PER_S)
        self._deadline = min(moments, default=None)

    def _period(self) -> int:
        """Ticks of the crystal between periodic interrupts; 0: none. [MC146818 Register A]"""
        rate = self.register_a & A_RATE
        if rate == 0:
            return 0
        return 1 << (rate + 6 if rate < 3 else rate - 1)

    def _crystal(self, now_ns: int) -> int:
        return now_ns * CRYSTAL_HZ // NS_PER_S

    def _next_alarm(self, after: int) -> int | None:
        """The first second after ``after`` that the alarm bytes match, or None."""
        second = self._alarm_field(self.alarm[0], self._decode(self.alarm[0]))
        minute = self._alarm_field(self.alarm[1], self._decode(self.alarm[1]))
        hour = self._alarm_field(self.alarm[2], self._decode_hour(self.alarm[2]))
        if second > 59 or minute > 59 or hour > 23:
            return None
        at = after + 1
        while True:  # at most 24 + 60 + 60 steps: every field has a value that exists
            of_day = at % SECONDS_PER_DAY
            if hour >= 0 and of_day // 3600 != hour:
                at += 3600 - of_day % 3600
            elif minute >= 0 and of_day // 60 % 60 != minute:
                at += 60 - of_day % 60
            elif second >= 0 and of_day % 60 != second:
                at += 1
            else:
                return at

    @staticmethod
    def _alarm_field(raw: int, decoded: int) -> int:
        """-1 for an alarm byte that matches everything, else its value."""
        return -1 if raw & DO_NOT_CARE == DO_NOT_CARE else decoded
