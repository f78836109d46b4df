"""A link with faults between two descriptors of Ethernet frames, in a process of its own.

``python link_emulator.py FD FD SPEC SECONDS`` carries frames between two TAPs, or a TAP and a
socket, that it has inherited. SPEC is a `LinkSpec` as JSON and holds for both directions. It ends
at SIGTERM, or after SECONDS whatever happens, and prints its counters as JSON, one object for each
direction: the one from the first descriptor comes first.

It shares nothing with Leulo's own simulated wire: it is one of the judges.
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from types import FrameType

from netns import Namespace

READS = 64  # frames taken from one end before the other has its turn
MOST_BYTES = 65_536
SMALL_BYTES = 100  # frames up to this carry no data to speak of: ACK, SYN, ARP
_READY_SECONDS = 20
_SOCKET_BYTES = 1 << 25
_SO_SNDBUFFORCE = 32
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000


@dataclass(frozen=True)
class LinkSpec:
    """Faults of one direction. Shares are of frames, times are milliseconds.

    ``spared`` frames at the beginning pass unharmed, so that a lost SYN, which costs a second,
    does not decide a short run.
    """

    mbit_s: float = 20.0
    queue_frames: int = 1000  # drop-tail, behind the rate
    delay_ms: float = 10.0
    loss: float = 0.0
    reordering: float = 0.0
    reordering_ms: float = 5.0  # how much later one that is overtaken comes
    duplication: float = 0.0
    corruption: float = 0.0  # one bit of it turned
    spared: int = 10
    seed: int = 1


class Direction:
    """Frames one way: what happens to each is settled when it comes in."""

    def __init__(self, spec: LinkSpec, seed: int, out_fd: int) -> None:
        self.spec = spec
        self.chance = random.Random(seed)
        self.out_fd = out_fd
        self.free_at = 0.0  # when the last of the queue has left
        self.leaving: deque[float] = deque()  # when each in the queue leaves
        self.counts = {
            "frames": 0, "data_frames": 0, "lost": 0, "lost_data": 0, "queue_full": 0,
            "queue_full_data": 0, "reordered": 0, "duplicated": 0, "corrupted": 0, "refused": 0,
        }  # fmt: skip
        self.latest_ms = 0.0  # how late a frame was at worst, because this process was

    def arrivals(self, frame: bytes, now: float) -> list[tuple[float, bytes]]:
        """When the frame arrives at the other end, and as what."""
        spec, counts, chance = self.spec, self.counts, self.chance.random
        counts["frames"] += 1
        is_data = len(frame) > SMALL_BYTES
        counts["data_frames"] += is_data
        is_spared = counts["frames"] <= spec.spared
        if not is_spared and chance() < spec.loss:
            counts["lost"] += 1
            counts["lost_data"] += is_data
            return []
        leaving = self.leaving
        while leaving and leaving[0] <= now:
            leaving.popleft()
        if len(leaving) >= spec.queue_frames:
            counts["queue_full"] += 1
            counts["queue_full_data"] += is_data
            return []
        self.free_at = max(now, self.free_at) + len(frame) * 8 / (spec.mbit_s * 1e6)
        leaving.append(self.free_at)
        arrival = self.free_at + spec.delay_ms / 1e3
        if is_spared:
            return [(arrival, frame)]
        copies = [(arrival, frame)]
        if chance() < spec.reordering:
            counts["reordered"] += 1
            copies = [(arrival + spec.reordering_ms / 1e3, frame)]
        if chance() < spec.duplication:
            counts["duplicated"] += 1
            copies.append((arrival + spec.delay_ms / 1e3 * chance(), frame))
        if chance() < spec.corruption:
            counts["corrupted"] += 1
            spoiled = bytearray(frame)
            spoiled[self.chance.randrange(14, len(frame))] ^= 1 << self.chance.randrange(8)
            copies[0] = (copies[0][0], bytes(spoiled))
        return copies


def carry(fds: tuple[int, int], spec: LinkSpec, seconds: float) -> list[dict[str, float]]:
    """Carry frames both ways until SIGTERM or the end of ``seconds``; returns the counters."""
    is_ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal is_ended
        is_ended = True

    signal.signal(signal.SIGTERM, end)
    ways = {
        fds[0]: Direction(spec, spec.seed * 2, fds[1]),
        fds[1]: Direction(spec, spec.seed * 2 + 1, fds[0]),
    }
    for fd in fds:
        os.set_blocking(fd, False)
    underway: list[tuple[float, int, Direction, bytes]] = []
    number = 0
    clock = time.monotonic
    finish = clock() + seconds
    print("ready", flush=True)
    while not is_ended and (now := clock()) < finish:
        wait = min(0.1, max(0.0, underway[0][0] - now)) if underway else 0.1
        for fd in select.select(fds, (), (), wait)[0]:
            way = ways[fd]
            try:
                for _ in range(READS):
                    frame = os.read(fd, MOST_BYTES)
                    if not frame:
                        is_ended = True  # the other end of a socket is gone
                        break
                    for arrival, copy in way.arrivals(frame, clock()):
                        number += 1
                        heapq.heappush(underway, (arrival, number, way, copy))
            except BlockingIOError:
                continue
            except ConnectionError:  # the same, with frames that it had not read
                is_ended = True
        now = clock()
        while underway and underway[0][0] <= now:
            arrival, _, way, frame = heapq.heappop(underway)
            way.latest_ms = max(way.latest_ms, (now - arrival) * 1e3)
            try:
                os.write(way.out_fd, frame)
            except OSError:
                way.counts["refused"] += 1
    return [{**way.counts, "latest_ms": way.latest_ms} for way in ways.values()]


def open_end(namespace: Namespace, address: str, name: str = "emu0") -> int:
    """The descriptor of a new TAP inside ``namespace``, with ``address`` (and prefix length) on
    the kernel's side of it: whole frames, with checksums, none longer than the MTU."""
    with namespace.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            request = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI)
            fcntl.ioctl(fd, _TUNSETIFF, request)
        except BaseException:
            os.close(fd)
            raise
    namespace.run("sysctl", "-qw", "net.ipv4.tcp_no_metrics_save=1",
                  f"net.ipv6.conf.{name}.disable_ipv6=1")  # fmt: skip
    namespace.run("ip", "link", "set", name, "txqueuelen", "10000", "up")
    namespace.run("ip", "addr", "add", address, "dev", name)
    return fd


