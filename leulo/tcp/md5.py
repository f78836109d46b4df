"""TCP MD5 signatures: a digest of a secret in every segment of a connection. [RFC 2385]

A socket's keys (`Settings.md5_keys`) are a peer's address or network, the length of its prefix and
the secret; the longest prefix counts, as on Linux. What an accepted connection has is the one key
of its peer. Without a key no segment of a connection comes here: who sends or receives looks first
whether its settings have any, and connections that have are never ordinary ones
(`Tcb.refresh_ordinary`). A signature covers one segment, so theirs are never joined for the link to
cut them.
[Linux tcp(7)]
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import md5
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from leulo.tcp.addresses import ends_of
from leulo.tcp.header import ENDS_4_BYTES, IP_AT, TCP, TCP_AT, Frame
from leulo.tcp.options import (
    MSS,
    NOP,
    SACK_PERMITTED,
    SIGNATURE,
    SIGNATURE_BYTES,
    TIMESTAMPS,
    WINDOW_SCALE,
    Options,
    with_last,
)

if TYPE_CHECKING:
    from leulo.tcp.config import Config
    from leulo.tcp.engine import Engine
    from leulo.tcp.settings import Settings
    from leulo.tcp.tcb import Tcb

Keys = tuple[tuple[bytes, int, bytes], ...]

NO_KEYS: Final[Keys] = ()
# The option, to be filled in, behind two NOPs: it stands before all others, as in Linux, unless
# `ordered` moves it.
BLANK: Final = bytes((NOP, NOP, SIGNATURE, SIGNATURE_BYTES)) + bytes(16)
OPTION_BYTES: Final = len(BLANK)

_DIGEST_BYTES: Final = 16
_HEADER_BYTES: Final = 20  # of TCP without options
_IPV6_BYTES: Final = 40
_CHECKSUM_AT: Final = 16
_NO_CHECKSUM: Final = b"\0\0"
_MOST_OPTION_BYTES: Final = 40
_TIMESTAMP_BYTES: Final = 12
_SACK_BYTES: Final = 4
_BLOCK_BYTES: Final = 8
_KINDS_BEFORE: Final = (MSS, WINDOW_SCALE, SACK_PERMITTED, TIMESTAMPS)  # in FreeBSD's order


# ---------------------------------------------------------------- keys


def secret_for(keys: Keys, peer: bytes) -> bytes:
    """The secret shared with ``peer``, empty if there is none."""
    bits = len(peer) * 8
    for address, prefix, secret in keys:
        if address == peer and prefix == bits:
            return secret
    best = -1
    found = b""
    number = int.from_bytes(peer, "big")
    for address, prefix, secret in keys:
        if (
            prefix > best
            and len(address) == len(peer)
            and not (int.from_bytes(address, "big") ^ number) >> bits - prefix
        ):
            best = prefix
            found = secret
    return found


def with_key(keys: Keys, address: bytes, prefix: int, secret: bytes) -> Keys:
    """``keys`` with this one instead of the one for the same network, if there was one."""
    others = tuple(key for key in keys if key[:2] != (address, prefix))
    return (*others, (address, prefix, secret)) if secret else others


def secret_of(tcb: Tcb) -> bytes:
    """What the segments of ``tcb`` are signed with, empty: they are not."""
    return secret_for(tcb.settings.md5_keys, tcb.peer)


def inherited(settings: Settings, peer: bytes) -> Settings:
    """The settings of a connection that a listener with keys has accepted from ``peer``."""
    secret = secret_for(settings.md5_keys, peer)
    keys = ((peer, len(peer) * 8, secret),) if secret else NO_KEYS
    return settings if keys == settings.md5_keys else replace(settings, md5_keys=keys)


# ---------------------------------------------------------------- room


def overhead(tcb: Tcb) -> int:
    """Bytes of every segment of ``tcb`` that signing takes. [RFC 2385 4.3]"""
    return OPTION_BYTES if secret_of(tcb) else 0


def block_room(tcb: Tcb, most: int) -> int:
    """How many of ``most`` blocks of SACK have room beside the signature."""
    room = _MOST_OPTION_BYTES - overhead(tcb) - _SACK_BYTES
    if tcb.has_timestamps:
        room -= _TIMESTAMP_BYTES
    return min(most, max(0, room) // _BLOCK_BYTES)


def omits_timestamps(settings: Settings, config: Config, peer: bytes) -> bool:
    """Has our SYN to ``peer`` no timestamps because it is signed? As in Linux: no block of SACK
    would have room beside both. FreeBSD's has all that fits."""
    return not config.has_freebsd_syn and secret_for(settings.md5_keys, peer) != b""


def restrict(options: Options, settings: Settings, config: Config, peer: bytes) -> None:
    """The same of a SYN that arrives: with SACK there are no timestamps."""
    if options.is_sack_permitted and omits_timestamps(settings, config, peer):
        options.has_timestamps = False


def ordered(options: bytes, config: Config) -> bytes:
    """``options`` of a segment, which `BLANK` begins if it is signed, in the preset's order:
    FreeBSD's signature stands behind the options of a SYN and the timestamps, before what else
    there is. [FreeBSD tcp(4)]"""
    if not config.has_freebsd_syn or not options.startswith(BLANK):
        return options
    end = at = OPTION_BYTES
    while at < len(options):
        kind = options[at]
        if kind > NOP and kind not in _KINDS_BEFORE:
            break
        at += options[at + 1] if kind > NOP else 1
        if kind > NOP:
            end = at
    first = options[OPTION_BYTES:end]
    rest = options[end:].lstrip(bytes((0, NOP)))
    pads = bytes((NOP,)) * ((2 - len(first)) % 4)
    out = first + pads + BLANK[2:]
    return out + bytes((NOP,)) * (-len(rest) % 4) + rest if rest else out


