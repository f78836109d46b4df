"""ICMPv6 of a host: echo replies, errors to others, errors from others. [RFC 4443]

Like `icmp`, it makes messages and never sends. Errors from others are told to transports in the
terms of ICMP for IPv4, which mean the same to them.
"""

from __future__ import annotations

from typing import Final

from leulo.net.icmp import IcmpError, LimitedHost
from leulo.net.wire import Buffer, ParseError
from leulo.net.wire import icmp as icmp4
from leulo.net.wire.icmpv6 import (
    DESTINATION_UNREACHABLE,
    ECHO_REPLY,
    ECHO_REQUEST,
    PACKET_TOO_BIG,
    PARAMETER_PROBLEM,
    REDIRECT,
    TIME_EXCEEDED,
    UNKNOWN_NEXT_HEADER,
    Icmpv6Repr,
)
from leulo.net.wire.ipv4 import PROTOCOL_TCP, PROTOCOL_UDP
from leulo.net.wire.ipv6 import (
    FRAGMENT,
    FRAGMENT_BYTES,
    HEADER_BYTES,
    MIN_MTU,
    PROTOCOL_ICMPV6,
    UNSPECIFIED,
    FragmentRepr,
    Ipv6Repr,
    Upper,
    is_multicast,
    walk,
)

_QUOTE_BYTES: Final = MIN_MTU - HEADER_BYTES - 8  # an error is never fragmented [RFC 4443 2.4 c]
_PORTS_BYTES: Final = 8
# "Destination unreachable" by code, in IPv4's codes
_UNREACHABLE: Final = {0: 0, 1: 13, 2: 0, 3: 1, 4: 3, 5: 13, 6: 13}


def upper_of(packet: Buffer) -> Upper:
    """The upper layer of a packet that may be a first fragment, or the beginning of a packet.
    Raises ParseError, ``ipv6_later_fragment`` among others."""
    upper = walk(packet, len(packet))
    if upper.protocol != FRAGMENT:
        return upper
    fragment = FragmentRepr.parse(packet[upper.at :])
    if fragment.offset:
        raise ParseError("ipv6_later_fragment")
    return walk(packet, len(packet), fragment.next_header, upper.at + FRAGMENT_BYTES)


def parse_error(message: Icmpv6Repr) -> IcmpError:
    """Read the packet that an error quotes. Raises ParseError ``icmpv6_quote`` if too little of
    it is there."""
    quoted = message.payload
    try:
        ip = Ipv6Repr.parse(quoted, 0x1FFFF)
        upper = upper_of(quoted)
    except ParseError as error:
        raise ParseError("icmpv6_quote") from error
    transport = quoted[upper.at :]
    if len(transport) < _PORTS_BYTES:
        raise ParseError("icmpv6_quote")
    local_port = remote_port = sequence = mtu = 0
    if upper.protocol in (PROTOCOL_TCP, PROTOCOL_UDP):
        local_port = transport[0] << 8 | transport[1]
        remote_port = transport[2] << 8 | transport[3]
    elif upper.protocol == PROTOCOL_ICMPV6 and transport[0] == ECHO_REQUEST:
        local_port = transport[4] << 8 | transport[5]
    if upper.protocol == PROTOCOL_TCP:
        sequence = int.from_bytes(transport[4:8], "big")
    kind, code = icmp4.TIME_EXCEEDED, message.code
    if message.kind == DESTINATION_UNREACHABLE:
        kind, code = icmp4.DESTINATION_UNREACHABLE, _UNREACHABLE.get(message.code, 0)
    elif message.kind == PACKET_TOO_BIG:
        kind, code = icmp4.DESTINATION_UNREACHABLE, icmp4.FRAGMENTATION_NEEDED
        mtu = message.rest
    elif message.kind == PARAMETER_PROBLEM:
        kind, code = icmp4.PARAMETER_PROBLEM, 0
        if message.code == UNKNOWN_NEXT_HEADER:
            kind, code = icmp4.DESTINATION_UNREACHABLE, icmp4.PROTOCOL_UNREACHABLE
    return IcmpError(
        kind, code, upper.protocol, (ip.source, local_port), (ip.destination, remote_port),
        sequence, mtu,
    )  # fmt: skip


def may_report(packet: Buffer, to_multicast: bool) -> bool:
    """May an error be sent about this received packet? Not about an error or a redirect, not to
    a group or to nobody, and of what went to a group only with ``to_multicast``.
    [RFC 4443 2.4 e]"""
    try:
        ip = Ipv6Repr.parse(packet, 0x1FFFF)
    except ParseError:
        return False
    if is_multicast(ip.source) or ip.source == UNSPECIFIED:
        return False
    if is_multicast(ip.destination) and not to_multicast:
        return False
    try:
        upper = upper_of(packet)
    except ParseError:
        return True  # the chain of headers is what is wrong
    if upper.protocol != PROTOCOL_ICMPV6:
        return True
    kind = packet[upper.at] if len(packet) > upper.at else 0
    return kind >= 128 and kind != REDIRECT


class Icmpv6Host(LimitedHost):
    """Answers and reports, within limits of rate. [RFC 4443 2.4 f]"""

    def __init__(self) -> None:
        super().__init__("icmpv6")

    def input(self, message: Icmpv6Repr, now_ns: int) -> Icmpv6Repr | IcmpError | None:
        """A message that is not neighbour discovery's: the answer to its source, or the error it
        is; None for an echo reply. Raises ParseError with the reason of a drop."""
        self._counters["icmpv6_in"] += 1
        if message.is_error:
            if message.kind not in (
                DESTINATION_UNREACHABLE, PACKET_TOO_BIG, TIME_EXCEEDED, PARAMETER_PROBLEM,
            ):  # fmt: skip
                raise ParseError("icmpv6_kind")
            error = parse_error(message)
            self._counters["icmpv6_errors_in"] += 1
            return error
        if message.kind == ECHO_REPLY:
            return None
        if message.kind != ECHO_REQUEST:
            raise ParseError("icmpv6_kind")
        if not self._echo_limit.allows(now_ns):
            self._counters["icmpv6_limited"] += 1
            raise ParseError("icmpv6_limited")
        self._counters["icmpv6_echo_replies"] += 1
        return Icmpv6Repr(ECHO_REPLY, 0, message.rest, message.payload)

    def error(
        self, kind: int, code: int, rest: int, packet: Buffer, now_ns: int,
        to_multicast: bool = False,
    ) -> Icmpv6Repr | None:  # fmt: skip
        """The message about the received ``packet``, or None if there must be none."""
        if not may_report(packet, to_multicast):
            return None
        if not self._error_limit.allows(now_ns):
            self._counters["icmpv6_limited"] += 1
            return None
        self._counters["icmpv6_errors_out"] += 1
        return Icmpv6Repr(kind, code, rest, bytes(packet[:_QUOTE_BYTES]))
