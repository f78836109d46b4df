"""What the engine tells the event stream: segments, changes of state, retransmissions, drops.

Emitters look at ``channel.active`` before they build one of these. Sequence numbers are as on
the wire; addresses are dotted text, so that a log can print them as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from leulo.tcp.seq import MASK
from leulo.trace import Event

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb


@dataclass(frozen=True, slots=True)
class SegmentIn(Event):
    """A segment for a known connection arrived, before it was judged."""

    NAME: ClassVar[str] = "tcp.segment.in"
    stack: str
    local: str
    peer: str
    seq: int
    ack: int
    flags: str
    window: int
    length: int


@dataclass(frozen=True, slots=True)
class SegmentOut(Event):
    """A segment left for the link."""

    NAME: ClassVar[str] = "tcp.segment.out"
    stack: str
    local: str
    peer: str
    seq: int
    ack: int
    flags: str
    window: int
    length: int


@dataclass(frozen=True, slots=True)
class StateChanged(Event):
    """A connection moved to another state."""

    NAME: ClassVar[str] = "tcp.state"
    stack: str
    local: str
    peer: str
    old: str
    new: str
    cause: str


@dataclass(frozen=True, slots=True)
class Retransmitted(Event):
    """Bytes were sent again; ``cause`` is timeout, fast, probe or syn."""

    NAME: ClassVar[str] = "tcp.retransmit"
    stack: str
    local: str
    peer: str
    seq: int
    length: int
    cause: str
    cwnd: int


@dataclass(frozen=True, slots=True)
class SegmentDropped(Event):
    """A segment was thrown away; ``reason`` is the counter's name."""

    NAME: ClassVar[str] = "tcp.drop"
    stack: str
    reason: str
    local: str
    peer: str


def endpoint_text(address: bytes, port: int) -> str:
    """``10.0.2.15:80``; IPv6 addresses as plain hexadecimal groups in brackets."""
    if len(address) == 4:
        return f"{address[0]}.{address[1]}.{address[2]}.{address[3]}:{port}"
    groups = ":".join(address[i : i + 2].hex() for i in range(0, len(address), 2))
    return f"[{groups}]:{port}"


def flags_text(flags: int) -> str:
    """The set flags, as ``SA`` or ``PA``; ``.`` when there is none."""
    names = "FSRPAUEW"
    return "".join(names[bit] for bit in range(8) if flags >> bit & 1) or "."


def _names(tcb: Tcb) -> tuple[str, str, str]:
    """The stack, and both ends of the connection."""
    return (
        tcb.engine.name,
        endpoint_text(tcb.local, tcb.local_port),
        endpoint_text(tcb.peer, tcb.peer_port),
    )


def tell_segment_in(
    tcb: Tcb, seq: int, ack: int, flags: int, window: int, length: int, now_ns: int
) -> None:
    """Call it only while the channel is active, as those below."""
    names = _names(tcb)
    event = SegmentIn(now_ns, *names, seq, ack, flags_text(flags), window, length)
    tcb.engine.segment_in.emit(event)


def tell_segment_out(tcb: Tcb, seq: int, flags: int, window: int, length: int, now_ns: int) -> None:
    names = _names(tcb)
    ack = tcb.rcv_nxt & MASK
    event = SegmentOut(now_ns, *names, seq & MASK, ack, flags_text(flags), window, length)
    tcb.engine.segment_out.emit(event)


def tell_retransmitted(tcb: Tcb, seq: int, length: int, cause: str, now_ns: int) -> None:
    event = Retransmitted(now_ns, *_names(tcb), seq & MASK, length, cause, tcb.cwnd)
    tcb.engine.retransmitted.emit(event)


def tell_state(tcb: Tcb, old: str, new: str, cause: str) -> None:
    event = StateChanged(tcb.engine.now_ns, *_names(tcb), old, new, cause)
    tcb.engine.state_changed.emit(event)


def tell_dropped(tcb: Tcb, reason: str) -> None:
    name, local, peer = _names(tcb)
    tcb.engine.dropped.emit(SegmentDropped(tcb.engine.now_ns, name, reason, local, peer))
