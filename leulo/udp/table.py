"""All UDP of one stack: who is bound where, what waits to be sent, who wants to be told. Ping
sockets are sockets of the same table, their identifiers ports behind the real ones.

The table knows no link and no route. `stack` hands it valid datagrams and takes `output` in its
drain; sockets meet in it. What is kept per socket is in `socket`. [RFC 768] [RFC 1122 4.1]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from leulo.net.icmp import IcmpError
from leulo.net.wire import Buffer
from leulo.net.wire.icmp import (
    DESTINATION_UNREACHABLE,
    HOST_UNREACHABLE,
    PARAMETER_PROBLEM,
    TIME_EXCEEDED,
)
from leulo.net.wire.ipv4 import PROTOCOL_ICMP, PROTOCOL_UDP
from leulo.net.wire.ipv6 import PROTOCOL_ICMPV6
from leulo.state import State
from leulo.tcp.errno import AF_INET, ECONNREFUSED, EPROTONOSUPPORT
from leulo.tcp.icmp_errors import error_of_icmp
from leulo.udp import discovery
from leulo.udp.marks import marks_for
from leulo.udp.ping import PingSocket, echo_message
from leulo.udp.socket import PING_SPACE, Datagram, Endpoint, UdpSocket

MAX_RECEIVED_BYTES: Final = 64 << 20
_ANY: Final = (b"", bytes(4), bytes(16))
_LOST: Final = (DESTINATION_UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM)


class Network(Protocol):
    """What the table asks of the stack around it."""

    def source_for(self, peer: bytes) -> bytes | None:
        """The local address that datagrams to ``peer`` get, None without a route."""

    def may_bind(self, address: bytes) -> bool:
        """May a socket have ``address`` (never the wildcard)?"""

    def is_broadcast(self, address: bytes) -> bool:
        """Does ``address`` stand for every host of the link?"""

    def link_mtu(self, peer: bytes) -> int:
        """Bytes of the largest packet that the link towards ``peer`` takes."""

    def path_mtu(self, peer: bytes) -> int:
        """The same of the whole path, as far as routers have told."""

    def learn_path(self, peer: bytes, mtu: int) -> bool:
        """A router of an IPv4 path says that it takes no more than ``mtu``. False: that is too
        little to be believed, or no news."""


class Outgoing:
    """A datagram on its way to the link; ``socket`` gets its room back when it has left."""

    __slots__ = ("data", "destination", "socket", "source", "tos", "ttl")

    def __init__(
        self, socket: UdpSocket, source: Endpoint, destination: Endpoint, data: bytes,
        marks: tuple[int, int],
    ) -> None:  # fmt: skip
        self.socket: UdpSocket = socket
        self.source: Endpoint = source
        self.destination: Endpoint = destination
        self.data: bytes = data
        self.ttl: int = marks[0]
        self.tos: int = marks[1]


class UdpTable:
    """The UDP layer. ``accepts_any``: the socket bound to port 0 gets what no other does.
    ``received_max``: bytes of all receive queues together, whatever single sockets ask for."""

    def __init__(
        self,
        network: Network,
        random_bits: Callable[[int], int],
        new_serial: Callable[[], int],
        ephemeral: tuple[int, int],
        accepts_any: bool = False,
        received_max: int = MAX_RECEIVED_BYTES,
    ) -> None:
        self.network: Network = network
        self.accepts_any: bool = accepts_any
        self.sockets: dict[int, UdpSocket] = {}  # by serial number
        self.output: deque[Outgoing] = deque()
        self.ready: list[UdpSocket] = []
        self.received_max: int = min(received_max, MAX_RECEIVED_BYTES)
        self.received_bytes: int = 0  # in all receive queues
        self.counts: dict[str, int] = dict.fromkeys(_COUNTS, 0)
        self._random_bits: Callable[[int], int] = random_bits
        self._new_serial: Callable[[], int] = new_serial
        self._first: int = ephemeral[0]
        self._ports: int = ephemeral[1] - ephemeral[0] + 1
        self._bound: dict[int, list[UdpSocket]] = {}  # by space and port, latest last

    def open(self, family: int, protocol: int = 0) -> UdpSocket | int:
        """A new socket of AF_INET or AF_INET6, for UDP or for pings; or -EPROTONOSUPPORT."""
        if protocol in (0, PROTOCOL_UDP):
            socket = UdpSocket(self, self._new_serial(), family)
        elif protocol == (PROTOCOL_ICMP if family == AF_INET else PROTOCOL_ICMPV6):
            socket = PingSocket(self, self._new_serial(), family)
        else:
            return -EPROTONOSUPPORT
        self.sockets[socket.serial] = socket
        return socket

    # ------------------------------------------------------------ datagrams in

    def input(
        self, source: Endpoint, destination: Endpoint, data: Buffer, to_everyone: bool = False
    ) -> bool:
        """A valid datagram for an address of ours. ``to_everyone``: it was a broadcast, which
        every socket that fits gets. False: nobody is bound there."""
        counts = self.counts
        counts["udp_in"] += 1
        if to_everyone:
            return self._input_all(source, destination, data)
        socket = self._find(source, destination)
        if socket is None:
            counts["udp_no_port"] += 1
            return False
        self._give(socket, source, destination, data)
        return True

    def _input_all(self, source: Endpoint, destination: Endpoint, data: Buffer) -> bool:
        found = [s for s in self._bound.get(destination[1], ()) if _score(s, source, b"") >= 0]
        for socket in found:
            self._give(socket, source, destination, data)
        return bool(found)

    def _find(self, source: Endpoint, destination: Endpoint) -> UdpSocket | None:
        """The socket that fits best: connected before bound to the address before wildcard; of
        two alike the one bound last, as on Linux."""
        best: UdpSocket | None = None
        most = -1
        for socket in self._bound.get(destination[1], ()):
            score = _score(socket, source, destination[0])
            if score >= most and score >= 0:
                best, most = socket, score
        if best is None and self.accepts_any:
            for socket in self._bound.get(0, ()):
                best = socket
        return best

    def _give(
        self, socket: UdpSocket, source: Endpoint, destination: Endpoint, data: Buffer
    ) -> None:
        datagram = Datagram(bytes(data), source, destination)
        if self.received_bytes + datagram.cost > self.received_max or not socket.take(datagram):
            self.counts["udp_receive_full"] += 1
            socket.drops += 1
        else:
            self.counts["ping_in" if socket.space else "udp_delivered"] += 1

    def reply_arrives(self, source: bytes, destination: bytes, message: Buffer) -> bool:
        """An intact echo reply for an address of ours. False: nobody asked."""
        identifier = message[4] << 8 | message[5]
        for socket in reversed(self._bound.get(PING_SPACE | identifier, ())):
            if _score(socket, (source, 0), destination) >= 0:
                self._give(socket, (source, 0), (destination, identifier), message)
                return True
        return False

    def icmp_error_arrives(self, error: IcmpError) -> str | None:
        """An ICMP error about a datagram of ours, to the socket that sent it. Returns why it was
        ignored, or None."""
        if error.protocol in (PROTOCOL_ICMP, PROTOCOL_ICMPV6):
            # Deviation: soft errors are told too, because there is no queue of errors here
            # (IP_RECVERR), and a ping wants to know them.
            if error.kind in _LOST and not error.is_too_big:
                code = error.code if error.kind == DESTINATION_UNREACHABLE else HOST_UNREACHABLE
                local = (error.local[0], PING_SPACE | error.local[1])
                self._fail(local, error.remote, error_of_icmp(code))
        elif error.protocol != PROTOCOL_UDP:
            return "icmp_other_protocol"
        elif error.is_too_big:
            sender = self._sender(error.local, error.remote)
            return "icmp_no_connection" if sender is None else discovery.too_big(sender, error)
        elif error.is_hard:  # soft ones may pass [RFC 1122 4.1.3.3] [Linux udp(7)]
            self._fail(error.local, error.remote, error_of_icmp(error.code))
        return None

    def _sender(self, local: Endpoint, remote: Endpoint) -> UdpSocket | None:
        """Who may have sent something from ``local`` to ``remote``."""
        for socket in self._bound.get(local[1], ()):
            is_from = socket.address == local[0] or socket.address in _ANY
            if is_from and socket.speaks(len(remote[0])) and socket.remote in (None, remote):
                return socket
        return None

    def _fail(self, local: Endpoint, remote: Endpoint, error: int) -> None:
        """A datagram of ours did not arrive; ``error`` is the errno. Only a connected socket is
        told, as it alone can know which datagram is meant. [RFC 1122 4.1.3.3]"""
        for socket in self._bound.get(local[1], ()):
            if socket.remote == remote and (socket.address == local[0] or socket.address in _ANY):
                socket.fail(error)
                self.counts["udp_errors"] += 1
                return

    # ------------------------------------------------------------ datagrams out

    def send(self, socket: UdpSocket, source: Endpoint, destination: Endpoint, data: bytes) -> None:
        """Queue one; the stack sends it in its next drain."""
        marks = marks_for(socket, destination[0])
        self.output.append(Outgoing(socket, source, destination, data, marks))

    def take_output(self) -> Outgoing:
        """The next to be sent; its socket has the room back."""
        outgoing = self.output.popleft()
        outgoing.socket.sent(len(outgoing.data))
        self.counts["ping_out" if outgoing.socket.space else "udp_out"] += 1
        return outgoing

    def turn_round(self, outgoing: Outgoing) -> None:
        """Its destination is this same stack."""
        source, destination, data = outgoing.source, outgoing.destination, outgoing.data
        if outgoing.socket.space:
            answer = echo_message((destination[0], source[1]), source[0], data, is_reply=True)
            self.reply_arrives(destination[0], source[0], answer)
        elif not self.input(source, destination, data):
            self._fail(source, destination, ECONNREFUSED)

    # ------------------------------------------------------------ ports

    def bind(self, socket: UdpSocket, address: bytes, port: int) -> int:
        """Give ``port`` (0: choose one) at ``address`` to ``socket``: the port, -1 if there is
        none. Two sockets share a port if both allow it, or have different addresses."""
        if not port and (socket.space or not self.accepts_any):
            return self.choose(socket)
        others = self._bound.get(socket.space | port, ())
        if any(
            not (socket.is_address_reused and other.is_address_reused)
            and _overlap(socket, address, other)
            for other in others
        ):
            return -1
        self._bound.setdefault(socket.space | port, []).append(socket)
        return port

    def choose(self, socket: UdpSocket) -> int:
        """As `bind` to port 0, also where every port is accepted: a random free port, or the next
        free one from there; -1 if all are taken. [RFC 6056 3.3.1]"""
        offset = self._random_bits(32) % self._ports
        for step in range(self._ports):
            port = self._first + (offset + step) % self._ports
            if socket.space | port not in self._bound:
                self._bound[socket.space | port] = [socket]
                return port
        return -1

    def release(self, socket: UdpSocket, port: int) -> None:
        """``socket`` lets go of ``port``."""
        users = self._bound.get(socket.space | port)
        if users is not None and socket in users:
            users.remove(socket)
            if not users:
                del self._bound[socket.space | port]

    # ------------------------------------------------------------ users

    def notify(self, socket: UdpSocket) -> None:
        """The socket's readiness may have changed: have it in the next `take_ready`."""
        if not socket.is_ready and socket.owner is not None:
            socket.is_ready = True
            self.ready.append(socket)

    def take_ready(self) -> list[UdpSocket]:
        """Sockets whose ``events`` may have changed, each once."""
        ready, self.ready = self.ready, []
        for socket in ready:
            socket.is_ready = False
        return ready

    def counters(self) -> dict[str, int]:
        return {**self.counts, "udp_sockets": len(self.sockets)}

    # ------------------------------------------------------------ state

    def save(self) -> State:
        """Sockets with their queues, and datagrams that wait for the link."""
        return {
            "version": 2,
            "counts": dict(self.counts),
            "sockets": [socket.save() for socket in self.sockets.values()],
            "bound": [[s.serial for s in users] for users in self._bound.values()],
            "ready": [socket.serial for socket in self.ready],
            "output": [
                {
                    "serial": o.socket.serial,
                    "from": o.source,
                    "to": o.destination,
                    "data": o.data,
                    "marks": (o.ttl, o.tos),
                }
                for o in self.output
            ],
        }

    def load(self, state: State) -> None:
        """Raises ValueError on another version. Datagrams of closed sockets are gone."""
        if state.get("version") != 2:
            raise ValueError(f"UdpTable: saved state has version {state.get('version')}, not 2")
        self.counts = dict(state["counts"])
        self.sockets = {}
        self._bound = {}
        self.received_bytes = 0
        for saved in state["sockets"]:
            socket = PingSocket(self, 0, 0) if saved["space"] else UdpSocket(self, 0, 0)
            socket.load(saved)
            self.received_bytes += socket.queued_bytes
            self.sockets[socket.serial] = socket
        for serials in state["bound"]:
            users = [self.sockets[serial] for serial in serials if serial in self.sockets]
            if users:
                self._bound[users[0].space | users[0].port] = users
        self.ready = [self.sockets[s] for s in state["ready"] if s in self.sockets]
        self.output = deque(
            Outgoing(
                self.sockets[o["serial"]],
                tuple(o["from"]),
                tuple(o["to"]),
                o["data"],
                tuple(o["marks"]),
            )
            for o in state["output"]
            if o["serial"] in self.sockets
        )


_COUNTS: Final = (
    "udp_in", "udp_out", "udp_delivered", "udp_no_port", "udp_receive_full", "udp_errors",
    "ping_in", "ping_out",
)  # fmt: skip


def _score(socket: UdpSocket, source: Endpoint, address: bytes) -> int:
    """How well a datagram fits a bound socket, -1: not at all. An empty ``address`` fits all."""
    if not socket.speaks(len(source[0])):
        return -1
    score = 0
    if socket.address not in _ANY:
        if address and socket.address != address:
            return -1
        score = 1
    if socket.remote is not None:
        if socket.remote != source:
            return -1
        score += 2
    return score


def _overlap(socket: UdpSocket, address: bytes, other: UdpSocket) -> bool:
    if address in _ANY and other.address in _ANY:
        both_4 = socket.speaks(4) and other.speaks(4)
        return both_4 or (socket.speaks(16) and other.speaks(16))
    if address in _ANY:
        return socket.speaks(len(other.address))
    if other.address in _ANY:
        return other.speaks(len(address))
    return address == other.address
