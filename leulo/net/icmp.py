"""ICMP of a host: echo replies, errors to others, errors from others. [RFC 792] [RFC 1122 3.2.2]

`IcmpHost` makes messages (the payload of an IPv4 packet) and never sends: the stack wraps them.
Both echo replies and errors are limited in rate, so that nobody can use the host to flood a
third party. `parse_error` tells a transport which of its packets an error is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.icmp import (
    DESTINATION_UNREACHABLE,
    ECHO_REPLY,
    ECHO_REQUEST,
    FRAGMENTATION_NEEDED,
    REDIRECT,
    SOURCE_QUENCH,
    IcmpRepr,
)
from leulo.net.wire.ipv4 import (
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    Ipv4Packet,
    Ipv4Repr,
    is_unicast,
)
from leulo.state import State, load_fields, save_fields
from leulo.units import NS_PER_S

# The ICMP part of an error, so that the packet is at most 576 bytes. [RFC 1812 4.3.2.3]
ERROR_BYTES: Final = 548
_PORTS_BYTES: Final = 8  # of the transport header are quoted at least [RFC 792]
_PLATEAUS: Final = (32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)  # [RFC 1191 7.1]


class RateLimit:
    """A token bucket in integers: ``burst`` at once, then ``per_second``."""

    __slots__ = ("_interval_ns", "_room_ns", "_when_ns", "burst")

    _FIELDS: Final = ("_room_ns", "_when_ns")

    def __init__(self, per_second: int, burst: int) -> None:
        self._interval_ns: int = NS_PER_S // per_second
        self.burst: int = burst
        self._room_ns: int = burst * self._interval_ns
        self._when_ns: int = 0

    def allows(self, now_ns: int) -> bool:
        """Take one token if there is one."""
        room = self._room_ns + max(0, now_ns - self._when_ns)
        room = min(room, self.burst * self._interval_ns)
        self._when_ns = now_ns
        may = room >= self._interval_ns
        self._room_ns = room - self._interval_ns if may else room
        return may

    def save(self) -> State:
        return save_fields(self, 1, self._FIELDS)

    def load(self, state: State) -> None:
        load_fields(self, 1, self._FIELDS, state)


@dataclass
class IcmpError:
    """What an ICMP error says of a packet that we sent.

    ``local`` and ``remote`` are (address, port) as we see them; ports are 0 if the protocol has
    none, and an echo request's identifier is ``local``'s port. ``sequence`` is the quoted TCP
    sequence number, to be checked against what is in flight before the error is believed.
    [RFC 5927 4.1] ``mtu`` is in bytes, 0 unless the packet was too big; an old router's missing
    value is replaced by the next plateau. [RFC 1191 5]
    """

    kind: int
    code: int
    protocol: int
    local: tuple[bytes, int]
    remote: tuple[bytes, int]
    sequence: int
    mtu: int

    @property
    def is_too_big(self) -> bool:
        return self.kind == DESTINATION_UNREACHABLE and self.code == FRAGMENTATION_NEEDED

    @property
    def is_hard(self) -> bool:
        """Protocol or port unreachable: no retry helps. [RFC 1122 4.2.3.9]"""
        return self.kind == DESTINATION_UNREACHABLE and self.code in (2, 3)


def parse_error(message: IcmpRepr) -> IcmpError:
    """Read the packet that an error quotes. Raises ParseError: ``icmp_not_error``, or with
    ``icmp_quote`` if too little of the packet is there."""
    if not message.is_error:
        raise ParseError("icmp_not_error")
    quoted = message.payload
    try:
        # Routers on the way have changed TTL and checksum, some wrongly: not verified.
        ip = Ipv4Repr.parse_quoted(quoted, 0xFFFF, verify_checksum=False)
    except ParseError as error:
        raise ParseError("icmp_quote") from error
    transport = quoted[ip.header_bytes :]
    if len(transport) < _PORTS_BYTES or ip.fragment_offset:
        raise ParseError("icmp_quote")
    local_port = remote_port = sequence = 0
    if ip.protocol in (PROTOCOL_TCP, PROTOCOL_UDP):
        local_port = transport[0] << 8 | transport[1]
        remote_port = transport[2] << 8 | transport[3]
    elif ip.protocol == PROTOCOL_ICMP and transport[0] == ECHO_REQUEST:
        local_port = transport[4] << 8 | transport[5]
    if ip.protocol == PROTOCOL_TCP:
        sequence = int.from_bytes(transport[4:8], "big")
    mtu = 0
    if message.kind == DESTINATION_UNREACHABLE and message.code == FRAGMENTATION_NEEDED:
        total_bytes = ip.header_bytes + ip.payload_bytes
        mtu = message.next_hop_mtu or next((p for p in _PLATEAUS if p < total_bytes), 68)
    return IcmpError(
        message.kind,
        message.code,
        ip.protocol,
        (ip.source, local_port),
        (ip.destination, remote_port),
        sequence,
        mtu,
    )


def may_report(packet: Buffer, is_link_broadcast: bool) -> bool:
    """May an ICMP error be sent about this received IPv4 packet? Not about an ICMP error, a
    broadcast or multicast of IP or of the link, a later fragment, or a packet whose source is
    not one host. [RFC 1122 3.2.2]"""
    try:
        ip = Ipv4Repr.parse_quoted(packet, 0xFFFF, verify_checksum=False)
    except ParseError:
        return False
    if is_link_broadcast or ip.fragment_offset:
        return False
    if not is_unicast(ip.destination) or not is_unicast(ip.source):
        return False
    if ip.protocol == PROTOCOL_ICMP:
        message = packet[ip.header_bytes :]
        # Only what is surely no error may be answered with one.
        return len(message) > 0 and message[0] in (ECHO_REQUEST, ECHO_REPLY)
    return True


class LimitedHost:
    """What both versions of ICMP have: limits of rate, and counters, which ``name`` begins."""

    def __init__(self, name: str) -> None:
        self._echo_limit: RateLimit = RateLimit(per_second=1000, burst=200)
        # Per second and burst as Linux's icmp_msgs_per_sec and icmp_msgs_burst have them, less
        # sharply: port scans of a closed range stay answered. [RFC 1812 4.3.2.8]
        self._error_limit: RateLimit = RateLimit(per_second=1000, burst=50)
        counted = ("in", "echo_replies", "errors_in", "errors_out", "limited")
        self._counters: dict[str, int] = {f"{name}_{what}": 0 for what in counted}

    def counters(self) -> dict[str, int]:
        return dict(self._counters)

    def save(self) -> State:
        return {
            "version": 1,
            "counters": dict(self._counters),
            "echo_limit": self._echo_limit.save(),
            "error_limit": self._error_limit.save(),
        }

    def load(self, state: State) -> None:
        """Raises ValueError on another version."""
        if state.get("version") != 1:
            kind = type(self).__name__
            raise ValueError(f"{kind}: saved state has version {state.get('version')}, not 1")
        self._counters = dict(state["counters"])
        self._echo_limit.load(state["echo_limit"])
        self._error_limit.load(state["error_limit"])


class IcmpHost(LimitedHost):
    """Answers and reports, within limits of rate."""

    def __init__(self) -> None:
        super().__init__("icmp")

    def input(
        self, message: Buffer, to_broadcast: bool, now_ns: int
    ) -> tuple[bytes | None, IcmpError | None]:
        """A received ICMP message (an IPv4 packet's payload).

        Returns the message to send back to its source, if any, and the error it is, if any;
        neither for an echo reply. Raises ParseError with the reason of a drop.
        """
        icmp = IcmpRepr.parse(message)
        self._counters["icmp_in"] += 1
        if icmp.kind == SOURCE_QUENCH:
            raise ParseError("icmp_source_quench")  # ignored by everybody [RFC 6633 3, 4]
        if icmp.kind == REDIRECT:
            # Deviation: a redirect is not followed, because anybody could forge it; the router
            # forwards all the same. [RFC 1122 3.2.2.2]
            raise ParseError("icmp_redirect")
        if icmp.is_error:
            error = parse_error(icmp)
            self._counters["icmp_errors_in"] += 1
            return None, error
        if icmp.kind == ECHO_REPLY and not to_broadcast:
            return None, None
        if icmp.kind != ECHO_REQUEST:
            raise ParseError("icmp_kind")
        if to_broadcast:
            raise ParseError("icmp_broadcast_echo")  # [RFC 1122 3.2.2.6] allows it
        if not self._echo_limit.allows(now_ns):
            self._counters["icmp_limited"] += 1
            raise ParseError("icmp_limited")
        self._counters["icmp_echo_replies"] += 1
        # Only the type changes. [RFC 792 echo]
        return IcmpRepr(ECHO_REPLY, icmp.code, icmp.rest, icmp.payload).emit(), None

    def error(
        self,
        kind: int,
        code: int,
        packet: Buffer,
        is_link_broadcast: bool,
        now_ns: int,
        rest: int = 0,
    ) -> bytes | None:
        """The message that tells the source of the received IPv4 ``packet`` what became of it,
        or None if there must be none. ``rest`` is the header's second word."""
        if not may_report(packet, is_link_broadcast):
            return None
        if not self._error_limit.allows(now_ns):
            self._counters["icmp_limited"] += 1
            return None
        self._counters["icmp_errors_out"] += 1
        total_bytes = Ipv4Packet(packet).total_bytes
        quote = bytes(packet[: min(total_bytes, ERROR_BYTES - 8)])
        return IcmpRepr(kind, code, rest, quote).emit()
