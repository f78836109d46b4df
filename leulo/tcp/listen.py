"""Passive opens: half-open records, SYN cookies, the queue of accept().

A SYN costs a small record, not a connection; the connection is made when the handshake is
complete. When a listener has too many records, SYN cookies take over: the answer's sequence number
and timestamp hold all that is needed to make the connection from the ACK alone.
[RFC 9293 3.10.7.2] [RFC 4987 3.6]

A listener with a `Screen` answers no SYN by itself: the record is held until the screen says
`admit` or `deny`. So a gateway can find out first whether the other side takes the connection.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp import accecn, ecn, fast_open_server, handshake, header
from leulo.tcp.addresses import turned
from leulo.tcp.fast_open import ALL_LISTENERS, emit
from leulo.tcp.header import ACK, ECE, RST, SYN
from leulo.tcp.marks import marked
from leulo.tcp.options import Options
from leulo.tcp.seq import MASK, lt
from leulo.tcp.settings import Settings
from leulo.tcp.state import ON_ACK_OF_SYN, SYN_RCVD
from leulo.tcp.tcb import Tcb
from leulo.tcp.timers import Timed
from leulo.units import NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine
    from leulo.tcp.socket import TcpSocket

_LEAST_HALF_OPEN: Final = 8  # records, however small the backlog
_COOKIE_SIZES: Final = (536, 1220, 1300, 1360, 1400, 1440, 1452, 1460)
_COOKIE_PERIOD_S: Final = 64
_COOKIE_AGES: Final = 2  # periods a cookie is good for
_COOKIE_FRESH_NS: Final = _COOKIE_PERIOD_S * _COOKIE_AGES * NS_PER_S
_NO_WSCALE: Final = 15
_SPARE_PLACES: Final = 256  # of ended records, before their places are worth a look
_ACCURATE_TRIES: Final = 2
_HALF_FIELDS: Final = (
    "serial", "key", "ends", "front", "irs", "iss", "mss", "snd_wnd", "snd_wscale",
    "has_timestamps", "has_sack", "ts_offset", "ts_recent", "retries", "sent_at", "is_loopback",
    "own_mss", "rcv_limit", "rcv_wscale", "due_at", "is_acked", "is_held", "has_ecn", "accurate",
    "is_plain", "challenged_at",
)  # fmt: skip


class Screen(Protocol):
    """Who decides about the SYNs of a listener."""

    def syn_held(self, half: HalfOpen) -> None:
        """A SYN has come; answer by `Listener.admit`, `deny` or `forget`, now or later."""

    def half_lost(self, half: HalfOpen) -> None:
        """The record is gone without a connection: reset by the peer, or never acknowledged."""


class HalfOpen(Timed):
    """A SYN that was answered: state SYN_RCVD of a passive open. Numbers are 32 bits wide."""

    __slots__ = (
        "accurate", "challenged_at", "due_at", "ends", "front", "has_ecn", "has_sack",
        "has_timestamps", "irs", "is_acked", "is_held", "is_loopback", "is_plain", "iss", "key",
        "listener", "mss", "own_mss", "rcv_limit", "rcv_wscale", "retries", "sent_at", "snd_wnd",
        "snd_wscale", "ts_offset", "ts_recent",
    )  # fmt: skip

    def __init__(
        self,
        serial: int,
        key: bytes,
        ends: bytes,
        listener: Listener,
        front: bytes,
        irs: int,
        iss: int,
        is_loopback: bool,
    ) -> None:
        self.serial: int = serial
        self.timer_at: int = 0
        self.key: bytes = key
        self.ends: bytes = ends  # as in the key, ours first
        self.listener: Listener = listener
        self.front: bytes = front
        self.irs: int = irs
        self.iss: int = iss
        self.is_loopback: bool = is_loopback
        self.mss: int = 0  # the peer's option
        self.snd_wnd: int = 0
        self.snd_wscale: int = -1
        self.rcv_limit: int = 0  # of the connection to come
        self.own_mss: int = handshake.own_mss(listener.engine, listener.settings, ends)
        self.rcv_wscale: int = handshake.own_scale(listener.engine, listener.settings)
        self.has_timestamps: bool = False
        self.has_sack: bool = False
        self.has_ecn: bool = False
        self.accurate: int = -1  # of accurate ECN the mark of the latest SYN, -1: it is not used
        self.is_plain: bool = False  # a SYN or a SYN-ACK was without its flags
        self.ts_offset: int = 0
        self.ts_recent: int = 0
        self.retries: int = 0
        self.sent_at: int = 0  # 0 once anything was sent again: no measurement then
        self.due_at: int = 0
        self.is_acked: bool = False  # all but the first data is here: TCP_DEFER_ACCEPT
        self.challenged_at: int = 0  # until then nothing that may be forged is answered
        self.is_held: bool = False  # not answered until the listener's screen says so

    def room(self) -> int:
        """The window of a connection that is not open yet; never scaled."""
        return self.rcv_limit if self.rcv_limit < 0xFFFF else 0xFFFF

    def save(self) -> Saved:
        return save_fields(self, 4, _HALF_FIELDS)

    def load(self, state: Saved) -> None:
        """Raises ValueError on another version."""
        load_fields(self, 4, _HALF_FIELDS, state)


class Listener:
    """A listening socket's queues. ``address`` is one of ours, or stands for every one: see
    `leulo.tcp.addresses`."""

    __slots__ = (
        "accept_queue", "address", "backlog", "cookies_ns", "engine", "fast_open_resets",
        "fast_opens", "half_open", "port", "screen", "settings", "socket",
    )  # fmt: skip

    def __init__(
        self, engine: Engine, address: bytes, port: int, backlog: int, settings: Settings
    ) -> None:
        self.engine: Engine = engine
        self.address: bytes = address
        self.port: int = port
        self.backlog: int = backlog
        self.settings: Settings = settings
        self.socket: TcpSocket | None = None
        self.screen: Screen | None = None
        self.accept_queue: list[Tcb] = []
        self.half_open: int = 0  # records of this listener
        self.cookies_ns: int = -_COOKIE_FRESH_NS  # when the last cookie was sent
        self.fast_opens: int = 0  # connections of this listener that opened with data in the SYN
        self.fast_open_resets: list[int] = []  # until when those that were reset count, too

    @property
    def key(self) -> bytes:
        """Its place in the engine's table."""
        return self.address + self.port.to_bytes(2, "big")

    def is_full(self) -> bool:
        """Linux admits one more than the backlog says. The stack may have its quota, too."""
        engine = self.engine
        return (
            len(self.accept_queue) > self.backlog
            or len(engine.connections) >= engine.config.connections_max
        )

    @property
    def fast_open_limit(self) -> int:
        """How many connections may be open before their handshake is complete: TCP_FASTOPEN."""
        queue = self.settings.fast_open_queue
        return queue or (self.backlog if self.engine.config.fast_open & ALL_LISTENERS else 0)

    def syn_arrives(
        self,
        key: bytes,
        ends: bytes,
        front: bytes,
        frame: bytes,
        start: int,
        end: int,
        seq: int,
        window: int,
        options: Options,
        is_loopback: bool,
        control: int,
        iss_after: int,
        now_ns: int,
    ) -> str | None:
        """Answer a SYN for a connection nobody has; ``frame[start:end]`` is the data in it, which
        comes again if it is not taken, ``control`` its flags. ``iss_after``: the sequence number
        that a connection in TIME_WAIT has left off at, -1: there is none. Returns why it was
        dropped, or None."""
        engine = self.engine
        config = engine.config
        if self.is_full():
            return "accept_queue_full"
        waiting = self.half_open
        is_cookie = (
            (waiting > self.backlog and waiting >= _LEAST_HALF_OPEN)
            or waiting >= config.half_open_limit
            or len(engine.half_open) >= config.half_open_max
        )
        if is_cookie and (not config.has_syn_cookies or self.screen is not None):
            return "syn_queue_full"
        iss, ts_offset = engine.isn.make(key, now_ns)
        if iss_after >= 0 and not lt(iss_after, iss):
            iss = (iss_after + 0x10000) & MASK
        half = HalfOpen(engine.new_serial(), key, ends, self, front, seq, iss, is_loopback)
        mss = options.mss or handshake.default_mss(ends, config)
        half.mss = mss if mss > config.min_mss else config.min_mss
        half.snd_wnd = window
        if self.settings.is_bare:
            options.has_timestamps = options.is_sack_permitted = False
            options.wscale = -1
        if options.has_timestamps and config.has_timestamps:
            half.has_timestamps = True
            half.ts_offset = ts_offset
            half.ts_recent = options.tsval
        half.has_sack = options.is_sack_permitted and config.has_sack
        if config.ecn >= accecn.FIRST and accecn.is_asked(control):
            half.accurate = ecn.mark_of(frame, ends)
        elif config.ecn != ecn.OFF:
            half.has_ecn = control & ecn.SETUP == ecn.SETUP
        if config.has_window_scaling:
            half.snd_wscale = options.wscale
        half.rcv_limit = handshake.first_limit(
            engine, self.settings, half.own_mss, half.has_timestamps
        )
        half.sent_at = now_ns
        if is_cookie:
            self.cookies_ns = now_ns
            self._make_cookie(half, now_ns)
            engine.counts["syn_cookies_sent"] += 1
            self._answer(half, self._cookie_timestamp(half))
            return None
        option = b""
        if (options.cookie is not None or end > start) and self.fast_open_limit:
            verdict = fast_open_server.judge(self, key, end - start, options, now_ns)
            is_old = options.is_cookie_experimental
            if verdict.is_accepted:
                tcb = self.connect(half, window, 0, now_ns, True)
                fast_open_server.begin(self, half, tcb, verdict.cookie, is_old, frame, start, end)
                return None
            if verdict.cookie:
                option = emit(verdict.cookie, is_old)
        self.half_open += 1
        engine.half_open[key] = half
        if self.screen is not None:
            half.is_held = True
            self.screen.syn_held(half)
            return None
        self._answer_first(half, now_ns, option)
        return None

    def admit(self, half: HalfOpen, now_ns: int) -> bool:
        """Answer a held SYN by the SYN-ACK. False: the record is gone."""
        engine = self.engine
        if engine.half_open.get(half.key) is not half:
            return False
        engine.set_time(now_ns)
        half.is_held = False
        half.sent_at = now_ns
        self._answer_first(half, now_ns)
        return True

    def deny(self, half: HalfOpen) -> None:
        """Answer a held SYN by a reset, as if nobody listened. [RFC 9293 3.10.7.1]"""
        if self.forget(half):
            engine = self.engine
            engine.counts["tcp_refused"] += 1
            flags = RST | ACK
            frame = header.plain(half.front, half.ends, 0, half.irs + 1, flags, 0, b"")
            engine.reply(frame, half.is_loopback)

    def answer_again(self, half: HalfOpen) -> None:
        """Send the SYN-ACK once more: the peer's SYN came again, or time is up."""
        if half.is_held:
            return
        half.sent_at = 0
        self._answer(half, (self.engine.now_ms + half.ts_offset) & MASK, b"", True)

    def syn_again(self, half: HalfOpen, control: int, mark: int) -> None:
        """The peer's SYN has come once more, perhaps with other flags. [RFC 9768 3.1.5]"""
        is_better = accecn.is_asked(control)
        if half.accurate >= 0:
            if accecn.ace_of(control) == accecn.CLASSIC:
                self.deny(half)
                return
            half.accurate = mark
            half.is_plain = half.is_plain or not is_better
        elif half.has_ecn:
            if is_better and self.engine.config.ecn >= accecn.FIRST:
                self.deny(half)
                return
            if control & ecn.SETUP != ecn.SETUP:
                half.has_ecn = False  # asked once, not any more [RFC 3168 6.1.1]
        self.answer_again(half)

    def expire(self, half: HalfOpen, now_ns: int) -> None:
        """The record's timer: send again or give up. [RFC 9293 3.8.3]"""
        engine = self.engine
        if engine.half_open.get(half.key) is not half or half.is_held:
            return
        config = engine.config
        if now_ns < half.due_at:
            engine.timers.arm(half, half.due_at)
            return
        defer = self.settings.defer_retries
        if half.retries >= config.synack_retries and (not half.is_acked or half.retries >= defer):
            self.lose(half)
            engine.counts["syn_timeouts"] += 1
            return
        half.retries += 1
        if not half.is_acked or half.retries >= defer:
            self.answer_again(half)
        half.due_at = now_ns + min(config.rto_initial_ns << half.retries, config.rto_max_ns)
        engine.timers.arm(half, half.due_at)

    def forget(self, half: HalfOpen) -> bool:
        """The record is done with. False: it was so before."""
        engine = self.engine
        if engine.half_open.pop(half.key, None) is None:
            return False
        self.half_open -= 1
        half.due_at = 0
        if half.timer_at:
            engine.timers.forget(half)
        opening = engine.opening
        while opening and not opening[0].due_at:
            opening.popleft()
        if len(opening) > 2 * len(engine.half_open) + _SPARE_PLACES:
            engine.opening = deque([half for half in opening if half.due_at])
        return True

    def lose(self, half: HalfOpen) -> None:
        """The record is done with and becomes no connection."""
        if self.forget(half) and self.screen is not None:
            self.screen.half_lost(half)

    def connect(
        self, half: HalfOpen, window: int, tsecr: int, now_ns: int, is_early: bool = False
    ) -> Tcb:
        """The handshake's last ACK has come, or is not waited for: make the record a
        connection."""
        engine = self.engine
        key = half.key
        irs = half.irs
        una = half.iss if is_early else half.iss + 1
        tcb = Tcb(engine, half.serial, key, half.ends, self.settings, half.iss, una)
        tcb.state = SYN_RCVD  # the record's, so to speak
        tcb.is_accepting = True
        tcb.is_loopback = half.is_loopback
        tcb.front = half.front
        tcb.irs = irs
        tcb.rcv_nxt = tcb.last_ack_sent = tcb.snd_wl1 = irs + 1
        tcb.snd_wl2 = tcb.snd_una
        tcb.bare_in = 1  # the SYN
        if not is_early:
            # SYN-ACKs do not count as sent, but one has arrived. [Linux tcp(7)]
            tcb.retransmits = half.retries
            tcb.data_out = tcb.control_out = half.retries + 1
            tcb.bare_out = -tcb.data_out
        if half.snd_wscale >= 0:
            tcb.snd_wscale = half.snd_wscale
            tcb.rcv_wscale = half.rcv_wscale
        tcb.snd_wnd = tcb.snd_max_wnd = window << tcb.snd_wscale
        tcb.has_sack = half.has_sack
        if half.has_ecn or half.accurate >= 0:
            tcb.ecn = ecn.Ecn(half.iss)
            if half.accurate >= 0:
                sent_mark = ecn.ECT0 if engine.config.ecn_of_control else ecn.NOT_ECT
                tcb.ecn.accurate = accecn.passive(half.accurate, sent_mark, half.is_plain)
        if half.has_timestamps:
            tcb.has_timestamps = True
            tcb.ts_offset = half.ts_offset
            tcb.ts_recent = half.ts_recent
            tcb.ts_recent_at = now_ns
        handshake.apply_settings(tcb, half.rcv_limit)
        handshake.negotiate(tcb, half.mss)
        if engine.config.has_whole_segment_buffers:
            handshake.round_buffers(tcb, half.mss)
        limit = tcb.rcv_limit
        tcb.rcv_adv = tcb.rcv_nxt + (limit if limit < 0xFFFF else 0xFFFF)
        if not is_early:
            rtt_ns = now_ns - half.sent_at if half.sent_at else 0
            lost_syns = 0 if half.is_acked else half.retries
            handshake.established(tcb, rtt_ns, tsecr, lost_syns, now_ns)
            tcb.change_state(ON_ACK_OF_SYN)
            tcb.open_ordinary()
        engine.connections[key] = tcb
        self.accept_queue.append(tcb)
        engine.counts["tcp_accepted"] += 1
        if self.socket is not None:
            engine.notify(self.socket)
        return tcb

    def cookie_arrives(
        self,
        key: bytes,
        front: bytes,
        seq: int,
        ack: int,
        control: int,
        option: int,
        tsval: int,
        tsecr: int,
        is_loopback: bool,
        now_ns: int,
    ) -> HalfOpen | None:
        """An ACK nobody knows: the record it speaks of, if its number is a cookie of ours that
        is still good. Of accurate ECN the ACK itself reminds us. [RFC 9768 5.1]"""
        if now_ns - self.cookies_ns > _COOKIE_FRESH_NS:
            return None
        irs = (seq - 1) & MASK
        iss = (ack - 1) & MASK
        difference = (iss - irs - self._cookie_hash(key, 0)) & MASK
        count = now_ns // (_COOKIE_PERIOD_S * NS_PER_S)
        age = (count - (difference >> 24)) & 0xFF
        if age >= _COOKIE_AGES:
            return None
        size = ((difference & 0xFFFFFF) - self._cookie_hash(key, 1 + count - age)) & 0xFFFFFF
        if size >= len(_COOKIE_SIZES):
            return None
        engine = self.engine
        half = HalfOpen(engine.new_serial(), key, turned(key), self, front, irs, iss, is_loopback)
        half.mss = _COOKIE_SIZES[size]
        if option and engine.config.has_timestamps:
            half.has_timestamps = True
            half.ts_offset = engine.isn.make(key, now_ns)[1]
            half.ts_recent = tsval
            bits = tsecr & 0x3F
            if bits & 0xF != _NO_WSCALE:
                half.snd_wscale = bits & 0xF
            half.has_sack = bool(bits & 0x10)
            half.has_ecn = bool(bits & 0x20)
        if engine.config.ecn >= accecn.FIRST and accecn.ace_of(control) > 1:
            half.accurate = accecn.NOT_ECT
            half.has_ecn = False
        half.rcv_limit = handshake.first_limit(
            engine, self.settings, half.own_mss, half.has_timestamps
        )
        engine.counts["syn_cookies_taken"] += 1
        return half

    def close(self) -> None:
        """Stop: forget the records, reset what nobody has accepted."""
        engine = self.engine
        for half in list(engine.half_open.values()):
            if half.listener is self:
                self.lose(half)
        queue, self.accept_queue = self.accept_queue, []
        for tcb in queue:
            tcb.is_accepting = False
            engine.abort(tcb)
            tcb.drop_received()

    # -- inside

    def _answer_first(self, half: HalfOpen, now_ns: int, option: bytes = b"") -> None:
        """Send the SYN-ACK, with ``option`` behind the others, and wait for its ACK."""
        engine = self.engine
        self._answer(half, (engine.now_ms + half.ts_offset) & MASK, option)
        half.due_at = now_ns + engine.config.rto_initial_ns
        engine.opening.append(half)

    def _answer(
        self, half: HalfOpen, tsval: int, option: bytes = b"", is_again: bool = False
    ) -> None:
        engine = self.engine
        config = engine.config
        timestamps = (tsval, half.ts_recent) if half.has_timestamps else None
        wscale = half.rcv_wscale if half.snd_wscale >= 0 else -1
        options = handshake.syn_options(
            engine, self.settings, half.own_mss, wscale, half.has_sack, timestamps
        )
        flags = SYN | ACK
        tos = ecn.NOT_ECT
        if half.has_ecn or half.accurate >= 0:
            flags |= ECE if half.has_ecn else self._flags_of_accurate(half)
            if config.ecn_of_control:
                tos = ecn.ECT0
            if half.accurate >= 0 and config.ecn_option and not is_again and options:
                is_behind = timestamps is not None and not config.has_freebsd_syn
                options = accecn.with_option(options, is_behind, len(option))
        frame = header.plain(
            half.front, half.ends, half.iss, half.irs + 1, flags, half.room(), options + option,
            tos=tos,
        )  # fmt: skip
        if engine.has_marks:
            frame = marked(frame, self.settings)
        engine.reply(frame, half.is_loopback)

    def _flags_of_accurate(self, half: HalfOpen) -> int:
        """Of the first two SYN-ACKs they tell of the SYN's mark; then somebody on the way may
        dislike them. [RFC 9768 3.1.5, 3.2.3.2.2]"""
        if half.retries < _ACCURATE_TRIES:
            return accecn.echo(half.accurate)
        half.is_plain = True
        return 0

    def _cookie_hash(self, key: bytes, count: int) -> int:
        return self.engine.isn.digest(b"cookie" + count.to_bytes(8, "big") + key) & MASK

    def _make_cookie(self, half: HalfOpen, now_ns: int) -> None:
        size = 0
        while size + 1 < len(_COOKIE_SIZES) and _COOKIE_SIZES[size + 1] <= half.mss:
            size += 1
        count = now_ns // (_COOKIE_PERIOD_S * NS_PER_S)
        low = (self._cookie_hash(half.key, 1 + count) + size) & 0xFFFFFF
        high = (count & 0xFF) << 24
        half.iss = (self._cookie_hash(half.key, 0) + half.irs + high + low) & MASK
        if not half.has_timestamps:
            half.snd_wscale = -1  # there is no room for them in the number alone
            half.has_sack = False
            half.has_ecn = False

    def _cookie_timestamp(self, half: HalfOpen) -> int:
        """The present timestamp with the options in its low bits, never in the future."""
        tsval = self.engine.now_ms + half.ts_offset
        bits = half.snd_wscale if half.snd_wscale >= 0 else _NO_WSCALE
        if half.has_sack:
            bits |= 0x10
        if half.has_ecn:
            bits |= 0x20
        low = (tsval & ~0x3F) | bits
        if low > tsval:
            low -= 0x40
        return low & MASK
