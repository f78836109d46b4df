"""What a link may know of the host and the machine it serves, given once when it is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from leulo.clock import Clock
from leulo.links.poller import Poller
from leulo.trace import Trace


class Published(Protocol):
    """A port of the host that leads to a port of the guest."""

    @property
    def host_address(self) -> bytes: ...

    @property
    def host_port(self) -> int: ...

    @property
    def guest_port(self) -> int: ...

    @property
    def protocol(self) -> str:
        """``tcp`` or ``udp``."""


@dataclass(frozen=True, slots=True)
class LinkContext:
    """Addresses are 4 bytes; ``guest_address`` is that of the first machine. ``random_bits(n)``
    gives an n-bit integer from the host's or the seed's randomness."""

    clock: Clock
    poller: Poller
    trace: Trace
    random_bits: Callable[[int], int]
    guest_address: bytes
    prefix_length: int
    gateway: bytes | None
    dns: bytes
    mtu: int = 1500
    publish: Sequence[Published] = ()
    host_loopback: bool = False
