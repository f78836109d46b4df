"""Protects: no guest address leaves RAM; an exit finds its device by offset; lines have edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leulo.bus import Bus
from leulo.cpu import Cpu
from leulo.irq import Line
from leulo.memory import BadAddress, Memory

SIZE = 4 * 4096
MEMORY = Memory(SIZE)


class Register:
    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []

    def read(self, offset: int, width: int) -> int:
        self.seen.append((offset, width, -1))
        return offset

    def write(self, offset: int, width: int, value: int) -> None:
        self.seen.append((offset, width, value))

    def peek(self, offset: int, width: int) -> int:
        return offset


@given(st.integers(-(2**65), 2**65), st.integers(-(2**65), 2**65))
def test_a_range_is_taken_only_if_all_of_it_is_ram(address: int, length: int) -> None:
    inside = 0 <= address and 0 <= length and address + length <= SIZE
    if inside:
        assert len(MEMORY.read(address, length)) == length
    else:
        with pytest.raises(BadAddress):
            MEMORY.read(address, length)


def test_a_write_across_the_end_writes_nothing() -> None:
    memory = Memory(4096)
    with pytest.raises(BadAddress):
        memory.write(4090, b"12345678")
    assert memory.read(4090, 6) == bytes(6)
    memory.write(4090, b"123456")
    assert memory.read(4090, 6) == b"123456"


def test_ram_is_whole_pages() -> None:
    with pytest.raises(ValueError, match="multiple"):
        Memory(5000)


def test_the_bus_gives_offsets_and_reads_ones_where_nobody_is() -> None:
    bus, chip = Bus("port"), Register()
    bus.attach(0x40, 4, "PIT", chip)
    bus.write(0x43, 1, 7)
    assert bus.read(0x42, 1) == 2
    assert bus.peek(0x41, 1) == 1
    assert chip.seen == [(3, 1, 7), (2, 1, -1)]
    assert bus.read(0x44, 1) == 0xFF and bus.peek(0x44, 2) == 0xFFFF
    bus.write(0x44, 4, 1)
    assert bus.ranges() == [(0x40, 4, "PIT")]


def test_two_devices_cannot_share_an_address() -> None:
    bus = Bus("port")
    bus.attach(0x40, 4, "PIT", Register())
    with pytest.raises(ValueError, match="overlaps"):
        bus.attach(0x43, 1, "other", Register())


def test_a_device_that_leaves_is_nobody_s_again_and_large_ones_go_by_pages() -> None:
    bus, chip = Bus("mmio"), Register()
    bus.attach(0xFEB00000, 0x3000, "card", chip)
    bus.attach(0xFEB03000, 16, "small", chip)
    assert bus.read(0xFEB02FFC, 4) == 0x2FFC
    assert bus.peek(0xFEB03004, 4) == 4
    with pytest.raises(ValueError, match="card overlaps") as caught:
        bus.attach(0xFEB01800, 4, "card", chip)
    assert "0xfeb01800" in str(caught.value)
    bus.detach(0xFEB00000)
    assert bus.read(0xFEB00000, 4) == 0xFFFFFFFF
    assert bus.ranges() == [(0xFEB03000, 16, "small")]
    with pytest.raises(KeyError):
        bus.detach(0xFEB00000)


def test_accesses_are_counted_by_device_once_that_is_asked_for() -> None:
    bus, chip = Bus("port"), Register()
    bus.attach(0x20, 2, "PIC 1", chip)
    bus.read(0x20, 1)
    assert bus.counters() == {"unclaimed": 0}
    bus.count_accesses()
    bus.attach(0x1000, 4096, "late", chip)
    bus.read(0x20, 1)
    bus.write(0x21, 1, 5)
    bus.peek(0x20, 1)
    bus.write(0x1FFF, 1, 5)
    bus.read(0x80, 1)
    bus.write(0x80, 1, 1)
    assert bus.counters() == {"pic_1": 2, "late": 1, "unclaimed": 2}
    assert chip.seen[-2:] == [(1, 1, 5), (0xFFF, 1, 5)]


def test_a_door_takes_32_bit_writes_until_accesses_are_counted() -> None:
    """Protects: the short way to the gate changes nothing of other widths, nor what is counted."""
    memory, ports, seen = Memory(1 << 20), Bus("port"), Register()
    taken: list[int] = []
    ports.attach(0x5E0, 4, "gate", seen)
    ports.doors[0x5E0] = taken.append
    code = b"\xef\xee\x66\xef\xf4"  # out dx, eax; out dx, al; out dx, ax; hlt
    memory.write(0x1000, b"\x66\xba\xe0\x05" + code)  # mov dx, 0x5e0
    cpu = Cpu(memory, ports, Bus("mmio"), doors=ports.doors)
    cpu.reset(0x1000, 0x1234, 0)
    cpu.run(100)
    assert (taken, [access[:2] for access in seen.seen]) == ([0x1234], [(0, 1), (0, 2)])
    ports.count_accesses()
    cpu.reset(0x1000, 0x1234, 0)
    cpu.run(100)
    assert (len(taken), len(seen.seen), ports.counters()["gate"]) == (1, 5, 3)
    cpu.close()


def test_a_line_tells_only_changes() -> None:
    levels: list[bool] = []
    line = Line(levels.append)
    line.set(False)
    line.set(True)
    line.set(True)
    line.pulse()
    assert levels == [True, False, True, False]
