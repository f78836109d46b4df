"""Which local ports are taken, and the choice of a port for an active open.

Ports of active opens are chosen by the double hash of RFC 6056 3.3.4: hard to guess from outside,
yet the same destination does not see a port again soon. Binding conflicts are judged as Linux
judges them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.tcp.addresses import ends_of, overlap
from leulo.tcp.settings import Settings

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine
    from leulo.tcp.socket import TcpSocket

_TABLE: Final = 64  # counters of the double hash
_MAX_HASHES: Final = 256


class Ports:
    """The bound sockets of a stack by port, and the counters of the port choice."""

    __slots__ = ("_bound", "_engine", "_hashes", "steps")

    def __init__(self, engine: Engine) -> None:
        self._engine: Engine = engine
        self._bound: dict[int, list[TcpSocket]] = {}
        self.steps: list[int] = [0] * _TABLE
        self._hashes: dict[bytes, int] = {}  # of destinations lately connected to

    def bind(self, socket: TcpSocket, address: bytes, port: int) -> bool:
        """Give ``port`` at ``address`` to ``socket``; False if that conflicts."""
        if not self.is_free(address, port, socket.settings.is_address_reused):
            return False
        self._bound.setdefault(port, []).append(socket)
        return True

    def take_back(self, socket: TcpSocket) -> None:
        """A loaded socket has its port again, whatever the others are."""
        self._bound.setdefault(socket.bound_port, []).append(socket)

    def clear(self) -> None:
        """Nothing is bound."""
        self._bound = {}

    def release(self, socket: TcpSocket, port: int) -> None:
        """``socket`` lets go of ``port``."""
        users = self._bound.get(port)
        if users is not None and socket in users:
            users.remove(socket)
            if not users:
                del self._bound[port]

    def is_free(self, address: bytes, port: int, is_reused: bool) -> bool:
        """May a socket be bound? Two may share a port if both allow reuse and neither listens,
        or if they have different addresses; a connection or its TIME_WAIT counts too."""
        for other in self._bound.get(port, ()):
            if overlap(address, other.bound_address) and not (
                is_reused and other.settings.is_address_reused and other.listener is None
            ):
                return False
        engine = self._engine
        for tcb in engine.connections.values():
            if (
                tcb.local_port == port
                and overlap(address, tcb.local)
                and not (is_reused and tcb.settings.is_address_reused)
            ):
                return False
        for key, may_share in engine.time_wait.held():
            local, local_port, _, _ = ends_of(key)
            if local_port == port and overlap(address, local) and not (is_reused and may_share):
                return False
        return True

    def has_listener_conflict(self, socket: TcpSocket) -> bool:
        """Does another socket already listen where ``socket`` wants to?"""
        return any(
            other is not socket
            and other.listener is not None
            and overlap(socket.bound_address, other.bound_address)
            for other in self._bound.get(socket.bound_port, ())
        )

    def choose_to_bind(self, socket: TcpSocket, address: bytes) -> int:
        """A free port for bind() to port 0, taken for ``socket``; 0 if none is free."""
        engine = self._engine
        first = engine.config.first_ephemeral
        count = engine.config.last_ephemeral - first + 1
        used = bytearray(count)
        for port in self._bound:
            if first <= port < first + count:
                used[port - first] = 1
        for tcb in engine.connections.values():
            if first <= tcb.local_port < first + count:
                used[tcb.local_port - first] = 1
        for key, _ in engine.time_wait.held():
            local_port = ends_of(key)[1]
            if first <= local_port < first + count:
                used[local_port - first] = 1
        offset = engine.random_bits(32) % count
        at = used.find(0, offset)
        if at < 0:
            at = used.find(0)
        if at < 0:
            return 0
        self._bound.setdefault(first + at, []).append(socket)
        return first + at

    def choose_to_connect(self, settings: Settings, where: bytes, mark: bytes) -> bytes:
        """A connection's key whose port nobody uses; empty if there is none. ``where`` is the key
        up to it, ``mark`` is behind it if the connection is inside the stack. [RFC 6056 3.3.4]"""
        engine = self._engine
        first, last = engine.config.first_ephemeral, engine.config.last_ephemeral
        if settings.first_port or settings.last_port:
            # A socket's own bounds count where they are inside. [Linux ip(7)]
            if first <= settings.last_port <= last:
                last = settings.last_port
            if first <= settings.first_port <= last:
                first = settings.first_port
        count = last - first + 1
        hashed = self._hashes.get(where)
        if hashed is None:
            if len(self._hashes) >= _MAX_HASHES:
                self._hashes = {}
            hashed = self._hashes[where] = engine.isn.digest(b"port" + where)
        index = hashed % _TABLE
        for _ in range(count):
            step = self.steps[index]
            self.steps[index] = step + 1
            port = first + ((hashed >> 32) + step) % count
            if port not in self._bound:
                key = where + port.to_bytes(2, "big") + mark
                if engine.may_use(key):
                    return key
        return b""

    def __len__(self) -> int:
        return len(self._bound)
