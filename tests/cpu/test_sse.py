"""SSE's operands in memory and MXCSR, beside this computer's own processor.

Protects: that every instruction of SSE with 16 bytes in memory which wants them aligned is #GP
where they are not, and every other is not; that each reads as much as it has to; that MXCSR has the
flags of the arithmetic, all but DE, in every rounding mode and with FZ and DAZ; that all of it is
so in code that is rewritten, crosses pages or has a base, on both deliverers.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from guest_images import BASE, Guest

from leulo.cpu import Exit
from leulo.cpu.delivery import Deliverer

JUDGE = Path(__file__).with_name("host_sse.py")
PLENTY = 1 << 30
DATA = 0x200000
END = 0x20000  # from there on `host` has no memory
DE = 2
OSFXSR = bytes.fromhex("0f20e00d000600000f22e0")  # mov eax, cr4; or eax, 0x600; mov cr4, eax
ESI = b"\xbe" + struct.pack("<I", DATA)
PREFIXES = {"": b"", "66": b"\x66", "f3": b"\xf3", "f2": b"\xf2"}


def host(questions: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
    """What the processor says to code and data; see ``host_sse``."""
    asked = json.dumps([(code.hex(), data.hex()) for code, data in questions])
    done = subprocess.run(
        [sys.executable, str(JUDGE)], input=asked, capture_output=True, text=True, check=True,
        timeout=120,
    )  # fmt: skip
    return [None if answer is None else bytes.fromhex(answer) for answer in json.loads(done.stdout)]


@pytest.fixture
def guest(request: pytest.FixtureRequest) -> Guest:
    return Guest("f4", deliverer=getattr(request, "param", "native"))


both = pytest.mark.parametrize("guest", ["native", "portable"], indirect=True)


def run(guest: Guest, code: bytes | str) -> tuple[int, int, int] | None:
    """Execute it with the address of the data in ESI: None, or vector, error code and EIP from the
    code's start. There are no tables, so an exception is also the end."""
    code = bytes.fromhex(code) if isinstance(code, str) else code
    head = OSFXSR + ESI
    guest.memory.write(BASE, head + code + b"\xf4")
    guest.cpu.flush()
    guest.cpu.reset(BASE, 0, 0)
    guest.cpu.registers.esp = BASE
    if guest.cpu.run(PLENTY) is Exit.HALT:
        return None
    fault = guest.cpu.shutdown
    assert fault is not None
    first = fault.chain[0]
    return first.vector, first.error_code, first.eip - BASE - len(head)


OPCODES = (*range(0x10, 0x18), *range(0x28, 0x30), *range(0x50, 0x80), 0xC2, *range(0xC4, 0xC7),
           *range(0xD0, 0x100))  # fmt: skip
# With an operand at [rsi] and [esi]; behind it what may be a byte of the instruction, and does
# nothing if not.
OPERATIONS = [p + bytes((0x0F, op, 0x06, 0x90)) for p in PREFIXES.values() for op in OPCODES]


def moved(distance: int) -> bytes:
    """add esi, distance"""
    return b"\x81\xc6" + struct.pack("<I", distance)


def test_operands_that_must_be_aligned_are_those_of_the_processor(guest: Guest) -> None:
    """Every opcode of SSE to SSE3 and MMX with a memory operand that both can execute."""
    places = (0, 16, 8, 4, 1)
    said = host([(moved(at) + code, bytes(72)) for code in OPERATIONS for at in places])
    compared = aligned = 0
    for number, code in enumerate(OPERATIONS):
        answers = said[number * len(places) :][: len(places)]
        if answers[0] is None or run(guest, code) is not None:
            continue
        compared += 1
        aligned += answers[2] is None
        for at, answer in zip(places, answers, strict=True):
            expected = (13, 0, 6) if answer is None else None
            assert run(guest, moved(at) + code) == expected, (code.hex(), at)
    assert compared > 200
    assert aligned > 100


