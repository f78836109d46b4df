"""Echo requests of the guest to the world, by the host's unprivileged ping sockets.

Where the host allows none (``net.ipv4.ping_group_range``), the guest is told so by ICMP instead
of being left without an answer. [Linux icmp(7)] [RFC 5508 3]
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from leulo.links.poller import ERR, IN, Poller
from leulo.links.user.errors import (
    ADMINISTRATIVELY_PROHIBITED,
    code_of,
    take_errors,
    watch_errors,
)
from leulo.links.user.guests import Endpoint, GuestSide
from leulo.links.user.plan import AddressPlan
from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.icmp import ECHO_REPLY, ECHO_REQUEST, NET_UNREACHABLE, IcmpRepr
from leulo.net.wire.ipv4 import PROTOCOL_ICMP, Ipv4Repr
from leulo.units import NS_PER_S

MOST_FLOWS: Final = 64
MOST_PEERS: Final = 256
IDLE_NS: Final = 60 * NS_PER_S  # [RFC 5508 REQ-2]
RECEIVES: Final = 32
_MOST_BYTES: Final = 65_535


class _Flow:
    __slots__ = ("guest", "peers", "socket", "used_ns")

    def __init__(self, guest: Endpoint, outside: socket.socket) -> None:
        self.guest = guest  # address and echo identifier
        self.socket = outside
        self.used_ns = 0
        self.peers: dict[str, None] = {}


class PingRelay:
    """One ping socket for each identifier that a guest uses."""

    def __init__(
        self,
        plan: AddressPlan,
        guests: GuestSide,
        poller: Poller,
        now_ns: Callable[[], int],
        wants_output: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._guests = guests
        self._poller = poller
        self._now_ns = now_ns
        self._wants_output = wants_output
        self._flows: dict[Endpoint, _Flow] = {}  # longest unused first
        self.counts = {"pings_out": 0, "pings_answered": 0, "pings_refused": 0}

    def request(
        self, source: bytes, target: bytes, echo: IcmpRepr, packet: Buffer, now_ns: int
    ) -> None:
        """Pass an echo request on to ``target``, which is not the gateway."""
        address = self._plan.host_address(target)
        if address is None:
            self._refuse(NET_UNREACHABLE, packet, now_ns)
            return
        flow = self._flow((source, echo.identifier), now_ns)
        if flow is None:
            self._refuse(ADMINISTRATIVELY_PROHIBITED, packet, now_ns)
            return
        text = socket.inet_ntoa(address)
        if text not in flow.peers and len(flow.peers) >= MOST_PEERS:
            del flow.peers[next(iter(flow.peers))]
        flow.peers[text] = None
        try:
            flow.socket.sendto(echo.emit(), (text, 0))
            self.counts["pings_out"] += 1
        except OSError as error:
            code = code_of(error)
            if code is not None:
                self._refuse(code, packet, now_ns)

    def next_deadline(self) -> int | None:
        for flow in self._flows.values():
            return flow.used_ns + IDLE_NS
        return None

    def advance(self, now_ns: int) -> None:
        while self._flows:
            flow = next(iter(self._flows.values()))
            if flow.used_ns + IDLE_NS > now_ns:
                return
            self._end(flow)

    def close(self) -> None:
        for flow in list(self._flows.values()):
            self._end(flow)

    # ------------------------------------------------------------ inside

    def _flow(self, guest: Endpoint, now_ns: int) -> _Flow | None:
        flow = self._flows.pop(guest, None)
        if flow is None:
            if len(self._flows) >= MOST_FLOWS:
                self._end(next(iter(self._flows.values())))
            try:
                outside = socket.socket(
                    socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP
                )
            except OSError:
                return None
            watch_errors(outside)
            flow = _Flow(guest, outside)
            known = flow
            self._poller.add(outside.fileno(), IN, lambda mask: self._on_ready(known, mask))
        flow.used_ns = now_ns
        self._flows[guest] = flow
        return flow

    def _on_ready(self, flow: _Flow, mask: int) -> None:
        now_ns = self._now_ns()
        self._wants_output()
        guest, identifier = flow.guest
        if mask & ERR:
            for report in take_errors(flow.socket):
                # The host's kernel gives back the request without its header's identifier.
                target = socket.inet_aton(report.address[0])
                sent = report.payload[8:] if report.payload[:1] == b"\x08" else report.payload
                rest = identifier << 16 | int.from_bytes(report.payload[6:8], "big")
                quote = IcmpRepr(ECHO_REQUEST, 0, rest, sent).emit()
                ip = Ipv4Repr(guest, target, PROTOCOL_ICMP, len(quote))
                self._guests.unreachable(report.code, ip.emit() + quote, now_ns, report.kind)
        if not mask & IN:
            return
        for _ in range(RECEIVES):
            try:
                message, address = flow.socket.recvfrom(_MOST_BYTES)
                answer = IcmpRepr.parse(message)
            except ParseError:
                continue
            except OSError:
                return
            if answer.kind != ECHO_REPLY or address[0] not in flow.peers:
                continue
            self.counts["pings_answered"] += 1
            answer.rest = identifier << 16 | answer.sequence
            source = socket.inet_aton(address[0])
            self._guests.send_icmp(source, guest, answer.emit(), now_ns)

    def _refuse(self, code: int, packet: Buffer, now_ns: int) -> None:
        self.counts["pings_refused"] += 1
        self._guests.unreachable(code, packet, now_ns)

    def _end(self, flow: _Flow) -> None:
        del self._flows[flow.guest]
        self._poller.remove(flow.socket.fileno())
        flow.socket.close()
