"""What a wire may do to a single frame: turn a bit over, or mark it as having met congestion."""

from __future__ import annotations

from typing import Final

from leulo.links.base import VNET_HDR_BYTES
from leulo.links.offload import complete
from leulo.links.sim.chance import Chance
from leulo.net.wire import vnet
from leulo.net.wire.checksum import update
from leulo.net.wire.ethernet import HEADER_BYTES as ETHERNET_BYTES

_IP: Final = VNET_HDR_BYTES + ETHERNET_BYTES
_IPV4: Final = b"\x08\x00"
_IPV6: Final = b"\x86\xdd"
_CE: Final = 3  # the two bits of ECN [RFC 3168 5]


def turn_bit(frame: bytes, chance: Chance) -> bytes | None:
    """The frame with one bit of its IP packet turned over, and with checksums in it that show
    it; None if it is no IP packet.

    Only what IP and its transports protect is damaged: Ethernet has a check sequence of its own,
    which a frame on this wire does not carry, and ARP has none.
    """
    if frame[_IP - 2 : _IP] not in (_IPV4, _IPV6) or len(frame) <= _IP:
        return None
    whole = b"".join(complete((frame,)))
    bit = chance.below((len(whole) - _IP) * 8)
    place = _IP + (bit >> 3)
    # The header that says "verified" or "to be filled" would hide the damage.
    return b"".join(
        (
            vnet.PLAIN,
            whole[VNET_HDR_BYTES:place],
            bytes((whole[place] ^ 1 << (bit & 7),)),
            whole[place + 1 :],
        )
    )


def mark_congestion(frame: bytes) -> bytes | None:
    """The frame with CE set, if its sender allows it (ECT) and it is not set yet."""
    kind = frame[_IP - 2 : _IP]
    if kind == _IPV4 and len(frame) >= _IP + 20:
        if frame[_IP + 1] & _CE not in (1, 2):
            return None
        old = frame[_IP : _IP + 2]
        new = bytes((old[0], old[1] | _CE))
        checksum = update(int.from_bytes(frame[_IP + 10 : _IP + 12], "big"), old, new)
        return b"".join(
            (frame[:_IP], new, frame[_IP + 2 : _IP + 10], checksum.to_bytes(2, "big"),
             frame[_IP + 12 :])
        )  # fmt: skip
    if kind == _IPV6 and len(frame) >= _IP + 40:
        if frame[_IP + 1] >> 4 & _CE not in (1, 2):
            return None
        marked = bytes((frame[_IP + 1] | _CE << 4,))
        return b"".join((frame[: _IP + 1], marked, frame[_IP + 2 :]))
    return None
