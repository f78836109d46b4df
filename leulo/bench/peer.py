"""A TCP peer written out frame by frame, which drives an engine in memory and times it.

It knows only the wire: connections are opened, asked on and closed as a Linux client would, many
at once or one by one. What is timed is one turn of the engine: frames in, timers, its user's
calls, frames out. The works at the end are generators; each step is a round and gives the number
of units done in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from time import thread_time_ns
from typing import Final, Protocol

from leulo.tcp.header import Frame
from leulo.units import NS_PER_MS, NS_PER_S, NS_PER_US

PORT: Final = 80
FLOWS: Final = 50  # connections in a round
MSS: Final = 1448
QUESTION: Final = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
PEER: Final = 0x0A000001
OWN: Final = 0x0A000002
PEER_MAC: Final = bytes((2, 0, 0, 0, 0, 1))
OWN_MAC: Final = bytes((2, 0, 0, 0, 0, 2))
# An ARP request: who asks for our address makes his own known.
NEIGHBOUR: Final = b"".join((
    bytes(10), OWN_MAC, PEER_MAC, bytes.fromhex("0806 0001 0800 0604 0001"), PEER_MAC,
    PEER.to_bytes(4, "big"), bytes(6), OWN.to_bytes(4, "big"),
))  # fmt: skip

_FRAMES: Final = 64  # of bulk data, in one turn
_WINDOW: Final = 4096  # of the peer, 128 bytes each
_SCALE: Final = 7
_FIN, _SYN, _PSH, _ACK = 1, 2, 8, 16
# virtio_net_hdr with a checksum known to be good, Ethernet, IPv4, TCP up to the urgent pointer
_HEADER: Final = Struct("!10s6s6sHBBHHHBBHIIHHIIBBHHH")
_VNET: Final = b"\x01" + bytes(9)
_TIMESTAMP: Final = Struct("!III")
_SYN_OPTIONS: Final = Struct("!HHIIII")
_PORTS: Final = Struct("!44xHH")
_ANSWERED: Final = Struct("!48xIIBBH")  # seq, ack, offset, flags, window
_TIMESTAMP_AT: Final = 68
_SYN_TIMESTAMP_AT: Final = 72
_SYN_SCALE_AT: Final = 83


class Side(Protocol):
    """An engine with its user: one turn is what is timed."""

    def turn(self, frames: list[bytes], now_ns: int) -> list[Frame]:
        """Frames in, frames out: tuples of header and payload."""

    def connect(self, count: int, now_ns: int) -> list[Frame]:
        """Begin ``count`` connections to the peer; its SYNs."""


class Flow:
    """The peer's end of one connection, between its port and the engine's."""

    __slots__ = ("ack", "echo", "edge", "port", "scale", "seq", "to_port")

    def __init__(self, port: int, to_port: int, seq: int) -> None:
        self.port = port
        self.to_port = to_port
        self.seq = seq
        self.ack = 0
        self.echo = 0
        self.scale = 0
        self.edge = 0  # of the engine's window

    def frame(self, flags: int, now_ns: int, payload: bytes = b"") -> bytes:
        """The next segment; the sequence number moves on."""
        now_ms = now_ns // NS_PER_MS & 0xFFFFFFFF
        window = _WINDOW
        if flags & _SYN:
            options = _SYN_OPTIONS.pack(
                0x0204, 1460, 0x0402080A, now_ms, self.echo, 0x01030300 | _SCALE
            )
            window = 64_240
        else:
            options = _TIMESTAMP.pack(0x0101080A, now_ms, self.echo)
        head = _HEADER.pack(
            _VNET, OWN_MAC, PEER_MAC, 0x0800, 0x45, 0, 40 + len(options) + len(payload), 0,
            0x4000, 64, 6, 0, PEER, OWN, self.port, self.to_port, self.seq, self.ack,
            20 + len(options) << 2, flags, window, 0, 0,
        )  # fmt: skip
        self.seq = (self.seq + len(payload) + (flags & _FIN) + (flags >> 1 & 1)) & 0xFFFFFFFF
        return b"".join((head, options, payload))

    def acknowledge(self, now_ns: int) -> bytes:
        """A bare acknowledgement of all that was heard."""
        return self.frame(_ACK, now_ns)

    def hear(self, frame: bytes) -> int:
        """Take a segment of the engine's; returns the length of its payload."""
        seq, ack, offset, flags, window = _ANSWERED.unpack_from(frame)
        length: int = len(frame) - 44 - (offset >> 2)
        self.ack = (seq + length + (flags & _FIN) + (flags >> 1 & 1)) & 0xFFFFFFFF
        at = _TIMESTAMP_AT
        if flags & _SYN:
            at = _SYN_TIMESTAMP_AT
            self.scale = frame[_SYN_SCALE_AT]
            self.edge = ack + window
        else:
            self.edge = ack + (window << self.scale)
        self.echo = int.from_bytes(frame[at : at + 4], "big")
        return length


