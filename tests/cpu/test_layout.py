"""The proof of the engine's layout, the machine code's listing, and the self-test.

Protects: that a build of libunicorn other than ours is refused in one sentence, never used.
"""

from __future__ import annotations

import itertools
import re
import struct
import subprocess
import sys
import types
from pathlib import Path

import capstone
import guest_images
import pytest

from leulo.cpu import control, layout, library, selftest, sse, thunks, watchpoints
from leulo.cpu.core import Cpu
from leulo.cpu.engine import Engine
from leulo.errors import EnvironmentProblem
from leulo.memory import Memory


@pytest.mark.parametrize(
    ("listing", "pieces"),
    [
        (thunks.LISTING, "block interrupt fetch invalid deliver stops out in undefined clock_tsc "
                         "tick_tsc aborts block_levels"),
        (watchpoints.LISTING, "insert remove matches check"),
        (sse.LISTING, "load store flags kind unaligned helper emit fold fxsave status rcpps rcpss "
                      "rsqrtps rsqrtss quiet sysexit"),
    ],
)  # fmt: skip
def test_listing_says_what_its_bytes_are(listing: str, pieces: str) -> None:
    code, labels = thunks.assemble(listing)
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoded = [f"{i.mnemonic} {i.op_str}".strip() for i in decoder.disasm(code, 0)]
    lines = [line.split(";")[0].split(maxsplit=1) for line in listing.splitlines()]
    written = [words[1].strip() for words in lines if len(words) == 2]
    assert written == decoded
    assert len(code) <= thunks.DATA
    assert set(labels) == set(pieces.split())


def test_listing_uses_the_offsets_of_layout_and_control() -> None:
    code, labels = thunks.assemble()
    for listing in (watchpoints.LISTING, sse.LISTING):
        more, more_labels = thunks.assemble(listing)
        labels |= {name: len(code) + at for name, at in more_labels.items()}
        code += more
    order = sorted(labels, key=lambda name: labels[name])
    ends = {a: labels[b] for a, b in itertools.pairwise(order)} | {order[-1]: len(code)}
    text = {name: code[labels[name] : ends[name]] for name in order}

    def has(piece: str, *offsets: int) -> None:
        for offset in offsets:
            forms = [struct.pack("<I", offset)] + ([bytes((offset,))] if offset < 128 else [])
            assert any(form in text[piece] for form in forms), (piece, hex(offset))

    has("block", 8 * control.LIMIT, 8 * control.GRANT, 8 * control.FLAGS, 8 * control.KICK,
        8 * control.EMU_STOP)  # fmt: skip
    has("block_levels", 8 * control.LIMIT, 8 * control.ENV, layout.ENV_HFLAGS, 8 * control.LEVELS)
    has("deliver", 8 * control.DEPTH, 8 * control.EXCEPTIONS, 8 * control.CHAIN,
        8 * control.DOUBLE_DEPTH, 8 * control.DOUBLE_CHAIN, 8 * control.DELIVER,
        layout.CPU_EXCEPTION_INDEX, layout.ENV_ERROR_CODE, layout.ENV_EXCEPTION_IS_INT,
        layout.ENV_CR + 16, layout.ENV_EIP, thunks.EXCEPTION_TICKS)  # fmt: skip
    has("invalid", 8 * control.BREAKPOINT, layout.CPU_EXCEPTION_INDEX, layout.ENV_ERROR_CODE)
    has("out", 8 * control.OUT, 8 * control.RAISE, layout.ENV_HFLAGS)
    has("in", 8 * control.IN, 8 * control.RAISE, layout.ENV_HFLAGS)
    has("tick_tsc", 8 * control.TSC_NUM, 8 * control.TSC_DEN, 8 * control.TSC_OFFSET)
    has("clock_tsc", 8 * control.CLOCK)
    has("aborts", layout.CPU_ENV)
    has("block", layout.ENV_ALONE, layout.CPU_NEXT_BLOCK)
    has("deliver", layout.ENV_ALONE)
    has("fetch", layout.ENV_ALONE, layout.ENV_ALONE_TICKS, layout.ENV_EIP, layout.ENV_CR + 16,
        layout.ENV_SEGMENTS + layout.SEGMENT_BYTES + 8, layout.CPU_NEXT_BLOCK,
        layout.ENV_OLD_EXCEPTION)  # fmt: skip
    unused, registers = (
        layout.CPU_ENV + n for n in (layout.ENV_UNUSED_XMM, layout.ENV_WATCHPOINTS)
    )
    has("insert", unused, registers)
    has("matches", unused, registers)
    has("check", unused, registers, layout.CPU_ENV + layout.ENV_ALONE, layout.CPU_NEXT_BLOCK,
        layout.CPU_WATCHPOINT_HIT, layout.CPU_INTERRUPT_REQUEST, layout.CPU_ICOUNT_HIGH,
        layout.CPU_ENV + layout.ENV_STORE,
        watchpoints.HIT_FLAGS)  # fmt: skip
    has("kind", layout.DISAS_PREFIX, layout.DISAS_START, layout.DISAS_UC, layout.UC_CPU,
        layout.CPU_CLASS, layout.CLASS_UNALIGNED, layout.CPU_ENV)  # fmt: skip
    has("load", layout.DISAS_ADDRESS)
    has("unaligned", layout.CPU_ENV)
    has("flags", layout.TCG_ENV, layout.TCG_LOAD_32, layout.ENV_MXCSR)
    has("emit", layout.TCG_LAST)
    has("fold", layout.ENV_SSE_FLAGS, layout.ENV_MXCSR)
    has("status", layout.ENV_MXCSR, layout.ENV_SSE_FLAGS, layout.ENV_SSE_FLUSH, layout.ENV_FP_FLUSH)
    has("quiet", layout.ENV_SSE_FLAGS)


