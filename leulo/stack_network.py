"""A machine's addresses and the ways from them: what the engine and UDP ask of the stack.

The base of `leulo.stack.Stack`, which fills in IPv6 if there is any. Next hops are kept for a
while, so that the usual question is one look into a table. [RFC 1122 3.3.1]
"""

from __future__ import annotations

from dataclasses import replace
from struct import Struct
from typing import TYPE_CHECKING, Final

from leulo.net.arp import ArpCache
from leulo.net.ipv4 import Route
from leulo.net.wire.ipv4 import is_loopback, is_unicast
from leulo.stack_config import StackConfig
from leulo.stack_ipv6 import StackIpv6
from leulo.tcp.header import front
from leulo.tcp.path_mtu import LEAST_MTU

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine

_TYPE_IPV4: Final = b"\x08\x00"
_MAX_HOPS: Final = 1024
_STRANGERS: Final = 256  # remembered
_ADDRESSES: Final = Struct("10x6s20x4s4s")  # whose MAC; source, destination
_INSIDE_MTU: Final = 65_536  # of what goes round to the stack itself


class StackNetwork:
    """See `leulo.tcp.engine.Network` and `leulo.udp.table.Network` for the methods."""

    __slots__ = (
        "_drops", "_hops", "_strangers", "address", "arp", "config", "engine", "ipv6", "mac",
        "route",
    )  # fmt: skip

    engine: Engine  # the stack makes it

    def __init__(self, config: StackConfig) -> None:
        self.config: StackConfig = config
        self.mac: bytes = config.mac
        self.address: bytes = config.address
        self.route: Route = Route(config.address, config.prefix_length, config.gateway)
        self.arp: ArpCache = ArpCache(config.mac, config.address, config.accept_any)
        self.ipv6: StackIpv6 | None = None
        self._hops: dict[bytes, bytes] = {}  # next hops lately asked for
        self._strangers: dict[bytes, bytes] = {}  # who may be answered, see `_way_back`
        self._drops: dict[str, int] = {}  # frames and packets, by the reason

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

    def link_mtu(self, peer: bytes) -> int:
        """See `leulo.udp.table.Network`."""
        if self.is_local(peer):
            return _INSIDE_MTU
        return self.config.mtu if len(peer) == 4 else self.engine.mtu6

    def change_mtu(self, mtu: int) -> None:
        """The link is as wide as this from now on. What connections have agreed on, while it was
        narrower, stays. [RFC 1191 3]"""
        self.config = replace(self.config, mtu=mtu)
        if self.ipv6 is not None:
            self.ipv6.host.change_mtu(mtu)
        self.engine.change_mtu(mtu)

    def path_mtu(self, peer: bytes) -> int:
        """See `leulo.udp.table.Network`. What is known is TCP's, too."""
        link = self.link_mtu(peer)
        if self.is_local(peer):
            return link
        engine = self.engine
        if self.ipv6 is not None and len(peer) == 16:
            return self.ipv6.host.path_mtu(peer, engine.now_ns)
        return min(engine.path_mtus.get(peer, engine.now_ns) or link, link)

    def learn_path(self, peer: bytes, mtu: int) -> bool:
        """See `leulo.udp.table.Network`. It is believed for as long as one about a segment."""
        if not LEAST_MTU <= mtu < self.path_mtu(peer):
            return False
        engine = self.engine
        engine.path_mtus.learn(peer, mtu, engine.now_ns + engine.config.path_mtu_ns)
        return True

    def _way_back(self, frame: bytes, who: bytes, is_inside: bool) -> bytes:
        """What begins an answer to a stranger, ``who`` being both sides' MACs and addresses; empty
        if none may be given. One object serves all connections from there."""
        if not is_inside and not self._is_for_us(frame):
            return b""
        back = front(frame[16:22] + self.config.mac + _TYPE_IPV4, False, self.config.checksum)
        if not is_inside:
            if len(self._strangers) >= _STRANGERS:
                self._strangers.clear()
            self._strangers[who] = back
        return back

    def _is_for_us(self, frame: bytes) -> bool:
        """May a segment that opens or refuses something be answered? [RFC 1122 4.2.3.10]"""
        mac, source, destination = _ADDRESSES.unpack_from(frame)
        if mac != self.mac:
            self._drop("ethernet_destination")
            return False
        if destination != self.address and not (self.config.accept_any and is_unicast(destination)):
            self._drop("ipv4_destination")
            return False
        if source == self.address or not self.route.is_valid_source(source):
            self._drop("ipv4_source")
            return False
        return True

    def _drop(self, reason: str) -> None:
        self._drops[reason] = self._drops.get(reason, 0) + 1
