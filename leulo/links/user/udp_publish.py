"""Published UDP ports: datagrams of others to a port of the host go to the guest.

Each sender becomes a port of the gateway, so that the guest's answers find their way back. Who
has been silent for five minutes is forgotten; the number of senders is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leulo.links.context import Published
from leulo.links.poller import IN, Poller
from leulo.links.user.guests import Endpoint, GuestSide
from leulo.links.user.plan import AddressPlan
from leulo.links.user.publish import open_datagram_port
from leulo.links.user.udp import IDLE_NS, MOST_BYTES, RECEIVES
from leulo.net.wire import Buffer

MOST_SENDERS: Final = 4096
_FIRST_PORT: Final = 20_000
_LAST_PORT: Final = 59_999

Sender = tuple["PublishedDatagrams", tuple[str, int]]


class Senders:
    """Ports of the gateway by who sends from there, shared by all published ports."""

    def __init__(self) -> None:
        self._ports: dict[Sender, int] = {}  # longest silent first
        self._used_ns: dict[int, int] = {}
        self._senders: dict[int, Sender] = {}
        self._next_port = _FIRST_PORT

    def __len__(self) -> int:
        return len(self._ports)

    def port_of(self, sender: Sender, now_ns: int) -> int:
        port = self._ports.pop(sender, None)
        if port is None:
            if len(self._ports) >= MOST_SENDERS:
                self._forget(next(iter(self._ports)))
            port = sender[1][1]  # his own, if nobody else has it
            while port in self._senders:
                port = self._next_port
                self._next_port = port + 1 if port < _LAST_PORT else _FIRST_PORT
            self._senders[port] = sender
        self._ports[sender] = port
        self._used_ns[port] = now_ns
        return port

    def at(self, port: int) -> Sender | None:
        return self._senders.get(port)

    def next_deadline(self) -> int | None:
        for port in self._ports.values():
            return self._used_ns[port] + IDLE_NS
        return None

    def advance(self, now_ns: int) -> None:
        while (due := self.next_deadline()) is not None and due <= now_ns:
            self._forget(next(iter(self._ports)))

    def _forget(self, sender: Sender) -> None:
        port = self._ports.pop(sender)
        del self._senders[port], self._used_ns[port]


class PublishedDatagrams:
    """One UDP port of the host. ``address`` and ``port`` are what it really has."""

    def __init__(
        self,
        published: Published,
        plan: AddressPlan,
        senders: Senders,
        guests: GuestSide,
        poller: Poller,
        now_ns: Callable[[], int],
        wants_output: Callable[[], None],
    ) -> None:
        """Raises EnvironmentProblem if the port can't be had."""
        self._socket = open_datagram_port(published)
        self._plan = plan
        self._senders = senders
        self._guests = guests
        self._poller = poller
        self._now_ns = now_ns
        self._wants_output = wants_output
        self.guest_port = published.guest_port
        name: tuple[str, int] = self._socket.getsockname()
        self.address, self.port = name
        self.datagrams_in = 0
        self.datagrams_out = 0
        poller.add(self._socket.fileno(), IN, self._on_ready)

    def answer(self, payload: Buffer, to: tuple[str, int]) -> None:
        """From the guest to a sender; what the host does not take now is lost."""
        try:
            self._socket.sendto(payload, to)
            self.datagrams_out += 1
        except OSError:
            return

    def close(self) -> None:
        self._poller.remove(self._socket.fileno())
        self._socket.close()

    def _on_ready(self, mask: int) -> None:
        now_ns = self._now_ns()
        self._wants_output()
        guest: Endpoint = (self._plan.guest, self.guest_port)
        for _ in range(RECEIVES):
            try:
                payload, sender = self._socket.recvfrom(MOST_BYTES)
            except OSError:  # nothing more; or a sender who has gone
                return
            self.datagrams_in += 1
            port = self._senders.port_of((self, sender), now_ns)
            self._guests.send_udp((self._plan.gateway, port), guest, payload, now_ns)
