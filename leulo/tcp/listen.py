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
from leulo.tcp import accecn, ecn, fast_open_server, handshake, header, md5
from leulo.tcp.addresses import ends_of, turned, words_of
from leulo.tcp.fast_open import ALL_LISTENERS, emit
from leulo.tcp.handshake import Terms
from leulo.tcp.header import ACK, AE, ECE, RST, SYN
from leulo.tcp.marks import marked
from leulo.tcp.options import END, NOP, Options
from leulo.tcp.seq import MASK, lt
from leulo.tcp.settings import Settings
from leulo.tcp.state import ON_ACK_OF_SYN, SYN_RCVD
from leulo.tcp.tcb import Tcb
from leulo.tcp.timeouts import Timeouts
from leulo.tcp.timers import Timed
from leulo.units import NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine
    from leulo.tcp.socket import TcpSocket

_LEAST_HALF_OPEN: Final = 8  # records, however small the backlog
# The peer's segment size is one of these, or larger; eight, or cookies were easier to guess.
_COOKIE_SIZES: Final = (48, 216, 536, 1220, 1360, 1400, 1440, 1460)
_COOKIE_SIZES_6: Final = (48, 216, 536, 1220, 1360, 1420, 1440, 8_940)
_COOKIE_PERIOD_S: Final = 64
_COOKIE_AGES: Final = 2  # periods a cookie is good for
_COOKIE_FRESH_NS: Final = _COOKIE_PERIOD_S * _COOKIE_AGES * NS_PER_S
_NO_WSCALE: Final = 15
_SPARE_PLACES: Final = 256  # of ended records, before their places are worth a look
_ACCURATE_TRIES: Final = 2
_ECN_BITS: Final = ecn.SETUP | AE
_HALF_FIELDS: Final = (
    "serial", "key", "ends", "words", "front", "irs", "iss", "ts_offset", "retries", "sent_at",
    "is_loopback", "rcv_limit", "due_at", "is_acked", "is_held", "has_ecn", "accurate", "is_plain",
    "challenged_at", "repeats", "timed_out_at",
)  # fmt: skip
_PEER_FIELDS: Final = ("mss", "wscale", "is_sack_permitted", "has_timestamps", "tsval", "tsecr")


class Screen(Protocol):
    """Who decides about the SYNs of a listener."""

    def syn_held(self, half: HalfOpen) -> None:
        """A SYN has come; answer by `Listener.admit`, `deny` or `forget`, now or later."""

    def half_lost(self, half: HalfOpen) -> None:
        """The record is gone without a connection: reset by the peer, or never acknowledged."""


