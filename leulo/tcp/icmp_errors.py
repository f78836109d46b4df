"""What ICMP errors do to connections: little. [RFC 5927] [RFC 1122 4.2.3.9]

An error is believed only if the sequence number it quotes is outstanding [RFC 5927 4.1]. While a
connection opens, a hard error ends it (on Linux each does); once it is open every error is soft: it
is remembered and told if the connection fails by itself [RFC 5461 2.1] [RFC 5927 5.2].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.tcp import path_mtu
from leulo.tcp.errno import ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ENOPROTOOPT
from leulo.tcp.seq import unwrap
from leulo.tcp.state import SYN_RCVD, SYN_SENT

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine

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
    return None


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
