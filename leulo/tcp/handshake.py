"""What both sides of an opening connection agree on, and how it starts its life.

Used by the active side (`output` sends the SYN, `input` takes the SYN-ACK) and by `listen`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from leulo.tcp import congestion, counted_buffer, md5, mtu_search, path_mtu, rtt, segment_size
from leulo.tcp.config import Config
from leulo.tcp.congestion.base import CongestionControl
from leulo.tcp.options import Options, emit_freebsd_syn, emit_syn
from leulo.tcp.pacer import Pacer
from leulo.tcp.segment_size import LEAST, TIMESTAMP_BYTES
from leulo.tcp.send_room import for_window
from leulo.tcp.settings import PATH_WANT, Settings
from leulo.tcp.tcb import Tcb
from leulo.units import NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine

_ENDS_4_BYTES: Final = 12  # of IPv4 addresses and ports
_FULL_MSS: Final = 1460  # bytes that the initial window counts a segment as, at most
_FALLBACK_RTO_NS: Final = 3 * NS_PER_S  # [RFC 6298 5.7]
_MOST_LOST_SYNS: Final = 1  # that say nothing of the path's load: the first timeout is short


def link_mss(engine: Engine, settings: Settings, ends: bytes) -> int:
    """The largest segment, without options, that the link of ``ends``'s family and the user allow.
    [RFC 9293 3.7.1]"""
    mss = segment_size.of_link(engine, len(ends) == _ENDS_4_BYTES)
    if settings.max_segment:
        mss = min(mss, settings.max_segment)
    return mss


def own_mss(engine: Engine, settings: Settings, ends: bytes) -> int:
    """What we announce: the largest segment, without options, that we can receive over the family
    of ``ends``. [RFC 9293 3.7.1] [RFC 6691 2]"""
    mss = link_mss(engine, settings, ends)
    if engine.config.route_mss:
        mss = min(mss, engine.config.route_mss)
    if engine.config.has_freebsd_icmp and engine.path_mtus.by_peer:
        # As if the way back were as narrow. [FreeBSD tcp(4) hostcache]
        peer = ends[4:8] if len(ends) == _ENDS_4_BYTES else ends[16:32]
        mss = min(mss, path_mtu.limit(engine, peer, settings) or mss)
    return mss


def default_mss(ends: bytes, config: Config) -> int:
    """The segment size of a peer that announces none. [RFC 9293 3.7.1]"""
    return config.default_mss if len(ends) == _ENDS_4_BYTES else config.default_mss6


def scale_for(limit: int) -> int:
    """The smallest window scale that lets 16 bits say ``limit``. [RFC 7323 2]"""
    scale = 0
    while scale < 14 and limit > 0xFFFF << scale:
        scale += 1
    return scale


def own_scale(engine: Engine, settings: Settings) -> int:
    """The window scale we announce: for the largest buffer that this connection can come to have.
    [RFC 7323 2.2]"""
    most = settings.rcv_bytes or settings.window_clamp
    if not most or engine.config.has_freebsd_syn:
        return engine.rcv_wscale
    return scale_for(min(most, settings.window_clamp or most))


def first_limit(engine: Engine, settings: Settings, mss: int, has_timestamps: bool) -> int:
    """Room for what the peer sends first, in segments of at most ``mss`` (our own); the SYN offers
    of it what 16 bits can say."""
    config = engine.config
    limit = settings.rcv_bytes or config.rcv_default
    if settings.window_clamp:
        limit = min(limit, settings.window_clamp)
    segment = mss - TIMESTAMP_BYTES if has_timestamps else mss
    if config.rounds_first_window and limit > segment:
        limit -= limit % segment
    if config.first_window_most and not settings.rcv_bytes:
        limit = min(limit, config.first_window_most)
    if config.first_window_segments:
        limit = min(limit, config.first_window_segments * segment)
    return limit


class Terms:
    """What all connections with the same settings and over one family offer and begin with, worked
    out once. It holds while settings, configuration and MTU are what they were."""

    __slots__ = (
        "config", "congestion", "has_usual_packets", "has_usual_syn", "is_paced", "is_plain",
        "limit", "link_mss", "mtu6", "own_mss", "settings", "stamped_limit", "takes_all", "wscale",
    )  # fmt: skip

    def __init__(self, engine: Engine, settings: Settings, ends: bytes) -> None:
        config = engine.config
        self.settings: Settings = settings
        self.config: Config = config
        self.mtu6: int = engine.mtu6
        self.link_mss: int = link_mss(engine, settings, ends)
        self.own_mss: int = own_mss(engine, settings, ends)
        self.wscale: int = own_scale(engine, settings)
        self.limit: int = first_limit(engine, settings, self.own_mss, False)
        self.stamped_limit: int = first_limit(engine, settings, self.own_mss, True)
        self.takes_all: bool = (
            config.has_timestamps
            and config.has_sack
            and config.has_window_scaling
            and not settings.is_bare
            and not settings.md5_keys
        )
        is_v4 = len(ends) == _ENDS_4_BYTES
        self.has_usual_syn: bool = self.takes_all and not config.has_freebsd_syn and is_v4
        self.has_usual_packets: bool = is_v4 and settings.path_discovery == PATH_WANT
        self.is_paced: bool = config.has_pacing or settings.max_pacing_rate > 0
        # What most connections need is there without either of these.
        self.is_plain: bool = not self.is_paced and not config.counts_memory
        self.congestion: Callable[[], CongestionControl] | None = congestion.beginner(
            settings.congestion
        )


def restrict(options: Options, config: Config, settings: Settings) -> None:
    """Leave of a SYN's options those that are taken."""
    if settings.is_bare or not config.has_timestamps:
        options.has_timestamps = False
    if settings.is_bare or not config.has_sack:
        options.is_sack_permitted = False
    if settings.is_bare or not config.has_window_scaling:
        options.wscale = -1


