"""TCP-MD5 signatures in scripts: ``md5 valid`` and ``md5 invalid``, and TCP_MD5SIG's structure.

The peer signs, and the stack's signatures are checked, with the keys that the script's own calls
have set, also those it has taken back since. The digest is worked out here once more, from the RFC,
and not by the engine. [RFC 2385 2.0]
"""

from __future__ import annotations

import hashlib
from ipaddress import ip_address
from struct import Struct as Layout
from typing import TYPE_CHECKING, Final

from leulo.pkt.address_arguments import address_of
from leulo.pkt.lexer import Refused, ScriptError
from leulo.pkt.syntax import Ellipsis_, Struct, TcpOption, Text
from leulo.tcp.addresses import MAPPED, shown
from leulo.tcp.errno import AF_INET, ENOENT
from leulo.tcp.sockopt.names import TCP_MD5SIG, TCP_MD5SIG_EXT

if TYPE_CHECKING:
    from leulo.pkt.calls import Calls, Descriptor

FLAG_PREFIX: Final = 1
VALID: Final = "md5 valid"
INVALID: Final = "md5 invalid"

_KEY: Final = Layout("<H2s4s120sBBHi80s")
_KEY_6: Final = Layout("<H2s4s16s104sBBHi80s")
_FIELDS: Final = {
    "tcpm_addr", "tcpm_flags", "tcpm_prefixlen", "tcpm_keylen", "tcpm_ifindex", "tcpm_key",
}  # fmt: skip
_HEADER_BYTES: Final = 20
_KIND: Final = 19  # of the option
_LEVEL: Final = 6  # of TCP's socket options
_MOST_KEY_BYTES: Final = 80


class Secrets:
    """The keys a script has set, by network."""

    def __init__(self, peer: bytes = b"", secret: bytes = b"") -> None:
        self._known: dict[tuple[bytes, int], bytes] = {}
        if secret:
            self.learn(peer, 8 * len(peer), secret)

    def learn(self, address: bytes, prefix: int, secret: bytes) -> None:
        """From now on it is this one."""
        self._known[address, prefix] = secret

    def find(self, peer: bytes) -> bytes:
        """The key of the longest prefix that ``peer`` is in, empty: there is none."""
        bits = len(peer) * 8
        for prefix in range(bits, -1, -1):
            for (address, length), secret in self._known.items():
                if (
                    length == prefix
                    and len(address) == len(peer)
                    and _starts(address, peer, length)
                ):
                    return secret
        return b""


def _starts(address: bytes, peer: bytes, bits: int) -> bool:
    return _bits(address)[:bits] == _bits(peer)[:bits]


def _bits(address: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in address)


def digest(source: bytes, destination: bytes, segment: bytes, secret: bytes) -> bytes:
    """Of a TCP segment between these addresses. [RFC 2385 2.0]"""
    size = len(segment)
    if len(source) == 4:
        pseudo = source + destination + bytes((0, 6)) + size.to_bytes(2, "big")
    else:
        pseudo = source + destination + size.to_bytes(4, "big") + bytes((0, 0, 0, 6))
    header = segment[:16] + b"\0\0" + segment[18:_HEADER_BYTES]
    payload = segment[(segment[12] >> 4) * 4 :]
    return hashlib.md5(pseudo + header + payload + secret, usedforsecurity=False).digest()


def is_asked(options: list[TcpOption]) -> bool:
    """Is there a signature to be worked out among ``options``?"""
    return any(option.name in (VALID, INVALID) for option in options)


def expected(
    option: TcpOption, source: bytes, destination: bytes, segment: bytes, secret: bytes
) -> bytes:
    """The sixteen bytes that ``option`` stands for in ``segment``."""
    right = digest(source, destination, segment, secret)
    return right if option.name == VALID else bytes(byte ^ 0xFF for byte in right)


