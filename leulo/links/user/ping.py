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
)
from leulo.links.user.flows import Flow, FlowTable
from leulo.links.user.guests import GuestSide
from leulo.links.user.plan import AddressPlan
from leulo.net.wire import Buffer, ParseError
from leulo.net.wire.icmp import ECHO_REPLY, ECHO_REQUEST, NET_UNREACHABLE, IcmpRepr
from leulo.net.wire.ipv4 import PROTOCOL_ICMP, Ipv4Repr
from leulo.units import NS_PER_S

MOST_FLOWS: Final = 64
IDLE_NS: Final = 60 * NS_PER_S  # [RFC 5508 REQ-2]
RECEIVES: Final = 32
_MOST_BYTES: Final = 65_535


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
        self._now_ns = now_ns
        self._wants_output = wants_output
        self.flows = FlowTable(
            socket.IPPROTO_ICMP, MOST_FLOWS, IDLE_NS, poller, self._on_ready
        )  # the port of a flow's guest is an echo identifier
        self.counts = {"pings_out": 0, "pings_answered": 0, "pings_refused": 0}

    def request(
        self, source: bytes, target: bytes, echo: IcmpRepr, packet: Buffer, now_ns: int
    ) -> None:
        """Pass an echo request on to ``target``, which is not the gateway."""
        address = self._plan.host_address(target)
        if address is None:
            self._refuse(NET_UNREACHABLE, packet, now_ns)
            return
        flow = self.flows.of((source, echo.identifier), now_ns)
        if flow is None:
            self._refuse(ADMINISTRATIVELY_PROHIBITED, packet, now_ns)
            return
        text = socket.inet_ntoa(address)
        flow.expect(text, target)
        try:
            flow.socket.sendto(echo.emit(), (text, 0))
            self.counts["pings_out"] += 1
        except OSError as error:
            code = code_of(error)
            if code is not None:
                self._refuse(code, packet, now_ns)

    # ------------------------------------------------------------ inside

    def _on_ready(self, flow: Flow, mask: int) -> None:
        now_ns = self._now_ns()
        self._wants_output()
        guest, identifier = flow.guest
        if mask & ERR:
            for report in take_errors(flow.socket):
                # The host's kernel gives back the request without its header's identifier.
                target = flow.peers.get(report.address[0])
                if target is None:
                    continue
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
            source = flow.peers.get(address[0])
            if answer.kind != ECHO_REPLY or source is None:
                continue
            self.counts["pings_answered"] += 1
            answer.rest = identifier << 16 | answer.sequence
            self._guests.send_icmp(source, guest, answer.emit(), now_ns)

    def _refuse(self, code: int, packet: Buffer, now_ns: int) -> None:
        self.counts["pings_refused"] += 1
        self._guests.unreachable(code, packet, now_ns)
