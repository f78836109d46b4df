"""One stack against a peer that is played by the test, segment by segment.

Sequence numbers are relative: ``seq`` to the peer's initial number, ``ack`` to the stack's. Every
step is written down, and a failed expectation prints all of them, the one that broke last.
What the stack sends is read by the codecs of `leulo.net.wire`, not by the engine's own.
"""

from __future__ import annotations

from random import Random

from tcp_segments import TcpRepr
from tcp_world import ANY, INET, MS, STREAM, S, address, make_stack

from leulo.net.wire.checksum import checksum
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.tcp import ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG
from leulo.stack import Stack
from leulo.tcp.socket import TcpSocket
from leulo.tcp.state import State
from leulo.trace import Trace

NAMES = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK, "U": URG, "E": ECE, "W": CWR,
         "N": AE}  # fmt: skip
PEER_ISN = 0xFFFFFF00  # so that every test wraps round soon
HERE, THERE = address(1), address(2)
HERE_MAC, THERE_MAC = bytes((2, 0, 0, 0, 0, 1)), bytes((2, 0, 0, 0, 0, 2))
MASK = 0xFFFFFFFF


class Seen:
    """A segment of the stack's, with relative numbers."""

    def __init__(self, flags: str, seq: int, ack: int, window: int, data: bytes, tcp: TcpRepr):
        self.flags = flags
        self.seq = seq
        self.ack = ack
        self.window = window
        self.data = data
        self.tcp = tcp

    def __str__(self) -> str:
        text = f"{self.flags} seq {self.seq} ack {self.ack} win {self.window} len {len(self.data)}"
        if self.tcp.sack_blocks:
            text += f" sack {self.tcp.sack_blocks}"
        return text


