"""IPv6 of a host: what to accept, extension headers, fragments, and all of its own messages.

`Ipv6Host` takes whole packets and gives what is for a transport; neighbour discovery, echo and
errors never leave it. Times come in, frames go out, no I/O. Read `addresses6` for who we are,
`ndp` for neighbours, `icmpv6` for messages. [RFC 8200] [RFC 8504]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from leulo.net.addresses6 import Addresses
from leulo.net.icmp import IcmpError
from leulo.net.icmpv6 import Icmpv6Host
from leulo.net.ndp import HOP_LIMIT, NdpCache
from leulo.net.neighbours import TxFrame
from leulo.net.reassembly import Reassembler
from leulo.net.wire import Buffer, ParseError, vnet
from leulo.net.wire.ethernet import TYPE_IPV6, EthernetRepr
from leulo.net.wire.icmpv6 import (
    BAD_FIELD,
    ECHO_REPLY,
    INCOMPLETE_FIRST_FRAGMENT,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    PARAMETER_PROBLEM,
    REASSEMBLY_EXCEEDED,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
    TIME_EXCEEDED,
    UNKNOWN_NEXT_HEADER,
    Icmpv6Repr,
)
from leulo.net.wire.ipv4 import PROTOCOL_TCP, PROTOCOL_UDP
from leulo.net.wire.ipv6 import (
    ALL_NODES,
    ALL_ROUTERS,
    FRAGMENT,
    FRAGMENT_BYTES,
    HEADER_BYTES,
    LOOPBACK,
    MAX_PAYLOAD_BYTES,
    MIN_MTU,
    NO_NEXT_HEADER,
    PROTOCOL_ICMPV6,
    UNSPECIFIED,
    BadHeader,
    FragmentRepr,
    Ipv6Repr,
    Upper,
    is_link_local,
    is_mapped,
    is_multicast,
    multicast_mac,
    solicited_node,
    walk,
)
from leulo.net.wire.ndp import NeighbourRepr, RouterRepr, router_solicitation
from leulo.state import State
from leulo.units import NS_PER_S

MAX_PATHS: Final = 256  # destinations whose path has a smaller MTU
PATH_NS: Final = 600 * NS_PER_S  # for how long that counts [RFC 8201 5.3]
MAX_OUTPUT: Final = 1024
SOLICITATION_NS: Final = 4 * NS_PER_S  # until routers are asked for again, at first
MAX_SOLICITATION_NS: Final = 3600 * NS_PER_S  # and at last [RFC 7559 2]
_HOPS: Final = 64  # of who sets none
_IP_AT: Final = vnet.HEADER_BYTES + 14
_CHECKED: Final = vnet.F_NEEDS_CSUM | vnet.F_DATA_VALID
_LEAST_UPPER: Final = {PROTOCOL_TCP: 20, PROTOCOL_UDP: 8, PROTOCOL_ICMPV6: 8}


@dataclass
class Ipv6Config:
    """What a person said: an address with its prefix and a router, beside what is found out."""

    address: bytes | None = None
    prefix_length: int = 64
    gateway: bytes | None = None


@dataclass
class Received:
    """A packet for a transport, or an echo reply. ``packet`` begins with the IPv6 header,
    fragments joined."""

    source: bytes
    destination: bytes
    protocol: int
    payload: bytes
    packet: bytes
    named_at: int  # the byte that names the protocol
    is_group: bool
    is_trusted: bool  # the link vouches for the transport's checksum


class Ipv6Host:
    """IPv6 of one interface."""

    def __init__(
        self, mac: bytes, mtu: int, config: Ipv6Config, random_bits: Callable[[int], int]
    ) -> None:
        self.mac: bytes = mac
        self.mtu: int = mtu
        self.own: Addresses = Addresses(mac, config.address, config.prefix_length, config.gateway)
        self.ndp: NdpCache = NdpCache(mac)
        self.icmp: Icmpv6Host = Icmpv6Host()
        self.reassembler: Reassembler = Reassembler("ipv6_")
        self._link_mtu: int = mtu
        self._random_bits: Callable[[int], int] = random_bits
        self._paths: dict[bytes, tuple[int, int]] = {}  # a smaller MTU than the link's, until when
        self._output: list[TxFrame] = []
        self._wants_router: bool = True
        self._solicit_ns: int = 0  # when to ask routers again; 0: not yet
        self._solicit_wait_ns: int = 0  # the last wait for an answer
        self._duplicates: int = 0
        self._gone: list[bytes] = []  # addresses whose time is over

    # ------------------------------------------------------------ where to

    def is_local(self, address: bytes) -> bool:
        """Is it answered inside?"""
        return address == LOOPBACK or self.own.is_usable(address)

    def source_for(self, peer: bytes) -> bytes | None:
        """Our address towards ``peer``, None without a route."""
        if peer in (LOOPBACK, UNSPECIFIED):
            return LOOPBACK
        if self.own.is_usable(peer):
            return peer
        if not is_multicast(peer) and self.own.next_hop(peer) is None:
            return None
        return self.own.source_for(peer)

    def change_mtu(self, mtu: int) -> None:
        """The link is as wide as this from now on, if not narrower than links may be.
        [RFC 8200 5]"""
        self.mtu = self._link_mtu = max(mtu, MIN_MTU)

    def path_mtu(self, destination: bytes, now_ns: int) -> int:
        """The largest packet that may go to ``destination`` in one piece."""
        known = self._paths.get(destination)
        if known is None:
            return self.mtu
        if known[1] <= now_ns:
            del self._paths[destination]
            return self.mtu
        return min(known[0], self.mtu)

    def new_identification(self) -> int:
        """For the fragments of one packet: hard to guess. [RFC 7739 5.3]"""
        return self._random_bits(32)

    def link_header(self, peer: bytes, now_ns: int) -> bytes | None:
        """The Ethernet header for packets to ``peer`` (no group); None while it is asked for,
        empty if nobody answers or there is no route."""
        hop = self.own.next_hop(peer)
        if hop is None:
            return b""
        mac = self.ndp.lookup(hop, now_ns)
        if mac is not None:
            return mac + self.mac + b"\x86\xdd"
        return None if self.ndp.resolve(hop, now_ns) else b""

    def send(self, destination: bytes, frame: TxFrame, now_ns: int) -> str | None:
        """Send a frame with an Ethernet header whose destination is to be filled. Returns why
        it was dropped, or None."""
        if is_multicast(destination):
            first = frame[0]
            head = b"".join((first[:10], multicast_mac(destination), first[16:]))
            self._output.append((head, *frame[1:]))
            return None
        hop = self.own.next_hop(destination)
        if hop is None:
            return "ipv6_no_route"
        return None if self.ndp.send(hop, frame, now_ns) else "neighbour_failed"

    def send_packet(
        self, source: bytes, destination: bytes, protocol: int, payload: Buffer, now_ns: int,
        hops: int = _HOPS, traffic_class: int = 0,
    ) -> str | None:  # fmt: skip
        """As `send`, of an upper layer's whole message; fragmented if it has to be."""
        ip = Ipv6Repr(source, destination, protocol, len(payload), hops, traffic_class)
        ethernet = EthernetRepr(bytes(6), self.mac, TYPE_IPV6).emit()
        mtu = self.path_mtu(destination, now_ns)
        for packet in cut(ip, payload, mtu, self.new_identification()):
            if len(self._output) >= MAX_OUTPUT:
                return "output_full"
            reason = self.send(destination, (vnet.PLAIN + ethernet + packet,), now_ns)
            if reason is not None:
                return reason
        return None

    # ------------------------------------------------------------ packets in

    def input(self, frame: bytes, is_inside: bool, now_ns: int) -> Received | IcmpError | None:
        """A frame with an IPv6 packet: what is for a transport, what an error says of a packet
        of ours, or None if the host is done with it. Raises ParseError with the reason of a
        drop; what the sender has to be told is on its way then."""
        packet = frame[_IP_AT:]
        ip = Ipv6Repr.parse(packet)
        packet = packet[: HEADER_BYTES + ip.payload_bytes]
        if not is_inside:
            self._check_addresses(ip, frame[10:16])
        is_trusted = bool(frame[0] & _CHECKED)
        try:
            upper = walk(packet, len(packet))
            is_fragment = upper.protocol == FRAGMENT
            if is_fragment:
                fragment = FragmentRepr.parse(packet[upper.at :])
                if fragment.is_atomic:
                    at = upper.at + FRAGMENT_BYTES
                    upper = walk(packet, len(packet), fragment.next_header, at)
                else:
                    whole = self._join(ip, packet, upper, fragment, now_ns)
                    if whole is None:
                        return None
                    packet, upper = whole
                    is_trusted = False
            return self._take(ip, packet, upper, is_trusted, is_fragment, frame[16:22], now_ns)
        except BadHeader as bad:
            self._report(
                ip, PARAMETER_PROBLEM, bad.code, bad.pointer, packet, now_ns, bad.to_multicast
            )
            raise

    def _check_addresses(self, ip: Ipv6Repr, mac: bytes) -> None:
        """Is the packet for us, and may it come from there? [RFC 4291 2.5.2, 2.5.3, 2.7]"""
        destination = ip.destination
        if mac != self.mac and not mac[0] & 1:
            raise ParseError("ethernet_destination")
        if destination not in self.own.addresses and not self._is_joined(destination):
            raise ParseError("ipv6_destination")
        if mac[0] & 1 and not is_multicast(destination):
            # As with IPv4; so no error is told of what went to a group of the link.
            raise ParseError("ipv6_link_group")  # [RFC 4443 2.4 e]
        source = ip.source
        if is_multicast(source) or source == LOOPBACK or self.own.is_usable(source):
            raise ParseError("ipv6_source")
        if is_mapped(source):  # a socket of both families would take it for one of IPv4
            raise ParseError("ipv6_source")  # [RFC 6890 2.2.3]

    def _is_joined(self, group: bytes) -> bool:
        return group == ALL_NODES or (
            is_multicast(group) and any(solicited_node(a) == group for a in self.own.addresses)
        )

    def _join(
        self, ip: Ipv6Repr, packet: bytes, upper: Upper, fragment: FragmentRepr, now_ns: int
    ) -> tuple[bytes, Upper] | None:
        """Take a fragment: the whole packet and its upper layer, once it is there.
        [RFC 8200 4.5] [RFC 5722 4] [RFC 7112 5]"""
        at = upper.at + FRAGMENT_BYTES
        payload = packet[at:]
        if fragment.has_more and (not payload or len(payload) & 7):
            raise BadHeader("ipv6_fragment", BAD_FIELD, 4)
        if fragment.offset + len(payload) > MAX_PAYLOAD_BYTES:
            raise BadHeader("ipv6_fragment", BAD_FIELD, upper.at + 2)
        if not fragment.offset:
            self._check_first(packet, fragment, at)
        key = b"".join((ip.source, ip.destination, fragment.identification.to_bytes(4, "big")))
        reassembler = self.reassembler
        whole = reassembler.insert(
            key, fragment.offset, payload, fragment.has_more, packet[:at], ip.traffic_class & 3,
            now_ns,
        )  # fmt: skip
        if whole is None:
            return None
        first = reassembler.first
        head = walk(first, len(first))
        kind = FragmentRepr.parse(first[head.at :]).next_header
        ip = Ipv6Repr.parse(first, 0x1FFFF)  # the headers before a later one count for nothing
        traffic_class = ip.traffic_class & ~3 | reassembler.codepoint
        joined = Ipv6Repr(ip.source, ip.destination, kind, len(whole), ip.hop_limit, traffic_class)
        text = joined.emit() + whole
        return text, walk(text, len(text), kind, HEADER_BYTES)

    def _check_first(self, packet: bytes, fragment: FragmentRepr, at: int) -> None:
        """A first fragment holds the whole chain of headers, or the packet is refused."""
        try:
            upper = walk(packet, len(packet), fragment.next_header, at)
            is_whole = len(packet) - upper.at >= _LEAST_UPPER.get(upper.protocol, 0)
        except BadHeader:
            raise
        except ParseError:
            is_whole = False
        if not is_whole:
            raise BadHeader("ipv6_first_fragment", INCOMPLETE_FIRST_FRAGMENT, 0)

    def _take(
        self, ip: Ipv6Repr, packet: bytes, upper: Upper, is_trusted: bool, is_fragment: bool,
        mac: bytes, now_ns: int,
    ) -> Received | IcmpError | None:  # fmt: skip
        payload = packet[upper.at :]
        protocol = upper.protocol
        if protocol == PROTOCOL_ICMPV6:
            message = Icmpv6Repr.parse(
                payload, ip.source, ip.destination, verify_checksum=not is_trusted
            )
            if is_fragment and ROUTER_SOLICITATION <= message.kind <= REDIRECT:
                raise ParseError("ndp_fragment")  # even if it is whole [RFC 6980 5]
            found = self._icmp(ip, message, mac, now_ns)
            if message.kind != ECHO_REPLY:
                return found
        elif protocol == NO_NEXT_HEADER:
            return None
        elif protocol not in (PROTOCOL_TCP, PROTOCOL_UDP):
            raise BadHeader("ipv6_next_header", UNKNOWN_NEXT_HEADER, upper.named_at)
        if ip.source == UNSPECIFIED:
            raise ParseError("ipv6_source")
        is_group = is_multicast(ip.destination)
        if not is_group and not self.is_local(ip.destination):
            raise ParseError("ipv6_tentative")
        return Received(
            ip.source, ip.destination, protocol, payload, packet, upper.named_at, is_group,
            is_trusted,
        )  # fmt: skip

    # ------------------------------------------------------------ ICMPv6

    def _icmp(self, ip: Ipv6Repr, message: Icmpv6Repr, mac: bytes, now_ns: int) -> IcmpError | None:
        if not is_multicast(ip.destination) and not self.is_local(ip.destination):
            raise ParseError("ipv6_tentative")  # neighbour discovery, too [RFC 4862 5.4]
        if ROUTER_SOLICITATION <= message.kind <= REDIRECT:
            if ip.hop_limit != HOP_LIMIT:
                raise ParseError("ndp_hop_limit")
            self._discovery(ip, message, mac, now_ns)
            return None
        if ip.source == UNSPECIFIED:
            raise ParseError("ipv6_source")
        answer = self.icmp.input(message, now_ns)
        if answer is None:
            return None
        if isinstance(answer, IcmpError):
            return self._take_error(answer, now_ns)
        source: bytes | None = ip.destination
        if is_multicast(ip.destination):
            source = self.source_for(ip.source)
        if source is not None:
            text = answer.emit(source, ip.source)
            self._reply(source, ip.source, text, now_ns)
        return None

    def _take_error(self, error: IcmpError, now_ns: int) -> IcmpError:
        """Keep the MTU of a path; believe nothing below what every link carries, and nothing
        about packets that are not ours. [RFC 8201 4]"""
        destination = error.remote[0]
        if error.is_too_big and self.is_local(error.local[0]) and error.mtu >= MIN_MTU:
            known = self.path_mtu(destination, now_ns)
            if error.mtu < known or destination in self._paths:
                # Whatever it says, no larger one is tried for a while from now on.
                self._paths.pop(destination, None)
                if len(self._paths) >= MAX_PATHS:
                    del self._paths[next(iter(self._paths))]
                self._paths[destination] = (min(error.mtu, known), now_ns + PATH_NS)
        return error

    def report(self, received: Received, kind: int, code: int, rest: int, now_ns: int) -> None:
        """Tell the source of a packet what became of it, if that is allowed."""
        ip = Ipv6Repr.parse(received.packet)
        self._report(ip, kind, code, rest, received.packet, now_ns)

    def _report(
        self, ip: Ipv6Repr, kind: int, code: int, rest: int, packet: Buffer, now_ns: int,
        to_multicast: bool = False,
    ) -> None:  # fmt: skip
        message = self.icmp.error(kind, code, rest, packet, now_ns, to_multicast)
        if message is None:
            return
        source: bytes | None = ip.destination
        if is_multicast(ip.destination) or not self.is_local(ip.destination):
            source = self.source_for(ip.source)
        if source is not None:
            self._reply(source, ip.source, message.emit(source, ip.source), now_ns)

    def _reply(self, source: bytes, to: bytes, text: bytes, now_ns: int) -> None:
        if not self.is_local(to):
            self.send_packet(source, to, PROTOCOL_ICMPV6, text, now_ns)

    # ------------------------------------------------------------ neighbour discovery

    def _discovery(self, ip: Ipv6Repr, message: Icmpv6Repr, mac: bytes, now_ns: int) -> None:
        if message.kind == NEIGHBOUR_SOLICITATION:
            self._solicited(ip, NeighbourRepr.parse(message), mac, now_ns)
        elif message.kind == NEIGHBOUR_ADVERTISEMENT:
            advert = NeighbourRepr.parse(message)
            if advert.is_solicited and is_multicast(ip.destination):
                raise ParseError("ndp_solicited")
            if advert.target in self.own.addresses:
                self._collision(advert.target)
                return
            reason = self.ndp.advertised(advert, now_ns)
            if advert.target in self.own.routers and not advert.is_router and reason is None:
                self.own.forget_router(advert.target)
            if reason is not None:
                raise ParseError(reason)
        elif message.kind == ROUTER_ADVERTISEMENT:
            self._router(ip, RouterRepr.parse(message), now_ns)
        else:
            # Deviation: a redirect is not followed, because anybody on the link could forge it;
            # the router forwards all the same. [RFC 4861 8.3]
            raise ParseError("ndp_not_for_hosts")

    def _solicited(self, ip: Ipv6Repr, message: NeighbourRepr, mac: bytes, now_ns: int) -> None:
        """[RFC 4861 7.1.1, 7.2.3] [RFC 4862 5.4.3]"""
        is_probe = ip.source == UNSPECIFIED
        if is_probe and (message.mac or ip.destination != solicited_node(message.target)):
            raise ParseError("ndp_probe")
        target = message.target
        if target not in self.own.addresses:
            raise ParseError("ndp_target")
        if not self.own.is_usable(target):
            if is_probe and mac != self.mac:
                self._collision(target)
            return
        if not is_probe and message.mac:
            self.ndp.solicited(ip.source, message.mac, now_ns)
        self.ndp.answer(target, ip.source, message.mac or mac)

    def _collision(self, address: bytes) -> None:
        if self.own.is_duplicate(address):
            self._duplicates += 1

    def _router(self, ip: Ipv6Repr, message: RouterRepr, now_ns: int) -> None:
        """[RFC 4861 6.1.2, 6.3.4]"""
        if not is_link_local(ip.source):
            raise ParseError("ndp_router")
        if message.lifetime_s:
            self._wants_router = False
        self.own.advertised(ip.source, message, now_ns)
        if MIN_MTU <= message.mtu <= self._link_mtu:
            self.mtu = message.mtu
        if message.mac:
            self.ndp.solicited(ip.source, message.mac, now_ns)

    def _next_wait(self) -> int:
        """How long to wait for a router's answer before the next question: about twice as long
        as the last time, up to an hour, for ever. [RFC 7559 2] [RFC 3315 14]"""
        last = self._solicit_wait_ns
        by_chance = self._random_bits(16) % 201 - 100  # thousandths, of either sign
        wait = 2 * last + last * by_chance // 1000
        if not last:
            wait = SOLICITATION_NS + SOLICITATION_NS * by_chance // 1000
        if wait > MAX_SOLICITATION_NS:
            wait = MAX_SOLICITATION_NS + MAX_SOLICITATION_NS * by_chance // 1000
        return wait

    # ------------------------------------------------------------ time and output

    def next_deadline(self) -> int | None:
        """When `advance` is next needed, None: never."""
        earliest = self.own.next_deadline()
        due = self.ndp.next_deadline()
        if due is not None and (earliest is None or due < earliest):
            earliest = due
        due = self.reassembler.next_deadline()
        if due is not None and (earliest is None or due < earliest):
            earliest = due
        if self._wants_router and self._solicit_ns:
            due = self._solicit_ns
            if earliest is None or due < earliest:
                earliest = due
        return earliest

    def advance(self, now_ns: int) -> bool:
        """Do what is due. True if a neighbour has failed, or an address has become ours."""
        probes, ours, gone = self.own.advance(now_ns)
        self._gone += gone
        for address in probes:
            self.ndp.probe(address)
        if self.own.link_local in ours:
            self.ndp.source = self.own.link_local
            self._solicit_ns = now_ns
        if self._wants_router and self._solicit_ns and self._solicit_ns <= now_ns:
            self._solicit_wait_ns = self._next_wait()
            self._solicit_ns = now_ns + self._solicit_wait_ns
            message = router_solicitation(self.mac)
            self.ndp.emit(self.own.link_local, ALL_ROUTERS, message, bytes(6))
        self.ndp.advance(now_ns)
        self.reassembler.advance(now_ns)
        for packet in self.reassembler.take_expired():
            ip = Ipv6Repr.parse(packet, 0x1FFFF)
            self._report(ip, TIME_EXCEEDED, REASSEMBLY_EXCEEDED, 0, packet, now_ns)
        return bool(ours) or bool(self.ndp.take_failed())

    @property
    def has_output(self) -> bool:
        return bool(self._output or self.ndp.output)

    def take_gone(self) -> list[bytes]:
        """Addresses that are ours no longer, each once."""
        gone, self._gone = self._gone, []
        return gone

    def take_output(self) -> list[TxFrame]:
        """Frames to be sent now, each once."""
        output, self._output = self._output, []
        return self.ndp.take_output() + output if self.ndp.output else output

    def counters(self) -> dict[str, int]:
        return {
            **self.ndp.counters(),
            **self.icmp.counters(),
            **self.reassembler.counters(),
            "ipv6_addresses": sum(a.is_usable for a in self.own.addresses.values()),
            "ipv6_duplicates": self._duplicates,
            "ipv6_routers": len(self.own.routers),
        }

    # ------------------------------------------------------------ state

    def save(self) -> State:
        return {
            "version": 3,
            "mtu": self.mtu,
            "own": self.own.save(),
            "ndp": {**self.ndp.save(), "source": self.ndp.source},
            "icmp": self.icmp.save(),
            "reassembler": self.reassembler.save(),
            "paths": dict(self._paths),
            "output": [b"".join(frame) for frame in self._output],
            "wants_router": self._wants_router,
            "solicit_ns": self._solicit_ns,
            "solicit_wait_ns": self._solicit_wait_ns,
            "duplicates": self._duplicates,
        }

    def load(self, state: State) -> None:
        """Raises ValueError on another version."""
        if state.get("version") != 3:
            raise ValueError(f"Ipv6Host: saved state has version {state.get('version')}, not 3")
        self.mtu = state["mtu"]
        self.own.load(state["own"])
        self.ndp.load(state["ndp"])
        self.ndp.source = state["ndp"]["source"]
        self.icmp.load(state["icmp"])
        self.reassembler.load(state["reassembler"])
        self._paths = {where: (mtu, until) for where, (mtu, until) in state["paths"].items()}
        self._output = [(frame,) for frame in state["output"]]
        self._wants_router = state["wants_router"]
        self._solicit_ns = state["solicit_ns"]
        self._solicit_wait_ns = state["solicit_wait_ns"]
        self._duplicates = state["duplicates"]


def cut(ip: Ipv6Repr, payload: Buffer, mtu: int, identification: int) -> list[bytes]:
    """The packets that carry ``payload`` over a path with this MTU: one, or fragments.
    [RFC 8200 4.5]"""
    if HEADER_BYTES + len(payload) <= mtu:
        return [ip.emit() + payload]
    room = (mtu - HEADER_BYTES - FRAGMENT_BYTES) & ~7
    packets: list[bytes] = []
    for start in range(0, len(payload), room):
        part = payload[start : start + room]
        has_more = start + room < len(payload)
        fragment = FragmentRepr(ip.next_header, start, has_more, identification)
        head = Ipv6Repr(
            ip.source, ip.destination, FRAGMENT, FRAGMENT_BYTES + len(part), ip.hop_limit,
            ip.traffic_class, ip.flow_label,
        )  # fmt: skip
        packets.append(head.emit() + fragment.emit() + part)
    return packets
