"""Connections that the guest opens: the host's comes first, then the guest is answered.

The guest's SYN is held while a socket of the host connects. Where that succeeds the handshake
goes on; where it is refused the guest sees a reset, where there is no way an ICMP error, and where
nobody answers nothing, just as if it sat on the host's network itself. [RFC 9293 3.10.7.2]
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from struct import Struct
from typing import Final

from leulo.links.poller import OUT, Poller
from leulo.links.user.errors import code_of
from leulo.links.user.guests import GuestSide
from leulo.links.user.plan import DNS_PORT, AddressPlan
from leulo.links.user.resolver import Resolvers, Server
from leulo.net.wire.icmp import NET_UNREACHABLE, PORT_UNREACHABLE
from leulo.net.wire.ipv4 import PROTOCOL_TCP, Ipv4Repr
from leulo.tcp.listen import HalfOpen, Listener
from leulo.tcp.socket import TcpSocket

_LINGER_NONE: Final = Struct("<ii").pack(1, 0)
_TCP_HEADER: Final = Struct("!HHIIBBHHH")
_SYN: Final = 2


class _Opening:
    """A host's socket on its way, or connected and waiting for the guest's ACK."""

    __slots__ = ("half", "is_connected", "socket")

    def __init__(self, half: HalfOpen, outside: socket.socket) -> None:
        self.half = half
        self.socket = outside
        self.is_connected = False


class Outbound:
    """The screen of the gateway's listener (see `leulo.tcp.listen.Screen`)."""

    def __init__(
        self,
        listener: Listener,
        plan: AddressPlan,
        resolvers: Resolvers,
        guests: GuestSide,
        poller: Poller,
        now_ns: Callable[[], int],
        wants_output: Callable[[], None],
        has_room: Callable[[], bool],
    ) -> None:
        """``has_room``: may there be one more connection?"""
        self._listener = listener
        self._plan = plan
        self._resolvers = resolvers
        self._guests = guests
        self._poller = poller
        self._now_ns = now_ns
        self._wants_output = wants_output
        self._has_room = has_room
        self._openings: dict[bytes, _Opening] = {}
        self.counts = {"opened": 0, "refused": 0, "unreachable": 0, "given_up": 0, "no_room": 0}
        listener.screen = self

    def __len__(self) -> int:
        return len(self._openings)

    # ------------------------------------------------------------ the screen

    def syn_held(self, half: HalfOpen) -> None:
        server = self._target(half)
        if server is None:
            return
        if not self._has_room():
            self.counts["no_room"] += 1
            self._listener.forget(half)  # as a full queue does: the SYN will come again
            return
        family, address = server
        try:
            outside = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:  # no descriptor left
            self.counts["no_room"] += 1
            self._listener.forget(half)
            return
        result = outside.connect_ex(address)
        if result not in (0, errno.EINPROGRESS):
            outside.close()
            self._failed(half, result)
            return
        opening = self._openings[half.key] = _Opening(half, outside)
        if result == 0:
            self._connected(opening)
        else:
            self._poller.add(outside.fileno(), OUT, lambda mask: self._on_ready(opening))

    def half_lost(self, half: HalfOpen) -> None:
        """The guest has thought better of it."""
        opening = self._openings.pop(half.key, None)
        if opening is not None:
            self.counts["given_up"] += 1
            self._abort(opening)

    # ------------------------------------------------------------ for the gateway

    def take(self, guest: TcpSocket) -> socket.socket | None:
        """The host's side of a connection that the listener has accepted."""
        local, peer = guest.local, guest.peer
        if local is None or peer is None:  # it has ended already
            tcb = guest.tcb
            key = b"" if tcb is None else tcb.key
        else:
            ports = peer[1].to_bytes(2, "big") + local[1].to_bytes(2, "big")
            key = peer[0] + local[0] + ports
        opening = self._openings.pop(key, None)
        if opening is None:
            return None
        self.counts["opened"] += 1
        return opening.socket

    def close(self) -> None:
        for opening in list(self._openings.values()):
            self._abort(opening)
        self._openings.clear()

    # ------------------------------------------------------------ inside

    def _target(self, half: HalfOpen) -> Server | None:
        """Where to connect to; None: nowhere, and the guest has been told."""
        address, port = _local_of(half)
        if self._plan.is_name_server(address) and port == DNS_PORT:
            servers = self._resolvers.servers()
            if servers:
                return servers[0]
        target = self._plan.host_address(address)
        if target is not None:
            return socket.AF_INET, (socket.inet_ntoa(target), port)
        if self._plan.is_own(address):
            self._failed(half, errno.ECONNREFUSED)
        else:
            self._failed(half, errno.ENETUNREACH)
        return None

    def _on_ready(self, opening: _Opening) -> None:
        self._poller.remove(opening.socket.fileno())
        self._wants_output()
        error = opening.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not error:
            self._connected(opening)
            return
        del self._openings[opening.half.key]
        opening.socket.close()
        self._failed(opening.half, error)

    def _connected(self, opening: _Opening) -> None:
        opening.is_connected = True
        self._listener.admit(opening.half, self._now_ns())

    def _failed(self, half: HalfOpen, error: int) -> None:
        """Let the guest know as the network would."""
        code = code_of(OSError(error, ""))
        if error in (errno.ECONNREFUSED, errno.ECONNRESET) or code == PORT_UNREACHABLE:
            self.counts["refused"] += 1
            self._listener.deny(half)
            return
        self.counts["unreachable"] += 1
        if self._listener.forget(half) and error != errno.ETIMEDOUT:
            code = NET_UNREACHABLE if code is None else code
            self._guests.unreachable(code, _syn_packet(half), self._now_ns())

    def _abort(self, opening: _Opening) -> None:
        if not opening.is_connected:
            self._poller.remove(opening.socket.fileno())
        with suppress(OSError):
            opening.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        opening.socket.close()


def _local_of(half: HalfOpen) -> tuple[bytes, int]:
    """The address and port that the guest wants to reach."""
    key = half.key
    return key[4:8], key[10] << 8 | key[11]


def _syn_packet(half: HalfOpen) -> bytes:
    """The guest's SYN, as much of it as an ICMP error quotes."""
    key = half.key
    ports = int.from_bytes(key[8:10], "big"), int.from_bytes(key[10:12], "big")
    header = _TCP_HEADER.pack(*ports, half.irs, 0, 5 << 4, _SYN, 0, 0, 0)
    return Ipv4Repr(key[:4], key[4:8], PROTOCOL_TCP, len(header)).emit() + header