def test_operands_are_as_long_as_those_of_the_processor(guest: Guest) -> None:
    """Before a page that is not there, where what is read too much faults."""
    directory, table = 0x300000, 0x301000
    pages = [page << 12 | 3 if page << 12 != DATA + END else 0 for page in range(1024)]
    guest.memory.write(directory, struct.pack("<I", table | 3) + bytes(4092))
    guest.memory.write(table, struct.pack("<1024I", *pages))
    # mov eax, directory; mov cr3, eax; mov eax, cr0; or eax, 1 << 31; mov cr0, eax
    paging = b"\xb8" + struct.pack("<I", directory) + bytes.fromhex("0f22d8 0f20c00d000000800f22c0")
    lengths = (16, 8, 4, 2, 1)
    said = host([(moved(END - n) + code, bytes(72)) for code in OPERATIONS for n in lengths])
    shorter = 0
    for number, code in enumerate(OPERATIONS):
        answers = said[number * len(lengths) :][: len(lengths)]
        if answers[0] is None or run(guest, paging + code) is not None:
            continue
        shorter += answers[1] is not None
        for length, answer in zip(lengths, answers, strict=True):
            found = run(guest, paging + moved(END - length) + code)
            assert (found is None) == (answer is not None), (code.hex(), length, found)
    assert shorter > 50


ALIGNED = {
    "movaps load": "0f2806", "movaps store": "0f2906", "movapd": "660f2806", "movdqa": "660f6f06",
    "movdqa store": "660f7f06", "movntps": "0f2b06", "movntdq": "660fe706", "addps": "0f5806",
    "pxor": "660fef06", "movshdup": "f30f1606", "cvttpd2pi": "660f2c06", "cvtpd2ps": "660f5a06",
}  # fmt: skip
ANY = {
    "movups": "0f1006", "movups store": "0f1106", "movdqu": "f30f6f06", "lddqu": "f20ff006",
    "cvtps2pd": "0f5a06", "cvtdq2pd": "f30fe606", "cvtps2pi": "0f2d06", "movq": "f30f7e06",
    "addsd": "f20f5806", "movhps": "0f1606", "punpckldq": "0f6206",
}  # fmt: skip


@both
@pytest.mark.parametrize("name", ALIGNED)
def test_aligned_operand_astray_is_gp(guest: Guest, name: str) -> None:
    code = bytes.fromhex(ALIGNED[name])
    assert run(guest, code) is None
    assert run(guest, b"\x83\xc6\x08" + code) == (13, 0, 3)
    assert run(guest, b"\x83\xc6\x0f\x64\x90" + code) == (13, 0, 5)


@both
@pytest.mark.parametrize("name", ANY)
def test_other_operand_lies_anywhere(guest: Guest, name: str) -> None:
    assert run(guest, b"\x83\xc6\x03" + bytes.fromhex(ANY[name])) is None


@both
def test_move_that_becomes_an_aligned_one(guest: Guest) -> None:
    """The code rewrites its own opcode, and the operand is looked at from then on."""
    # add esi, 4; mov ecx, 2; 1: movups xmm0, [esi]; movb $0x28, (1b + 1); loop 1b
    at = BASE + len(OSFXSR + ESI) + 8
    code = bytes.fromhex("83c604 b902000000 0f1006 c605") + struct.pack("<IB", at + 1, 0x28)
    assert run(guest, code + b"\x49\x75" + bytes((256 - 13,))) == (13, 0, 8)


@both
@pytest.mark.parametrize("split", [1, 2, 3])
def test_instruction_across_two_pages(guest: Guest, split: int) -> None:
    """``movapd xmm0, [esi + 4]``, whose first bytes are a page's last."""
    place = 0x180000 - split
    guest.memory.write(place, bytes.fromhex("660f284604f4"))
    jump = b"\xe9" + struct.pack("<i", place - (BASE + len(OSFXSR + ESI) + 5))
    assert run(guest, jump) == (13, 0, place - BASE - len(OSFXSR + ESI))


@both
def test_code_with_a_base(guest: Guest) -> None:
    """CS begins at 0x180000, and EIP counts from there."""
    table = struct.pack("<QQ", 0, 0x00CF9B180000FFFF)
    guest.memory.write(0x190000, table + struct.pack("<HI", 15, 0x190000))
    guest.memory.write(0x180040, bytes.fromhex("0f284608 f4"))
    # lgdt [0x190010]; ljmp 8:0x40
    found = run(guest, bytes.fromhex("0f011510001900 ea400000000800"))
    assert found == (13, 0, 0x40 - BASE - len(OSFXSR + ESI))


