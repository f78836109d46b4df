"""Linux's own TCP at either end of a link, speaking as `engine_server` does on 80 and 5001."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from http_checks import Checker, expected_bytes
from netns import Namespace

CHECK_PORT, HTTP_PORT = 5001, 80
_PIECE = 1 << 18
_SECONDS = 60


def available_congestion() -> list[str]:
    """What Linux here can send with. [Linux ip-sysctl]"""
    with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as file:
        return file.read().split()


def _choose(stream: socket.socket, congestion: str | None) -> None:
    if congestion is not None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())


def send_checked(
    namespace: Namespace, address: str, size: int, congestion: str | None = None
) -> float:
    """Send ``size`` bytes to the checker at ``address``; returns the seconds it took until that
    had found every byte right. Fails if it did not."""
    with namespace.entered():
        stream = socket.socket()
    with stream:
        stream.settimeout(_SECONDS)
        _choose(stream, congestion)
        stream.connect((address, CHECK_PORT))
        began = time.monotonic()
        for offset in range(0, size, _PIECE):
            stream.sendall(expected_bytes(offset, min(_PIECE, size - offset)))
        stream.shutdown(socket.SHUT_WR)
        answer = stream.recv(100)
        took = time.monotonic() - began
        assert answer == b"%d right" % size, answer
        return took


def fetch_checked(namespace: Namespace, address: str, size: int) -> float:
    """Fetch and check ``size`` bytes; returns the seconds it took."""
    with namespace.entered():
        stream = socket.socket()
    with stream:
        stream.settimeout(_SECONDS)
        stream.connect((address, HTTP_PORT))
        began = time.monotonic()
        stream.sendall(b"GET /bytes/%d HTTP/1.0\r\n\r\n" % size)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = stream.recv(4096)
            assert piece, head
            head += piece
        check = Checker()
        check.feed(head.partition(b"\r\n\r\n")[2])
        while piece := stream.recv(_PIECE):
            check.feed(piece)
        took = time.monotonic() - began
        assert check.count == size, check.count
        return took


class LinuxServer:
    """Serves inside ``namespace``, one connection after another; a context manager."""

    def __init__(self, namespace: Namespace, congestion: str | None = None) -> None:
        self._listeners = {}
        for port, serve in ((CHECK_PORT, _check), (HTTP_PORT, _respond)):
            with namespace.entered():
                listener = socket.socket()
            listener.settimeout(0.2)
            _choose(listener, congestion)
            listener.bind(("", port))
            listener.listen()
            self._listeners[listener] = serve
        self._is_stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(listener,)) for listener in self._listeners
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> LinuxServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopped.set()
        for thread in self._threads:
            thread.join()
        for listener in self._listeners:
            listener.close()

    def _serve(self, listener: socket.socket) -> None:
        while not self._is_stopped.is_set():
            with suppress(TimeoutError, ConnectionError):  # the client tells of what failed
                stream, _ = listener.accept()
                with stream:
                    stream.settimeout(_SECONDS)
                    self._listeners[listener](stream)


def _check(stream: socket.socket) -> None:
    check = Checker()
    while piece := stream.recv(_PIECE):
        check.feed(piece)
    stream.sendall(b"%d right" % check.count)


def _respond(stream: socket.socket) -> None:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += stream.recv(4096)
    size = int(request.split()[1].removeprefix(b"/bytes/"))
    stream.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    for offset in range(0, size, _PIECE):
        stream.sendall(expected_bytes(offset, min(_PIECE, size - offset)))
