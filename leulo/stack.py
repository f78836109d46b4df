"""One machine's network: joins `net` and `tcp` behind one interface, sans-IO.

Frames and the time go in, frames come out; sockets never block. Each received frame is read by
one unpack: plain IPv4 with plain TCP for a known connection goes straight to the engine, anything
else to the careful path of `net`. What is for the stack itself never leaves it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, Literal, overload

from leulo.net.dhcp import DhcpClient, Lease
from leulo.net.icmp import IcmpError, IcmpHost
from leulo.net.ipv4 import Route, cut, receive
from leulo.net.ipv6 import Ipv6Config, Ipv6Host
from leulo.net.reassembly import Reassembler
from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.ethernet import BROADCAST
from leulo.net.wire.icmp import (
    DESTINATION_UNREACHABLE,
    PORT_UNREACHABLE,
    PROTOCOL_UNREACHABLE,
    REASSEMBLY_EXCEEDED,
    TIME_EXCEEDED,
)
from leulo.net.wire.ipv4 import (
    PROTOCOL_ICMP,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    Ipv4Packet,
    Ipv4Repr,
    is_unicast,
)
from leulo.stack_config import StackConfig as StackConfig
from leulo.stack_ipv6 import StackIpv6
from leulo.stack_network import StackNetwork
from leulo.state import State
from leulo.tcp.account import Lent
from leulo.tcp.demux import half_open_arrives, stranger_arrives, syn_arrives
from leulo.tcp.engine import Engine
from leulo.tcp.errno import (
    AF_INET,
    AF_INET6,
    EAFNOSUPPORT,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
    SOCK_DGRAM,
    SOCK_STREAM,
)
from leulo.tcp.header import (
    IP_AT,
    SYN,
    TIMESTAMPED_AT,
    VNET_BYTES,
    VNET_PLAIN,
    Frame,
    is_intact,
)  # fmt: skip
from leulo.tcp.icmp_errors import icmp_error_arrives
from leulo.tcp.input import segment_arrives
from leulo.tcp.saved import load_engine, save_engine
from leulo.tcp.socket import TcpSocket
from leulo.tcp.tcb import LOOPBACK_MARK
from leulo.trace import Trace
from leulo.udp import discovery
from leulo.udp.datagram import datagram_arrives, emit_datagram
from leulo.udp.dhcp_port import DhcpPort
from leulo.udp.ping import echo_message
from leulo.udp.socket import UdpSocket
from leulo.udp.table import Outgoing, UdpTable

_TYPE_ARP: Final = b"\x08\x06"
_TYPE_IPV4: Final = b"\x08\x00"
_TYPE_IPV6: Final = b"\x86\xdd"
# vnet flags; type, version and length of the header, TOS; total length; fragment, TTL, protocol;
# addresses and ports; seq, ack, offset and flags, window; the first three words of the options
_HEADERS: Final = Struct("!B21xIH2xI2x12sIIHH4xIII")
_UNPACK: Final = _HEADERS.unpack_from
_KIND: Final = 0x080045  # IPv4, twenty bytes
_NOT_PLAIN: Final = 0x3FFF00FF  # fragment bits and protocol
_CHECKED: Final = 3  # NEEDS_CSUM or DATA_VALID [virtio 1.2 5.1.6.4]
_TTL: Final = 64
DRAIN_FRAMES: Final = 256  # in one drain, unless another number is asked for
_LOOPBACK_FRAMES: Final = 65_536  # in one drain


class Stack(StackNetwork):
    """The whole of it. Times are nanoseconds of one clock that never goes back."""

    __slots__ = (
        "_identification", "dhcp", "icmp", "on_address",
        "reassembler", "udp",
    )  # fmt: skip

    def __init__(
        self, config: StackConfig, random_bits: Callable[[int], int], trace: Trace
    ) -> None:
        super().__init__(config)
        self.icmp: IcmpHost = IcmpHost()
        self.reassembler: Reassembler = Reassembler()
        self.engine = Engine(
            config.name,
            config.tcp,
            config.mtu,
            config.checksum,
            config.tso_bytes,
            random_bits,
            trace,
            self,
            config.accept_any,
        )
        self.udp: UdpTable = UdpTable(
            self,
            random_bits,
            self.engine.new_serial,
            (config.tcp.first_ephemeral, config.tcp.last_ephemeral),
            config.accept_any,
            config.tcp.buffers_max,
        )
        if config.has_ipv6:
            six = Ipv6Config(config.address6, config.prefix_length6, config.gateway6)
            host = Ipv6Host(config.mac, config.mtu, six, random_bits)
            self.ipv6 = StackIpv6(host, self.engine, self.udp, config.checksum)
        self.dhcp: DhcpPort | None = None
        self.on_address: Callable[[Lease | None], None] = lambda lease: None
        if config.is_dhcp:
            self._use_address(None)
            client = DhcpClient(config.mac, config.name, random_bits)
            self.dhcp = DhcpPort(client, self.udp)
        self._identification: int = 0  # of packets that may be fragmented [RFC 6864 4.1]

    # ------------------------------------------------------------ frames in

    def input(self, frames: Sequence[bytes], now_ns: int, is_inside: bool = False) -> None:
        """Received frames, each a 10-byte virtio_net_hdr and Ethernet. Anything is allowed.
        ``is_inside``: they have come round from the stack itself, and are not counted."""
        engine = self.engine
        if not is_inside:
            engine.segments_in += len(frames)
        if now_ns != engine.now_ns:
            engine.set_time(now_ns)
        connections = engine.connections
        for frame in frames:
            size = len(frame)
            if size < TIMESTAMPED_AT:
                if size < IP_AT:
                    self._drop("frame_short")
                    continue
                frame += bytes(TIMESTAMPED_AT - size)
            (flags, kind, total, plain, key, seq, ack, control, window, option, tsval,
             tsecr) = _UNPACK(frame)  # fmt: skip
            end = IP_AT + total
            if kind >> 8 != _KIND or plain & _NOT_PLAIN != PROTOCOL_TCP or end > size:
                self._other(frame[:size], is_inside, now_ns)
                continue
            if not flags & _CHECKED and not is_intact(frame, end):
                self._drop("checksum")
                continue
            if is_inside:
                key += LOOPBACK_MARK
            tcb = connections.get(key)
            if tcb is not None:
                segment_arrives(
                    tcb, frame, end, seq, ack, control, window, option, tsval, tsecr, now_ns
                )
                continue
            half = engine.half_open.get(key)
            if half is not None:
                half_open_arrives(
                    half, frame, end, seq, ack, control, window, option, tsval, tsecr, now_ns
                )
            else:
                who = frame[10:22] + frame[36:44]
                back = self._strangers.get(who) or self._way_back(frame, who, is_inside)
                if not back:
                    continue
                if control & SYN:
                    syn_arrives(
                        engine, key, back, frame, end, seq, ack, control, window, is_inside, now_ns
                    )
                else:
                    stranger_arrives(
                        engine, key, back, frame, end, seq, ack, control, window, option, tsval,
                        tsecr, is_inside, now_ns,
                    )  # fmt: skip

    def _other(self, frame: bytes, is_inside: bool, now_ns: int) -> None:
        """Everything but plain TCP over plain IPv4."""
        kind = frame[22:24]
        if kind == _TYPE_IPV4:
            try:
                self._ipv4(frame, now_ns)
            except ParseError as error:
                self._drop(error.reason)
        elif kind == _TYPE_ARP:
            reason = self.arp.input(frame[IP_AT:], now_ns)
            if reason is not None:
                self._drop(reason)
            if self.engine.unresolved and self.arp.take_news():
                self.engine.retry_links()
        elif kind == _TYPE_IPV6 and self.ipv6 is not None:
            try:
                report = self.ipv6.input(frame, is_inside, now_ns)
            except ParseError as refused:
                self._drop(refused.reason)
            else:
                if report is not None:
                    self._icmp_error(report)
        else:
            self._drop("ethernet_type")

    def _ipv4(self, frame: bytes, now_ns: int) -> None:
        """A packet that needs care. Raises ParseError."""
        packet = frame[IP_AT:]
        is_link_broadcast = bool(frame[10] & 1)
        if not is_link_broadcast and frame[10:16] != self.mac:
            raise ParseError("ethernet_destination")
        ip = receive(packet, self.route, self.config.accept_any)
        is_broadcast = self.route.is_broadcast(ip.destination)
        if is_link_broadcast and not is_broadcast:
            raise ParseError("ipv4_link_broadcast")  # [RFC 1122 3.3.6]
        if ip.is_fragment:
            whole = self.reassembler.input(ip, packet, now_ns)
            if whole is None:
                return
            payload: Buffer = whole
            # What an error quotes: the packet as it was before somebody cut it.
            packet = Ipv4Repr(
                ip.source, ip.destination, ip.protocol, len(whole), ip.ttl, ip.traffic_class,
                ip.identification,
            ).emit() + whole  # fmt: skip
        else:
            payload = packet[ip.header_bytes : ip.header_bytes + ip.payload_bytes]
        if ip.protocol == PROTOCOL_TCP:
            if is_broadcast:
                raise ParseError("tcp_broadcast")
            self._joined_tcp(frame, ip, payload, now_ns)
        elif ip.protocol == PROTOCOL_ICMP:
            answer, error = self.icmp.input(payload, is_broadcast, now_ns)
            if answer is not None:
                self._send(ip.destination, ip.source, PROTOCOL_ICMP, answer, now_ns)
            elif error is not None:
                self._icmp_error(error)
            elif not self.udp.reply_arrives(ip.source, ip.destination, payload):
                raise ParseError("icmp_reply_unasked")
        else:
            code = PROTOCOL_UNREACHABLE
            if ip.protocol == PROTOCOL_UDP:
                is_trusted = bool(frame[0] & _CHECKED) and not ip.is_fragment
                addresses = (ip.source, ip.destination)
                if datagram_arrives(self.udp, addresses, payload, is_broadcast, is_trusted):
                    if self.dhcp is not None and self.dhcp.socket.queue:
                        self._serve_dhcp(self.dhcp, now_ns)
                    return
                code = PORT_UNREACHABLE
            message = self.icmp.error(DESTINATION_UNREACHABLE, code, packet, is_broadcast, now_ns)
            if message is not None:
                self._send(ip.destination, ip.source, PROTOCOL_ICMP, message, now_ns)

    def _joined_tcp(self, frame: bytes, ip: Ipv4Repr, payload: Buffer, now_ns: int) -> None:
        """TCP that came in fragments or behind IP options: once more, in a plain frame."""
        if len(payload) < 20:
            raise ParseError("tcp_short")
        vnet, traffic_class = frame[:VNET_BYTES], ip.traffic_class
        if ip.is_fragment:
            vnet, traffic_class = VNET_PLAIN, traffic_class & ~3 | self.reassembler.codepoint
        plain = Ipv4Repr(
            ip.source, ip.destination, PROTOCOL_TCP, len(payload), ip.ttl,
            traffic_class=traffic_class,
        )  # fmt: skip
        again = b"".join((vnet, frame[VNET_BYTES:IP_AT], plain.emit(), payload))
        self.engine.segments_in -= 1  # it was counted as it came
        self.input((again,), now_ns)

    def _icmp_error(self, error: IcmpError) -> None:
        if error.protocol != PROTOCOL_TCP:
            reason = self.udp.icmp_error_arrives(error)
        else:
            reason = icmp_error_arrives(
                self.engine, error.local, error.remote, error.sequence, error.kind,
                error.is_too_big, error.mtu, error.code,
            )  # fmt: skip
        if reason is not None:
            self._drop(reason)

    # ------------------------------------------------------------ time

    def advance(self, now_ns: int) -> None:
        """Do what is due."""
        self.engine.advance(now_ns)
        due = self.arp.next_ns
        if due is not None and due <= now_ns:
            self.arp.advance(now_ns)
            if self.arp.take_failed():
                self.engine.retry_links()
        if self.ipv6 is not None:
            self.ipv6.advance(now_ns)
        if self.dhcp is not None:
            self._serve_dhcp(self.dhcp, now_ns)
        if self.reassembler.datagrams:
            self._advance_reassembly(now_ns)

    def _advance_reassembly(self, now_ns: int) -> None:
        self.reassembler.advance(now_ns)
        for packet in self.reassembler.take_expired():
            message = self.icmp.error(TIME_EXCEEDED, REASSEMBLY_EXCEEDED, packet, False, now_ns)
            if message is not None:
                ip = Ipv4Packet(packet)
                self._send(ip.destination, ip.source, PROTOCOL_ICMP, message, now_ns)

    def next_deadline(self) -> int | None:
        """When `advance` is next needed, None: never. May be too early, never too late."""
        # Asked three times a turn of the host's loop: written out, which is three times as fast.
        earliest = self.engine.next_deadline()
        due = self.arp.next_ns
        if due is not None and (earliest is None or due < earliest):
            earliest = due
        if self.reassembler.datagrams:
            due = self.reassembler.next_deadline()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        if self.ipv6 is not None:
            due = self.ipv6.next_deadline()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        if self.dhcp is not None:
            due = self.dhcp.client.next_deadline()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    def _serve_dhcp(self, port: DhcpPort, now_ns: int) -> None:
        """The client has something to do; have the address that it has got."""
        lease = port.serve(now_ns)
        if self.address != (bytes(4) if lease is None else lease.address):
            self._use_address(lease)
            self.on_address(lease)

    def _use_address(self, lease: Lease | None) -> None:
        """Have the leased address, or none; connections of another one are over."""
        old = self.address
        self._be_at(lease)
        self.engine.leave(old)
        if lease is not None:
            self.arp.announce()

    def _be_at(self, lease: Lease | None) -> None:
        """The address, and what follows from it."""
        if lease is None:
            self.address = bytes(4)
            self.route = Route(self.address, 32)
        else:
            self.address = lease.address
            self.route = Route(lease.address, lease.prefix_length, lease.gateway)
        self.arp.address = self.address
        self._hops = {}
        self._strangers.clear()

    # ------------------------------------------------------------ frames out

    @property
    def has_output(self) -> bool:
        """`drain` may have something to do."""
        engine = self.engine
        return bool(
            engine.pending
            or engine.replies
            or engine.loopback
            or self.udp.output
            or self.arp.output
            or (self.ipv6 is not None and self.ipv6.host.has_output)
        )

    @property
    def has_loopback(self) -> bool:
        """`drain` has left frames for the stack itself, of which there were very many."""
        return bool(self.engine.loopback)

    @property
    def holds_acks(self) -> bool:
        """`release_acks` may have something to do."""
        return bool(self.engine.held)

    def release_acks(self, now_ns: int) -> None:
        """The user rests without having answered: what was held back for that goes out."""
        engine = self.engine
        engine.set_time(now_ns)
        engine.release_acks(now_ns + engine.config.ack_patience_ns)

    def drain(self, now_ns: int, budget: int = DRAIN_FRAMES) -> list[Frame]:
        """Up to ``budget`` frames to be sent now, each a tuple of buffers for ``writev``; the
        first is virtio_net_hdr and headers. Views are good until the buffers are released."""
        engine = self.engine
        out: list[Frame] = []
        engine.drain(now_ns, out, budget)
        if engine.loopback:
            self._drain_inside(now_ns, out, budget)
        while self.udp.output and len(out) < budget:
            self._send_datagram(self.udp.take_output(), out, now_ns)
        if self.arp.output:
            out += self.arp.take_output()
        if self.ipv6 is not None and self.ipv6.host.has_output:
            out += self.ipv6.host.take_output()
        engine.segments_out += len(out)
        return out

    def _drain_inside(self, now_ns: int, out: list[Frame], budget: int) -> None:
        """What is for the stack itself arrives at once, and what that makes it send goes out."""
        engine = self.engine
        inside = 0
        while engine.loopback and inside < _LOOPBACK_FRAMES:
            frames, engine.loopback = engine.loopback, []
            inside += len(frames)
            self.input([b"".join(frame) for frame in frames], now_ns, True)
            engine.drain(now_ns, out, budget)

    def _send(
        self, source: bytes, destination: bytes, protocol: int, payload: bytes, now_ns: int,
        ttl: int = _TTL, tos: int = 0,
    ) -> None:  # fmt: skip
        """An IPv4 packet of the stack's own, or of a ping socket's user."""
        hop = self.route.next_hop(destination)
        if hop is None:
            self._drop("no_route")
            return
        if not is_unicast(source) or self.route.is_broadcast(source):
            source = self.address
        self._identification = (self._identification + 1) & 0xFFFF
        ip = Ipv4Repr(source, destination, protocol, len(payload), ttl, tos, self._identification)
        for packet in cut(ip, payload, self.config.mtu):
            frame = b"".join((VNET_PLAIN, bytes(6), self.mac, _TYPE_IPV4, packet))
            if not self.arp.send(hop, (frame,), now_ns):
                self._drop("neighbour_failed")

    def _send_datagram(self, outgoing: Outgoing, out: list[Frame], now_ns: int) -> None:
        """To the link, to the neighbour cache, or round to a socket of this stack."""
        source, destination, data = outgoing.source, outgoing.destination, outgoing.data
        if len(destination[0]) == 16:
            reason = self.ipv6.send_datagram(outgoing, now_ns) if self.ipv6 else "no_route"
            if reason is not None:
                self._drop(reason)
            return
        if self.is_local(destination[0]):
            self.udp.turn_round(outgoing)
            return
        if outgoing.socket.space:
            message = echo_message(source, destination[0], data, is_reply=False)
            self._send(
                source[0], destination[0], PROTOCOL_ICMP, message, now_ns, outgoing.ttl,
                outgoing.tos,
            )  # fmt: skip
            return
        is_broadcast = self.route.is_broadcast(destination[0])
        hop = None if is_broadcast else self.route.next_hop(destination[0])
        if hop is None and not is_broadcast:
            self._drop("no_route")
            return
        self._identification = (self._identification + 1) & 0xFFFF
        user = outgoing.socket
        link = (BROADCAST if is_broadcast else bytes(6)) + self.mac + _TYPE_IPV4
        for frame in emit_datagram(
            link, source, destination, data, discovery.mtu_for(user, destination[0]),
            self.config.checksum, self._identification, discovery.forbids_cutting(user),
            outgoing.ttl, outgoing.tos,
        ):  # fmt: skip
            if hop is None:
                out.append(frame)
            elif not self.arp.send(hop, frame, now_ns):
                self._drop("neighbour_failed")

    # ------------------------------------------------------------ users

    @overload
    def socket(self, family: int, kind: Literal[1], protocol: int = 0) -> TcpSocket | int: ...

    @overload
    def socket(self, family: int, kind: int, protocol: int = 0) -> TcpSocket | UdpSocket | int: ...

    def socket(self, family: int, kind: int, protocol: int = 0) -> TcpSocket | UdpSocket | int:
        """For TCP, UDP or pings; or -EAFNOSUPPORT, -ESOCKTNOSUPPORT, -EPROTONOSUPPORT."""
        if family != AF_INET and (family != AF_INET6 or self.ipv6 is None):
            return -EAFNOSUPPORT
        if kind == SOCK_DGRAM:
            return self.udp.open(family, protocol)
        if kind != SOCK_STREAM:
            return -ESOCKTNOSUPPORT
        if protocol not in (0, PROTOCOL_TCP):
            return -EPROTONOSUPPORT
        engine = self.engine
        socket = TcpSocket(engine, engine.new_serial(), engine.settings, family)
        engine.sockets[socket.serial] = socket
        return socket

    def take_ready(self) -> Sequence[TcpSocket | UdpSocket]:
        """Sockets with an owner whose ``events`` may have changed, each once."""
        engine = self.engine
        ready = engine.ready
        if ready:
            engine.ready = []
            for socket in ready:
                socket.is_ready = False
        return [*ready, *self.udp.take_ready()] if self.udp.ready else ready

    def recall_lent(self) -> None:
        """Whatever memory was lent (``TcpSocket.send_lent``) may not be used any more: the
        connections that would still send it are reset."""
        self.engine.recall_lent()

    def lent_of(self, number: int) -> Lent | None:
        """After `load`: the lent memory of that number, if some of it is still in flight."""
        return self.engine.lent.pop(number, None)

    def counters(self) -> dict[str, int]:
        """Totals, drops by reason and table sizes."""
        out = {
            **self.engine.counters(),
            **self.udp.counters(),
            **self.arp.counters(),
            **self.icmp.counters(),
            **self.reassembler.counters(),
        }
        if self.ipv6 is not None:
            out.update(self.ipv6.host.counters())
        if self.dhcp is not None:
            out.update(self.dhcp.client.counters())
        for reason in sorted(self._drops):
            name = "drop_" + reason
            out[name] = out.get(name, 0) + self._drops[reason]
        return out

    # ------------------------------------------------------------ state

    def save(self) -> State:
        """Everything as plain data. Output that waits is saved too."""
        return {
            "version": 2,
            "engine": save_engine(self.engine),
            "udp": self.udp.save(),
            "arp": self.arp.save(),
            "ipv6": None if self.ipv6 is None else self.ipv6.save(),
            "icmp": self.icmp.save(),
            "reassembler": self.reassembler.save(),
            "dhcp": None if self.dhcp is None else self.dhcp.save(),
            "drops": dict(self._drops),
            "identification": self._identification,
        }

    def load(self, state: State) -> None:
        """Take what `save` gave, into a stack of the same configuration. Sockets are found by
        `socket_of`. Raises ValueError on another version, or where something is lacking; the stack
        is then good for nothing."""
        if state.get("version") != 2:
            raise ValueError(f"Stack: saved state has version {state.get('version')}, not 2")
        try:
            self._load(state)
        except KeyError as gap:
            raise ValueError(f"Stack: saved state lacks {gap.args[0]}") from gap

    def _load(self, state: State) -> None:
        load_engine(self.engine, state["engine"])
        self.udp.load(state["udp"])
        self.arp.load(state["arp"])
        if self.ipv6 is not None and state["ipv6"] is not None:
            self.ipv6.load(state["ipv6"])
        self.icmp.load(state["icmp"])
        self.reassembler.load(state["reassembler"])
        if self.dhcp is not None and state["dhcp"] is not None:
            self.dhcp.load(state["dhcp"])
            self._be_at(self.dhcp.client.lease)
        self._drops = dict(state["drops"])
        self._identification = state["identification"]

    def socket_of(self, serial: int) -> TcpSocket | UdpSocket | None:
        """The open socket with this serial number (``TcpSocket.serial``), also after `load`."""
        return self.engine.sockets.get(serial) or self.udp.sockets.get(serial)