class Script:
    """The stage: ``stack`` at 10.0.0.1, the played peer at 10.0.0.2."""

    def __init__(
        self,
        *,
        port: int = 80,
        peer_port: int = 4000,
        timestamps: bool = True,
        sack: bool = True,
        wscale: int = 0,
        mss: int = 1460,
        **knobs: object,
    ) -> None:
        knobs.setdefault("quick_acks", 0)  # scripts begin past the eager first acknowledgements
        self.stack: Stack = make_stack(1, checksum=False, **knobs)
        self.steps: list[str] = []
        self.now_ns = 1_000 * S
        self.port = port
        self.peer_port = peer_port
        self.timestamps = timestamps
        self.sack = sack
        self.wscale = wscale
        self.mss = mss
        self.iss: int | None = None
        self.last_tsval = 0
        self.window = 60_000
        self.socket: TcpSocket | None = None
        self.listener: TcpSocket | None = None
        self.queue: list[Seen] = []
        self._arp()

    # -- the wire

    def _arp(self) -> None:
        body = b"\0\1\x08\0\6\4\0\1" + THERE_MAC + THERE + bytes(6) + HERE
        self.stack.input([bytes(10) + HERE_MAC + THERE_MAC + b"\x08\x06" + body], self.now_ns)
        self._collect()
        self.queue.clear()

    def _collect(self) -> None:
        while self.stack.has_output:
            frames = self.stack.drain(self.now_ns)
            if not frames:
                break
            for parts in frames:
                frame = b"".join(parts)
                if frame[22:24] == b"\x08\x00":
                    self.queue.append(self._read(frame))

    def _read(self, frame: bytes) -> Seen:
        packet = frame[24:]
        ip = Ipv4Repr.parse(packet)
        assert checksum(packet[:20]) == 0
        assert len(packet) == 20 + ip.payload_bytes
        segment = packet[20:]
        tcp = TcpRepr.parse(segment, ip.source, ip.destination)
        self.peer_port = tcp.destination_port
        self.port = tcp.source_port
        if tcp.flags & SYN:
            self.iss = tcp.sequence
        if tcp.timestamps:
            self.last_tsval = tcp.timestamps[0]
        flags = "".join(name for name, bit in NAMES.items() if tcp.flags & bit)
        base = self.iss if self.iss is not None else 0
        header = (segment[12] >> 4) * 4
        return Seen(
            flags,
            _signed(tcp.sequence - base),
            _signed(tcp.acknowledgment - PEER_ISN) if tcp.flags & ACK else 0,
            tcp.window,
            segment[header:],
            tcp,
        )

    # -- what a test says

    def note(self, text: str) -> None:
        self.steps.append(f"{(self.now_ns - 1_000 * S) / MS:10.3f} ms  {text}")

    def fail(self, text: str) -> None:
        raise AssertionError("\n".join(["steps:", *self.steps, "FAILED: " + text]))

    def inject(
        self,
        flags: str,
        seq: int,
        ack: int | None = None,
        data: bytes = b"",
        *,
        window: int | None = None,
        tsval: int | None = None,
        tsecr: int | None = None,
        sacks: list[tuple[int, int]] | None = None,
        options: list[tuple[int, bytes]] | None = None,
        drain: bool = True,
        tos: int = 0,
        ip_options: bytes = b"",
    ) -> None:
        """The peer sends. ``tsval`` in milliseconds of the peer's clock, None: now; -1: none."""
        bits = sum(NAMES[name] for name in flags)
        if options is None:
            options = []
            if bits & SYN:
                options.append((2, self.mss.to_bytes(2, "big")))
                if self.sack:
                    options.append((4, b""))
            if self.timestamps and tsval != -1 and not bits & RST:
                value = self.now_ns // MS if tsval is None else tsval
                echo = self.last_tsval if tsecr is None else tsecr
                pair = (value & MASK).to_bytes(4, "big") + echo.to_bytes(4, "big")
                options += [(1, b""), (1, b""), (8, pair)]
            if bits & SYN and self.wscale >= 0:
                options += [(1, b""), (3, bytes((self.wscale,)))]
            if sacks:
                base = self.iss or 0
                body = b"".join(((n + base) & MASK).to_bytes(4, "big") for s in sacks for n in s)
                options += [(1, b""), (1, b""), (5, body)]
        base = self.iss if self.iss is not None else 0
        tcp = TcpRepr(
            self.peer_port,
            self.port,
            (seq + PEER_ISN) & MASK,
            0 if ack is None else (ack + base) & MASK,
            bits,
            self.window if window is None else window,
            0,
            options,
        )
        segment = tcp.emit(THERE, HERE, data)
        ip = Ipv4Repr(
            THERE, HERE, 6, len(segment), traffic_class=tos, dont_fragment=True, options=ip_options
        )
        self.note(f"peer  > {flags} seq {seq} ack {ack} len {len(data)} {sacks or ''}")
        frame = bytes(10) + HERE_MAC + THERE_MAC + b"\x08\x00" + ip.emit() + segment
        self.stack.input([frame], self.now_ns)
        if drain:
            self._collect()

    def expect(
        self,
        flags: str,
        seq: int | None = None,
        ack: int | None = None,
        length: int | None = None,
        sacks: list[tuple[int, int]] | None = None,
    ) -> Seen:
        """The stack's next segment is this one. The P flag is not looked at."""
        self._collect()
        wanted = f"{flags} seq {seq} ack {ack} len {length}"
        if not self.queue:
            self.fail(f"expected {wanted}, the stack is silent in {self.state}")
        seen = self.queue.pop(0)
        self.note(f"stack > {seen}")
        if sorted(seen.flags.replace("P", "")) != sorted(flags):
            self.fail(f"expected {wanted}, got {seen}")
        if seq is not None and seen.seq != seq:
            self.fail(f"expected {wanted}, got {seen}")
        if ack is not None and seen.ack != ack:
            self.fail(f"expected {wanted}, got {seen}")
        if length is not None and len(seen.data) != length:
            self.fail(f"expected {wanted}, got {seen}")
        if sacks is not None:
            got = [(_signed(a - PEER_ISN), _signed(b - PEER_ISN)) for a, b in seen.tcp.sack_blocks]
            if got != sacks:
                self.fail(f"expected sack {sacks}, got {got}")
        return seen

    def expect_none(self) -> None:
        self._collect()
        if self.queue:
            self.fail(f"expected silence, got {self.queue[0]}")

    def expect_state(self, state: str) -> None:
        if self.state != state:
            self.fail(f"expected state {state}, is {self.state}")

    def expect_drop(self, reason: str) -> None:
        counters = self.stack.counters()
        if not counters.get("drop_" + reason):
            self.fail(f"expected drop {reason}, have { {k: v for k, v in counters.items() if v} }")

    @property
    def state(self) -> str:
        engine = self.stack.engine
        for tcb in engine.connections.values():
            return tcb.state.name
        if engine.half_open:
            return State.SYN_RCVD.name
        if len(engine.time_wait):
            return State.TIME_WAIT.name
        return State.CLOSED.name

    @property
    def tcb(self):  # type: ignore[no-untyped-def]
        return next(iter(self.stack.engine.connections.values()))

    def wait(self, ns: int) -> None:
        """Time passes, timers fire; what they send is queued for `expect`."""
        end = self.now_ns + ns
        while True:
            self._collect()
            at = self.stack.next_deadline()
            if at is None or at > end:
                break
            self.now_ns = max(self.now_ns, at)
            self.stack.advance(self.now_ns)
        self.now_ns = end
        self.note(f"waited {ns / MS} ms")

    def do(self, text: str, result: object, wanted: object = None) -> None:
        """A socket call, already made: written down and checked."""
        self.note(f"user    {text} = {result}")
        if wanted is not None and result != wanted:
            self.fail(f"{text} gave {result}, expected {wanted}")

    # -- short cuts to a state

    def new_socket(self) -> TcpSocket:
        socket = self.stack.socket(INET, STREAM)
        assert isinstance(socket, TcpSocket)
        return socket

    def listen(self, backlog: int = 8) -> None:
        self.listener = self.new_socket()
        self.do("bind", self.listener.bind(ANY, self.port), 0)
        self.do("listen", self.listener.listen(backlog), 0)

    def accept(self) -> TcpSocket:
        assert self.listener is not None
        socket = self.listener.accept()
        self.do("accept", socket)
        if not isinstance(socket, TcpSocket):
            self.fail("nothing to accept")
        self.socket = socket
        return socket

    def passive(self) -> TcpSocket:
        """ESTABLISHED by a passive open; both sides' next number is 1."""
        if self.listener is None:
            self.listen()
        self.inject("S", 0)
        self.expect("SA", 0, 1)
        self.inject("A", 1, 1)
        self.expect_none()
        self.expect_state("ESTABLISHED")
        return self.accept()

    def dial(self) -> TcpSocket:
        self.socket = self.new_socket()
        self.do("connect", self.socket.connect(THERE, self.port), -115)
        return self.socket

    def active(self) -> TcpSocket:
        """ESTABLISHED by an active open."""
        socket = self.dial()
        self.expect("S", 0)
        self.inject("SA", 0, 1)
        self.expect("A", 1, 1)
        self.expect_state("ESTABLISHED")
        return socket

    def enter(self, state: str) -> TcpSocket | None:
        """Walk to ``state`` the usual way; the next numbers are in `peer_next` and `own_next`."""
        self.peer_next = self.own_next = 1
        if state == "SYN_SENT":
            socket = self.dial()
            self.expect("S", 0)
            return socket
        if state == "SYN_RCVD":
            self.listen()
            self.inject("S", 0)
            self.expect("SA", 0, 1)
            return None
        socket = self.passive()
        if state in ("CLOSE_WAIT", "LAST_ACK"):
            self.inject("FA", 1, 1)
            self.expect("A", 1, 2)
            self.peer_next = 2
            if state == "LAST_ACK":
                socket.shutdown(1)
                self.expect("FA", 1, 2)
                self.own_next = 2
        elif state != "ESTABLISHED":
            socket.shutdown(1)
            self.expect("FA", 1, 1)
            self.own_next = 2
            if state == "CLOSING":
                self.inject("FA", 1, 1)
                self.expect("A", 2, 2)
                self.peer_next = 2
            elif state in ("FIN_WAIT_2", "TIME_WAIT"):
                self.inject("A", 1, 2)
                if state == "TIME_WAIT":
                    self.inject("FA", 1, 2)
                    self.expect("A", 2, 2)
                    self.peer_next = 2
        self.expect_state(state)
        return socket


def _signed(difference: int) -> int:
    difference &= MASK
    return difference - (1 << 32) if difference >= 1 << 31 else difference


__all__ = ["MS", "Random", "S", "Script", "Trace"]
