"""One 8259A interrupt controller: eight inputs, priorities, and the words that program it.

It knows its inputs and its registers, not the CPU and not the other chip of the pair: `pic` joins
two of them. An acknowledge cycle is the method `acknowledge`; nothing here happens by itself.

Requests of edge inputs are latched until they are acknowledged even if the input falls earlier,
as in the controllers of PC chipsets; the discrete chip would then answer with level 7.
The chip always works in 8086 mode: [8259A ICW4] bit 0 is stored and not looked at.
"""

from __future__ import annotations

from typing import Final

from leulo.devices.byte_ports import BytePorts
from leulo.devices.register import BOTH, READ, WRITE, Register
from leulo.state import State, load_fields, save_fields

ICW1: Final = 0x10  # A0 = 0: this bit begins initialisation
ICW1_IC4: Final = 0x01  # ICW4 will follow
ICW1_SNGL: Final = 0x02  # no other chip: ICW3 will not follow
ICW1_LTIM: Final = 0x08  # all inputs are level triggered
ICW4_AEOI: Final = 0x02
ICW4_SFNM: Final = 0x10
OCW3: Final = 0x08  # A0 = 0, without ICW1: this bit tells OCW3 from OCW2
OCW3_RIS: Final = 0x01
OCW3_RR: Final = 0x02
OCW3_POLL: Final = 0x04
OCW3_SMM: Final = 0x20
OCW3_ESMM: Final = 0x40

# OCW2 bits 7-5: R, SL, EOI.
OCW2_CLEAR_ROTATE_AEOI: Final = 0
OCW2_EOI: Final = 1
OCW2_NOTHING: Final = 2
OCW2_SPECIFIC_EOI: Final = 3
OCW2_SET_ROTATE_AEOI: Final = 4
OCW2_ROTATE_EOI: Final = 5
OCW2_SET_PRIORITY: Final = 6
OCW2_ROTATE_SPECIFIC_EOI: Final = 7

SPURIOUS_LEVEL: Final = 7  # what an acknowledge without a request yields
POLL_REQUEST: Final = 0x80  # the poll byte: somebody asks
ICW2_BASE: Final = 0xF8

REGISTERS: Final = (
    Register("ICW1", 0, WRITE, "begins initialisation", when="bit 4 is 1", bits=(
        (ICW1_IC4, "IC4: ICW4 will follow"),
        (ICW1_SNGL, "SNGL: no ICW3"),
        (ICW1_LTIM, "LTIM: all inputs are level triggered"),
        (ICW1, "1"),
    )),
    Register("ICW2", 1, WRITE, "vectors", when="after ICW1", bits=(
        (ICW2_BASE, "T7-T3: the vector of input 0"),
    )),
    Register("ICW3", 1, WRITE, "which inputs have a slave; a slave's own number",
             when="after ICW2, if SNGL is 0"),
    Register("ICW4", 1, WRITE, "", when="last, if IC4", bits=(
        (ICW4_AEOI, "AEOI: automatic end of interrupt"),
        (ICW4_SFNM, "SFNM: special fully nested"),
    )),
    Register("IMR", 1, BOTH, "interrupt mask (OCW1): a bit an input", 0, 0xFF,
             when="outside initialisation"),
    Register("OCW2", 0, WRITE, "ends and rotations", when="bits 4, 3 are 0", bits=(
        (0x07, "L: the level"),
        (0xE0, f"R, SL, EOI: {OCW2_EOI} EOI, {OCW2_SPECIFIC_EOI} specific, {OCW2_ROTATE_EOI} and "
         f"{OCW2_ROTATE_SPECIFIC_EOI} the same and rotate, {OCW2_SET_PRIORITY} set priority, "
         f"{OCW2_SET_ROTATE_AEOI} and {OCW2_CLEAR_ROTATE_AEOI} rotate in AEOI on and off"),
    )),
    Register("OCW3", 0, WRITE, "", when="bit 4 is 0, bit 3 is 1", bits=(
        (OCW3_RIS, "RIS: offset 0 reads ISR, else IRR"),
        (OCW3_RR, "RR: RIS counts"),
        (OCW3_POLL, "P: the next read is the poll byte"),
        (OCW3, "1"),
        (OCW3_SMM, "SMM: special mask mode"),
        (OCW3_ESMM, "ESMM: SMM counts"),
    )),
    Register("IRR", 0, READ, "interrupt requests: a bit an input", 0, when="OCW3 RR, RIS = 0",
             select=((0, OCW3 | OCW3_RR),)),
    Register("ISR", 0, READ, "interrupts in service: a bit an input", 0, when="OCW3 RR, RIS = 1",
             select=((0, OCW3 | OCW3_RR | OCW3_RIS),)),
    Register("poll byte", 0, READ, "acknowledges; at either offset", 0, 0, (
        (0x07, "the level"),
        (POLL_REQUEST, "I: somebody asks"),
    ), when="OCW3 P", select=((0, OCW3 | OCW3_POLL),)),
)  # fmt: skip


