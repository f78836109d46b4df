"""Congestion control algorithms by name, as TCP_CONGESTION knows them.

Others than the built-in ones come from installed packages: an entry point of the group
``leulo.congestion`` is a subclass of `CongestionControl` under the name it is chosen by.
"""

from __future__ import annotations

from typing import Final

from leulo.tcp.congestion.base import CongestionControl
from leulo.tcp.congestion.bbr import Bbr
from leulo.tcp.congestion.cubic import Cubic
from leulo.tcp.congestion.reno import Reno

GROUP: Final = "leulo.congestion"  # of entry points

_RENO: Final = Reno()
_installed: dict[str, type[CongestionControl]] | None = None


def make(name: str) -> CongestionControl | None:
    """The algorithm for one connection, None if there is none of this name."""
    if name == Reno.name:
        return _RENO
    if name == Cubic.name:
        return Cubic()
    if name == Bbr.name:
        return Bbr()
    algorithm = installed().get(name)
    return None if algorithm is None else algorithm()


def names() -> list[str]:
    """What `make` knows, sorted."""
    return sorted([Bbr.name, Cubic.name, Reno.name, *installed()])


def installed() -> dict[str, type[CongestionControl]]:
    """The algorithms of installed packages. They are looked for once, when a name that is not
    built in is asked for; one that cannot be loaded, or is none, is not there."""
    global _installed
    if _installed is None:
        from importlib.metadata import entry_points

        _installed = {}
        for entry in entry_points(group=GROUP):
            try:
                found = entry.load()
            except (ImportError, AttributeError):
                continue
            if isinstance(found, type) and issubclass(found, CongestionControl):
                _installed[entry.name] = found
    return _installed
