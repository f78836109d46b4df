"""A stack alone in virtual time: frames in, time on, what it sends kept until somebody looks.

The neighbour is static: the world answers every ARP request at once, so that only the packets of
the script's layer-3 device remain. Nothing here knows of scripts.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import Final

from leulo.net.wire import ParseError
from leulo.net.wire.arp import REPLY, REQUEST, ArpRepr
from leulo.net.wire.icmpv6 import (
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    Icmpv6Repr,
)
from leulo.net.wire.ipv6 import Ipv6Repr, link_local
from leulo.net.wire.ndp import NeighbourRepr
from leulo.pkt.packets import (
    IP_AT,
    PROTOCOL_ICMPV6,
    TYPE_IPV6,
    VNET_CHECKED,
    Seen,
    frame_of,
    see,
)
from leulo.pkt.syntax import IpInfo
from leulo.stack import Stack, StackConfig
from leulo.tcp.config import Config
from leulo.trace import Trace

LOCAL_MAC: Final = bytes((2, 0, 0, 0, 0, 1))
PEER_MAC: Final = bytes((2, 0, 0, 0, 0, 2))
MACS: Final = LOCAL_MAC + PEER_MAC  # of a frame to the stack
START_NS: Final = 1_000 * 10**9  # a machine that has been up for a while
_BOOT_NS: Final = 10 * 10**9  # before the script, for duplicate address detection [RFC 4862 5.4]
_ROUTER6: Final = link_local(PEER_MAC)
# Neighbour and router discovery, and membership reports: the device of a script carries none.
_HOUSEKEEPING: Final = (130, 131, 132, 133, 134, 135, 136, 137, 143)
_MAX_SEEN: Final = 100_000
_MAX_STEPS_AT_ONCE: Final = 10_000
_TYPE_ARP: Final = b"\x08\x06"


class Stuck(Exception):
    """The stack does not come to rest: it asks for the same instant again and again."""


class World:
    """The stack, its clock, and the packets nobody has looked at yet."""

    def __init__(
        self,
        local: bytes,
        prefix_length: int,
        gateway: bytes,
        local6: bytes | None,
        mtu: int,
        config: Config,
    ) -> None:
        self.now_ns: int = START_NS - _BOOT_NS
        self.seen: list[Seen] = []
        self.nonsense: str = ""  # what the stack sent that is no packet
        stack_config = StackConfig(
            "pkt", LOCAL_MAC, local, prefix_length, gateway, mtu, checksum=True,
            has_ipv6=local6 is not None, address6=local6,
            gateway6=_ROUTER6 if local6 is not None else None, tcp=config,
        )  # fmt: skip
        self.stack: Stack = Stack(stack_config, _Bits().take, Trace())
        if local6 is not None:
            self._boot()
        self.now_ns = START_NS

    def _boot(self) -> None:
        """Until nobody is found to have our IPv6 addresses, they are only tentative."""
        while True:
            self.settle()
            next_ns = self.stack.next_deadline()
            if next_ns is None or next_ns > START_NS:
                break
            self.now_ns = max(self.now_ns, next_ns)
            self.stack.advance(self.now_ns)
        self.seen.clear()

    def give(self, frame: bytes) -> None:
        """A frame arrives."""
        self.stack.input((frame,), self.now_ns)
        self.settle()

    def receive(self, frame: bytes) -> None:
        """As `give`, but what the stack has to send then waits for `settle`."""
        self.stack.input((frame,), self.now_ns)

    def settle(self) -> None:
        """Take everything that the stack has to send now."""
        stack = self.stack
        for _ in range(_MAX_STEPS_AT_ONCE):
            if not stack.has_output:
                return
            frames = stack.drain(self.now_ns)
            if not frames:
                return
            for parts in frames:
                self._take(b"".join(parts))
        raise Stuck("the stack never stops sending")

    def _take(self, frame: bytes) -> None:
        if frame[22:24] == _TYPE_ARP:
            self._answer(frame)
            return
        if (
            frame[22:24] == TYPE_IPV6
            and frame[30] == PROTOCOL_ICMPV6
            and frame[64] in _HOUSEKEEPING
        ):
            self._advertise(frame)
            return
        try:
            seen = see(frame, self.now_ns)
        except ParseError as error:
            self.nonsense = error.reason
            return
        if len(self.seen) >= _MAX_SEEN:
            raise Stuck(f"the stack has sent {_MAX_SEEN} packets that no line expects")
        self.seen.append(seen)

    def _answer(self, frame: bytes) -> None:
        """Everybody is at the one neighbour's address. [RFC 826]"""
        try:
            request = ArpRepr.parse(frame[IP_AT:])
        except ParseError:
            return
        if request.operation != REQUEST:
            return
        reply = ArpRepr(
            REPLY, PEER_MAC, request.target_address, request.sender_mac, request.sender_address
        )
        self.stack.input((VNET_CHECKED + MACS + _TYPE_ARP + reply.emit(),), self.now_ns)

    def _advertise(self, frame: bytes) -> None:
        """As `_answer`, for IPv6; nobody else has the stack's own addresses. [RFC 4861 7.2.4]"""
        try:
            asked = Ipv6Repr.parse(frame[IP_AT:])
            message = Icmpv6Repr.parse(frame[IP_AT + 40 :], asked.source, asked.destination)
            neighbour = NeighbourRepr.parse(message)
        except ParseError:
            return
        if neighbour.kind != NEIGHBOUR_SOLICITATION or not any(asked.source):
            return
        reply = NeighbourRepr(
            NEIGHBOUR_ADVERTISEMENT, neighbour.target, PEER_MAC, True, True, True
        ).emit()
        data = reply.emit(neighbour.target, asked.source)
        self.stack.input(
            (frame_of(MACS, IpInfo(), neighbour.target, asked.source, PROTOCOL_ICMPV6, data),),
            self.now_ns,
        )

    def next_ns(self) -> int | None:
        """When the stack next has something to do."""
        return self.stack.next_deadline()

    def move_to(self, when_ns: int) -> None:
        """Let that time come, its timers run."""
        self.now_ns = max(self.now_ns, when_ns)
        self.stack.advance(self.now_ns)
        self.settle()


class _Bits:
    """Random bits for the stack's secrets, the same in every run."""

    def __init__(self) -> None:
        self._count = 0

    def take(self, bits: int) -> int:
        """A number of ``bits`` bits."""
        out = b""
        while len(out) * 8 < bits:
            self._count += 1
            out += blake2s(self._count.to_bytes(8, "big"), person=b"leulopkt").digest()
        return int.from_bytes(out, "big") >> (len(out) * 8 - bits)