def terms_of(kept: dict[int, Terms], engine: Engine, settings: Settings, ends: bytes) -> Terms:
    """The terms for a connection between ``ends``; those that still hold are in ``kept``, by
    family."""
    terms = kept.get(len(ends))
    if (
        terms is None
        or terms.settings is not settings
        or terms.config is not engine.config
        or terms.mtu6 != engine.mtu6
        or (engine.path_mtus.by_peer and engine.config.has_freebsd_icmp)  # each peer has its own
    ):
        terms = kept[len(ends)] = Terms(engine, settings, ends)
    return terms


def terms_of_tcb(tcb: Tcb) -> Terms:
    """The terms of a connection that is opening."""
    engine = tcb.engine
    terms = tcb.terms
    if terms is None or terms.settings is not tcb.settings or engine.path_mtus.by_peer:
        terms = tcb.terms = terms_of(engine.terms, engine, tcb.settings, tcb.ends)
    return terms


def syn_options(
    engine: Engine,
    settings: Settings,
    mss: int,
    wscale: int,
    has_sack: bool,
    timestamps: tuple[int, int] | None,
) -> bytes:
    """The options of our SYN or SYN-ACK. ``mss`` is our own, ``wscale`` -1 leaves window scaling
    out."""
    if settings.is_bare:
        return b""
    if engine.config.has_freebsd_syn:
        return emit_freebsd_syn(mss, wscale, has_sack, timestamps)
    return emit_syn(mss, wscale, has_sack, timestamps)


