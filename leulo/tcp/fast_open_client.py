"""The client's side of TCP Fast Open: cookies, data in the SYN, what the SYN-ACK makes of it.

`CookieJar` remembers for each pair of addresses the cookie and the MSS of the last SYN-ACK. Paths
that swallow such connections are noticed, and then nothing is tried for a while. A connection whose
SYN waits for the first write is in SYN_SENT with `FastOpen.is_deferred`. [RFC 7413 4.1.3, 4.2.2]
[Linux tcp(7)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.errno import EINPROGRESS
from leulo.tcp.fast_open import (
    CLIENT_WITHOUT_COOKIE,
    FAILED_NO_COOKIE,
    FAILED_NOT_ACKED,
    FAILED_TIMEOUT,
    OPTION_BYTES,
    FastOpen,
)
from leulo.tcp.handshake import own_mss
from leulo.tcp.options import END, Options
from leulo.tcp.tcb import ACK_DELAYED, MORE_NONE, MORE_RECORDS, NO_FIN, Tcb

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine

_BLACKHOLE_TIMEOUTS: Final = 2  # before the one that counts
_MOST_DOUBLINGS: Final = 6
_TRY_OLD: Final = 1  # values of `Remembered.fallback`: with the experimental option next time
_TRIED_OLD: Final = 2

_REMEMBERED_FIELDS: Final = ("cookie", "fallback", "is_experimental", "mss", "refused_until_ns")


class Remembered:
    """What the last SYN-ACKs from one peer have told."""

    __slots__ = _REMEMBERED_FIELDS

    def __init__(self) -> None:
        self.mss: int = 0  # 0: not known
        self.cookie: bytes = b""
        self.is_experimental: bool = False
        self.fallback: int = 0
        self.refused_until_ns: int = 0  # until then it is not asked


class CookieJar:
    """What is remembered of at most ``limit`` peers, those longest unheard of go first; and the
    pauses after a black hole, the first of ``pause_ns`` (0: none), each twice the one before."""

    __slots__ = ("_entries", "_pauses", "_since_ns")

    def __init__(self) -> None:
        self._entries: dict[bytes, Remembered] = {}
        self._pauses: int = 0
        self._since_ns: int = 0

    def get(self, where: bytes) -> Remembered | None:
        """What is known; ``where`` is our address and the peer's."""
        return self._entries.get(where)

    def entry(self, where: bytes, limit: int) -> Remembered:
        """The peer's place, made if there is none."""
        entries = self._entries
        known = entries.pop(where, None)
        if known is None:
            known = Remembered()
            while len(entries) >= max(limit, 1):
                del entries[next(iter(entries))]
        entries[where] = known
        return known

    def clear(self) -> None:
        """Forget every peer."""
        self._entries = {}

    def pause(self, now_ns: int) -> None:
        """A path has swallowed a connection: try nothing for a time."""
        self._pauses += 1
        self._since_ns = now_ns

    def works_again(self) -> None:
        """A try after the pause was a success."""
        self._pauses = 0

    @property
    def was_paused(self) -> bool:
        return self._pauses > 0

    def is_paused(self, pause_ns: int, now_ns: int) -> bool:
        """Is nothing to be tried now?"""
        if not pause_ns or not self._pauses:
            return False
        return now_ns < self._since_ns + (pause_ns << min(self._pauses - 1, _MOST_DOUBLINGS))

    def __len__(self) -> int:
        return len(self._entries)

    def save(self) -> Saved:
        return {
            "version": 1,
            "pauses": self._pauses,
            "since_ns": self._since_ns,
            "entries": [
                {"where": where, **save_fields(known, 1, _REMEMBERED_FIELDS)}
                for where, known in self._entries.items()
            ],
        }

    def load(self, state: Saved) -> None:
        """Raises ValueError on another version."""
        if state.get("version") != 1:
            raise ValueError(f"CookieJar: version {state.get('version')} is not known")
        self._pauses = state["pauses"]
        self._since_ns = state["since_ns"]
        self._entries = {}
        for saved in state["entries"]:
            known = Remembered()
            load_fields(known, 1, _REMEMBERED_FIELDS, saved)
            self._entries[saved["where"]] = known


def prepare(tcb: Tcb) -> None:
    """A connection to be opened fast: with a cookie its SYN waits for data, without one it asks
    for one; during a pause it opens like any other."""
    engine = tcb.engine
    config = engine.config
    fast = tcb.fast_open = FastOpen(False)
    jar = engine.cookies
    if jar.is_paused(config.fast_open_pause_ns, engine.now_ns):
        fast.failure = FAILED_NO_COOKIE
        return
    fast.has_checked = jar.was_paused
    known = jar.get(tcb.local + tcb.peer)
    if config.has_freebsd_fast_open:
        fast.is_queueing = True
        fast.padding = END
        if known is not None and engine.now_ns < known.refused_until_ns:
            return
    if config.fast_open & CLIENT_WITHOUT_COOKIE or tcb.settings.is_fast_open_without_cookie:
        fast.is_deferred = True
    else:
        fast.has_option = True
        if known is not None:
            fast.cookie = known.cookie
            fast.is_experimental = known.is_experimental
            if not known.cookie and not config.has_freebsd_fast_open:
                fast.is_experimental = known.fallback == _TRY_OLD
        if fast.cookie:
            fast.is_deferred = True
        else:
            fast.failure = FAILED_NO_COOKIE
    if fast.is_deferred:
        mss = own_mss(engine, tcb.settings, tcb.ends)
        if known is not None and known.mss:
            mss = min(mss, known.mss)
        fast.room = tcb.mss = max(mss - OPTION_BYTES, 1)


