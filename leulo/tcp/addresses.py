"""Addresses as sockets see them, and as the tables have them.

Inside, an IPv4 address has 4 bytes and an IPv6 address 16, whatever socket uses it; a socket of
AF_INET6 shows and takes IPv4 mapped, ::ffff:a.b.c.d. [RFC 3493 3.7] [RFC 4291 2.5.5.2] Bound to
"every address" a socket has `ANY_4`, `ANY_6` (IPv6 only) or `ANY`, which is both families.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from leulo.tcp.errno import AF_INET

ANY: Final = b""
ANY_4: Final = bytes(4)
ANY_6: Final = bytes(16)
NO_ADDRESSES: Final = frozenset((ANY, ANY_4, ANY_6))  # that no host has
MAPPED: Final = bytes(10) + b"\xff\xff"
_KEY_6_BYTES: Final = 36
# two addresses, two ports
_KEY: Final = Struct("4s4s2s2s")
_KEY_6: Final = Struct("16s16s2s2s")
_ADDRESSES: Final = Struct("!Q4x")


def inside(address: bytes, family: int, is_v6only: bool) -> bytes | None:
    """What a user calls ``address``, as the tables have it; None if a socket of this family
    does not speak it. The wildcard stays 4 or 16 bytes."""
    if family == AF_INET:
        return address if len(address) == 4 else None
    if len(address) != 16:
        return None
    if address[:12] == MAPPED:
        return None if is_v6only else address[12:]
    return address


def shown(address: bytes, family: int) -> bytes:
    """An address of the tables as a user of a socket of this family sees it."""
    if family == AF_INET:
        return address or ANY_4
    if len(address) == 16:
        return address
    return MAPPED + address if any(address) else ANY_6


def overlap(a: bytes, b: bytes) -> bool:
    """Is there an address that both stand for?"""
    if a == b or not a or not b:
        return True
    return len(a) == len(b) and (not any(a) or not any(b))


def turned(key: bytes) -> bytes:
    """Addresses and ports as our own segments have them, ours first, from a connection's key,
    which has the peer's first, as received segments do."""
    form = _KEY if len(key) < _KEY_6_BYTES else _KEY_6
    peer, local, peer_port, port = form.unpack_from(key)
    return form.pack(local, peer, port, peer_port)


def words_of(ends: bytes) -> int:
    """Both addresses as one number, which is as good as the sum of their words modulo 0xFFFF."""
    if len(ends) < _KEY_6_BYTES:
        return _ADDRESSES.unpack_from(ends)[0]  # type: ignore[no-any-return]
    return int.from_bytes(ends[:-4], "big")


def ends_of(key: bytes) -> tuple[bytes, int, bytes, int]:
    """Our address and port, then the peer's, from a connection's key."""
    if len(key) < _KEY_6_BYTES:
        return key[4:8], key[10] << 8 | key[11], key[:4], key[8] << 8 | key[9]
    return key[16:32], key[34] << 8 | key[35], key[:16], key[32] << 8 | key[33]
