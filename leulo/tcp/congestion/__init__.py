"""Congestion control algorithms by name, as TCP_CONGESTION knows them."""

from __future__ import annotations

from leulo.tcp.congestion.base import CongestionControl
from leulo.tcp.congestion.cubic import Cubic
from leulo.tcp.congestion.reno import Reno

_RENO = Reno()


def make(name: str) -> CongestionControl | None:
    """The algorithm for one connection, None if there is none of this name."""
    if name == Reno.name:
        return _RENO
    if name == Cubic.name:
        return Cubic()
    return None
