"""How many bytes of payload fit a segment: what its headers take, and what becomes of a connection
when they grow.

`handshake.negotiate` begins with it, `path_mtu` and `mtu_search` say how large packets may be.
[RFC 9293 3.7.1] [RFC 6691 2]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.tcp import md5

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine
    from leulo.tcp.tcb import Tcb

LEAST: Final = 24  # left for payload whatever the options take
HEADERS: Final = 40  # of IPv4 and TCP without options
HEADERS_6: Final = 60
TIMESTAMP_BYTES: Final = 12
_IPV6_BYTES: Final = 16


def of_link(engine: Engine, is_v4: bool) -> int:
    """The largest segment, without options, that our link carries."""
    return engine.mtu - HEADERS if is_v4 else engine.mtu6 - HEADERS_6


def overhead(tcb: Tcb) -> int:
    """Bytes of a packet that are not payload."""
    headers = HEADERS_6 if len(tcb.peer) == _IPV6_BYTES else HEADERS
    if tcb.ecn is not None and tcb.ecn.accurate is not None:
        headers += tcb.ecn.accurate.room
    if tcb.settings.md5_keys:
        headers += md5.overhead(tcb)
    return headers + TIMESTAMP_BYTES if tcb.has_timestamps else headers


def headers_grow(tcb: Tcb, growth: int) -> None:
    """Every header of an open connection is ``growth`` bytes longer from now on."""
    old = tcb.mss
    new = tcb.mss = max(LEAST, old - growth)
    tcb.mss_most = max(LEAST, tcb.mss_most - growth)
    tcb.cwnd = tcb.cwnd * new // old  # as many segments
