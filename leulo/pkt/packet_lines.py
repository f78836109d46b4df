"""Packet lines: ``> P. 1:1001(1000) ack 1 win 257 <nop,nop,TS val 100 ecr 200>`` and kin."""

from __future__ import annotations

import re
from typing import Final

from leulo.net.wire.tcp import (
    ACK,
    AE,
    CWR,
    ECE,
    FIN,
    MAX_OPTION_BYTES,
    PSH,
    RST,
    SYN,
    URG,
)  # fmt: skip
from leulo.pkt.lexer import Refused, Scanner, ScriptError
from leulo.pkt.option_lists import parse_options, wire_bytes
from leulo.pkt.syntax import Direction, IcmpLine, IpInfo, TcpLine, UdpLine

_FLAG_BITS: Final = {
    "F": FIN, "S": SYN, "R": RST, "P": PSH, ".": ACK, "U": URG, "E": ECE, "W": CWR, "C": CWR,
    "A": AE, "N": AE,
}  # fmt: skip
_ECN: Final = {"noecn": 0, "nonecn": 0, "notect": 0, "ect1": 1, "ect0": 2, "ce": 3}

_INFO = re.compile(r"([\[(])\s*((?:ect01|ect0|ect1|ce|noecn|tos|class|dscp|ecn|ttl|hlim|flowlabel)"
                   r"\b[^\])]*)[\])]", re.IGNORECASE)  # fmt: skip
_INFO_PART = re.compile(r"(\w+)(?:\s+(\w+))?$")
_PORTS = re.compile(r"(\d+)\s*>\s*(\d+)(?=\s)")
_ADDRESSES = re.compile(r"(ipv4|ipv6)\b[^\n]*?:(?=\s)|(gre|GREv0|mpls)\b[^\n]*?:(?=\s)|"
                        r"(addr\[\w+\])\s*>\s*addr\[\w+\]")  # fmt: skip
_ENCAPSULATED = re.compile(r"(PSP|ENCAP|encap)\b")
_OTHER = re.compile(r"(sctp|udplite)\b")
_UDP = re.compile(r"udp\b\s*(?:(\d+)\s*>\s*(\d+)\s*)?\(\s*(\d+)\s*\)")
_ICMP = re.compile(
    r"(?P<quote0>\[[^\]]*\])?\s*icmp\s+(?P<type>\w+)(?:\s+(?!mtu\b|id\b)(?P<code>[A-Za-z_]\w*))?\s*"
    r"(?P<quote1>\[[^\]]*\])?\s*(?:mtu\s+(?P<mtu>\d+))?\s*(?:id\s+(?P<id>\d+))?\s*"
    r"(?P<quote2>\[[^\]]*\])?"
)
_QUOTE_OTHER = re.compile(r"\[\s*(udp|raw)\s*\(\s*(\d+)\s*\)\s*\]")
_QUOTE_REFUSED = re.compile(r"\[\s*(udplite|sctp)\b|\[[^\]]*/\s*(udp)\b")
_QUOTE_TCP = re.compile(r"\[\s*(\d+)(?:\s*:\s*(\d+)\s*\(\s*(\d+)\s*\))?\s*\]")
_FLAGS = re.compile(r"-(?=\s)|[A-Z]*\.?[0-9]?(?:[A-Z]*)\.?(?=\s)")
_SEQ = re.compile(r"(?:(?P<any>\.\.\.)|(?P<seq>\d+)\s*:\s*(?P<end>\d+))"
                  r"\s*\(\s*(?P<len>\d+)\s*\)\s*(?P<abs>!)?")  # fmt: skip
_ACK = re.compile(r"ack\s+(\d+)")
_WINDOW = re.compile(r"win\s+(\d+)")
_URGENT = re.compile(r"urg\s+(\d+)")
_OPTIONS = re.compile(r"<([^>]*)>")
_UDP_ENCAPSULATED = re.compile(r"/\s*udp\s*\([^)]*\)")
_SOCKET = re.compile(r"sock\(\d+\)")
_FUZZ = re.compile(r"\{[^}]*\}")
_MASK: Final = 0xFFFFFFFF


def parse_packet(scanner: Scanner) -> TcpLine | UdpLine | IcmpLine:
    """The packet whose ``<`` or ``>`` is here. Raises ScriptError, or Refused for SCTP and
    tunnels."""
    begin = scanner.at
    line = scanner.line
    direction = Direction.IN if scanner.has("<") else Direction.OUT
    if direction is Direction.OUT:
        scanner.has(">")
    if scanner.take(_ENCAPSULATED):
        raise Refused(line, "packets in PSP")
    if scanner.take(_ADDRESSES):
        raise Refused(line, "packets in other packets (encapsulation)")
    info = _info(scanner)
    match = scanner.take(_OTHER)
    if match is not None:
        raise Refused(line, f"the protocol {match[1]}")
    match = scanner.take(_UDP)
    if match is not None:
        ports = (_port(scanner, match[1]), _port(scanner, match[2])) if match[1] else None
        length = _bounded(scanner, match[3], 65_507, "the length")
        return UdpLine(direction, info, ports, _text(scanner, begin), length)
    match = scanner.take(_ICMP)
    if match is not None:
        return _icmp(scanner, begin, line, direction, info, match)
    return _tcp(scanner, begin, line, direction, info)


