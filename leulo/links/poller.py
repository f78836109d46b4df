"""The host's one epoll set: file descriptors to callbacks, and a way to wake it.

Another thread or a signal handler may call `wake` and nothing else.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Final

from leulo.units import NS_PER_MS, NS_PER_S

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
ERR: Final = select.EPOLLERR
HUP: Final = select.EPOLLHUP
EDGE: Final = select.EPOLLET  # call back when more has come, not as long as there is something

Callback = Callable[[int], None]

# epoll rounds its timeout up to a millisecond: shorter waits than this are select's first, which
# counts microseconds.
_COARSE_NS: Final = 20 * NS_PER_MS
_MOST_OF_SELECT: Final = 1024  # it takes lower descriptors only


class Poller:
    """Waits for many descriptors at once and calls back with the epoll mask."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        fd = self._epoll.fileno()
        self._itself = (fd,) if fd < _MOST_OF_SELECT else ()
        self._callbacks: dict[int, Callback] = {}
        self._removed: set[int] = set()  # since the last look
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake_fd, IN)

    def add(self, fd: int, mask: int, callback: Callback) -> None:
        self._epoll.register(fd, mask)
        self._callbacks[fd] = callback

    def modify(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, mask)

    def remove(self, fd: int) -> None:
        """Forget ``fd``; call it before closing the descriptor."""
        self._epoll.unregister(fd)
        del self._callbacks[fd]
        self._removed.add(fd)

    def wait(self, timeout_ns: int | None) -> int:
        """Serve what is ready; wait at most ``timeout_ns`` for it (None: for ever).

        Returns how many descriptors were served. A wake-up ends the wait.
        """
        timeout = 0.0
        if timeout_ns is None:
            timeout = -1.0
        elif timeout_ns > 0:
            timeout = timeout_ns / NS_PER_S
            if self._itself and timeout_ns < _COARSE_NS:
                if not select.select(self._itself, (), (), timeout)[0]:
                    return 0
                timeout = 0.0
        served = 0
        if self._removed:
            self._removed.clear()
        for fd, mask in self._epoll.poll(timeout, 64):
            if fd == self._wake_fd:
                os.eventfd_read(fd)
                continue
            if fd in self._removed:  # by an earlier callback; the number may be another's by now
                continue
            self._callbacks[fd](mask)
            served += 1
        return served

    def wake(self) -> None:
        """End the wait under way, or the next one. Safe in a signal handler or a thread."""
        os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        self._epoll.close()
        os.close(self._wake_fd)
