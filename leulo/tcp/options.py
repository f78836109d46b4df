"""TCP options: what arrives in a segment's header, what leaves in ours.

Established connections send and receive one form nearly always, two NOPs and a timestamp; input
and output handle that form themselves and come here for the rest. Anything malformed ends the
walk, what was read before it counts, as everywhere in the field. [RFC 9293 3.1] [RFC 7323 A]
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from leulo.tcp.seq import MASK

END: Final = 0
NOP: Final = 1
MSS: Final = 2
WINDOW_SCALE: Final = 3
SACK_PERMITTED: Final = 4
SACK: Final = 5
TIMESTAMPS: Final = 8
SIGNATURE: Final = 19  # [RFC 2385 3.0]
FAST_OPEN: Final = 34  # [RFC 7413 4.1.1]
ACCURATE_0: Final = 172  # [RFC 9768 3.2.3]
ACCURATE_1: Final = 174
EXPERIMENT: Final = 254  # [RFC 6994 3]

TIMESTAMPS_ONLY: Final = 0x0101080A  # NOP NOP and the head of a timestamp option
MAX_WINDOW_SCALE: Final = 14  # [RFC 7323 2.3]

SIGNATURE_BYTES: Final = 18  # of the option, two and the digest

_LEAST_COOKIE: Final = 4
_MOST_COOKIE: Final = 16
_FAST_OPEN_EXPERIMENT: Final = b"\xf9\x89"  # [RFC 7413 7]

_PAIR: Final = Struct("!II")
_TIMESTAMPS: Final = Struct("!III")
# MSS, SACK permitted, timestamps, NOP, window scale: the order of Linux's SYN, and of ours
_SYN: Final = Struct("!HHIIII")
_SYN_BYTES: Final = 20
# Timestamps, NOP, NOP and the head of SACK: what reports a gap, here and in Linux
_ACK: Final = Struct("!IIII")
_ACK_BYTES: Final = 16
_SACK_HEAD: Final = 0x01010500
_SACKS: Final = tuple(Struct(f"!I{2 * count}I") for count in range(5))
SYN_MSS: Final = 0x0204
SYN_TIMESTAMPS: Final = 0x0402080A
SYN_WSCALE: Final = 0x01030300


class Options:
    """Options of one received segment; only segments off the fast path get one."""

    __slots__ = (
        "cookie", "counters", "counters_order", "has_timestamps", "is_cookie_experimental",
        "is_sack_permitted", "mss", "sacks", "signature_at", "tsecr", "tsval", "wscale",
    )  # fmt: skip

    def __init__(
        self,
        mss: int = 0,
        wscale: int = -1,
        is_sack_permitted: bool = False,
        has_timestamps: bool = False,
        tsval: int = 0,
        tsecr: int = 0,
    ) -> None:
        self.mss: int = mss  # 0: not there
        self.wscale: int = wscale  # -1: not there
        self.is_sack_permitted: bool = is_sack_permitted
        self.has_timestamps: bool = has_timestamps
        self.tsval: int = tsval
        self.tsecr: int = tsecr
        self.sacks: list[tuple[int, int]] | None = None  # as on the wire, unchecked
        self.cookie: bytes | None = None  # of TCP Fast Open, empty: asked for, None: not there
        self.is_cookie_experimental: bool = False
        self.counters: bytes | None = None  # of accurate ECN, None: not there
        self.counters_order: int = 0
        self.signature_at: int = 0  # where in the frame its digest is, 0: not there


def parse(frame: bytes, start: int, end: int) -> Options:
    """The options in ``frame[start:end]``. Never raises; ``end`` must be inside the frame."""
    size = end - start
    if size == _SYN_BYTES:
        first, mss, second, tsval, tsecr, third = _SYN.unpack_from(frame, start)
        if first == SYN_MSS and second == SYN_TIMESTAMPS and third & 0xFFFFFF00 == SYN_WSCALE:
            wscale = third & 0xFF
            if wscale > MAX_WINDOW_SCALE:
                wscale = MAX_WINDOW_SCALE
            return Options(mss, wscale, True, True, tsval, tsecr)
    elif size > _SYN_BYTES and not size & 7:
        first, tsval, tsecr, second = _ACK.unpack_from(frame, start)
        if first == TIMESTAMPS_ONLY and second == _SACK_HEAD + size - _ACK_BYTES + 2:
            options = Options(0, -1, False, True, tsval, tsecr)
            options.sacks = list(_PAIR.iter_unpack(frame[start + _ACK_BYTES : end]))
            return options
    options = Options()
    at = start
    while at < end:
        kind = frame[at]
        if kind == END:
            break
        if kind == NOP:
            at += 1
            continue
        if at + 1 >= end:
            break
        length = frame[at + 1]
        if length < 2 or at + length > end:
            break
        if kind == TIMESTAMPS and length == 10:
            options.has_timestamps = True
            options.tsval, options.tsecr = _PAIR.unpack_from(frame, at + 2)
        elif kind == SACK and length >= 10 and length & 7 == 2:
            options.sacks = [
                _PAIR.unpack_from(frame, block) for block in range(at + 2, at + length, 8)
            ]
        elif kind == MSS and length == 4:
            options.mss = frame[at + 2] << 8 | frame[at + 3]
        elif kind == WINDOW_SCALE and length == 3:
            options.wscale = min(frame[at + 2], MAX_WINDOW_SCALE)
        elif kind == SACK_PERMITTED and length == 2:
            options.is_sack_permitted = True
        elif kind == SIGNATURE and length == SIGNATURE_BYTES and not options.signature_at:
            options.signature_at = at + 2
        elif kind == FAST_OPEN:
            _take_cookie(options, frame[at + 2 : at + length], False)
        elif kind in (ACCURATE_0, ACCURATE_1):
            options.counters = frame[at + 2 : at + length]
            options.counters_order = int(kind == ACCURATE_1)
        elif kind == EXPERIMENT and frame[at + 2 : at + 4] == _FAST_OPEN_EXPERIMENT and length > 3:
            _take_cookie(options, frame[at + 4 : at + length], True)
        at += length
    return options


def _take_cookie(options: Options, cookie: bytes, is_experimental: bool) -> None:
    """A cookie of a length that cannot be is as good as none. [RFC 7413 4.1.1]"""
    if not len(cookie) & 1 and (not cookie or _LEAST_COOKIE <= len(cookie) <= _MOST_COOKIE):
        options.cookie = cookie
        options.is_cookie_experimental = is_experimental


def emit_syn(mss: int, wscale: int, has_sack: bool, timestamps: tuple[int, int] | None) -> bytes:
    """Options of a SYN in Linux's order. ``wscale`` -1 leaves window scaling out."""
    if timestamps is not None and has_sack and wscale >= 0:
        tsval, tsecr = timestamps
        return _SYN.pack(SYN_MSS, mss, SYN_TIMESTAMPS, tsval, tsecr, SYN_WSCALE | wscale)
    out = bytes((MSS, 4, mss >> 8, mss & 0xFF))
    if timestamps is not None:
        lead = b"\x04\x02\x08\x0a" if has_sack else b"\x01\x01\x08\x0a"
        out += lead + _PAIR.pack(*timestamps)
    elif has_sack:
        out += b"\x01\x01\x04\x02"
    if wscale >= 0:
        out += bytes((NOP, WINDOW_SCALE, 3, wscale))
    return out


