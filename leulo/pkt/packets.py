"""Packets of the script made into frames, frames of the stack matched with the script's lines.

The device is a layer-3 one in scripts; here each packet gets an Ethernet header and the ten bytes
of virtio_net_hdr that a `leulo.stack` speaks, with checksums left to the link. The addresses of a
connection say whether it is IPv4 or IPv6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from leulo.net.wire import ParseError
from leulo.net.wire.icmp import ERRORS, IcmpRepr
from leulo.net.wire.icmpv6 import FIRST_INFORMATIONAL, Icmpv6Repr
from leulo.net.wire.ipv4 import PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, Ipv4Repr
from leulo.net.wire.ipv6 import HEADER_BYTES as IPV6_HEADER_BYTES
from leulo.net.wire.ipv6 import Ipv6Repr
from leulo.net.wire.tcp import (
    ACK,
    AE,
    CWR,
    ECE,
    FIN,
    OPTION_END,
    OPTION_NOP,
    OPTION_SACK,
    OPTION_TIMESTAMPS,
    PSH,
    RST,
    SYN,
    URG,
    TcpPacket,
)
from leulo.net.wire.udp import UdpPacket, UdpRepr
from leulo.pkt.connections import Connection, payload_at
from leulo.pkt.option_lists import wire_bytes
from leulo.pkt.signatures import Secrets, filled
from leulo.pkt.syntax import IcmpLine, IpInfo, TcpLine, TcpOption, UdpLine

VNET_CHECKED: Final = b"\x02" + bytes(9)  # DATA_VALID [virtio 1.2 5.1.6.4]
VNET_BYTES: Final = 10
IP_AT: Final = 24
TYPE_IPV4: Final = b"\x08\x00"
TYPE_IPV6: Final = b"\x86\xdd"
PROTOCOL_ICMPV6: Final = 58
_TCP: Final = Struct("!HHIIHHHH")
_PAIR: Final = Struct("!II")
_FLAG_LETTERS: Final = (
    (FIN, "F"), (SYN, "S"), (RST, "R"), (PSH, "P"), (ECE, "E"), (CWR, "W"), (AE, "A"), (URG, "U"),
    (ACK, "."),
)  # fmt: skip

ICMP_TYPES: Final = {
    "echo_reply": 0, "unreachable": 3, "source_quench": 4, "redirect": 5, "echo_request": 8,
    "time_exceeded": 11, "parameter_problem": 12, "router_advertisement": 9,
    "router_solicitation": 10, "timestamp_request": 13, "timestamp_reply": 14,
    "information_request": 15, "information_reply": 16, "address_mask_request": 17,
    "address_mask_reply": 18,
}  # fmt: skip
ICMP_CODES: Final = {
    3: {
        "net_unreachable": 0, "host_unreachable": 1, "protocol_unreachable": 2,
        "port_unreachable": 3, "frag_needed": 4, "source_route_failed": 5, "net_unknown": 6,
        "host_unknown": 7, "source_host_isolated": 8, "net_prohibited": 9, "host_prohibited": 10,
        "net_unreachable_for_tos": 11, "host_unreachable_for_tos": 12, "packet_filtered": 13,
        "precedence_violation": 14, "precedence_cutoff": 15,
    },
    5: {"net": 0, "host": 1, "net_for_tos": 2, "host_for_tos": 3},
    11: {
        "ttl_exceeded": 0, "ttl_exceeded_in_transit": 0, "reassembly_exceeded": 1,
        "frag_reass_exceeded": 1, "exc_fragtime": 1,
    },
}  # fmt: skip

ICMPV6_TYPES: Final = {
    "unreachable": 1, "packet_too_big": 2, "time_exceeded": 3, "parameter_problem": 4,
    "echo_request": 128, "echo_reply": 129, "router_solicitation": 133,
    "router_advertisement": 134, "neighbor_solicitation": 135, "neighbor_advertisement": 136,
    "redirect": 137,
}  # fmt: skip
ICMPV6_CODES: Final = {
    1: {
        "net_unreachable": 0, "noroute": 0, "admin_prohibited": 1, "net_prohibited": 1,
        "not_neighbour": 2, "addr_unreachable": 3, "host_unreachable": 3, "port_unreachable": 4,
        "no_route": 0, "address_unreachable": 3,
    },
    3: {
        "ttl_exceeded": 0, "hop_limit": 0, "exc_hoplimit": 0, "exceeded_hop_limit": 0,
        "exc_fragtime": 1, "exceeded_frag_time": 1,
    },
    4: {"header_field": 0, "unknown_next_header": 1, "unknown_option": 2},
}  # fmt: skip


@dataclass(slots=True)
class Seen:
    """A packet that left the stack. ``payload`` is the transport's; TCP fields are the wire's."""

    at_ns: int
    protocol: int
    traffic_class: int
    ttl: int  # or hop limit
    is_ipv6: bool
    transport: bytes  # header and payload
    source_port: int = 0
    destination_port: int = 0
    flags: int = 0
    seq: int = 0
    ack: int = 0
    window: int = 0
    urgent: int = 0
    options: bytes = b""
    payload: bytes = b""
    joined: list[bytes] = field(default_factory=list)  # transports of segments that were added

    @property
    def length(self) -> int:
        return len(self.payload)


def see(frame: bytes, at_ns: int) -> Seen:
    """The packet in a frame of the stack's. Raises ParseError if the stack sent nonsense."""
    if frame[VNET_BYTES + 12 : IP_AT] == TYPE_IPV6:
        six = Ipv6Repr.parse(frame[IP_AT:])
        begin = IP_AT + IPV6_HEADER_BYTES
        transport = frame[begin : begin + six.payload_bytes]
        seen = Seen(at_ns, six.next_header, six.traffic_class, six.hop_limit, True, transport)
    else:
        ip = Ipv4Repr.parse(frame[IP_AT:])
        begin = IP_AT + ip.header_bytes
        transport = frame[begin : begin + ip.payload_bytes]
        seen = Seen(at_ns, ip.protocol, ip.traffic_class, ip.ttl, False, transport)
        if ip.fragment_offset:
            return seen
    if seen.protocol == PROTOCOL_TCP:
        tcp = TcpPacket(transport)
        seen.source_port = tcp.source_port
        seen.destination_port = tcp.destination_port
        seen.flags = tcp.flags
        seen.seq = tcp.sequence
        seen.ack = tcp.acknowledgment
        seen.window = tcp.window
        seen.urgent = tcp.urgent
        seen.options = bytes(tcp.options)
        seen.payload = bytes(tcp.payload)
    elif seen.protocol == PROTOCOL_UDP:
        udp = UdpPacket(transport)
        seen.source_port = udp.source_port
        seen.destination_port = udp.destination_port
        seen.payload = transport[8:]
    elif seen.protocol in (PROTOCOL_ICMP, PROTOCOL_ICMPV6) and len(transport) < 8:
        raise ParseError("icmp_short")
    return seen


