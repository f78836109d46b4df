"""Urgent data: the mark, the byte out of band, and that both are as Linux has them."""

from __future__ import annotations

import contextlib
import fcntl
import socket as posix
import struct
import sys
from random import Random
from select import POLLIN, POLLPRI, poll
from typing import Protocol

import pytest
from script_peer import MS, S, Script
from tcp_world import Wire, connect, make_stack
from test_saved import reborn

from leulo.net.wire.tcp import URG
from leulo.tcp.socket import TcpSocket

SOL_SOCKET, OOBINLINE = 1, 10
SIOCATMARK = 0x8905
IN, PRI = 1, 2


class End(Protocol):
    """Two ends of a connection; one writes, the other reads."""

    def send(self, data: bytes, is_urgent: bool) -> int: ...

    def recv(self, limit: int) -> bytes | int: ...

    def recv_urgent(self, is_peek: bool) -> bytes | int: ...

    def at_mark(self) -> bool: ...

    def mask(self) -> int: ...

    def set_inline(self, is_on: bool) -> None: ...

    def queued(self) -> int: ...


class Linux:
    """The host's, over its loopback."""

    def __init__(self) -> None:
        with posix.create_server(("127.0.0.1", 0)) as server:
            self.writer = posix.create_connection(server.getsockname())
            self.reader = server.accept()[0]
        for each in (self.writer, self.reader):
            each.setsockopt(posix.IPPROTO_TCP, posix.TCP_NODELAY, 1)
            each.setblocking(False)

    def close(self) -> None:
        self.writer.close()
        self.reader.close()

    def send(self, data: bytes, is_urgent: bool) -> int:
        return self.writer.send(data, posix.MSG_OOB if is_urgent else 0)

    def recv(self, limit: int) -> bytes | int:
        return self._recv(limit, 0)

    def recv_urgent(self, is_peek: bool) -> bytes | int:
        return self._recv(1, posix.MSG_OOB | (posix.MSG_PEEK if is_peek else 0))

    def _recv(self, limit: int, flags: int) -> bytes | int:
        try:
            return self.reader.recv(limit, flags)
        except OSError as error:
            return -(error.errno or 0)

    def at_mark(self) -> bool:
        return self._ioctl(SIOCATMARK) == 1

    def queued(self) -> int:
        return self._ioctl(0x541B)

    def _ioctl(self, number: int) -> int:
        answer = fcntl.ioctl(self.reader, number, bytes(4))
        return int(struct.unpack("i", answer)[0])

    def mask(self) -> int:
        poller = poll()
        poller.register(self.reader, POLLIN | POLLPRI)
        events = poller.poll(0)
        return events[0][1] if events else 0

    def set_inline(self, is_on: bool) -> None:
        self.reader.setsockopt(SOL_SOCKET, OOBINLINE, int(is_on))


class Ours:
    """Two stacks."""

    def __init__(self, **knobs: object) -> None:
        self.wire = Wire(make_stack(1, **knobs), make_stack(2), delay_ns=MS)
        self.writer, self.reader, _ = connect(self.wire)
        assert self.writer.setsockopt(6, 1, b"\1\0\0\0") == 0

    def send(self, data: bytes, is_urgent: bool) -> int:
        count = self.writer.send_urgent(data) if is_urgent else self.writer.send(data)
        self.wire.run(20 * MS)
        return count

    def recv(self, limit: int) -> bytes | int:
        return self.reader.recv(limit)

    def recv_urgent(self, is_peek: bool) -> bytes | int:
        return self.reader.recv_urgent(2 if is_peek else 0)

    def at_mark(self) -> bool:
        return self.reader.is_at_mark

    def queued(self) -> int:
        return self.reader.readable

    def mask(self) -> int:
        return self.reader.events & (IN | PRI)

    def set_inline(self, is_on: bool) -> None:
        assert self.reader.setsockopt(SOL_SOCKET, OOBINLINE, bytes((is_on, 0, 0, 0))) == 0


def act(end: End, what: int, size: int, data: bytes) -> object:
    """One call, by number; what it answers."""
    calls = (
        lambda: end.send(data[:size], False),
        lambda: end.send(data[:size], True),
        lambda: end.recv(size),
        lambda: end.recv_urgent(size % 2 == 0),
        lambda: end.set_inline(size % 3 == 0),
    )
    answer: object = calls[what]()
    return answer, end.at_mark(), end.mask(), end.queued()


@pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux")
@pytest.mark.parametrize("seed", range(60))
def test_calls_answer_as_on_linux(seed: int) -> None:
    """Writes and urgent writes of all sizes, reads to and past marks, in line or not."""
    random = Random(seed)
    ours = Ours()
    steps = []
    with contextlib.closing(Linux()) as linux:
        for _ in range(60):
            what = random.choices(range(5), (4, 4, 6, 4, 1))[0]
            size = random.choice((1, 1, 2, 3, 5, 10, 100))
            data = random.randbytes(size)
            steps.append((what, size))
            assert act(ours, what, size, data) == act(linux, what, size, data), steps


@pytest.mark.parametrize("tso", [0, 65535])
@pytest.mark.parametrize("seed", range(6))
def test_stream_is_whole_but_for_urgent_bytes(seed: int, tso: int) -> None:
    """Marks in a long stream over a bad wire: no byte is lost, repeated or out of place."""
    random = Random(seed)
    wire = Wire(make_stack(1, tso=tso), make_stack(2), seed=seed, loss=0.02, jitter_ns=2 * MS)
    writer, reader, _ = connect(wire)
    assert reader.setsockopt(SOL_SOCKET, OOBINLINE, b"\1\0\0\0") == 0
    data = random.randbytes(200_000)
    sent = 0
    got = bytearray()

    def go() -> bool:
        nonlocal sent
        while sent < len(data):
            piece = data[sent : sent + random.choice((1, 100, 5000))]
            count = writer.send_urgent(piece) if random.random() < 0.2 else writer.send(piece)
            if count <= 0:
                break
            sent += count
        while isinstance(piece := reader.recv(65536), bytes) and piece:
            got.extend(piece)
        return len(got) >= len(data)

    assert wire.run(300 * S, go)
    assert bytes(got) == data


def test_urgent_state_survives_saving_and_goes_away() -> None:
    ours = Ours()
    ours.send(b"abc", True)
    ours.wire.stacks = (reborn(ours.wire.stacks[0]), reborn(ours.wire.stacks[1]))
    reader = ours.wire.stacks[1].socket_of(ours.reader.serial)
    writer = ours.wire.stacks[0].socket_of(ours.writer.serial)
    assert isinstance(reader, TcpSocket) and isinstance(writer, TcpSocket)
    ours.reader, ours.writer = reader, writer
    assert ours.recv(10) == b"ab"
    assert ours.at_mark()
    assert ours.recv_urgent(False) == b"c"
    ours.send(b"def", False)
    assert ours.recv(10) == b"def"
    for end in (reader, writer):
        assert end.tcb is not None and end.tcb.urgent is None
        assert end.tcb.is_ordinary  # back on the short path


def test_every_segment_before_the_mark_points_at_it() -> None:
    s = Script(mss=1000, timestamps=False)
    socket = s.passive()
    socket.send_urgent(bytes(2500))
    for seq, length in ((1, 1000), (1001, 1000), (2001, 500)):
        seen = s.expect("AU", seq, length=length)
        assert seen.tcp.urgent == 2501 - seq
        assert seen.tcp.flags & URG
    socket.send(b"after")
    s.inject("A", 1, 2501)
    assert not s.expect("A", 2501, length=5).tcp.flags & URG


def test_mark_goes_through_a_closed_window() -> None:
    s = Script(timestamps=False)
    socket = s.passive()
    s.inject("A", 1, 1, window=0)
    socket.send_urgent(b"!")
    seen = s.expect("AU", 1, length=0)
    assert seen.tcp.urgent == 1
    s.wait(4 * S)
    assert s.expect("AU").tcp.urgent  # and so do the probes


def test_mark_further_off_than_the_pointer_reaches() -> None:
    s = Script(timestamps=False, wscale=7, initial_window_segments=100)
    s.window = 60_000
    socket = s.passive()
    socket.send_urgent(bytes(100_000))
    seen = s.expect("AU", 1)
    assert seen.tcp.urgent == 0xFFFF
