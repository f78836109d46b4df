"""The IPv6 addresses of one interface, its routers and prefixes: how a host configures itself.

An address is tentative until nobody has objected for a second [RFC 4862 5.4]; one is made for each
prefix that a router advertises for it [RFC 4862 5.5]. Which routers and prefixes there are, and
for how long, comes from advertisements too [RFC 4861 6.3.4]. All lists are bounded.
"""

from __future__ import annotations

from typing import Final

from leulo.net.wire.ipv6 import (
    has_prefix,
    interface_identifier,
    is_link_local,
    is_multicast,
    link_local,
)
from leulo.net.wire.ndp import INFINITE_S, PrefixRepr, RouterRepr
from leulo.state import State, load_fields, save_fields
from leulo.units import NS_PER_S

TENTATIVE: Final = 0
PREFERRED: Final = 1
DEPRECATED: Final = 2
DUPLICATE: Final = 3  # somebody else has it: never used

MAX_ADDRESSES: Final = 16
MAX_ROUTERS: Final = 8
MAX_PREFIXES: Final = 16
DETECTION_NS: Final = NS_PER_S  # one probe, RetransTimer [RFC 4862 5.1]
_TWO_HOURS_S: Final = 7_200  # an unauthenticated router cannot shorten a life further
_LINK_LOCAL_BITS: Final = 10
_FOREVER: Final = 0
_ADDRESS_FIELDS: Final = ("address", "state", "valid_ns", "preferred_ns", "detect_ns")


class Address:
    """One address. Deadlines are nanoseconds, 0 for never."""

    __slots__ = ("address", "detect_ns", "preferred_ns", "state", "valid_ns")

    def __init__(self, address: bytes) -> None:
        self.address: bytes = address
        self.state: int = TENTATIVE
        self.valid_ns: int = _FOREVER
        self.preferred_ns: int = _FOREVER
        self.detect_ns: int = 0  # when the probe has gone unanswered; 0: not sent yet

    @property
    def is_usable(self) -> bool:
        return self.state in (PREFERRED, DEPRECATED)


