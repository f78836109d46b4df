"""The PC's pair of 8259A interrupt controllers, between sixteen lines and the CPU's INTR pin.

The CPU takes an offered vector by itself, without an exit. So the pair settles lazily: before
every register access and every change of a line it asks the pin whether the offer was taken, and
if so carries the acknowledge cycle out first. Nothing changes between offer and acknowledge,
which makes the late bookkeeping exact.

Only with automatic EOI does an acknowledge alone make way for the next request. While one waits
like that, `Pic.next_deadline` says "at once" and `Pic.advance` looks whether the way is free.
The primary chip is the datasheet's master, the secondary its slave. [8259A Cascade Mode]
"""

from __future__ import annotations

from typing import Final

from leulo.devices.byte_ports import BytePorts
from leulo.devices.pic_chip import ICW1_LTIM, ICW4_AEOI, REGISTERS, SPURIOUS_LEVEL, PicChip
from leulo.devices.register import BOTH, Register
from leulo.irq import IntrPin, Line
from leulo.state import State, load_fields, save_fields

IRQ_COUNT: Final = 16
CASCADE_IRQ: Final = 2
_CASCADE: Final = 1 << CASCADE_IRQ
FLOATING_VECTOR: Final = 0xFF  # nobody drives the data bus in the second INTA cycle
ELCR_FIXED: Final = (0x07, 0x21)  # IRQ 0, 1, 2, 8 and 13 are edge triggered on every PC

ELCR_REGISTERS: Final = tuple(
    Register(f"ELCR{number + 1}", number, BOTH, "1: the input is level triggered", 0, 0xFF & ~fixed)
    for number, fixed in enumerate(ELCR_FIXED)
)


class Pic:
    """Two chips, the secondary on the primary's input 2.

    Bus targets: ``primary`` (2 ports at 0x20), ``secondary`` (2 ports at 0xA0) and ``elcr`` (the
    chipset's 2 edge/level registers at 0x4D0; bit n makes an input level triggered).
    """

    FIELDS: Final = ("interrupts", "spurious", "offered", "waits_behind")

    def __init__(self, pin: IntrPin) -> None:
        self._pin = pin
        self._primary = PicChip()
        self._secondary = PicChip()
        self._lines = [Line(self._listener(irq)) for irq in range(IRQ_COUNT)]
        self.primary = ChipPorts(self, self._primary)
        self.secondary = ChipPorts(self, self._secondary)
        self.elcr = EdgeLevelPorts(self, (self._primary, self._secondary))
        self.offered: int | None = None  # the vector at the pin
        self._asking: tuple[int | None, int | None] = None, None  # levels of both that led to it
        self.interrupts = 0  # acknowledge cycles so far
        self.spurious = 0  # of these, without a request behind them
        self.by_line = [0] * IRQ_COUNT  # and those with one, by IRQ
        self.waits_behind = False
        self._has_slave = False
        self._is_simple = False  # nothing is ever in service, and every input counts edges

    def line(self, irq: int) -> Line:
        """The wire of IRQ 0 to 15. Raises ValueError for 2, which joins the chips."""
        if irq == CASCADE_IRQ or not 0 <= irq < IRQ_COUNT:
            raise ValueError(f"IRQ {irq} has no line")
        return self._lines[irq]

    def next_deadline(self) -> int | None:
        """0 (at once) while a request waits only for the offered vector to be taken, else None."""
        return 0 if self.waits_behind else None

    def advance(self, now_ns: int) -> None:
        """Carry out an acknowledge cycle that has happened, and offer what comes next."""
        if self.waits_behind:
            self.catch_up()
            self.offer_next()

    def reset(self) -> None:
        """Power-on. Lines keep their levels: they belong to the devices."""
        self.catch_up()
        self._primary.reset()
        self._secondary.reset()
        self.interrupts = 0
        self.spurious = 0
        self.by_line = [0] * IRQ_COUNT
        self.programmed()
        self.offer_next()

    def save(self) -> State:
        self.catch_up()
        state = save_fields(self, 1, self.FIELDS)
        state["primary"] = self._primary.save()
        state["secondary"] = self._secondary.save()
        state["by_line"] = list(self.by_line)
        state["lines"] = [line.level for line in self._lines]
        return state

    def load(self, state: State) -> None:
        """Take ``state`` back, the offer at the pin included."""
        self._pin.taken()
        load_fields(self, 1, self.FIELDS, state)
        self.by_line = list(state["by_line"])
        self._primary.load(state["primary"])
        self._secondary.load(state["secondary"])
        for line, level in zip(self._lines, state["lines"], strict=True):
            line.level = level
        self.programmed()
        self._asking = self._primary.pending(), self._secondary.pending()
        self._pin.post(self.offered)

    def _listener(self, irq: int) -> _LineListener:
        chip = self._primary if irq < 8 else self._secondary
        return _LineListener(self, chip, irq & 7)

    def change(self, chip: PicChip, level: int, high: bool) -> None:
        """A line's level has changed, and that may matter."""
        self.catch_up()
        bit = 1 << level
        if (
            high
            and self._is_simple
            and self.offered is None
            and not (chip.lines | chip.imr) & bit
            and not (self._primary.latched or self._secondary.latched)
        ):
            self._offer_alone(chip, level)
            return
        chip.set_line(level, high)
        self.offer_next()

    def _offer_alone(self, chip: PicChip, level: int) -> None:
        """What `set_line` and `offer_next` come to in a simple pair at rest."""
        bit = 1 << level
        chip.lines |= bit
        chip.latched = bit
        primary = self._primary
        if chip is primary:
            self._asking = level, None
        else:
            primary.lines |= _CASCADE
            primary.latched = _CASCADE
            self._asking = CASCADE_IRQ, level
        self.offered = vector = chip.vector_base | level
        self._pin.post(vector)
        self.waits_behind = False

    def catch_up(self) -> None:
        """Carry out the acknowledge cycle if the CPU has taken the offered vector."""
        if self.offered is None or not self._pin.taken():
            return
        self.offered = None
        self.interrupts += 1
        level, behind = self._asking
        if level is None:
            self.spurious += 1
            return
        self._primary.acknowledge(level)
        if level != CASCADE_IRQ or not self._has_slave:
            self.by_line[level] += 1
            return
        if behind is None:
            self.spurious += 1
        else:
            self._secondary.acknowledge(behind)
            self.by_line[8 + behind] += 1
        self._primary.lines &= ~_CASCADE  # INTA takes its INT low

    def offer_next(self) -> None:
        """Put at the pin what the pair asks for now."""
        primary = self._primary
        behind = self._secondary.pending()
        if behind is None:
            primary.lines &= ~_CASCADE
        elif not primary.lines & _CASCADE:
            primary.set_line(CASCADE_IRQ, True)
        level = primary.pending()
        self._asking = level, behind
        vector: int | None = None
        has_next = False
        if level is not None:
            is_automatic = primary.icw4 & ICW4_AEOI != 0
            has_next = is_automatic and primary.leaves_any(level)
            if level != CASCADE_IRQ or not primary.icw3 & _CASCADE:
                vector = primary.vector_base | level
            elif not self._has_slave:
                vector = FLOATING_VECTOR
            elif behind is None:
                vector = self._secondary.vector_base | SPURIOUS_LEVEL
            else:
                vector = self._secondary.vector_base | behind
                if is_automatic and self._secondary.icw4 & ICW4_AEOI:
                    has_next = has_next or self._secondary.leaves_any(behind)
        if vector != self.offered:
            self.offered = vector
            self._pin.post(vector)
        self.waits_behind = has_next

    def programmed(self) -> None:
        """A register was written: does the secondary take part in an acknowledge of input 2 now?
        [8259A ICW3]"""
        primary, secondary = self._primary, self._secondary
        self._has_slave = bool(
            primary.icw3 & _CASCADE and secondary.is_ready and secondary.icw3 & 7 == CASCADE_IRQ
        )
        self._is_simple = (
            self._has_slave
            and primary.is_ready
            and not primary.imr & _CASCADE
            and primary.icw4 & secondary.icw4 & ICW4_AEOI != 0
            and not (primary.isr or secondary.isr)
            and not (primary.level_triggered or secondary.level_triggered)
        )


