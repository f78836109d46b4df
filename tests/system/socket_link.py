"""A link over a socket that keeps messages apart: each is one whole Ethernet frame.

The engine's end of an emulated link. Nothing is left undone: checksums are filled, no frame is
longer than the MTU.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from leulo.links.base import TxFrame
from leulo.links.offload import NOTHING
from leulo.links.poller import IN, Poller
from leulo.net.wire import vnet

READS = 64
MOST_BYTES = 65_536


class SocketLink:
    """Takes ``fd`` over."""

    def __init__(self, fd: int, poller: Poller) -> None:
        self.name = "socket"
        self.mtu = 1500
        self.offload = NOTHING
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._poller = poller
        self._is_watched = False
        self._deliver: Callable[[Sequence[bytes]], None] = lambda frames: None
        self._counts = {"frames_in": 0, "frames_out": 0, "dropped_full": 0, "dropped_down": 0}

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self._deliver = deliver
        self._is_watched = True
        self._poller.add(self._socket.fileno(), IN, self._readable)

    def transmit(self, frames: Sequence[TxFrame], now_ns: int) -> None:
        for frame in frames:
            message = b"".join(frame)[vnet.HEADER_BYTES :]
            assert len(message) <= self.mtu + 14, "a frame longer than the MTU"
            try:
                self._socket.send(message)
                self._counts["frames_out"] += 1
            except BlockingIOError:
                self._counts["dropped_full"] += 1
            except ConnectionError:
                self._counts["dropped_down"] += 1

    def next_deadline(self) -> int | None:
        return None

    def advance(self, now_ns: int) -> None:
        """Nothing here waits for time."""

    def counters(self) -> dict[str, int]:
        return dict(self._counts)

    def close(self) -> None:
        if self._is_watched:
            self._poller.remove(self._socket.fileno())
        self._socket.close()

    def _readable(self, mask: int) -> None:
        frames: list[bytes] = []
        try:
            for _ in range(READS):
                message = self._socket.recv(MOST_BYTES)
                if not message:
                    raise ConnectionResetError
                frames.append(vnet.PLAIN + message)
        except BlockingIOError:
            pass
        except ConnectionError:
            # The other end is gone; whoever started us ends us. Until then epoll would spin on it.
            self._poller.remove(self._socket.fileno())
            self._is_watched = False
        self._counts["frames_in"] += len(frames)
        if frames:
            self._deliver(frames)