class HalfOpen(Timed):
    """A SYN that was answered: state SYN_RCVD of a passive open. Numbers are 32 bits wide."""

    __slots__ = (
        "accurate", "challenged_at", "due_at", "ends", "front", "has_ecn", "irs", "is_acked",
        "is_held", "is_loopback", "is_plain", "iss", "key", "listener", "peer", "rcv_limit",
        "repeats", "retries", "sent_at", "terms", "timed_out_at", "ts_offset", "words",
    )  # fmt: skip

    def __init__(
        self,
        serial: int,
        key: bytes,
        ends: bytes,
        listener: Listener,
        front: bytes,
        terms: Terms,
        peer: Options,
        irs: int,
        iss: int,
        ts_offset: int,
        is_loopback: bool,
    ) -> None:
        self.serial = serial
        self.timer_at = 0
        self.key: bytes = key
        self.ends: bytes = ends  # as in the key, ours first
        self.words: int = words_of(ends) % 0xFFFF
        self.terms: Terms = terms  # what our SYN-ACK says, even if the listener changes
        # What of the peer's options counts; ``tsval`` is what we echo, ``mss`` is never 0.
        self.peer: Options = peer
        self.ts_offset: int = ts_offset
        self.listener: Listener = listener
        self.front: bytes = front
        self.irs: int = irs
        self.iss: int = iss
        self.is_loopback: bool = is_loopback
        # Of the connection to come.
        self.rcv_limit: int = terms.stamped_limit if peer.has_timestamps else terms.limit
        self.has_ecn: bool = False
        self.accurate: int = -1  # of accurate ECN the mark of the latest SYN, -1: it is not used
        self.is_plain: bool = False  # a SYN or a SYN-ACK was without its flags
        self.retries: int = 0  # timeouts
        self.timed_out_at: int = 0  # the first of them
        self.repeats: int = 0  # SYN-ACKs sent again, for whatever reason
        self.sent_at: int = 0  # 0 once anything was sent again: no measurement then
        self.due_at: int = 0
        self.is_acked: bool = False  # all but the first data is here: TCP_DEFER_ACCEPT
        self.challenged_at: int = 0  # until then nothing that may be forged is answered
        self.is_held: bool = False  # not answered until the listener's screen says so

    def room(self) -> int:
        """The window of a connection that is not open yet; never scaled."""
        return self.rcv_limit if self.rcv_limit < 0xFFFF else 0xFFFF

    def save(self) -> Saved:
        return {
            **save_fields(self, 6, _HALF_FIELDS),
            "peer": save_fields(self.peer, 1, _PEER_FIELDS),
            "own_mss": self.terms.own_mss,
            "rcv_wscale": self.terms.wscale,
        }

    @classmethod
    def loaded(cls, state: Saved, listener: Listener) -> HalfOpen:
        """The record saved as ``state``. Raises ValueError on another version."""
        terms = Terms(listener.engine, listener.settings, state["ends"])
        terms.own_mss = state["own_mss"]
        terms.wscale = state["rcv_wscale"]
        peer = Options()
        load_fields(peer, 1, _PEER_FIELDS, state["peer"])
        half = cls(0, b"", bytes(12), listener, b"", terms, peer, 0, 0, 0, False)
        load_fields(half, 6, _HALF_FIELDS, state)
        return half