@both
def test_alignment_comes_before_the_page(guest: Guest) -> None:
    """Beyond RAM and astray: the address is looked at first."""
    assert run(guest, "0f280508000070") == (13, 0, 0)


# ---------------------------------------------------------------- MXCSR

_OPERATIONS = {"sqrt": 0x51, "add": 0x58, "mul": 0x59, "sub": 0x5C, "min": 0x5D, "div": 0x5E,
               "max": 0x5F}  # fmt: skip
_FORMS = {"ps": "", "pd": "66", "ss": "f3", "sd": "f2"}
ARITHMETIC: dict[str, bytes] = {
    **{name + form: PREFIXES[prefix] + bytes((0x0F, op, 0xC1))
       for name, op in _OPERATIONS.items() for form, prefix in _FORMS.items()},
    **{name + form: PREFIXES[_FORMS[form]] + bytes((0x0F, op, 0xC1))
       for name, op in {"rsqrt": 0x52, "rcp": 0x53}.items() for form in ("ps", "ss")},
    **{f"cmp{form} {kind}": PREFIXES[prefix] + bytes((0x0F, 0xC2, 0xC1, kind))
       for form, prefix in _FORMS.items() for kind in range(8)},
    **{name: bytes.fromhex(code) for name, code in {
        "ucomiss": "0f2ec1", "comiss": "0f2fc1", "ucomisd": "660f2ec1", "comisd": "660f2fc1",
        "cvtps2pd": "0f5ac1", "cvtpd2ps": "660f5ac1", "cvtss2sd": "f30f5ac1",
        "cvtsd2ss": "f20f5ac1", "cvtdq2ps": "0f5bc1", "cvtps2dq": "660f5bc1",
        "cvttps2dq": "f30f5bc1", "cvtdq2pd": "f30fe6c1", "cvtpd2dq": "f20fe6c1",
        "cvttpd2dq": "660fe6c1", "cvtss2si": "f30f2dc1", "cvttss2si": "f30f2cc1",
        "cvtsd2si": "f20f2dc1", "cvttsd2si": "f20f2cc1", "cvtps2pi": "0f2dc1",
        "cvttps2pi": "0f2cc1", "cvtpd2pi": "660f2dc1", "cvttpd2pi": "660f2cc1",
        "cvtpi2ps": "0f2ac1", "haddps": "f20f7cc1", "haddpd": "660f7cc1", "hsubps": "f20f7dc1",
        "hsubpd": "660f7dc1", "addsubps": "f20fd0c1", "addsubpd": "660fd0c1",
    }.items()},
}  # fmt: skip
# Zeros, ones, infinities, NaNs of both kinds, the smallest and largest, and what is inexact.
SINGLES = (0, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 1,
           0x00800000, 0x80400000, 0x7F7FFFFF, 0x4F000000, 0x33800000, 0x40490FDB,
           0xCF000001)  # fmt: skip
DOUBLES = (0, 1 << 63, 0x3FF << 52, 0xBFF << 52, 0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48,
           (0x7FF << 52) + 1, 1, 1 << 52, 0x7FEFFFFFFFFFFFFF, 0x41E << 52, 0x3CA << 52,
           0x400921FB54442D18, 0x36A << 52, 0x47EFFFFFFFFFFFFF)  # fmt: skip
TURNS = 300
ENTRY = struct.Struct("<II8x16s16s16s")  # MXCSR before and after, operands, result


