"""The server's side of TCP Fast Open: cookies given and judged, connections made from a SYN.

A cookie is a keyed hash of both addresses, as on Linux, so that a client's is good for all its
connections and for nobody else. With a good one the connection is made at once, in SYN_RCVD, and
its SYN-ACK acknowledges the data. Each listener has at most ``TCP_FASTOPEN`` of them; those reset
after they were accepted count for another minute, which is what a flood with stolen cookies gets.
[RFC 7413 4.1.2, 4.2.1, 5.1] [Linux tcp(7)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.tcp import text
from leulo.tcp.addresses import ends_of
from leulo.tcp.fast_open import OPTION_BYTES, SERVER, SERVER_WITHOUT_COOKIE, FastOpen
from leulo.tcp.options import END, Options
from leulo.tcp.siphash import KEY_BYTES, siphash
from leulo.tcp.tcb import ACK_DELAYED, Tcb
from leulo.units import NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine
    from leulo.tcp.listen import Listener

_RESET_COUNTS_NS: Final = 60 * NS_PER_S


def keys_of(engine: Engine, own: bytes) -> list[bytes]:
    """The keys of a socket that has set ``own``, or else the stack's; the first makes cookies,
    a second one is still accepted."""
    keys = own or engine.config.fast_open_keys
    if not keys:
        halves = (engine.isn.digest(b"fast open 0"), engine.isn.digest(b"fast open 1"))
        keys = b"".join([half.to_bytes(KEY_BYTES // 2, "big") for half in halves])
    return [keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)]


def cookie_for(secret: bytes, client: bytes, server: bytes) -> bytes:
    """The eight bytes for a client's address, on FreeBSD whatever ``server`` is, then empty.
    [RFC 7413 4.1.2]"""
    return siphash(secret, client + server).to_bytes(8, "little")


class Verdict:
    """About a SYN: with ``is_accepted`` its data is taken at once; ``cookie``, if not empty, goes
    into the SYN-ACK."""

    __slots__ = ("cookie", "is_accepted")

    def __init__(self, is_accepted: bool, cookie: bytes) -> None:
        self.is_accepted: bool = is_accepted
        self.cookie: bytes = cookie


_NO: Final = Verdict(False, b"")


def judge(listener: Listener, key: bytes, length: int, options: Options, now_ns: int) -> Verdict:
    """What to do with a SYN that carries ``length`` bytes or a cookie. [RFC 7413 4.2.1]"""
    engine = listener.engine
    config = engine.config
    cookie = options.cookie
    if not config.fast_open & SERVER or listener.screen is not None:
        return _NO
    if cookie is None and not length:
        return _NO
    if not _has_place(listener, now_ns):
        engine.counts["fast_open_overflows"] += 1
        return _NO
    if config.fast_open & SERVER_WITHOUT_COOKIE or listener.settings.is_fast_open_without_cookie:
        return Verdict(True, b"")
    if cookie is None:
        return _NO
    local, _, peer, _ = ends_of(key)
    secrets = keys_of(engine, listener.settings.fast_open_keys)
    is_bsd = config.has_freebsd_fast_open
    if is_bsd:
        local = b""
    right = cookie_for(secrets[0], peer, local)
    if cookie == right:
        return Verdict(True, right if is_bsd else b"")
    engine.counts["fast_open_cookies_sent"] += 1
    if not cookie:
        return Verdict(False, right)
    if len(secrets) > 1 and cookie == cookie_for(secrets[1], peer, local):
        return Verdict(True, right)
    engine.counts["fast_opens_failed"] += 1
    return Verdict(False, right)


def begin(
    listener: Listener, tcb: Tcb, window: int, cookie: bytes, is_experimental: bool,
    frame: bytes, start: int, end: int,
) -> None:  # fmt: skip
    """``tcb`` was made of the SYN alone: give it the SYN's ``window`` and data,
    ``frame[start:end]``, and have it answer, with ``cookie`` if that is not empty."""
    engine = listener.engine
    fast = tcb.fast_open = FastOpen(True)
    fast.listener = listener
    listener.fast_opens += 1
    fast.has_option = cookie != b""
    fast.cookie = cookie
    fast.is_experimental = is_experimental
    if engine.config.has_freebsd_fast_open:
        fast.padding = END
    # Never scaled in a SYN [RFC 7323 2.2]; of data, and our SYN before it is none [RFC 9293 3.1].
    tcb.snd_max_wnd = window
    tcb.snd_wnd = window + 1 if window else 0
    tcb.snd_small = tcb.iss  # the SYN-ACK is no small segment to wait for
    length = min(end - start, tcb.rcv_adv - tcb.rcv_nxt)
    if length > 0:
        fast.is_acked = True
        tcb.bare_in -= 1
        tcb.data_in += 1
        text.deliver(tcb, text.payload(frame, start, length), length)
        fast.data_end = tcb.rcv_nxt
        if engine.config.has_freebsd_fast_open:
            # The SYN-ACK waits as an acknowledgement does, for the answer to go with it.
            fast.is_deferred = True
            fast.room = min(max(tcb.mss - OPTION_BYTES, 0), window)
            tcb.ack_due = ACK_DELAYED
    tcb.is_syn_due = True
    engine.want_output(tcb)
    engine.counts["fast_opens_passive"] += 1


def leave(fast: FastOpen, is_reset: bool, now_ns: int) -> None:
    """The connection is acknowledged, or over: it leaves its listener's count at once, or in a
    minute if it ``is_reset`` after it was accepted. [RFC 7413 5.1]"""
    listener = fast.listener
    if listener is None:
        return
    fast.listener = None
    if is_reset:
        listener.fast_open_resets.append(now_ns + _RESET_COUNTS_NS)
    else:
        listener.fast_opens -= 1


def _has_place(listener: Listener, now_ns: int) -> bool:
    limit = listener.fast_open_limit
    if listener.fast_opens >= limit and limit:
        resets = listener.fast_open_resets
        if not resets or resets[0] > now_ns:
            return False
        del resets[0]
        listener.fast_opens -= 1
    return limit > 0
