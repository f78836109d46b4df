"""Packetization-layer path MTU discovery: the MTU of a path that tells nothing.

A segment larger than the others is sent as a probe; whether it arrives halves the range that is
left. A lost probe is no sign of congestion. With `Config.mtu_probing` 2 every connection begins
with small segments and searches; with 1 only one whose segments vanish time after time, which is
what a black hole looks like. Probes need SACK, which tells them from other losses.
[RFC 4821 7] [RFC 8899 5.3] [Linux tcp(7)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.segment_size import overhead

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

ALWAYS: Final = 2  # of `Config.mtu_probing`

_LEAST_SEGMENTS: Final = 11  # in the congestion window, so that a loss is seen by those behind
_BEHIND: Final = 4  # full segments that are sent behind a probe, for the same reason

_FIELDS: Final = (
    "checked_ns", "high", "is_on", "low", "most", "probe", "probe_end", "probe_start",
)  # fmt: skip


class MtuSearch:
    """Bytes of packets: ``low`` has arrived, ``high`` may, ``probe`` is on its way (0: none)."""

    __slots__ = (
        "checked_ns", "high", "is_on", "low", "most", "probe", "probe_end", "probe_start",
    )  # fmt: skip

    def __init__(self) -> None:
        self.is_on: bool = False
        self.low: int = 0
        self.high: int = 0
        self.most: int = 0  # what both sides could take
        self.probe: int = 0
        self.probe_start: int = 0
        self.probe_end: int = 0
        self.checked_ns: int = 0  # when the search began last

    def save(self) -> Saved:
        return save_fields(self, 1, _FIELDS)

    @classmethod
    def loaded(cls, state: Saved) -> MtuSearch:
        """What was saved as ``state``."""
        search = cls()
        load_fields(search, 1, _FIELDS, state)
        return search


def begin(tcb: Tcb) -> None:
    """A connection whose segments carry up to ``tcb.mss`` opens on a stack that searches."""
    config = tcb.engine.config
    search = tcb.search = MtuSearch()
    search.high = tcb.mss + overhead(tcb)
    search.most = tcb.mss_most + overhead(tcb)
    search.low = min(config.base_mss, tcb.mss) + overhead(tcb)
    search.checked_ns = tcb.engine.now_ns
    if config.mtu_probing == ALWAYS:
        search.is_on = True
        tcb.mss = search.low - overhead(tcb)


def size(tcb: Tcb, search: MtuSearch, now_ns: int) -> int:
    """Payload of a probe that is worth sending now, from new data; 0: none is. [RFC 4821 7.4]"""
    mss = tcb.mss
    if (
        not search.is_on
        or search.probe
        or not tcb.has_sack
        or not tcb.engine.config.has_rack
        or tcb.recovery
        or tcb.scoreboard is not None
        or tcb.snd_nxt != tcb.snd_max
        or tcb.cwnd < _LEAST_SEGMENTS * mss
    ):
        return 0
    config = tcb.engine.config
    if search.high - search.low < config.mtu_probe_threshold:
        if now_ns - search.checked_ns >= config.mtu_probe_interval_ns:
            search.high = search.most  # the path may have changed [RFC 4821 7.3]
            search.checked_ns = now_ns
        return 0
    payload = (search.high + search.low >> 1) - overhead(tcb)
    needed = payload + _BEHIND * mss
    nxt = tcb.snd_nxt
    if (
        payload <= mss
        or tcb.snd_end - nxt < needed
        or tcb.snd_una + tcb.snd_wnd < nxt + needed
        or tcb.pipe() + payload + mss > tcb.cwnd
    ):
        return 0
    return payload


def sent(tcb: Tcb, search: MtuSearch, seq: int, payload: int) -> None:
    """A probe went out."""
    search.probe = payload + overhead(tcb)
    search.probe_start = seq
    search.probe_end = seq + payload
    tcb.is_ordinary = False
    tcb.engine.counts["mtu_probes"] += 1


def arrived(tcb: Tcb, search: MtuSearch) -> None:
    """Something was acknowledged: if it is the probe, segments grow. [RFC 4821 7.6.1]"""
    if tcb.snd_una >= search.probe_end:
        search.low = search.probe
        search.probe = 0
        search.checked_ns = tcb.engine.now_ns
        tcb.mss = search.low - overhead(tcb)
        tcb.engine.counts["mtu_probes_arrived"] += 1
        tcb.refresh_ordinary()


def is_lost(tcb: Tcb, search: MtuSearch) -> bool:
    """Fast recovery begins: is it the probe alone that is missing? Then the path has no room for
    it, and the loss is free; else it shows nothing. [RFC 4821 7.6.2, 7.6.4]"""
    if not search.probe or tcb.snd_una != search.probe_start:
        return False
    if tcb.flight is not None and tcb.flight.lost_bytes > search.probe_end - search.probe_start:
        return False
    search.high = search.probe - 1
    search.probe = 0
    search.checked_ns = tcb.engine.now_ns
    return True


def sent_again(search: MtuSearch, seq: int, end: int) -> None:
    """The range goes out once more: if a part of the probe is in it, an acknowledgement tells
    nothing of the probe. [RFC 4821 7.6.1]"""
    if search.probe and seq < search.probe_end and end > search.probe_start:
        search.probe = 0


def timed_out(tcb: Tcb, search: MtuSearch) -> None:
    """A retransmission timeout: what a probe would have shown is open; after several in a row the
    path may be a black hole for segments of this size. [RFC 4821 7.6.3, 7.7]"""
    search.probe = 0
    config = tcb.engine.config
    if tcb.backoff <= config.retries1:
        return
    mss = search.low - overhead(tcb)
    if search.is_on:
        mss = max(min(config.base_mss, mss >> 1), config.mtu_probe_floor, config.min_mss)
        search.low = min(mss + overhead(tcb), search.low)
    search.is_on = True
    search.checked_ns = tcb.engine.now_ns
    tcb.mss = min(tcb.mss, search.low - overhead(tcb))
    tcb.engine.counts["mtu_black_holes"] += 1


def told(tcb: Tcb, search: MtuSearch, mtu: int) -> None:
    """What routers say of the path has changed: it is ``mtu`` now. [RFC 4821 7.1]"""
    search.high = min(search.high, mtu)
    search.low = min(search.low, mtu)
    if not search.is_on:
        search.high = min(search.most, mtu)
        search.low = min(tcb.engine.config.base_mss, tcb.mss) + overhead(tcb)
