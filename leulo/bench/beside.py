"""The engine beside another one, driven by the same frames: ``python -m leulo.bench.beside FILE``.

FILE is a Python module with a plain engine, the floor of what TCP costs in this interpreter (or
the environment names it: ``LEULO_REFERENCE_ENGINE``). A peer written out frame by frame, in memory
and with no kernel in between, opens connections to both, in turns, asks, is answered, and closes.
What is timed is the engine's share alone: frames in, timers, the user's calls, frames out. Each
round gives one ratio; the table has the medians. Both users copy what they receive, once.

The module must have ``Stack(address, mac, vnet, gso, numpy)`` with ``listeners`` (port: user),
``input(frame, now_us)``, ``flush(now_us)``, ``poll(now_us)`` and ``out``, a list of (header,
payload); of its connections ``sbuf``, ``sbase``, ``need_ack``, ``close(now_us)`` and
``output(now_us)`` are used, and users are called by ``on_connect``, ``on_data``, ``on_writable``,
``on_eof`` and ``on_closed``.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final

import numpy as np

from leulo.bench.peer import (
    ANSWER,
    FLOWS,
    MSS,
    NEIGHBOUR,
    OWN,
    OWN_MAC,
    PEER,
    PEER_MAC,
    PORT,
    QUESTION,
    Peer,
    closed_by_peer,
    closed_by_us,
    kept_alive,
    opened_by_us,
    received,
    sent,
)
from leulo.errors import EXIT_FAILED, EXIT_OK
from leulo.stack import Stack, StackConfig
from leulo.tcp.errno import AF_INET, SOCK_STREAM
from leulo.tcp.header import Frame
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace
from leulo.units import NS_PER_US

VARIABLE: Final = "LEULO_REFERENCE_ENGINE"
_ROUNDS: Final = 60
_WARM_ROUNDS: Final = 70  # until TIME_WAIT gives up as many as it takes
_CHUNK: Final = bytes(65_536)
_WAITS_BYTES: Final = 1 << 20  # what a user who sends for ever keeps in the other's buffer
_BUDGET: Final = 1 << 20


class Ours:
    """Leulo's stack; ``kind`` is the method that serves a socket."""

    def __init__(self, kind: str, tso_bytes: int) -> None:
        config = StackConfig(
            name="beside", mac=OWN_MAC, address=OWN.to_bytes(4, "big"), prefix_length=24,
            checksum=True, tso_bytes=tso_bytes,
        )  # fmt: skip
        self.stack = Stack(config, Random(1).getrandbits, Trace())
        listener = self.stack.socket(AF_INET, SOCK_STREAM)
        assert isinstance(listener, TcpSocket)
        listener.bind(bytes(4), PORT)
        listener.listen(4096)
        listener.owner = self
        self.listener = listener
        self.serve: Callable[[TcpSocket], None] = getattr(self, kind)
        self.memory = memoryview(bytearray(1 << 20))
        self.turn([NEIGHBOUR], 0)

    def turn(self, frames: list[bytes], now_ns: int) -> list[Frame]:
        stack = self.stack
        stack.input(frames, now_ns)
        due = stack.next_deadline()
        if due is not None and due <= now_ns:
            stack.advance(now_ns)
        serve = self.serve
        for socket in stack.take_ready():
            if socket is self.listener:
                while isinstance(accepted := self.listener.accept(), TcpSocket):
                    accepted.owner = self
                    serve(accepted)
            elif isinstance(socket, TcpSocket):
                serve(socket)
        return stack.drain(now_ns, _BUDGET)

    def connect(self, count: int, now_ns: int) -> list[Frame]:
        stack = self.stack
        address = PEER.to_bytes(4, "big")
        for _ in range(count):
            socket = stack.socket(AF_INET, SOCK_STREAM)
            if isinstance(socket, TcpSocket):
                socket.owner = self
                socket.connect(address, PORT)
        return stack.drain(now_ns, _BUDGET)

    def ask(self, socket: TcpSocket) -> None:
        count = socket.recv_into(self.memory)
        if count < 0:
            socket.send(QUESTION)
        elif not count or not socket.recv_into(self.memory):
            socket.close()

    def answer_and_close(self, socket: TcpSocket) -> None:
        if socket.recv_into(self.memory) > 0:
            socket.send(ANSWER)
            socket.close()

    def answer(self, socket: TcpSocket) -> None:
        count = socket.recv_into(self.memory)
        if count > 0:
            socket.send(ANSWER)
        elif count == 0:
            socket.close()

    def sink(self, socket: TcpSocket) -> None:
        socket.recv_into(self.memory)

    def source(self, socket: TcpSocket) -> None:
        while socket.send(_CHUNK) > 0:
            pass


