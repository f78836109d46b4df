"""Bulk data by plain reads and writes: the measuring client, and its counterpart on Linux.

    python -m leulo.bench.stream serve ADDRESS SOURCE_PORT SINK_PORT
    python -m leulo.bench.stream receive ADDRESS PORT SECONDS
    python -m leulo.bench.stream send ADDRESS PORT SECONDS

The client prints bytes and nanoseconds. What was sent counts only once the other side has taken
all of it: the time ends when it has closed in answer to our half-close.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from typing import Final

BUFFER_BYTES: Final = 1 << 18
_CONNECT_SECONDS: Final = 10
_STALL_SECONDS: Final = 20


def receive(address: str, port: int, seconds: float) -> tuple[int, int]:
    """Read what a source sends for so long: (bytes, ns)."""
    total = 0
    buffer = bytearray(BUFFER_BYTES)
    with _connect(address, port) as connection:
        began = time.monotonic_ns()
        end = began + int(seconds * 1e9)
        while (now := time.monotonic_ns()) < end:
            count = connection.recv_into(buffer)
            if count == 0:
                break
            total += count
        return total, max(1, now - began)


def send(address: str, port: int, seconds: float) -> tuple[int, int]:
    """Write into a sink for so long, then until it has taken everything: (bytes, ns)."""
    total = 0
    data = bytes(BUFFER_BYTES)
    with _connect(address, port) as connection:
        began = time.monotonic_ns()
        end = began + int(seconds * 1e9)
        while time.monotonic_ns() < end:
            total += connection.send(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(BUFFER_BYTES):
            pass
        return total, max(1, time.monotonic_ns() - began)


def serve(address: str, source_port: int, sink_port: int) -> None:
    """Be a source and a sink until killed."""
    data = bytes(BUFFER_BYTES)

    def source(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while True:
                connection.send(data)

    def sink(connection: socket.socket) -> None:
        buffer = bytearray(BUFFER_BYTES)
        with connection, contextlib.suppress(OSError):
            while connection.recv_into(buffer):
                pass

    def accept(listener: socket.socket, serve_one: object) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve_one, args=(connection,), daemon=True).start()  # type: ignore[arg-type]

    listeners = [socket.create_server((address, port)) for port in (source_port, sink_port)]
    threading.Thread(target=accept, args=(listeners[0], source), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        accept(listeners[1], sink)


def _connect(address: str, port: int) -> socket.socket:
    connection = socket.create_connection((address, port), timeout=_CONNECT_SECONDS)
    connection.settimeout(_STALL_SECONDS)
    return connection


def main(words: list[str]) -> int:
    match words:
        case ["serve", address, source_port, sink_port]:
            serve(address, int(source_port), int(sink_port))
        case ["receive", address, port, seconds]:
            print(*receive(address, int(port), float(seconds)))
        case ["send", address, port, seconds]:
            print(*send(address, int(port), float(seconds)))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
