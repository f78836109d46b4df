"""SipHash-2-4: a keyed hash of short texts. [SipHash]

The cookies of TCP Fast Open are made with it as Linux makes them, so that machines that share a
key, whatever they run, accept each other's.
"""

from __future__ import annotations

from typing import Final

KEY_BYTES: Final = 16

_MASK: Final = 0xFFFFFFFFFFFFFFFF
_WORD: Final = 8
_ROUNDS: Final = 2  # for each word
_LAST_ROUNDS: Final = 4


def siphash(key: bytes, text: bytes) -> int:
    """64 bits that depend on ``text`` and the 16 bytes of ``key``."""
    k0 = int.from_bytes(key[:_WORD], "little")
    k1 = int.from_bytes(key[_WORD:], "little")
    state = (
        k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573,
    )  # fmt: skip
    size = len(text)
    padded = text + bytes(_WORD - 1 - size % _WORD) + bytes((size & 0xFF,))
    for at in range(0, len(padded), _WORD):
        word = int.from_bytes(padded[at : at + _WORD], "little")
        v0, v1, v2, v3 = _mixed((state[0], state[1], state[2], state[3] ^ word), _ROUNDS)
        state = (v0 ^ word, v1, v2, v3)
    v0, v1, v2, v3 = _mixed((state[0], state[1], state[2] ^ 0xFF, state[3]), _LAST_ROUNDS)
    return v0 ^ v1 ^ v2 ^ v3


def _mixed(state: tuple[int, int, int, int], rounds: int) -> tuple[int, int, int, int]:
    v0, v1, v2, v3 = state
    for _ in range(rounds):
        v0 = (v0 + v1) & _MASK
        v1 = _rotated(v1, 13) ^ v0
        v0 = _rotated(v0, 32)
        v2 = (v2 + v3) & _MASK
        v3 = _rotated(v3, 16) ^ v2
        v0 = (v0 + v3) & _MASK
        v3 = _rotated(v3, 21) ^ v0
        v2 = (v2 + v1) & _MASK
        v1 = _rotated(v1, 17) ^ v2
        v2 = _rotated(v2, 32)
    return v0, v1, v2, v3


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _MASK
