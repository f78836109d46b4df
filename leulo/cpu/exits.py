"""Exits: port I/O and MMIO as C callbacks that lead to the buses.

These are the hottest lines of Python in the program, so they are closures with nothing in them
but the call. An exception in a target is kept and ends the run; ``Cpu.run`` raises it again.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from leulo.cpu.control import AT_ONCE, FLAG_ERROR, FLAGS, GRANT, LIMIT, TICKS

NEVER: Final = 1 << 63
_OUT = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32)
_IN = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32, ctypes.c_int)
_LOAD = ctypes.CFUNCTYPE(
    ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_void_p
)
_STORE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_uint64, ctypes.c_void_p
)


class ExitTarget(Protocol):
    """Where the CPU's exits go: a `leulo.bus.Bus`, or what stands in front of one.

    Addresses are the CPU's own (a port, a guest-physical address); widths are 1, 2 or 4 bytes.
    """

    def read(self, address: int, width: int, /) -> int: ...

    def write(self, address: int, width: int, value: int, /) -> None: ...


class Exits:
    """The four callbacks of one CPU. The targets' methods are taken now, once; ``doors`` is looked
    into at each 32-bit OUT.

    ``error`` is the first exception that a target raised and ``Cpu.run`` has not yet;
    ``is_running`` is set by it while the guest executes. ``due_ns`` has one item: an exit that is
    over at that time by ``now_ns``, or later, ends the run at the next block.
    """

    def __init__(
        self,
        ports: ExitTarget,
        mmio: ExitTarget,
        mmio_base: int,
        words: memoryview,
        doors: Mapping[int, Callable[[int], None]],
        now_ns: Callable[[], int],
    ) -> None:
        self.error: BaseException | None = None
        self.is_running = False
        self._words = words
        read_port, write_port = ports.read, ports.write
        read_mmio, write_mmio = mmio.read, mmio.write
        fail, limit = self.fail, self.limit
        self.due_ns = due_ns = [NEVER]

        def on_out(port: int, width: int, value: int) -> None:
            try:
                if width == 4 and port in doors:
                    doors[port](value)
                else:
                    write_port(port, width, value)
                if now_ns() >= due_ns[0]:
                    limit(0)
            except BaseException as error:
                fail(error)

        def on_in(port: int, width: int) -> int:
            try:
                value = read_port(port, width)
                if now_ns() >= due_ns[0]:
                    limit(0)
                return value
            except BaseException as error:
                fail(error)
                return 0

        def on_load(_uc: int, offset: int, width: int, _data: int) -> int:
            try:
                value = read_mmio(mmio_base + offset, width)
                if now_ns() >= due_ns[0]:
                    limit(0)
                return value
            except BaseException as error:
                fail(error)
                return 0

        def on_store(_uc: int, offset: int, width: int, value: int, _data: int) -> None:
            try:
                write_mmio(mmio_base + offset, width, value)
                if now_ns() >= due_ns[0]:
                    limit(0)
            except BaseException as error:
                fail(error)

        functions = (on_out, on_in, on_load, on_store)
        self._callbacks = (_OUT(on_out), _IN(on_in), _LOAD(on_load), _STORE(on_store))
        addresses = [ctypes.cast(c, ctypes.c_void_p).value or 0 for c in self._callbacks]
        self.out_address, self.in_address, self.load_address, self.store_address = addresses
        self._names = [repr(function) for function in functions]
        for name in self._names:
            _live[name] = weakref.ref(self)
        _watch_unraisable()

    def fail(self, error: BaseException) -> None:
        """Keep the exception and end the run at the next block."""
        if self.error is None:
            self.error = error
        self._words[FLAGS] |= FLAG_ERROR
        self._words[LIMIT] = AT_ONCE

    def limit(self, ticks: int) -> None:
        """From inside an exit: end the run at most ``ticks`` from now (0: at the next block)."""
        words = self._words
        grant = words[TICKS] + ticks
        if grant < words[GRANT]:
            words[GRANT] = grant
            if grant < words[LIMIT]:
                words[LIMIT] = grant
                if words[FLAGS]:
                    words[LIMIT] = AT_ONCE

    def close(self) -> None:
        """The callbacks will not be called any more."""
        for name in self._names:
            _live.pop(name, None)


# A signal handler that raises (Ctrl-C, by default) may do so on the way into a callback, before its
# ``try``, or in a finaliser that runs there. Python then reports an "unraisable" exception and
# goes on; those that belong to a run end it instead.
_live: Final[dict[str, weakref.ref[Exits]]] = {}
_WHAT: Final = "Exception ignored on calling ctypes callback function "


def _find(unraisable: Any) -> Exits | None:
    """Whose exception this is, if it is one of ours."""
    name = repr(unraisable.object)
    if unraisable.object is None and unraisable.err_msg:
        name = unraisable.err_msg.removeprefix(_WHAT)
    reference = _live.get(name)
    if reference is not None:
        return reference()
    if not isinstance(unraisable.exc_value, Exception):  # KeyboardInterrupt and its like
        for candidate in list(_live.values()):
            exits = candidate()
            if exits is not None and exits.is_running:
                return exits
    return None


def _watch_unraisable() -> None:
    previous = sys.unraisablehook
    if getattr(previous, "is_leulo", False):
        return

    def hook(unraisable: Any) -> None:
        exits = _find(unraisable)
        if exits is not None and unraisable.exc_value is not None:
            exits.fail(unraisable.exc_value)
        else:
            previous(unraisable)

    hook.is_leulo = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook
