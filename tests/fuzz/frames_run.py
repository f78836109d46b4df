"""Hostile frames into links, for long, half of them mutated from valid flows: time, memory.

    python tests/fuzz/frames_run.py                   1,000,000 frames
    python tests/fuzz/frames_run.py --count 50000 --coverage

Seven in ten go into a stack that serves connections over IPv4 and IPv6 meanwhile, the others come
from a guest into the user gateway. Any exception or broken invariant ends it with a traceback and
the seed. Exits 1 if memory grew, a frame took too long on average or a batch of 64 took too long.
With ``--coverage`` it tells the branches taken of the code that reads frames instead, and judges
neither time nor memory; it is several times slower.
"""

from __future__ import annotations

import argparse
import gc
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
for place in (ROOT, ROOT / "tests", ROOT / "tests/tcp", ROOT / "tests/links"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from guest_frames import NowhereButHere, framed, mutated, valid  # noqa: E402
from raw_guest import RawGuest  # noqa: E402
from tcb_invariants import Invariants  # noqa: E402
from tcp_segments import TcpRepr  # noqa: E402
from user_world import GATEWAY, GUEST  # noqa: E402

from leulo.links.user import dns, udp  # noqa: E402
from leulo.links.user.resolver import Resolvers  # noqa: E402
from leulo.net.wire.ipv4 import Ipv4Repr  # noqa: E402
from leulo.net.wire.tcp import ACK, FIN, PSH, RST, SYN  # noqa: E402
from leulo.stack import Stack, StackConfig  # noqa: E402
from leulo.tcp.config import Config  # noqa: E402
from leulo.tcp.socket import TcpSocket  # noqa: E402
from leulo.trace import Trace  # noqa: E402

SEED = 1
BATCH = 64
EPISODE = 100_000  # frames against one world; then another begins
MOST_GROWTH_KIB = 16 * 1024
MOST_MEAN_US = 1_000.0
MOST_BATCH_S = 2.0
MS, S = 1_000_000, 1_000_000_000
INET, INET6, STREAM, DGRAM = 2, 10, 1, 2
FLOWS = 8
READERS = ("leulo/net/*", "leulo/tcp/*", "leulo/udp/*", "leulo/links/user/*", "leulo/stack*.py")


@dataclass
class Report:
    """What a run has shown. Memory is resident KiB, after a tenth of the run and at its end."""

    frames: int = 0
    mutated: int = 0
    seconds: float = 0.0  # in the code under test alone
    slowest_s: float = 0.0  # of one batch
    early_kib: int = 0
    late_kib: int = 0
    served_bytes: int = 0  # by connections, meanwhile
    opened: int = 0
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def grown_kib(self) -> int:
        return self.late_kib - self.early_kib

    @property
    def mean_us(self) -> float:
        return self.seconds / max(1, self.frames) * 1e6

    def took(self, seconds: float, frames: int) -> None:
        self.seconds += seconds
        self.slowest_s = max(self.slowest_s, seconds)
        self.frames += frames


def resident_kib() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4


def make_stack(n: int, seed: int) -> Stack:
    config = StackConfig(
        name=f"s{n}", mac=bytes((2, 0, 0, 0, 0, n)), address=bytes((10, 0, 0, n)),
        prefix_length=24, mtu=1500, checksum=True, has_ipv6=True,
        address6=bytes.fromhex("fd00" + "00" * 13 + f"0{n}"),
        tcp=Config(half_open_limit=64, connections_max=200, time_wait_limit=500,
                   buffers_max=4 << 20, orphans_max=64),
    )  # fmt: skip
    return Stack(config, Random(seed * 10 + n).getrandbits, Trace())


class StackWorld:
    """A client and a server that exchange data, and an enemy beside them."""

    def __init__(self, seed: int, report: Report) -> None:
        self.random = Random(seed)
        self.report = report
        self.now_ns = 0
        self.client, self.server = make_stack(1, seed), make_stack(2, seed)
        self.invariants = Invariants(self.server)
        self.recent: list[bytes] = []  # valid frames to the server
        self.flows: list[TcpSocket] = []
        self.accepted: list[TcpSocket] = []
        for _ in range(4):
            self.now_ns += S
            self._exchange()
        self.listeners = []
        for family in (INET, INET6):
            listener = self.server.socket(family, STREAM)
            assert isinstance(listener, TcpSocket)
            listener.setsockopt(41, 26, b"\1\0\0\0")  # IPV6_V6ONLY
            assert listener.bind(bytes(16 if family == INET6 else 4), 80) == 0
            assert listener.listen(32) == 0
            self.listeners.append(listener)
        self.box = self.server.socket(INET, DGRAM)
        assert not isinstance(self.box, int)
        assert self.box.bind(bytes(4), 9) == 0

    def turn(self, count: int) -> None:
        """Some honest traffic, and ``count`` hostile frames."""
        self._use_flows()
        self._exchange()
        if not self.recent:
            return
        frames = [self._hostile() for _ in range(count)]
        began = time.process_time()
        self.server.input(frames, self.now_ns)
        out = self._drained(self.server)
        self.server.advance(self.now_ns)
        self.report.took(time.process_time() - began, count)
        self.invariants.check()
        self.client.input(out, self.now_ns)
        self._drained(self.client)  # answers to lies: lost

    def finish(self) -> None:
        for one in (*self.flows, *self.accepted, *self.listeners):
            one.close()
        for _ in range(400):
            self.now_ns += 10 * S
            self._exchange()
        self.invariants.check()
        counters = self.server.counters()
        for name in ("tcp_connections", "tcp_half_open", "tcp_orphans", "tcp_buffered_bytes"):
            assert counters[name] == 0, (name, counters[name])
        for name, value in counters.items():
            if name.startswith("drop_") or name in ("tcp_challenge_acks", "syn_cookies_sent"):
                self.report.counters[name] = self.report.counters.get(name, 0) + value

    # -- inside

    def _drained(self, stack: Stack) -> list[bytes]:
        out = []
        while stack.has_output:
            frames = stack.drain(self.now_ns)
            if not frames and not stack.engine.pending:
                break
            out += [b"".join(frame) for frame in frames]
        return out

    def _exchange(self) -> None:
        """The wire carries what is there, and time moves by a millisecond or more."""
        self.now_ns += MS if self.random.random() < 0.98 else 300 * MS
        for stack in (self.client, self.server):
            stack.advance(self.now_ns)
        for _ in range(4):
            up = self._drained(self.client)
            if up:
                self.recent = [*self.recent[-40:], *up[-20:]]
                self.server.input(up, self.now_ns)
            down = self._drained(self.server)
            if not up and not down:
                break
            self.client.input(down, self.now_ns)

    def _use_flows(self) -> None:
        random = self.random
        for listener in self.listeners:
            while isinstance(got := listener.accept(), TcpSocket):
                self.accepted.append(got)
        for one in list(self.accepted):
            data = one.recv(20_000)
            if isinstance(data, bytes) and data:
                self.report.served_bytes += len(data)
                one.send(data[:4000])
            elif data == b"" or data != -11:
                one.close()
                self.accepted.remove(one)
        for one in list(self.flows):
            data = one.recv(20_000)
            if data == b"" or (isinstance(data, int) and data != -11) or random.random() < 0.005:
                one.close()
                self.flows.remove(one)
            elif random.random() < 0.5:
                one.send(bytes(random.choice((1, 100, 3_000, 20_000))))
        if len(self.flows) < FLOWS:
            family = random.choice((INET, INET6))
            one = self.client.socket(family, STREAM)
            assert isinstance(one, TcpSocket)
            config = self.server.config
            one.connect(config.address6 or b"" if family == INET6 else config.address, 80)
            self.flows.append(one)
            self.report.opened += 1

    def _hostile(self) -> bytes:
        """Every other one a mutation of what has just been said."""
        random = self.random
        if self.report.mutated <= self.report.frames // 2 or random.random() < 0.5:
            self.report.mutated += 1
            frame = bytearray(random.choice(self.recent))
            frame[0] = random.choice((0, 1, 2, 2))  # mostly vouched for, so that it gets far
            return _changed(random, frame)
        kind = random.randrange(6)
        if kind < 3:
            return self._near(
                random.choice(list(self.server.engine.connections.values()) or [None])
            )
        head = b"\2" + bytes(9) + self.server.mac + self.client.mac
        if kind == 3:
            ip = Ipv4Repr(
                self.client.address, self.server.address, random.choice((1, 6, 17, 255)), 64,
                identification=random.randrange(8), more_fragments=random.random() < 0.4,
                fragment_offset=random.choice((0, 0, 8, 64, 65_400)),
            ).emit()  # fmt: skip
            return head + b"\x08\x00" + ip + random.randbytes(64)
        if kind == 4:
            start = random.choice((b"\x08\x06\0\1\x08\0\6\4\0", b"\x86\xdd\x60\0\0\0"))
            return head + start + random.randbytes(random.randrange(80))
        return random.randbytes(random.randrange(200))

    def _near(self, tcb) -> bytes:  # type: ignore[no-untyped-def]
        """A forged segment near the numbers of a connection."""
        random = self.random
        head = b"\2" + bytes(9) + self.server.mac + self.client.mac + b"\x08\x00"
        seq, ack, ports = (
            random.getrandbits(32),
            random.getrandbits(32),
            (random.randrange(1, 65536), 80),
        )
        if tcb is not None:
            near = (0, 0, 1, -1, 1448, 60_000, -60_000, 1 << 30)
            seq = tcb.rcv_nxt + random.choice(near) & 0xFFFFFFFF
            ack = random.choice((tcb.snd_una, tcb.snd_max)) + random.choice(near) & 0xFFFFFFFF
            ports = tcb.peer_port, tcb.local_port
        options = []
        if random.random() < 0.7:
            stamp = self.now_ns // MS + random.choice((0, 5, -5)) & 0xFFFFFFFF
            options = [(1, b""), (1, b""), (8, stamp.to_bytes(4, "big") + bytes(4))]
        if random.random() < 0.3:
            blocks = [ack + random.randrange(-3_000, 60_000) & 0xFFFFFFFF for _ in range(4)]
            options += [(1, b""), (1, b""), (5, b"".join(n.to_bytes(4, "big") for n in blocks))]
        flags = random.choice((ACK, ACK, ACK | PSH, ACK | FIN, SYN, RST, SYN | ACK, 0, 255))
        tcp = TcpRepr(*ports, seq, ack, flags, random.choice((0, 1, 500, 65_535)), 0, options)
        text = tcp.emit(bytes(4), bytes(4), bytes(random.choice((0, 0, 1, 1448))))
        ip = Ipv4Repr(self.client.address, self.server.address, 6, len(text))
        return head + ip.emit() + text


class GatewayWorld:
    """A guest that lies to the user gateway; a server on this computer takes its connections."""

    def __init__(self, seed: int, report: Report, folder: Path) -> None:
        self.random = Random(seed)
        self.report = report
        (folder / "resolv.conf").write_text("")  # names are answered SERVFAIL, nobody is asked
        self.taker = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.taker.setblocking(False)
        self.port = self.taker.getsockname()[1]
        self.probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.probe.bind(("127.0.0.1", self.port))  # takes datagrams and never reads them
        self.taken: list[socket.socket] = []
        self.live: list[tuple[int, int, int]] = []  # port, next number, what to acknowledge
        self.guest = RawGuest(resolvers=Resolvers(folder / "resolv.conf"))
        for part in (self.guest.link._udp, self.guest.link._outbound, self.guest.link._pings):
            part._plan = NowhereButHere(part._plan)  # type: ignore[assignment]
        self.guest.link.attach(self._take)

    def turn(self, count: int) -> None:
        random, guest = self.random, self.guest
        frames = []
        for _ in range(count):
            frame = framed(
                random, self._in_flow() if random.random() < 0.4 else valid(random, self.port)
            )
            if self.report.mutated <= self.report.frames // 2:
                self.report.mutated += 1
                frame = mutated(random, frame)
            frames.append((frame,))
        began = time.process_time()
        guest.link.transmit(frames, guest.now_ns())
        guest.turn()
        self.report.took(time.process_time() - began, count)
        self._serve()

    def finish(self) -> None:
        counters = self.guest.link.counters()
        assert counters["udp_flows"] <= udp.MOST_FLOWS
        assert len(self.guest.link._names._queries) <= dns.MOST_QUERIES
        assert counters["gateway.tcp_half_open"] <= 4096
        self.guest.close()
        for one in (*self.taken, self.taker, self.probe):
            one.close()

    def _take(self, frames) -> None:  # type: ignore[no-untyped-def]
        """What the gateway says: handshakes become flows."""
        for frame in frames:
            if frame[22:24] == b"\x08\x00" and frame[33] == 6 and frame[57] & 0x12 == 0x12:
                port = frame[46] << 8 | frame[47]
                ack, seq = int.from_bytes(frame[52:56], "big"), int.from_bytes(frame[48:52], "big")
                self.live = [*self.live[-15:], (port, ack, seq + 1 & 0xFFFFFFFF)]

    def _in_flow(self) -> bytes:
        """A segment of a connection that is open, or the SYN of another one."""
        random = self.random
        if not self.live or random.random() < 0.1:
            tcp = TcpRepr(
                random.randrange(1024, 65_536), self.port, random.getrandbits(32), 0, SYN, 9000
            )
            text = tcp.emit(GUEST, GATEWAY)
        else:
            at = random.randrange(len(self.live))
            port, seq, ack = self.live[at]
            data = bytes(random.choice((0, 1, 100, 1400)))
            flags = random.choice((ACK, ACK | PSH, ACK | PSH, ACK | FIN, RST | ACK))
            text = TcpRepr(port, self.port, seq, ack, flags, 9000).emit(GUEST, GATEWAY, data)
            self.live[at] = port, seq + len(data) & 0xFFFFFFFF, ack
        return Ipv4Repr(GUEST, GATEWAY, 6, len(text)).emit() + text

    def _serve(self) -> None:
        """The host's side: takes connections, reads some, answers some, resets some."""
        while True:
            try:
                one, _ = self.taker.accept()
            except BlockingIOError:
                break
            one.setblocking(False)
            self.taken.append(one)
            self.report.opened += 1
        for one in list(self.taken):
            if self.random.random() < 0.2:
                try:
                    data = one.recv(4096)
                    self.report.served_bytes += len(data)
                    if data:
                        one.send(data[:100])
                        continue
                except BlockingIOError:
                    continue
                except OSError:
                    pass
                one.close()
                self.taken.remove(one)
        while len(self.taken) > 200:
            self.taken.pop(0).close()


def _changed(random: Random, frame: bytearray) -> bytes:
    """A few bytes of a frame other than they were; now and then cut, or longer."""
    for _ in range(random.randrange(1, 4)):
        kind = random.randrange(8)
        if kind < 3:
            frame[random.randrange(10, len(frame))] ^= 1 << random.randrange(8)
        elif kind < 6:
            frame[random.randrange(22, min(len(frame), 100))] = random.choice(
                (0, 1, 0x7F, 0x80, 0xFF, random.randrange(256))
            )
        elif kind == 6:
            del frame[random.randrange(24, len(frame)) :]
            if len(frame) < 30:
                break
        else:
            frame += random.randbytes(random.randrange(60))
    return bytes(frame)


def run(count: int, seed: int = SEED, share: int = 7) -> Report:
    """``count`` frames, ``share`` in ten of them into a stack."""
    report = Report()
    number = 0
    with tempfile.TemporaryDirectory(prefix="leulo-frames-") as folder:
        while report.frames < count:
            episode = min(EPISODE, count - report.frames)
            world: StackWorld | GatewayWorld
            if number % 10 < share:
                world = StackWorld(seed + number, report)
            else:
                world = GatewayWorld(seed + number, report, Path(folder))
            end = report.frames + episode
            while report.frames < end:
                world.turn(min(BATCH, end - report.frames))
                if not report.early_kib and report.frames >= count // 10:
                    report.early_kib = resident_kib()
            world.finish()
            del world
            number += 1
    report.late_kib = resident_kib()
    return report


def branches(count: int, seed: int) -> tuple[int, int, str]:
    """(taken, all, a table by file) of the branches of `READERS` with ``count`` frames."""
    import io
    import json

    import coverage

    include = [str(ROOT / pattern) for pattern in READERS]
    measured = coverage.Coverage(branch=True, include=include, data_file=None, config_file=False)
    measured.start()
    run(count, seed)
    measured.stop()
    with tempfile.NamedTemporaryFile("r", suffix=".json") as out:
        measured.json_report(outfile=out.name)
        totals = json.load(out)["totals"]
    text = io.StringIO()
    measured.report(file=text, skip_covered=True)
    return totals["covered_branches"], totals["num_branches"], text.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description="Hostile frames into a stack and a gateway.")
    parser.add_argument("--count", type=int, default=1_000_000, help="frames")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--coverage", action="store_true", help="tell the branches taken")
    arguments = parser.parse_args()
    global EPISODE
    EPISODE = max(1, min(EPISODE, arguments.count // 10))
    if arguments.coverage:
        taken, total, text = branches(arguments.count, arguments.seed)
        print(text)
        print(f"{taken} of {total} branches, {100 * taken / total:.1f} %, of the code that reads "
              f"frames, {arguments.count} frames")  # fmt: skip
        return 0
    report = run(arguments.count, arguments.seed)
    print(f"{report.frames} frames, {report.mutated} of them mutated from valid flows, seed "
          f"{arguments.seed}: no traceback, every invariant held")  # fmt: skip
    print(f"time    {report.seconds:.1f} s, {report.mean_us:.1f} us a frame, the slowest batch of "
          f"{BATCH} {report.slowest_s * 1e3:.0f} ms")  # fmt: skip
    print(f"memory  {report.early_kib} KiB after a tenth, {report.late_kib} KiB at the end")
    print(
        f"flows   {report.opened} connections opened meanwhile, {report.served_bytes} bytes served"
    )
    shown = sorted(report.counters.items(), key=lambda item: -item[1])[:12]
    print("drops   " + ", ".join(f"{name.removeprefix('drop_')} {n}" for name, n in shown))
    if (
        report.grown_kib > MOST_GROWTH_KIB
        or report.mean_us > MOST_MEAN_US
        or report.slowest_s > MOST_BATCH_S
    ):
        print("memory grew, or frames took too long")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
