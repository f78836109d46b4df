"""The TCP engine serving over a TAP without any guest, for tools that judge TCP alone.

``python engine_server.py NAME ADDRESS/LENGTH GATEWAY`` opens the TAP ``NAME`` in the namespace it
is started in (or takes over a socket of frames: ``fd:N``), listens on 7 (echo, of datagrams too),
9 (discard), 19 (chargen), 80 (HTTP: ``/`` is 100 bytes, ``/bytes/N`` is N) and 5001 (a stream as of
/bytes/N comes in, and ``N right`` or ``wrong from N`` goes back at its end), over both versions of
IP (`ADDRESS_6`), prints ``ready`` and serves until SIGTERM; then it prints its counters as JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from http_checks import expected_bytes
from socket_link import SocketLink

from leulo.clock import RealClock
from leulo.links.base import Link, Offload
from leulo.links.capture import Capture
from leulo.links.poller import Poller
from leulo.links.switch import Switch
from leulo.links.tap import TapLink
from leulo.net.wire.ipv4 import parse_ipv4
from leulo.stack import Stack, StackConfig, TcpSocket
from leulo.tcp.config import Config
from leulo.trace import Trace
from leulo.udp.socket import UdpSocket
from leulo.units import NS_PER_MS

AF_INET6, SOCK_STREAM, SOCK_DGRAM, SHUT_WR = 10, 1, 2, 1
EAGAIN = 11
POLLIN, POLLOUT = 1, 4
MAC = bytes.fromhex("5254000000e2")
ANY = bytes(16)  # of both versions
ADDRESS_6 = bytes.fromhex("fd000077") + bytes(11) + b"\x02"  # fd00:77::2
PIECE = 1 << 16
_LATE_LOOKS = 16
_IDLE_NS = 100 * NS_PER_MS

_BODY = b"x" * 100
_HEAD = b"HTTP/1.1 200 OK\r\nServer: leulo-engine\r\nContent-Length: %d\r\n%s\r\n"
SMALL_KEPT = _HEAD % (100, b"") + _BODY
SMALL_CLOSED = _HEAD % (100, b"Connection: close\r\n") + _BODY


_PATTERN = (bytes(range(33, 127)) + b"\r\n") * 2730  # 256 KiB that cost nothing to make


class Conversation:
    """One accepted connection: a queue of bytes to send and what to do when it is empty."""

    __slots__ = ("at", "is_ended", "keep", "left", "offset", "pending", "request", "socket")

    def __init__(self, socket: TcpSocket) -> None:
        self.socket = socket
        socket.owner = self
        self.pending: list[bytes] = []
        self.request = b""
        self.is_ended = False  # nothing more will be queued: then close
        self.keep = True
        self.offset = 0  # of the /bytes body being sent
        self.left = 0

    def ready(self) -> None:
        self.flush()
        while not self.pending and not self.left and not self.is_ended:
            data = self.socket.recv(PIECE)
            if isinstance(data, int):
                if data != -EAGAIN:
                    self.socket.close()
                    self.socket.owner = None
                return
            if data:
                self.received(data)
            else:
                self.is_ended = True
                self.ended()
            self.flush()

    def flush(self) -> None:
        socket = self.socket
        while self.pending:
            data = self.pending[0]
            sent = socket.send(data)
            if sent < 0:
                if sent != -EAGAIN:
                    self.abandon()
                return
            if sent < len(data):
                self.pending[0] = data[sent:]
                if sent == 0:
                    return
                continue
            del self.pending[0]
            if self.left and not self.pending:
                self.refill()
        if self.is_ended and socket.owner is self:
            socket.close()
            socket.owner = None

    def refill(self) -> None:
        size = min(self.left, 1 << 18)
        self.pending.append(expected_bytes(self.offset, size))
        self.offset += size
        self.left -= size

    def abandon(self) -> None:
        """The connection has failed: nothing more is to be said."""
        self.pending = []
        self.left = 0
        self.is_ended = True
        self.socket.close()
        self.socket.owner = None

    def received(self, data: bytes) -> None:
        raise TypeError("a conversation has a protocol")

    def ended(self) -> None:
        """The peer sends no more."""


class Echo(Conversation):
    __slots__ = ()

    def received(self, data: bytes) -> None:
        self.pending.append(data)


class Discard(Conversation):
    __slots__ = ()

    def received(self, data: bytes) -> None:
        pass


class Check(Conversation):
    """A stream that must be as the body of /bytes/N; says at its end whether it was."""

    __slots__ = ("is_wrong",)

    def __init__(self, socket: TcpSocket) -> None:
        super().__init__(socket)
        self.is_wrong = False

    def received(self, data: bytes) -> None:
        if not self.is_wrong and data == expected_bytes(self.offset, len(data)):
            self.offset += len(data)
        else:
            self.is_wrong = True

    def ended(self) -> None:
        answer = b"wrong from %d" if self.is_wrong else b"%d right"
        self.pending.append(answer % self.offset)


class Chargen(Conversation):
    __slots__ = ()

    def __init__(self, socket: TcpSocket) -> None:
        super().__init__(socket)
        self.left = 1 << 62
        self.refill()

    def refill(self) -> None:
        self.pending.append(_PATTERN)


class Http(Conversation):
    __slots__ = ()

    def received(self, data: bytes) -> None:
        self.request += data
        while not self.is_ended and not self.left and (end := self.request.find(b"\r\n\r\n")) >= 0:
            head, self.request = self.request[:end], self.request[end + 4 :]
            self.respond(head)
        if len(self.request) > PIECE:
            self.abandon()

    def respond(self, head: bytes) -> None:
        line = head[: head.find(b"\r\n")] if b"\r\n" in head else head
        words = line.split(b" ")
        lower = head.lower()
        keep = b"connection: close" not in lower and (
            line.endswith(b"1.1") or b"connection: keep-alive" in lower
        )
        path = words[1] if len(words) > 1 else b"/"
        if path.startswith(b"/bytes/") and path[7:].isdigit():
            self.offset, self.left = 0, int(path[7:])
            extra = b"Connection: keep-alive\r\n" if keep else b"Connection: close\r\n"
            self.pending.append(_HEAD % (self.left, extra))
            if self.left == 0 and not keep:
                self.is_ended = True
            self.keep = keep
            if self.left:
                self.is_ended = not keep
        elif keep and line.endswith(b"1.0"):
            self.pending.append(_HEAD % (100, b"Connection: keep-alive\r\n") + _BODY)
        elif keep:
            self.pending.append(SMALL_KEPT)
        else:
            self.pending.append(SMALL_CLOSED)
            self.is_ended = True


class Listener:
    """Accepts and hands each connection to a conversation."""

    def __init__(self, stack: Stack, port: int, kind: Callable[[TcpSocket], Conversation]) -> None:
        socket = stack.socket(AF_INET6, SOCK_STREAM)
        assert not isinstance(socket, int), socket
        self.socket = socket
        self.kind = kind
        self.accepted = 0
        socket.owner = self
        assert socket.bind(ANY, port) == 0
        assert socket.listen(4096) == 0

    def ready(self) -> None:
        while True:
            socket = self.socket.accept()
            if isinstance(socket, int):
                assert socket == -EAGAIN, socket
                return
            self.accepted += 1
            self.kind(socket).ready()


class Datagrams:
    """Sends every datagram back."""

    def __init__(self, stack: Stack, port: int) -> None:
        socket = stack.socket(AF_INET6, SOCK_DGRAM)
        assert isinstance(socket, UdpSocket), socket
        self.socket = socket
        socket.owner = self
        assert socket.bind(ANY, port) == 0

    def ready(self) -> None:
        while not isinstance(got := self.socket.recvfrom(PIECE), int):
            self.socket.sendto(got[0], *got[1])


class Server:
    """A stack, a switch, a TAP and the loop that joins them."""

    def __init__(
        self, name: str, address: bytes, prefix_length: int, gateway: bytes,
        capture: Path | None = None, seed: int = 1, tcp: Config | None = None,
    ) -> None:  # fmt: skip
        self.clock = RealClock(time.monotonic_ns)
        self.poller = Poller()
        self.link: Link
        if name.startswith("fd:"):
            self.link = SocketLink(int(name[3:]), self.poller)
        else:
            self.link = TapLink(name, self.poller, gateway, prefix_length)
        self.offload = self.link.offload
        config = StackConfig(
            name="engine", mac=MAC, address=address, prefix_length=prefix_length,
            gateway=gateway, mtu=self.link.mtu, checksum=self.offload.checksum,
            tso_bytes=self.offload.tso_bytes, has_ipv6=True, address6=ADDRESS_6,
            tcp=tcp or Config(),
        )  # fmt: skip
        self.stack = Stack(config, random.Random(seed).getrandbits, Trace())
        self.switch = Switch()
        sends = Offload(checksum=config.checksum, tso_bytes=config.tso_bytes)
        self.port = self.switch.add_stack("engine", sends, self.receive)
        self.switch.add_link(self.link, self.clock)
        self.capture = Capture(capture, self.clock) if capture else None
        if self.capture:
            self.switch.watch(self.capture.record)
        self.listeners = [
            Listener(self.stack, port, kind)
            for port, kind in (
                (7, Echo),
                (9, Discard),
                (19, Chargen),
                (80, Http),
                (5001, Check),
            )
        ]
        self.datagrams = Datagrams(self.stack, 7)
        self.is_stopped = False

    def receive(self, frames: Sequence[bytes], now_ns: int) -> None:
        self.stack.input(frames, now_ns)

    def stop(self) -> None:
        self.is_stopped = True
        self.poller.wake()

    def run(self) -> None:
        stack = self.stack
        while not self.is_stopped:
            deadline = stack.next_deadline()
            now = self.clock.now_ns()
            wait = _IDLE_NS if deadline is None else min(_IDLE_NS, max(0, deadline - now))
            self.poller.wait(0 if stack.has_output else wait)
            now = self.clock.now_ns()
            deadline = stack.next_deadline()
            if deadline is not None and deadline <= now:
                looks = _LATE_LOOKS  # as `leulo.host`: what has come goes first
                while looks and self.poller.wait(0):
                    looks -= 1
                stack.advance(now)
            for socket in stack.take_ready():
                owner = socket.owner
                if owner is not None:
                    owner.ready()  # type: ignore[attr-defined]
            while stack.has_output:
                frames = stack.drain(now)
                if not frames:
                    break
                self.port.send(frames, now)

    def close(self) -> None:
        self.link.close()
        if self.capture:
            self.capture.close()

    def counters(self) -> dict[str, int]:
        return {
            **{f"stack.{k}": v for k, v in self.stack.counters().items()},
            **{f"link.{k}": v for k, v in self.link.counters().items()},
            **{f"switch.{k}": v for k, v in self.switch.counters().items()},
            **{f"accepted.{x.kind.__name__}": x.accepted for x in self.listeners},
            "cpu_us": time.process_time_ns() // 1000,
            "kept_waiting_us": kept_waiting_us(),
            "rss_kb": int(Path("/proc/self/statm").read_text().split()[1]) * 4,
        }


def kept_waiting_us() -> int:
    """How long this process was ready to run while others ran. [Linux sched-stats]"""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) // 1000
    except FileNotFoundError:  # a kernel without it
        return 0


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("address")
    parser.add_argument("gateway")
    parser.add_argument("--capture", type=Path)
    parser.add_argument("--congestion", default=Config().congestion)
    given = parser.parse_args(argv)
    address, _, length = given.address.partition("/")
    server = Server(
        given.name, parse_ipv4(address), int(length), parse_ipv4(given.gateway), given.capture,
        tcp=Config(congestion=given.congestion),
    )  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    signal.signal(signal.SIGINT, lambda *_: server.stop())
    signal.signal(
        signal.SIGUSR1, lambda *_: os.write(2, (json.dumps(server.counters()) + "\n").encode())
    )
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    try:
        server.run()
    finally:
        server.close()
        print(json.dumps(server.counters()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
