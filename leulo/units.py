"""Units: nanoseconds and bytes, and how people write them."""

from __future__ import annotations

import re
from typing import Final

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

_SIZES: Final = {"": 1, "K": KIB, "M": MIB, "G": GIB}
_TIMES: Final = {"ns": 1, "us": NS_PER_US, "ms": NS_PER_MS, "s": NS_PER_S, "m": 60 * NS_PER_S}
_RATES: Final = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}


def parse_size(text: str) -> int:
    """Bytes in ``16M``, ``64K``, ``4096``. Raises ValueError with a sentence."""
    match = re.fullmatch(r"(\d{1,20})\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise ValueError(f"{text!r} is not a size: write bytes, or a number with K, M or G")
    return int(match[1]) * _SIZES[match[2].upper()]


def parse_duration(text: str) -> int:
    """Nanoseconds in ``10ms``, ``1.5s``, ``200us``; a bare number is seconds. Raises ValueError."""
    return _scaled(text, _TIMES, "s", "a time: write a number with ns, us, ms, s or m")


def parse_rate(text: str) -> int:
    """Bits per second in ``20mbit``, ``1gbit``; a bare number is bits. Raises ValueError."""
    return _scaled(text, _RATES, "bit", "a rate: write a number with bit, kbit, mbit or gbit")


def _scaled(text: str, units: dict[str, int], default: str, wanted: str) -> int:
    match = re.fullmatch(r"(\d{1,20})(?:\.(\d{1,20}))?\s*([a-z]*)", text.strip().lower())
    unit = units.get(match[3] or default) if match else None
    if match is None or unit is None:
        raise ValueError(f"{text!r} is not {wanted}")
    fraction = match[2] or ""
    return int(match[1] + fraction) * unit // int(10 ** len(fraction))