class Listener:
    """A listening socket's queues. ``address`` is one of ours, or stands for every one: see
    `leulo.tcp.addresses`."""

    __slots__ = (
        "accept_queue", "address", "backlog", "cookies_ns", "engine", "fast_open_resets",
        "fast_opens", "half_open", "port", "screen", "settings", "socket", "terms",
    )  # fmt: skip

    def __init__(
        self, engine: Engine, address: bytes, port: int, backlog: int, settings: Settings
    ) -> None:
        self.engine: Engine = engine
        self.address: bytes = address
        self.port: int = port
        self.backlog: int = backlog
        self.settings: Settings = settings
        self.terms: dict[int, Terms] = {}
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
        if queue and self.engine.config.has_freebsd_fast_open:
            return self.backlog // 2 + 1  # it is a switch there
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
            config.has_cookies_always
            or (waiting > self.backlog and waiting >= _LEAST_HALF_OPEN)
            or waiting >= config.half_open_limit
            or len(engine.half_open) >= config.half_open_max
        )
        if is_cookie and (not config.has_syn_cookies or self.screen is not None):
            return "syn_queue_full"
        iss, ts_offset = engine.isn.make(key, now_ns)
        if iss_after >= 0 and not lt(iss_after, iss):
            iss = (iss_after + 0x10000) & MASK
        terms = handshake.terms_of(self.terms, engine, self.settings, ends)
        if options.mss <= config.min_mss:
            options.mss = max(options.mss or handshake.default_mss(ends, config), config.min_mss)
        if not terms.takes_all:
            handshake.restrict(options, config, self.settings)
            if not is_cookie:  # whose timestamp has to tell of the others
                md5.restrict(options, self.settings, config, md5.peer_of(key))
        half = HalfOpen(
            engine.new_serial(), key, ends, self, front, terms, options, seq, iss, ts_offset,
            is_loopback,
        )  # fmt: skip
        if control & _ECN_BITS:
            if config.ecn >= accecn.FIRST and accecn.is_asked(control):
                half.accurate = ecn.mark_of(frame, ends)
            elif config.ecn != ecn.OFF:
                half.has_ecn = control & ecn.SETUP == ecn.SETUP
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
                fast_open_server.begin(self, tcb, window, verdict.cookie, is_old, frame, start, end)
                return None
            if verdict.cookie:
                padding = END if engine.config.has_freebsd_fast_open else NOP
                option = emit(verdict.cookie, is_old, padding)
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
            keys = self.settings.md5_keys
            options = md5.lead(keys, half.key)
            frame = header.plain(half.front, half.ends, 0, half.irs + 1, flags, 0, options)
            frame = md5.signed(frame, keys, half.key)
            engine.reply(frame, half.is_loopback)

    def answer_again(self, half: HalfOpen) -> None:
        """Send the SYN-ACK once more: the peer's SYN came again, or time is up."""
        if half.is_held:
            return
        half.sent_at = 0
        half.repeats += 1
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
        half.timed_out_at = half.timed_out_at or now_ns
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
        if opening and not opening[0].due_at:
            opening.popleft()
            while opening and not opening[0].due_at:
                opening.popleft()
        elif len(opening) > _SPARE_PLACES + 2 * len(engine.half_open):
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
        peer = half.peer
        settings = self.settings
        terms = half.terms
        if terms.settings is not settings:
            terms = handshake.terms_of(self.terms, engine, settings, half.ends)
        if settings.md5_keys:
            settings = md5.inherited(settings, md5.peer_of(key))  # the terms are the same
        una = half.iss if is_early else half.iss + 1
        tcb = Tcb(engine, half.serial, key, half.ends, half.words, settings, half.iss, una)
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
            tcb.retransmits = half.repeats
            tcb.data_out = tcb.control_out = half.repeats + 1
            tcb.bare_out = -tcb.data_out
            if half.retries:
                tcb.timeouts = Timeouts(half.retries, 1, now_ns - half.timed_out_at)
        if peer.wscale >= 0:
            tcb.snd_wscale = peer.wscale
            tcb.rcv_wscale = half.terms.wscale
        tcb.snd_wnd = tcb.snd_max_wnd = window << tcb.snd_wscale
        tcb.has_sack = peer.is_sack_permitted
        if half.has_ecn or half.accurate >= 0:
            tcb.ecn = ecn.Ecn(half.iss)
            if half.accurate >= 0:
                sent_mark = ecn.ECT0 if engine.config.ecn_of_control else ecn.NOT_ECT
                tcb.ecn.accurate = accecn.passive(
                    half.accurate, sent_mark, half.is_plain, engine.config.has_freebsd_ecn
                )
        if peer.has_timestamps:
            tcb.has_timestamps = True
            tcb.ts_offset = half.ts_offset
            tcb.ts_recent = peer.tsval
            tcb.ts_recent_at = now_ns
        handshake.apply_settings(tcb, terms, half.rcv_limit)
        handshake.negotiate(tcb, terms.link_mss, peer.mss)
        if engine.config.has_whole_segment_buffers:
            handshake.round_buffers(tcb, peer.mss)
        limit = tcb.rcv_limit
        tcb.rcv_adv = tcb.rcv_nxt + (limit if limit < 0xFFFF else 0xFFFF)
        if not is_early:
            rtt_ns = max(now_ns - half.sent_at, 1) if half.sent_at else 0
            lost_syns = 0 if half.is_acked else half.retries
            handshake.established(tcb, rtt_ns, tsecr, lost_syns, now_ns)
            tcb.change_state(ON_ACK_OF_SYN)
            tcb.open_ordinary(terms.has_usual_packets)
        engine.connections[key] = tcb
        self.accept_queue.append(tcb)
        engine.counts["tcp_accepted"] += 1
        if self.socket is not None and not self.socket.is_ready:
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
        sizes = _cookie_sizes(key)
        if size >= len(sizes):
            return None
        engine = self.engine
        peer = Options(sizes[size])
        ts_offset = 0
        bits = 0
        if option and engine.config.has_timestamps:
            ts_offset = engine.isn.make(key, now_ns)[1]
            bits = tsecr & 0x3F
            peer.has_timestamps = True
            peer.tsval = tsval
            if bits & 0xF != _NO_WSCALE:
                peer.wscale = bits & 0xF
            peer.is_sack_permitted = bool(bits & 0x10)
        ends = turned(key)
        terms = handshake.terms_of(self.terms, engine, self.settings, ends)
        half = HalfOpen(
            engine.new_serial(), key, ends, self, front, terms, peer, irs, iss, ts_offset,
            is_loopback,
        )  # fmt: skip
        half.has_ecn = bool(bits & 0x20)
        if engine.config.ecn >= accecn.FIRST and accecn.ace_of(control) > 1:
            half.accurate = accecn.NOT_ECT
            half.has_ecn = False
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
        peer = half.peer
        terms = half.terms
        has_ecn = half.has_ecn or half.accurate >= 0
        if (
            terms.has_usual_syn
            and peer.has_timestamps
            and peer.is_sack_permitted
            and peer.wscale >= 0
            and not has_ecn
            and not option
        ):
            window = half.rcv_limit
            if window > 0xFFFF:
                window = 0xFFFF
            frame = header.usual_syn(
                half.front, half.ends, half.words, half.iss, half.irs + 1, SYN | ACK, window,
                terms.own_mss, tsval, peer.tsval, terms.wscale,
            )  # fmt: skip
        else:
            frame = self._odd_answer(half, tsval, option, is_again)
        if engine.has_marks:
            frame = marked(frame, self.settings)
        engine.reply(frame, half.is_loopback)

    def _odd_answer(self, half: HalfOpen, tsval: int, option: bytes, is_again: bool) -> bytes:
        """A SYN-ACK with other options or marks than the usual one."""
        engine = self.engine
        config = engine.config
        peer = half.peer
        timestamps = (tsval, peer.tsval) if peer.has_timestamps else None
        wscale = half.terms.wscale if peer.wscale >= 0 else -1
        options = handshake.syn_options(
            engine, self.settings, half.terms.own_mss, wscale, peer.is_sack_permitted, timestamps
        )
        begin = md5.lead(self.settings.md5_keys, half.key)
        flags = SYN | ACK
        tos = ecn.NOT_ECT
        if half.has_ecn or half.accurate >= 0:
            flags |= ECE if half.has_ecn else self._flags_of_accurate(half)
            if config.ecn_of_control:
                tos = ecn.ECT0
            if half.accurate >= 0 and config.ecn_option and not is_again and options:
                is_behind = timestamps is not None and not config.has_freebsd_syn
                options = accecn.with_option(options, is_behind, len(begin) + len(option))
        options = md5.joined(begin, options, option, config)
        frame = header.plain(
            half.front, half.ends, half.iss, half.irs + 1, flags, half.room(), options, tos=tos
        )
        return md5.signed(frame, self.settings.md5_keys, half.key)

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
        sizes = _cookie_sizes(half.key)
        while size + 1 < len(sizes) and sizes[size + 1] <= half.peer.mss:
            size += 1
        count = now_ns // (_COOKIE_PERIOD_S * NS_PER_S)
        low = (self._cookie_hash(half.key, 1 + count) + size) & 0xFFFFFF
        high = (count & 0xFF) << 24
        half.iss = (self._cookie_hash(half.key, 0) + half.irs + high + low) & MASK
        if not half.peer.has_timestamps:
            half.peer.wscale = -1  # there is no room for them in the number alone
            half.peer.is_sack_permitted = False
            half.has_ecn = False

    def _cookie_timestamp(self, half: HalfOpen) -> int:
        """The present timestamp with the options in its low bits, never in the future."""
        tsval = self.engine.now_ms + half.ts_offset
        bits = half.peer.wscale if half.peer.wscale >= 0 else _NO_WSCALE
        if half.peer.is_sack_permitted:
            bits |= 0x10
        if half.has_ecn:
            bits |= 0x20
        low = (tsval & ~0x3F) | bits
        if low > tsval:
            low -= 0x40
        return low & MASK


def _cookie_sizes(key: bytes) -> tuple[int, ...]:
    """Of IPv4 or IPv6, by a connection's key, which is longer inside the stack."""
    return _COOKIE_SIZES if len(ends_of(key)[0]) == 4 else _COOKIE_SIZES_6