def _tcp(scanner: Scanner, begin: int, line: int, direction: Direction, info: IpInfo) -> TcpLine:
    ports = None
    match = scanner.take(_PORTS)
    if match is not None:
        ports = _port(scanner, match[1]), _port(scanner, match[2])
    flags = _flags(scanner, line)
    match = scanner.take(_SEQ)
    if match is None:
        raise scanner.error("expected a sequence number (first:last(length))")
    length = _bounded(scanner, match["len"], 0xFFFF, "the length")
    seq: int | None = None
    if match["any"]:
        if direction is Direction.IN:
            raise ScriptError(line, "a packet of the peer needs its sequence number")
    else:
        seq = _bounded(scanner, match["seq"], _MASK, "the sequence number")
        if int(match["end"]) != seq + length:
            raise ScriptError(line, "the sequence numbers and the length do not fit")
    is_absolute = match["abs"] is not None
    match = scanner.take(_ACK)
    ack = _bounded(scanner, match[1], _MASK, "the acknowledgement") if match else 0
    match = scanner.take(_WINDOW)
    window = _bounded(scanner, match[1], 0xFFFF, "the window") if match else None
    match = scanner.take(_URGENT)
    urgent = _bounded(scanner, match[1], 0xFFFF, "the urgent pointer") if match else 0
    match = scanner.take(_OPTIONS)
    options = parse_options(match[1], line) if match else []
    if options is None and direction is Direction.IN:
        raise ScriptError(line, "<...> is for packets of the stack only")
    if options and sum(len(wire_bytes(option)) for option in options) > MAX_OPTION_BYTES:
        raise ScriptError(line, "the options are longer than 40 bytes")
    text = _text(scanner, begin)
    if scanner.take(_UDP_ENCAPSULATED):
        raise Refused(line, "TCP in UDP")
    if scanner.take(_FUZZ):
        raise Refused(line, "packets that are mutated ({...} behind the line)")
    scanner.take(_SOCKET)
    return TcpLine(
        direction, info, ports, text, flags, seq, length, ack, window, urgent, options, is_absolute
    )


def _flags(scanner: Scanner, line: int) -> int:
    """The flags, with a digit for the three bits of the ACE field. [RFC 9768 3.2.2]"""
    match = scanner.take(_FLAGS)
    if match is None or not match[0]:
        raise scanner.error("expected TCP flags")
    flags = 0
    for letter in match[0]:
        if letter == "-":
            continue
        if letter.isdigit():
            value = int(letter)
            if value > 7:
                raise ScriptError(line, f"the ACE field has no value {value}")
            flags |= AE * (value >> 2) | CWR * (value >> 1 & 1) | ECE * (value & 1)
        elif letter in _FLAG_BITS:
            flags |= _FLAG_BITS[letter]
        else:
            raise ScriptError(line, f"there is no TCP flag {letter}")
    return flags


def _info(scanner: Scanner) -> IpInfo:
    info = IpInfo()
    match = scanner.take(_INFO)
    if match is None:
        return info
    for part in match[2].split(","):
        pair = _INFO_PART.match(part.strip())
        if pair is None:
            raise scanner.error(f"cannot read the annotation {part.strip()!r}")
        name, value = pair[1].lower(), pair[2]
        if name == "ecn" and value is not None:
            name, value = value.lower(), None
        if name == "ect01":
            info.is_ect01 = True
        elif name in _ECN:
            info.ecn = _ECN[name]
        elif value is None or not re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|\d{1,8}", value):
            raise scanner.error(f"cannot read the annotation {part.strip()!r}")
        elif name in ("tos", "class"):
            number = int(value, 0) & 0xFF
            info.ecn, info.dscp = number & 3, number >> 2
        elif name == "dscp":
            info.dscp = int(value, 0) & 0x3F
        elif name in ("ttl", "hlim"):
            info.ttl = int(value, 0) & 0xFF
        elif name == "flowlabel":
            info.flow_label = int(value, 0) & 0xFFFFF
        else:
            raise scanner.error(f"cannot read the annotation {part.strip()!r}")
    return info


def _icmp(
    scanner: Scanner, begin: int, line: int, direction: Direction, info: IpInfo,
    match: re.Match[str],
) -> IcmpLine:  # fmt: skip
    quote = match["quote0"] or match["quote1"] or match["quote2"]
    quoted, seq, length = "tcp", 0, 0
    if quote:
        other = _QUOTE_OTHER.fullmatch(quote)
        tcp = _QUOTE_TCP.fullmatch(quote)
        if other is not None:
            quoted, length = other[1], _bounded(scanner, other[2], 0xFFFF, "the length")
        elif tcp is not None:
            seq = _bounded(scanner, tcp[1], _MASK, "the sequence number")
            length = _bounded(scanner, tcp[3] or "0", 0xFFFF, "the length")
        elif refused := _QUOTE_REFUSED.match(quote):
            raise Refused(line, f"the protocol {refused[1]}" if refused[1] else "TCP in UDP")
        else:
            raise ScriptError(line, f"cannot read what the ICMP message quotes: {quote}")
    mtu = _bounded(scanner, match["mtu"], 0xFFFFFFFF, "the MTU") if match["mtu"] else None
    identifier = _bounded(scanner, match["id"] or "0", 0xFFFF, "the identifier")
    if scanner.take(_UDP_ENCAPSULATED):
        raise Refused(line, "TCP in UDP")
    return IcmpLine(
        direction, info, None, _text(scanner, begin), match["type"], match["code"] or "", mtu,
        identifier, quoted, seq, length,
    )  # fmt: skip


def _text(scanner: Scanner, begin: int) -> str:
    return " ".join(scanner.text[begin : scanner.at].split())


def _port(scanner: Scanner, text: str) -> int:
    return _bounded(scanner, text, 0xFFFF, "the port")


def _bounded(scanner: Scanner, text: str, most: int, what: str) -> int:
    if len(text) > 12 or int(text) > most:
        raise scanner.error(f"{what} is larger than {most}")
    return int(text)
