"""A stack driven by the bytes of one input: frames, time, socket calls, one after another.

The bytes are a list of actions, so that a fuzzer that changes, cuts and joins inputs makes new
stories of old ones. Numbers of TCP are given as distances from those the connection is at: a
mutation then stays near the window, where the decisions are. After every action the invariants
of the engine are checked; nothing but an AssertionError or another exception is a finding.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from struct import Struct

from tcb_invariants import Invariants

from leulo.net.wire.checksum import sum_words
from leulo.net.wire.icmp import IcmpRepr
from leulo.net.wire.icmpv6 import Icmpv6Repr
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.ipv6 import Ipv6Repr
from leulo.stack import Stack, StackConfig
from leulo.tcp.config import PRESETS, Config
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace
from leulo.udp.socket import UdpSocket

MS, S = 1_000_000, 1_000_000_000
HERE, THERE = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
HERE6, THERE6 = (bytes.fromhex("fd00" + "00" * 13 + f"0{n}") for n in (1, 2))
HERE_MAC, THERE_MAC = bytes((2, 0, 0, 0, 0, 1)), bytes((2, 0, 0, 0, 0, 2))
MASK = 0xFFFFFFFF
MOST_ACTIONS = 200
NEAR = (0, 0, 0, 0, 1, -1, 2, 100, 1448, 1460, 2896, -1448, 14_480, 30_000, 65_535, 65_536,
        -(1 << 31), (1 << 31) - 1, 1 << 20, -100_000)  # fmt: skip
TIMES_NS = (0, MS, 10 * MS, 45 * MS, 250 * MS, S, 3 * S, 61 * S, 700 * S, 7_300 * S)
SIZES = (0, 1, 2, 10, 100, 536, 1448, 1460, 2896, 4096, 20_000, 60_000)
WINDOWS = (0, 1, 100, 1448, 8_000, 60_000, 65_535)
OPTIONS = ((1, 2), (1, 7), (1, 8), (1, 9), (1, 13), (1, 18), (6, 1), (6, 2), (6, 3), (6, 4), (6, 5),
           (6, 6), (6, 7), (6, 8), (6, 9), (6, 10), (6, 12), (6, 13), (6, 18), (6, 25),
           (6, 23), (6, 30), (6, 34), (1, 47))  # fmt: skip
_TCP = Struct("!HHIIHHHH")
_TRUSTED = b"\2" + bytes(9)


class Bytes:
    """The input, read from its front; zeros behind its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def is_over(self) -> bool:
        return self.at >= len(self.data)

    def u8(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def u16(self) -> int:
        return self.u8() << 8 | self.u8()

    def take(self, count: int) -> bytes:
        part = self.data[self.at : self.at + count]
        self.at += count
        return part

    def one_of(self, choices: tuple[int, ...]) -> int:
        return choices[self.u8() % len(choices)]


def configuration(bits: int, more: int) -> Config:
    """The knobs that decide about whole paths of code."""
    return replace(
        PRESETS[("linux", "freebsd", "rfc", "linux")[more >> 4 & 3]],
        ack_patience_ns=(0, 0, 0, 10 * MS)[more >> 4 & 3],  # as a machine has it
        ecn=(2, 1, 0, 3)[more & 3],
        fast_open=(1, 0x407)[more >> 2 & 1] | (0, 0x200)[more >> 7],
        has_pacing=bool(more & 0x40),
        has_timestamps=not bits & 1,
        has_sack=not bits & 2,
        has_window_scaling=not bits & 4,
        has_rack=not bits & 8,
        congestion=("reno", "cubic", "bbr", "bbr")[(bits >> 4 & 1) | (more >> 2 & 2)],
        buffers_max=(1 << 40, 100_000)[bits >> 5 & 1],
        half_open_limit=(8, 1)[bits >> 6 & 1],
        rcv_default=(65_535, 8_000)[bits >> 7 & 1],
        orphans_max=4,
        time_wait_limit=4,
        connections_max=12,
    )


class StackTarget:
    """One story. ``run`` plays it and raises what is wrong."""

    def __init__(self, data: bytes) -> None:
        self.input = Bytes(data)
        config = StackConfig(
            name="fuzz", mac=HERE_MAC, address=HERE, prefix_length=24, mtu=1500, has_ipv6=True,
            address6=HERE6, tcp=configuration(self.input.u8(), self.input.u8()),
        )  # fmt: skip
        self.config = config
        self.now_ns = 1_000 * S
        self.stack = Stack(config, Random(1).getrandbits, Trace())
        self.sockets: list[TcpSocket] = []
        self.box: UdpSocket | None = None
        self.sent: list[bytes] = []  # the stack's last frames
        self.invariants = Invariants(self.stack)
        for wait in (0, S, S):
            self.now_ns += wait
            self.stack.advance(self.now_ns)
            self._drain()
        arp = b"\0\1\x08\0\6\4\0\1" + THERE_MAC + THERE + bytes(6) + HERE
        self.stack.input([_TRUSTED + HERE_MAC + THERE_MAC + b"\x08\x06" + arp], self.now_ns)
        self._drain()
        self.actions = (
            self._segment, self._segment, self._segment, self._segment, self._packet, self._frame,
            self._wait, self._receive, self._send, self._shutdown, self._close, self._accept,
            self._connect, self._option, self._listen, self._error, self._datagram, self._reload,
            self._echo, self._shake,
        )  # fmt: skip

    def run(self) -> None:
        for _ in range(MOST_ACTIONS):
            if self.input.is_over:
                break
            code = self.input.u8()
            self.actions[code % len(self.actions)]()
            self.invariants.check()
            if not code & 0x80:
                self._drain()
                self.invariants.check(is_drained=True)
        self._finish()

    # ---------------------------------------------------------------- frames

    def _drain(self) -> None:
        stack = self.stack
        rounds = 0
        while stack.has_output:
            frames = stack.drain(self.now_ns)
            rounds += 1
            assert rounds < 2_000, "drain never ends"
            for parts in frames:
                frame = b"".join(parts)
                assert len(frame) <= 10 + 14 + 1500, len(frame)
                self.sent.append(frame)
            if not frames and not stack.engine.pending:
                break
        del self.sent[:-8]

    def _connection(self) -> object:
        """One of those there are, or None."""
        connections = list(self.stack.engine.connections.values())
        halves = list(self.stack.engine.half_open.values())
        everyone = [*connections, *halves]
        return everyone[self.input.u8() % len(everyone)] if everyone else None

    def _segment(self) -> None:
        """Near the numbers of a connection, of a half-open one, or a SYN of a new one."""
        read = self.input
        which = self._connection()
        flags = read.u8()
        seq, ack = read.one_of(NEAR), read.one_of(NEAR)
        window = read.one_of(WINDOWS)
        kind = read.u8()
        data = bytes(read.one_of(SIZES) if kind & 3 == 3 else 0)
        local_port, peer_port, tsval, tsecr = 80, 4000 + (kind >> 2 & 7), self.now_ns // MS, 1
        here, there, una = HERE, THERE, 1
        if which is not None:
            engine = self.stack.engine
            key = which.key[:-1] if len(which.key) & 1 else which.key  # type: ignore[attr-defined]
            size = (len(key) - 4) // 2
            there, here = key[:size], key[size : 2 * size]
            peer_port = int.from_bytes(key[-4:-2], "big")
            local_port = int.from_bytes(key[-2:], "big")
            una = getattr(which, "snd_una", which.iss + 1)  # type: ignore[attr-defined]
            seq += getattr(which, "rcv_nxt", which.irs + 1)  # type: ignore[attr-defined]
            ack += una if kind & 0x40 else getattr(which, "snd_max", which.iss + 1)  # type: ignore[attr-defined]
            tsecr = engine.now_ms + which.ts_offset  # type: ignore[attr-defined]
            if kind & 0x80:
                tsval += read.one_of(NEAR)
        options = b""
        if flags & 2:
            options = (
                b"\2\4" + read.u16().to_bytes(2, "big") + b"\4\2\1\1\1\3\3" + bytes((read.u8(),))
            )
        elif kind & 0x20:
            options = read.take(read.u8() % 41)
        if not kind & 0x10:
            options += b"\1\1\x08\x0a" + (tsval & MASK).to_bytes(4, "big")
            options += (tsecr & MASK).to_bytes(4, "big")
        if kind & 0x0C == 0x0C:
            blocks = read.u8() % 4
            text = b""
            for _ in range(blocks):
                left = una + read.u16() % 20_000
                text += (left & MASK).to_bytes(4, "big")
                text += (left + read.one_of(SIZES) & MASK).to_bytes(4, "big")
            options += b"\1\1\5" + bytes((2 + len(text),)) + text
        options = options[:40]
        options += bytes(-len(options) % 4)
        tcp = _TCP.pack(
            peer_port, local_port, seq & MASK, ack & MASK,
            (5 + len(options) // 4) << 12 | (kind & 1) << 8 | flags, window, 0,
            read.u8() if flags & 32 else 0,
        )  # fmt: skip
        self._deliver(6, here, there, tcp + options + data, kind & 3)

    def _deliver(self, protocol: int, here: bytes, there: bytes, text: bytes, tos: int = 0) -> None:
        if len(here) == 16:
            head = Ipv6Repr(there, here, protocol, len(text), traffic_class=tos).emit()
            kind = b"\x86\xdd"
        else:
            head, kind = (
                Ipv4Repr(there, here, protocol, len(text), traffic_class=tos).emit(),
                b"\x08\x00",
            )
        frame = _TRUSTED + HERE_MAC + THERE_MAC + kind + head + text
        self.stack.input([frame], self.now_ns)

    def _packet(self) -> None:
        """An IP packet of the input's own, with a header that is right if it says nothing else."""
        read = self.input
        choice = read.u8()
        text = read.take(read.u8())
        protocol = (6, 17, 1, 58, 44, 0, 43, 60)[choice & 7]
        if choice & 8:
            head = Ipv6Repr(THERE6, HERE6, protocol, len(text), 255).emit()
            kind = b"\x86\xdd"
        else:
            fragment = read.u8() if choice & 0x10 else 0
            head = Ipv4Repr(
                THERE, HERE, protocol, len(text), identification=choice >> 6,
                more_fragments=bool(fragment & 1), fragment_offset=(fragment >> 1) * 8,
            ).emit()  # fmt: skip
            kind = b"\x08\x00"
        if choice & 0x20 and len(text) >= 4 and protocol == 1:
            body = text[:2] + b"\0\0" + text[4:]
            text = body[:2] + (0xFFFF - sum_words(body)).to_bytes(2, "big") + text[4:]
        frame = _TRUSTED + HERE_MAC + THERE_MAC + kind + head + text
        self.stack.input([frame], self.now_ns)

    def _frame(self) -> None:
        """A frame of the input's own; what leads to us is there unless it is cut off."""
        read = self.input
        choice = read.u8()
        text = read.take(read.u8())
        kind = (b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"")[choice & 3]
        head = (_TRUSTED, bytes(10), b"\1" + bytes(9), b"")[choice >> 2 & 3]
        to = HERE_MAC if choice & 0x10 else b"\xff" * 6
        self.stack.input([head + to + THERE_MAC + kind + text], self.now_ns)

    def _echo(self) -> None:
        """One of the stack's own frames comes back, changed in a byte."""
        read = self.input
        if self.sent:
            frame = bytearray(self.sent[read.u8() % len(self.sent)])
            frame[:10] = _TRUSTED
            if read.u8() & 1:
                frame[10:22] = HERE_MAC + THERE_MAC
            at, value = read.u8(), read.u8()
            if at < len(frame):
                frame[at] ^= value
            self.stack.input([bytes(frame)], self.now_ns)

    def _error(self) -> None:
        """An ICMP error about a segment of ours."""
        read = self.input
        which = self._connection()
        kind, code, rest = read.u8(), read.u8() & 15, read.u16()
        if which is None:
            return
        seq = (getattr(which, "snd_una", which.iss) + read.one_of(NEAR)) & MASK  # type: ignore[attr-defined]
        key = which.key  # type: ignore[attr-defined]
        size = 16 if len(key) >= 36 else 4
        there, here, ports = key[:size], key[size : 2 * size], key[2 * size : 2 * size + 4]
        text = ports[2:] + ports[:2] + seq.to_bytes(4, "big") + bytes(12)
        if size == 4:
            quoted = Ipv4Repr(here, there, 6, 60).emit() + text
            message = IcmpRepr((3, 4, 5, 11, 12)[kind % 5], code, rest, quoted).emit()
            self._deliver(1, here, there, message)
        else:
            quoted = Ipv6Repr(here, there, 6, 60).emit() + text
            message = Icmpv6Repr((1, 2, 3, 4)[kind % 4], code, rest, quoted).emit(there, here)
            self._deliver(58, here, there, message)

    def _shake(self) -> None:
        """A whole handshake, in one action: what most stories begin with."""
        read = self.input
        choice = read.u8()
        port = 4000 + (choice & 7)
        here, there = (HERE6, THERE6) if choice & 8 else (HERE, THERE)
        if not self.stack.engine.listeners:
            self._listen()
        stamp = b"\1\1\x08\x0a" + (self.now_ns // MS & MASK).to_bytes(4, "big")
        options = b"\2\4\5\xb4\4\2\1\1\1\3\3\7" + stamp + bytes(4)
        is_accurate = choice >= 0xC0  # asked for by three flags [RFC 9768 3.1.1]
        flags = 0x1C2 if is_accurate else 2
        syn = _TCP.pack(port, 80, 1000, 0, 11 << 12 | flags, 60_000, 0, 0) + options
        self._deliver(6, here, there, syn)
        half = self.stack.engine.half_open.get(there + here + port.to_bytes(2, "big") + b"\0\x50")
        if half is not None:
            echo = (self.stack.engine.now_ms + half.ts_offset & MASK).to_bytes(4, "big")
            words, tail = (8, stamp + echo) if half.peer.has_timestamps else (5, b"")
            flags = 16
            if is_accurate:
                flags, words = 16 | (choice & 7) << 6, words + 3
                tail += b"\xae\x0b\0\0\1\0\0\0\0\0\1\1"
            ack = _TCP.pack(port, 80, 1001, half.iss + 1 & MASK, words << 12 | flags, 60_000, 0, 0)
            self._deliver(6, here, there, ack + tail, choice >> 4 & 3)
        self._accept()

    # ---------------------------------------------------------------- time

    def _wait(self) -> None:
        """A wait of nothing is that of a guest which rests."""
        end = self.now_ns + self.input.one_of(TIMES_NS)
        if end == self.now_ns:
            self.stack.release_acks(end)
        for _ in range(3_000):
            at = self.stack.next_deadline()
            if at is None or at > end:
                break
            self.now_ns = max(self.now_ns, at)
            self.stack.advance(self.now_ns)
            self._drain()
            self.invariants.check(is_drained=True)
        else:
            raise AssertionError("the timers never come to rest")
        self.now_ns = end

    # ---------------------------------------------------------------- the user

    def _socket(self) -> TcpSocket | None:
        return self.sockets[self.input.u8() % len(self.sockets)] if self.sockets else None

    def _new(self) -> TcpSocket | None:
        if len(self.sockets) >= 16:
            return None
        socket = self.stack.socket(10 if self.input.u8() & 1 else 2, 1)
        assert isinstance(socket, TcpSocket)
        socket.owner = self
        self.sockets.append(socket)
        return socket

    def _listen(self) -> None:
        socket = self._new()
        if socket is not None:
            where = bytes(16) if socket.family == 10 else bytes(4)
            if socket.bind(where, 80) == 0:
                socket.listen(self.input.u8() & 7)

    def _accept(self) -> None:
        for listener in self.sockets:
            if listener.listener is not None and len(self.sockets) < 16:
                got = listener.accept()
                if isinstance(got, TcpSocket):
                    got.owner = self
                    self.sockets.append(got)
                    return

    def _connect(self) -> None:
        socket = self._new()
        if socket is not None:
            here, there = (HERE6, THERE6) if socket.family == 10 else (HERE, THERE)
            choice = self.input.u8()
            where = (there, there, here, there[:-1] + b"\x63")[choice & 3]
            port = (80, 81, 4000, 0)[choice >> 2 & 3]
            if choice & 0x10:
                socket.connect_with(bytes(100), where, port)
            else:
                socket.connect(where, port)

    def _receive(self) -> None:
        socket = self._socket()
        if socket is not None:
            data = socket.recv(self.input.one_of(SIZES), self.input.u8() & 2)
            assert isinstance(data, bytes) or data <= 0

    def _send(self) -> None:
        socket = self._socket()
        size, choice = self.input.one_of(SIZES), self.input.u8()
        if socket is not None:
            taken = socket.send(bytes(size), more=bool(choice & 1))
            assert -200 < taken <= size

    def _shutdown(self) -> None:
        socket = self._socket()
        if socket is not None:
            socket.shutdown(self.input.u8() % 4)

    def _close(self) -> None:
        socket = self._socket()
        if socket is not None:
            socket.close()
            self.sockets.remove(socket)

    def _option(self) -> None:
        socket = self._socket()
        level, name = OPTIONS[self.input.u8() % len(OPTIONS)]
        value = self.input.take(self.input.u8() % 9)
        if socket is not None:
            socket.setsockopt(level, name, value)
            socket.getsockopt(level, name)
            socket.take_error()

    def _datagram(self) -> None:
        read = self.input
        if self.box is None:
            box = self.stack.socket(2, 2)
            assert isinstance(box, UdpSocket)
            assert box.bind(bytes(4), 9) == 0
            self.box = box
        choice = read.u8()
        if choice & 1:
            self.box.recv(1000)
            return
        size = read.one_of(SIZES)
        head = (9).to_bytes(2, "big") * 2 + (8 + size).to_bytes(2, "big") + bytes(2)
        self._deliver(17, HERE, THERE, head + bytes(size))

    def _reload(self) -> None:
        """The stack is saved and another goes on."""
        state = self.stack.save()
        again = Stack(self.config, Random(2).getrandbits, Trace())
        again.load(state)
        kept = []
        for socket in self.sockets:
            found = again.socket_of(socket.serial)
            assert isinstance(found, TcpSocket), "a socket is lost by saving"
            found.owner = self
            kept.append(found)
        self.sockets = kept
        if self.box is not None:
            box = again.socket_of(self.box.serial)
            assert isinstance(box, UdpSocket)
            self.box = box
        self.stack = again
        self.invariants.restart(again)

    def _finish(self) -> None:
        """Everything is closed; in the end nothing is left."""
        for socket in self.sockets:
            socket.close()
        if self.box is not None:
            self.box.close()
        self.sockets = []
        self._drain()
        self.invariants.check(is_drained=True)
        end = self.now_ns + 4_000 * S
        for _ in range(20_000):
            at = self.stack.next_deadline()
            if at is None or at > end:
                break
            self.now_ns = max(self.now_ns, at)
            self.stack.advance(self.now_ns)
            self._drain()
        else:
            raise AssertionError("the timers never come to rest")
        self.invariants.check(is_drained=True)
        counters = self.stack.counters()
        left = {n: counters[n] for n in ("tcp_connections", "tcp_half_open", "tcp_sockets",
                "tcp_orphans", "tcp_buffered_bytes", "tcp_bound_ports") if counters[n]}  # fmt: skip
        assert not left, f"left behind: {left}"


def play(data: bytes) -> None:
    """Play one story."""
    StackTarget(data).run()