# ---------------------------------------------------------------- to the stack


def frame_of(
    macs: bytes, info: IpInfo, source: bytes, destination: bytes, protocol: int, payload: bytes
) -> bytes:
    """``macs`` are destination and source; the addresses decide on IPv4 or IPv6."""
    traffic_class = (info.dscp or 0) << 2 | (info.ecn or 0)
    ttl = info.ttl if info.ttl is not None else 255
    size = len(payload)
    if len(source) == 16:
        label = info.flow_label or 0
        six = Ipv6Repr(source, destination, protocol, size, ttl, traffic_class, label)
        return b"".join((VNET_CHECKED, macs, TYPE_IPV6, six.emit(), payload))
    ip = Ipv4Repr(source, destination, protocol, size, ttl, traffic_class)
    return b"".join((VNET_CHECKED, macs, TYPE_IPV4, ip.emit(), payload))


def tcp_frame(macs: bytes, line: TcpLine, connection: Connection, secrets: Secrets) -> bytes:
    """The peer's segment that ``line`` stands for, signed with one of ``secrets``."""
    options = b"".join(_live_option(option, line, connection) for option in line.options or ())
    options += bytes(-len(options) & 3)
    is_syn = line.flags & SYN != 0
    seq = line.seq or 0
    if not line.is_absolute:
        seq = connection.peer_to_live(seq, is_syn)
    ack = connection.to_live(line.ack, is_syn) if line.flags & ACK else line.ack
    header = _TCP.pack(
        connection.peer_port,
        connection.local_port,
        seq,
        ack,
        (20 + len(options)) << 10 | line.flags,
        line.window if line.window is not None else 0,
        0,
        line.urgent,
    )
    # The first byte of the stream is the one behind the SYN.
    offset = seq - connection.script_irs - (not is_syn) & 0xFFFFFFFF
    segment = header + options + payload_at(offset, line.length)
    segment = filled(segment, line.options or [], connection.peer, connection.local, secrets)
    return frame_of(macs, line.ip, connection.peer, connection.local, PROTOCOL_TCP, segment)