def negotiate(tcb: Tcb, mss: int, peer_mss: int) -> None:
    """Fix the payload of a full segment and the initial window; ``mss`` is what the link allows.
    [RFC 9293 3.7.1] [RFC 6928 2]"""
    engine = tcb.engine
    config = engine.config
    if peer_mss < mss:
        mss = peer_mss
    if tcb.has_timestamps:
        mss -= TIMESTAMP_BYTES
    if tcb.settings.md5_keys:
        mss -= md5.overhead(tcb)
    if mss < LEAST:
        mss = LEAST
    tcb.mss = tcb.mss_most = mss
    if not config.offers_all_room and not config.may_shrink_window:
        # Windows are rounded up, so that the edge does not move back by what scaling cannot say.
        tcb.rcv_rounding = (1 << tcb.rcv_wscale) - 1
    if engine.path_mtus.by_peer:
        path_mtu.refresh(tcb)
        mss = tcb.mss
    if config.mtu_probing:
        mtu_search.begin(tcb)
        mss = tcb.mss
    segments = config.initial_window_segments
    cwnd = segments * mss
    if mss > _FULL_MSS:
        cwnd = min(cwnd, max(2 * mss, segments * _FULL_MSS))
    tcb.cwnd = cwnd
    if tcb.snd_limit < cwnd << 2 and not tcb.settings.snd_bytes:
        limit = for_window(tcb) if config.is_buffer_doubled else cwnd << 2
        tcb.snd_limit = max(tcb.snd_limit, min(limit, config.snd_max))


def round_buffers(tcb: Tcb, peer_mss: int) -> None:
    """Make the buffers whole segments. [FreeBSD tcp(4)]"""
    config = tcb.engine.config
    mss = min(peer_mss, own_mss(tcb.engine, tcb.settings, tcb.ends))
    if tcb.rcv_limit > mss:
        tcb.rcv_limit = min(-(-tcb.rcv_limit // mss) * mss, config.rcv_max)
    if tcb.snd_limit > mss:
        tcb.snd_limit = min(-(-tcb.snd_limit // mss) * mss, config.snd_max)


def apply_settings(tcb: Tcb, terms: Terms, rcv_limit: int) -> None:
    """Give a new connection what its socket's options ask for; ``rcv_limit`` as `first_limit`
    says."""
    tcb.rcv_limit = rcv_limit
    if terms.settings.snd_bytes:
        tcb.snd_limit = terms.settings.snd_bytes
    # Its own, if there is anything to remember: two connections must not share that.
    if terms.congestion is not None:
        tcb.congestion = terms.congestion()
    if not terms.is_plain:
        if terms.is_paced:
            tcb.pacer = Pacer(tcb)
        if terms.config.counts_memory:
            counted_buffer.begin(tcb, terms.own_mss)


def syn_acknowledged(tcb: Tcb) -> None:
    """Our SYN has arrived: nothing is outstanding."""
    tcb.backoff = 0
    tcb.rto_at = 0
    tcb.timed_seq = 0
    tcb.first_timeout_at = 0
    if tcb.timeouts is not None:
        tcb.timeouts.end(tcb.engine.now_ns)


def established(tcb: Tcb, rtt_ns: int, tsecr: int, lost_syns: int, now_ns: int) -> None:
    """The handshake is complete. ``rtt_ns`` is its round trip, 0 if something was sent twice;
    ``lost_syns`` says how often our SYN was."""
    if lost_syns > _MOST_LOST_SYNS:
        tcb.cwnd = tcb.mss  # [RFC 5681 3.1] [RFC 6928 2]
    if rtt_ns > 0:
        rtt.sample(tcb, rtt_ns, now_ns)
    elif tcb.has_timestamps and tsecr:
        rtt.sample_echo(tcb, tsecr)
    if not tcb.srtt_ns:
        tcb.rto_ns = max(tcb.rto_ns, _FALLBACK_RTO_NS)
    tcb.last_recv_ns = tcb.last_data_ns = tcb.last_send_ns = now_ns
    tcb.rcv_round_at = now_ns
    tcb.congestion.begin(tcb, now_ns)
    if tcb.settings.has_keepalive or tcb.engine.config.always_keepalive:
        tcb.keep_at = now_ns + tcb.settings.keep_idle_ns
        tcb.engine.timers.arm(tcb, tcb.keep_at)
