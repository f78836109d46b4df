"""What one machine's network is: addresses, limits, and what may be left to the link."""

from __future__ import annotations

from dataclasses import dataclass, field

from leulo.tcp.config import Config


@dataclass(frozen=True)
class StackConfig:
    """One interface. ``checksum`` and ``tso_bytes`` are what may be left to the link."""

    name: str
    mac: bytes
    address: bytes
    prefix_length: int
    gateway: bytes | None = None
    mtu: int = 1500
    checksum: bool = False
    tso_bytes: int = 0
    accept_any: bool = False
    has_ipv6: bool = False
    address6: bytes | None = None  # beside the link-local one
    prefix_length6: int = 64
    gateway6: bytes | None = None
    is_dhcp: bool = False  # ``address`` is not used: a server gives one
    tcp: Config = field(default_factory=Config)
