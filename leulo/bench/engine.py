"""What the TCP engine costs: two stacks in one process, the wire between them is a list.

Nothing is simulated and no system call is made, so the figures are the engine's own: CPU time
for both ends together, per frame that passed between them, or per connection. Each function runs
once and returns a `Cost`; take the median of several.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from leulo.stack import Stack, StackConfig
from leulo.tcp.errno import AF_INET, SHUT_WR, SOCK_STREAM
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace
from leulo.units import NS_PER_S, NS_PER_US

_STEP_NS = 50 * NS_PER_US
_CHUNK_BYTES = 65_536
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n" + b"x" * 100
_REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
_BUDGET = 1 << 20
_PORT = 80


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of both ends, frames between them, and units of work done."""

    cpu_s: float
    frames: int
    units: int

    @property
    def us_per_frame(self) -> float:
        return self.cpu_s / self.frames * 1e6

    @property
    def us_per_unit(self) -> float:
        return self.cpu_s / self.units * 1e6


def pair(checksum: bool, tso_bytes: int) -> tuple[Stack, Stack]:
    """Two stacks that know each other's hardware address."""
    stacks = []
    for n in (1, 2):
        config = StackConfig(
            name=f"bench{n}",
            mac=bytes((2, 0, 0, 0, 0, n)),
            address=bytes((10, 0, 0, n)),
            prefix_length=24,
            checksum=checksum,
            tso_bytes=tso_bytes,
        )
        stacks.append(Stack(config, Random(n).getrandbits, Trace()))
    a, b = stacks
    probe = _socket(a)
    probe.connect(b.address, 9)
    for _ in range(4):
        _exchange(a, b, 0)
    probe.close()
    return a, b


def bulk(total_bytes: int, checksum: bool = True, tso_bytes: int = 0) -> Cost:
    """One connection, ``total_bytes`` one way, whatever the windows let through at once."""
    a, b = pair(checksum, tso_bytes)
    listener = _listen(b)
    chunk = bytes(_CHUNK_BYTES)
    view = memoryview(bytearray(_CHUNK_BYTES))
    gc.collect()
    began = time.process_time()
    client = _socket(a)
    client.connect(b.address, _PORT)
    client.owner = client
    server: TcpSocket | None = None
    now_ns = frames = received = 0
    left = total_bytes
    while received < total_bytes:
        sent = a.drain(now_ns, _BUDGET)
        frames += len(sent)
        if tso_bytes:
            # One at a time: the memory of a batch of them would be what is measured.
            for frame in sent:
                b.input([b"".join(frame)], now_ns)
                received += _read(server, view)
        else:
            b.input([b"".join(frame) for frame in sent], now_ns)
            received += _read(server, view)
        del sent
        frames += _carry(b, a, now_ns)
        if server is None:
            accepted = listener.accept()
            if isinstance(accepted, TcpSocket):
                server = accepted
        while left > 0 and client.send_room() >= _CHUNK_BYTES:
            left -= client.send(chunk)
        now_ns += _STEP_NS
    return Cost(time.process_time() - began, frames, total_bytes)


def connections(count: int) -> Cost:
    """``count`` requests, each on a connection of its own that the server closes."""
    a, b = pair(True, 0)
    listener = _listen(b)
    listener.owner = listener
    view = memoryview(bytearray(4096))
    gc.collect()
    began = time.process_time()
    now_ns = frames = done = 0
    while done < count:
        client = _socket(a)
        client.connect(b.address, _PORT)
        client.owner = client
        has_asked = False
        while True:
            frames += _exchange(a, b, now_ns)
            now_ns += _STEP_NS
            for socket in b.take_ready():
                if socket is listener:
                    accepted = listener.accept()
                    if isinstance(accepted, TcpSocket):
                        accepted.owner = accepted
                        _serve(accepted, view)
                elif isinstance(socket, TcpSocket):
                    _serve(socket, view)
            if a.take_ready():
                if not has_asked:
                    has_asked = True
                    client.send(_REQUEST)
                elif client.recv_into(view) >= 0:
                    client.recv_into(view)
                    client.close()
                    break
        frames += _exchange(a, b, now_ns)
        a.advance(now_ns)
        b.advance(now_ns)
        done += 1
        # So that the client does not run out of ports.
        now_ns += NS_PER_S // 100
    return Cost(time.process_time() - began, frames, count)


def requests(count: int) -> Cost:
    """``count`` requests on one connection that is kept alive."""
    a, b = pair(True, 0)
    listener = _listen(b)
    view = memoryview(bytearray(4096))
    client = _socket(a)
    client.connect(b.address, _PORT)
    now_ns = frames = 0
    server: TcpSocket | None = None
    while server is None:
        _exchange(a, b, now_ns)
        accepted = listener.accept()
        if isinstance(accepted, TcpSocket):
            server = accepted
    gc.collect()
    began = time.process_time()
    for _ in range(count):
        client.send(_REQUEST)
        frames += _exchange(a, b, now_ns)
        server.recv_into(view)
        server.send(_RESPONSE)
        frames += _exchange(a, b, now_ns)
        client.recv_into(view)
        now_ns += _STEP_NS
    return Cost(time.process_time() - began, frames, count)


def _read(server: TcpSocket | None, view: memoryview) -> int:
    total = 0
    while server is not None:
        count = server.recv_into(view)
        if count <= 0:
            break
        total += count
    return total


def _serve(socket: TcpSocket, view: memoryview) -> None:
    count = socket.recv_into(view)
    if count > 0:
        socket.send(_RESPONSE)
        socket.shutdown(SHUT_WR)
    elif count == 0:
        socket.close()


def _exchange(a: Stack, b: Stack, now_ns: int) -> int:
    return _carry(a, b, now_ns) + _carry(b, a, now_ns)


def _carry(sender: Stack, receiver: Stack, now_ns: int) -> int:
    if not sender.has_output:
        return 0
    frames = sender.drain(now_ns, _BUDGET)
    receiver.input([b"".join(frame) for frame in frames], now_ns)
    return len(frames)


def _socket(stack: Stack) -> TcpSocket:
    socket = stack.socket(AF_INET, SOCK_STREAM)
    assert isinstance(socket, TcpSocket)
    return socket


def _listen(stack: Stack) -> TcpSocket:
    socket = _socket(stack)
    socket.bind(bytes(4), _PORT)
    socket.listen(128)
    return socket


def _median(costs: list[Cost], key: str) -> float:
    return sorted(float(getattr(cost, key)) for cost in costs)[len(costs) // 2]


def main(rounds: int = 5) -> None:
    """Print the table."""
    mss = 1448
    rows: tuple[tuple[str, str, Callable[[], Cost]], ...] = (
        ("MSS segments, offload", "us_per_frame", lambda: bulk(mss * 20_000)),
        ("MSS segments, software checksum", "us_per_frame", lambda: bulk(mss * 20_000, False)),
        ("64 KiB super-segments", "us_per_frame", lambda: bulk(65_536 * 4_000, True, 65_535)),
        ("keep-alive request", "us_per_unit", lambda: requests(5_000)),
        ("HTTP-like connection", "us_per_unit", lambda: connections(3_000)),
    )
    for name, key, run in rows:
        costs = [run() for _ in range(rounds)]
        per = costs[0].frames / costs[0].units
        print(f"{name:36s} {_median(costs, key):7.2f} us  ({per:.4f} frames per unit)")


if __name__ == "__main__":
    main()