def emit_freebsd_syn(
    mss: int, wscale: int, has_sack: bool, timestamps: tuple[int, int] | None
) -> bytes:
    """As `emit_syn`, in FreeBSD's order: each option at its alignment, zeros at the end."""
    out = bytes((MSS, 4, mss >> 8, mss & 0xFF))
    if wscale >= 0:
        out += bytes((NOP, WINDOW_SCALE, 3, wscale))
    if has_sack:
        out += bytes((SACK_PERMITTED, 2))
    if timestamps is not None:
        while len(out) % 4 != 2:
            out += bytes((NOP,))
        out += bytes((TIMESTAMPS, 10)) + _PAIR.pack(*timestamps)
    return out + bytes(-len(out) % 4)


def with_last(options: bytes, option: bytes) -> bytes:
    """``options`` of a SYN with one more behind them, which is padded to whole words as they are:
    zeros that end them move behind it."""
    end = at = 0
    while at < len(options) and options[at] != END:
        end = at = at + (options[at + 1] if options[at] > NOP else 1)
    if end == len(options):
        return options + option
    out = options[:end] + option[: option[1]] if option else options
    return out + bytes(-len(out) % 4)


def emit_timestamps(tsval: int, tsecr: int) -> bytes:
    """NOP NOP TS: the twelve bytes of every ordinary segment. [RFC 7323 A]"""
    return _TIMESTAMPS.pack(TIMESTAMPS_ONLY, tsval, tsecr)


def emit_sack(blocks: list[tuple[int, int]]) -> bytes:
    """NOP NOP SACK with these blocks, at most four. [RFC 2018 3]"""
    count = len(blocks)
    edges = [edge & MASK for block in blocks for edge in block]
    return _SACKS[count].pack(_SACK_HEAD + 2 + 8 * count, *edges)
