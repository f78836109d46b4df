"""PCI configuration as a kernel probes it, and what a hostile one may try with windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leulo.bus import Bus
from leulo.devices.pci import (
    ENABLE,
    ConfigPorts,
    PciBus,
    PciFunction,
    Window,
    host_bridge,
)
from leulo.devices.power import ResetControl

PORT_BASE = 0xCF8


class Registers:
    """A device behind a window: remembers, and answers with the offset."""

    def __init__(self) -> None:
        self.written: list[tuple[int, int, int]] = []

    def read(self, offset: int, width: int) -> int:
        return offset & 0xFF

    def write(self, offset: int, width: int, value: int) -> None:
        self.written.append((offset, width, value))

    def peek(self, offset: int, width: int) -> int:
        return offset & 0xFF


class Bench:
    """A bus with a host bridge and, at device 3, a card with one memory and one port window."""

    def __init__(self) -> None:
        self.ports, self.mmio = Bus("port"), Bus("mmio")
        self.registers = Registers()
        self.resets = 0
        self.card = PciFunction(
            0x8086, 0x100E, 0x020000, line=11,
            windows={
                0: Window(self.mmio, "card", 0x20000, self.registers, is_io=False),
                1: Window(self.ports, "card ports", 0x40, self.registers, is_io=True),
            },
        )  # fmt: skip
        self.pci = PciBus()
        self.pci.attach(0, host_bridge())
        self.pci.attach(3, self.card)
        self.config = ConfigPorts(self.pci, ResetControl(self._reset))
        self.ports.attach(PORT_BASE, 8, "PCI configuration", self.config)

    def _reset(self) -> None:
        self.resets += 1

    def select(self, device: int, register: int, bus: int = 0, number: int = 0) -> None:
        address = ENABLE | bus << 16 | device << 11 | number << 8 | register & 0xFC
        self.ports.write(PORT_BASE, 4, address)

    def read(self, device: int, register: int, width: int = 4, **place: int) -> int:
        self.select(device, register, **place)
        return self.ports.read(0xCFC + (register & 3), width)

    def write(self, device: int, register: int, value: int, width: int = 4) -> None:
        self.select(device, register)
        self.ports.write(0xCFC + (register & 3), width, value)


def test_a_kernel_finds_mechanism_1_and_the_host_bridge() -> None:
    """What Linux does first: a byte to 0xCFB must not disturb, the address reads back."""
    bench = Bench()
    bench.ports.write(0xCFB, 1, 1)
    bench.ports.write(PORT_BASE, 4, 0x80000000)
    assert bench.ports.read(PORT_BASE, 4) == 0x80000000
    assert bench.read(0, 0x00) == 0x12378086
    assert bench.read(0, 0x08) >> 8 == 0x060000
    assert bench.read(0, 0x0A, 2) == 0x0600
    assert bench.read(0, 0x0B, 1) == 0x06


def test_where_nobody_is_reads_are_ones() -> None:
    bench = Bench()
    assert bench.read(1, 0) == 0xFFFFFFFF
    assert bench.read(3, 0, number=1) == 0xFFFFFFFF
    assert bench.read(0, 0, bus=1) == 0xFFFFFFFF
    bench.ports.write(PORT_BASE, 4, 0)  # not enabled
    assert bench.ports.read(0xCFC, 4) == 0xFFFFFFFF
    assert bench.ports.read(PORT_BASE, 2) == 0xFFFF


def test_sizing_a_base_address_register() -> None:
    bench = Bench()
    bench.write(3, 0x10, 0xFFFFFFFF)
    assert bench.read(3, 0x10) == 0xFFFE0000
    bench.write(3, 0x14, 0xFFFFFFFF)
    assert bench.read(3, 0x14) == 0x0000FFC1
    bench.write(3, 0x18, 0xFFFFFFFF)
    assert bench.read(3, 0x18) == 0, "a register the function does not have"
    assert (bench.read(3, 0x3C, 1), bench.read(3, 0x3D, 1)) == (11, 1)


def test_a_window_opens_with_the_command_register_and_moves_with_its_base() -> None:
    bench = Bench()
    bench.write(3, 0x10, 0xFEB00000)
    bench.write(3, 0x14, 0xC000)
    assert bench.mmio.ranges() == []
    bench.write(3, 0x04, 0x0007, 2)
    assert bench.mmio.ranges() == [(0xFEB00000, 0x20000, "card")]
    assert bench.mmio.read(0xFEB1FFFC, 4) == 0xFC
    bench.mmio.write(0xFEB00010, 4, 7)
    bench.ports.write(0xC020, 2, 9)
    assert bench.registers.written == [(0x10, 4, 7), (0x20, 2, 9)]
    bench.write(3, 0x10, 0xFD000000)
    assert bench.mmio.ranges() == [(0xFD000000, 0x20000, "card")]
    assert bench.mmio.read(0xFEB00000, 4) == 0xFFFFFFFF
    bench.write(3, 0x04, 0, 2)
    assert bench.mmio.ranges() == []
    assert (0xC000, 0x40, "card ports") not in bench.ports.ranges()


def test_a_window_over_another_device_stays_off_the_bus() -> None:
    bench = Bench()
    bench.write(3, 0x14, 0x0CC0)
    bench.write(3, 0x04, 0x0001, 2)
    assert bench.card.refused > 0
    assert bench.read(0, 0) == 0x12378086, "the configuration ports are still themselves"
    bench.write(3, 0x14, 0xD000)
    assert bench.ports.read(0xD004, 1) == 4


def test_identity_cannot_be_written() -> None:
    bench = Bench()
    before = [bench.read(3, at) for at in (0, 8, 0x2C)]
    for at in (0, 8, 0x2C):
        bench.write(3, at, 0xFFFFFFFF)
    assert [bench.read(3, at) for at in (0, 8, 0x2C)] == before
    bench.write(3, 0x04, 0xFFFF, 2)
    assert bench.read(3, 0x04, 2) == 0x0407


def test_reset_control_lies_between_the_address_bytes() -> None:
    bench = Bench()
    bench.select(3, 0)
    address = bench.ports.read(PORT_BASE, 4)
    bench.ports.write(0xCF9, 1, 0x02)
    assert bench.resets == 0
    bench.ports.write(0xCF9, 1, 0x06)
    bench.ports.write(0xCF9, 1, 0x06)  # no rise
    assert bench.resets == 1
    assert bench.ports.read(0xCF9, 1) == 0x06
    assert bench.ports.read(PORT_BASE, 4) == address


def test_reset_takes_the_windows_off() -> None:
    bench = Bench()
    bench.write(3, 0x10, 0xFEB00000)
    bench.write(3, 0x04, 2, 2)
    bench.config.reset()
    assert bench.mmio.ranges() == []
    assert bench.read(3, 0x10) == 0


@pytest.mark.parametrize(("size", "is_io"), [(3, True), (512, True), (8, False), (1 << 25, False)])
def test_a_window_of_impossible_size_is_our_mistake(size: int, is_io: bool) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        Window(Bus("b"), "w", size, Registers(), is_io=is_io)


accesses = st.tuples(
    st.booleans(), st.integers(0, 7), st.sampled_from([1, 2, 4]),
    st.one_of(
        st.integers(0, 2**32 - 1),
        st.sampled_from([0x80001804, 0x80001810, 0x80001814, 7, 0xCF8, 0xFFFFFFFF, 0xFEB00000]),
    ),
)  # fmt: skip


@given(st.lists(accesses, max_size=60))
def test_any_access_is_survived(script: list[tuple[bool, int, int, int]]) -> None:
    """Nothing raises, peek tells what a read will, windows never take another device's place,
    and the state carries over to another machine's bus."""
    bench = Bench()
    for is_write, offset, width, value in script:
        if is_write:
            bench.config.write(offset, width, value & (1 << 8 * width) - 1)
        else:
            seen = bench.config.peek(offset, width)
            assert bench.config.read(offset, width) == seen < 1 << 8 * width
        assert len(bench.mmio.ranges()) <= 1
        assert (PORT_BASE, 8, "PCI configuration") in bench.ports.ranges()
    copy = Bench()
    copy.config.load(bench.config.save())
    assert copy.config.save() == bench.config.save()
    assert copy.mmio.ranges() == bench.mmio.ranges()


def test_a_state_of_another_card_is_refused() -> None:
    state = Bench().card.save()
    with pytest.raises(ValueError, match="another function's"):
        host_bridge().load(state)
