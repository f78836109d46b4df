"""The IPv6 half of a stack: between the host's IPv6 and the transports, which it shares.

A plain segment for a known connection goes straight to the engine; anything else takes the
careful path of `leulo.net.ipv6`. The engine reads segments where they stand behind an IPv4
header, so one over IPv6 is handed to it without its first twenty bytes. [RFC 8200]
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from leulo.net.icmp import IcmpError
from leulo.net.ipv6 import Ipv6Host, Received
from leulo.net.wire import ParseError
from leulo.net.wire.checksum import sum_words
from leulo.net.wire.icmpv6 import DESTINATION_UNREACHABLE, PORT_UNREACHABLE
from leulo.net.wire.ipv4 import PROTOCOL_TCP
from leulo.net.wire.ipv6 import HEADER_BYTES, LOOPBACK, PROTOCOL_ICMPV6
from leulo.state import State
from leulo.tcp.demux import half_open_arrives, stranger_arrives, syn_arrives
from leulo.tcp.engine import Engine
from leulo.tcp.header import IP_AT, SYN, TCP_AT, TIMESTAMPED_AT, Frame, front
from leulo.tcp.input import segment_arrives
from leulo.tcp.tcb import LOOPBACK_MARK
from leulo.udp import discovery
from leulo.udp.datagram import datagram_arrives, emit_datagram_v6
from leulo.udp.ping import echo_message
from leulo.udp.table import Outgoing, UdpTable

_TYPE_IPV6: Final = b"\x86\xdd"
# seq, ack, offset and flags, window; the first three words of the options
_SEGMENT: Final = Struct("!8xIIHH4xIII")
_MORE: Final = HEADER_BYTES - 20  # how much longer the header is than IPv4's
_PORTS_END: Final = IP_AT + HEADER_BYTES + 4
_KEY_AT: Final = IP_AT + 8
_CHECKED: Final = 3  # NEEDS_CSUM or DATA_VALID [virtio 1.2 5.1.6.4]
_TYPE_BYTES: Final = 4  # kept of what is before a segment, and the two with the traffic class
_CLASS_BYTES: Final = 2
_BEFORE: Final = bytes(TCP_AT - _TYPE_BYTES - _CLASS_BYTES)


class StackIpv6:
    """Joins an `Ipv6Host` with the engine and the table of UDP."""

    def __init__(
        self, host: Ipv6Host, engine: Engine, udp: UdpTable, has_checksum_offload: bool
    ) -> None:
        self.host: Ipv6Host = host
        self._engine: Engine = engine
        self._udp: UdpTable = udp
        self._has_offload: bool = has_checksum_offload
        self._due_ns: int | None = None
        self._is_due_known: bool = False  # nothing has happened since the host was asked

    # ------------------------------------------------------------ frames in

    def input(self, frame: bytes, is_inside: bool, now_ns: int) -> IcmpError | None:
        """A frame of type IPv6. Returns what an ICMPv6 error says of a packet of ours, for the
        transport. Raises ParseError with the reason of a drop."""
        size = len(frame)
        if size >= _PORTS_END and frame[IP_AT] >> 4 == 6 and frame[IP_AT + 6] == PROTOCOL_TCP:
            key = frame[_KEY_AT:_PORTS_END]
            if is_inside:
                key += LOOPBACK_MARK
            end = IP_AT + HEADER_BYTES + (frame[IP_AT + 4] << 8 | frame[IP_AT + 5])
            if end <= size and key in self._engine.connections:
                plain = frame[_MORE:end]
                self._segment(plain, key, frame, bool(frame[0] & _CHECKED), is_inside, now_ns)
                return None
        self._is_due_known = False
        received = self.host.input(frame, is_inside, now_ns)
        self._engine.mtu6 = self.host.mtu
        if self._engine.unresolved and self.host.ndp.take_news():
            self._engine.retry_links()
        if not isinstance(received, Received):
            return received
        if received.protocol == PROTOCOL_TCP:
            self._tcp(received, frame, is_inside, now_ns)
        elif received.protocol == PROTOCOL_ICMPV6:
            ends = (received.source, received.destination)
            if received.is_group or not self._udp.reply_arrives(*ends, received.payload):
                raise ParseError("icmp_reply_unasked")
        else:
            self._datagram(received, now_ns)
        return None

    def _tcp(self, received: Received, frame: bytes, is_inside: bool, now_ns: int) -> None:
        if received.is_group:
            raise ParseError("tcp_broadcast")
        if len(received.payload) < 20:
            raise ParseError("tcp_short")
        key = received.source + received.destination + received.payload[:4]
        if is_inside:
            key += LOOPBACK_MARK
        head = frame[_MORE : _MORE + _TYPE_BYTES] + received.packet[:_CLASS_BYTES]
        plain = head + _BEFORE + received.payload
        self._segment(plain, key, frame, received.is_trusted, is_inside, now_ns)

    def _segment(
        self, plain: bytes, key: bytes, frame: bytes, is_trusted: bool, is_inside: bool, now_ns: int
    ) -> None:
        """The segment in ``plain[TCP_AT:]``; ``frame`` has its Ethernet header."""
        end = len(plain)
        if not is_trusted:
            pseudo = int.from_bytes(key[:32], "big") + PROTOCOL_TCP + end - TCP_AT
            if sum_words(plain[TCP_AT:], pseudo) != 0xFFFF:
                raise ParseError("checksum")
        if end < TIMESTAMPED_AT:
            plain += bytes(TIMESTAMPED_AT - end)
        seq, ack, control, window, option, tsval, tsecr = _SEGMENT.unpack_from(plain, TCP_AT - 4)
        tcb = self._engine.connections.get(key)
        if tcb is not None:
            segment_arrives(
                tcb, plain, end, seq, ack, control, window, option, tsval, tsecr, now_ns
            )
            return
        half = self._engine.half_open.get(key)
        if half is not None:
            half_open_arrives(
                half, plain, end, seq, ack, control, window, option, tsval, tsecr, now_ns
            )
            return
        back = front(frame[16:22] + frame[10:16] + _TYPE_IPV6, True, self._has_offload)
        if control & SYN:
            syn_arrives(
                self._engine, key, back, plain, end, seq, ack, control, window, is_inside, now_ns
            )
        else:
            stranger_arrives(
                self._engine, key, back, plain, end, seq, ack, control, window, option, tsval,
                tsecr, is_inside, now_ns,
            )  # fmt: skip

    def _datagram(self, received: Received, now_ns: int) -> None:
        payload = received.payload
        if not received.is_trusted and payload[6:8] == b"\0\0":
            raise ParseError("udp_no_checksum")  # it may not be left out [RFC 8200 8.1]
        addresses = (received.source, received.destination)
        is_trusted = received.is_trusted
        if not datagram_arrives(self._udp, addresses, payload, received.is_group, is_trusted):
            self.host.report(received, DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, now_ns)

    # ------------------------------------------------------------ frames out

    def send_datagram(self, outgoing: Outgoing, now_ns: int) -> str | None:
        """To the link, or round to a socket of this stack. Returns why it was dropped."""
        source, destination, data = outgoing.source, outgoing.destination, outgoing.data
        host = self.host
        self._is_due_known = False
        if host.is_local(destination[0]):
            self._udp.turn_round(outgoing)
            return None
        if outgoing.socket.space:
            message = echo_message(source, destination[0], data, is_reply=False)
            return host.send_packet(
                source[0], destination[0], PROTOCOL_ICMPV6, message, now_ns, outgoing.ttl,
                outgoing.tos,
            )  # fmt: skip
        link = bytes(6) + host.mac + _TYPE_IPV6
        mtu = discovery.mtu_for(outgoing.socket, destination[0])
        frames: list[Frame] = emit_datagram_v6(
            link, source, destination, data, mtu, self._has_offload, host.new_identification(),
            outgoing.ttl, outgoing.tos,
        )  # fmt: skip
        for frame in frames:
            reason = host.send(destination[0], frame, now_ns)
            if reason is not None:
                return reason
        return None

    def link_header(self, peer: bytes, now_ns: int) -> bytes | None:
        """See `leulo.tcp.engine.Network`."""
        if self.host.is_local(peer):
            return self.host.mac + self.host.mac + _TYPE_IPV6
        self._is_due_known = False
        return self.host.link_header(peer, now_ns)

    def may_bind(self, address: bytes) -> bool:
        """See `leulo.tcp.engine.Network`."""
        return address == LOOPBACK or self.host.is_local(address)

    def next_deadline(self) -> int | None:
        """When `advance` is next needed, None: never."""
        if not self._is_due_known:
            self._due_ns = self.host.next_deadline()
            self._is_due_known = True
        return self._due_ns

    def advance(self, now_ns: int) -> None:
        """Do what is due."""
        self._is_due_known = False
        if self.host.advance(now_ns):
            self._engine.retry_links()
        for address in self.host.take_gone():
            self._engine.leave(address)

    def save(self) -> State:
        return self.host.save()

    def load(self, state: State) -> None:
        """Raises ValueError on another version."""
        self._is_due_known = False
        self.host.load(state)
        self._engine.mtu6 = self.host.mtu
