"""What ICMP errors do to connections: little. [RFC 5927] [RFC 1122 4.2.3.9]

An error is believed only if the sequence number it quotes is outstanding [RFC 5927 4.1]. While a
connection opens, a hard error ends it (on Linux each does); once it is open every error is soft: it
is remembered and told if the connection fails by itself [RFC 5461 2.1] [RFC 5927 5.2].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.tcp import path_mtu
from leulo.tcp.errno import ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ENOPROTOOPT
from leulo.tcp.rtt import backed_off
from leulo.tcp.seq import MASK, unwrap
from leulo.tcp.state import SYN_RCVD, SYN_SENT

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine
    from leulo.tcp.tcb import Tcb

# By code of "destination unreachable", as Linux maps them
_ERRORS: Final = {
    0: ENETUNREACH,
    1: EHOSTUNREACH,
    2: ENOPROTOOPT,
    3: ECONNREFUSED,
    5: EHOSTUNREACH,
    6: ENETUNREACH,
    7: EHOSTUNREACH,
    9: ENETUNREACH,
    10: EHOSTUNREACH,
    11: ENETUNREACH,
    12: EHOSTUNREACH,
    13: EHOSTUNREACH,
}
_NO_WAY: Final = {4: (0, 1), 16: (0,)}  # codes, by the length of an address [RFC 6069 3]
_UNREACHABLE: Final = 3  # types
_TIME_EXCEEDED: Final = 11
_PARAMETER_PROBLEM: Final = 12
# Types and codes that end an active open on FreeBSD: protocol, port, what is prohibited, and a
# path that is too long. [FreeBSD tcp(4) icmp_may_rst]
_FREEBSD_HARD: Final = {
    (_UNREACHABLE, 2): ECONNREFUSED,
    (_UNREACHABLE, 3): ECONNREFUSED,
    (_UNREACHABLE, 9): ECONNREFUSED,
    (_UNREACHABLE, 10): ECONNREFUSED,
    (_UNREACHABLE, 13): ECONNREFUSED,
    (_TIME_EXCEEDED, 0): EHOSTUNREACH,
}


def error_of_icmp(code: int) -> int:
    """The errno of an ICMP "destination unreachable" with this code."""
    return _ERRORS.get(code, EHOSTUNREACH)


def icmp_error_arrives(
    engine: Engine,
    local: tuple[bytes, int],
    peer: tuple[bytes, int],
    sequence: int,
    kind: int,
    is_too_big: bool,
    mtu: int,
    code: int,
) -> str | None:
    """An error about a segment we are said to have sent. Returns why it was ignored, or None."""
    key = b"".join((peer[0], local[0], peer[1].to_bytes(2, "big"), local[1].to_bytes(2, "big")))
    tcb = engine.connections.get(key)
    if tcb is None:
        return _for_half_open(engine, key, sequence, kind, code)
    if not tcb.snd_una <= unwrap(tcb.snd_una, sequence) < tcb.snd_max:
        return "icmp_sequence"
    if is_too_big:
        return path_mtu.too_big(tcb, mtu)
    config = engine.config
    if kind == _UNREACHABLE:
        error = error_of_icmp(code)
        # Deviation: with the preset linux these end an open, as on Linux, because its user is told
        # at once where the standards would have the SYN go again. [RFC 9293 3.9.2.2]
        is_hard = code not in (0, 1, 5) or config.icmp_ends_open
    elif kind == _TIME_EXCEEDED:
        error = EHOSTUNREACH
        is_hard = config.icmp_ends_open  # [RFC 1122 4.2.3.9]
    else:
        return "icmp_kind"
    if config.has_freebsd_icmp:
        is_hard = (kind, code) in _FREEBSD_HARD
        error = _FREEBSD_HARD.get((kind, code), EHOSTUNREACH)
    is_opening = tcb.state is SYN_SENT or tcb.state is SYN_RCVD
    if tcb.is_accepting and tcb.state is SYN_RCVD and config.believes_icmp:
        engine.fail(tcb, error)  # opened fast, and nobody knows of it yet
    elif is_opening and is_hard and config.believes_icmp:
        engine.fail(tcb, error)
    elif is_opening or tcb.backoff:
        tcb.soft_error = error
        if not is_opening and kind == _UNREACHABLE and config.undoes_backoff:
            _undo_backoff(tcb, sequence, code)
    return None


def _undo_backoff(tcb: Tcb, sequence: int, code: int) -> None:
    """There is no way to the peer, says a router that a segment has got to. If it may be one that
    was sent again for a timeout, that was for no congestion before him, and the timeout is half as
    long again: so a way that is back is soon found. [RFC 6069 4.2]"""
    engine = tcb.engine
    is_oldest = sequence == tcb.snd_una & MASK
    if code not in _NO_WAY[len(tcb.peer)] or not is_oldest or tcb.is_persisting or not tcb.rto_at:
        return
    if engine.now_ns - tcb.first_timeout_at >= _patience_ns(tcb):
        return
    since_ns = tcb.rto_at - backed_off(tcb)
    tcb.backoff -= 1
    tcb.rto_at = max(since_ns + backed_off(tcb), engine.now_ns)
    engine.timers.arm(tcb, tcb.rto_at)


def _patience_ns(tcb: Tcb) -> int:
    """How long a connection lasts that hears nothing: as many timeouts as are let pass."""
    config = tcb.engine.config
    most_ns = config.rto_max_ns
    total = 0
    for count in range(config.retries + 1):
        total += min(tcb.rto_ns << count, most_ns)
    return total


def _for_half_open(engine: Engine, key: bytes, sequence: int, kind: int, code: int) -> str | None:
    """A SYN-ACK of ours did not arrive."""
    half = engine.half_open.get(key)
    if half is None:
        return "icmp_no_connection"
    if sequence != half.iss:
        return "icmp_sequence"
    # Deviation: such an error ends it, as in Linux, though nobody says that it lasts; there is no
    # user yet to decide, and the peer asks again. [RFC 1122 4.2.3.9]
    is_soft = (kind == _UNREACHABLE and code < 2) or kind in (_TIME_EXCEEDED, _PARAMETER_PROBLEM)
    if not is_soft or not engine.config.icmp_ends_half_open:
        return "icmp_half_open"
    half.listener.lose(half)
    return None