def joined(begin: bytes, options: bytes, option: bytes, config: Config) -> bytes:
    """The options of a SYN or SYN-ACK: ``begin`` is `lead`'s, ``option`` is left out if it has no
    room."""
    options = begin + options
    if option and len(options) + len(option) <= _MOST_OPTION_BYTES:
        options = with_last(options, option)
    return ordered(options, config) if begin else options


# ---------------------------------------------------------------- signing


def signature(addresses: bytes, header: bytes, length: int, payload: Frame, secret: bytes) -> bytes:
    """The digest of a segment of ``length`` bytes, header and all: source and destination address,
    the twenty bytes of the header, what it carries. [RFC 2385 2.0] [RFC 8200 8.1]"""
    if len(addresses) == ENDS_4_BYTES - 4:
        pseudo = addresses + (TCP << 16 | length).to_bytes(4, "big")
    else:
        pseudo = addresses + (length << 32 | TCP).to_bytes(8, "big")
    start = pseudo + header[:_CHECKSUM_AT] + _NO_CHECKSUM + header[_CHECKSUM_AT + 2 :]
    digest = md5(start, usedforsecurity=False)
    for part in payload:
        digest.update(part)
    digest.update(secret)
    return digest.digest()


def sign(head: bytes, payload: Frame, secret: bytes) -> bytes:
    """The headers ``head`` of a segment of ours, among whose options `BLANK` is, with the
    signature in it. To be called when nothing else will change but the checksum."""
    if head[IP_AT] >> 4 == 4:
        start = TCP_AT
        addresses = head[IP_AT + 12 : TCP_AT]
    else:
        start = IP_AT + _IPV6_BYTES
        addresses = head[IP_AT + 8 : start]
    length = len(head) - start
    for part in payload:
        length += len(part)
    options_at = start + _HEADER_BYTES
    at = options_at + _digest_at(head[options_at:])
    digest = signature(addresses, head[start:options_at], length, payload, secret)
    return head[:at] + digest + head[at + _DIGEST_BYTES :]


def _digest_at(options: bytes) -> int:
    """Where in ``options`` of ours the digest is."""
    at = 0
    while options[at] != SIGNATURE:
        at += options[at + 1] if options[at] > NOP else 1
    return at + SIGNATURE_BYTES - _DIGEST_BYTES


def lead(keys: Keys, key: bytes) -> bytes:
    """What options of an answer to the sender of ``key`` begin with, see `signed`."""
    return BLANK if keys and secret_for(keys, peer_of(key)) else b""


def signed(head: bytes, keys: Keys, key: bytes) -> bytes:
    """``head`` of an answer without payload to the sender of a segment with ``key``, which begins
    its options with `lead`."""
    secret = secret_for(keys, peer_of(key)) if keys else b""
    return sign(head, (), secret) if secret else head


# ---------------------------------------------------------------- what arrives


def peer_of(key: bytes) -> bytes:
    """The peer's address, from a connection's key."""
    return key[: _peer_bytes(key)]


def _peer_bytes(key: bytes) -> int:
    return 4 if len(key) < 2 * 16 else 16


def refusal(keys: Keys, key: bytes, frame: bytes, start: int, end: int, at: int) -> str:
    """Why the segment in ``frame[44:end]`` is dropped without an answer, empty: it may be looked
    at. Its payload begins at ``start``, its digest is at ``at``, 0: it has none. [RFC 2385 2.0]"""
    peer_bytes = _peer_bytes(key)
    secret = secret_for(keys, key[:peer_bytes])
    if not secret:
        return "tcp_md5_unexpected" if at else ""
    if not at:
        return "tcp_md5_not_found"
    digest = signature(
        key[: 2 * peer_bytes], frame[TCP_AT : TCP_AT + _HEADER_BYTES], end - TCP_AT,
        (memoryview(frame)[start:end],), secret,
    )  # fmt: skip
    if compare_digest(digest, frame[at : at + _DIGEST_BYTES]):
        return ""
    return "tcp_md5_failure"


def drops(
    engine: Engine, keys: Keys, key: bytes, frame: bytes, start: int, end: int, at: int
) -> bool:
    """As `refusal`, of a segment that belongs to no connection, and counts it."""
    reason = refusal(keys, key, frame, start, end, at)
    if reason:
        engine.count_drop(reason)
    return reason != ""


def keys_of_service(engine: Engine, key: bytes) -> Keys:
    """The keys for a signed segment that nobody wants: perhaps we have lost a connection that we
    had opened to a service which is offered here, too, and its listener knows the peer, who is
    told by a reset then. As in Linux. [RFC 2385 4.1] On FreeBSD it may also have come to a socket
    that is bound and does not listen."""
    ends_bytes = 2 * _peer_bytes(key)
    local = key[ends_bytes // 2 : ends_bytes]
    if engine.config.has_freebsd_syn:
        for socket in engine.ports.bound_to(local, ends_of(key)[1]):
            if socket.settings.md5_keys:
                return socket.settings.md5_keys
    port = key[ends_bytes : ends_bytes + 2]  # the peer's
    listener = engine.find_listener(local + local + port + port)
    return NO_KEYS if listener is None else listener.settings.md5_keys
