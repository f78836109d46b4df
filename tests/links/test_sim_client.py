"""The scripted client against a scripted stack: what it sends, when it retries, what it reports."""

from __future__ import annotations

from typing import Any

from leulo.links.sim.client import PATIENCE_NS, RETRY_NS, SimClient
from leulo.links.sim.response import expected_bytes
from leulo.links.sim.spec import SimSpec
from leulo.tcp.errno import EAGAIN, ECONNREFUSED, ECONNRESET, EINPROGRESS, POLL_ERR, POLL_OUT
from leulo.trace import Trace

GUEST = bytes((10, 0, 2, 15))


class FakeSocket:
    """A socket whose far side is the test."""

    def __init__(self) -> None:
        self.owner: Any = None
        self.events = 0
        self.sent = bytearray()
        self.incoming: list[bytes | int] = []
        self.error = 0
        self.is_closed = False
        self.room = 1 << 20

    def connect(self, address: bytes, port: int) -> int:
        self.peer = (address, port)
        return -EINPROGRESS

    def send(self, data: bytes, more: bool = False) -> int:
        count = min(self.room, len(data))
        self.room -= count
        self.sent += data[:count]
        return count or -EAGAIN

    def recv(self, limit: int, flags: int = 0) -> bytes | int:
        return self.incoming.pop(0) if self.incoming else -EAGAIN

    def getsockopt(self, level: int, name: int) -> bytes:
        return self.error.to_bytes(4, "little")

    def close(self) -> int:
        self.is_closed = True
        return 0


class FakeStack:
    def __init__(self) -> None:
        self.sockets: list[FakeSocket] = []
        self.ready: list[FakeSocket] = []

    def socket(self, family: int, kind: int, protocol: int = 0) -> FakeSocket:
        self.sockets.append(FakeSocket())
        return self.sockets[-1]

    def take_ready(self) -> list[FakeSocket]:
        ready, self.ready = self.ready, []
        return ready


class Bench:
    def __init__(self, options: str) -> None:
        self.stack = FakeStack()
        self.events: list[dict[str, Any]] = []
        self.finished = 0
        trace = Trace()
        trace.subscribe("sim.*", lambda event: self.events.append(event.plain()))
        stack: Any = self.stack
        self.client = SimClient(SimSpec.parse(options), stack, GUEST, trace)
        self.client.finished = self._count

    def _count(self) -> None:
        self.finished += 1

    @property
    def socket(self) -> FakeSocket:
        return self.stack.sockets[-1]

    def wake(self, now_ns: int, socket: FakeSocket | None = None) -> None:
        self.stack.ready.append(socket or self.socket)
        self.client.step(now_ns)

    def connected(self, now_ns: int) -> None:
        self.socket.events = POLL_OUT
        self.wake(now_ns)

    def answer(self, now_ns: int, body: bytes, socket: FakeSocket | None = None) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        (socket or self.socket).incoming.append(head + body)
        self.wake(now_ns, socket)

    def run_timers(self, until_ns: int) -> None:
        while (due := self.client.next_deadline()) is not None and due <= until_ns:
            self.client.step(due)


def test_keepalive_sends_one_request_after_another_on_one_connection() -> None:
    bench = Bench("requests=2,path=/bytes/100,delay=0ms")
    bench.run_timers(0)
    assert bench.socket.peer == (GUEST, 80)
    bench.connected(500)
    assert bench.socket.sent == b"GET /bytes/100 HTTP/1.1\r\nHost: 10.0.2.15\r\n\r\n"
    bench.answer(900, expected_bytes(0, 100))
    bench.run_timers(900)
    assert bench.socket.sent.count(b"GET") == 2
    bench.answer(1500, expected_bytes(0, 100))
    bench.run_timers(10**9)
    assert len(bench.stack.sockets) == 1
    assert bench.socket.is_closed
    assert bench.finished == 1
    assert [
        (e["connect_ns"], e["first_byte_ns"], e["total_ns"], e["error"])
        for e in bench.events
        if e["event"] == "sim.request"
    ] == [(500, 900, 900, ""), (0, 600, 600, "")]
    assert bench.events[-1] == {
        "event": "sim.finished",
        "time_ns": 1500 + 50_000_000,
        "requests": 2,
        "ok": 2,
        "failed": 0,
        "body_bytes": 200,
        "elapsed_ns": 1500,
        "median_ns": 900,
        "longest_ns": 900,
        "first_error": "",
    }
    assert bench.client.next_deadline() is None


