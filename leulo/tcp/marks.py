"""What a user's IP_TTL, IP_TOS and their like for IPv6 change in frames that are made already.

Few sockets ask for it, so headers are built without, and only an engine that has such sockets
looks again. The two bits of ECN stay what the connection has made them. [Linux ip(7)]
[Linux ipv6(7)] [RFC 3168 5]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.net.wire.checksum import sum_words
from leulo.tcp.header import IP_AT, TCP_AT, Buffer, Frame

if TYPE_CHECKING:
    from leulo.tcp.settings import Settings

_ECN: Final = 3
_CHECKSUM_AT: Final = IP_AT + 10


def marked(head: Buffer, settings: Settings) -> bytes:
    """The headers of a segment with what ``settings`` ask for."""
    out = bytearray(head)
    if out[IP_AT] >> 4 == 4:
        out[IP_AT + 1] = (settings.tos & ~_ECN) | (out[IP_AT + 1] & _ECN)
        out[IP_AT + 8] = settings.ttl or out[IP_AT + 8]
        out[_CHECKSUM_AT : _CHECKSUM_AT + 2] = b"\0\0"
        checksum = 0xFFFF - sum_words(bytes(out[IP_AT:TCP_AT]))
        out[_CHECKSUM_AT : _CHECKSUM_AT + 2] = checksum.to_bytes(2, "big")
    else:
        ecn = out[IP_AT + 1] >> 4 & _ECN
        traffic_class = (settings.tos & ~_ECN) | ecn
        out[IP_AT] = 0x60 | traffic_class >> 4
        out[IP_AT + 1] = (traffic_class & 15) << 4 | (out[IP_AT + 1] & 15)
        out[IP_AT + 7] = settings.ttl or out[IP_AT + 7]
    return bytes(out)


def mark_from(out: list[Frame], first: int, settings: Settings) -> None:
    """The same for every frame from place ``first`` on."""
    for at in range(first, len(out)):
        head, *payload = out[at]
        out[at] = (marked(head, settings), *payload)
