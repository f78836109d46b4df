"""What neighbour discovery says inside ICMPv6: solicitations, advertisements, options.
[RFC 4861 4]

A message's ICMPv6 header belongs to `icmpv6`; here are its second word and what follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from leulo.net.wire import ParseError
from leulo.net.wire.icmpv6 import (
    NEIGHBOUR_SOLICITATION,
    ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
    Icmpv6Repr,
)

SOURCE_LINK_ADDRESS: Final = 1
TARGET_LINK_ADDRESS: Final = 2
PREFIX_INFORMATION: Final = 3
MTU: Final = 5

INFINITE_S: Final = 0xFFFFFFFF
MAX_PREFIXES: Final = 16  # of one advertisement

_ROUTER: Final = 1 << 31
_SOLICITED: Final = 1 << 30
_OVERRIDE: Final = 1 << 29
_ON_LINK: Final = 0x80
_AUTONOMOUS: Final = 0x40
_TIMERS: Final = Struct("!II")
_PREFIX: Final = Struct("!BBII4x16s")


@dataclass
class NeighbourRepr:
    """A neighbour solicitation or advertisement. ``mac`` is empty if it names none."""

    kind: int
    target: bytes
    mac: bytes = b""
    is_router: bool = False
    is_solicited: bool = False
    is_override: bool = False

    @classmethod
    def parse(cls, message: Icmpv6Repr) -> NeighbourRepr:
        """Raises ParseError: ``ndp_short``, ``ndp_code``, ``ndp_target``, ``ndp_options``."""
        if len(message.payload) < 16:
            raise ParseError("ndp_short")
        if message.code:
            raise ParseError("ndp_code")
        target = message.payload[:16]
        if target[0] == 0xFF:
            raise ParseError("ndp_target")
        wanted = TARGET_LINK_ADDRESS
        flags = message.rest
        if message.kind == NEIGHBOUR_SOLICITATION:
            wanted = SOURCE_LINK_ADDRESS
            flags = 0
        mac = b""
        for kind, value in _options(message.payload[16:]):
            if kind == wanted and len(value) == 6:
                mac = value
        return cls(
            message.kind, target, mac,
            bool(flags & _ROUTER), bool(flags & _SOLICITED), bool(flags & _OVERRIDE),
        )  # fmt: skip

    def emit(self) -> Icmpv6Repr:
        rest = (
            (_ROUTER if self.is_router else 0)
            | (_SOLICITED if self.is_solicited else 0)
            | (_OVERRIDE if self.is_override else 0)
        )
        option = b""
        if self.mac:
            kind = TARGET_LINK_ADDRESS
            if self.kind == NEIGHBOUR_SOLICITATION:
                kind = SOURCE_LINK_ADDRESS
            option = bytes((kind, 1)) + self.mac
        return Icmpv6Repr(self.kind, 0, rest, self.target + option)


@dataclass
class PrefixRepr:
    """A prefix that a router advertises; lifetimes are seconds."""

    prefix: bytes
    length: int
    is_on_link: bool
    is_autonomous: bool
    valid_s: int
    preferred_s: int


@dataclass
class RouterRepr:
    """A router advertisement. Zero means that the router does not say."""

    hop_limit: int = 0
    lifetime_s: int = 0
    reachable_ms: int = 0
    retransmit_ms: int = 0
    flags: int = 0
    mac: bytes = b""
    mtu: int = 0
    prefixes: list[PrefixRepr] = field(default_factory=list)

    @property
    def preference(self) -> int:
        """1 above others, -1 below them; 0 also stands for what is reserved. [RFC 4191 2.1, 2.2]"""
        return (0, 1, 0, -1)[self.flags >> 3 & 3]

    @classmethod
    def parse(cls, message: Icmpv6Repr) -> RouterRepr:
        """Raises ParseError: ``ndp_short``, ``ndp_code``, ``ndp_options``."""
        if len(message.payload) < _TIMERS.size:
            raise ParseError("ndp_short")
        if message.code:
            raise ParseError("ndp_code")
        reachable, retransmit = _TIMERS.unpack_from(message.payload)
        router = cls(
            message.rest >> 24, message.rest & 0xFFFF, reachable, retransmit,
            message.rest >> 16 & 0xFF,
        )  # fmt: skip
        for kind, value in _options(message.payload[_TIMERS.size :]):
            if kind == SOURCE_LINK_ADDRESS and len(value) == 6:
                router.mac = value
            elif kind == MTU and len(value) == 6:
                router.mtu = int.from_bytes(value[2:], "big")
            elif kind == PREFIX_INFORMATION and len(value) == _PREFIX.size:
                length, flags, valid, preferred, prefix = _PREFIX.unpack(value)
                if length <= 128 and len(router.prefixes) < MAX_PREFIXES:
                    router.prefixes.append(
                        PrefixRepr(
                            prefix,
                            length,
                            bool(flags & _ON_LINK),
                            bool(flags & _AUTONOMOUS),
                            valid,
                            preferred,
                        )
                    )
        return router

    def emit(self) -> Icmpv6Repr:
        parts = [_TIMERS.pack(self.reachable_ms, self.retransmit_ms)]
        if self.mac:
            parts.append(bytes((SOURCE_LINK_ADDRESS, 1)) + self.mac)
        if self.mtu:
            parts.append(bytes((MTU, 1, 0, 0)) + self.mtu.to_bytes(4, "big"))
        for p in self.prefixes:
            flags = (_ON_LINK if p.is_on_link else 0) | (_AUTONOMOUS if p.is_autonomous else 0)
            text = _PREFIX.pack(p.length, flags, p.valid_s, p.preferred_s, p.prefix)
            parts.append(bytes((PREFIX_INFORMATION, 4)) + text)
        rest = self.hop_limit << 24 | self.flags << 16 | self.lifetime_s
        return Icmpv6Repr(ROUTER_ADVERTISEMENT, 0, rest, b"".join(parts))


def router_solicitation(mac: bytes) -> Icmpv6Repr:
    """Asks the routers of the link to speak; ``mac`` is empty if the sender has no address."""
    option = bytes((SOURCE_LINK_ADDRESS, 1)) + mac if mac else b""
    return Icmpv6Repr(ROUTER_SOLICITATION, 0, 0, option)


def _options(text: bytes) -> list[tuple[int, bytes]]:
    """Kind and value of each option. An option of length zero makes the whole message invalid.
    [RFC 4861 4.6]"""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(text):
        if at + 2 > len(text) or not text[at + 1] or at + text[at + 1] * 8 > len(text):
            raise ParseError("ndp_options")
        end = at + text[at + 1] * 8
        found.append((text[at], text[at + 2 : end]))
        at = end
    return found
