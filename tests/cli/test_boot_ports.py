"""Whole runs of guests of a few bytes: text by the debug console, off and reset by their ports."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

LOAD = 0x100000
HALT = b"\xf4"


def out(port: int, value: int, width: int) -> bytes:
    """Machine code that writes ``value`` to ``port``, one or two bytes wide."""
    dx = b"\x66\xba" + struct.pack("<H", port)
    if width == 2:
        return dx + b"\x66\xb8" + struct.pack("<H", value) + b"\x66\xef"
    return dx + bytes((0xB0, value, 0xEE))


def text(words: bytes) -> bytes:
    return b"".join(out(0xE9, byte, 1) for byte in words)


def run(folder: Path, code: bytes, *flags: str) -> subprocess.CompletedProcess[str]:
    """Boot ``code``, which begins in flat protected mode with paging and interrupts off."""
    header = struct.pack("<3I", 0x1BADB002, 0, -0x1BADB002 & 0xFFFFFFFF) + bytes(4)
    body = header + code
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    elf = ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, LOAD + 16, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    elf += struct.pack("<8I", 1, 96, LOAD, LOAD, len(body), len(body), 7, 4096)
    image = folder / "tiny.img"
    image.write_bytes(elf + bytes(96 - len(elf)) + body)
    return subprocess.run(
        [sys.executable, "-m", "leulo", "boot", str(image), "--net", "none", *flags],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("port", [0x604, 0xB004])
def test_a_guest_speaks_before_anything_is_set_up_and_switches_itself_off(
    port: int, tmp_path: Path
) -> None:
    result = run(tmp_path, text(b"hello\n\x1b[2Jno") + out(port, 0x2000, 2) + HALT)
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    assert "debug: hello" in lines
    assert "debug: ?[2Jno" in lines, "control characters of a guest are not for our terminal"
    assert lines[-1] == "leulo: the guest switched itself off"


@pytest.mark.parametrize(("port", "value"), [(0xCF9, 6), (0x92, 1), (0x64, 0xFE)])
def test_a_reset_begins_again(port: int, value: int, tmp_path: Path) -> None:
    """Three texts, two resets between them; the count is kept where a reset leaves it."""
    cmos = b"\xb0\x40\xe6\x70\xe4\x71\xfe\xc0\xe6\x71"  # al = ++cmos[0x40]
    code = text(b"again\n") + cmos
    leave = out(0x604, 0x2000, 2) + HALT
    again = out(port, value, 1) + HALT
    code += b"\x3c\x03" + bytes((0x75, len(leave))) + leave + again  # cmp al, 3; jne again
    result = run(tmp_path, code, "--timeout", "20")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("debug: again") == 3
