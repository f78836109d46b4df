"""What the attack tests share: cheap forged frames, and measures of work and memory.

Work is counted, not timed: `lines_of` gives the lines of Python that ran inside `leulo`, the same
number on every computer (nothing, on a compiled build: then only the other assertions speak).
What C does inside one line does not show there; where that matters a test compares times at two
sizes in one process, with a generous bound. Memory is what tracemalloc finds held at the end.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from types import FrameType
from typing import Any

from tcp_segments import TcpRepr
from tcp_world import MS, S, Wire, address, make_stack

import leulo
from leulo.net.wire import checksum
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.stack import Stack

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
HERE, THERE = address(1), address(2)
HERE_MAC, THERE_MAC = bytes((2, 0, 0, 0, 0, 1)), bytes((2, 0, 0, 0, 0, 2))
MASK = 0xFFFFFFFF
MOST_LINES = 600  # of Python for any small packet, two to five times what they take
TRUSTED = b"\2" + bytes(9)  # DATA_VALID: the checksum is not looked at
_LEULO = str(Path(leulo.__file__).parent)
_IP = Struct("!BBHHHBBH")
_TCP = Struct("!HHIIHHHH")


def segment(
    flags: int,
    seq: int,
    ack: int = 0,
    data: bytes = b"",
    *,
    source: bytes = THERE,
    source_port: int = 4000,
    destination: bytes = HERE,
    port: int = 80,
    window: int = 60_000,
    options: bytes = b"",
    mac: bytes = HERE_MAC,
) -> bytes:
    """A frame with a forged segment; sequence numbers as on the wire."""
    options += bytes(-len(options) % 4)
    size = 20 + len(options) + len(data)
    tcp = _TCP.pack(
        source_port, port, seq & MASK, ack & MASK, (5 + len(options) // 4) << 12 | flags, window,
        0, 0,
    )  # fmt: skip
    body = tcp + options + data
    ip = _IP.pack(0x45, 0, 20 + size, 0, 0, 64, 6, 0) + source + destination
    return TRUSTED + mac + THERE_MAC + b"\x08\x00" + ip + body


def packet(protocol: int, payload: bytes, *, source: bytes = THERE, **fields: Any) -> bytes:
    """A frame with an IPv4 packet to the stack."""
    ip = Ipv4Repr(source, HERE, protocol, len(payload), **fields)
    return TRUSTED + HERE_MAC + THERE_MAC + b"\x08\x00" + ip.emit() + payload


def timestamps(tsval: int, tsecr: int) -> bytes:
    return b"\1\1\x08\x0a" + (tsval & MASK).to_bytes(4, "big") + (tsecr & MASK).to_bytes(4, "big")


def sack(*blocks: tuple[int, int]) -> bytes:
    """Blocks of wire sequence numbers."""
    text = b"".join((n & MASK).to_bytes(4, "big") for block in blocks for n in block)
    return b"\1\1\5" + bytes((2 + len(text),)) + text


def answers(stack: Stack, now_ns: int, budget: int = 1 << 20) -> list[TcpRepr]:
    """The TCP segments that the stack sends now."""
    out = []
    while stack.has_output:
        frames = stack.drain(now_ns, budget)
        if not frames:
            break
        for parts in frames:
            frame = b"".join(parts)
            if frame[22:24] == b"\x08\x00" and frame[33] == 6:
                source, destination = frame[36:40], frame[40:44]
                out.append(TcpRepr.parse(frame[44:], source, destination, verify_checksum=False))
    return out


class Besieged(Wire):
    """A wire between two stacks with an enemy beside it, who is asked once a millisecond or more
    for frames to the second one."""

    enemy: Callable[[int], list[bytes]] | None = None
    forged = 0

    def step(self, limit_ns: int) -> bool:
        if self.enemy is not None:
            frames = self.enemy(self.now_ns)
            self.forged += len(frames)
            if frames:
                self.stacks[1].input(frames, self.now_ns)
        soon = min(limit_ns, self.now_ns + MS)
        return super().step(soon) or self.now_ns < limit_ns


def besieged(seed: int = 0, **knobs: object) -> Besieged:
    """Two stacks, the server's with these knobs; checksums are the link's business."""
    a = make_stack(2, seed=seed)
    b = make_stack(1, seed=seed, **knobs)
    return Besieged(a, b, seed=seed)


def lines_of(action: Callable[[], object]) -> int:
    """How many lines of `leulo` run during ``action``."""
    count = 0

    def local(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        if event == "line":
            count += 1
        return local

    def tracer(frame: FrameType, event: str, argument: object) -> Any:
        return local if _is_ours(frame.f_code.co_filename) else None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def _is_ours(filename: str) -> bool:
    return filename.startswith(_LEULO)


def held_by(action: Callable[[], object]) -> int:
    """Bytes that are held after ``action`` and were not before."""
    checksum.prepare()  # what the first large sum loads is no attack's
    gc.collect()
    was_on = tracemalloc.is_tracing()
    if not was_on:
        tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        action()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        if not was_on:
            tracemalloc.stop()


def seconds_of(action: Callable[[], object]) -> float:
    """CPU seconds of this process, for ratios only."""
    began = time.process_time()
    action()
    return time.process_time() - began


__all__ = [
    "ACK",
    "FIN",
    "HERE",
    "HERE_MAC",
    "MASK",
    "MOST_LINES",
    "MS",
    "PSH",
    "RST",
    "SYN",
    "THERE",
    "THERE_MAC",
    "TRUSTED",
    "URG",
    "Besieged",
    "S",
    "answers",
    "besieged",
    "held_by",
    "lines_of",
    "packet",
    "sack",
    "seconds_of",
    "segment",
    "timestamps",
]  # fmt: skip
