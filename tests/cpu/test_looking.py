"""Looking at the guest: page walk, reading, disassembly, and the pages that explain faults.

Protects: that these have no side effects, agree with the MMU, and survive any table.
"""

from __future__ import annotations

import random
import struct

import pytest
from guest_images import BASE, Guest, Image
from hypothesis import given, settings
from hypothesis import strategies as st

from leulo.cpu import Exit
from leulo.cpu.paging import Mapping, Unmapped, walk
from leulo.memory import BadAddress

FOREVER = 1 << 40
TABLES = 0x200000
RAM = 8 << 20

# mov eax,TABLES; mov cr3,eax; cr4 |= ecx; cr0 |= PG; mov eax,[edi]; hlt
ON = "b800002000 0f22d8 0f20e0 09c8 0f22e0 0f20c0 0d00000080 0f22c0 eb00 8b07 f4"
CR4_PSE, CR4_PAE = 0x10, 0x20


def paged(pae: bool, tables: list[tuple[int, int]], virtual: int) -> Guest:
    """A guest that turns paging on and reads ``virtual``; no handler, so a fault shuts it down.

    Every page of RAM begins with its own number.
    """
    guest = Guest(ON)
    for page in range(RAM >> 12):
        if page << 12 != BASE:
            struct.pack_into("<I", guest.memory.view, page << 12, page)
    for address, entry in tables:
        guest.memory.write(address, entry.to_bytes(8 if pae else 4, "little"))
    guest.cpu.registers.ecx = CR4_PAE if pae else CR4_PSE
    guest.cpu.registers.edi = virtual
    return guest


def tables_32(entries: dict[int, int]) -> list[tuple[int, int]]:
    return [(TABLES + 4 * index, entry) for index, entry in entries.items()]


def test_walk_without_paging_is_the_identity() -> None:
    guest = Guest("f4")
    assert guest.cpu.translate(0x12345678) == 0x12345678


def test_walk_agrees_with_the_mmu_on_random_tables() -> None:
    chance = random.Random(20240)
    mapped = faults = 0
    for number in range(60):
        pae = number % 2 == 1
        virtual = chance.choice((0x00600000, 0x40000000, 0xC0A01000, 0xFFFFF000))
        tables = []
        if pae:
            pd, pt = TABLES + 0x1000, TABLES + 0x2000
            for at in range(4):
                tables.append((TABLES + 8 * at, pd + 0x4000 * at | chance.choice((1, 1, 1, 0))))
            tables.append((TABLES, pd | 1))
            tables.append((pd, 0x83))  # 2 MiB at zero: the code
            top = pd + 0x4000 * (virtual >> 30)
            flags = chance.choice((7, 3, 1, 0, 0x87, 0x83))
            target = chance.randrange(4) << 21 if flags & 0x80 else pt
            tables.append((top + 8 * (virtual >> 21 & 511), target | flags))
            tables.append(
                (
                    pt + 8 * (virtual >> 12 & 511),
                    chance.randrange(RAM >> 12) << 12 | chance.choice((7, 3, 1, 0)),
                )
            )
        else:
            pt = TABLES + 0x2000
            tables += tables_32({0: 0x83})
            flags = chance.choice((7, 3, 1, 0, 0x87, 0x83))
            target = chance.randrange(2) << 22 if flags & 0x80 else pt
            tables += tables_32({virtual >> 22: target | flags})
            entry = chance.randrange(RAM >> 12) << 12 | chance.choice((7, 3, 1, 0))
            tables.append((pt + 4 * (virtual >> 12 & 1023), entry))
        guest = paged(pae, tables, virtual)
        found = guest.cpu.run(FOREVER)
        physical = guest.cpu.translate(virtual)
        if found is Exit.HALT:
            mapped += 1
            assert physical is not None
            assert guest.cpu.registers.eax == guest.word(physical), (number, hex(physical))
        else:
            faults += 1
            assert guest.cpu.shutdown is not None
            assert guest.cpu.shutdown.chain[0].vector == 14
            assert physical is None, (number, hex(virtual))
        guest.cpu.close()
    assert mapped > 15
    assert faults > 10


