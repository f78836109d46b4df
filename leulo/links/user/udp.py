"""UDP of the guest with the world: one socket of the host for each of the guest's.

The mapping does not depend on where the guest sends to, and lets answers in from the addresses
that it has sent to. It lasts five minutes from the last datagram either way. [RFC 4787 4, 5]
Nothing waits: what the host does not take at once is dropped and counted, as UDP may be.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from leulo.links.poller import ERR, IN, Poller
from leulo.links.user.errors import Report, code_of, take_errors
from leulo.links.user.flows import Flow, FlowTable
from leulo.links.user.guests import Endpoint, GuestSide
from leulo.links.user.plan import AddressPlan
from leulo.net.wire import Buffer
from leulo.net.wire.icmp import NET_UNREACHABLE, PORT_UNREACHABLE
from leulo.net.wire.ipv4 import PROTOCOL_UDP, Ipv4Repr
from leulo.net.wire.udp import UdpRepr
from leulo.units import NS_PER_S

MOST_FLOWS: Final = 1024  # sockets of the guest; the longest unused gives way
IDLE_NS: Final = 300 * NS_PER_S  # [RFC 4787 REQ-5]
RECEIVES: Final = 64  # datagrams at one readiness; the rest waits for the next
MOST_BYTES: Final = 65_535


class UdpRelay:
    """``flows`` is its table. ``wants_output``: there is something for the guest."""

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
        self.flows = FlowTable(0, MOST_FLOWS, IDLE_NS, poller, self._on_ready)
        self._counts = {
            "udp_from_guest": 0, "udp_to_guest": 0, "udp_filtered": 0, "udp_not_sent": 0,
        }  # fmt: skip

    @property
    def counts(self) -> dict[str, int]:
        flows = {"udp_evicted": self.flows.evicted, "udp_flows": len(self.flows)}
        return {**self._counts, **flows}

    def from_guest(
        self, guest: Endpoint, to: Endpoint, payload: Buffer, packet: Buffer, now_ns: int
    ) -> None:
        """Send a datagram on; ``packet`` is the IPv4 packet, for an error about it."""
        target = self._plan.host_address(to[0])
        if target is None:
            own = self._plan.is_own(to[0])
            self._guests.unreachable(PORT_UNREACHABLE if own else NET_UNREACHABLE, packet, now_ns)
            return
        flow = self.flows.of(guest, now_ns)
        if flow is None:
            self._counts["udp_not_sent"] += 1
            return
        address = socket.inet_ntoa(target)
        flow.expect(address, to[0])
        error = _send(flow.socket, payload, (address, to[1]))
        if error is None:
            self._counts["udp_from_guest"] += 1
            return
        self._counts["udp_not_sent"] += 1
        code = code_of(error)
        if code is not None:
            self._guests.unreachable(code, packet, now_ns)

    # ------------------------------------------------------------ inside

    def _on_ready(self, flow: Flow, mask: int) -> None:
        now_ns = self._now_ns()
        self._wants_output()
        if mask & ERR:
            for report in take_errors(flow.socket):
                self._reported(flow, report, now_ns)
        if not mask & IN:
            return
        self.flows.used(flow, now_ns)
        for _ in range(RECEIVES):
            try:
                payload, address = flow.socket.recvfrom(MOST_BYTES)
            except OSError:  # nothing more, or an error that the queue will tell of
                return
            source = flow.peers.get(address[0])
            if source is None:
                self._counts["udp_filtered"] += 1
                continue
            self._counts["udp_to_guest"] += 1
            self._guests.send_udp((source, address[1]), flow.guest, payload, now_ns)

    def _reported(self, flow: Flow, report: Report, now_ns: int) -> None:
        """Pass an ICMP error on, about the packet as the guest sent it."""
        source = flow.peers.get(report.address[0])
        if source is not None:
            udp = UdpRepr(flow.guest[1], report.address[1], len(report.payload))
            datagram = udp.emit(flow.guest[0], source, report.payload)
            ip = Ipv4Repr(flow.guest[0], source, PROTOCOL_UDP, len(datagram))
            self._guests.unreachable(report.code, ip.emit() + datagram, now_ns, report.kind)


def _send(through: socket.socket, payload: Buffer, to: tuple[str, int]) -> OSError | None:
    """An error of an earlier datagram comes out of the next call: try twice."""
    problem: OSError | None = None
    for _ in range(2):
        try:
            through.sendto(payload, to)
            return None
        except OSError as error:
            problem = error
    return problem
