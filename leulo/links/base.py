"""What a link is: the way of frames between a host's switch and some network.

A received frame is ``bytes``: a 10-byte virtio_net_hdr, then Ethernet. A frame to be sent is a
tuple of buffers, ready for ``writev``: the first is virtio_net_hdr plus all headers, the others
are views of payload that must be neither changed nor kept past the call. A frame may be a
super-segment (``gso_type`` and ``gso_size`` set) and may want its checksum filled
(``VIRTIO_NET_HDR_F_NEEDS_CSUM``) only if the link's `Offload` says so.
[virtio 1.2 5.1.6]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Buffer = bytes | memoryview
TxFrame = tuple[Buffer, ...]
VNET_HDR_BYTES = 10


@dataclass(frozen=True, slots=True)
class Offload:
    """What the sender may leave to the link."""

    checksum: bool
    tso_bytes: int  # largest IP packet of a super-segment, 0: none


class Link(Protocol):
    """One link. ``attach`` is called once, before anything else."""

    name: str
    mtu: int
    offload: Offload

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        """Give received frames, in batches, to ``deliver``."""

    def transmit(self, frames: Sequence[TxFrame], now_ns: int) -> None:
        """Send, or drop and count what cannot be sent now."""

    def next_deadline(self) -> int | None:
        """When `advance` is next needed, in the host's nanoseconds."""

    def advance(self, now_ns: int) -> None:
        """Do what is due (a simulated wire delivers here)."""

    def counters(self) -> dict[str, int]:
        """Frames and bytes each way, drops by reason."""

    def close(self) -> None:
        """Give everything back to the host."""