class Reference:
    """The other engine, with the same user."""

    def __init__(self, module: Any, kind: str, tso_bytes: int) -> None:
        self.stack = module.Stack(OWN, OWN_MAC, True, tso_bytes > 0, np)
        self.stack.listeners[PORT] = self
        self.kind = kind
        self.port = 1024
        self.memory = memoryview(bytearray(1 << 20))

    def turn(self, frames: list[bytes], now_ns: int) -> list[Frame]:
        stack = self.stack
        now_us = now_ns // NS_PER_US
        for frame in frames:
            stack.input(frame, now_us)
        stack.flush(now_us)
        if stack.timers and stack.timers[0][0] <= now_us:
            stack.poll(now_us)
        out = stack.out
        stack.out = []
        return out  # type: ignore[no-any-return]

    def connect(self, count: int, now_ns: int) -> list[Frame]:
        stack = self.stack
        for _ in range(count):
            self.port = 1024 if self.port == 65_535 else self.port + 1
            stack.connect(PEER, PORT, self.port, PEER_MAC, self, now_ns // NS_PER_US)
        out = stack.out
        stack.out = []
        return out  # type: ignore[no-any-return]

    def on_connect(self, connection: Any, now_us: int) -> None:
        if self.kind == "source":
            self.on_writable(connection, now_us)
        elif self.kind == "ask":
            connection.sbuf += QUESTION

    def on_data(self, connection: Any, piece: bytes, length: int, now_us: int) -> None:
        self.memory[:length] = piece
        if self.kind == "answer_and_close":
            connection.sbuf += ANSWER
            connection.close(now_us)
        elif self.kind == "answer":
            connection.sbuf += ANSWER
            connection.need_ack = 2
            connection.output(now_us)

    def on_writable(self, connection: Any, now_us: int) -> None:
        if self.kind == "source":
            while len(connection.sbuf) - connection.sbase < _WAITS_BYTES:
                connection.sbuf += _CHUNK

    def on_eof(self, connection: Any, now_us: int) -> None:
        connection.close(now_us)

    def on_closed(self, connection: Any) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: ``goal`` is the greatest ratio wanted."""

    name: str
    kind: str
    tso_bytes: int
    work: Callable[[Peer], Iterator[int]]
    warm_rounds: int = 5
    goal: float = 1.25


ROWS: Final = (
    Row("connection closed by us", "answer_and_close", 65_535,
        lambda peer: closed_by_us(peer, FLOWS), _WARM_ROUNDS),
    Row("the same, one by one", "answer_and_close", 65_535,
        lambda peer: closed_by_us(peer, 1), _WARM_ROUNDS),
    Row("connection closed by the peer", "answer", 65_535,
        lambda peer: closed_by_peer(peer, FLOWS)),
    Row("the same, one by one", "answer", 65_535, lambda peer: closed_by_peer(peer, 1)),
    Row("connection opened by us", "ask", 65_535, lambda peer: opened_by_us(peer, FLOWS)),
    Row("the same, one by one", "ask", 65_535, lambda peer: opened_by_us(peer, 1)),
    Row("keep-alive request", "answer", 65_535, lambda peer: kept_alive(peer, FLOWS)),
    Row("the same, one by one", "answer", 65_535, lambda peer: kept_alive(peer, 1)),
    Row("MSS segment received", "sink", 0, lambda peer: received(peer, MSS)),
    Row("super-segment received", "sink", 65_535, lambda peer: received(peer, 45 * MSS)),
    Row("MSS segment sent", "source", 0, lambda peer: sent(peer, MSS)),
    Row("super-segment sent", "source", 65_535, lambda peer: sent(peer, MSS)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """Microseconds of CPU per unit of both, and the median of the rounds' ratios."""

    ours_us: float
    reference_us: float
    ratio: float


def compare(module: Any, row: Row, rounds: int = _ROUNDS) -> Result:
    """Both engines in turns; who begins changes."""
    peers = (
        Peer(Ours(row.kind, row.tso_bytes)),
        Peer(Reference(module, row.kind, row.tso_bytes)),
    )
    works = tuple(row.work(peer) for peer in peers)
    costs: tuple[list[float], list[float]] = ([], [])
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for number in range(row.warm_rounds + rounds):
            for which in (0, 1) if number % 2 else (1, 0):
                peers[which].spent_ns = 0
                units = next(works[which])
                if number >= row.warm_rounds:
                    costs[which].append(peers[which].spent_ns / units / 1e3)
    finally:
        gc.enable()
    ratios = [ours / theirs for ours, theirs in zip(*costs, strict=True)]
    return Result(median(costs[0]), median(costs[1]), median(ratios))


def load(path: Path) -> Any:
    """The module of the other engine. Raises OSError or ImportError."""
    spec = importlib.util.spec_from_file_location("reference_engine", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m leulo.bench.beside",
        description=__doc__,
        epilog="Exit codes: 0 every ratio is within its goal; 1 one is not; 2 wrong use.",
    )
    parser.add_argument(
        "module", nargs="?", default=os.environ.get(VARIABLE), help="the other engine's file"
    )
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="of each row, in turns")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    arguments = parser.parse_args()
    if not arguments.module:
        parser.error(f"name the other engine's file, or set {VARIABLE}")
    module = load(Path(arguments.module))
    print(f"{'CPU us of one side':32}{'ours':>9}{'other':>9}{'ratio':>8}{'goal':>7}")
    missed = []
    for row in ROWS:
        if arguments.only in row.name:
            got = compare(module, row, arguments.rounds)
            if got.ratio > row.goal:
                missed.append(f"{row.name} {got.ratio:.2f} instead of {row.goal:.2f}")
            print(
                f"{row.name:32}{got.ours_us:9.2f}{got.reference_us:9.2f}{got.ratio:8.2f}"
                f"{row.goal:7.2f}"
            )
    if missed:
        print(f"missed: {'; '.join(missed)}")
        return EXIT_FAILED
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
