"""The interrupt controllers on the real CPU, which takes vectors without telling anybody."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from leulo.bus import Bus
from leulo.cpu import Cpu, Exit
from leulo.devices.pic import Pic
from leulo.memory import Memory

CODE, HANDLERS, TABLES, IDT, LOG, STACK = 0x1000, 0x2000, 0x5000, 0x5800, 0x7000, 0x9000
FIRST_VECTOR = 0x20
FLAT_CODE = bytes.fromhex("ffff0000009acf00")
FLAT_DATA = bytes.fromhex("ffff00000092cf00")
START = (
    bytes.fromhex("0f0115") + struct.pack("<I", TABLES)  # lgdt
    + bytes.fromhex("0f011d") + struct.pack("<I", TABLES + 8)  # lidt
    + bytes.fromhex("b810000000 8ed8 8ed0")  # mov eax, 0x10; mov ds, ax; mov ss, ax
    + bytes.fromhex("bc") + struct.pack("<I", STACK)  # mov esp, STACK
    + bytes.fromhex("be") + struct.pack("<I", LOG)  # mov esi, LOG
)  # fmt: skip
HALT_FOR_EVER = bytes.fromhex("fb f4 ebfd")  # sti; hlt; jmp hlt
EOI = {False: bytes.fromhex("b020 e620"), True: bytes.fromhex("b020 e6a0 e620")}


class World:
    """Handlers that write their vector to a log, with or without ending the interrupt."""

    def __init__(self, *, automatic: bool) -> None:
        self.memory = Memory(1 << 20)
        self.ports = Bus("port")
        self.cpu = Cpu(self.memory, self.ports, Bus("mmio"))
        self.pic = Pic(self.cpu)
        self.ports.attach(0x20, 2, "PIC 1", self.pic.primary)
        self.ports.attach(0xA0, 2, "PIC 2", self.pic.secondary)
        for base, vector, icw3 in ((0x20, 0x20, 4), (0xA0, 0x28, 2)):
            self.ports.write(base, 1, 0x11)
            for word in (vector, icw3, 3 if automatic else 1):
                self.ports.write(base + 1, 1, word)
        gates = bytearray(FIRST_VECTOR * 8)
        for irq in range(16):
            at = HANDLERS + 32 * irq
            gates += struct.pack("<HHHH", at & 0xFFFF, 8, 0x8E00, at >> 16)
            end = b"" if automatic else EOI[irq >= 8]
            record = bytes((0xC6, 0x06, irq, 0x46))  # mov byte [esi], irq; inc esi
            self.memory.write(at, record + end + b"\xcf")
        gdt = bytes(8) + FLAT_CODE + FLAT_DATA
        self.memory.write(TABLES, struct.pack("<HIHHI", len(gdt) - 1, TABLES + 32, 0,
                                              len(gates) - 1, IDT))  # fmt: skip
        self.memory.write(TABLES + 32, gdt)
        self.memory.write(IDT, gates)
        self.memory.write(CODE, START + HALT_FOR_EVER)
        self.cpu.flush()
        self.cpu.reset(CODE, 0, 0)

    def run(self) -> list[int]:
        """Until nothing is left to do; the IRQs that were handled since the start, in order."""
        for _ in range(40):
            assert self.cpu.run(100_000) is Exit.HALT
            due = self.pic.next_deadline()
            if due is None and not self.cpu.will_wake():
                break
            self.pic.advance(0)
        log = self.memory.read(LOG, 64)
        return list(log[: self.pic.save()["interrupts"]])


@pytest.fixture(params=[False, True], ids=["eoi", "automatic"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(automatic=request.param)
    yield made
    made.cpu.close()


def test_simultaneous_requests_are_all_handled_by_priority(world: World) -> None:
    world.run()
    for irq in (11, 5, 0, 10, 14):
        world.pic.line(irq).pulse()
    assert world.run() == [0, 10, 11, 14, 5]
    assert world.pic.spurious == 0


def test_every_edge_counts_once(world: World) -> None:
    handled = []
    for irq in (0, 10, 0, 4, 10):
        world.pic.line(irq).pulse()
        handled.append(irq)
        assert world.run() == handled


def test_masked_request_waits_for_its_mask(world: World) -> None:
    world.pic.primary.write(1, 1, 0x10)
    world.pic.line(4).pulse()
    assert world.run() == []
    world.pic.primary.write(1, 1, 0)
    assert world.run() == [4]
