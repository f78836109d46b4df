"""Flows of the guest to the host's world, one socket of the host for each: UDP and echo requests.

A table of them is bounded in number and in time; the longest unused gives way. It must not know
what the datagrams say.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from leulo.links.poller import IN, Poller
from leulo.links.user.errors import watch_errors
from leulo.links.user.guests import Endpoint

MOST_PEERS: Final = 256  # addresses that one flow may hear from


class Flow:
    """``guest`` is who uses it, ``peers`` the addresses of the host's world that it has sent to,
    with what the guest knows them as: answers come from nowhere else."""

    __slots__ = ("guest", "peers", "socket", "used_ns")

    def __init__(self, guest: Endpoint, outside: socket.socket) -> None:
        self.guest = guest
        self.socket = outside
        self.used_ns = 0
        self.peers: dict[str, bytes] = {}

    def expect(self, peer: str, known_as: bytes) -> None:
        """Let answers of ``peer`` in; the peer named first is forgotten for one too many."""
        if peer not in self.peers:
            if len(self.peers) >= MOST_PEERS:
                del self.peers[next(iter(self.peers))]
            self.peers[peer] = known_as


class FlowTable:
    """At most ``most`` flows through sockets of ``protocol`` (0: UDP), each for ``idle_ns`` after
    its last use. ``on_ready`` gets the flow and the epoll mask."""

    def __init__(
        self,
        protocol: int,
        most: int,
        idle_ns: int,
        poller: Poller,
        on_ready: Callable[[Flow, int], None],
    ) -> None:
        self._protocol = protocol
        self._most = most
        self._idle_ns = idle_ns
        self._poller = poller
        self._on_ready = on_ready
        self._flows: dict[Endpoint, Flow] = {}  # longest unused first
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._flows)

    def of(self, guest: Endpoint, now_ns: int) -> Flow | None:
        """The flow of ``guest``, used just now. None: the host lets us have no such socket."""
        flow = self._flows.get(guest)
        if flow is None:
            if len(self._flows) >= self._most:
                self._end(next(iter(self._flows.values())))
                self.evicted += 1
            try:
                outside = socket.socket(
                    socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, self._protocol
                )
            except OSError:
                return None
            watch_errors(outside)
            flow = made = Flow(guest, outside)
            self._flows[guest] = flow
            self._poller.add(outside.fileno(), IN, lambda mask: self._on_ready(made, mask))
        self.used(flow, now_ns)
        return flow

    def used(self, flow: Flow, now_ns: int) -> None:
        flow.used_ns = now_ns
        self._flows[flow.guest] = self._flows.pop(flow.guest)

    def next_deadline(self) -> int | None:
        for flow in self._flows.values():
            return flow.used_ns + self._idle_ns
        return None

    def advance(self, now_ns: int) -> None:
        """Forget flows whose time is over."""
        while (due := self.next_deadline()) is not None and due <= now_ns:
            self._end(next(iter(self._flows.values())))

    def close(self) -> None:
        for flow in list(self._flows.values()):
            self._end(flow)

    def _end(self, flow: Flow) -> None:
        del self._flows[flow.guest]
        self._poller.remove(flow.socket.fileno())
        flow.socket.close()
