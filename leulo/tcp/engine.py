"""All TCP of one stack: the tables, what waits to be sent, who wants to be told.

The engine knows no link and no route; it asks its `Network` for Ethernet headers and is handed
valid segments. Time comes in with every call. `stack` owns it; sockets, input, output and timers
meet in it. What is kept per connection is in `tcb`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from leulo.tcp import (
    congestion,
    fast_open_client,
    fast_open_server,
    header,
    md5,
    pacing,
    stalled,
)
from leulo.tcp.account import Account, Lent
from leulo.tcp.addresses import ANY, ANY_4, ANY_6, ends_of
from leulo.tcp.challenge import ChallengeLimit
from leulo.tcp.config import Config
from leulo.tcp.congestion.base import CongestionControl
from leulo.tcp.deadlines import expire
from leulo.tcp.errno import ECONNABORTED, EHOSTUNREACH
from leulo.tcp.events import (
    Retransmitted,
    SegmentDropped,
    SegmentIn,
    SegmentOut,
    StateChanged,
    tell_dropped,
)
from leulo.tcp.fast_open import FastOpen
from leulo.tcp.fast_open_client import CookieJar
from leulo.tcp.handshake import Terms, scale_for
from leulo.tcp.header import ACK, ENDS_4_BYTES, RST, Frame
from leulo.tcp.isn import IsnGenerator
from leulo.tcp.listen import HalfOpen, Listener
from leulo.tcp.marks import mark_from
from leulo.tcp.options import emit_timestamps
from leulo.tcp.output import offer_window, output
from leulo.tcp.pacer import Pacer
from leulo.tcp.path_mtu import LEAST_MTU_6, PathMtus
from leulo.tcp.ports import Ports
from leulo.tcp.seq import MASK
from leulo.tcp.settings import Settings
from leulo.tcp.socket import TcpSocket
from leulo.tcp.state import CLOSED, ON_ABORT, SYN_RCVD, SYN_SENT, SYNCHRONIZED, TIME_WAIT
from leulo.tcp.tcb import (
    ACK_BARE,
    ACK_DELAYED,
    ACK_NONE,
    ACK_NOW,
    PROBE_NONE,
    RECOVERY_TIMEOUT,
    Tcb,
)
from leulo.tcp.time_wait import TimeWaitTable
from leulo.tcp.timers import Timers
from leulo.trace import Channel, Trace
from leulo.units import NS_PER_MS

_MAX_REPLIES: Final = 4096  # answers without a connection that wait for drain
_TIMERS_AT_ONCE: Final = 1_000  # two milliseconds' work or so


class Network(Protocol):
    """What the engine asks of the stack around it."""

    def link_header(self, peer: bytes, now_ns: int) -> bytes | None:
        """The Ethernet header for packets to ``peer``; None while it is being asked for, empty
        if nobody answers or there is no route."""

    def is_local(self, address: bytes) -> bool:
        """Is ``address`` this stack's own, answered inside?"""

    def source_for(self, peer: bytes) -> bytes | None:
        """The local address that a connection to ``peer`` gets, None without a route."""

    def may_bind(self, address: bytes) -> bool:
        """May a socket have ``address`` (never the wildcard)?"""


