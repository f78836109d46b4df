"""The gateway of ``--net user``: a stack of ours on one side, the host's sockets on the other.

It is the other end of the guest's wire, in this process: frames go in and out as super-segments
with checksums left undone, since nothing on the way can spoil them. A published port's connection
becomes one of the gateway to the guest; one that the guest opens ends here and goes on from a
socket of the host (`outbound`). What is not TCP is sorted by `datagrams`. No byte leaves but by
sockets of the host, so no right is needed.

Limits: IPv4 only. Published ports lead to the first machine.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from leulo.errors import ConfigError
from leulo.links.base import Offload, TxFrame
from leulo.links.context import LinkContext
from leulo.links.user.datagrams import PROTOCOL_AT, TYPE_AT, TYPE_IPV4, Datagrams
from leulo.links.user.dhcp import DhcpServer
from leulo.links.user.dns import NameRelay
from leulo.links.user.guests import GuestSide
from leulo.links.user.outbound import Outbound
from leulo.links.user.ping import PingRelay
from leulo.links.user.plan import DNS_PORT, AddressPlan
from leulo.links.user.publish import PublishedPort
from leulo.links.user.resolver import Resolvers
from leulo.links.user.splice import PIECE_BYTES, Shortage, Splice
from leulo.links.user.udp import UdpRelay
from leulo.links.user.udp_publish import PublishedDatagrams, Senders
from leulo.net.wire.ipv4 import PROTOCOL_TCP
from leulo.stack import Stack, StackConfig
from leulo.tcp.config import Config
from leulo.tcp.socket import TcpSocket
from leulo.units import MIB, NS_PER_S

MAX_CONNECTIONS: Final = 4096
DESCRIPTORS: Final = 8192  # asked of the host: every connection, every UDP flow, and room
BUFFERS_BYTES: Final = 256 * MIB  # of all connections to the guest; half as much to the host
TURNS: Final = 64  # looks at what is ready, at one call; the rest waits for the next
_STREAM: Final = 1
_INET: Final = 2
_IPPROTO_TCP: Final = 6
_TCP_NODELAY: Final = 1
_ONE: Final = b"\x01\0\0\0"
_EINPROGRESS: Final = 115
_SUPER: Final = 65_535
_TIME_WAIT_NS: Final = NS_PER_S  # nothing wanders about on a wire inside the process


class _Timed(Protocol):
    """What has something to do at a time of its own."""

    def next_deadline(self) -> int | None: ...

    def advance(self, now_ns: int) -> None: ...


class UserLink:
    """``--net user``. ``published`` are the open TCP ports of the host, ``published_udp`` the
    others."""

    def __init__(self, context: LinkContext, resolvers: Resolvers | None = None) -> None:
        """Raises EnvironmentProblem for a port that can't be had, ConfigError for addresses."""
        if context.gateway is None:
            raise ConfigError("--gateway none: --net user is a gateway: give it an address")
        self.name = "user"
        self.mtu = context.mtu
        self.offload = Offload(checksum=True, tso_bytes=_SUPER)
        self._poller = context.poller
        self._plan = AddressPlan(
            context.guest_address, context.gateway, context.prefix_length, context.dns,
            context.host_loopback,
        )  # fmt: skip
        self._stack = Stack(
            StackConfig(
                name="gateway",
                mac=b"\x52\x55" + context.gateway,
                address=context.gateway,
                prefix_length=context.prefix_length,
                gateway=None,
                mtu=context.mtu,
                checksum=True,
                tso_bytes=_SUPER,
                accept_any=True,
                tcp=Config(
                    time_wait_ns=_TIME_WAIT_NS,
                    half_open_limit=MAX_CONNECTIONS,
                    buffers_max=BUFFERS_BYTES,
                ),
            ),
            context.random_bits,
            context.trace,
        )
        self._deliver: Callable[[Sequence[bytes]], None] = lambda frames: None
        self._wants_output = False
        self._splices: dict[Splice, None] = {}
        self._counters = {
            "frames_in": 0, "frames_out": 0, "bytes_in": 0, "bytes_out": 0,
            "connections_in": 0, "resets": 0, "refused": 0,
            "bytes_to_guest": 0, "bytes_from_guest": 0,
        }  # fmt: skip
        _raise_descriptor_limit()
        self._listener = self._listen()
        assert self._listener.listener is not None
        resolvers = resolvers or Resolvers()
        self._now_ns = now_ns = context.clock.now_ns
        wants = self._needs_output
        plan, poller = self._plan, context.poller
        self._guests = GuestSide(self._stack, context.mtu)
        self._outbound = Outbound(
            self._listener.listener, plan, resolvers, self._guests, poller, now_ns, wants,
            self._has_room,
        )  # fmt: skip
        self._names = NameRelay(
            (context.dns, DNS_PORT), self._guests, poller, resolvers, now_ns, wants
        )
        self._udp = UdpRelay(plan, self._guests, poller, now_ns, wants)
        self._pings = PingRelay(plan, self._guests, poller, now_ns, wants)
        self._senders = Senders()
        self._shortage = Shortage(now_ns)
        self._datagrams = Datagrams(
            self._stack.mac, plan, self._guests, DhcpServer(plan, context.mtu), self._names,
            self._udp, self._senders, self._pings,
        )  # fmt: skip
        self.published: list[PublishedPort] = []
        self.published_udp: list[PublishedDatagrams] = []
        try:
            for port in context.publish:
                if port.protocol == "udp":
                    self.published_udp.append(
                        PublishedDatagrams(
                            port, plan, self._senders, self._guests, poller, now_ns, wants
                        )
                    )
                else:
                    self.published.append(PublishedPort(port, poller, now_ns, self._from_host))
        except BaseException:
            self.close()
            raise
        self._timed: tuple[_Timed, ...] = (
            self._stack, self._names, self._udp.flows, self._pings.flows, self._senders,
            self._datagrams, self._shortage, *self.published,
        )  # fmt: skip

    # ------------------------------------------------------------ the link

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self._deliver = deliver

    def transmit(self, frames: Sequence[TxFrame], now_ns: int) -> None:
        counters = self._counters
        counters["frames_in"] += len(frames)
        taken = self._datagrams.is_taken
        tcp: list[bytes] = []
        for parts in frames:
            frame = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
            counters["bytes_in"] += len(frame)
            if (
                len(frame) > PROTOCOL_AT
                and frame[PROTOCOL_AT] == PROTOCOL_TCP
                and frame[TYPE_AT : TYPE_AT + 2] == TYPE_IPV4
            ) or not taken(frame, now_ns):
                tcp.append(frame)
        if tcp:
            self._stack.input(tcp, now_ns)
        self._serve(now_ns)

    def next_deadline(self) -> int | None:
        """At once, if a host's socket has brought something; else the earliest of all parts."""
        if self._wants_output:
            return 0
        earliest: int | None = None
        for part in self._timed:
            due = part.next_deadline()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    def advance(self, now_ns: int) -> None:
        for part in self._timed:
            due = part.next_deadline()
            if due is not None and due <= now_ns:
                part.advance(now_ns)
        self._serve(now_ns)

    def counters(self) -> dict[str, int]:
        counters = dict(self._counters)
        outbound = self._outbound.counts
        counters["connections"] = len(self._splices)
        counters["connections_opening"] = len(self._outbound)
        counters["connections_out"] = outbound["opened"]
        counters["refused"] += outbound["refused"]
        for name in ("unreachable", "given_up", "no_room"):
            counters[name] = outbound[name]
        counters.update(self._udp.counts)
        counters["udp_senders"] = len(self._senders)
        counters["udp_published_in"] = sum(port.datagrams_in for port in self.published_udp)
        counters["udp_published_out"] = sum(port.datagrams_out for port in self.published_udp)
        counters.update(self._names.counts)
        counters.update(self._pings.counts)
        for reason in sorted(self._datagrams.drops):
            counters["drop_" + reason] = self._datagrams.drops[reason]
        counters.update(
            {f"gateway.{name}": value for name, value in self._stack.counters().items()}
        )
        return counters

    def close(self) -> None:
        for splice in list(self._splices):
            splice.reset()
        self._outbound.close()
        self._names.close()
        self._udp.flows.close()
        self._pings.flows.close()
        for port in self.published:
            port.close()
        for other in self.published_udp:
            other.close()
        self.published.clear()
        self.published_udp.clear()

    # ------------------------------------------------------------ the gateway's stack

    def _serve(self, now_ns: int) -> None:
        """Serve the sockets that are ready and send what came of it, until nothing is left.

        A bounded number of times: with a guest that answers at once there might be no end.
        """
        self._wants_output = False
        stack = self._stack
        counters = self._counters
        for _ in range(TURNS):
            for ready in stack.take_ready():
                owner = ready.owner
                if isinstance(owner, Splice):
                    owner.on_guest()
                elif owner is self:
                    self._accept()
            whole: list[bytes] = []
            if stack.has_output:
                whole = [b"".join(frame) for frame in stack.drain(now_ns)]
            if self._guests.frames:
                whole += self._guests.frames
                self._guests.frames = []
            if not whole:
                return
            counters["frames_out"] += len(whole)
            counters["bytes_out"] += sum(map(len, whole))
            self._deliver(whole)
        self._wants_output = True

    def _needs_output(self) -> None:
        self._wants_output = True

    def _keep_time(self) -> None:
        """A socket of the host has something: it may be long after the stack was served last."""
        self._stack.engine.set_time(self._now_ns())

    def _listen(self) -> TcpSocket:
        """The socket that takes whatever connection the guest opens, to any address and port."""
        listener = self._stack.socket(_INET, _STREAM)
        assert isinstance(listener, TcpSocket)
        listener.owner = self
        listener.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, _ONE)  # what it accepts has it
        listener.bind(bytes(4), 0)
        listener.listen(MAX_CONNECTIONS)
        return listener

    # ------------------------------------------------------------ connections

    def _has_room(self) -> bool:
        return len(self._splices) + len(self._outbound) < MAX_CONNECTIONS

    def _from_host(self, connection: socket.socket, guest_port: int) -> None:
        """Somebody has connected to a published port."""
        guest = self._stack.socket(_INET, _STREAM) if self._has_room() else None
        if not isinstance(guest, TcpSocket):
            self._refuse(connection)
            return
        guest.settings = self._listener.settings  # TCP_NODELAY
        self._keep_time()
        result = guest.connect(self._plan.guest, guest_port)
        if result not in (0, -_EINPROGRESS):
            guest.close()
            self._refuse(connection)
            return
        self._counters["connections_in"] += 1
        self._join(guest, connection)
        self._wants_output = True

    def _accept(self) -> None:
        """Connections that the guest opened are complete."""
        while True:
            guest = self._listener.accept()
            if not isinstance(guest, TcpSocket):
                return
            host = self._outbound.take(guest)
            if host is None:
                guest.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ONE + bytes(4))
                guest.close()
            else:
                host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._join(guest, host).on_guest()

    def _join(self, guest: TcpSocket, host: socket.socket) -> Splice:
        splice = Splice(
            guest, host, self._poller, done=self._ended, wants_output=self._needs_output,
            keep_time=self._keep_time, piece_bytes=self._piece_bytes,
            shortage=self._shortage,
        )  # fmt: skip
        self._splices[splice] = None
        return splice

    def _piece_bytes(self) -> int:
        """How much of one connection may wait for the host's side: all of them bounded."""
        return min(PIECE_BYTES, BUFFERS_BYTES // 2 // max(len(self._splices), 1))

    def _refuse(self, connection: socket.socket) -> None:
        self._counters["refused"] += 1
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ONE + bytes(4))
        connection.close()

    def _ended(self, splice: Splice) -> None:
        self._splices.pop(splice, None)
        self._wants_output = True
        counters = self._counters
        counters["resets"] += splice.was_reset
        counters["bytes_to_guest"] += splice.bytes_to_guest
        counters["bytes_from_guest"] += splice.bytes_from_guest


def _raise_descriptor_limit() -> None:
    """Two thousand connections are two thousand descriptors; many hosts begin with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
