"""PCI: configuration mechanism 1, one bus of functions, and their windows on the other buses.

`ConfigPorts` is what the CPU sees at 0xCF8 to 0xCFF; `PciBus` finds the function that an address
names; a `PciFunction` is 256 bytes with a mask of what software may change. Where nobody answers,
reads are all ones [PCI 3.0 6.1]. A function's base address registers are sized by writing ones to
them [PCI 3.0 6.2.5.1], and its windows lie on the bus only while the command register opens them.
A guest may put a window anywhere: where something else is already, it stays off the bus and is
counted. There are no bridges, so all is on bus 0, and no interrupt router: a function's line is
wired by the machine, and the interrupt line register tells software which that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from leulo.bus import Bus, Target
from leulo.devices.byte_ports import FLOATING, BytePorts
from leulo.devices.power import ResetControl
from leulo.devices.register import BOTH, READ, Register
from leulo.state import State, load_fields, save_fields

CONFIG_BYTES: Final = 256
DEVICES: Final = 32
FUNCTIONS: Final = 8
BARS: Final = 6

VENDOR_ID: Final = 0x00
DEVICE_ID: Final = 0x02
COMMAND: Final = 0x04
STATUS: Final = 0x06
REVISION: Final = 0x08
CLASS_CODE: Final = 0x09  # three bytes: interface, sub-class, class
HEADER_TYPE: Final = 0x0E
BAR_0: Final = 0x10
SUBSYSTEM_VENDOR: Final = 0x2C
SUBSYSTEM: Final = 0x2E
INTERRUPT_LINE: Final = 0x3C
INTERRUPT_PIN: Final = 0x3D

COMMAND_IO: Final = 0x0001
COMMAND_MEMORY: Final = 0x0002
COMMAND_MASTER: Final = 0x0004
COMMAND_INTX_DISABLE: Final = 0x0400
COMMAND_WRITABLE: Final = COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_INTX_DISABLE
BAR_IO: Final = 0x1
NO_LINE: Final = 0xFF  # an interrupt line register's "not connected"

ENABLE: Final = 1 << 31
ADDRESS_WRITABLE: Final = 0x80FFFFFC
RESET_OFFSET: Final = 1  # 0xCF9: a byte access there is the chipset's reset control register
DATA_OFFSET: Final = 4  # 0xCFC

CLASS_HOST_BRIDGE: Final = 0x060000

REGISTERS: Final = (
    Register("CONFIG_ADDRESS", 0, BOTH, "a 32-bit access only", 0, ADDRESS_WRITABLE, (
        (ENABLE, "enable"),
        (0x00FF0000, "bus"),
        (0x0000F800, "device"),
        (0x00000700, "function"),
        (0x000000FC, "register"),
    ), width=4),
    *(
        replace(register, at=RESET_OFFSET, when="a byte access")
        for register in ResetControl.REGISTERS
    ),
    Register("CONFIG_DATA", DATA_OFFSET, BOTH, "the addressed register; all ones if nobody answers",
             0xFFFFFFFF, width=4),
)  # fmt: skip
# Configuration space: offset, bytes, name and the bits that do something.
# What each of them holds at first and lets software change is `PciFunction`'s.
CONFIGURATION: Final = (
    (VENDOR_ID, 2, "Vendor ID", ()),
    (DEVICE_ID, 2, "Device ID", ()),
    (COMMAND, 2, "Command", (
        (COMMAND_IO, "I/O space: opens port windows"),
        (COMMAND_MEMORY, "memory space: opens memory windows"),
        (COMMAND_MASTER, "bus master"),
        (COMMAND_INTX_DISABLE, "interrupt disable"),
    )),
    (STATUS, 2, "Status", ()),
    (REVISION, 1, "Revision ID", ()),
    (CLASS_CODE, 3, "Class code", ()),
    (HEADER_TYPE, 1, "Header type", ()),
    *((BAR_0 + 4 * number, 4, f"BAR {number}", ()) for number in range(BARS)),
    (SUBSYSTEM_VENDOR, 2, "Subsystem vendor ID", ()),
    (SUBSYSTEM, 2, "Subsystem ID", ()),
    (INTERRUPT_LINE, 1, "Interrupt line", ()),
    (INTERRUPT_PIN, 1, "Interrupt pin", ()),
)  # fmt: skip


class Window:
    """One base address register: ``size`` bytes (a power of two) of ``bus`` for ``target``.

    A port window has 4 to 256 bytes, a memory window 16 bytes to 16 MiB.
    """

    __slots__ = ("base", "bus", "is_io", "name", "size", "target")

    def __init__(self, bus: Bus, name: str, size: int, target: Target, *, is_io: bool) -> None:
        least, most = (4, 256) if is_io else (16, 1 << 24)
        if size & (size - 1) or not least <= size <= most:
            raise ValueError(f"{name}: a window cannot have {size} bytes")
        self.bus = bus
        self.name = name
        self.size = size
        self.target = target
        self.is_io = is_io
        self.base: int | None = None  # where it lies on the bus now


class PciFunction:
    """One function's configuration space. ``windows`` are its base address registers, by number.

    ``line`` is the IRQ that its INTA# is wired to, or None for a function without interrupts.
    """

    FIELDS: Final = ("refused",)

    def __init__(
        self,
        vendor: int,
        device: int,
        class_code: int,
        *,
        revision: int = 0,
        subsystem: tuple[int, int] = (0, 0),
        line: int | None = None,
        windows: dict[int, Window] | None = None,
    ) -> None:
        self.refused = 0  # windows that the guest put where something else is
        self._windows = dict(sorted((windows or {}).items()))
        self._initial = bytearray(CONFIG_BYTES)
        self._mask = bytearray(CONFIG_BYTES)
        self._define(VENDOR_ID, 2, vendor)
        self._define(DEVICE_ID, 2, device)
        self._define(COMMAND, 2, 0, COMMAND_WRITABLE)
        self._define(REVISION, 1, revision)
        self._define(CLASS_CODE, 3, class_code)
        self._define(SUBSYSTEM_VENDOR, 2, subsystem[0])
        self._define(SUBSYSTEM, 2, subsystem[1])
        self._define(INTERRUPT_LINE, 1, NO_LINE if line is None else line, 0xFF)
        self._define(INTERRUPT_PIN, 1, 0 if line is None else 1)
        for number, window in self._windows.items():
            if not 0 <= number < BARS:
                raise ValueError(f"{window.name}: there is no base address register {number}")
            mask = -window.size & (0xFFFF if window.is_io else 0xFFFFFFFF)
            self._define(BAR_0 + 4 * number, 4, BAR_IO if window.is_io else 0, mask)
        self._values = bytearray(self._initial)

    def _define(self, at: int, length: int, value: int, writable: int = 0) -> None:
        self._initial[at : at + length] = value.to_bytes(length, "little")
        self._mask[at : at + length] = writable.to_bytes(length, "little")

    def register(self, at: int, length: int) -> int:
        """The value of ``length`` bytes at ``at``."""
        return int.from_bytes(self._values[at : at + length], "little")

    def registers(self) -> Iterator[Register]:
        """The configuration space as it is at power-on, by what is in it."""
        for at, length, name, bits in CONFIGURATION:
            reset, writable = (
                int.from_bytes(part[at : at + length], "little")
                for part in (self._initial, self._mask)
            )
            access = BOTH if writable else READ
            yield Register(name, at, access, "", reset, writable, bits, length)

    def read(self, at: int) -> int:
        """The byte at ``at``; reading has no side effects."""
        return self._values[at]

    def write(self, at: int, data: bytes) -> None:
        """Change what may be changed of the bytes from ``at`` on."""
        for number, byte in enumerate(data, at):
            mask = self._mask[number]
            self._values[number] = self._values[number] & ~mask | byte & mask
        if at < BAR_0 + 4 * BARS and at + len(data) > COMMAND:
            self._place()

    def _place(self) -> None:
        """Put each window where the registers say now, or take it off the bus."""
        command = self.register(COMMAND, 2)
        for number, window in self._windows.items():
            is_open = command & (COMMAND_IO if window.is_io else COMMAND_MEMORY)
            base = self.register(BAR_0 + 4 * number, 4) & -window.size
            # A register that holds its size mask is being sized, and one that holds 0 is not set.
            wanted = base if is_open and base and base + window.size < 1 << 32 else None
            if wanted == window.base:
                continue
            if window.base is not None:
                window.bus.detach(window.base)
                window.base = None
            if wanted is not None:
                try:
                    window.bus.attach(wanted, window.size, window.name, window.target)
                    window.base = wanted
                except ValueError:
                    self.refused += 1

    def reset(self) -> None:
        """As at power-on: no window on any bus."""
        self._values[:] = self._initial
        self._place()

    def save(self) -> State:
        return {**save_fields(self, 1, self.FIELDS), "values": bytes(self._values)}

    def load(self, state: State) -> None:
        """Raises ValueError for a state of another kind of function."""
        values = state.get("values")
        if not isinstance(values, bytes) or len(values) != CONFIG_BYTES:
            raise ValueError("PciFunction: saved state has no configuration space")
        for at in range(CONFIG_BYTES):
            if (values[at] ^ self._initial[at]) & ~self._mask[at]:
                raise ValueError(f"PciFunction: saved state is another function's (at {at:#x})")
        load_fields(self, 1, self.FIELDS, state)
        refused = self.refused
        self._values[:] = values
        self._place()
        self.refused = refused


def host_bridge() -> PciFunction:
    """Device 0 of every PC's bus: Intel's 82441FX, which software knows from QEMU and Bochs."""
    return PciFunction(0x8086, 0x1237, CLASS_HOST_BRIDGE, revision=2)


class PciBus:
    """Bus 0. Device and function numbers lead to functions."""

    def __init__(self) -> None:
        self._functions: dict[tuple[int, int], PciFunction] = {}

    def attach(self, device: int, pci_function: PciFunction, number: int = 0) -> None:
        """Raises ValueError where there is no such place or somebody has it."""
        place = (device, number)
        if not (0 <= device < DEVICES and 0 <= number < FUNCTIONS) or place in self._functions:
            raise ValueError(f"PCI {device:02x}.{number} is no free place")
        self._functions[place] = pci_function

    def find(self, bus: int, device: int, number: int) -> PciFunction | None:
        """The function there, if any."""
        return self._functions.get((device, number)) if bus == 0 else None

    def functions(self) -> list[tuple[int, int, PciFunction]]:
        """(device, function number, function), in order."""
        return [(device, number, self._functions[device, number])
                for device, number in sorted(self._functions)]  # fmt: skip


class ConfigPorts:
    """Eight ports at 0xCF8. [PCI 3.0 3.2.2.3.2]

    The address register takes 32-bit accesses only; smaller ones pass it by, and a byte at 0xCF9
    is ``reset_control``'s.
    """

    LENGTH = 8
    REGISTERS: Final = REGISTERS
    FIELDS: Final = ("address",)

    def __init__(self, bus: PciBus, reset_control: BytePorts) -> None:
        self._bus = bus
        self._reset_control = reset_control
        self.address = 0

    def read(self, offset: int, width: int) -> int:
        if offset >= DATA_OFFSET:
            return self._read_data(offset - DATA_OFFSET, width)
        if offset == 0 and width == 4:
            return self.address
        if offset == RESET_OFFSET and width == 1:
            return self._reset_control.read_byte(0)
        return (1 << 8 * width) - 1

    def write(self, offset: int, width: int, value: int) -> None:
        if offset >= DATA_OFFSET:
            found, register = self._selected(offset - DATA_OFFSET)
            if found is not None:
                count = min(width, self.LENGTH - offset)
                found.write(register, value.to_bytes(width, "little")[:count])
        elif offset == 0 and width == 4:
            self.address = value & ADDRESS_WRITABLE
        elif offset == RESET_OFFSET and width == 1:
            self._reset_control.write_byte(0, value)

    def peek(self, offset: int, width: int) -> int:
        return self.read(offset, width)  # no read here has a side effect

    def _selected(self, at: int) -> tuple[PciFunction | None, int]:
        address = self.address
        if not address & ENABLE:
            return None, 0
        found = self._bus.find(address >> 16 & 0xFF, address >> 11 & 0x1F, address >> 8 & 7)
        return found, (address & 0xFC) + at

    def _read_data(self, at: int, width: int) -> int:
        found, register = self._selected(at)
        value = 0
        for i in range(width):
            byte = found.read(register + i) if found is not None and at + i < 4 else FLOATING
            value |= byte << 8 * i
        return value

    def reset(self) -> None:
        self.address = 0
        for _, _, function in self._bus.functions():
            function.reset()

    def save(self) -> State:
        state = save_fields(self, 1, self.FIELDS)
        state["functions"] = [function.save() for _, _, function in self._bus.functions()]
        return state

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
        functions = self._bus.functions()
        if len(state["functions"]) != len(functions):
            raise ValueError("ConfigPorts: saved state has another number of functions")
        for (_, _, function), saved in zip(functions, state["functions"], strict=True):
            function.load(saved)