def write_nothing(tcb: Tcb) -> int:
    """A write of no bytes still ends the wait for one. 0, or -EINPROGRESS if it has."""
    if tcb.fast_open is None or not is_waiting(tcb):
        return 0
    tcb.fast_open.is_deferred = False
    tcb.engine.want_output(tcb)
    return -EINPROGRESS


def is_waiting(tcb: Tcb) -> bool:
    """Is ``tcb`` in SYN_SENT without a SYN, until something is written? Or in SYN_RCVD without a
    SYN-ACK, until an acknowledgement may not wait longer?"""
    fast = tcb.fast_open
    return (
        fast is not None
        and fast.is_deferred
        and tcb.snd_end == tcb.iss + 1
        and (not fast.is_passive or tcb.ack_due == ACK_DELAYED)
    )


def first_syn(tcb: Tcb, fast: FastOpen) -> tuple[bytes, int]:
    """The option and the bytes of data that this SYN, or SYN-ACK, carries: only the first one has
    any. [RFC 7413 4.2.2]"""
    if tcb.snd_nxt != tcb.iss:
        return b"", 0
    fast.is_deferred = False
    length = min(fast.room, tcb.snd_end - tcb.iss - 1)
    if fast.is_passive:
        fast.room = length
    elif length:
        fast.data_end = tcb.iss + 1 + length
    return fast.option(), length


def answered(tcb: Tcb, fast: FastOpen, ack: int, options: Options) -> None:
    """The SYN-ACK, before it changes anything else: remember what it tells. What it has not
    acknowledged, the sender sends again. [RFC 7413 4.1.3, 4.2.2]"""
    if not fast.has_option and not fast.data_end:
        return
    engine = tcb.engine
    is_again = tcb.first_timeout_at != 0
    known = engine.cookies.entry(tcb.local + tcb.peer, engine.config.fast_open_peers)
    if options.mss:
        known.mss = options.mss
    if options.cookie and fast.has_option:  # one that was not asked for does not count
        known.cookie = options.cookie
        known.is_experimental = options.is_cookie_experimental
    elif fast.has_option and not is_again and not fast.data_end and not known.cookie:
        known.fallback = max(known.fallback, _TRIED_OLD if fast.is_experimental else _TRY_OLD)
    if engine.config.has_freebsd_fast_open and not options.cookie and ack != fast.data_end:
        known.refused_until_ns = engine.now_ns + engine.config.fast_open_refused_ns
    if not fast.data_end:
        return
    if ack == fast.data_end:
        fast.is_acked = True
        engine.counts["fast_opens_active"] += 1
        return
    fast.failure = FAILED_TIMEOUT if is_again else FAILED_NOT_ACKED
    engine.counts["fast_opens_failed"] += 1
    if ack < fast.data_end and not engine.config.has_freebsd_fast_open:
        # As Linux has it, what the SYN carried goes again in segments without what is behind it.
        tcb.record_ends = [fast.data_end, *(tcb.record_ends or ())]
        if tcb.more == MORE_NONE:
            tcb.more = MORE_RECORDS


def timed_out(tcb: Tcb, is_over: bool, now_ns: int) -> None:
    """A retransmission timeout: the third in a row, or an earlier one that ends the connection,
    tells of a path that swallows what was opened fast. [RFC 7413 4.2.2]"""
    fast = tcb.fast_open
    if fast is None or fast.is_passive or not (fast.has_option or fast.data_end):
        return
    if tcb.backoff == _BLACKHOLE_TIMEOUTS or (tcb.backoff < _BLACKHOLE_TIMEOUTS and is_over):
        tcb.engine.cookies.pause(now_ns)
        tcb.engine.counts["fast_opens_failed"] += 1


def reset_astray(tcb: Tcb, fast: FastOpen) -> None:
    """A reset that does not fit, before any data: something on the way has lost what came
    first."""
    if fast.has_option and not fast.is_passive and tcb.rcv_nxt == tcb.irs + 1:
        tcb.engine.cookies.pause(tcb.engine.now_ns)


def ended(engine: Engine, tcb: Tcb, fast: FastOpen) -> None:
    """The connection is over. A FIN out of order and no data tell of a black hole; data after a
    pause tells that there is none any more."""
    if not fast.has_option:
        return
    if tcb.rcv_nxt <= tcb.irs + 1:
        if tcb.fin_at != NO_FIN and tcb.rcv_nxt <= tcb.fin_at:
            engine.cookies.pause(engine.now_ns)
    elif fast.has_checked and not tcb.is_loopback:
        engine.cookies.works_again()
