"""Initial sequence numbers that an outsider cannot guess. [RFC 6528 3]

ISN = M + F(addresses, ports, secret). M counts 64 ns ticks, so numbers of one four-tuple grow with
time and an old segment does not fit a new connection; F is a keyed hash, so numbers of different
four-tuples tell nothing about each other. The same hash gives each four-tuple its offset of the
timestamp clock [RFC 7323 5.4], which stays the same over reincarnations, and the ports of active
opens their place [RFC 6056 3.3.4].
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2s
from struct import Struct
from typing import Final

from leulo.tcp.seq import MASK

_TICK_SHIFT: Final = 6  # 64 ns: Linux's rate; a number space lasts 274 s
_SECRET_BITS: Final = 256
_HASH: Final = Struct("!Q")


class IsnGenerator:
    """A secret and the hashes made with it."""

    __slots__ = ("_keyed", "secret")

    def __init__(self, random_bits: Callable[[int], int]) -> None:
        self.secret: bytes = random_bits(_SECRET_BITS).to_bytes(_SECRET_BITS // 8, "big")
        self._keyed = blake2s(key=self.secret, digest_size=8)

    def use(self, secret: bytes) -> None:
        """Go on with a saved secret."""
        self.secret = secret
        self._keyed = blake2s(key=secret, digest_size=8)

    def digest(self, text: bytes) -> int:
        """64 bits that depend on ``text`` and the secret."""
        keyed = self._keyed.copy()
        keyed.update(text)
        return _HASH.unpack(keyed.digest())[0]  # type: ignore[no-any-return]

    def make(self, key: bytes, now_ns: int) -> tuple[int, int]:
        """The initial sequence number and the timestamp offset for a connection's key."""
        keyed = self._keyed.copy()
        keyed.update(key)
        hashed: int = _HASH.unpack(keyed.digest())[0]
        return (hashed + (now_ns >> _TICK_SHIFT)) & MASK, hashed >> 32
