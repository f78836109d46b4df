"""Another engine serving HTTP over a TAP, as `engine_server` does with ours, for `engine_bench`.

``python reference_server.py FILE NAME ADDRESS/LENGTH GATEWAY``: FILE is a module as
`leulo.bench.beside` wants it. Link, clock and poller are those of the other, so only engine and
user differ. A request is whatever comes in one piece; it is answered by the 100 bytes of ``/``, and
the connection is closed if it asks for that.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from engine_server import MAC, SMALL_CLOSED, SMALL_KEPT

from leulo.bench.beside import load
from leulo.links.poller import Poller
from leulo.links.tap import TapLink
from leulo.net.wire.ipv4 import parse_ipv4

_IDLE_NS = 100_000_000


class Http:
    """The user of every connection."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(1 << 20))

    def on_connect(self, connection: Any, now_us: int) -> None:
        pass

    def on_data(self, connection: Any, piece: bytes, length: int, now_us: int) -> None:
        self.memory[:length] = piece
        if b"close" in bytes(piece):
            connection.sbuf += SMALL_CLOSED
            connection.close(now_us)
        else:
            connection.sbuf += SMALL_KEPT
            connection.need_ack = 2
            connection.output(now_us)

    def on_writable(self, connection: Any, now_us: int) -> None:
        pass

    def on_eof(self, connection: Any, now_us: int) -> None:
        connection.close(now_us)

    def on_closed(self, connection: Any) -> None:
        pass


class Server:
    """The engine, a TAP and the loop that joins them."""

    def __init__(
        self, module: Any, name: str, address: bytes, prefix_length: int, gateway: bytes
    ) -> None:
        self.poller = Poller()
        self.link = TapLink(name, self.poller, gateway, prefix_length)
        offload = self.link.offload
        if not offload.checksum:
            raise SystemExit("the TAP has no offloads: nothing to compare")
        where = int.from_bytes(address, "big")
        self.stack = module.Stack(where, MAC, True, offload.tso_bytes > 0, np)
        self.stack.listeners[80] = Http()
        self.link.attach(self.receive)
        self.is_stopped = False

    def receive(self, frames: Sequence[bytes]) -> None:
        now_us = time.monotonic_ns() // 1000
        for frame in frames:
            self.stack.input(frame, now_us)
        self.stack.flush(now_us)

    def stop(self) -> None:
        self.is_stopped = True
        self.poller.wake()

    def run(self) -> None:
        stack = self.stack
        while not self.is_stopped:
            due = stack.timers[0][0] * 1000 if stack.timers else None
            now = time.monotonic_ns()
            wait = _IDLE_NS if due is None else min(_IDLE_NS, max(0, due - now))
            self.poller.wait(0 if stack.out else wait)
            now = time.monotonic_ns()
            if stack.timers and stack.timers[0][0] * 1000 <= now:
                stack.poll(now // 1000)
            if stack.out:
                frames, stack.out = stack.out, []
                self.link.transmit([f if f[1] else f[:1] for f in frames], now)

    def counters(self) -> dict[str, int]:
        return {"cpu_us": time.process_time_ns() // 1000}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("module", type=Path)
    parser.add_argument("name")
    parser.add_argument("address")
    parser.add_argument("gateway")
    given = parser.parse_args()
    address, _, length = given.address.partition("/")
    server = Server(
        load(given.module), given.name, parse_ipv4(address), int(length), parse_ipv4(given.gateway)
    )
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    signal.signal(
        signal.SIGUSR1, lambda *_: os.write(2, (json.dumps(server.counters()) + "\n").encode())
    )
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    server.run()
    server.link.close()
    print(json.dumps(server.counters()), flush=True)


if __name__ == "__main__":
    main()