def operand(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        words = [rng.choice(SINGLES) if rng.random() < 0.7 else rng.getrandbits(32) for _ in "1234"]
        return struct.pack("<4I", *words)
    longs = [rng.choice(DOUBLES) if rng.random() < 0.7 else rng.getrandbits(64) for _ in "12"]
    return struct.pack("<2Q", *longs)


def entries(rng: random.Random) -> bytes:
    data = b""
    for _ in range(TURNS):
        mxcsr = 0x1F80 | rng.choice((0, 0, 0x2000, 0x4000, 0x6000)) | rng.choice((0, 0, 0x8000))
        mxcsr |= rng.choice((0, 0, 0x40)) | (rng.getrandbits(6) if rng.random() < 0.3 else 0)
        data += ENTRY.pack(mxcsr, 0, operand(rng), operand(rng), bytes(16))
    return data


def looped(code: bytes) -> bytes:
    """Over all entries; the same bytes mean the same in 32 and in 64 bits."""
    # ldmxcsr [esi]; movups xmm0, [esi + 16]; movups xmm1, [esi + 32]; ...
    # movups [esi + 48], xmm0; stmxcsr [esi + 4]; add esi, 64; sub ecx, 1; jne
    body = bytes.fromhex("0fae16 0f104610 0f104e20") + code
    body += bytes.fromhex("0f114630 0fae5e04 83c640 83e901")
    return body + b"\x75" + struct.pack("b", -len(body) - 2)


def test_mxcsr_has_the_flags_that_the_processors_has(guest: Guest) -> None:
    rng = random.Random(7)
    asked = {name: (looped(code), entries(rng)) for name, code in ARITHMETIC.items()}
    count = struct.pack("<Q", TURNS)
    said = host([(code, count + data) for code, data in asked.values()])
    seen = 0
    for (name, (code, data)), answer in zip(asked.items(), said, strict=True):
        assert answer is not None, name
        guest.memory.write(DATA, data)
        assert run(guest, b"\xb9" + count[:4] + code) is None
        ours = guest.memory.read(DATA, len(data))
        for theirs, mine in zip(ENTRY.iter_unpack(answer), ENTRY.iter_unpack(ours), strict=True):
            before, expected, *operands = theirs
            what = (name, hex(before), [part.hex() for part in operands])
            assert hex(mine[1] & ~DE) == hex(expected & ~DE), what
            assert not mine[1] & ~before & DE, what
            seen |= expected & ~before
    assert seen & 0x3D == 0x3D


@both
def test_flags_are_told_by_stmxcsr_and_fxsave_and_taken_by_ldmxcsr_and_fxrstor(
    guest: Guest,
) -> None:
    clear = struct.pack("<I", 0x1F80)
    guest.memory.write(DATA + 8, clear)
    assert run(guest, bytes.fromhex(
        "0f57c0f30f5ec0"  # xorps xmm0, xmm0; divss xmm0, xmm0
        "0fae1e"  # stmxcsr [esi]: IE
        "0fae86 00010000"  # fxsave [esi + 0x100]: IE
        "0fae5608 0fae5e0c"  # ldmxcsr [esi + 8]; stmxcsr [esi + 12]: none
        "0fae8e 00010000 0fae5e10"  # fxrstor [esi + 0x100]; stmxcsr [esi + 16]: IE
        "0fae86 00030000"  # fxsave [esi + 0x300]
    )) is None  # fmt: skip
    words = [guest.word(DATA + at) for at in (0, 12, 16, 0x100 + 24, 0x300 + 24)]
    assert [hex(word) for word in words] == ["0x1f81", "0x1f80", "0x1f81", "0x1f81", "0x1f81"]


@both
def test_flush_to_zero_is_not_of_the_x87(guest: Guest) -> None:
    """A denormal double goes through it unharmed with FZ on [SDM 1 10.2.3]."""
    guest.memory.write(DATA, struct.pack("<IId", 0x9F80, 0, 2.0**-1040))
    # ldmxcsr [esi]; fldl [esi + 8]; fld1; fmulp; fstpl [esi + 16]
    assert run(guest, "0fae16 dd4608 d9e8 dec9 dd5e10") is None
    assert struct.unpack("<d", guest.memory.read(DATA + 16, 8))[0] == 2.0**-1040


@both
def test_flags_are_kept_in_a_saved_state(guest: Guest) -> None:
    deliverer: Deliverer = guest.cpu._delivery.name  # type: ignore[assignment]
    assert run(guest, "0f57c0f30f5ec0 f4 0fae1e") is None
    other = Guest("f4", deliverer=deliverer)
    other.memory.write(0, guest.memory.read(0, 4 << 20))
    other.cpu.load({**guest.cpu.save(), "halted": False})
    assert other.cpu.run(PLENTY) is Exit.HALT
    assert hex(other.word(DATA)) == "0x1f81"
