"""A machine's ports lead where they should: off, reset, PCI, debug console."""

from __future__ import annotations

import pytest

from leulo.clock import VirtualClock
from leulo.config import MachineConfig
from leulo.links.base import Offload
from leulo.machine import Machine
from leulo.trace import Event, Trace


class World:
    """A machine that never runs; its ports are used as the CPU would."""

    def __init__(self) -> None:
        self.trace = Trace()
        self.debug: list[bytes] = []
        self.events: list[Event] = []
        self.trace.subscribe("console.debug", self.events.append)
        self.machine = Machine(
            MachineConfig(), VirtualClock(), self.trace, offload=Offload(True, 65535),
            console=lambda _: None, debug=self.debug.append, random_bits=lambda _: 0, epoch_s=0,
        )  # fmt: skip
        self.ports = self.machine.ports


@pytest.mark.parametrize("port", [0x604, 0xB004])
def test_the_words_of_qemu_and_bochs_power_off(port: int) -> None:
    world = World()
    world.ports.write(port, 2, 0x2000)
    assert world.machine.exit_status == 0


@pytest.mark.parametrize(
    ("port", "value"), [(0xCF9, 0x06), (0x92, 0x01), (0x64, 0xFE)], ids=["cf9", "92", "64"]
)
def test_every_way_to_reset_is_a_reset(port: int, value: int) -> None:
    world = World()
    assert not world.machine.wants_reset
    world.ports.write(port, 1, value)
    assert world.machine.wants_reset
    assert world.machine.exit_status is None


def test_the_host_bridge_answers_and_the_rest_of_the_bus_is_empty() -> None:
    ports = World().ports
    found = []
    for device in range(32):
        ports.write(0xCF8, 4, 0x80000000 | device << 11)
        if ports.read(0xCFC, 4) != 0xFFFFFFFF:
            found.append((device, ports.read(0xCFC, 4)))
    assert found == [(0, 0x12378086)]


def test_debug_text_is_an_event_and_goes_to_the_sink() -> None:
    world = World()
    for byte in b"hello\n?":
        world.ports.write(0xE9, 1, byte)
    world.machine.flush_console()
    assert world.debug == [b"hello\n", b"?"]
    assert [event.plain()["text"] for event in world.events] == ["hello\n", "?"]


def test_a_tick_of_the_timer_is_the_time_for_the_engine_too() -> None:
    """Protects: what a guest calls after it was asleep, with no frame in between, is of now."""
    world = World()
    for port, value in ((0x43, 0x34), (0x40, 0x00), (0x40, 0x10)):  # a rate generator
        world.ports.write(port, 1, value)
    due = world.machine.pit.next_deadline()
    assert due is not None
    world.machine.serve(due - 1)
    world.machine.serve(due)
    assert world.machine.stack.engine.now_ns == due
