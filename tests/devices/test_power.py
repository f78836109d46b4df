"""Ports that end or reset the machine act on what software writes there, and on nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leulo.devices.debug_console import DebugConsole
from leulo.devices.power import ResetControl, SleepControl, SystemControlA


class Count:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def test_reset_control_acts_on_the_rise_of_its_bit() -> None:
    resets = Count()
    port = ResetControl(resets)
    for value, wanted in ((0x02, 0), (0x04, 1), (0x04, 1), (0x00, 1), (0x0E, 2)):
        port.write(0, 1, value)
        assert resets.times == wanted
    assert port.read(0, 1) == 0x06


def test_port_92_resets_and_keeps_a20_open() -> None:
    resets = Count()
    port = SystemControlA(resets)
    assert port.read(0, 1) == 0x02
    port.write(0, 1, 0x00)
    assert port.read(0, 1) == 0x02
    assert resets.times == 0
    port.write(0, 1, 0x03)
    port.write(0, 1, 0x03)
    assert resets.times == 1


def test_sleep_control_powers_off_on_the_word_of_qemu_and_bochs_only() -> None:
    offs = Count()
    port = SleepControl(offs)
    port.write(0, 2, 0x0000)
    port.write(0, 2, 0x2400)  # sleep type 1: suspend
    port.write(0, 1, 0x20)
    port.write(1, 1, 0x20)
    assert offs.times == 0
    assert port.read(0, 2) == 0xFFFF
    port.write(0, 2, 0x2000)
    assert offs.times == 1


def test_debug_console_gives_lines_and_is_found_by_its_number() -> None:
    lines: list[bytes] = []
    port = DebugConsole(lines.append)
    assert port.read(0, 1) == 0xE9
    for byte in b"early\nmore":
        port.write(0, 1, byte)
    assert lines == [b"early\n"]
    port.flush()
    port.flush()
    assert lines == [b"early\n", b"more"]
    for _ in range(300):
        port.write(0, 1, 0x41)
    assert len(lines[-1]) == 256
    copy = DebugConsole(lines.append)
    copy.load(port.save())
    assert copy.save() == port.save()


@given(st.integers(0, 5), st.sampled_from([1, 2, 4]), st.integers(0, 2**32 - 1))
def test_any_access_is_survived(offset: int, width: int, value: int) -> None:
    for device in (
        ResetControl(Count()), SystemControlA(Count()), SleepControl(Count()),
        DebugConsole(lambda _: None),
    ):  # fmt: skip
        device.write(offset, width, value & (1 << 8 * width) - 1)
        before = device.save()
        assert device.peek(offset, width) == device.read(offset, width) < 1 << 8 * width
        device.reset()
        device.load(before)
        assert device.save() == before
