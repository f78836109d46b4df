"""The declared registers are those of the chips: nothing in the reference is only said.

Protects: each register's value after power-on and the bits that can be written, tried on a whole
machine through its ports; every port of the machine is in a table, every bit the code has a name
for is too.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leulo.bus import Target
from leulo.clock import VirtualClock
from leulo.config import MachineConfig
from leulo.devices.pci import ENABLE
from leulo.devices.register import BOTH, READ, WRITE, Register, place
from leulo.links.base import Offload
from leulo.machine import Machine
from leulo.packaged import packaged
from leulo.trace import Trace

CONFIG_ADDRESS = 0xCF8
CONFIG_DATA = 0xCFC


def make() -> Machine:
    return Machine(
        MachineConfig(), VirtualClock(), Trace(), offload=Offload(True, 0),
        console=lambda data: None, random_bits=lambda bits: 0, epoch_s=0,
    )  # fmt: skip


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = make()
    yield made
    made.close()


def declared(target: Target) -> tuple[Register, ...]:
    registers: tuple[Register, ...] = vars(type(target))["REGISTERS"]
    return registers


def everything(machine: Machine) -> list[tuple[int, Register, tuple[Register, ...]]]:
    """(first port, register, all of its chip)."""
    return [
        (base, register, declared(machine.ports.target(base)))
        for base, _, _ in machine.ports.ranges()
        for register in declared(machine.ports.target(base))
    ]


def read(machine: Machine, base: int, register: Register) -> int:
    for offset, value in register.select:
        machine.ports.write(base + offset, 1, value)
    peeked = machine.ports.peek(base + register.at, register.width)
    got = machine.ports.read(base + register.at, register.width)
    assert got == peeked
    return got


def write(machine: Machine, base: int, register: Register, value: int) -> None:
    for offset, selecting in register.select:
        machine.ports.write(base + offset, 1, selecting)
    machine.ports.write(base + register.at, register.width, value)


def patterns(width: int) -> list[int]:
    ones = (1 << 8 * width) - 1
    return [0, ones, *(1 << bit for bit in range(8 * width)), 0x5A5A5A5A & ones, 0]


def test_each_port_is_in_a_table(machine: Machine) -> None:
    for base, length, name in machine.ports.ranges():
        registers = declared(machine.ports.target(base))
        held = {at for one in registers for at in range(one.at, one.at + one.width)}
        assert held >= set(range(length)), name


def test_registers_read_what_is_declared_after_power_on(machine: Machine) -> None:
    tried = 0
    for base, register, _ in everything(machine):
        assert register.access in (READ, WRITE, BOTH)
        if register.reset is not None:
            assert register.access != WRITE
            fresh = make()  # coming to a register may change another
            assert read(fresh, base, register) == register.reset, (hex(base), register.name)
            fresh.close()
            tried += 1
    assert tried > 30


@pytest.mark.compiler
@given(st.lists(st.tuples(st.integers(0, 63), st.sampled_from([1, 2, 4]), st.integers(0, 65535)),
                max_size=60))  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_a_reset_leaves_every_chip_as_at_power_on(writes: list[tuple[int, int, int]]) -> None:
    """But for the clock and its RAM, which have a battery."""

    def chips(machine: Machine) -> list[object]:
        return [
            chip.save()
            for chip in (
                machine.pic, machine.pit, machine.uart, machine.pci_config,
                machine.reset_control, machine.system_control, machine.debug_console,
            )
        ]  # fmt: skip

    machine = make()
    machine.load(packaged().read_bytes(), "guest")
    fresh = chips(machine)
    places = [
        base + offset
        for base, length, name in machine.ports.ranges()
        for offset in range(length)
        if name != "hypercall gate"
    ]
    for place_number, width, value in writes:
        machine.ports.write(places[place_number % len(places)], width, value)
    machine.begin_again()
    assert chips(machine) == fresh
    machine.close()


def test_exactly_the_declared_bits_are_written(machine: Machine) -> None:
    tried = 0
    for base, register, others in everything(machine):
        if register.access == WRITE:
            assert not register.writable
        elif register.writable:
            for value in patterns(register.width):
                before = read(machine, base, register)
                write(machine, base, register, value)
                got = read(machine, base, register)
                want = before & ~register.writable | value & register.writable
                if register.name == "register B" and value & 0x80:
                    want &= ~0x10  # SET clears UIE: the table says so
                if register.name == "port B":  # its upper bits go with the time
                    got, want = got & register.writable, want & register.writable
                assert got == want, (hex(base), register.name, value)
                tried += 1
            write(machine, base, register, 0)
        elif register.access == BOTH:
            same = 0
            for value in patterns(register.width):
                if register.name != "descriptor":  # no hypercalls here
                    write(machine, base, register, value)
                same += read(machine, base, register) == value
            assert same < len(patterns(register.width)), (hex(base), register.name)
        elif not any(o.at == register.at and o.access != READ for o in others):
            read(machine, base, register)  # takes away what earlier writes brought about
            before = read(machine, base, register)
            write(machine, base, register, (1 << 8 * register.width) - 1)
            assert read(machine, base, register) == before, (hex(base), register.name)
            tried += 1
    assert tried > 200


def test_configuration_space_is_as_declared(machine: Machine) -> None:
    for device, number, function in machine.pci.functions():
        spoken = {at for one in function.registers() for at in range(one.at, one.at + one.width)}
        for at in range(256):  # nothing is set, or can be, that has no name
            assert at in spoken or not function.read(at)
        for register in function.registers():
            ports = machine.ports
            for value in patterns(register.width):
                got = 0
                for n in range(register.width):  # a byte at a time: a class code has three
                    where = device << 11 | number << 8 | register.at + n & 0xFC
                    ports.write(CONFIG_ADDRESS, 4, ENABLE | where)
                    port = CONFIG_DATA + (register.at + n & 3)
                    if value == 0 and n == 0:
                        first = function.register(register.at, register.width)
                        assert first & ~register.writable == (
                            (register.reset or 0) & ~register.writable
                        )
                    ports.write(port, 1, value >> 8 * n & 0xFF)
                    got |= ports.read(port, 1) << 8 * n
                reset = register.reset or 0
                assert got == reset & ~register.writable | value & register.writable, register


def test_every_bit_that_the_code_names_is_in_its_table(machine: Machine) -> None:
    tried = 0
    for _, register, _ in everything(machine):
        for bit, words in register.bits:
            assert bit and words and bit < 1 << 8 * register.width
    for module_name, prefixes in {
        "uart": {one: one for one in ("IER", "IIR", "FCR", "LCR", "MCR", "LSR", "MSR")},
        "rtc": {"A": "register A", "B": "register B", "C": "register C", "D": "register D"},
        "pic_chip": {one: one for one in ("ICW1", "ICW4", "OCW3")},
    }.items():
        module = importlib.import_module(f"leulo.devices.{module_name}")
        for prefix, name in prefixes.items():
            (register,) = (one for one in module.REGISTERS if one.name == name)
            masks = 0
            for mask, _ in register.bits:
                masks |= mask
            for constant, value in vars(module).items():
                is_bit = isinstance(value, int) and value.bit_count() == 1
                if constant.startswith(f"{prefix}_") and is_bit:
                    assert value & masks == value, (constant, name)
                    tried += 1
    assert tried > 35


def test_places_are_written_as_in_datasheets() -> None:
    assert [place(mask) for mask in (0x80, 0x01, 0xC0, 0x0F, 1 << 31)] == [
        "7", "0", "7-6", "3-0", "31",
    ]  # fmt: skip