def test_without_keepalive_every_request_has_its_connection() -> None:
    bench = Bench("requests=3,keepalive=0,path=/bytes/1,port=8080")
    for number in range(3):
        bench.run_timers(number)
        bench.connected(number)
        assert b"Connection: close\r\n" in bench.socket.sent
        assert b"Host: 10.0.2.15:8080\r\n" in bench.socket.sent
        bench.answer(number, b"0")
        assert bench.socket.is_closed
    bench.run_timers(10**9)
    assert len(bench.stack.sockets) == 3
    assert (bench.client.ok, bench.finished) == (3, 1)


def test_it_tries_again_until_the_guest_listens() -> None:
    bench = Bench("requests=1,path=/bytes/1")
    bench.run_timers(0)
    for attempt in range(5):
        bench.socket.error, bench.socket.events = ECONNREFUSED, POLL_ERR
        bench.wake(attempt * RETRY_NS)
        assert bench.client.next_deadline() == (attempt + 1) * RETRY_NS
        bench.run_timers((attempt + 1) * RETRY_NS)
    bench.connected(10**8)
    bench.answer(10**8, b"0")
    assert (bench.client.ok, bench.client.failed, bench.client.refused) == (1, 0, 5)


def test_a_guest_that_never_listens_is_given_up_after_a_minute() -> None:
    """Protects: a wrong port ends in a sentence, not in connections for ever."""
    bench = Bench("requests=2,port=81")
    bench.run_timers(0)
    now = 0
    for _ in range(1000):
        if not bench.socket.is_closed:
            bench.socket.error, bench.socket.events = ECONNREFUSED, POLL_ERR
            bench.wake(now)
        now = bench.client.next_deadline() or now
        bench.client.step(now)
    assert bench.finished == 1
    assert PATIENCE_NS < now < PATIENCE_NS + 10**9
    assert bench.client.failed == 2 and bench.client.refused < 600
    assert bench.events[-1]["first_error"] == "request 0: nobody listens on port 81 of the guest"


def test_refusal_of_a_guest_that_has_listened_is_a_failure() -> None:
    bench = Bench("requests=2,keepalive=0,path=/bytes/1")
    bench.run_timers(0)
    bench.connected(1)
    bench.answer(2, b"0")
    bench.run_timers(2)
    bench.socket.error, bench.socket.events = ECONNREFUSED, POLL_ERR
    bench.wake(3)
    bench.run_timers(10**9)
    assert (bench.client.ok, bench.client.failed, bench.finished) == (1, 1, 1)
    assert bench.events[-1]["first_error"] == "request 1: connect: errno 111"


def test_broken_and_wrong_answers_fail_alone() -> None:
    bench = Bench("requests=3,path=/bytes/3")
    bench.run_timers(0)
    bench.connected(1)
    bench.answer(2, b"0X0")
    bench.run_timers(2)
    bench.connected(3)
    bench.socket.incoming.append(-ECONNRESET)
    bench.wake(4)
    bench.run_timers(4)
    bench.connected(5)
    bench.answer(6, b"000")
    bench.run_timers(10**9)
    assert len(bench.stack.sockets) == 3
    assert [e["error"] for e in bench.events[:-1]] == [
        "a wrong byte after 0 of body",
        "receive: errno 104",
        "",
    ]


def test_workers_share_the_requests() -> None:
    bench = Bench("requests=5,connections=2,path=/bytes/1")
    bench.run_timers(0)
    first, second = bench.stack.sockets
    for socket in (first, second):
        socket.events = POLL_OUT
        bench.wake(1, socket)
    for now in range(2, 6):
        bench.answer(now, b"0", second)
        bench.run_timers(now)
    bench.answer(9, b"0", first)
    bench.run_timers(10**9)
    assert (bench.client.ok, second.sent.count(b"GET"), first.sent.count(b"GET")) == (5, 4, 1)


def test_request_that_does_not_fit_at_once_is_finished_later() -> None:
    bench = Bench("requests=1,path=/bytes/1")
    bench.run_timers(0)
    bench.socket.room = 10
    bench.connected(1)
    bench.socket.room = 1000
    bench.wake(2)
    assert bench.socket.sent.endswith(b"\r\n\r\n")


def test_no_requests_means_no_client() -> None:
    bench = Bench("requests=0")
    assert bench.client.next_deadline() is None
    bench.client.step(5)
    assert (bench.stack.sockets, bench.finished) == ([], 0)
