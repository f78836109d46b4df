"""What the CPU says it is: CPUID and what the engine accepts follow one set of words.

Model: QEMU's 64-bit CPU for its NX and PAE, without everything that we do not emulate. The engine
checks the same words when it decodes an instruction or a write to EFER, so a feature that CPUID
hides is #UD or ignored, too.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from leulo.cpu import layout

if TYPE_CHECKING:
    from leulo.cpu.engine import Engine

# CPUID.1:EDX [SDM 2 CPUID]
_FPU: Final = 1 << 0
_DE: Final = 1 << 2
_PSE: Final = 1 << 3
_TSC: Final = 1 << 4
_MSR: Final = 1 << 5
_PAE: Final = 1 << 6
_CX8: Final = 1 << 8
_PGE: Final = 1 << 13
_CMOV: Final = 1 << 15
_PAT: Final = 1 << 16
_CLFSH: Final = 1 << 19
_MMX: Final = 1 << 23
_FXSR: Final = 1 << 24
_SSE: Final = 1 << 25
_SSE2: Final = 1 << 26
FEATURES_1_EDX: Final = (
    _FPU | _DE | _PSE | _TSC | _MSR | _PAE | _CX8 | _PGE | _CMOV | _PAT | _CLFSH | _MMX | _FXSR
    | _SSE | _SSE2
)  # fmt: skip
FEATURES_1_ECX: Final = 1 << 0  # SSE3
# CPUID.80000001H:EDX repeats some of leaf 1 in AMD's numbering; NX is what matters.
NX: Final = 1 << 20
FEATURES_80000001_EDX: Final = NX

_WORDS: Final = 34
_WORD_1_EDX: Final = 0
_WORD_1_ECX: Final = 1
_WORD_80000001_EDX: Final = 6
_HIGHEST_LEAF: Final = 1
_HIGHEST_EXTENDED_LEAF: Final = 0x80000008
BRAND: Final = "Leulo virtual CPU"


def limit(engine: Engine) -> None:
    """Leave on only the features above. Call before the first block is translated."""
    words = [0] * _WORDS
    words[_WORD_1_EDX] = FEATURES_1_EDX
    words[_WORD_1_ECX] = FEATURES_1_ECX
    words[_WORD_80000001_EDX] = FEATURES_80000001_EDX
    env = layout.CPU_ENV
    for index, allowed in enumerate(words):
        place = (env + layout.ENV_FEATURES) // 8 + index
        engine.state64[place] &= allowed
    engine.state32[(env + layout.ENV_CPUID_LEVEL) // 4] = _HIGHEST_LEAF
    engine.state32[(env + layout.ENV_CPUID_XLEVEL) // 4] = _HIGHEST_EXTENDED_LEAF
    brand = struct.pack("48s", BRAND.encode())
    engine.state[env + layout.ENV_CPUID_MODEL :][:48] = brand
