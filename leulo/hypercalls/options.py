"""GETSOCKOPT and SETSOCKOPT: values in guest memory. Which options there are, the engine knows."""

from __future__ import annotations

from typing import Final

from leulo.hypercalls import abi
from leulo.hypercalls.handles import Entry
from leulo.hypercalls.limits import Limits
from leulo.memory import Memory

_EINVAL: Final = int(abi.Errno.EINVAL)
_M32: Final = 0xFFFFFFFF


class OptionCalls:
    """Socket options of one machine. An unknown one is the engine's -ENOPROTOOPT."""

    def __init__(self, memory: Memory, limits: Limits) -> None:
        self._memory = memory
        self._max_option = limits.max_option

    def op_getsockopt(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        length = min(a3, self._max_option)
        self._memory.check(a2, length)
        if (a0 | a1) > _M32:
            return -_EINVAL
        value = entry.socket.getsockopt(a0, a1)
        if isinstance(value, int):
            return value
        value = value[:length]
        self._memory.write(a2, value)
        return len(value)

    def op_setsockopt(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        if a3 > self._max_option or (a0 | a1) > _M32:
            return -_EINVAL
        return entry.socket.setsockopt(a0, a1, self._memory.read(a2, a3))
