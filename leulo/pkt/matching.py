"""Does a packet of the stack fit a line of the script? None, or the first thing that differs.

Strict: every field that the line gives, options in their order with their padding. Relaxed: the
push flag, the window of a segment and the padding of options may differ, and the value of the
window scale; what a peer would act upon may not.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from leulo.net.wire.ipv4 import PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP
from leulo.net.wire.tcp import (
    ACK,
    OPTION_END,
    OPTION_NOP,
    OPTION_SACK,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    PSH,
    SYN,
    URG,
)
from leulo.pkt import signatures
from leulo.pkt.connections import Connection, payload_at
from leulo.pkt.option_lists import wire_bytes
from leulo.pkt.packets import (
    ICMP_CODES,
    ICMP_TYPES,
    ICMPV6_CODES,
    ICMPV6_TYPES,
    PROTOCOL_ICMPV6,
    Seen,
    flags_text,
    walk_options,
)
from leulo.pkt.signatures import INVALID, VALID, Secrets
from leulo.pkt.syntax import IcmpLine, IpInfo, TcpLine, TcpOption, UdpLine

_PAIR: Final = Struct("!II")


@dataclass(slots=True)
class _Measures:
    """How timestamps are compared, and signatures."""

    tick_ns: int
    tolerance_ns: int
    secrets: Secrets


def differs(
    line: TcpLine | UdpLine | IcmpLine,
    seen: Seen,
    connection: Connection,
    is_relaxed: bool,
    tick_ns: int,
    secrets: Secrets,
    is_push_open: bool = False,
    tolerance_ns: int = 0,
) -> str | None:
    """The first difference. Learns the initial sequence number and timestamps from what fits.
    ``tick_ns``: length of a tick of the timestamp clock, 0 if values are not compared;
    ``tolerance_ns``: by how much they may be off; ``secrets``: what signatures are checked with.
    ``is_push_open``: a full segment, or several: the push flag is not compared."""
    found = _ip_differs(line.ip, seen)
    if found is not None:
        return found
    if isinstance(line, TcpLine):
        if seen.protocol != PROTOCOL_TCP:
            return "protocol"
        measures = _Measures(tick_ns, tolerance_ns, secrets)
        return _tcp_differs(line, seen, connection, is_relaxed, is_push_open, measures)
    if isinstance(line, UdpLine):
        if seen.protocol != PROTOCOL_UDP:
            return "protocol"
        return None if seen.length == line.length else "length"
    return _icmp_differs(line, seen)


def _ip_differs(info: IpInfo, seen: Seen) -> str | None:
    traffic_class = seen.traffic_class
    if info.ecn is not None and traffic_class & 3 != info.ecn:
        return "ECN field"
    if info.is_ect01 and traffic_class & 3 not in (1, 2):
        return "ECN field"
    if info.dscp is not None and traffic_class >> 2 != info.dscp:
        return "DSCP"
    if info.ttl is not None and seen.ttl != info.ttl:
        return "TTL"
    return None


def _icmp_differs(line: IcmpLine, seen: Seen) -> str | None:
    if seen.protocol != (PROTOCOL_ICMPV6 if seen.is_ipv6 else PROTOCOL_ICMP):
        return "protocol"
    types, codes = (ICMPV6_TYPES, ICMPV6_CODES) if seen.is_ipv6 else (ICMP_TYPES, ICMP_CODES)
    kind = types.get(line.type_name)
    if seen.transport[0] != kind:
        return "ICMP type"
    if line.code_name and seen.transport[1] != codes.get(kind, {}).get(line.code_name):
        return "ICMP code"
    return None


def _tcp_differs(
    line: TcpLine,
    seen: Seen,
    connection: Connection,
    is_relaxed: bool,
    is_push_open: bool,
    measures: _Measures,
) -> str | None:
    ignored = PSH if is_relaxed or is_push_open else 0
    if (seen.flags ^ line.flags) & ~ignored:
        return f"flags ({flags_text(line.flags)} expected, {flags_text(seen.flags)} sent)"
    if seen.length != line.length:
        return "length"
    iss = _iss_for(line, seen, connection)
    if iss is None:
        return "initial sequence number of the SYN sent again"
    script_iss, live_iss = iss
    is_syn = line.flags & SYN != 0
    if line.seq is not None:
        live = line.seq
        if not line.is_absolute:
            live = (line.seq - (script_iss if is_syn else 0) + live_iss) & 0xFFFFFFFF
        if live != seen.seq:
            return "sequence number"
    if line.flags & ACK and seen.ack != connection.peer_to_live(line.ack, is_syn):
        return "acknowledgement number"
    if line.window is not None and seen.window != line.window and not is_relaxed:
        return "window"
    if line.flags & URG and seen.urgent != line.urgent:
        return "urgent pointer"
    if line.options is not None:
        found = _options_differ(line.options, seen, connection, is_relaxed, measures)
        if found is not None:
            return found
    if line.flags & SYN and line.seq is not None and not line.is_absolute:
        connection.learn_iss(script_iss, live_iss)
    return _payload_differs(seen, connection)


def _iss_for(line: TcpLine, seen: Seen, connection: Connection) -> tuple[int, int] | None:
    """The script's and the wire's initial sequence number, if this segment were right."""
    if not line.flags & SYN or line.seq is None:
        return connection.script_iss, connection.live_iss
    if connection.is_iss_known and not connection.is_reopening:
        if seen.seq != connection.live_iss:
            return None
        return connection.script_iss, connection.live_iss
    return line.seq, seen.seq


def _payload_differs(seen: Seen, connection: Connection) -> str | None:
    """Is the data what was written at that place of the stream?"""
    if not seen.payload or connection.sent_strings or not connection.is_iss_known:
        return None
    offset = (seen.seq - connection.live_iss - (0 if seen.flags & SYN else 1)) & 0xFFFFFFFF
    if seen.payload != payload_at(offset, seen.length):
        return "payload: not what was written at this place of the stream"
    return None


def _options_differ(
    expected: list[TcpOption],
    seen: Seen,
    connection: Connection,
    is_relaxed: bool,
    measures: _Measures,
) -> str | None:
    sent = walk_options(seen.options)
    wanted = expected
    if is_relaxed:
        padding = (OPTION_NOP, OPTION_END)
        sent = sorted((o for o in sent if o[0] not in padding), key=lambda option: option[0])
        wanted = sorted((o for o in expected if o.kind not in padding), key=lambda o: o.kind)
    elif (
        len(sent) > len(wanted)
        and all(kind == OPTION_END for kind, _ in sent[len(wanted) :])
        and sum(len(wire_bytes(option)) for option in wanted) + 4 > len(seen.options)
    ):
        sent = sent[: len(wanted)]  # what only fills the last word need not be written
    if [kind for kind, _ in sent] != [option.kind for option in wanted]:
        return "options"
    for option, (kind, body) in zip(wanted, sent, strict=True):
        if kind == OPTION_TIMESTAMPS:
            found = _timestamps_differ(option, body, seen, connection, measures)
            if found is not None:
                return found
        elif kind == OPTION_SACK:
            if body != _blocks(option, connection, seen.flags & SYN != 0):
                return "SACK blocks"
        elif kind == OPTION_WINDOW_SCALE and is_relaxed:
            continue
        elif option.name in (VALID, INVALID):
            secret = measures.secrets.find(connection.peer)
            ends = (connection.local, connection.peer)
            if body != signatures.expected(option, *ends, seen.transport, secret):
                return "signature"
            for more in seen.joined:
                if not signatures.is_signed(more, *ends, secret):
                    return "signature of a later segment"
        elif kind not in (OPTION_NOP, OPTION_END) and body != option.data:
            return f"option {option.name or kind}"
    return None


def _blocks(option: TcpOption, connection: Connection, is_syn: bool) -> bytes:
    """SACK blocks as they are on the wire."""
    return b"".join(
        _PAIR.pack(connection.peer_to_live(left, is_syn), connection.peer_to_live(right, is_syn))
        for left, right in option.blocks
    )


def _timestamps_differ(
    option: TcpOption, body: bytes, seen: Seen, connection: Connection, measures: _Measures
) -> str | None:
    if len(body) != 8:
        return "options"
    value, echo = _PAIR.unpack(body)
    if echo != option.ts_ecr:
        return "timestamp echo"
    if option.ts_val is None:
        return None
    first = connection.first_timestamp
    if measures.tick_ns and first is not None:
        late = (value - first[1] - option.ts_val + first[0]) & 0xFFFFFFFF
        if min(late, 0x100000000 - late) * measures.tick_ns > measures.tolerance_ns:
            return "timestamp value"
    connection.learn_timestamp(option.ts_val, value, seen.at_ns)
    return None
