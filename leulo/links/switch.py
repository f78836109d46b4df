"""The host's one learning switch: stacks, NICs and links are its ports.

With two ports a frame passes straight through and nobody looks into it. With more, the switch
learns who is where from source addresses, in a table bounded in size and age, and floods what it
does not know. Frames that a port cannot take (checksum to be filled, super-segments) are made
plain on the way by `leulo.links.offload`.

A port gives frames as buffers for ``writev`` (from a stack) or as whole bytes (from a link); a
stack is given whole bytes, a link is given buffers. See `leulo.links.base`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from leulo.clock import Clock
from leulo.links.base import VNET_HDR_BYTES, Link, Offload, TxFrame
from leulo.links.offload import EVERYTHING, convert, is_accepted
from leulo.net.wire import ParseError, checksum
from leulo.state import State
from leulo.units import NS_PER_S

Frame = TxFrame | bytes
Observer = Callable[[Sequence[Frame], bool, int], None]  # frames, from a link?, now_ns

AGE_NS: Final = 300 * NS_PER_S  # a station not heard of for so long is forgotten
MAX_STATIONS: Final = 1024

_DESTINATION: Final = slice(VNET_HDR_BYTES, VNET_HDR_BYTES + 6)
_SOURCE: Final = slice(VNET_HDR_BYTES + 6, VNET_HDR_BYTES + 12)
_LEAST_BYTES: Final = VNET_HDR_BYTES + 14
_WHOLE: Final = {bytes}


class Port:
    """One plug of the switch. ``sends`` is what its frames may leave to be done, ``accepts``
    what frames given to it may."""

    __slots__ = ("_deliver", "_give", "_switch", "_take", "accepts", "frames_in", "frames_out",
                 "is_link", "name", "sends", "way")  # fmt: skip

    def __init__(
        self,
        switch: Switch,
        name: str,
        sends: Offload,
        accepts: Offload,
        is_link: bool,
        take: Callable[[Sequence[Any], int], None],
        deliver: Callable[[Sequence[Frame], int], None],
    ) -> None:
        """``take`` is given frames in the one form that its owner knows, ``deliver`` in both."""
        self._switch = switch
        self.name = name
        self.sends = sends
        self.accepts = accepts
        self.is_link = is_link
        self._take = take
        self._deliver = deliver
        self.way: Port | None = None  # the only other port, if it takes every frame as it is
        self._give = deliver  # then: that port's `take`, or its `deliver`
        self.frames_in = 0  # from the port into the switch
        self.frames_out = 0

    def send(self, frames: Sequence[Frame], now_ns: int) -> None:
        """Put frames into the switch; they are delivered before this returns."""
        if frames:
            count = len(frames)
            self.frames_in += count
            way = self.way
            if way is None:
                self._switch._forward(self, frames, now_ns)
            else:
                way.frames_out += count
                self._give(frames, now_ns)

    def lead_to(self, way: Port | None) -> None:
        """Every frame goes to ``way``, as it is; None: the switch decides."""
        self.way = way
        if way is not None:
            # Whole bytes come from a link, parts from a stack: just what the other kind takes.
            self._give = way._take if self.is_link is not way.is_link else way._deliver


class Switch:
    """Ports, the table of stations, and observers that see every frame once."""

    def __init__(self) -> None:
        self.ports: list[Port] = []
        self._stations: dict[bytes, tuple[Port, int]] = {}  # longest unheard of first
        self._observers: list[Observer] = []
        self._counters: dict[str, int] = {"flooded": 0, "converted": 0}

    def add_stack(
        self,
        name: str,
        sends: Offload,
        receive: Callable[[Sequence[bytes], int], None],
        accepts: Offload = EVERYTHING,
    ) -> Port:
        """A port for an engine or a NIC; ``receive`` is given batches of whole frames, and the
        time."""

        def deliver(frames: Sequence[Frame], now_ns: int) -> None:
            if set(map(type, frames)) == _WHOLE:
                receive(frames, now_ns)  # type: ignore[arg-type]
            else:
                receive([f if isinstance(f, bytes) else b"".join(f) for f in frames], now_ns)

        return self._add(Port(self, name, sends, accepts, False, receive, deliver))

    def add_link(self, link: Link, clock: Clock) -> Port:
        """A port for a link, which is attached to it; arriving frames take ``clock``'s time."""

        def deliver(frames: Sequence[Frame], now_ns: int) -> None:
            if bytes in set(map(type, frames)):
                frames = [(f,) if isinstance(f, bytes) else f for f in frames]
            link.transmit(frames, now_ns)  # type: ignore[arg-type]

        if not link.offload.checksum:
            checksum.prepare()
        port = self._add(
            Port(self, link.name, EVERYTHING, link.offload, True, link.transmit, deliver)
        )
        link.attach(lambda frames: port.send(frames, clock.now_ns()))
        return port

    def watch(self, observer: Observer) -> None:
        """Call ``observer`` with every batch that enters the switch, as it was sent."""
        self._observers.append(observer)
        self._find_ways()

    def counters(self) -> dict[str, int]:
        """Frames of every port each way, drops by reason, and the table's size."""
        counters = dict(self._counters)
        for port in self.ports:
            counters[f"{port.name}.frames_in"] = port.frames_in
            counters[f"{port.name}.frames_out"] = port.frames_out
        counters["stations"] = len(self._stations)
        return counters

    def save(self) -> State:
        """The table, with ports by their place."""
        return {
            "version": 1,
            "counters": dict(self._counters),
            "stations": [
                [mac, self.ports.index(port), seen_ns]
                for mac, (port, seen_ns) in self._stations.items()
            ],
        }

    def load(self, state: State) -> None:
        """Into a switch with the same ports in the same order. Raises ValueError if not."""
        if state.get("version") != 1:
            raise ValueError(f"Switch: saved state has version {state.get('version')}, not 1")
        if any(place >= len(self.ports) for _, place, _ in state["stations"]):
            raise ValueError("Switch: saved state has more ports than this switch")
        self._counters = dict(state["counters"])
        self._stations = {
            mac: (self.ports[place], seen_ns) for mac, place, seen_ns in state["stations"]
        }

    # -- inside

    def _add(self, port: Port) -> Port:
        self.ports.append(port)
        self._find_ways()
        return port

    def _find_ways(self) -> None:
        """Where two ports are all there are, and nobody watches, frames need no switch."""
        for port in self.ports:
            port.lead_to(None)
        if len(self.ports) == 2 and not self._observers:
            one, other = self.ports
            one.lead_to(None if _differ(one, other) else other)
            other.lead_to(None if _differ(other, one) else one)

    def _forward(self, source: Port, frames: Sequence[Frame], now_ns: int) -> None:
        for observer in self._observers:
            observer(frames, source.is_link, now_ns)
        ports = self.ports
        if len(ports) == 2:
            self._hand_over(source, ports[1] if ports[0] is source else ports[0], frames, now_ns)
            return
        batches: list[list[Frame]] = [[] for _ in ports]
        for frame in frames:
            self._sort(source, frame, now_ns, batches)
        for target, batch in zip(ports, batches, strict=True):
            if batch:
                self._hand_over(source, target, batch, now_ns)

    def _sort(self, source: Port, frame: Frame, now_ns: int, batches: list[list[Frame]]) -> None:
        """Put a frame into the batches of the ports that shall have it."""
        head = frame if isinstance(frame, bytes) else frame[0]
        if len(head) < _LEAST_BYTES:
            self._drop("dropped_short")
            return
        sender = bytes(head[_SOURCE])
        if sender[0] & 1:
            self._drop("dropped_source")
            return
        self._learn(sender, source, now_ns)
        receiver = bytes(head[_DESTINATION])
        if not receiver[0] & 1:
            known = self._stations.get(receiver)
            if known is not None and now_ns - known[1] < AGE_NS:
                if known[0] is source:
                    self._drop("dropped_same_port")
                else:
                    batches[self.ports.index(known[0])].append(frame)
                return
        self._counters["flooded"] += 1
        for port, batch in zip(self.ports, batches, strict=True):
            if port is not source:
                batch.append(frame)

    def _learn(self, mac: bytes, port: Port, now_ns: int) -> None:
        if self._stations.pop(mac, None) is None and len(self._stations) >= MAX_STATIONS:
            del self._stations[next(iter(self._stations))]
        self._stations[mac] = (port, now_ns)

    def _hand_over(self, source: Port, target: Port, frames: Sequence[Frame], now_ns: int) -> None:
        if _differ(source, target):
            frames = self._made_plain(frames, target.accepts)
            if not frames:
                return
        target.frames_out += len(frames)
        target._deliver(frames, now_ns)

    def _made_plain(self, frames: Sequence[Frame], accepts: Offload) -> list[Frame]:
        plain: list[Frame] = []
        for frame in frames:
            if is_accepted(frame, accepts):
                plain.append(frame)
                continue
            self._counters["converted"] += 1
            try:
                plain += convert((frame,) if isinstance(frame, bytes) else frame, accepts)
            except ParseError as error:
                self._drop(f"dropped_{error.reason}")
        return plain

    def _drop(self, reason: str) -> None:
        self._counters[reason] = self._counters.get(reason, 0) + 1


def _differ(source: Port, target: Port) -> bool:
    """Does one send what the other does not take as it is?"""
    sends, accepts = source.sends, target.accepts
    return sends.tso_bytes > accepts.tso_bytes or (sends.checksum and not accepts.checksum)