class Addresses:
    """All of an interface. ``fixed`` is an address that a person gave, with its prefix length;
    ``gateway`` a router that is always there."""

    def __init__(
        self, mac: bytes, fixed: bytes | None, prefix_length: int, gateway: bytes | None
    ) -> None:
        self._mac: bytes = mac
        self._gateway: bytes | None = gateway
        self._own_prefix: tuple[bytes, int] | None = None
        self.link_local: bytes = link_local(mac)
        self.addresses: dict[bytes, Address] = {}
        self.routers: dict[bytes, int] = {}  # until when
        self.preferences: dict[bytes, int] = {}  # of routers that are not like all others
        self.prefixes: dict[tuple[bytes, int], int] = {}  # on the link, until when
        self.add(self.link_local)
        if fixed is not None:
            self._own_prefix = (fixed, prefix_length)
            self.add(fixed)

    def add(self, address: bytes) -> Address | None:
        """A new tentative address, None if there are too many."""
        if len(self.addresses) >= MAX_ADDRESSES:
            return None
        entry = self.addresses[address] = Address(address)
        return entry

    def is_usable(self, address: bytes) -> bool:
        entry = self.addresses.get(address)
        return entry is not None and entry.is_usable

    def is_duplicate(self, address: bytes) -> bool:
        """Somebody else claims our tentative ``address``: give it up. False: it was not so."""
        entry = self.addresses.get(address)
        if entry is None or entry.state != TENTATIVE:
            return False
        entry.state = DUPLICATE
        if address == self.link_local:
            # Somebody has our MAC: nothing that we did here would work. [RFC 4862 5.4.5]
            for other in self.addresses.values():
                other.state = DUPLICATE
        return True

    @property
    def is_off(self) -> bool:
        """Nothing is sent or heard, because somebody has our MAC."""
        return self.addresses[self.link_local].state == DUPLICATE

    # -- where to, and from where

    def is_on_link(self, address: bytes) -> bool:
        if is_link_local(address):
            return True
        own = self._own_prefix
        if own is not None and has_prefix(address, own[0], own[1]):
            return True
        return any(has_prefix(address, prefix, length) for prefix, length in self.prefixes)

    def next_hop(self, destination: bytes) -> bytes | None:
        """The neighbour that a packet to ``destination`` (no group) is handed to, None if there
        is no way. [RFC 4861 5.2]"""
        if self.is_on_link(destination):
            return destination
        if self._gateway is not None:
            return self._gateway
        # Of those that are alike the first that was heard. [RFC 4191 3.2]
        return max(self.routers, key=lambda r: self.preferences.get(r, 0), default=None)

    def source_for(self, destination: bytes) -> bytes | None:
        """Our address towards a destination elsewhere: of its scope, not deprecated if there is
        another, with the longest common prefix. [RFC 6724 5]"""
        wants_local = is_link_local(destination) or (
            is_multicast(destination) and destination[1] & 0xF <= 2
        )
        number = int.from_bytes(destination, "big")
        best: bytes | None = None
        most = (-1, -1, -1)
        for entry in self.addresses.values():
            if not entry.is_usable:
                continue
            address = entry.address
            common = 128 - (number ^ int.from_bytes(address, "big")).bit_length()
            rank = (
                int(is_link_local(address) == wants_local),
                int(entry.state == PREFERRED),
                common,
            )
            if rank > most:
                best, most = address, rank
        return best

    # -- what a router says

    def advertised(self, router: bytes, message: RouterRepr, now_ns: int) -> None:
        """Take a valid advertisement. [RFC 4861 6.3.4] [RFC 4862 5.5.3]"""
        if not message.lifetime_s:
            self.forget_router(router)
        elif router in self.routers or len(self.routers) < MAX_ROUTERS:
            self.routers[router] = now_ns + message.lifetime_s * NS_PER_S
            self.preferences[router] = message.preference
        for prefix in message.prefixes:
            if has_prefix(prefix.prefix, b"\xfe\x80" + bytes(14), _LINK_LOCAL_BITS):
                continue
            if prefix.is_on_link:
                self._take_prefix(prefix, now_ns)
            if prefix.is_autonomous and prefix.length == 64:
                self._take_address(prefix, now_ns)

    def forget_router(self, router: bytes) -> None:
        """It is none any more."""
        self.routers.pop(router, None)
        self.preferences.pop(router, None)

    def _take_prefix(self, prefix: PrefixRepr, now_ns: int) -> None:
        shift = 128 - prefix.length
        number = int.from_bytes(prefix.prefix, "big") >> shift << shift
        key = (number.to_bytes(16, "big"), prefix.length)
        if not prefix.valid_s:
            self.prefixes.pop(key, None)
        elif key in self.prefixes or len(self.prefixes) < MAX_PREFIXES:
            self.prefixes[key] = _until(now_ns, prefix.valid_s)

    def _take_address(self, prefix: PrefixRepr, now_ns: int) -> None:
        if prefix.preferred_s > prefix.valid_s or self.is_off:
            return
        address = prefix.prefix[:8] + interface_identifier(self._mac)
        own = self._own_prefix
        if is_multicast(address) or (own is not None and own[0] == address):
            return
        entry = self.addresses.get(address)
        if entry is None:
            if not prefix.valid_s:
                return
            entry = self.add(address)
            if entry is None:
                return
            entry.valid_ns = _until(now_ns, prefix.valid_s)
        else:
            left_s = (entry.valid_ns - now_ns) // NS_PER_S if entry.valid_ns else INFINITE_S
            if prefix.valid_s > _TWO_HOURS_S or prefix.valid_s > left_s:
                entry.valid_ns = _until(now_ns, prefix.valid_s)
            elif left_s > _TWO_HOURS_S:
                entry.valid_ns = _until(now_ns, _TWO_HOURS_S)
        entry.preferred_ns = _until(now_ns, prefix.preferred_s)
        if entry.state == DEPRECATED and prefix.preferred_s:
            entry.state = PREFERRED

    # -- time

    def next_deadline(self) -> int | None:
        """When `advance` is next needed; 0 at once: an address has not been asked for."""
        times = [until for until in self.routers.values() if until]
        times += [until for until in self.prefixes.values() if until]
        for entry in self.addresses.values():
            if entry.state == TENTATIVE:
                times.append(entry.detect_ns)
            if entry.valid_ns:
                times.append(entry.valid_ns)
            if entry.preferred_ns and entry.state == PREFERRED:
                times.append(entry.preferred_ns)
        return min(times, default=None)

    def advance(self, now_ns: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Do what is due. Returns the addresses to be probed for now, those that have just become
        ours, and those that are ours no longer."""
        probes: list[bytes] = []
        ours: list[bytes] = []
        gone: list[bytes] = []
        for router in [r for r, until in self.routers.items() if until and until <= now_ns]:
            self.forget_router(router)
        for prefix in [p for p, until in self.prefixes.items() if until and until <= now_ns]:
            del self.prefixes[prefix]
        for entry in list(self.addresses.values()):
            if entry.state == TENTATIVE:
                if not entry.detect_ns:
                    entry.detect_ns = now_ns + DETECTION_NS
                    probes.append(entry.address)
                elif entry.detect_ns <= now_ns:
                    entry.state = PREFERRED
                    ours.append(entry.address)
            if entry.valid_ns and entry.valid_ns <= now_ns:
                del self.addresses[entry.address]
                gone.append(entry.address)
            elif entry.state == PREFERRED and entry.preferred_ns and entry.preferred_ns <= now_ns:
                entry.state = DEPRECATED
        return probes, ours, gone

    # -- state

    def save(self) -> State:
        return {
            "version": 2,
            "addresses": [save_fields(a, 1, _ADDRESS_FIELDS) for a in self.addresses.values()],
            "routers": dict(self.routers),
            "preferences": dict(self.preferences),
            "prefixes": [[p, length, until] for (p, length), until in self.prefixes.items()],
        }

    def load(self, state: State) -> None:
        """Raises ValueError on another version."""
        if state.get("version") != 2:
            raise ValueError(f"Addresses: saved state has version {state.get('version')}, not 2")
        self.addresses = {}
        for saved in state["addresses"]:
            entry = Address(b"")
            load_fields(entry, 1, _ADDRESS_FIELDS, saved)
            self.addresses[entry.address] = entry
        self.routers = dict(state["routers"])
        self.preferences = dict(state["preferences"])
        self.prefixes = {(p, length): until for p, length, until in state["prefixes"]}


def _until(now_ns: int, seconds: int) -> int:
    """The end of a lifetime; 0 is never. A lifetime of nothing ends at once."""
    return _FOREVER if seconds == INFINITE_S else max(1, now_ns + seconds * NS_PER_S)