def is_signed(segment: bytes, source: bytes, destination: bytes, secret: bytes) -> bool:
    """Has a segment of the stack's the right signature?"""
    options = segment[_HEADER_BYTES : (segment[12] >> 4) * 4]
    at = 0
    while at < len(options) and options[at] != _KIND:
        at += max(options[at + 1], 1) if options[at] > 1 else 1
    return options[at + 2 : at + 18] == digest(source, destination, segment, secret)


def filled(
    segment: bytes, options: list[TcpOption], source: bytes, destination: bytes, secrets: Secrets
) -> bytes:
    """A segment of the peer's with the signatures that its line's options ask for."""
    secret = secrets.find(source)
    at = _HEADER_BYTES
    for option in options:
        if option.name in (VALID, INVALID):
            body = expected(option, source, destination, segment, secret)
            segment = segment[: at + 2] + body + segment[at + 18 :]
        at += 1 if option.kind < 2 else 2 + _body_bytes(option)
    return segment


def _body_bytes(option: TcpOption) -> int:
    sizes = {5: 8 * len(option.blocks), 8: 8}
    return sizes.get(option.kind, len(option.data))


def require(options: list[TcpOption], peer: bytes, secrets: Secrets, line: int) -> None:
    """Raises ScriptError if a signature is asked for, and no key is known."""
    if is_asked(options) and not secrets.find(peer):
        raise ScriptError(line, f"no key has been set for {ip_address(peer)} (TCP_MD5SIG)")


def key_argument(
    calls: Calls, descriptor: Descriptor, structure: Struct, name: int, line: int
) -> bytes:
    """The bytes of ``{tcpm_addr=..., tcpm_keylen=..., tcpm_key="..."}``; the length is the key's
    and the address the peer's if they are left out."""
    unknown = set(structure.fields) - _FIELDS
    if unknown:
        raise Refused(line, f"the field {min(unknown)}")
    family = descriptor.socket.family
    default = (shown(calls.world.peer, family), 0)
    address, _ = address_of(calls, structure.fields.get("tcpm_addr", Ellipsis_()), default, line)
    if len(address) == 4 and family != AF_INET:
        address = MAPPED + address
    text = structure.fields.get("tcpm_key", Text(b""))
    if not isinstance(text, Text):
        raise ScriptError(line, 'expected a string as tcpm_key="..."')
    key = text.value
    length = calls.value(structure.fields.get("tcpm_keylen", len(key)), line)
    flags = calls.value(structure.fields.get("tcpm_flags", 0), line)
    prefix = calls.value(structure.fields.get("tcpm_prefixlen", 0), line)
    interface = calls.value(structure.fields.get("tcpm_ifindex", 0), line)
    rest = (flags & 0xFF, prefix & 0xFF, length & 0xFFFF, interface, key[:_MOST_KEY_BYTES])
    if len(address) == 4:
        value = _KEY.pack(2, b"", address, b"", *rest)
    else:
        value = _KEY_6.pack(10, b"", b"", address, b"", *rest)
    wire = address[12:] if address[:12] == MAPPED and len(address) == 16 else address
    if 0 < length <= len(key):
        is_network = name == TCP_MD5SIG_EXT and flags & FLAG_PREFIX
        calls.secrets.learn(wire, prefix if is_network else len(wire) * 8, key[:length])
    return value


def switch_key(calls: Calls, descriptor: Descriptor, is_on: bool) -> int:
    """What FreeBSD's TCP_MD5SIG does, an int: signatures for the peer with the secret of
    ``--tcp_md5_secret``, which its setkey has told the kernel, or none."""
    key = calls.world.setup.md5_secret if is_on else b""
    peer = calls.world.peer
    rest = (0, 0, len(key), 0, key[:_MOST_KEY_BYTES])
    if len(peer) == 4 and descriptor.socket.family == AF_INET:
        value = _KEY.pack(2, b"", peer, b"", *rest)
    else:
        value = _KEY_6.pack(10, b"", b"", (MAPPED + peer)[-16:], b"", *rest)
    result = descriptor.socket.setsockopt(_LEVEL, TCP_MD5SIG, value)
    return 0 if result == -ENOENT and not is_on else result