class PicChip(BytePorts):
    """Registers at A0 = 0 and A0 = 1. ``lines`` are the input levels, bit n for IRn."""

    LENGTH = 2
    FIELDS: Final = (
        "lines",
        "latched",
        "imr",
        "isr",
        "elcr",
        "vector_base",
        "icw1",
        "icw3",
        "icw4",
        "icw_next",
        "is_ready",
        "lowest",
        "rotates_on_aeoi",
        "special_mask",
        "reads_isr",
        "poll",
    )

    def __init__(self) -> None:
        self.lines = 0
        self.elcr = 0  # inputs made level triggered from outside the chip
        self.reset()

    def reset(self) -> None:
        """Power-on: asks for nothing until it has been initialised. Inputs keep their level."""
        self.latched = 0  # edges seen and not yet acknowledged
        self.imr = 0
        self.isr = 0
        self.elcr = 0
        self.vector_base = 0
        self.icw1 = 0
        self.icw3 = 0
        self.icw4 = 0
        self.icw_next = 0  # which of ICW2, 3, 4 is expected at A0 = 1; 0: none
        self.is_ready = False
        self.lowest = 7  # the level of lowest priority
        self.rotates_on_aeoi = False
        self.special_mask = False
        self.reads_isr = False
        self.poll = False

    @property
    def irr(self) -> int:
        """The Interrupt Request Register: latched edges, and level inputs as they are."""
        level_triggered = self.level_triggered
        return self.latched & ~level_triggered | self.lines & level_triggered

    @property
    def level_triggered(self) -> int:
        """Which inputs are, as bits."""
        return 0xFF if self.icw1 & ICW1_LTIM else self.elcr

    def leaves_any(self, level: int) -> bool:
        """Do unmasked requests remain when ``level`` has been acknowledged?"""
        if self.latched == 1 << level and not (self.elcr or self.icw1 & ICW1_LTIM):
            return False
        return self.irr & ~self.imr & ~(1 << level & ~self.level_triggered) != 0

    def set_line(self, level: int, high: bool) -> None:
        """Input ``level`` (0 to 7) is now high or low."""
        bit = 1 << level
        if high:
            if not self.lines & bit:
                self.latched |= bit
            self.lines |= bit
        else:
            self.lines &= ~bit

    def pending(self) -> int | None:
        """The level for which INT is high, or None. [8259A Fully Nested Mode]"""
        if self.elcr or self.icw1 & ICW1_LTIM:
            requests = self.irr & ~self.imr
        else:
            requests = self.latched & ~self.imr
        if not requests or not self.is_ready:
            return None
        if not self.isr:
            if not requests & requests - 1:  # one bit: no question of priority
                return requests.bit_length() - 1
            return self._first(requests)
        level = self._first(requests)
        # In the special mask mode a masked level in service holds nobody back.
        in_service = self.isr & ~self.imr if self.special_mask else self.isr
        current = self._first(in_service)
        if level is None or current is None or self._rank(level) < self._rank(current):
            return level
        if level == current and self.icw4 & ICW4_SFNM and self.icw3 >> level & 1:
            return level  # a slave in service may ask again [8259A Special Fully Nested Mode]
        return None

    def acknowledge(self, level: int) -> None:
        """The INTA cycle for ``level``, which is `pending`. While nobody asks the chip answers as
        for level 7, and no bit is set in ISR."""
        self.latched &= ~(1 << level)
        if not self.icw4 & ICW4_AEOI:
            self.isr |= 1 << level
        elif self.rotates_on_aeoi:
            self.lowest = level

    def read_byte(self, offset: int) -> int:
        value = self.peek_byte(offset)
        if self.poll:
            self.poll = False
            if value & POLL_REQUEST:
                self.acknowledge(value & 7)
        return value

    def peek_byte(self, offset: int) -> int:
        if self.poll:  # at either address [8259A Poll Command]
            level = self.pending()
            return 0 if level is None else POLL_REQUEST | level
        if offset == 1:
            return self.imr
        return self.isr if self.reads_isr else self.irr

    def write_byte(self, offset: int, value: int) -> None:
        if offset == 1:
            if self.icw_next:
                self._write_icw(value)
            else:
                self.imr = value  # OCW1
        elif value & ICW1:
            self._begin(value)
        elif value & OCW3:
            self._write_ocw3(value)
        else:
            self._write_ocw2(value >> 5, value & 7)

    def save(self) -> State:
        return save_fields(self, 1, self.FIELDS)

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)

    def _rank(self, level: int) -> int:
        """0 for the highest priority, 7 for the lowest."""
        return level - self.lowest - 1 & 7

    def _first(self, levels: int) -> int | None:
        """The level of highest priority among the bits of ``levels``."""
        if not levels:
            return None
        highest = self.lowest + 1 & 7
        turned = (levels >> highest | levels << 8 - highest) & 0xFF
        return (turned & -turned).bit_length() - 1 + highest & 7

    def _begin(self, value: int) -> None:
        """[8259A ICW1]: edges are forgotten, the mask is cleared, level 7 is lowest."""
        self.icw1 = value
        self.icw3 = 0
        self.icw4 = 0
        self.latched = 0
        self.imr = 0
        self.isr = 0
        self.lowest = 7
        self.rotates_on_aeoi = False
        self.special_mask = False
        self.reads_isr = False
        self.poll = False
        self.is_ready = False
        self.icw_next = 2

    def _write_icw(self, value: int) -> None:
        if self.icw_next == 2:
            self.vector_base = value & ICW2_BASE
            wanted = 3
        elif self.icw_next == 3:
            self.icw3 = value
            wanted = 4
        else:
            self.icw4 = value
            wanted = 5
        if wanted == 3 and self.icw1 & ICW1_SNGL:
            wanted = 4
        if wanted == 4 and not self.icw1 & ICW1_IC4:
            wanted = 5
        self.icw_next = wanted if wanted < 5 else 0
        self.is_ready = self.icw_next == 0

    def _write_ocw2(self, command: int, level: int) -> None:
        """[8259A OCW2]: ends of interrupt and rotations."""
        if command == OCW2_SET_ROTATE_AEOI:
            self.rotates_on_aeoi = True
        elif command == OCW2_CLEAR_ROTATE_AEOI:
            self.rotates_on_aeoi = False
        elif command == OCW2_SET_PRIORITY:
            self.lowest = level
        elif command in (OCW2_SPECIFIC_EOI, OCW2_ROTATE_SPECIFIC_EOI):
            self.isr &= ~(1 << level)
            if command == OCW2_ROTATE_SPECIFIC_EOI:
                self.lowest = level
        elif command in (OCW2_EOI, OCW2_ROTATE_EOI):
            # A masked level survives a non-specific EOI in the special mask mode.
            ended = self._first(self.isr & ~self.imr if self.special_mask else self.isr)
            if ended is not None:
                self.isr &= ~(1 << ended)
                if command == OCW2_ROTATE_EOI:
                    self.lowest = ended

    def _write_ocw3(self, value: int) -> None:
        """[8259A OCW3]: special mask, poll, and which register A0 = 0 reads."""
        if value & OCW3_ESMM:
            self.special_mask = bool(value & OCW3_SMM)
        if value & OCW3_POLL:
            self.poll = True
        elif value & OCW3_RR:
            self.reads_isr = bool(value & OCW3_RIS)
