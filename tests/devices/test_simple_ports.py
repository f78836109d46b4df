"""The one-register devices: hypercall gate, debug exit, keyboard reset."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leulo.devices.debug_exit import DebugExit
from leulo.devices.gate import Gate
from leulo.devices.keyboard import Keyboard


def test_gate_takes_only_whole_addresses_and_shows_its_magic() -> None:
    calls: list[int] = []
    gate = Gate(0x4F4C554C, calls.append)
    gate.write(0, 4, 0x00123458)
    gate.write(0, 2, 0x1234)
    gate.write(0, 1, 0x12)
    assert calls == [0x00123458]
    assert gate.save()["refused"] == 2
    assert gate.read(0, 4) == 0x4F4C554C
    assert gate.peek(0, 4) == 0x4F4C554C
    assert gate.read(0, 1) == 0xFF
    other = Gate(0, calls.append)
    other.load(gate.save())
    assert other.save() == gate.save()
    gate.reset()
    assert gate.save()["refused"] == 0


def test_debug_exit_gives_the_status() -> None:
    statuses: list[int] = []
    port = DebugExit(statuses.append)
    port.write(0, 1, 0)
    port.write(0, 4, 3)
    port.write(1, 1, 9)
    assert statuses == [0, 3]
    assert port.read(0, 1) == 0


def test_keyboard_resets_on_its_command_only() -> None:
    resets: list[str] = []
    keyboard = Keyboard(lambda: resets.append("reset"))
    assert not keyboard.read(0, 1) & 0x03  # nothing to read, ready for a command
    keyboard.write(0, 1, 0xFE)
    assert resets == ["reset"]


@given(st.integers(0, 7), st.sampled_from([1, 2, 4]), st.integers(0, 2**32 - 1))
def test_any_access_is_survived(offset: int, width: int, value: int) -> None:
    for device in (Gate(1, lambda _: None), DebugExit(lambda _: None), Keyboard(lambda: None)):
        device.write(offset, width, value & (1 << 8 * width) - 1)
        before = device.save()
        assert device.peek(offset, width) == device.read(offset, width) < 1 << 8 * width
        device.reset()
        device.load(before)
        assert device.save() == before
