"""The ABI's numbers, and what is generated from them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from leulo.hypercalls import abi
from leulo.hypercalls.operations import OPERATIONS

ROOT = Path(__file__).resolve().parents[2]


def test_generated_files_agree_with_the_module() -> None:
    """A number changed in one place only would make guest and hypervisor talk past each other."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/generate_abi.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_names_a_stale_file(tmp_path: Path) -> None:
    """`--check` must be able to fail."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "generate_abi.py").write_text((ROOT / "tools/generate_abi.py").read_text())
    (tmp_path / "leulo").symlink_to(ROOT / "leulo")
    run = [sys.executable, str(tools / "generate_abi.py")]
    subprocess.run(run, check=True)
    header = tmp_path / "guest_kernel/include/leulo/abi.h"
    header.write_text(header.read_text().replace("LEULO_OP_SEND 32", "LEULO_OP_SEND 33"))
    done = subprocess.run([*run, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "abi.h" in done.stdout


@pytest.mark.compiler
def test_header_holds_its_own_sizes_on_i386(tmp_path: Path) -> None:
    """The C structures have the offsets of the module, in C99 without a C library."""
    source = tmp_path / "abi.c"
    source.write_text(
        "#include <leulo/abi.h>\n"
        "int f(struct leulo_call *c) { return c->result + LEULO_OP_SEND; }\n"
    )
    subprocess.run(
        [
            sys.executable, "-m", "ziglang", "cc", "-target", "x86-freestanding", "-std=c99",
            "-ffreestanding", "-Wall", "-Wextra", "-Werror", "-c", "-o", str(tmp_path / "abi.o"),
            f"-I{ROOT / 'guest_kernel/include'}", str(source),
        ],
        check=True,
    )  # fmt: skip


def test_every_operation_is_described_once() -> None:
    assert [operation.op for operation in OPERATIONS] == list(abi.Op)


def test_structures_have_no_hidden_padding() -> None:
    """Natural alignment: a C compiler puts nothing between the fields, on any machine."""
    alignment = {"u8": 1, "u16": 2, "u32": 4, "s32": 4, "u64": 8, "endpoint": 4, "bytes": 1}
    for structure in (abi.CALL, abi.HELLO, abi.RING, abi.EVENT, abi.POLLFD, abi.IOVEC):
        for field in structure.fields:
            assert structure.offset(field.name) % alignment[field.kind] == 0
        assert structure.size % 8 == 0


def test_packers_have_the_sizes_of_the_structures() -> None:
    assert abi.CALL_FETCH.size == abi.CALL.size == abi.CALL_BYTES
    assert abi.ENDPOINT_STRUCT.size == abi.ENDPOINT.size == abi.ENDPOINT_BYTES
    assert abi.EVENT_STRUCT.size == abi.EVENT.size
    assert abi.POLLFD_STRUCT.size == abi.POLLFD.size
    assert abi.IOVEC_STRUCT.size == abi.IOVEC.size