def test_walk_tells_rights_and_reasons() -> None:
    guest = Guest(Image("exceptions").code)
    guest.ports.on_write = lambda _port, _width, value: guest.cpu.post(0x20 + value)
    guest.cpu.run(FOREVER)
    registers, memory = guest.cpu.registers, guest.memory

    def rights(address: int) -> tuple[bool, bool, bool]:
        found = walk(registers, memory, address)
        assert isinstance(found, Mapping)
        assert found.physical == address
        return found.is_writable, found.is_user, found.is_executable

    assert rights(BASE) == (True, True, True)
    assert rights(0x330000) == (False, True, False)
    assert rights(0x332000) == (True, False, False)
    assert walk(registers, memory, 0x333000) == Unmapped("its page table entry is not present")
    assert walk(registers, memory, 0x900000) == Unmapped("its page directory entry is not present")
    assert walk(registers, memory, 0xC0000000) == Unmapped(
        "its page directory pointer is not present"
    )


def test_looking_changes_nothing() -> None:
    guest = Guest(Image("exceptions").code)
    guest.ports.on_write = lambda _port, _width, value: guest.cpu.post(0x20 + value)
    guest.cpu.run(FOREVER)
    ram, state, reads = bytes(guest.memory.view), guest.cpu.save(), list(guest.mmio.reads)
    for address in range(0, 1 << 32, 0x4321000):
        guest.cpu.translate(address)
        guest.cpu.disassemble(address, 3)
    guest.cpu.read_virtual(BASE, 8192)
    guest.cpu.registers.as_dict()
    assert bytes(guest.memory.view) == ram
    assert guest.cpu.save() == state
    assert guest.mmio.reads == reads


@given(st.integers(0, 0xFFFFFFFF), st.binary(min_size=64, max_size=64), st.booleans(),
       st.integers(0, 0xFFFFFFFF))  # fmt: skip
@settings(max_examples=60)
def test_walk_survives_any_table(cr3: int, junk: bytes, pae: bool, virtual: int) -> None:
    guest = LOOK
    state = guest.cpu.save()
    state["registers"]["cr0"] = 0x80000011
    state["registers"]["cr3"] = cr3
    state["registers"]["cr4"] = CR4_PAE if pae else CR4_PSE
    guest.cpu.load(state)
    place = cr3 & 0xFFFFFFE0
    if place + 64 <= guest.memory.size:
        guest.memory.write(place, junk)
    guest.cpu.translate(virtual)
    guest.cpu.disassemble(virtual, 2)


LOOK = Guest("f4", ram_bytes=2 << 20)


def test_read_virtual_crosses_pages_and_names_where_it_ends() -> None:
    guest = Guest("f4", ram_bytes=2 << 20)
    guest.memory.write(0x1FFE, b"abcd")
    assert guest.cpu.read_virtual(0x1FFE, 4) == b"abcd"
    with pytest.raises(BadAddress, match="0x00200000 is not mapped"):
        guest.cpu.read_virtual(0x1FFFFE, 4)


def test_disassembly_is_intel_syntax_and_goes_on_behind_what_it_cannot_read() -> None:
    guest = Guest("b801000000 0fff 0fffff c3")
    lines = [str(line) for line in guest.cpu.disassemble(BASE, 2)]
    assert lines[0] == "00100000  b8 01 00 00 00            mov eax, 1"
    assert guest.cpu.disassemble(0x90000000, 4) == []
    near_end = guest.memory.size - 1
    assert len(guest.cpu.disassemble(near_end, 4)) == 1


# ---------------------------------------------------------------- faults


def shut_down(code: str) -> str:
    guest = Guest(code)
    assert guest.cpu.run(FOREVER) is Exit.SHUTDOWN
    assert guest.cpu.shutdown is not None
    return guest.cpu.shutdown.text()


