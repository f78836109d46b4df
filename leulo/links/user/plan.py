"""Which address of the guest's world is what: the gateway, the name server, the world outside.

Pure arithmetic over addresses; nothing here opens anything. Addresses are 4 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from leulo.net.ipv4 import Route
from leulo.net.wire.ipv4 import is_loopback, is_unicast

DNS_PORT: Final = 53
_HOST_LOOPBACK: Final = bytes((127, 0, 0, 1))


@dataclass(frozen=True)
class AddressPlan:
    """``dns`` is answered by the gateway if it lies in the guest's network; elsewhere it is a
    host like any other."""

    guest: bytes  # of the first machine, to which published ports lead
    gateway: bytes
    prefix_length: int
    dns: bytes
    reaches_host_loopback: bool

    @property
    def route(self) -> Route:
        return Route(self.gateway, self.prefix_length)

    def is_name_server(self, address: bytes) -> bool:
        return address == self.dns and self._is_inside(address)

    def is_own(self, address: bytes) -> bool:
        """Does the gateway itself answer for it?"""
        return address == self.gateway or self.is_name_server(address)

    def host_address(self, address: bytes) -> bytes | None:
        """Where an address of the guest's world lies in the host's; None: nowhere."""
        if address == self.gateway:
            return _HOST_LOOPBACK if self.reaches_host_loopback else None
        if self._is_inside(address):
            return None  # whoever lives in the guest's network is not behind the gateway
        if is_loopback(address) or not is_unicast(address):
            return None
        return address

    def _is_inside(self, address: bytes) -> bool:
        shift = 32 - self.prefix_length
        return int.from_bytes(address, "big") >> shift == (
            int.from_bytes(self.gateway, "big") >> shift
        )
