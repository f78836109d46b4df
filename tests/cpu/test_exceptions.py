"""Exceptions, software and hardware interrupts through the guest's own tables, in ring 0 and 3.

Protects: vectors, error codes, saved EIP, CS, CR2, stack switch, STI shadow, waking from HLT, and
that all of it is the same however a run is cut into quanta.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest
from guest_images import Guest, Image

from leulo.cpu import Exit
from leulo.cpu.delivery import Deliverer

LOG = 0x300000
ABSENT = 0x333000
KERNEL_FRAME = 0x320000 - 20  # EIP CS EFLAGS ESP SS pushed on the TSS's stack
RING0_FRAME = 0x318000 - 12  # EIP CS EFLAGS on the running stack
IMAGE = Image("exceptions")

# name of the case, vector, error code, saved EIP ("at" the instruction or "after" it, or a place),
# CR2 where the vector is #PF.
RING0: list[tuple[str, int, int, object, int]] = [
    ("k_ud", 6, 0, "at", 0),
    ("k_int80", 0x80, 0, "after", 0),
    ("k_int3", 3, 0, "after", 0),
    ("k_div", 0, 0, "at", 0),
    ("k_absent", 14, 2, "at", ABSENT + 4),
    ("k_selector", 13, 0x7774, "at", 0),
    ("k_readonly", 14, 3, "at", 0x330008),
    ("k_execute", 14, 0x11, 0x331000, 0x331000),
    ("k_nogate", 11, 0x40 * 8 + 2, "at", 0),
    ("k_icebp", 6, 0, "at", 0),
    ("k_vmcall", 6, 0, "at", 0),
    ("k_sysenter", 6, 0, "at", 0),
    ("k_sysexit", 6, 0, "at", 0),
    ("k_syscall", 6, 0, "at", 0),
    ("k_step", 1, 0, "at_stepped", 0),
    ("k_break", 1, 0, "at", 0),
    ("irq in a running block", 0x21, 0, "at_irq_next", 0),
    ("irq behind STI's shadow", 0x22, 0, "at_irq_shadow", 0),
    ("irq that wakes HLT", 0x23, 0, "at_irq_halt", 0),
]
RING3: list[tuple[str, int, int, object, int]] = [
    ("u_int80", 0x80, 0, "after", 0),
    ("u_ud", 6, 0, "at", 0),
    ("u_div", 0, 0, "at", 0),
    ("u_int3", 3, 0, "after", 0),
    ("u_cli", 13, 0, "at", 0),
    ("u_hlt", 13, 0, "at", 0),
    ("u_in", 13, 0, "at", 0),
    ("u_out", 13, 0, "at", 0),
    ("u_absent_read", 14, 4, "at", ABSENT + 8),
    ("u_absent_write", 14, 6, "at", ABSENT + 12),
    ("u_readonly", 14, 7, "at", 0x330010),
    ("u_supervisor", 14, 5, "at", 0x332014),
    ("u_execute", 14, 0x15, 0x331020, 0x331020),
    ("u_selector", 13, 0x30, "at", 0),
    ("u_gate", 13, 0x31 * 8 + 2, "at", 0),
    ("u_cr0", 13, 0, "at", 0),
    ("u_lgdt", 13, 0, "at", 0),
    ("u_bound", 5, 0, "at", 0),
    ("u_into", 4, 0, "after", 0),
    ("u_icebp", 6, 0, "at", 0),
    ("u_vmcall", 6, 0, "at", 0),
    ("u_sysenter", 6, 0, "at", 0),
    ("u_sysexit", 6, 0, "at", 0),
    ("u_syscall", 6, 0, "at", 0),
    ("u_rdmsr", 13, 0, "at", 0),
    ("u_absent_stack", 14, 6, "at_push", ABSENT + 60),
    ("u_done", 0x81, 0, "after", 0),
]


def run(quantum: int, deliverer: Deliverer = "native") -> tuple[Guest, list[tuple[int, int, int]]]:
    """The guest at its end, and (ticks, EIP, value) at each of its writes to a port."""
    guest = Guest(IMAGE.code, deliverer=deliverer)
    seen = []

    def posts(_port: int, _width: int, value: int) -> None:
        seen.append((guest.cpu.ticks, guest.cpu.registers.eip, value))
        guest.cpu.post(0x20 + value)

    guest.ports.on_write = posts
    for _ in range(100_000):
        found = guest.cpu.run(quantum)
        if found is not Exit.BUDGET:
            break
    assert found is Exit.HALT, guest.cpu.shutdown and guest.cpu.shutdown.text()
    return guest, seen


def entries(guest: Guest) -> list[tuple[int, ...]]:
    count = guest.word(LOG)
    return [struct.unpack_from("<8I", guest.memory.view, LOG + 32 * (i + 1)) for i in range(count)]


@pytest.fixture(scope="module")
def log() -> list[tuple[int, ...]]:
    return entries(run(1 << 40)[0])


def test_every_exception_arrives_once_and_in_order(log: list[tuple[int, ...]]) -> None:
    assert [entry[0] for entry in log] == [case[1] for case in RING0 + RING3]


@pytest.mark.parametrize("index", range(len(RING0) + len(RING3)))
def test_exception_frame_is_the_manuals(log: list[tuple[int, ...]], index: int) -> None:
    name, vector, error, place, cr2 = (RING0 + RING3)[index]
    is_user = index >= len(RING0)
    got_vector, got_error, eip, cs, _flags, esp, got_cr2, frame = log[index]
    if isinstance(place, str):
        place = IMAGE.symbols[f"{place}_{name}" if place in ("at", "after") else place]
    assert (got_vector, hex(got_error), hex(eip)) == (vector, hex(error), hex(place)), name
    assert cs == (0x1B if is_user else 0x08)
    if vector == 14:
        assert hex(got_cr2) == hex(cr2)
    if is_user:
        assert frame == KERNEL_FRAME, "the TSS's stack"
        assert esp in (0x328000, ABSENT + 64), "the user's stack pointer is saved"
    elif name != "k_step":  # that one is a call deeper
        assert frame == RING0_FRAME


def test_debug_register_breakpoint_sets_dr6() -> None:
    guest, _ = run(1 << 40)
    assert guest.word(LOG + 8) & 1


@pytest.mark.parametrize("deliverer", ["native", "portable"])
@pytest.mark.parametrize("quantum", [1, 2, 7, 100, 1000, 1 << 40])
def test_neither_quantum_nor_deliverer_changes_anything(quantum: int, deliverer: Deliverer) -> None:
    whole, whole_seen = run(1 << 40)
    cut, cut_seen = run(quantum, deliverer)
    assert cut_seen == whole_seen
    assert entries(cut) == entries(whole)
    assert cut.cpu.ticks == whole.cpu.ticks
    assert cut.cpu.save() == whole.cpu.save()


def timer_run(quantum: int, period: int, deliverer: Deliverer = "native") -> tuple[Any, ...]:
    """System calls under a timer of exact ticks; the host stops at deadlines and quanta."""
    image = Image("timer")
    guest = Guest(image.code, deliverer=deliverer)
    cpu = guest.cpu
    trace: list[tuple[int, int]] = []
    finished = []

    def on_write(port: int, _width: int, value: int) -> None:
        trace.append((cpu.ticks, value))
        cpu.limit(0)
        if port == 0xF4:
            finished.append(value)

    guest.ports.on_write = on_write
    deadline = period
    for _ in range(1_000_000):
        found = cpu.run(max(1, min(quantum, deadline - cpu.ticks)))
        if finished:
            break
        assert found is Exit.BUDGET
        if cpu.ticks >= deadline:
            cpu.post(0x20)
            deadline += period
            trace.append((cpu.ticks, cpu.registers.eip))
    assert finished
    words = tuple(guest.word(0x300000 + 4 * i) for i in range(3))
    return trace, words, cpu.ticks, cpu.exceptions


@pytest.mark.parametrize("deliverer", ["native", "portable"])
@pytest.mark.parametrize("quantum", [50, 777, 10_000])
def test_timer_interrupts_fall_on_the_same_tick_whatever_the_quantum(
    quantum: int, deliverer: Deliverer
) -> None:
    expected = timer_run(1 << 40, 5000)
    assert expected[1][0] == 3000, "system calls"
    assert expected[1][1] > 100, "timer interrupts"
    assert timer_run(quantum, 5000, deliverer) == expected
