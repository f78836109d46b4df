"""Sequence numbers: 32 bits on the wire, plain growing integers inside.

A number that arrives is unwrapped once, at the door: `unwrap` gives the integer nearest to a
reference that has the same low 32 bits. From there on sequence numbers are compared with ``<``,
subtracted and stored like any integer, and only what is put on the wire is masked again.
Values that stay 32 bits wide (timestamps, records of TIME_WAIT) are compared with `lt`.
The per-segment paths spell ``(a - b) & MASK`` out: a call costs as much as all the rest of it.
[RFC 9293 3.4]
"""

from __future__ import annotations

from typing import Final

MASK: Final = 0xFFFFFFFF
HALF: Final = 0x80000000


def unwrap(reference: int, wire: int) -> int:
    """The integer with the low 32 bits ``wire`` that is nearest to ``reference``."""
    return reference + ((wire - reference + HALF) & MASK) - HALF


def unwrap_ranges(reference: int, wire: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same of both ends of each range."""
    low = reference - HALF
    return [(low + ((left - low) & MASK), low + ((right - low) & MASK)) for left, right in wire]


def lt(a: int, b: int) -> bool:
    """Is ``a`` before ``b``, both modulo 2**32? [RFC 9293 3.4]"""
    return (a - b) & MASK >= HALF
