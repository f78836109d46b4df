"""Frames of a hostile guest behind the user gateway: right ones of every kind it serves, and
mutations of any."""

from __future__ import annotations

from random import Random

from raw_guest import DNS, GATEWAY_MAC, GUEST_MAC
from tcp_segments import TcpRepr
from user_world import GATEWAY, GUEST

from leulo.net.wire import dhcp, vnet
from leulo.net.wire.arp import REQUEST, ArpRepr
from leulo.net.wire.dhcp import DhcpRepr
from leulo.net.wire.ethernet import BROADCAST, TYPE_ARP, TYPE_IPV4, EthernetRepr
from leulo.net.wire.icmp import ECHO_REQUEST, IcmpRepr
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.udp import UdpRepr

NOWHERE = bytes((10, 0, 2, 99))


def ip(protocol: int, to: bytes, payload: bytes, **fields: int | bool) -> bytes:
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
        return ip(17, GATEWAY, part, identification=number & 7, more_fragments=True,
                  fragment_offset=8 * chance.randrange(100))  # fmt: skip
    if kind == 6:
        segment = TcpRepr(number, port, number, 0, chance.choice((2, 4, 16, 17, 18)), 100)
        return ip(6, GATEWAY, segment.emit(GUEST, GATEWAY))
    return ArpRepr(REQUEST, GUEST_MAC, GUEST, bytes(6), chance.choice((GATEWAY, DNS))).emit()


def framed(chance: Random, body: bytes) -> bytes:
    """A packet or an ARP message in a frame to the gateway, or to everybody."""
    to = chance.choice((GATEWAY_MAC, GATEWAY_MAC, BROADCAST))
    kind = TYPE_ARP if body[:2] == b"\0\1" else TYPE_IPV4
    head = chance.choice((vnet.PLAIN, b"\1" + bytes(9), b"\2" + bytes(9)))
    return head + EthernetRepr(to, GUEST_MAC, kind).emit() + body


def mutated(chance: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        if changed:
            value = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            changed[chance.randrange(len(changed))] = value
    if chance.random() < 0.2:
        del changed[chance.randrange(len(changed) + 1) :]
    return bytes(changed)


class NowhereButHere:
    """The plan of a gateway, but every address outside is a loopback one of this computer:
    whatever address comes out of a mutation, nothing leaves."""

    def __init__(self, plan: object) -> None:
        self._plan = plan

    def __getattr__(self, name: str) -> object:
        return getattr(self._plan, name)

    def host_address(self, address: bytes) -> bytes | None:
        found = self._plan.host_address(address)  # type: ignore[attr-defined]
        return None if found is None else bytes((127, 0, 0, 1))