def _live_option(option: TcpOption, line: TcpLine, connection: Connection) -> bytes:
    if option.kind == OPTION_SACK:
        is_syn = line.flags & SYN != 0
        data = b"".join(
            _PAIR.pack(connection.to_live(left, is_syn), connection.to_live(right, is_syn))
            for left, right in option.blocks
        )
        return bytes((OPTION_SACK, 2 + len(data))) + data
    if option.kind == OPTION_TIMESTAMPS:
        echo = option.ts_ecr
        if line.flags & ACK and not option.is_ecr_absolute:
            echo = connection.live_timestamp(echo)
        return bytes((OPTION_TIMESTAMPS, 10)) + _PAIR.pack(option.ts_val or 0, echo)
    return wire_bytes(option)


def udp_frame(macs: bytes, line: UdpLine, connection: Connection) -> bytes:
    """The peer's datagram."""
    datagram = UdpRepr(connection.peer_port, connection.local_port, line.length).emit(
        connection.peer, connection.local, payload_at(0, line.length)
    )
    return frame_of(macs, line.ip, connection.peer, connection.local, PROTOCOL_UDP, datagram)


def icmp_frame(macs: bytes, line: IcmpLine, connection: Connection) -> bytes:
    """A message from a router or the peer; an error quotes what the stack is said to have sent.
    Raises KeyError with the name of a type or code that is not known."""
    is_ipv6 = len(connection.local) == 16
    types, codes = (ICMPV6_TYPES, ICMPV6_CODES) if is_ipv6 else (ICMP_TYPES, ICMP_CODES)
    code_name = line.code_name
    if is_ipv6 and code_name == "frag_needed":  # the same event there
        kind, code_name = ICMPV6_TYPES["packet_too_big"], ""
    else:
        kind = _number_in(line.type_name, "type_", types)
    code = _number_in(code_name, "code_", codes.get(kind, {})) if code_name else 0
    is_error = kind < FIRST_INFORMATIONAL if is_ipv6 else kind in ERRORS
    if is_error:
        rest, payload = line.mtu or 0, _quoted(line, connection)
    else:
        rest, payload = line.mtu or line.identifier << 16, payload_at(0, line.length)
    peer, local = connection.peer, connection.local
    if is_ipv6:
        message = Icmpv6Repr(kind, code, rest, payload).emit(peer, local)
        return frame_of(macs, line.ip, peer, local, PROTOCOL_ICMPV6, message)
    data = IcmpRepr(kind, code, rest, payload).emit()
    return frame_of(macs, line.ip, peer, local, PROTOCOL_ICMP, data)


def _number_in(name: str, prefix: str, names: dict[str, int]) -> int:
    """The number of a name, or of ``type_3``. Raises KeyError."""
    digits = name.removeprefix(prefix)
    if digits != name and digits.isdigit() and int(digits) < 256:
        return int(digits)
    return names[name]


def _quoted(line: IcmpLine, connection: Connection) -> bytes:
    """The first bytes of the packet that the error is about: header and eight bytes more for
    TCP's ports and sequence number."""
    if line.quoted == "udp":
        ports = connection.local_port << 16 | connection.peer_port
        start = _PAIR.pack(ports, (8 + line.length) << 16)
        protocol, length = PROTOCOL_UDP, 8 + line.length
    else:
        start = _TCP.pack(
            connection.local_port, connection.peer_port, connection.to_live(line.seq, False), 0,
            20 << 10 | ACK, 0, 0, 0,
        )  # fmt: skip
        protocol, length = PROTOCOL_TCP, 20 + line.length
    if len(connection.local) == 16:
        return Ipv6Repr(connection.local, connection.peer, protocol, length).emit() + start
    ip = Ipv4Repr(connection.local, connection.peer, protocol, length, 64, 0, 0, True)
    return ip.emit() + start


