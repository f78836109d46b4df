"""Path MTU discovery: what routers tell of paths that are narrower than the link.

A report counts if the segment it quotes is outstanding and was in fact larger, and is kept for ten
minutes: then the path may be tried anew. It holds for every connection to that peer: each of them
hears of it when it sends next, so a report costs the same however many there are. What is announced
to peers (the MSS option) is the link's all the same, but on FreeBSD. [RFC 1191 4, 5, 6]
[RFC 8201 4, 5] [RFC 5927 7] [RFC 6691 5.1]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.tcp import mtu_search, rack
from leulo.tcp.segment_size import HEADERS, HEADERS_6, overhead
from leulo.tcp.state import SYN_SENT

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine
    from leulo.tcp.settings import Settings
    from leulo.tcp.tcb import Tcb

LEAST_MTU: Final = 552  # as Linux: less is an attacker's way to tiny segments
LEAST_MTU_6: Final = 1280  # of every link that carries IPv6 [RFC 8200 5]

_MAX_PATHS: Final = 1024
_IPV6_BYTES: Final = 16
_NEVER: Final = 1 << 62


class PathMtus:
    """What is known, by peer: the bytes of the largest packet, and until when it counts; the
    oldest first."""

    __slots__ = ("by_peer", "era", "until_ns")

    def __init__(self) -> None:
        self.by_peer: dict[bytes, tuple[int, int]] = {}
        self.era: int = 0  # another one whenever something here has changed
        self.until_ns: int = _NEVER  # when the oldest is to be forgotten

    def get(self, peer: bytes, now_ns: int) -> int:
        """0: nothing is known."""
        known = self.by_peer.get(peer)
        return 0 if known is None or known[1] <= now_ns else known[0]

    def learn(self, peer: bytes, mtu: int, until_ns: int) -> None:
        """The newest report counts."""
        paths = self.by_peer
        paths.pop(peer, None)
        if len(paths) >= _MAX_PATHS:
            del paths[next(iter(paths))]
        paths[peer] = (mtu, until_ns)
        self.era += 1
        self.until_ns = paths[next(iter(paths))][1]

    def forget_old(self, now_ns: int) -> None:
        """What has become too old counts no longer: call it from ``until_ns`` on."""
        paths = self.by_peer
        while paths:
            oldest = next(iter(paths))
            self.until_ns = paths[oldest][1]
            if self.until_ns > now_ns:
                return
            del paths[oldest]
            self.era += 1
        self.until_ns = _NEVER

    def clear(self) -> None:
        self.by_peer = {}
        self.era += 1
        self.until_ns = _NEVER

    def __len__(self) -> int:
        return len(self.by_peer)

    def save(self) -> Saved:
        paths = [(peer, mtu, until) for peer, (mtu, until) in self.by_peer.items()]
        return {"paths": paths, "era": self.era}

    def load(self, state: Saved) -> None:
        self.clear()
        for peer, mtu, until in state["paths"]:
            self.learn(peer, mtu, until)
        self.era = state["era"]


def of_tcb(tcb: Tcb) -> int:
    """The largest packet that ``tcb`` may send now."""
    engine = tcb.engine
    is_v6 = len(tcb.peer) == _IPV6_BYTES
    link = engine.mtu6 if is_v6 else engine.mtu
    if not tcb.settings.believes_reports:
        return link
    known = engine.path_mtus.get(tcb.peer, engine.now_ns)
    return min(known, link) if known else link


def too_big(tcb: Tcb, mtu: int) -> str | None:
    """A packet of ``tcb`` did not fit where ``mtu`` would; the quoted number has been checked.
    Returns why the report is ignored, or None."""
    engine = tcb.engine
    is_v6 = len(tcb.peer) == _IPV6_BYTES
    if mtu < (LEAST_MTU_6 if is_v6 else LEAST_MTU):
        return "icmp_mtu"
    if not tcb.settings.believes_reports:
        return "icmp_unwanted"
    if tcb.state is SYN_SENT and engine.config.has_freebsd_icmp and not is_v6:
        return "icmp_mtu"  # its segments are of the default size still, which fits
    if mtu < of_tcb(tcb):
        engine.path_mtus.learn(tcb.peer, mtu, engine.now_ns + engine.config.path_mtu_ns)
    elif tcb.mss + overhead(tcb) <= mtu:
        return "icmp_mtu"  # nothing that we sent was larger
    # Else another connection has learnt of it first, and what this one had sent is lost, too.
    refresh(tcb)
    if tcb.state is SYN_SENT:
        tcb.is_syn_due = tcb.snd_max > tcb.iss + 1  # without the data that made it too big
    elif tcb.snd_nxt > tcb.snd_una:
        rack.rewind(tcb)  # what did not fit goes again, in smaller segments [RFC 1191 6.4]
    engine.want_output(tcb)
    return None


def refresh(tcb: Tcb) -> None:
    """Full segments of ``tcb`` carry what its path has room for as far as is known now. To be
    asked before it sends, if `PathMtus.era` is not ``tcb.path_era``."""
    tcb.path_era = tcb.engine.path_mtus.era
    if not tcb.mss_most:
        return  # nothing is agreed on yet
    mtu = of_tcb(tcb)
    mss = min(tcb.mss_most, mtu - overhead(tcb))
    search = tcb.search
    if mss < tcb.mss:
        if not tcb.engine.config.has_freebsd_icmp:
            # As many segments as before, not as many bytes in more of them. [RFC 5681 3.1]
            tcb.cwnd = max(tcb.cwnd * mss // tcb.mss, mss)
        tcb.mss = mss
    elif mss > tcb.mss and (search is None or not search.is_on):
        tcb.mss = mss  # what was known has aged [RFC 1191 6.3] [RFC 8201 5.3]
        tcb.cwnd = max(tcb.cwnd, mss)
    if search is not None:
        mtu_search.told(tcb, search, mtu)


def limit(engine: Engine, peer: bytes, settings: Settings) -> int:
    """The largest segment, without options, for a new connection to ``peer``; 0: the link's."""
    if not settings.believes_reports:
        return 0
    known = engine.path_mtus.get(peer, engine.now_ns)
    headers = HEADERS_6 if len(peer) == _IPV6_BYTES else HEADERS
    return known - headers if known else 0
