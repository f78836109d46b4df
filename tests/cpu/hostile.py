"""Random guests, for `test_hostile`: run as ``hostile.py FIRST COUNT``, crashes if the CPU does.

Each seed is a guest of random code in ring 0 or 3, half of it the instructions that change the
machine's state. Every exception's handler skips a byte and goes on. For a long search:
``for i in $(seq 0 1000 100000); do python tests/cpu/hostile.py $i 1000; done``.
"""

from __future__ import annotations

import random
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from guest_images import BASE, Guest

from leulo.cpu import Exit
from leulo.cpu.registers import FLAG_IF

HANDLER, HANDLER_WITH_CODE = 0x8000, 0x8010
IDT, GDT, TSS, POINTERS, DIRECTORY = 0x9000, 0xA000, 0xA800, 0xB000, 0xC000
WITH_CODE = (8, 10, 11, 12, 13, 14, 17)
FLAT = (0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0x00CFFB000000FFFF, 0x00CFF3000000FFFF)
# lgdt; lidt; ljmp 8:next; mov eax,0x10; mov ds,ss,es; mov eax,0x28; ltr; mov esp,0x180000
ENTER = "0f011500b00000 0f011d10b00000 ea150010000800 b810000000 8ed88ed08ec0 66b82800 0f00d8"
# paging with 4 MiB pages: cr4 |= PSE; cr3; cr0 |= PG
PAGING = "0f20e0 83c810 0f22e0 b800c00000 0f22d8 0f20c0 0d00000080 0f22c0"
TO_RING3 = "6a23 6800001800 6802020000 6a1b 6800021000 cf"
STAY = "bc00001800 b800021000 ffe0"
CODE = BASE + 0x200
_SPICE = (
    "0f01 0f00 0f20 0f22 0f23 0f21 0f30 0f32 0fa2 cd cf 9d 8e f3 66 f0 d9 dd 0fae 0fc7 cc f1 ea "
    "9a cb ca 0f34 0f05 0f35 0f07 c4 c5 67 e4 ec ee fbf4 0f09 0f38 0f3a c8 9c50 cd80 f4 0fb2 0fa1 "
    "a4f3 ab aa 6c 6e 0f06 0f77 62 63 d6 0f0b 8c 07 1f 17 cd08 cd0e"
)
SPICE = _SPICE.split()


def make(seed: int) -> Guest:
    """The guest of this seed, about to execute."""
    chance = random.Random(seed)
    guest = Guest(b"\x90", ram_bytes=2 << 20)
    memory = guest.memory
    memory.write(HANDLER, bytes.fromhex("83042401cf"))  # add dword [esp],1; iret
    memory.write(HANDLER_WITH_CODE, bytes.fromhex("83c40483042401cf"))
    for vector in range(256):
        handler = HANDLER_WITH_CODE if vector in WITH_CODE else HANDLER
        memory.write(IDT + 8 * vector, struct.pack("<HHHH", handler, 8, 0xEE00, 0))
    memory.write(GDT, struct.pack("<6Q", *FLAT, 0x0000890000000067 | TSS << 16))
    memory.write(TSS + 4, struct.pack("<II", 0x7000, 0x10))
    memory.write(POINTERS, struct.pack("<HI", 47, GDT))
    memory.write(POINTERS + 16, struct.pack("<HI", 2047, IDT))
    for index in range(1024):
        memory.write(DIRECTORY + 4 * index, struct.pack("<I", index << 22 | 0x87))
    start = ENTER + (PAGING if seed & 2 else "") + (TO_RING3 if seed & 1 else STAY)
    memory.write(BASE, bytes.fromhex(start))
    code = bytearray()
    while len(code) < 4096:
        if chance.random() < 0.5:
            code += bytes.fromhex(chance.choice(SPICE)) + chance.randbytes(chance.randrange(1, 7))
        else:
            code += chance.randbytes(chance.randrange(1, 5))
    memory.write(CODE, bytes(code))
    return guest


def play(seed: int) -> tuple[Exit, int]:
    """Run the guest for a while, then save, load and look at it; how it ended, exceptions."""
    guest = make(seed)
    cpu = guest.cpu
    guest.ports.on_write = lambda _port, _width, value: cpu.post(value & 255)
    for _ in range(40):
        found = cpu.run(2000)
        if found is Exit.SHUTDOWN:
            assert cpu.shutdown is not None
            cpu.shutdown.text()
            break
        if found is Exit.HALT:
            if not cpu.registers.eflags & FLAG_IF:
                break
            cpu.post(0x20)
    state = cpu.save()
    cpu.load(state)
    assert cpu.save() == state
    cpu.registers.as_dict()
    cpu.disassemble(cpu.registers.eip, 3)
    exceptions = cpu.exceptions
    cpu.close()
    return found, exceptions


def main() -> None:
    first, count = int(sys.argv[1]), int(sys.argv[2])
    exceptions = 0
    for seed in range(first, first + count):
        print(seed, end=" ", file=sys.stderr, flush=True)
        exceptions += play(seed)[1]
    print(exceptions)


if __name__ == "__main__":
    main()