# ---------------------------------------------------------------- in words


def flags_text(flags: int) -> str:
    return "".join(letter for bit, letter in _FLAG_LETTERS if flags & bit) or "-"


def options_text(data: bytes) -> str:
    """Options as a script writes them; timestamps as on the wire."""
    words = []
    for kind, body in walk_options(data):
        if kind == OPTION_NOP:
            words.append("nop")
        elif kind == OPTION_END:
            words.append("eol")
        elif kind == 2 and len(body) == 2:
            words.append(f"mss {int.from_bytes(body, 'big')}")
        elif kind == 3 and len(body) == 1:
            words.append(f"wscale {body[0]}")
        elif kind == 4 and not body:
            words.append("sackOK")
        elif kind == OPTION_SACK and len(body) % 8 == 0:
            numbers = [int.from_bytes(body[i : i + 4], "big") for i in range(0, len(body), 4)]
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            words.append("sack " + " ".join(f"{left}:{right}" for left, right in pairs))
        elif kind == OPTION_TIMESTAMPS and len(body) == 8:
            value, echo = _PAIR.unpack(body)
            words.append(f"TS val {value} ecr {echo}")
        elif kind == 19 and len(body) == 16:
            words.append(f"md5 {body.hex()}")
        elif kind == 34:
            words.append(f"FO {body.hex()}".rstrip())
        else:
            words.append(f"kind {kind} {body.hex()}".rstrip())
    return ",".join(words)


def is_echo_reply(seen: Seen) -> bool:
    """Does it answer a ping?"""
    kinds = {PROTOCOL_ICMP: 0, PROTOCOL_ICMPV6: 129}
    return seen.transport[:1] == bytes([kinds[seen.protocol]]) if seen.protocol in kinds else False


def describe(seen: Seen, connection: Connection | None) -> str:
    """The packet as a script would write it, with the connection's relative numbers."""
    ecn = ("noecn", "ect1", "ect0", "ce")[seen.traffic_class & 3]
    mark = f"[{ecn}] " if seen.traffic_class & 3 else ""
    if seen.protocol in (PROTOCOL_ICMP, PROTOCOL_ICMPV6):
        types, codes = (ICMPV6_TYPES, ICMPV6_CODES) if seen.is_ipv6 else (ICMP_TYPES, ICMP_CODES)
        kind, code = seen.transport[0], seen.transport[1]
        names = {number: name for name, number in types.items()}
        code_names = {number: name for name, number in codes.get(kind, {}).items()}
        return f"> {mark}icmp {names.get(kind, str(kind))} {code_names.get(code, str(code))}"
    if seen.protocol == PROTOCOL_UDP:
        return f"> {mark}udp ({seen.length})"
    if seen.protocol != PROTOCOL_TCP:
        return f"> {mark}IP protocol {seen.protocol} ({len(seen.transport)})"
    seq, ack = seen.seq, seen.ack
    is_syn = seen.flags & SYN != 0
    if connection is not None:
        ack = connection.peer_to_script(ack, is_syn)
        if connection.is_iss_known:
            seq = connection.to_script(seq, is_syn)
        elif is_syn:
            seq = 0
    text = f"> {mark}{flags_text(seen.flags)} {seq}:{seq + seen.length}({seen.length})"
    if seen.flags & ACK:
        text += f" ack {ack}"
    text += f" win {seen.window}"
    if seen.urgent:
        text += f" urg {seen.urgent}"
    if seen.options:
        text += f" <{options_text(seen.options)}>"
    return text


def walk_options(data: bytes) -> list[tuple[int, bytes]]:
    """Every option with the padding; the walk ends where one has no room."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        kind = data[at]
        if kind in (OPTION_NOP, OPTION_END):
            found.append((kind, b""))
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            break
        found.append((kind, data[at + 2 : at + length]))
        at += length
    return found
