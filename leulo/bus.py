"""Buses: how an exit of the CPU finds its device.

A device knows offsets from its own base, never addresses. ``read`` and ``write`` have the chip's
side effects; ``peek`` never does (the debugger uses it). Widths are in bytes: 1, 2 or 4.
"""

from __future__ import annotations

from typing import Protocol


class Target(Protocol):
    """What a device shows to a bus."""

    def read(self, offset: int, width: int) -> int: ...

    def write(self, offset: int, width: int, value: int) -> None: ...

    def peek(self, offset: int, width: int) -> int: ...


class Bus:
    """Addresses to devices, for ports or for MMIO. An address nobody owns reads all ones."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._ranges: list[tuple[int, int, str, Target]] = []
        self._targets: dict[int, tuple[Target, int]] = {}

    def attach(self, base: int, length: int, name: str, target: Target) -> None:
        """Give ``length`` addresses from ``base`` to ``target``. Raises ValueError on overlap."""
        for address in range(base, base + length):
            if address in self._targets:
                raise ValueError(f"{self.name} {address:#x}: {name} overlaps another device")
        for offset in range(length):
            self._targets[base + offset] = (target, offset)
        self._ranges.append((base, length, name, target))
        self._ranges.sort(key=lambda entry: entry[0])

    def read(self, address: int, width: int) -> int:
        found = self._targets.get(address)
        if found is None:
            return (1 << 8 * width) - 1
        return found[0].read(found[1], width)

    def write(self, address: int, width: int, value: int) -> None:
        found = self._targets.get(address)
        if found is not None:
            found[0].write(found[1], width, value)

    def peek(self, address: int, width: int) -> int:
        """What a read would return, without its side effects."""
        found = self._targets.get(address)
        if found is None:
            return (1 << 8 * width) - 1
        return found[0].peek(found[1], width)

    def ranges(self) -> list[tuple[int, int, str]]:
        """(base, length, name) of every device, in the order of addresses."""
        return [(base, length, name) for base, length, name, _ in self._ranges]
