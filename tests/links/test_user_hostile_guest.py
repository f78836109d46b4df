"""A hostile guest behind the user gateway: any frames at all, half of them mutated from valid
ones. No exception, no growth beyond the stated bounds, and nothing of it leaves the process:
every flow ends at a dead end.
"""

from __future__ import annotations

import socket
from pathlib import Path
from random import Random

from raw_guest import DNS, GATEWAY_MAC, GUEST_MAC, RawGuest
from user_world import GATEWAY, GUEST

from leulo.links.user import dns, udp
from leulo.links.user.resolver import Resolvers
from leulo.net.wire import dhcp, vnet
from leulo.net.wire.arp import REQUEST, ArpRepr
from leulo.net.wire.dhcp import DhcpRepr
from leulo.net.wire.ethernet import BROADCAST, TYPE_ARP, TYPE_IPV4, EthernetRepr
from leulo.net.wire.icmp import ECHO_REQUEST, IcmpRepr
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.tcp import TcpRepr
from leulo.net.wire.udp import UdpRepr

FRAMES = 20_000
NOWHERE = bytes((10, 0, 2, 99))


def ip(protocol: int, to: bytes, payload: bytes, **fields: int) -> bytes:
    header = Ipv4Repr(GUEST, to, protocol, len(payload), **fields)  # type: ignore[arg-type]
    return header.emit() + payload


def datagram(source: int, to: bytes, port: int, payload: bytes) -> bytes:
    return ip(17, to, UdpRepr(source, port, len(payload)).emit(GUEST, to, payload))


def valid(chance: Random, port: int) -> bytes:
    """A right packet of one of the kinds that the gateway serves."""
    number = chance.randrange(1, 65_536)
    kind = chance.randrange(8)
    if kind == 0:
        query = number.to_bytes(2, "big") + bytes.fromhex("01000001000000000000") + b"\1a\0\0\1\0\1"
        return datagram(number, DNS, 53, query)
    if kind == 1:
        asked = DhcpRepr(dhcp.BOOT_REQUEST, chance.randrange(1, 9), number, chance.randbytes(6))
        asked.options[dhcp.OPTION_REQUESTED_ADDRESS] = GUEST
        return datagram(68, GATEWAY, 67, asked.emit())
    if kind == 2:
        return datagram(number, GATEWAY, port, b"x" * chance.randrange(200))
    if kind == 3:
        return datagram(number, NOWHERE, number, b"x")
    if kind == 4:
        echo = IcmpRepr(ECHO_REQUEST, 0, number, b"abc").emit()
        return ip(1, chance.choice((GATEWAY, NOWHERE)), echo)
    if kind == 5:
        part = chance.randbytes(8 * chance.randrange(1, 60))
        return ip(17, GATEWAY, part, identification=number & 7, more_fragments=1,
                  fragment_offset=8 * chance.randrange(100))  # fmt: skip
    if kind == 6:
        segment = TcpRepr(number, port, number, 0, chance.choice((2, 4, 16, 17, 18)), 100)
        return ip(6, GATEWAY, segment.emit(GUEST, GATEWAY))
    return ArpRepr(REQUEST, GUEST_MAC, GUEST, bytes(6), chance.choice((GATEWAY, DNS))).emit()


def mutated(chance: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        if changed:
            value = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            changed[chance.randrange(len(changed))] = value
    if chance.random() < 0.2:
        del changed[chance.randrange(len(changed) + 1) :]
    return bytes(changed)


def test_any_frames_are_survived_within_bounds(tmp_path: Path) -> None:
    chance = Random(20)
    resolvers = tmp_path / "resolv.conf"
    resolvers.write_text("")  # names are answered SERVFAIL, nobody is asked
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))  # takes datagrams and never reads them
        port = probe.getsockname()[1]
        guest = RawGuest(resolvers=Resolvers(resolvers))
        # Whatever address comes out of a mutation, it lies on this computer.
        for part in (guest.link._udp, guest.link._outbound, guest.link._pings):
            part._plan = _Dead(part._plan)  # type: ignore[assignment]
        guest.link.attach(lambda frames: None)
        for number in range(FRAMES):
            body = valid(chance, port)
            is_arp = body[:2] == b"\0\1"
            to = chance.choice((GATEWAY_MAC, GATEWAY_MAC, BROADCAST))
            ethernet = EthernetRepr(to, GUEST_MAC, TYPE_ARP if is_arp else TYPE_IPV4).emit()
            head = chance.choice((vnet.PLAIN, b"\1" + bytes(9), b"\2" + bytes(9)))
            frame = head + ethernet + body
            if number & 1:
                frame = mutated(chance, frame)
            guest.link.transmit([(frame,)], guest.now_ns())
            if number % 500 == 0:
                guest.turn()
        guest.turn()
        counters = guest.link.counters()
        assert counters["frames_in"] == FRAMES
        assert counters["udp_flows"] <= udp.MOST_FLOWS
        assert counters["dns_queries"] <= counters["dns_answers"] + counters["dns_failed"]
        assert len(guest.link._names._queries) <= dns.MOST_QUERIES
        assert len(guest.link._guests.frames) == 0
        assert counters["gateway.tcp_half_open"] <= 4096
        assert len(guest.poller._callbacks) <= udp.MOST_FLOWS + 4096
        guest.close()


class _Dead:
    """The plan, but every address outside is a loopback one of this computer."""

    def __init__(self, plan: object) -> None:
        self._plan = plan

    def __getattr__(self, name: str) -> object:
        return getattr(self._plan, name)

    def host_address(self, address: bytes) -> bytes | None:
        found = self._plan.host_address(address)  # type: ignore[attr-defined]
        return None if found is None else bytes((127, 0, 0, 1))