def test_refuses_another_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EnvironmentProblem, match="needs x86-64 Linux, and this is darwin"):
        library.load.__wrapped__()


def test_refuses_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "VERSION", "2.0.1")
    with pytest.raises(EnvironmentProblem, match=r"built for unicorn 2\.0\.1, and 2\.1\.4 is"):
        library.load.__wrapped__()


def test_refuses_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match="pip install unicorn==2.1.4"):
        library.load.__wrapped__()


def test_refuses_a_file_that_is_no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libunicorn.so.2").write_bytes(b"not an ELF file")
    spec = types.SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(EnvironmentProblem, match="cannot be loaded"):
        library.load.__wrapped__()


@pytest.mark.parametrize("index", range(len(layout._EVIDENCE)))
def test_refuses_code_that_differs_in_one_offset(
    monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    evidence = list(layout._EVIDENCE)
    name, place, opcode, offset = evidence[index]
    evidence[index] = (name, place, opcode, offset + 8)
    monkeypatch.setattr(layout, "_EVIDENCE", tuple(evidence))
    with pytest.raises(EnvironmentProblem, match=name):
        layout.prove_code()


@pytest.mark.parametrize("name", ["ENV_REGS", "_SENTINELS", "_TABLES", "_STOP_INTERRUPT_CODE"])
def test_refuses_state_that_lies_elsewhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    value = getattr(layout, name)
    if isinstance(value, int):
        wrong: object = value + 8
    elif isinstance(value, bytes):
        wrong = bytes(reversed(value))
    elif name == "_SENTINELS":
        wrong = tuple((*row[:3], row[3] + 16, row[4]) for row in value)
    else:
        wrong = tuple((*row[:4], row[4] + 24) for row in value)
    monkeypatch.setattr(layout, name, wrong)
    with pytest.raises(EnvironmentProblem, match="not the one the emulated CPU knows"):
        Engine(Memory(1 << 20))


def test_self_test_passes_and_says_so() -> None:
    result = selftest.self_test()
    assert result.is_good
    assert re.fullmatch(r"the emulated CPU passes its self-test \(\d+ checks\)", result.text())


def test_self_test_that_fails_forbids_every_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_passed", set())
    code = selftest._PROGRAM.replace(bytes.fromhex("cd80"), bytes.fromhex("9090"))
    monkeypatch.setattr(selftest, "_PROGRAM", code)
    assert selftest.self_test().text() == (
        "the emulated CPU fails its self-test (a software interrupt: expected 1, found 0)"
    )
    with pytest.raises(EnvironmentProblem, match="a software interrupt: expected 1, found 0"):
        Cpu(Memory(1 << 20), guest_images.Recorder(), guest_images.Recorder())


def test_self_test_program_is_its_listing() -> None:
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32)
    mnemonics = [i.mnemonic for i in decoder.disasm(selftest._PROGRAM[:0x51], 0x1000)]
    assert " ".join(mnemonics) == (
        "lgdt lidt mov ljmp mov mov mov mov int ud2 mov mov inc sti nop out nop jmp hlt inc jmp"
        " inc iretd add inc iretd pop add iretd inc iretd"
    )
    mnemonics = [i.mnemonic for i in decoder.disasm(selftest._WATCH, 0x3000)]
    assert " ".join(mnemonics) == (
        "lgdt lidt mov mov mov mov mov xor mov inc mov hlt inc mov iretd"
    )
    mnemonics = [i.mnemonic for i in decoder.disasm(selftest._SSE, selftest.VECTORS)]
    assert " ".join(mnemonics) == ("lgdt lidt mov mov mov xorps divss stmxcsr mov mov movaps hlt")


def test_self_test_notices_watchpoints_that_do_not_fire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_passed", set())
    code = selftest._WATCH.replace(bytes.fromhex("0f23f8"), bytes.fromhex("909090"))
    monkeypatch.setattr(selftest, "_WATCH", code)
    assert "a watched write: expected (1, 12337), found (0, 0)" in selftest.self_test().text()


def test_self_test_notices_an_aligned_move_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_passed", set())
    code = selftest._SSE.replace(bytes.fromhex("0f28"), bytes.fromhex("0f10"))
    monkeypatch.setattr(selftest, "_SSE", code)
    assert "an aligned move: expected 0, found 24576" in selftest.self_test().text()


@pytest.mark.parametrize(("name", "caller", "place"), [entry[1:] for entry in sse._REPLACED])
def test_refuses_a_translator_that_calls_elsewhere(name: str, caller: str, place: int) -> None:
    """The places at which SSE is mended are calls of what they should be."""
    with pytest.raises(EnvironmentProblem, match=f"a call of {name} is not where it was"):
        sse._slot(name, sse._address(caller) + place + 1)


def test_importing_the_cpu_does_not_import_unicorn() -> None:
    script = (
        "import sys; from leulo.cpu import self_test; assert self_test().is_good; "
        "sys.exit('unicorn.unicorn_py3' in sys.modules or 'capstone' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.compiler
@pytest.mark.parametrize("name", ["exceptions", "timer"])
def test_guest_images_are_their_sources(name: str) -> None:
    pytest.importorskip("ziglang")
    import assemble_guests

    built = assemble_guests.assemble(assemble_guests.GUESTS / f"{name}.s")
    image = guest_images.Image(name)
    assert built["code"] == image.code.hex()
    assert built["symbols"] == image.symbols
