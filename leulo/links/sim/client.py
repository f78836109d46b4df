"""The scripted client at the far end of a simulated wire: HTTP requests, checked byte by byte.

It drives sockets of the far end's stack and knows no wire and no clock but the times it is
given. It begins at once and tries again every 10 ms (after a second less and less often) until
the guest listens, a minute at most; from then on a connection that fails is a failed request.
[RFC 9112]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from leulo.links.sim.response import Response
from leulo.links.sim.spec import SimSpec
from leulo.stack import Stack
from leulo.state import State, load_fields, save_fields
from leulo.tcp.errno import (
    AF_INET,
    EAGAIN,
    ECONNREFUSED,
    EHOSTUNREACH,
    EINPROGRESS,
    ETIMEDOUT,
    POLL_ERR,
    POLL_HUP,
    POLL_OUT,
    SOCK_STREAM,
)
from leulo.tcp.socket import TcpSocket
from leulo.trace import Event, Trace
from leulo.units import NS_PER_MS, NS_PER_S

RETRY_NS: Final = 10 * NS_PER_MS
PATIENCE_NS: Final = 60 * NS_PER_S  # so long may the guest take to listen
FAREWELL_NS: Final = 50 * NS_PER_MS  # and four delays: time for the connections to close
READ_BYTES: Final = 65_536
SOL_SOCKET: Final = 1
SO_ERROR: Final = 4
NOT_YET: Final = (ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH)  # while the guest is starting


@dataclass(frozen=True, slots=True)
class SimRequest(Event):
    """One request is over. ``total_ns`` counts from the connection's beginning if it was new;
    ``connect_ns`` is 0 on a connection that was there already."""

    NAME: ClassVar[str] = "sim.request"
    request: int
    worker: int
    status: int
    body_bytes: int
    connect_ns: int
    first_byte_ns: int
    total_ns: int
    error: str


@dataclass(frozen=True, slots=True)
class SimFinished(Event):
    """The client has done all its requests; ``elapsed_ns`` from the first attempt to the last
    answer, ``median_ns`` and ``longest_ns`` of the requests that were right."""

    NAME: ClassVar[str] = "sim.finished"
    requests: int
    ok: int
    failed: int
    body_bytes: int
    elapsed_ns: int
    median_ns: int
    longest_ns: int
    first_error: str


class SimClient:
    """``finished`` is called once, when the last request is over and connections could close."""

    FIELDS: Final = (
        "ok",
        "failed",
        "refused",
        "body_bytes",
        "first_error",
        "has_met_guest",
        "is_finished",
        "next_request",
        "began_ns",
        "ended_ns",
        "finish_at_ns",
    )

    def __init__(self, spec: SimSpec, stack: Stack, guest: bytes, trace: Trace) -> None:
        self.finished: Callable[[], None] = _nobody
        self.ok = 0
        self.failed = 0
        self.refused = 0  # attempts to connect before the guest listened
        self.body_bytes = 0
        self.first_error = ""
        self.total_ns: list[int] = []  # of the requests that were right
        self.has_met_guest = False
        self._spec = spec
        self._stack = stack
        self._guest = guest
        self.next_request = 0
        self.began_ns: int | None = None
        self.ended_ns = 0
        self.finish_at_ns: int | None = None
        self.is_finished = False
        self._requests = trace.channel(SimRequest)
        self._summaries = trace.channel(SimFinished)
        host = ".".join(map(str, guest)) + ("" if spec.port == 80 else f":{spec.port}")
        connection = "" if spec.keepalive else "Connection: close\r\n"
        self._request = f"GET {spec.path} HTTP/1.1\r\nHost: {host}\r\n{connection}\r\n".encode()
        count = min(spec.connections, spec.requests)
        self._workers = [_Worker(self, number) for number in range(count)]

    def next_deadline(self) -> int | None:
        """When `step` has something to do that no frame brings about."""
        earliest = self.finish_at_ns
        for worker in self._workers:
            due = worker.start_at_ns
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    def step(self, now_ns: int) -> None:
        """Start what is due and serve the sockets that have something to say."""
        for worker in self._workers:
            if worker.start_at_ns is not None and worker.start_at_ns <= now_ns:
                worker.start(now_ns)
        for socket in self._stack.take_ready():
            if isinstance(socket.owner, _Worker):
                socket.owner.proceed(now_ns)
        if self.finish_at_ns is not None and self.finish_at_ns <= now_ns:
            self.finish_at_ns = None
            self._finish(now_ns)

    def save(self) -> State:
        """Sockets by their serial numbers; the stack saves what is behind them."""
        state = save_fields(self, 1, self.FIELDS)
        state["total_ns"] = list(self.total_ns)
        state["workers"] = [worker.save() for worker in self._workers]
        return state

    def load(self, state: State) -> None:
        """After the stack was loaded. Raises ValueError if it lacks a socket."""
        load_fields(self, 1, self.FIELDS, state)
        self.total_ns = list(state["total_ns"])
        for worker, saved in zip(self._workers, state["workers"], strict=True):
            serial = saved["socket"]
            socket = None if serial is None else self._stack.socket_of(serial)
            if serial is None:
                worker.load(saved, None)
            elif isinstance(socket, TcpSocket):
                worker.load(saved, socket)
            else:
                raise ValueError(f"SimClient: the stack has no socket {serial}")

    # For the workers

    def take_request(self, now_ns: int) -> int | None:
        """The number of the next request, or None when all are given out."""
        if self.next_request >= self._spec.requests:
            return None
        if self.began_ns is None:
            self.began_ns = now_ns
        self.next_request += 1
        return self.next_request - 1

    def open(self) -> TcpSocket | int:
        """A new connection under way, or a negative errno."""
        socket = self._stack.socket(AF_INET, SOCK_STREAM)
        if isinstance(socket, int):
            return socket
        outcome = socket.connect(self._guest, self._spec.port)
        if outcome < 0 and outcome != -EINPROGRESS:
            socket.close()
            return outcome
        return socket

    def record(self, result: SimRequest) -> None:
        """A request is over."""
        if result.error:
            self.failed += 1
            self.first_error = self.first_error or f"request {result.request}: {result.error}"
        else:
            self.ok += 1
            self.body_bytes += result.body_bytes
            self.total_ns.append(result.total_ns)
        if self._requests.active:
            self._requests.emit(result)
        if self.ok + self.failed == self._spec.requests:
            self.ended_ns = result.time_ns
            self.finish_at_ns = result.time_ns + FAREWELL_NS + 4 * self._spec.delay

    @property
    def spec(self) -> SimSpec:
        return self._spec

    @property
    def request_bytes(self) -> bytes:
        return self._request

    def _finish(self, now_ns: int) -> None:
        if self.is_finished:
            return
        self.is_finished = True
        if self._summaries.active:
            ordered = sorted(self.total_ns) or [0]
            self._summaries.emit(
                SimFinished(
                    now_ns,
                    self._spec.requests,
                    self.ok,
                    self.failed,
                    self.body_bytes,
                    self.ended_ns - (self.began_ns or 0),
                    ordered[len(ordered) // 2],
                    ordered[-1],
                    self.first_error,
                )
            )
        self.finished()


class _Worker:
    """One of the client's connections at a time, request after request."""

    FIELDS: Final = (
        "start_at_ns",
        "is_connected",
        "request",
        "unsent",
        "began_ns",
        "connected_ns",
        "first_byte_ns",
    )

    def __init__(self, client: SimClient, number: int) -> None:
        self.start_at_ns: int | None = 0
        self._client = client
        self._number = number
        self._socket: TcpSocket | None = None
        self.is_connected = False
        self.request: int | None = None
        self.unsent = b""
        self._response = Response(client.spec.path)
        self.began_ns = 0
        self.connected_ns = 0
        self.first_byte_ns = 0

    def start(self, now_ns: int) -> None:
        """Begin the next request, on a new connection if there is none."""
        self.start_at_ns = None
        if self.request is None:
            self.request = self._client.take_request(now_ns)
            if self.request is None:
                self._close()
                return
        self.began_ns = self.connected_ns = now_ns
        self.first_byte_ns = 0
        self._response = Response(self._client.spec.path)
        self.unsent = self._client.request_bytes
        if self._socket is None:
            socket = self._client.open()
            if isinstance(socket, int):
                self._connection_failed(-socket, now_ns)
                return
            socket.owner = self
            self._socket = socket
            self.is_connected = False
        self.proceed(now_ns)

    def proceed(self, now_ns: int) -> None:
        """Do what the socket is ready for."""
        socket = self._socket
        if socket is None or self.request is None:
            return
        if not self.is_connected:
            if socket.events & (POLL_ERR | POLL_HUP):
                self._connection_failed(_socket_error(socket), now_ns)
                return
            if not socket.events & POLL_OUT:
                return
            self.is_connected = True
            self._client.has_met_guest = True
            self.connected_ns = now_ns
        if self._send(socket, now_ns):
            self._receive(socket, now_ns)

    def save(self) -> State:
        state = save_fields(self, 1, self.FIELDS)
        state["socket"] = None if self._socket is None else self._socket.serial
        state["response"] = self._response.save()
        return state

    def load(self, state: State, socket: TcpSocket | None) -> None:
        load_fields(self, 1, self.FIELDS, state)
        self._response = Response(self._client.spec.path)
        self._response.load(state["response"])
        self._socket = socket
        if socket is not None:
            socket.owner = self

    def _send(self, socket: TcpSocket, now_ns: int) -> bool:
        """Send what is left of the request. False: the request has failed."""
        while self.unsent:
            count = socket.send(self.unsent)
            if count == -EAGAIN or count == 0:
                break
            if count < 0:
                self._end(now_ns, f"send: errno {-count}")
                return False
            self.unsent = self.unsent[count:]
        return True

    def _receive(self, socket: TcpSocket, now_ns: int) -> None:
        response = self._response
        while True:
            data = socket.recv(READ_BYTES)
            if isinstance(data, int):
                if data != -EAGAIN:
                    self._end(now_ns, f"receive: errno {-data}")
                return
            if data:
                self.first_byte_ns = self.first_byte_ns or now_ns
                response.feed(data)
            else:
                response.finish()
            if response.error or response.is_complete:
                self._end(now_ns, response.error)
                return

    def _end(self, now_ns: int, error: str) -> None:
        """The request is over: close the connection if it is of no more use, and go on."""
        response = self._response
        result = SimRequest(
            now_ns,
            self.request or 0,
            self._number,
            response.status,
            response.body_bytes,
            self.connected_ns - self.began_ns,
            max(0, self.first_byte_ns - self.began_ns),
            now_ns - self.began_ns,
            error,
        )
        if error or not self._client.spec.keepalive or not response.keeps_connection:
            self._close()
        self.request = None
        self.start_at_ns = now_ns
        self._client.record(result)

    def _connection_failed(self, number: int, now_ns: int) -> None:
        self._close()
        client = self._client
        waited_ns = now_ns - (client.began_ns or 0)
        if number not in NOT_YET or client.has_met_guest:
            self._end(now_ns, f"connect: errno {number}")
            return
        client.refused += 1
        if waited_ns < PATIENCE_NS:
            self.start_at_ns = now_ns + max(RETRY_NS, waited_ns // 100)
        elif number == ECONNREFUSED:
            self._end(now_ns, f"nobody listens on port {client.spec.port} of the guest")
        else:
            self._end(now_ns, f"connect: errno {number}")

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.owner = None
            self._socket.close()
            self._socket = None


def _socket_error(socket: TcpSocket) -> int:
    value = socket.getsockopt(SOL_SOCKET, SO_ERROR)
    return -value if isinstance(value, int) else int.from_bytes(value, "little")


def _nobody() -> None:
    """Nobody waits for the end."""
