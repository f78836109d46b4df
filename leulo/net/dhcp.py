"""A DHCP client, sans-IO: asks for an address, keeps it, asks again before it is over.

Messages come in, messages to send, the lease and the next deadline come out; who owns it sends
them from port 68 to port 67. Answers are asked for as broadcasts, so it works before the
interface has an address. [RFC 2131 4.4]

Deviation: it begins at once, because one machine that boots is no crowd [RFC 2131 4.4.1]; it does
not ask the link whether its address is free, because the server has [RFC 2131 2.2]; it keeps no
address over a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from leulo.net.wire import ParseError, dhcp
from leulo.net.wire.dhcp import DhcpRepr
from leulo.net.wire.ipv4 import LIMITED_BROADCAST, is_unicast
from leulo.state import State, load_fields, save_fields
from leulo.units import NS_PER_MS, NS_PER_S

SELECTING: Final = 0
REQUESTING: Final = 1
BOUND: Final = 2
RENEWING: Final = 3
REBINDING: Final = 4

FIRST_RETRY_NS: Final = 4 * NS_PER_S
LAST_RETRY_NS: Final = 64 * NS_PER_S
REQUESTS: Final = 4  # of one offer, before another is looked for
LEAST_RENEWAL_NS: Final = 60 * NS_PER_S  # between two tries to renew [RFC 2131 4.4.5]
LEAST_LEASE_S: Final = 10  # a shorter one would be nothing but traffic
DEFAULT_LEASE_S: Final = 3_600
_WANTED: Final = bytes(
    (dhcp.OPTION_SUBNET_MASK, dhcp.OPTION_ROUTERS, dhcp.OPTION_DNS, dhcp.OPTION_LEASE_TIME,
     dhcp.OPTION_RENEWAL_TIME, dhcp.OPTION_REBINDING_TIME)
)  # fmt: skip
_MOST_BYTES: Final = 1_500
_FIELDS: Final = (
    "state", "transaction", "began_ns", "retry_ns", "tries", "renew_ns", "rebind_ns", "expires_ns",
    "seconds",
)  # fmt: skip


@dataclass
class Lease:
    """What a server has given. Addresses have 4 bytes."""

    address: bytes
    prefix_length: int
    gateway: bytes | None
    dns: bytes | None
    server: bytes


class DhcpClient:
    """One interface's client."""

    def __init__(self, mac: bytes, name: str, random_bits: Callable[[int], int]) -> None:
        self._mac: bytes = mac
        self._name: bytes = name.encode("ascii", "replace")[:63]
        self._random_bits: Callable[[int], int] = random_bits
        self.state: int = SELECTING
        self.lease: Lease | None = None
        self.transaction: int = 0
        self.began_ns: int = 0
        self.retry_ns: int = 0  # when to send (again)
        self.tries: int = 0
        self.renew_ns: int = 0  # T1, T2 and the end; 0: never
        self.rebind_ns: int = 0
        self.expires_ns: int = 0
        self.seconds: int = 0  # since the first question, as the last one told it
        self.on_silence: Callable[[], None] = lambda: None  # called once, before any lease
        self._is_silence_told: bool = False
        self._offer: Lease | None = None
        self._output: list[tuple[bytes, bytes]] = []
        self._counters: dict[str, int] = dict.fromkeys(
            ("dhcp_in", "dhcp_out", "dhcp_ignored", "dhcp_naks", "dhcp_leases"), 0
        )

    # ------------------------------------------------------------ messages in

    def input(self, data: bytes, now_ns: int) -> None:
        """A datagram from port 67. What is not an answer to our question is counted."""
        try:
            message = DhcpRepr.parse(data)
        except ParseError:
            self._counters["dhcp_ignored"] += 1
            return
        if (
            message.operation != dhcp.BOOT_REPLY
            or message.transaction != self.transaction
            or message.mac != self._mac
            or self.state == BOUND
        ):
            self._counters["dhcp_ignored"] += 1
            return
        self._counters["dhcp_in"] += 1
        if message.kind == dhcp.OFFER and self.state == SELECTING:
            self._offer = _lease_of(message)
            if self._offer is not None:
                self.state = REQUESTING
                self.tries = 0
                self.retry_ns = now_ns
        elif message.kind == dhcp.ACK:
            self._acknowledged(message)
        elif message.kind == dhcp.NAK and self._is_from_our_server(message):
            self._counters["dhcp_naks"] += 1
            self._begin_again(now_ns + FIRST_RETRY_NS)

    def _is_from_our_server(self, message: DhcpRepr) -> bool:
        return self.state == REBINDING or (
            self._offer is not None and message.server_id == self._offer.server
        )

    def _acknowledged(self, message: DhcpRepr) -> None:
        lease = _lease_of(message)
        if lease is None or not self._is_from_our_server(message):
            self._counters["dhcp_ignored"] += 1
            return
        self._counters["dhcp_leases"] += 1
        self.lease = self._offer = lease
        self.state = BOUND
        self.retry_ns = self.tries = 0
        # The time counts from the request, so that ours never ends after the server's.
        seconds = message.lease_s
        if seconds == dhcp.INFINITE_S:
            self.renew_ns = self.rebind_ns = self.expires_ns = 0
            return
        seconds = max(DEFAULT_LEASE_S if seconds is None else seconds, LEAST_LEASE_S)
        t1 = message.time_option(dhcp.OPTION_RENEWAL_TIME)
        t2 = message.time_option(dhcp.OPTION_REBINDING_TIME)
        # Each of them by itself has a default. [RFC 2131 4.4.5]
        t1 = seconds // 2 if t1 is None else t1
        t2 = seconds * 7 // 8 if t2 is None else t2
        if not 0 < t1 < t2 < seconds:
            t1, t2 = seconds // 2, seconds * 7 // 8
        self.renew_ns = self.began_ns + t1 * NS_PER_S
        self.rebind_ns = self.began_ns + t2 * NS_PER_S
        self.expires_ns = self.began_ns + seconds * NS_PER_S

    # ------------------------------------------------------------ time

    def next_deadline(self) -> int | None:
        """When `advance` is next needed; 0 is at once, None never."""
        if self.state == BOUND:
            return self.renew_ns or None
        if self.state == RENEWING:
            return min(self.retry_ns, self.rebind_ns)
        if self.state == REBINDING:
            return min(self.retry_ns, self.expires_ns)
        return self.retry_ns

    def advance(self, now_ns: int) -> None:
        """Do what is due: send, send again, go on to the next state."""
        if self.state in (BOUND, RENEWING, REBINDING) and self.expires_ns:
            if now_ns >= self.expires_ns:
                self._begin_again(now_ns)
            elif now_ns >= self.rebind_ns and self.state != REBINDING:
                self._ask_anew(REBINDING, now_ns)
            elif now_ns >= self.renew_ns and self.state == BOUND:
                self._ask_anew(RENEWING, now_ns)
        if self.state == BOUND or now_ns < self.retry_ns:
            return
        if self.state == REQUESTING and self.tries >= REQUESTS:
            self._begin_again(now_ns)
        if self.state in (RENEWING, REBINDING):
            end_ns = self.rebind_ns if self.state == RENEWING else self.expires_ns
            wait_ns = max((end_ns - now_ns) // 2, LEAST_RENEWAL_NS)
            self.began_ns = now_ns
        else:
            if not self.tries and self.state == SELECTING:
                self.transaction = self._random_bits(32)
            if not self.tries:
                self.began_ns = now_ns
            wait_ns = min(FIRST_RETRY_NS << self.tries, LAST_RETRY_NS)
            # A second more or less, by chance. [RFC 2131 4.1]
            wait_ns += (self._random_bits(32) % 2001 - 1000) * NS_PER_MS
            if self.tries and not self._counters["dhcp_leases"] and not self._is_silence_told:
                self._is_silence_told = True
                self.on_silence()
        self.tries += 1
        self.retry_ns = now_ns + wait_ns
        self._send(now_ns)

    def _begin_again(self, when_ns: int) -> None:
        self.state = SELECTING
        self.lease = self._offer = None
        self.tries = 0
        self.retry_ns = when_ns
        self.renew_ns = self.rebind_ns = self.expires_ns = 0

    def _ask_anew(self, state: int, now_ns: int) -> None:
        self.state = state
        self.transaction = self._random_bits(32)
        self.tries = 0
        self.retry_ns = now_ns

    def _send(self, now_ns: int) -> None:
        """The question of the present state. [RFC 2131 4.3.2, 4.3.6, table 5]"""
        options: dict[int, bytes] = {dhcp.OPTION_CLIENT_ID: b"\x01" + self._mac}
        kind = dhcp.DISCOVER
        own = bytes(4)
        to = LIMITED_BROADCAST
        offer = self._offer
        if self.state != SELECTING and offer is not None:
            kind = dhcp.REQUEST
            if self.state == REQUESTING:
                options[dhcp.OPTION_REQUESTED_ADDRESS] = offer.address
                options[dhcp.OPTION_SERVER_ID] = offer.server
            else:
                own = offer.address
                if self.state == RENEWING:
                    to = offer.server
        options[dhcp.OPTION_MAX_SIZE] = _MOST_BYTES.to_bytes(2, "big")
        options[dhcp.OPTION_PARAMETERS] = _WANTED
        if self._name:
            options[dhcp.OPTION_HOST_NAME] = self._name
        if self.state != REQUESTING:  # it goes to the servers that the DISCOVER went to: as that
            self.seconds = min((now_ns - self.began_ns) // NS_PER_S, 0xFFFF)
        message = DhcpRepr(
            dhcp.BOOT_REQUEST, kind, self.transaction, self._mac, self.seconds, not any(own), 0,
            own, options=options,
        )  # fmt: skip
        self._counters["dhcp_out"] += 1
        self._output.append((message.emit(), to))

    def take_output(self) -> list[tuple[bytes, bytes]]:
        """Messages to send, each with the address it goes to."""
        output, self._output = self._output, []
        return output

    def counters(self) -> dict[str, int]:
        return {**self._counters, "dhcp_state": self.state}

    # ------------------------------------------------------------ state

    def save(self) -> State:
        return {
            **save_fields(self, 2, _FIELDS),
            "lease": None if self.lease is None else asdict(self.lease),
            "offer": None if self._offer is None else asdict(self._offer),
            "output": list(self._output),
            "counters": dict(self._counters),
        }

    def load(self, state: State) -> None:
        """Raises ValueError on another version."""
        load_fields(self, 2, _FIELDS, state)
        self.lease = None if state["lease"] is None else Lease(**state["lease"])
        self._offer = None if state["offer"] is None else Lease(**state["offer"])
        self._output = [(text, to) for text, to in state["output"]]
        self._counters = dict(state["counters"])


def _lease_of(message: DhcpRepr) -> Lease | None:
    """What an OFFER or ACK gives, None if it is of no use."""
    address, server = message.your_address, message.server_id
    if server is None or not is_unicast(address) or not is_unicast(server):
        return None
    prefix_length = message.prefix_length
    if prefix_length is None or prefix_length == 0:
        prefix_length = 24
    gateway = message.address_option(dhcp.OPTION_ROUTERS)
    if gateway is not None and (not is_unicast(gateway) or gateway == address):
        gateway = None
    return Lease(address, prefix_length, gateway, message.address_option(dhcp.OPTION_DNS), server)
