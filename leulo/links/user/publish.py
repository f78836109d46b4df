"""Published TCP ports: listening sockets of the host whose connections go to the guest.

It must not know how bytes are moved: an accepted socket is handed on. A port that can't be had is
explained, with one that can.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Final

from leulo.errors import EnvironmentProblem
from leulo.links.context import Published
from leulo.links.poller import IN, Poller
from leulo.units import NS_PER_MS

BACKLOG: Final = 1024
ACCEPTS: Final = 64  # connections taken at one readiness
PAUSE_NS: Final = 100 * NS_PER_MS  # before the next try where the host had no descriptor left
_NEARBY: Final = 50  # ports looked at for a free one
_NO_MORE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Taker = Callable[[socket.socket, int], None]  # a host connection, the guest's port


def open_listener(published: Published) -> socket.socket:
    """A listening socket for ``published``. Raises EnvironmentProblem naming the port."""
    address, port = socket.inet_ntoa(published.host_address), published.host_port
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts has it
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise EnvironmentProblem(_explain(error, published)) from error
    return listener


def open_datagram_port(published: Published) -> socket.socket:
    """A UDP socket for ``published``. Raises EnvironmentProblem naming the port."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        opened.bind((socket.inet_ntoa(published.host_address), published.host_port))
    except OSError as error:
        opened.close()
        raise EnvironmentProblem(_explain(error, published)) from error
    return opened


class PublishedPort:
    """One listening socket. ``address`` and ``port`` are what it really has.

    Where the host has no descriptor left, it takes no connection for `PAUSE_NS`: epoll would spin
    on what waits in the host's kernel, and nobody tells when another part of the process, or
    another process, gives one back.
    """

    def __init__(
        self, published: Published, poller: Poller, now_ns: Callable[[], int], take: Taker
    ) -> None:
        """Raises EnvironmentProblem if the port can't be had."""
        self._listener = open_listener(published)
        self._poller = poller
        self._now_ns = now_ns
        self._take = take
        self._paused_until_ns: int | None = None
        self.guest_port = published.guest_port
        name: tuple[str, int] = self._listener.getsockname()
        self.address, self.port = name
        poller.add(self._listener.fileno(), IN, self._on_ready)

    def next_deadline(self) -> int | None:
        return self._paused_until_ns

    def advance(self, now_ns: int) -> None:
        """The pause is over."""
        self._paused_until_ns = None
        self._poller.modify(self._listener.fileno(), IN)

    def close(self) -> None:
        self._poller.remove(self._listener.fileno())
        self._listener.close()

    def _on_ready(self, mask: int) -> None:
        for _ in range(ACCEPTS):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _NO_MORE:
                    self._paused_until_ns = self._now_ns() + PAUSE_NS
                    self._poller.modify(self._listener.fileno(), 0)
                    return
                continue  # that connection died in the queue
            connection.setblocking(False)
            self._take(connection, self.guest_port)


def _explain(error: OSError, published: Published) -> str:
    address, port = socket.inet_ntoa(published.host_address), published.host_port
    protocol = "" if published.protocol == "tcp" else f"/{published.protocol}"
    lead = f"{published.guest_port}{protocol}"
    key = f"--publish {address}:{port}:{lead}"
    if error.errno == errno.EADDRINUSE:
        free = _free_port(address, port, published.protocol)
        instead = f"{free} is free: write --publish {_short(address)}{free}:{lead}"
        return f"{key}: port {port} of {address} is in use; {instead}"
    if error.errno == errno.EACCES:
        free = _free_port(address, port + 8000, published.protocol)
        instead = f"write --publish {_short(address)}{free}:{lead}"
        return f"{key}: ports below 1024 need a right that you do not have; {instead}"
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"{key}: {address} is not an address of this computer; leave it out for 127.0.0.1, "
            "or write 0.0.0.0 for all of its addresses"
        )
    return f"{key}: {error.strerror}"


def _short(address: str) -> str:
    return "" if address == "127.0.0.1" else f"{address}:"


def _free_port(address: str, near: int, protocol: str) -> int:
    """A port that could be had a moment ago: the next one above, or one the host chooses."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    for port in (*range(near + 1, min(near + 1 + _NEARBY, 65_536)), 0):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    probe.listen(1)
                return int(probe.getsockname()[1])
            except OSError:
                continue
    return near + 1
