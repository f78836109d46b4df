"""Buses: how an exit of the CPU finds its device.

A device knows offsets from its own base, never addresses. ``read`` and ``write`` have the chip's
side effects; ``peek`` never does (the debugger uses it). Widths are in bytes: 1, 2 or 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

_PAGE_BITS: Final = 12
_PAGE_BYTES: Final = 1 << _PAGE_BITS


class Target(Protocol):
    """What a device shows to a bus."""

    def read(self, offset: int, width: int) -> int: ...

    def write(self, offset: int, width: int, value: int) -> None: ...

    def peek(self, offset: int, width: int) -> int: ...


class _Counted:
    """Stands in front of a target and counts what comes by."""

    __slots__ = ("_read", "_write", "count", "peek")

    def __init__(self, target: Target) -> None:
        self.count = 0
        self.peek = target.peek
        self._read = target.read
        self._write = target.write

    def read(self, offset: int, width: int) -> int:
        self.count += 1
        return self._read(offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        self.count += 1
        self._write(offset, width, value)


class Bus:
    """Addresses to devices, for ports or for MMIO. An address nobody owns reads all ones.

    ``doors``: where a device takes 32-bit writes to an address at once, without its ``write``.
    Whoever stands where the exits come in may use them; they are shut when accesses are counted.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.unclaimed = 0  # accesses to addresses nobody owns
        self._ranges: dict[int, tuple[int, str, Target]] = {}  # by base
        self._targets: dict[int, tuple[Target, int]] = {}
        self._pages: dict[int, tuple[Target, int]] = {}  # of ranges that are whole pages
        self._counted: dict[str, _Counted] | None = None
        self.doors: dict[int, Callable[[int], None]] = {}

    def attach(self, base: int, length: int, name: str, target: Target) -> None:
        """Give ``length`` addresses from ``base`` to ``target``. Raises ValueError on overlap."""
        for other, (size, owner, _) in self._ranges.items():
            if base < other + size and other < base + length:
                raise ValueError(f"{self.name} {max(base, other):#x}: {name} overlaps {owner}")
        self._ranges[base] = (length, name, target)
        self._enter(base)

    def detach(self, base: int) -> None:
        """Take away the device that begins at ``base``. Raises KeyError if there is none."""
        length, _, _ = self._ranges.pop(base)
        if _is_paged(base, length):
            for page in range(base >> _PAGE_BITS, base + length >> _PAGE_BITS):
                del self._pages[page]
        else:
            for address in range(base, base + length):
                del self._targets[address]

    def _enter(self, base: int) -> None:
        length, name, target = self._ranges[base]
        if self._counted is not None:
            target = self._counted.setdefault(name, _Counted(target))
        if _is_paged(base, length):
            for offset in range(0, length, _PAGE_BYTES):
                self._pages[base + offset >> _PAGE_BITS] = (target, offset)
        else:
            for offset in range(length):
                self._targets[base + offset] = (target, offset)

    def read(self, address: int, width: int) -> int:
        found = self._targets.get(address) or self._in_page(address)
        if found is None:
            self.unclaimed += 1
            return (1 << 8 * width) - 1
        return found[0].read(found[1], width)

    def write(self, address: int, width: int, value: int) -> None:
        found = self._targets.get(address) or self._in_page(address)
        if found is None:
            self.unclaimed += 1
        else:
            found[0].write(found[1], width, value)

    def peek(self, address: int, width: int) -> int:
        """What a read would return, without its side effects."""
        found = self._targets.get(address) or self._in_page(address)
        if found is None:
            return (1 << 8 * width) - 1
        return found[0].peek(found[1], width)

    def _in_page(self, address: int) -> tuple[Target, int] | None:
        found = self._pages.get(address >> _PAGE_BITS)
        if found is None:
            return None
        return found[0], found[1] + (address & _PAGE_BYTES - 1)

    def ranges(self) -> list[tuple[int, int, str]]:
        """(base, length, name) of every device, in the order of addresses."""
        return [(base, *self._ranges[base][:2]) for base in sorted(self._ranges)]

    def target(self, base: int) -> Target:
        """The device that begins at ``base``. Raises KeyError if there is none."""
        return self._ranges[base][2]

    def count_accesses(self) -> None:
        """Count the accesses to each device from now on; until then it costs nothing."""
        if self._counted is None:
            self.doors.clear()
            self._counted = {}
            for base in self._ranges:
                self._enter(base)

    def counters(self) -> dict[str, int]:
        """Accesses by device, if they are counted, then those to nobody."""
        found = {_slug(name): counted.count for name, counted in (self._counted or {}).items()}
        return {**found, "unclaimed": self.unclaimed}


def _is_paged(base: int, length: int) -> bool:
    return base % _PAGE_BYTES == 0 and length % _PAGE_BYTES == 0


def _slug(name: str) -> str:
    """``PIC 1`` as it is in a counter's dotted name."""
    return "".join(c if c.isalnum() else "_" for c in name.lower())
