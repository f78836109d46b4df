"""libunicorn as C functions: found, its version checked, each function declared once.

The library is loaded straight from the wheel: importing the ``unicorn`` package would load the
constants of nine other processors (50 ms) and wrap calls that we make thousands of times a second.
This module knows nothing of CPUs; see ``layout`` for what lies behind the handle.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from functools import cache
from typing import Any, Final

from leulo.errors import EnvironmentProblem

VERSION: Final = "2.1.4"

ARCH_X86: Final = 4
MODE_32: Final = 4
PROT_READ: Final = 1
PROT_ALL: Final = 7
HOOK_INTR: Final = 1
HOOK_INSN: Final = 2
HOOK_BLOCK: Final = 8
HOOK_INSN_INVALID: Final = 1 << 14
INSN_IN: Final = 218
INSN_OUT: Final = 500
INSN_RDTSC: Final = 608
INSN_SYSCALL: Final = 699
INSN_SYSENTER: Final = 700
MODEL_QEMU64: Final = 0
ERROR_FETCH_UNMAPPED: Final = 8
ERROR_FETCH_PROT: Final = 14

_CTL_WRITE: Final = 1 << 30
_CTL_ARGUMENTS_SHIFT: Final = 26
CTL_USE_EXITS: Final = 4
CTL_CPU_MODEL: Final = 7
CTL_TB_FLUSH: Final = 10
CTL_TLB_FLUSH: Final = 11
CTL_TLB_TYPE: Final = 12
CTL_TCG_BUFFER_SIZE: Final = 13
TLB_CPU: Final = 0

_SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "uc_open": (ctypes.c_int, ctypes.c_int, ctypes.c_void_p),
    "uc_close": (ctypes.c_void_p,),
    "uc_mem_map_ptr": (
        ctypes.c_void_p,
        ctypes.c_uint64,
        ctypes.c_size_t,
        ctypes.c_uint32,
        ctypes.c_void_p,
    ),
    "uc_mmio_map": (
        ctypes.c_void_p,
        ctypes.c_uint64,
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ),
    "uc_reg_read": (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p),
    "uc_reg_write": (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p),
    "uc_emu_start": (
        ctypes.c_void_p,
        ctypes.c_uint64,
        ctypes.c_uint64,
        ctypes.c_uint64,
        ctypes.c_size_t,
    ),
    "uc_emu_stop": (ctypes.c_void_p,),
}


@cache
def load() -> ctypes.CDLL:
    """The library, loaded once per process.

    Raises `EnvironmentProblem` on another platform, another version, or where it is missing.
    """
    if sys.platform != "linux" or os.uname().machine != "x86_64" or sys.maxsize < 1 << 32:
        raise EnvironmentProblem(
            f"the emulated CPU needs x86-64 Linux, and this is {sys.platform} on "
            f"{os.uname().machine if hasattr(os, 'uname') else 'another processor'}."
        )
    spec = importlib.util.find_spec("unicorn")
    if spec is None or spec.origin is None:
        raise EnvironmentProblem(
            f"the package unicorn is not installed: pip install unicorn=={VERSION}"
        )
    path = os.path.join(os.path.dirname(spec.origin), "lib", "libunicorn.so.2")
    try:
        found = ctypes.CDLL(path)
    except OSError as error:
        raise EnvironmentProblem(f"libunicorn cannot be loaded: {error}") from None
    for name, arguments in _SIGNATURES.items():
        function = getattr(found, name)
        function.argtypes = arguments
        function.restype = ctypes.c_int
    found.uc_version.restype = ctypes.c_uint32
    found.uc_strerror.restype = ctypes.c_char_p
    number = found.uc_version(None, None)
    version = f"{number >> 24}.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}"
    if version != VERSION:
        raise EnvironmentProblem(
            f"the emulated CPU is built for unicorn {VERSION}, and {version} is installed: "
            f"pip install unicorn=={VERSION}"
        )
    return found


def address_of(name: str) -> int:
    """Where an exported function lies in memory. Raises `EnvironmentProblem`."""
    try:
        function = getattr(load(), name)
    except AttributeError:
        raise EnvironmentProblem(
            f"this build of libunicorn does not export {name}: install the wheel of unicorn "
            f"{VERSION} from PyPI."
        ) from None
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def check(status: int, what: str) -> None:
    """Raise `EnvironmentProblem` unless ``status`` is success; ``what`` names what was tried."""
    if status:
        raise EnvironmentProblem(f"libunicorn: {what}: {describe(status)}")


def describe(status: int) -> str:
    """libunicorn's own words for a status."""
    return str(load().uc_strerror(status).decode())


def control(handle: ctypes.c_void_p, request: int, *values: int) -> None:
    """``uc_ctl``: set one of the engine's options, or flush. Raises `EnvironmentProblem`."""
    word = request | len(values) << _CTL_ARGUMENTS_SHIFT | _CTL_WRITE
    status = load().uc_ctl(handle, ctypes.c_int(word), *(ctypes.c_int(v) for v in values))
    check(status, f"option {request}")


def add_hook(
    handle: ctypes.c_void_p, kind: int, function: int, user_data: int, instruction: int = 0
) -> int:
    """Call machine code at ``function`` on events of ``kind``; the number is for `remove_hook`.
    Raises `EnvironmentProblem`."""
    hook = ctypes.c_size_t()
    status = load().uc_hook_add(
        handle,
        ctypes.byref(hook),
        ctypes.c_int(kind),
        ctypes.c_void_p(function),
        ctypes.c_void_p(user_data),
        ctypes.c_uint64(1),  # a range that ends before it begins: everywhere
        ctypes.c_uint64(0),
        ctypes.c_int(instruction),
    )
    check(status, f"hook {kind}")
    return hook.value


def remove_hook(handle: ctypes.c_void_p, hook: int) -> None:
    """Take a hook away, between runs. Raises `EnvironmentProblem`."""
    check(load().uc_hook_del(handle, ctypes.c_size_t(hook)), "take a hook away")
