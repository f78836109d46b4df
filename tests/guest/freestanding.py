"""Builds guest programs so that they run on the host's Linux, for tests.

The guest's libc speaks Linux's system calls of i386, so a program built with it, and with nothing
else, runs on a 64-bit x86 Linux as it is.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[2] / "guest_kernel"
LIBC = KERNEL / "libc"
_FLAGS = [
    *("-m32", "-march=i686", "-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-ffreestanding"),
    *("-fno-pic", "-fno-stack-protector", "-ffunction-sections", "-fdata-sections"),
]
_LINK = ["-nostdlib", "-static", "-no-pie", "-Wl,--gc-sections", "-Wl,--build-id=none"]


def build(sources: Sequence[Path], output: Path) -> None:
    """Compile ``sources`` with the guest's libc to a program for the host. Skips if it can't."""
    if why := _why_not():
        pytest.skip(why)
    libc = [name for name in _libc_objects() if not name.endswith("/time.c.o")]
    own_time = Path(__file__).with_name("host_time.c")
    _gcc([*_LINK, "-o", str(output), *map(str, sources), str(own_time), *libc])


def build_for_guest(sources: Sequence[Path], output: Path) -> None:
    """The same for the guest's own address space, stripped. Skips if it can't."""
    if why := _why_not():
        pytest.skip(why)
    script = ["-T", str(KERNEL / "user.ld"), "-Wl,-z,noexecstack", "-s"]
    _gcc([*_LINK, *script, "-o", str(output), *map(str, sources), *_libc_objects()])


def sources_of(program: str) -> list[Path]:
    """The files of a program, by `apps/programs`."""
    for line in (KERNEL / "apps" / "programs").read_text().splitlines():
        words = line.split()
        if words and words[0] == program:
            return [KERNEL / "apps" / word for word in words[1:]]
    raise KeyError(program)


def _gcc(arguments: Sequence[str]) -> None:
    ask = ["gcc", "-print-file-name=include"]
    own = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    command = ["gcc", *_FLAGS, "-nostdinc", "-isystem", own]
    for folder in (LIBC / "include", KERNEL, KERNEL / "include"):
        command += ["-I", str(folder)]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@functools.cache
def _libc_objects() -> list[str]:
    folder = Path(tempfile.mkdtemp(prefix="leulo-libc-"))
    atexit.register(shutil.rmtree, folder)
    objects = []
    for source in (*sorted(LIBC.glob("*.S")), *sorted(LIBC.glob("*.c"))):
        objects.append(str(folder / f"{source.name}.o"))
        _gcc(["-c", "-o", objects[-1], str(source)])
    return objects


@functools.cache
def _why_not() -> str:
    """Why a freestanding 32-bit program can't be made or run here; "" if it can."""
    if shutil.which("gcc") is None:
        return "needs gcc"
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "answer.S"), Path(folder, "answer")
        source.write_text(
            ".globl _start\n_start: mov $1, %eax\n mov $42, %ebx\n int $0x80\n"
            '.section .note.GNU-stack, "", @progbits\n'
        )
        try:
            _gcc([*_LINK, "-o", str(program), str(source)])
            status = subprocess.run([program]).returncode
        except (AssertionError, OSError) as error:
            return f"gcc -m32 does not work here: {str(error)[:200]}"
    return "" if status == 42 else "this host does not run 32-bit programs"