class Engine:
    """The TCP layer. ``tso_bytes`` is the largest payload of one segment handed out, 0: an MSS."""

    __slots__ = (
        "accepts_any", "account", "challenge", "config", "congestion", "connections", "cookies",
        "counts", "dropped", "drops", "half_open", "has_checksum_offload", "has_marks", "held",
        "identification", "is_stalled", "isn", "lent", "listeners", "loopback", "mtu", "mtu6",
        "name", "network", "now_ms", "now_ns", "opening", "orphans", "path_mtus", "pending",
        "ports", "random_bits", "rcv_wscale", "ready", "replies", "retransmitted", "segment_in",
        "segment_out", "segments_in", "segments_out", "serial", "settings", "sockets",
        "state_changed", "terms", "time_wait", "timers", "tso_bytes", "unresolved",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        config: Config,
        mtu: int,
        has_checksum_offload: bool,
        tso_bytes: int,
        random_bits: Callable[[int], int],
        trace: Trace,
        network: Network,
        accepts_any: bool = False,
    ) -> None:
        self.name: str = name
        self.config: Config = config
        self.mtu: int = mtu
        self.mtu6: int = mtu  # a router may want smaller packets of IPv6
        self.has_checksum_offload: bool = has_checksum_offload
        # Less than the headers of either family, which a super-segment has to leave room for.
        self.tso_bytes: int = max(0, min(tso_bytes, 0xFFFF) - 80) if has_checksum_offload else 0
        self.random_bits: Callable[[int], int] = random_bits
        self.network: Network = network
        self.accepts_any: bool = accepts_any  # every address, and every port by one listener
        self.now_ns: int = 0
        self.now_ms: int = 0
        self.rcv_wscale: int = scale_for(config.rcv_max)
        default = congestion.make(config.congestion)
        if default is None:
            raise ValueError(f"no congestion control is called {config.congestion!r}")
        self.congestion: CongestionControl = default
        self.settings: Settings = Settings.of(config)  # of a new socket
        self.terms: dict[int, Terms] = {}  # of active opens
        self.account: Account = Account(config.buffers_max)
        self.lent: dict[int, Lent] = {}  # of a loaded state, by number, until somebody asks
        self.orphans: int = 0  # connections whose user has closed, before TIME_WAIT

        self.connections: dict[bytes, Tcb] = {}
        self.half_open: dict[bytes, HalfOpen] = {}
        # Those whose SYN-ACK was sent once, the oldest first: they wait equally long.
        self.opening: deque[HalfOpen] = deque()
        self.time_wait: TimeWaitTable = TimeWaitTable(config.time_wait_ns, config.time_wait_limit)
        self.listeners: dict[bytes, Listener] = {}
        self.sockets: dict[int, TcpSocket] = {}  # those the user holds, by serial number
        self.timers: Timers = Timers()
        self.pending: list[Tcb] = []  # may have something to send
        self.held: deque[tuple[int, Tcb]] = deque()  # `hold_ack`, until when
        self.unresolved: list[Tcb] = []  # wait for a neighbour's address
        self.replies: list[Frame] = []
        self.loopback: list[Frame] = []
        self.ready: list[TcpSocket] = []
        self.isn: IsnGenerator = IsnGenerator(random_bits)
        self.challenge: ChallengeLimit = ChallengeLimit(config.challenge_acks_per_s, random_bits)
        self.ports: Ports = Ports(self)
        self.path_mtus: PathMtus = PathMtus()
        self.cookies: CookieJar = CookieJar()  # of TCP Fast Open, as a client
        self.is_stalled: bool = False  # see `stall`
        self.has_marks: bool = False  # some socket has had a TTL or a TOS of its own
        self.serial: int = 0
        self.identification: int = 0
        self.segments_in: int = 0
        self.segments_out: int = 0
        self.counts: dict[str, int] = dict.fromkeys(_COUNTS, 0)
        self.drops: dict[str, int] = {}

        self.segment_in: Channel[SegmentIn] = trace.channel(SegmentIn)
        self.segment_out: Channel[SegmentOut] = trace.channel(SegmentOut)
        self.state_changed: Channel[StateChanged] = trace.channel(StateChanged)
        self.retransmitted: Channel[Retransmitted] = trace.channel(Retransmitted)
        self.dropped: Channel[SegmentDropped] = trace.channel(SegmentDropped)

    # ------------------------------------------------------------ time and output

    def set_time(self, now_ns: int) -> None:
        """The time of everything that follows."""
        self.now_ns = now_ns
        self.now_ms = now_ns // NS_PER_MS

    def advance(self, now_ns: int) -> None:
        """Timers that are due. Of a crowd so many that nothing else has to wait long for them; the
        rest is then still due."""
        if now_ns != self.now_ns:
            self.set_time(now_ns)
        timers = self.timers
        for _ in range(_TIMERS_AT_ONCE):
            thing = timers.due(now_ns)
            if thing is None:
                break
            if isinstance(thing, Tcb):
                expire(thing, now_ns)
            elif isinstance(thing, Pacer):
                pacing.expire(thing, now_ns)
            elif isinstance(thing, HalfOpen):
                thing.listener.expire(thing, now_ns)
        left = _TIMERS_AT_ONCE
        while self.opening and self.opening[0].due_at <= now_ns and left:
            left -= 1
            half = self.opening.popleft()
            half.listener.expire(half, now_ns)
        if 0 < self.time_wait.next_ns <= now_ns:
            self.time_wait.advance(now_ns)
        if self.held:
            self.release_acks(now_ns)

    def next_deadline(self) -> int | None:
        """When `advance` is next needed; may be too early, never too late."""
        heap = self.timers.heap
        earliest = heap[0][0] if heap else None
        due = self.time_wait.next_ns
        if due and (earliest is None or due < earliest):
            earliest = due
        if self.opening:
            due = self.opening[0].due_at
            if earliest is None or due < earliest:
                earliest = due
        if self.held:
            due = self.held[0][0]
            if earliest is None or due < earliest:
                earliest = due
        return earliest

    def drain(self, now_ns: int, out: list[Frame], limit: int) -> None:
        """Put what is to be sent into ``out``, at most ``limit`` frames in all."""
        if now_ns != self.now_ns:
            self.set_time(now_ns)
        if now_ns >= self.path_mtus.until_ns:
            self.path_mtus.forget_old(now_ns)
        if self.replies:
            room = limit - len(out)
            out += self.replies[:room]
            del self.replies[:room]
            if len(out) >= limit:
                return
        if self.has_marks:
            self._drain_marked(now_ns, out, limit)
            return
        batch = self.pending
        while batch:
            self.pending = []
            for tcb in batch:
                output(tcb, now_ns, out, limit)
                if len(out) >= limit:
                    self.want_output(tcb)  # there may be more of it
                    self.pending = [*batch[batch.index(tcb) + 1 :], *self.pending]
                    return
            batch = self.pending

    def _drain_marked(self, now_ns: int, out: list[Frame], limit: int) -> None:
        """As `drain`; some sockets want other bits in their IP headers, or the device stalls."""
        if self.is_stalled:
            out.clear()  # of replies
            while self.pending:
                stalled.hold(self.pending.pop(0), now_ns)
        while self.pending and len(out) < limit:
            tcb = self.pending.pop(0)
            first = len(out)
            output(tcb, now_ns, out, limit)
            if tcb.settings.ttl or tcb.settings.tos:
                mark_from(out, first, tcb.settings)
            if len(out) >= limit:
                self.want_output(tcb)

    def stall(self, is_stalled: bool) -> None:
        """From now on the device takes nothing, or everything again."""
        self.is_stalled = is_stalled
        self.has_marks = True  # the careful way
        for tcb in self.connections.values():
            if tcb.recovery != RECOVERY_TIMEOUT:  # whose next try has its time
                self.want_output(tcb)

    def change_mtu(self, mtu: int) -> None:
        """The link has become wider, or narrower, than it was; IPv6 needs its least in any case."""
        self.mtu = mtu
        self.mtu6 = max(mtu, LEAST_MTU_6)
        self.path_mtus.era += 1  # every connection looks at its own

    def hold_ack(self, tcb: Tcb) -> None:
        """``tcb`` owes an ACK at once, but who answers is about to run: it may ride on that."""
        tcb.ack_due = ACK_DELAYED
        tcb.delack_at = at = self.now_ns + self.config.ack_patience_ns
        self.held.append((at, tcb))

    def release_acks(self, until_ns: int) -> None:
        """Nobody has answered: let those ACKs go that were to wait until then, or less long."""
        held = self.held
        while held and held[0][0] <= until_ns:
            at, tcb = held.popleft()
            if tcb.delack_at == at:
                tcb.delack_at = 0  # whatever was sent since: no timer has it, and nobody would look
                if tcb.ack_due == ACK_DELAYED:
                    tcb.ack_due = ACK_NOW
                    self.want_output(tcb)

    def want_output(self, tcb: Tcb) -> None:
        """Ask ``tcb`` in the next drain what it has to send."""
        if not tcb.is_pending:
            tcb.is_pending = True
            self.pending.append(tcb)

    def reply(self, frame: bytes, is_loopback: bool) -> None:
        """Send a segment that belongs to no connection, all of it header."""
        if not self.has_checksum_offload:
            frame = header.finish(frame, ())
        if is_loopback:
            self.loopback.append((frame,))
        elif len(self.replies) < _MAX_REPLIES:
            self.replies.append((frame,))
        else:
            self.count_drop("replies_full")

    # ------------------------------------------------------------ neighbours

    def find_link(self, tcb: Tcb, now_ns: int) -> bool:
        """Fill in the connection's Ethernet header. False: it has to wait, or failed."""
        peer = tcb.peer
        link = self.network.link_header(peer, now_ns)
        if link:
            tcb.front = header.front(link, len(peer) == 16, self.has_checksum_offload)
            return True
        if link is None:
            tcb.is_pending = True
            self.unresolved.append(tcb)
        elif tcb.state is SYN_SENT or tcb.state is SYN_RCVD:
            self.fail(tcb, EHOSTUNREACH)
        elif not tcb.rto_at and tcb.state is not CLOSED and tcb.state is not TIME_WAIT:
            # Nothing runs that would try again: let the retransmission timer do it.
            tcb.rto_at = now_ns + tcb.rto_ns
            self.timers.arm(tcb, tcb.rto_at)
        return False

    def lose_link(self, tcb: Tcb) -> None:
        """Nothing comes back: ask for the neighbour anew. [RFC 1122 2.3.2.1]"""
        if not tcb.is_loopback:
            tcb.front = None

    def retry_links(self) -> None:
        """Some neighbour's address has been found, or given up."""
        waiting, self.unresolved = self.unresolved, []
        self.pending += waiting

    # ------------------------------------------------------------ users

    def new_serial(self) -> int:
        self.serial += 1
        return self.serial

    def new_identification(self) -> int:
        """Of a packet that may be fragmented. [RFC 6864 4.2]"""
        self.identification = self.identification + 1 & 0xFFFF
        return self.identification

    def notify(self, socket: TcpSocket) -> None:
        """The socket's readiness may have changed: have it in the next `take_ready`."""
        if not socket.is_ready and socket.owner is not None:
            socket.is_ready = True
            self.ready.append(socket)

    def find_listener(self, ends: bytes) -> Listener | None:
        """Who listens at the local one of ``ends``: at the address, at every address, at every
        port."""
        listeners = self.listeners
        where = ends[-4:-2]
        address, any_address = ends[:4], ANY_4
        if len(ends) != ENDS_4_BYTES:
            address, any_address = ends[:16], ANY_6
        return (
            listeners.get(address + where)
            or listeners.get(any_address + where)
            or listeners.get(ANY + where)
            or listeners.get(ANY_4 + b"\x00\x00")
        )

    def may_use(self, key: bytes) -> bool:
        """Is no connection in the way of an active open with this key? One in TIME_WAIT is not
        if its successor's timestamps are surely newer. [RFC 6191 2]"""
        if key in self.connections or key in self.half_open:
            return False
        record = self.time_wait.get(key)
        return record is None or (
            self.config.has_time_wait_reuse
            and record.has_timestamps
            and self.now_ns - record.since_ns >= self.config.time_wait_reuse_ns
        )

    # ------------------------------------------------------------ ends of connections

    def forget(self, tcb: Tcb) -> None:
        """The connection is over: out of the tables, nothing more to send."""
        if self.connections.get(tcb.key) is tcb:
            del self.connections[tcb.key]
        self.timers.forget(tcb)
        if tcb.pacer is not None:
            self.timers.forget(tcb.pacer)
            tcb.pacer = None
        if tcb.fast_open is not None:
            self._end_fast_open(tcb, tcb.fast_open)
        if tcb.send_buffer is not None or tcb.reassembly is not None:
            tcb.drop_buffers()
        tcb.is_ordinary = False
        tcb.probe_due = PROBE_NONE
        if tcb.is_counted:
            tcb.is_counted = False
            self.orphans -= 1
        if tcb.socket is None and not tcb.is_accepting:
            if tcb.receive_buffer is not None:
                tcb.drop_received()
            return  # the last ACK may still go out, and then it is gone
        tcb.rto_at = tcb.delack_at = tcb.keep_at = tcb.life_at = 0
        tcb.probe_at = tcb.reorder_at = 0
        tcb.scoreboard = tcb.flight = tcb.episode = tcb.probe = tcb.hystart = None
        tcb.is_rexmit_due = tcb.is_persisting = False
        if tcb.timeouts is not None:
            tcb.timeouts.end(self.now_ns)
        if tcb.socket is not None:
            self.notify(tcb.socket)

    def _end_fast_open(self, tcb: Tcb, fast: FastOpen) -> None:
        if fast.is_passive:
            fast_open_server.leave(fast, False, self.now_ns)
        else:
            fast_open_client.ended(self, tcb, fast)

    def enter_time_wait(self, tcb: Tcb, now_ns: int) -> None:
        """Both FINs are acknowledged, or ours will be in a moment: a record takes over. The
        last ACK still goes out from the connection."""
        self.time_wait.add(tcb, now_ns)
        self.forget(tcb)

    def recall_lent(self) -> None:
        """Nothing lent may be used from now on: connections that would send it are reset."""
        for tcb in list(self.connections.values()):
            if tcb.send_buffer is not None and tcb.send_buffer.has_lent:
                self.abort(tcb)

    def fail(self, tcb: Tcb, error: int) -> None:
        """The connection ends at once with ``error`` (0: nobody need know)."""
        tcb.error = error
        tcb.change_state(ON_ABORT)
        tcb.ack_due = ACK_NONE
        self.counts["tcp_failed"] += 1
        self.forget(tcb)

    def abort(self, tcb: Tcb, error: int = 0) -> None:
        """End the connection with a reset to the peer. [RFC 9293 3.10.5]"""
        state = tcb.state
        if state is CLOSED or state is TIME_WAIT:
            return
        if SYNCHRONIZED >> state & 1 or state is SYN_RCVD:
            options = b""
            if tcb.has_timestamps:
                options = emit_timestamps((self.now_ms + tcb.ts_offset) & MASK, tcb.ts_recent)
            window = 0
            if self.config.has_window_in_reset:
                offer_window(tcb)
                window = tcb.window
            self._send_rst(tcb, tcb.snd_max, tcb.rcv_nxt, RST | ACK, options, window)
        self.fail(tcb, error)

    def leave(self, address: bytes) -> None:
        """``address`` is ours no longer: its connections are over, and nothing is sent from it.
        [RFC 2131 4.4.5] [RFC 4862 5.5.4]"""
        for tcb in list(self.connections.values()):
            if tcb.local == address and tcb.state is not CLOSED and tcb.state is not TIME_WAIT:
                self.fail(tcb, ECONNABORTED)
        for half in list(self.half_open.values()):
            if ends_of(half.key)[0] == address:
                half.listener.lose(half)

    def send_reset(self, tcb: Tcb, seq: int) -> None:
        """Answer an acknowledgement of something we never sent. [RFC 9293 3.10.7.3]"""
        self._send_rst(tcb, seq, 0, RST)

    def challenge_ack(self, tcb: Tcb, reason: str, now_ns: int) -> None:
        """Answer a segment that may be forged by an ACK, within the limit. [RFC 5961 10]

        A connection takes little of the budget, so that nobody can use it up by a connection of
        his own and learn from what is left of it [CVE-2016-5696]."""
        self.drop(reason, tcb)
        if tcb.may_answer_invalid(now_ns) and self.challenge.allows(now_ns):
            self.counts["tcp_challenge_acks"] += 1
            tcb.ack_due = ACK_BARE
            self.want_output(tcb)

    def _send_rst(
        self, tcb: Tcb, seq: int, ack: int, flags: int, options: bytes = b"", window: int = 0
    ) -> None:
        if tcb.front is None:
            return
        keys = tcb.settings.md5_keys
        if keys:
            options = md5.ordered(md5.lead(keys, tcb.key) + options, self.config)
        frame = header.plain(tcb.front, tcb.ends, seq, ack, flags, window, options)
        if keys:
            frame = md5.signed(frame, keys, tcb.key)
        self.counts["tcp_resets_sent"] += 1
        self.reply(frame, tcb.is_loopback)

    # ------------------------------------------------------------ counting

    def count_drop(self, reason: str) -> None:
        """A segment was thrown away."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if self.dropped.active:
            self.dropped.emit(SegmentDropped(self.now_ns, self.name, reason, "", ""))

    def drop(self, reason: str, tcb: Tcb) -> None:
        """A segment for ``tcb`` was thrown away."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if self.dropped.active:
            tell_dropped(tcb, reason)

    def totals(self) -> dict[str, int]:
        """What has happened so often."""
        return {
            "segments_in": self.segments_in, "segments_out": self.segments_out, **self.counts
        }  # fmt: skip

    def counters(self) -> dict[str, int]:
        """Totals, drops by reason (``drop_`` before it) and the sizes of the tables."""
        out = self.totals()
        for reason in sorted(self.drops):
            out["drop_" + reason] = self.drops[reason]
        out["tcp_connections"] = len(self.connections)
        out["tcp_half_open"] = len(self.half_open)
        out["tcp_time_wait"] = len(self.time_wait)
        out["tcp_time_wait_evicted"] = self.time_wait.evicted
        out["tcp_listeners"] = len(self.listeners)
        out["tcp_sockets"] = len(self.sockets)
        out["tcp_orphans"] = self.orphans
        out["tcp_buffered_bytes"] = self.account.used
        out["tcp_timers"] = len(self.timers) + len(self.opening)
        out["tcp_bound_ports"] = len(self.ports)
        out["fast_open_peers"] = len(self.cookies)
        return out


_COUNTS: Final = (
    "tcp_connects", "tcp_accepted", "tcp_failed", "tcp_refused",
    "tcp_retransmits", "tcp_timeouts", "tcp_fast_recoveries", "tcp_tail_probes", "tcp_undone",
    "tcp_dsacks_received", "tcp_dsacks_sent", "tcp_resets_sent", "tcp_ecn_marks",
    "tcp_ecn_reductions",
    "tcp_challenge_acks", "tcp_window_probes", "tcp_keepalives", "syn_cookies_sent",
    "syn_cookies_taken", "syn_timeouts", "time_wait_reused",
    "fast_opens_active", "fast_opens_passive", "fast_opens_failed", "fast_open_cookies_sent",
    "fast_open_overflows", "mtu_probes", "mtu_probes_arrived", "mtu_black_holes",
)  # fmt: skip