class Peer:
    """Drives one engine; `spent_ns` of it was the engine's."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.now_ns = NS_PER_S
        self.spent_ns = 0
        self.flows: list[Flow] = []
        self._next_port = 1024
        self._next_seq = 1

    def exchange(self, frames: list[bytes]) -> list[bytes]:
        """One timed turn; what came back, in one piece each."""
        began = thread_time_ns()
        out = self.side.turn(frames, self.now_ns)
        self.spent_ns += thread_time_ns() - began
        self.now_ns += 50 * NS_PER_US
        return self._packets(out)

    def be_called(self, count: int) -> None:
        """``count`` connections begun by the engine, up to its SYNs."""
        began = thread_time_ns()
        out = self.side.connect(count, self.now_ns)
        self.spent_ns += thread_time_ns() - began
        self.flows = []
        for syn in self._packets(out):
            self._new_flow(PORT, _PORTS.unpack_from(syn)[0]).hear(syn)
        if len(self.flows) != count:
            raise AssertionError(f"{len(self.flows)} SYNs instead of {count}")

    def open(self, count: int) -> None:
        """Begin ``count`` connections: SYN, and what answers it."""
        self.flows = []
        for _ in range(count):
            self._new_flow(self._next_port, PORT)
            self._next_port = 1024 if self._next_port == 65_535 else self._next_port + 1
        self.say([flow.frame(_SYN, self.now_ns) for flow in self.flows], count)

    def _packets(self, frames: list[Frame]) -> list[bytes]:
        """What is IPv4, in one piece each. A question for the peer's address is answered."""
        packets = [b"".join(frame) for frame in frames]
        if any(packet[22:24] == b"\x08\x06" for packet in packets):
            self.side.turn([NEIGHBOUR], self.now_ns)
        return [packet for packet in packets if packet[22:24] == b"\x08\x00"]

    def _new_flow(self, port: int, to_port: int) -> Flow:
        self._next_seq = (self._next_seq + 99_991) & 0xFFFFFFFF
        flow = Flow(port, to_port, self._next_seq)
        self.flows.append(flow)
        return flow

    def say(self, frames: list[bytes], least: int) -> None:
        """Send; hear at least ``least`` answers."""
        flows = {(flow.to_port, flow.port): flow for flow in self.flows}
        answers = self.exchange(frames)
        if len(answers) < least:
            raise AssertionError(f"{len(answers)} answers instead of {least}")
        for answer in answers:
            flows[_PORTS.unpack_from(answer)].hear(answer)


def _close(peer: Peer) -> list[bytes]:
    now = peer.now_ns
    return [
        frame
        for flow in peer.flows
        for frame in (flow.frame(_ACK, now), flow.frame(_ACK | _FIN, now))
    ]


def ask(peer: Peer) -> list[bytes]:
    """The handshake's last segment and a question, on every connection."""
    now = peer.now_ns
    return [
        frame
        for flow in peer.flows
        for frame in (flow.frame(_ACK, now), flow.frame(_ACK | _PSH, now, QUESTION))
    ]


def closed_by_us(peer: Peer, flows: int) -> Iterator[int]:
    """Accept, question, answer with FIN, TIME_WAIT: connections in each round."""
    while True:
        for _ in range(FLOWS // flows):
            peer.open(flows)
            peer.say(ask(peer), flows)
            peer.say(_close(peer), flows)
            peer.now_ns += NS_PER_S * flows // FLOWS
        yield FLOWS


def closed_by_peer(peer: Peer, flows: int) -> Iterator[int]:
    """Accept, question, answer, the peer's FIN, ours: connections in each round."""
    while True:
        for _ in range(FLOWS // flows):
            peer.open(flows)
            peer.say(ask(peer), flows)
            peer.say(_close(peer), flows)
            peer.say([flow.frame(_ACK, peer.now_ns) for flow in peer.flows], 0)
            peer.now_ns += NS_PER_S * flows // FLOWS
        yield FLOWS


def opened_by_us(peer: Peer, flows: int) -> Iterator[int]:
    """Active opens that ask, are answered, and close after the peer."""
    while True:
        for _ in range(FLOWS // flows):
            peer.be_called(flows)
            now = peer.now_ns
            peer.say([flow.frame(_SYN | _ACK, now) for flow in peer.flows], flows)
            now = peer.now_ns
            peer.say([flow.frame(_ACK | _PSH | _FIN, now, ANSWER) for flow in peer.flows], flows)
            peer.say([flow.frame(_ACK, peer.now_ns) for flow in peer.flows], 0)
            peer.now_ns += NS_PER_S * flows // FLOWS
        yield FLOWS


def kept_alive(peer: Peer, flows: int) -> Iterator[int]:
    """Question and answer on connections that stay: requests in each round."""
    peer.open(flows)
    peer.say(ask(peer), flows)
    while True:
        for _ in range(4 * FLOWS // flows):
            now = peer.now_ns
            peer.say([f.frame(_ACK | _PSH, now, QUESTION) for f in peer.flows], flows)
        yield 4 * FLOWS


def received(peer: Peer, length: int) -> Iterator[int]:
    """Bulk data to the engine, ``length`` bytes a frame: frames in each round."""
    peer.open(1)
    flow = peer.flows[0]
    payload = bytes(length)
    most = max(1, min(_FRAMES, 300_000 // length))
    while True:
        total = 0
        while total < 4 * most:
            count = min(most, (flow.edge - flow.seq) // length)
            peer.say([flow.frame(_ACK, peer.now_ns, payload) for _ in range(count)], 1)
            total += count
        yield total


def sent(peer: Peer, length: int) -> Iterator[int]:
    """Bulk data from the engine, acknowledged by the pair: data frames in each round."""
    peer.open(1)
    flow = peer.flows[0]
    frames = [flow.frame(_ACK, peer.now_ns)]
    while True:
        count = 0
        for _ in range(8):
            answers = peer.exchange(frames)
            frames = []
            for answer in answers:
                payload = flow.hear(answer)
                count += payload > 0
                if count % 2 == 0 or payload > length:
                    frames.append(flow.frame(_ACK, peer.now_ns))
            frames = frames or [flow.frame(_ACK, peer.now_ns)]
        yield count
