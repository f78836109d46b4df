"""A machine's addresses and the ways from them: what the engine and UDP ask of the stack.

The base of `leulo.stack.Stack`, which fills in IPv6 if there is any. Next hops are kept for a
while, so that the usual question is one look into a table. [RFC 1122 3.3.1]
"""

from __future__ import annotations

from typing import Final

from leulo.net.arp import ArpCache
from leulo.net.ipv4 import Route
from leulo.net.wire.ipv4 import is_loopback, is_unicast
from leulo.stack_config import StackConfig
from leulo.stack_ipv6 import StackIpv6

_TYPE_IPV4: Final = b"\x08\x00"
_MAX_HOPS: Final = 1024


class StackNetwork:
    """See `leulo.tcp.engine.Network` and `leulo.udp.table.Network` for the methods."""

    __slots__ = ("_hops", "address", "arp", "config", "ipv6", "mac", "route")

    def __init__(self, config: StackConfig) -> None:
        self.config: StackConfig = config
        self.mac: bytes = config.mac
        self.address: bytes = config.address
        self.route: Route = Route(config.address, config.prefix_length, config.gateway)
        self.arp: ArpCache = ArpCache(config.mac, config.address, config.accept_any)
        self.ipv6: StackIpv6 | None = None
        self._hops: dict[bytes, bytes] = {}  # next hops lately asked for

    def link_header(self, peer: bytes, now_ns: int) -> bytes | None:
        """See `leulo.tcp.engine.Network`."""
        if len(peer) == 16:
            return b"" if self.ipv6 is None else self.ipv6.link_header(peer, now_ns)
        hop = self._hops.get(peer)
        if hop is None:
            if self.is_local(peer):
                return self.mac + self.mac + _TYPE_IPV4
            hop = self.route.next_hop(peer)
            if hop is None:
                return b""
            if len(self._hops) >= _MAX_HOPS:
                self._hops = {}
            self._hops[peer] = hop
        mac = self.arp.lookup(hop, now_ns)
        if mac is not None:
            return mac + self.mac + _TYPE_IPV4
        return None if self.arp.resolve(hop, now_ns) else b""

    def is_local(self, address: bytes) -> bool:
        """See `leulo.tcp.engine.Network`."""
        if len(address) == 16:
            return self.ipv6 is not None and self.ipv6.host.is_local(address)
        return address == self.address or is_loopback(address)

    def source_for(self, peer: bytes) -> bytes | None:
        """See `leulo.tcp.engine.Network`."""
        if len(peer) == 16:
            return None if self.ipv6 is None else self.ipv6.host.source_for(peer)
        if peer in self._hops:
            return self.address
        if is_loopback(peer):
            return peer
        if peer == self.address or not any(peer) or self.route.next_hop(peer) is not None:
            return self.address
        return None

    def may_bind(self, address: bytes) -> bool:
        """See `leulo.tcp.engine.Network`."""
        if len(address) == 16:
            return self.ipv6 is not None and self.ipv6.may_bind(address)
        return self.is_local(address) or (self.config.accept_any and is_unicast(address))

    def is_broadcast(self, address: bytes) -> bool:
        """See `leulo.udp.table.Network`."""
        return self.route.is_broadcast(address)