def test_triple_fault_without_tables_is_explained() -> None:
    text = shut_down("90 0f0b")
    assert text.splitlines()[0] == "Triple fault: the guest's CPU shut down"
    assert "likely cause: the IDT ends at" in text
    assert "EIP 00100001" in text
    assert "> 00100001  0f 0b" in text
    assert "ud2" in text


def test_triple_fault_is_symbolized() -> None:
    guest = Guest("0f0b")
    guest.cpu.run(FOREVER)
    assert guest.cpu.shutdown is not None
    text = guest.cpu.shutdown.text(lambda address: "start+0" if address == BASE else None)
    assert "EIP 00100000 (start+0)" in text


def test_page_fault_with_a_lost_stack_names_the_stack() -> None:
    # Paging with one 4 MiB page; an IDT with a gate for #PF; ESP where nothing is mapped.
    guest = Guest("0f011d 00030000" + ON)
    memory = guest.memory
    memory.write(0x300, struct.pack("<HI", 0x7F, 0x400))
    memory.write(0x400 + 14 * 8, struct.pack("<HHHH", 0x1000, 8, 0x8E00, 0))
    memory.write(TABLES, (0x83).to_bytes(4, "little"))
    guest.cpu.registers.ecx = CR4_PSE
    guest.cpu.registers.edi = 0x12345678
    guest.cpu.registers.esp = 0x80000000
    assert guest.cpu.run(FOREVER) is Exit.SHUTDOWN
    assert guest.cpu.shutdown is not None
    text = guest.cpu.shutdown.text()
    assert "#PF page fault at EIP 00100024: read of 12345678 by CPL 0" in text
    assert "then #DF double fault" in text
    assert "the stack at 7ffffffc is not mapped" in text


def test_ring_change_without_a_tss_is_a_fault_of_the_guest() -> None:
    # To ring 3 by IRET with a GDT, then INT 0x80 with TR never loaded, or loaded with null.
    for load_null in (False, True):
        null_tr = "31c0 0f00d8" if load_null else ""  # xor eax,eax; ltr ax
        guest = Guest(
            "0f0115 00030000 0f011d 10030000" + null_tr
            + "6a23 6800002000 6a02 6a1b 6800100000 cf"
        )  # fmt: skip
        memory = guest.memory
        memory.write(0x300, struct.pack("<HI", 39, 0x320))
        memory.write(0x310, struct.pack("<HI", 0x407, 0x400))
        flat = (0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0x00CFFB000000FFFF, 0x00CFF3000000FFFF)
        memory.write(0x320, struct.pack("<5Q", *flat))
        memory.write(0x400 + 0x80 * 8, struct.pack("<HHHH", 0x2000, 8, 0xEE00, 0))
        memory.write(0x1000, bytes.fromhex("cd80"))
        assert guest.cpu.run(FOREVER) is Exit.SHUTDOWN
        assert guest.cpu.shutdown is not None
        assert "there is no TSS" in guest.cpu.shutdown.text()


def test_double_fault_that_the_guest_handles_is_kept() -> None:
    # IDT with a gate for #DF alone: #UD has none (#NP), so #DF is delivered and its handler halts.
    guest = Guest("0f011d 00030000 0f0115 10030000 0f0b")
    memory = guest.memory
    memory.write(0x300, struct.pack("<HI", 0x7F, 0x400))
    memory.write(0x310, struct.pack("<HI", 23, 0x320))
    memory.write(0x320, struct.pack("<3Q", 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF))
    memory.write(0x400 + 8 * 8, struct.pack("<HHHH", 0x1000, 8, 0x8E00, 0))
    memory.write(0x1000, b"\xf4")
    assert guest.cpu.double_fault() is None
    found = guest.cpu.run(FOREVER)
    if found is Exit.SHUTDOWN:  # #UD is no contributory exception: #NP comes first, then #DF
        pytest.fail(guest.cpu.shutdown.text() if guest.cpu.shutdown else "?")
    fault = guest.cpu.double_fault()
    assert fault is not None
    assert fault.chain[-1].vector == 8
    assert fault.text().startswith("The guest double-faulted")
