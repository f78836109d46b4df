"""Two guests of a few instructions, written as machine code, for what needs an exact count.

Both turn on PAE paging with NX on data, as the real guest kernel does: without it the emulated
CPU is four times slower at stores, and the figure would say nothing. [SDM 3 4.4]
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack
from typing import Final

from leulo.hypercalls import abi

_CODE: Final = 0x100000
_TABLES: Final = 0x200000
_DATA: Final = 0x400000
_LARGE: Final = 0x83  # present, writable, 2 MiB
_NX: Final = 1 << 63

_PAGING: Final = bytes.fromhex(
    "b800002000"  # mov eax, 0x200000
    "0f22d8"  # mov cr3, eax
    "0f20e0"  # mov eax, cr4
    "83c820"  # or eax, 0x20           PAE
    "0f22e0"  # mov cr4, eax
    "b9800000c0"  # mov ecx, 0xc0000080
    "0f32"  # rdmsr
    "0d00080000"  # or eax, 0x800          NXE
    "0f30"  # wrmsr
    "0f20c0"  # mov eax, cr0
    "0d00000080"  # or eax, 0x80000000     PG
    "0f22c0"  # mov cr0, eax
)
_END: Final = bytes.fromhex("31c0e6f4faf4")  # xor eax, eax; out 0xf4, al; cli; hlt

# A mix of loads, stores, arithmetic and a branch.
_WORK: Final = bytes.fromhex(
    "8b1e"  # mov ebx, [esi]
    "01c3"  # add ebx, eax
    "895e04"  # mov [esi + 4], ebx
    "6bdb05"  # imul ebx, ebx, 5
    "31d8"  # xor eax, ebx
    "c1c007"  # rol eax, 7
    "8906"  # mov [esi], eax
    "8d540811"  # lea edx, [eax + ecx + 0x11]
    "39d3"  # cmp ebx, edx
    "49"  # dec ecx
)
WORK_INSTRUCTIONS: Final = 11  # with the branch

_CALL: Final = bytes.fromhex(
    "89f0"  # mov eax, esi
    "ef"  # out dx, eax
    "49"  # dec ecx
)


@dataclass(frozen=True, slots=True)
class Guest:
    """A multiboot image, and how often its loop turns."""

    image: bytes
    turns: int
    code: bytes


def arithmetic(turns: int) -> Guest:
    """Turns a loop of `WORK_INSTRUCTIONS` instructions, then switches itself off."""
    code = (
        _PAGING
        + b"\xbe" + pack("<I", _DATA)  # mov esi, DATA
        + b"\xb9" + pack("<I", turns)  # mov ecx, turns
        + _loop(_WORK)
        + _END
    )  # fmt: skip
    return Guest(_image(code, b""), turns, code)


def hypercalls(turns: int) -> Guest:
    """Says HELLO, then asks for the TIME so often, then switches itself off."""
    hello, greeting, time = _DATA + 0x100, _DATA + 0x200, _DATA
    data = bytearray(0x400)
    data[0:4] = pack("<HH", abi.Op.TIME, abi.CALL_BYTES)
    data[0x100:0x104] = pack("<HH", abi.Op.HELLO, abi.CALL_BYTES)
    data[0x100 + abi.ARGS_OFFSET : 0x108 + abi.ARGS_OFFSET] = pack("<Q", greeting)
    data[0x200:0x208] = pack("<II", abi.HELLO.size, abi.VERSION)
    code = (
        _PAGING
        + b"\x66\xba" + pack("<H", abi.GATE_PORT)  # mov dx, GATE_PORT
        + b"\xb8" + pack("<I", hello) + b"\xef"  # mov eax, hello; out dx, eax
        + b"\xbe" + pack("<I", time)  # mov esi, time
        + b"\xb9" + pack("<I", turns)  # mov ecx, turns
        + _loop(_CALL)
        + _END
    )  # fmt: skip
    return Guest(_image(code, bytes(data)), turns, code)


def _loop(body: bytes) -> bytes:
    return body + b"\x75" + pack("<b", -(len(body) + 2))  # jnz body


def _image(code: bytes, data: bytes) -> bytes:
    """A multiboot ELF of code, page tables and data. [multiboot 1 3.1.1] [ELF 1.2 2-1]"""
    header = pack("<III", 0x1BADB002, 0, -0x1BADB002 & 0xFFFFFFFF)
    segments = (
        (_CODE, header + bytes(4) + code, 5),
        (_TABLES, _page_tables(), 6),
        (_DATA, data.ljust(4096, b"\0"), 6),
    )
    at = 4096
    programs = b""
    body = b""
    for address, content, flags in segments:
        size = len(content)
        programs += pack("<8I", 1, at, address, address, size, size, flags, 4096)
        padded = content.ljust(-(-size // 4096) * 4096, b"\0")
        body += padded
        at += len(padded)
    elf = pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 3, 1, _CODE + 16, 52, 0, 0, 52, 32,
        len(segments), 40, 0, 0,
    )  # fmt: skip
    return (elf + programs).ljust(4096, b"\0") + body


def _page_tables() -> bytes:
    """One directory of 2 MiB pages: the first holds code, all others data."""
    pointers = pack("<4Q", _TABLES + 0x1001, 0, 0, 0).ljust(4096, b"\0")
    pages = [_LARGE] + [place << 21 | _LARGE | _NX for place in range(1, 8)]
    return pointers + pack("<8Q", *pages).ljust(4096, b"\0")
