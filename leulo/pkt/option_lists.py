"""Lists of TCP options in packet lines, and their bytes. [RFC 9293 3.1] [RFC 9768 3.2.3]"""

from __future__ import annotations

import re
from struct import Struct
from typing import Final

from leulo.net.wire.tcp import (
    OPTION_END,
    OPTION_FAST_OPEN,
    OPTION_MSS,
    OPTION_NOP,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
)
from leulo.pkt.lexer import Refused, ScriptError
from leulo.pkt.syntax import TcpOption

OPTION_MD5: Final = 19  # [RFC 2385 3.0]
OPTION_ACCECN0: Final = 172
OPTION_ACCECN1: Final = 174
OPTION_EXPERIMENT: Final = 254  # [RFC 6994 3]
_EXID_FAST_OPEN: Final = b"\xf9\x89"
_EXID_TARR: Final = b"\x00\xac"
_EXID_ACCECN: Final = (b"\xac\xc0", b"\xac\xc1")

_PAIR: Final = Struct("!II")
_TS = re.compile(r"(?:TS|timestamp)\s+val\s+(\d+|\.\.\.)\s+ecr\s+(\d+)\s*(!)?$", re.IGNORECASE)
_BLOCK = re.compile(r"(\d+)\s*:\s*(\d+)")
_SACK = re.compile(r"sack((?:\s+\d+\s*:\s*\d+)+)\s*$")
_VALUE = re.compile(r"(mss|wscale|wsopt)\s+(\d+)$")
_HEX = re.compile(r"(md5|FO|FOEXP|exp-FO)(?:\s+(?:cookie\s*=?\s*)?(?:0x)?([0-9a-fA-F]+))?$")
_ACCECN = re.compile(r"(exp-)?(?:AccECN|ECN)([01])?((?:\s+e?e?[01c]e?b\s+\d+){0,3})$")
_COUNTER = re.compile(r"(\w+)\s+(\d+)")
_TARR = re.compile(r"exp-tarr(?:\s+(\d+))?$", re.IGNORECASE)
_SIGNED = re.compile(r"md5\s+(?:in)?valid$")
_SYMBOL = re.compile(r"(?:md5|FO|FOEXP|exp-FO)\s+([A-Za-z_]\w*)$")
_MPTCP = re.compile(r"(mp_|dss|add_addr|remove_addr|mptcp|mpcapable|mpc)", re.IGNORECASE)
_PLAIN: Final = {
    "nop": OPTION_NOP,
    "eol": OPTION_END,
    "sackOK": OPTION_SACK_PERMITTED,
}


def parse_options(text: str, line: int) -> list[TcpOption] | None:
    """The options between ``<`` and ``>``; None for ``...``. Raises ScriptError, Refused."""
    text = text.strip()
    if text == "...":
        return None
    if not text:
        return []
    return [_option(" ".join(part.split()), line) for part in text.split(",")]


def _option(text: str, line: int) -> TcpOption:
    plain = _PLAIN.get(text)
    if plain is not None:
        return TcpOption(plain, name=text)
    match = _VALUE.match(text)
    if match is not None:
        value = int(match[2][:12])
        if match[1] == "mss":
            if value > 0xFFFF:
                raise ScriptError(line, "the MSS is larger than 65535")
            return TcpOption(OPTION_MSS, value.to_bytes(2, "big"), "mss")
        if value > 0xFF:
            raise ScriptError(line, "the window scale is larger than 255")
        return TcpOption(OPTION_WINDOW_SCALE, bytes((value,)), "wscale")
    match = _TS.match(text)
    if match is not None:
        value_or_any = None if match[1] == "..." else _word(match[1], line)
        return TcpOption(
            OPTION_TIMESTAMPS, name="TS", ts_val=value_or_any, ts_ecr=_word(match[2], line),
            is_ecr_absolute=match[3] is not None,
        )  # fmt: skip
    match = _SACK.match(text)
    if match is not None:
        blocks = [(_word(a, line), _word(b, line)) for a, b in _BLOCK.findall(match[1])]
        return TcpOption(OPTION_SACK, name="sack", blocks=blocks)
    match = _HEX.match(text)
    if match is not None:
        return _with_hex(match[1], match[2] or "", line)
    match = _ACCECN.match(text)
    if match is not None:
        return _accurate_ecn(match, line)
    match = _TARR.match(text)
    if match is not None:
        rate = int(match[1][:6]) if match[1] else None
        data = b"" if rate is None else (rate << 5 & 0xFFFF).to_bytes(2, "big")
        return TcpOption(OPTION_EXPERIMENT, _EXID_TARR + data, "exp-tarr")
    if _SIGNED.match(text):
        return TcpOption(OPTION_MD5, bytes(16), text)  # see `leulo.pkt.signatures`
    match = _SYMBOL.match(text)
    if match is not None:
        raise Refused(line, f"the symbol {match[1]} (give it with -D {match[1]}=...)")
    if _MPTCP.match(text):
        raise Refused(line, f"MPTCP (option {text.split()[0]})")
    raise ScriptError(line, f"cannot read the TCP option {text!r}")


def _with_hex(name: str, digits: str, line: int) -> TcpOption:
    if len(digits) & 1 or len(digits) > 76:
        raise ScriptError(line, f"the value of {name} is not a row of whole bytes")
    data = bytes.fromhex(digits)
    if name == "md5":
        return TcpOption(OPTION_MD5, data.rjust(16, b"\0")[:16] if data else bytes(16), "md5")
    if name == "FO":
        return TcpOption(OPTION_FAST_OPEN, data, "FO")
    return TcpOption(OPTION_EXPERIMENT, _EXID_FAST_OPEN + data, "FOEXP")


def _accurate_ecn(match: re.Match[str], line: int) -> TcpOption:
    """Three-byte counters in the order given; the first says which of the two orders it is."""
    counters = _COUNTER.findall(match[3])
    order = match[2]
    if order is None:
        order = "1" if counters and "1" in counters[0][0] else "0"
    data = b""
    for name, value in counters:
        if len(value) > 8 or int(value) > 0xFFFFFF:
            raise ScriptError(line, f"the counter {name} is larger than 24 bits")
        data += int(value).to_bytes(3, "big")
    if match[1]:
        return TcpOption(OPTION_EXPERIMENT, _EXID_ACCECN[int(order)] + data, "exp-AccECN" + order)
    return TcpOption(OPTION_ACCECN1 if order == "1" else OPTION_ACCECN0, data, "AccECN" + order)


def _word(text: str, line: int) -> int:
    if len(text) > 10 or int(text) > 0xFFFFFFFF:
        raise ScriptError(line, f"{text} is larger than 32 bits")
    return int(text)


def wire_bytes(option: TcpOption) -> bytes:
    """The option as on the wire, with the numbers as they stand in the script."""
    if option.kind in (OPTION_NOP, OPTION_END):
        return bytes((option.kind,))
    if option.kind == OPTION_TIMESTAMPS:
        data = _PAIR.pack(option.ts_val or 0, option.ts_ecr)
    elif option.kind == OPTION_SACK:
        data = b"".join(_PAIR.pack(left, right) for left, right in option.blocks)
    else:
        data = option.data
    return bytes((option.kind, len(data) + 2)) + data
