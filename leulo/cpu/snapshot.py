"""The CPU's state as plain data: one table of fields, read and written by offset.

Saved between runs only, when the flags are complete. What the engine derives (translated code,
TLB, rounding modes, breakpoints in debug registers) is derived again by loading. Values from a file
are masked or checked, so that none can make the engine leave its own memory.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Final

from leulo.cpu import layout, library
from leulo.cpu.engine import Engine
from leulo.cpu.registers import GENERAL_NAMES, SEGMENT_NAMES
from leulo.state import State

VERSION: Final = 1

# Flags the engine keeps for itself: all that 32-bit code can have; no long mode, SVM or SMM.
_HFLAGS: Final = 0x0147_3FFB
_HFLAGS2_GIF: Final = 1
_HFLAGS2_NMI: Final = 4
_EFER: Final = 1 << 11  # NXE is all that our CPU's EFER has
_FLAG_ARITHMETIC: Final = 0x8D5
_FLAG_DF: Final = 0x400
_DR7_EMPTY: Final = 0x400
_REGISTER_CR0: Final = 50
_REGISTER_CR3: Final = 53
_REGISTER_CR4: Final = 54
_REGISTER_FPCW: Final = 246
_REGISTER_MXCSR: Final = 249
_MXCSR: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    offset: int
    size: int
    mask: int = (1 << 64) - 1
    is_bytes: bool = False


def _segments() -> list[_Field]:
    fields = []
    for index, name in enumerate(SEGMENT_NAMES):
        at = layout.ENV_SEGMENTS + layout.SEGMENT_BYTES * index
        fields += [
            _Field(f"{name}_selector", at, 4, 0xFFFF),
            _Field(f"{name}_base", at + 8, 8, 0xFFFFFFFF),
            _Field(f"{name}_limit", at + 16, 4, 0xFFFFFFFF),
            _Field(f"{name}_flags", at + 20, 4, 0x00FF_FF00),
        ]
    return fields


_FIELDS: Final = (
    *(_Field(name, 8 * at, 8, 0xFFFFFFFF) for at, name in enumerate(GENERAL_NAMES)),
    _Field("eip", layout.ENV_EIP, 8, 0xFFFFFFFF),
    _Field("eflags", layout.ENV_EFLAGS, 8, 0x003F_7FD7),
    _Field("hflags", layout.ENV_HFLAGS, 4, _HFLAGS),
    _Field("hflags2", layout.ENV_HFLAGS2, 4, _HFLAGS2_GIF | _HFLAGS2_NMI),
    *_segments(),
    _Field("cr2", layout.ENV_CR + 16, 8, 0xFFFFFFFF),
    _Field("efer", layout.ENV_EFER, 8, _EFER),
    _Field("fpstt", layout.ENV_FPSTT, 4, 7),
    _Field("fpus", layout.ENV_FPUS, 2, 0xFFFF),
    _Field("fptags", layout.ENV_FPTAGS, 8, is_bytes=True),
    _Field("fpregs", layout.ENV_FPREGS, 128, is_bytes=True),
    _Field("fp_exceptions", layout.ENV_FP_FLAGS, 1, 0xFF),
    _Field("sse_exceptions", layout.ENV_SSE_FLAGS, 1, 0xFF),
    *(_Field(f"xmm{at}", layout.ENV_XMM + 64 * at, 16, is_bytes=True) for at in range(8)),
    _Field("msrs", layout.ENV_MSRS, layout.ENV_MSRS_END - layout.ENV_MSRS, is_bytes=True),
    _Field("mtrrs", layout.ENV_MTRRS, layout.ENV_MTRRS_END - layout.ENV_MTRRS, is_bytes=True),
    *(_Field(f"dr{at}", layout.ENV_DR + 8 * at, 8, 0xFFFFFFFF) for at in (0, 1, 2, 3, 6)),
)
# These go through the public calls, for the sake of what the engine derives from them.
_DERIVING: Final = ("cr0", "cr3", "cr4", "fpcw", "mxcsr", "dr7")


def save(engine: Engine) -> State:
    """The registers of the CPU, every one that a guest can observe."""
    state: State = {"version": VERSION}
    for field in _FIELDS:
        at = layout.CPU_ENV + field.offset
        data = bytes(engine.state[at : at + field.size])
        state[field.name] = data if field.is_bytes else int.from_bytes(data, "little") & field.mask
    for name, offset, size in (
        ("cr0", layout.ENV_CR, 4),
        ("cr3", layout.ENV_CR + 24, 4),
        ("cr4", layout.ENV_CR + 32, 4),
        ("fpcw", layout.ENV_FPUC, 2),
        ("mxcsr", layout.ENV_MXCSR, 4),
        ("dr7", layout.ENV_DR + 56, 4),
    ):
        at = layout.CPU_ENV + offset
        state[name] = int.from_bytes(engine.state[at : at + size], "little")
    return state


def check(state: State) -> None:
    """Raise ValueError unless ``state`` is of this version and whole."""
    if state.get("version") != VERSION:
        raise ValueError(f"saved CPU has version {state.get('version')}, we read {VERSION}")
    for field in _FIELDS:
        value = state.get(field.name)
        if field.is_bytes:
            good = isinstance(value, bytes) and len(value) == field.size
        else:
            good = isinstance(value, int) and 0 <= value < 1 << 8 * field.size
        if not good:
            raise ValueError(f"saved CPU: {field.name} is missing or malformed")
    for name in _DERIVING:
        value = state.get(name)
        if not isinstance(value, int) or not 0 <= value < 1 << 32:
            raise ValueError(f"saved CPU: {name} is missing or malformed")


def load(engine: Engine, state: State) -> None:
    """Put a checked state into the CPU and forget everything derived from the old one."""
    update_dr7 = getattr(library.load(), layout.UPDATE_DR7)
    update_dr7.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    update_dr7.restype = None
    update_dr7(engine.env, _DR7_EMPTY)
    engine.write_register(_REGISTER_CR0, state["cr0"])
    engine.write_register(_REGISTER_CR4, state["cr4"])
    engine.write_register(_REGISTER_CR3, state["cr3"])
    engine.write_register(_REGISTER_FPCW, state["fpcw"] & 0xFFFF)
    engine.write_register(_REGISTER_MXCSR, state["mxcsr"] & _MXCSR)
    for field in _FIELDS:
        at = layout.CPU_ENV + field.offset
        value = state[field.name]
        if not field.is_bytes:
            value = (value & field.mask).to_bytes(field.size, "little")
        engine.state[at : at + field.size] = value
    words = engine.state32
    env = layout.CPU_ENV
    words[(env + layout.ENV_HFLAGS2) // 4] |= _HFLAGS2_GIF
    words[(env + layout.ENV_OLD_EXCEPTION) // 4] = 0xFFFFFFFF
    flags = state["eflags"]
    engine.state64[(env + layout.ENV_CC_SRC) // 8] = flags & _FLAG_ARITHMETIC
    words[(env + layout.ENV_CC_OP) // 4] = layout.CC_OP_EFLAGS
    words[(env + layout.ENV_DF) // 4] = 0xFFFFFFFF if flags & _FLAG_DF else 1
    update_dr7(engine.env, state["dr7"])
    engine.flush()