def socket_ends() -> tuple[int, int]:
    """Two descriptors of a pair of sockets that carries frames, with room for a long queue."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SOCKET_BYTES)
    return pair[0].detach(), pair[1].detach()


class LinkEmulator:
    """The process; a context manager. It takes the two descriptors over: they are closed here.

    ``counters`` are there after the block.
    """

    def __init__(self, first: int, second: int, spec: LinkSpec, seconds: float = 60) -> None:
        self.counters: list[dict[str, float]] = []
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(first), str(second), json.dumps(asdict(spec)),
             str(seconds)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=(first, second),
        )  # fmt: skip
        os.close(first)
        os.close(second)
        assert self._process.stdout is not None
        ready = select.select([self._process.stdout], [], [], _READY_SECONDS)[0]
        line = self._process.stdout.readline() if ready else b""
        if line != b"ready\n":
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the link emulator did not begin: {line!r}")

    def __enter__(self) -> LinkEmulator:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            output, _ = self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, _ = self._process.communicate()
        if kind is None:
            self.counters = json.loads(output)


def main(argv: list[str]) -> None:
    first, second, spec, seconds = argv
    print(
        json.dumps(carry((int(first), int(second)), LinkSpec(**json.loads(spec)), float(seconds)))
    )


if __name__ == "__main__":
    main(sys.argv[1:])
