"""The simulated wire as a link: two directions, a stack at the far end, and a client on it.

The far end lives in exact event time: what is due at t happens at t even if the host looks later,
so nothing there depends on how often it looks. Deliveries to the host happen when it looks.
Frames may come with their checksum still to be filled: nobody computes one but for a frame that
the wire damages. The far end sends plain frames of at most one MTU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from leulo.errors import ConfigError, LeuloBug
from leulo.links.base import VNET_HDR_BYTES, Offload, TxFrame
from leulo.links.context import LinkContext
from leulo.links.sim.chance import Chance
from leulo.links.sim.client import SimClient
from leulo.links.sim.spec import SimSpec
from leulo.links.sim.wire import Wire
from leulo.net.wire.ethernet import HEADER_BYTES as ETHERNET_BYTES
from leulo.stack import Stack, StackConfig
from leulo.state import State, load_fields, save_fields

NAME: Final = "sim"
_TO_FAR, _TO_HOST, _SECRETS = 1, 2, 3  # streams of chance
_MAX_ROUNDS: Final = 10_000  # of the far end at one moment


class SimLink:
    """``--net sim:``; `on_finished` tells when the client has done its requests."""

    FIELDS: Final = ("far_ns", "oversized")

    def __init__(self, spec: SimSpec, context: LinkContext) -> None:
        """Raises ConfigError if there is no address for the far end."""
        if context.gateway is None:
            raise ConfigError("--gateway none: the far end of --net sim has the gateway's address")
        self.name = NAME
        self.mtu = context.mtu
        self.offload = Offload(checksum=True, tso_bytes=0)
        self._deliver: Callable[[Sequence[bytes]], None] = _nowhere
        seed = context.random_bits(64) if spec.seed is None else spec.seed
        changes = spec.changes
        self._to_far = Wire.of(
            spec.up, Chance(seed, _TO_FAR), [(change.at_ns, change.up) for change in changes]
        )
        self._to_host = Wire.of(
            spec.down, Chance(seed, _TO_HOST), [(change.at_ns, change.down) for change in changes]
        )
        self._secrets = Chance(seed, _SECRETS)
        self._stack = Stack(
            StackConfig(
                name="far",
                mac=b"\x52\x55" + context.gateway,
                address=context.gateway,
                prefix_length=context.prefix_length,
                gateway=None,
                mtu=context.mtu,
                checksum=True,
                tso_bytes=0,
            ),
            self._secrets.bits,
            context.trace,
        )
        self.client = SimClient(spec, self._stack, context.guest_address, context.trace)
        self.oversized = 0
        self.far_ns = 0  # the far end's time
        self._rounds = 0  # at this very moment

    def on_finished(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` once when the client has done all its requests."""
        self.client.finished = hook

    # The link

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self._deliver = deliver

    def transmit(self, frames: Sequence[TxFrame], now_ns: int) -> None:
        longest = self.mtu + ETHERNET_BYTES + VNET_HDR_BYTES
        for frame in frames:
            whole = bytes(frame[0]) if len(frame) == 1 else b"".join(frame)
            if len(whole) > longest:
                self.oversized += 1
            else:
                self._to_far.send(whole, now_ns)

    def next_deadline(self) -> int | None:
        earliest = self._next_far_event()
        arrival = self._to_host.next_arrival()
        if arrival is not None and (earliest is None or arrival < earliest):
            return arrival
        return earliest

    def advance(self, now_ns: int) -> None:
        while (due := self._next_far_event()) is not None and due <= now_ns:
            at_ns = max(due, self.far_ns)
            self._rounds = self._rounds + 1 if at_ns == self.far_ns else 0
            if self._rounds > _MAX_ROUNDS:
                raise LeuloBug(f"the far end of the simulated wire never gets past {at_ns} ns")
            self.far_ns = at_ns
            self._serve_far_end(at_ns)
        frames = self._to_host.arrived(now_ns)
        if frames:
            self._deliver(frames)

    def counters(self) -> dict[str, int]:
        client = self.client
        counters = {
            "frames_in": self._to_host.frames,
            "frames_out": self._to_far.frames,
            "bytes_in": self._to_host.bytes,
            "bytes_out": self._to_far.bytes,
            "dropped_oversized": self.oversized,
            "requests_ok": client.ok,
            "requests_failed": client.failed,
            "connects_refused": client.refused,
        }
        for way, wire in (("in", self._to_host), ("out", self._to_far)):
            counters.update({f"{name}_{way}": value for name, value in wire.counters().items()})
        counters["far_checksum_drops"] = self._stack.counters().get("drop_checksum", 0)
        return counters

    def report(self) -> str:
        """How the client fared, and what went wrong first; empty if there is no client."""
        client, asked = self.client, self.client.spec.requests
        words = f"{client.ok} of {asked} requests were answered in full" if asked else ""
        if client.ok == asked:
            return words
        if not client.has_met_guest and client.refused and not client.first_error:
            return f"{words}; the guest has taken none of {client.refused} connections"
        return f"{words}; {client.first_error}" if client.first_error else words

    def close(self) -> None:
        """Nothing of the host was taken."""

    def save(self) -> State:
        """Frames under way, the far end's stack and the client, as plain data."""
        state = save_fields(self, 1, self.FIELDS)
        for name, part in self._parts():
            state[name] = part.save()
        return state

    def load(self, state: State) -> None:
        """Into a link of the same options. Raises ValueError on another version."""
        load_fields(self, 1, self.FIELDS, state)
        self._rounds = 0
        for name, part in self._parts():
            part.load(state[name])

    # The far end

    def _parts(self) -> tuple[tuple[str, Wire | Chance | Stack | SimClient], ...]:
        """What has a state of its own, in the order in which it is loaded."""
        return (
            ("to_far", self._to_far),
            ("to_host", self._to_host),
            ("secrets", self._secrets),
            ("stack", self._stack),
            ("client", self.client),
        )

    def _next_far_event(self) -> int | None:
        earliest = self._to_far.next_arrival()
        for due in (self._stack.next_deadline(), self.client.next_deadline()):
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    def _serve_far_end(self, at_ns: int) -> None:
        stack = self._stack
        frames = self._to_far.arrived(at_ns)
        if frames:
            stack.input(frames, at_ns)
        due = stack.next_deadline()
        if due is not None and due <= at_ns:
            stack.advance(at_ns)
        self.client.step(at_ns)
        while stack.has_output:
            outgoing = stack.drain(at_ns)
            if not outgoing:
                break
            for frame in outgoing:
                self._to_host.send(b"".join(frame), at_ns)


def _nowhere(frames: Sequence[bytes]) -> None:
    """Before the link is attached."""
