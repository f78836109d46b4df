"""The C library's heap, told to keep what it has.

By default glibc gives the top of its heap back as soon as 128 KiB of it are free, and takes pages
anew for what is larger than that. Super-segments are half as large, come several at a time and are
gone a moment later: each would find its pages taken away, and every page that has to be made anew
costs a fault, where the host is itself a guest as much as twenty microseconds.
"""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # [mallopt(3)]
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 32 << 20
_MAPPED_BYTES: Final = 4 << 20  # from here a block has a mapping of its own


def keep_freed_memory() -> bool:
    """Keep up to 32 MiB of freed memory at hand; False where the C library cannot be told."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    return bool(kept and mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES))