class ChipPorts(BytePorts):
    """One chip's two ports: settles the pair around each access."""

    LENGTH = 2
    REGISTERS: Final = REGISTERS

    def __init__(self, pic: Pic, chip: PicChip) -> None:
        self._pic = pic
        self._chip = chip

    def read_byte(self, offset: int) -> int:
        self._pic.catch_up()
        value = self._chip.read_byte(offset)
        self._pic.offer_next()
        return value

    def write_byte(self, offset: int, value: int) -> None:
        self._pic.catch_up()
        self._chip.write_byte(offset, value)
        self._pic.programmed()
        self._pic.offer_next()

    def peek_byte(self, offset: int) -> int:
        self._pic.catch_up()
        return self._chip.peek_byte(offset)


class EdgeLevelPorts(BytePorts):
    """The chipset's edge/level registers: offset 0 for IRQ 0-7, offset 1 for IRQ 8-15."""

    LENGTH = 2
    REGISTERS: Final = ELCR_REGISTERS

    def __init__(self, pic: Pic, chips: tuple[PicChip, PicChip]) -> None:
        self._pic = pic
        self._chips = chips

    def read_byte(self, offset: int) -> int:
        return self._chips[offset].elcr

    def write_byte(self, offset: int, value: int) -> None:
        self._pic.catch_up()
        self._chips[offset].elcr = value & ~ELCR_FIXED[offset]
        self._pic.programmed()
        self._pic.offer_next()

    def peek_byte(self, offset: int) -> int:
        return self._chips[offset].elcr


class _LineListener:
    """What a line calls when its level changes."""

    __slots__ = ("_chip", "_level", "_pic")

    def __init__(self, pic: Pic, chip: PicChip, level: int) -> None:
        self._pic = pic
        self._chip = chip
        self._level = level

    def __call__(self, high: bool) -> None:
        chip, level = self._chip, self._level
        if high or chip.elcr or chip.icw1 & ICW1_LTIM:
            self._pic.change(chip, level, high)
        else:
            chip.lines &= ~(1 << level)  # the end of an edge asks for nothing
