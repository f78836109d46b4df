"""Congestion control algorithms by name, as TCP_CONGESTION knows them.

Others than the built-in ones come from installed packages: an entry point of the group
``leulo.congestion`` is a subclass of `CongestionControl` under the name it is chosen by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leulo.tcp.congestion.base import CongestionControl
from leulo.tcp.congestion.bbr import Bbr
from leulo.tcp.congestion.cubic import Cubic, fresh_cubic
from leulo.tcp.congestion.reno import Reno

GROUP: Final = "leulo.congestion"  # of entry points

_RENO: Final = Reno()


def _reno() -> CongestionControl:
    return _RENO  # it has no state


_BUILT_IN: Final[dict[str, Callable[[], CongestionControl]]] = {
    Reno.name: _reno,
    Cubic.name: Cubic,
    Bbr.name: Bbr,
}
_installed: dict[str, type[CongestionControl]] | None = None


def make(name: str) -> CongestionControl | None:
    """The algorithm for one connection, None if there is none of this name."""
    make_one = maker(name)
    return None if make_one is None else make_one()


def maker(name: str) -> Callable[[], CongestionControl] | None:
    """What makes such algorithms, None if there is none of this name."""
    return _BUILT_IN.get(name) or installed().get(name)


def beginner(name: str) -> Callable[[], CongestionControl] | None:
    """What gives new connections such an algorithm: as `maker`, but while there is nothing that it
    would remember, connections may share one."""
    return fresh_cubic if name == Cubic.name else maker(name)


def names() -> list[str]:
    """What `make` knows, sorted."""
    return sorted([*_BUILT_IN, *installed()])


def installed() -> dict[str, type[CongestionControl]]:
    """The algorithms of installed packages. They are looked for once, when a name that is not
    built in is asked for, perhaps by a guest; one that cannot be loaded or made, or is none, or
    calls itself otherwise, is not there, whatever is wrong with it."""
    global _installed
    if _installed is None:
        from importlib.metadata import entry_points

        _installed = {}
        for entry in entry_points(group=GROUP):
            try:
                found = entry.load()
                is_one = isinstance(found, type) and issubclass(found, CongestionControl)
                if is_one and found().name == entry.name:
                    _installed[entry.name] = found
            except Exception:
                continue
    return _installed
