"""Which local ports are taken, and the choice of a port for an active open.

Ports of active opens are chosen by the double hash of RFC 6056 3.3.4: hard to guess from outside,
yet the same destination does not see a port again soon. Binding conflicts are judged as Linux
judges them.

Connections and records of TIME_WAIT are tens of thousands, and are not counted by port: that would
be work for each of them. A port that none of them can have is known, which is most that somebody
wants to bind; only for another are they all looked through.

A user with nearly all ports in use could make each choice a search through all of them, so a long
search is made four times a second at most; a choice in between ends as if there were no port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.tcp.addresses import ends_of, overlap
from leulo.tcp.settings import Settings
from leulo.tcp.tcb import LOOPBACK_MARK
from leulo.units import NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine
    from leulo.tcp.socket import TcpSocket

_TABLE: Final = 64  # counters of the double hash
_MAX_HASHES: Final = 256
_PORTS: Final = 1 << 16
_SHORT_SEARCH: Final = 1_024  # ports, or holders of some, that every choice may look at
_LONG_SEARCH_NS: Final = NS_PER_S // 4


class Ports:
    """The bound sockets of a stack by port, and the counters of the port choice."""

    __slots__ = ("_bound", "_engine", "_hashes", "_long_ns", "_used", "steps")

    def __init__(self, engine: Engine) -> None:
        self._engine: Engine = engine
        self._bound: dict[int, list[TcpSocket]] = {}
        # 1 of a port that a connection or a record of TIME_WAIT may have: somebody has listened
        # there, or connected from it.
        self._used: bytearray = bytearray(_PORTS)
        self.steps: list[int] = [0] * _TABLE
        self._hashes: dict[bytes, int] = {}  # of destinations lately connected to
        self._long_ns: int = 0  # when the next long search may be made

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

    def look(self) -> None:
        """See which ports are in use, whatever was said before."""
        used = self._used = bytearray(_PORTS)
        for port in self._bound:
            used[port] = 1
        for tcb in self._engine.connections.values():
            used[tcb.local_port] = 1
        for key, _ in self._engine.time_wait.held():
            used[ends_of(key)[1]] = 1

    def bound_to(self, address: bytes, port: int) -> list[TcpSocket]:
        """The sockets that have ``port`` at ``address``."""
        return [s for s in self._bound.get(port, ()) if overlap(address, s.bound_address)]

    def listens(self, port: int) -> None:
        """From now on there may be connections to ``port``."""
        self._used[port] = 1

    def release(self, socket: TcpSocket, port: int) -> None:
        """``socket`` lets go of ``port``."""
        users = self._bound.get(port)
        if users is not None and socket in users:
            users.remove(socket)
            if not users:
                del self._bound[port]
            self._used[port] = 1  # its connection may live on

    def is_free(self, address: bytes, port: int, is_reused: bool) -> bool:
        """May a socket be bound? Two may share a port if both allow reuse and neither listens,
        or if they have different addresses; a connection or its TIME_WAIT counts too."""
        for other in self._bound.get(port, ()):
            if overlap(address, other.bound_address) and not (
                is_reused and other.settings.is_address_reused and other.listener is None
            ):
                return False
        if not self._used[port] and not self._engine.accepts_any:
            return True
        users = self._users(port)
        if not users and port not in self._bound:
            self._used[port] = 0
        return not any(
            overlap(address, local) and not (is_reused and may_share) for local, may_share in users
        )

    def _users(self, port: int) -> list[tuple[bytes, bool]]:
        """The local address of each connection and TIME_WAIT record with this port, and whether
        it may be shared."""
        engine = self._engine
        end = port.to_bytes(2, "big")
        ends = end, end + LOOPBACK_MARK
        connections = engine.connections
        found = [
            (connections[key].local, connections[key].settings.is_address_reused)
            for key in [key for key in connections if key.endswith(ends)]
            if ends_of(key)[1] == port
        ]
        for key, may_share in engine.time_wait.held_at(ends):
            local, local_port, _, _ = ends_of(key)
            if local_port == port:
                found.append((local, may_share))
        return found

    def has_listener_conflict(self, socket: TcpSocket) -> bool:
        """Does another socket already listen where ``socket`` wants to?"""
        return any(
            other is not socket
            and other.listener is not None
            and overlap(socket.bound_address, other.bound_address)
            for other in self._bound.get(socket.bound_port, ())
        )

    def choose_to_bind(self, socket: TcpSocket) -> int:
        """A free port for bind() to port 0, taken for ``socket``; 0 if none is free."""
        engine = self._engine
        first = engine.config.first_ephemeral
        end = engine.config.last_ephemeral + 1
        start = first + engine.random_bits(32) % (end - first)
        port = self._unused(start, end) or self._unused(first, start)
        holders = len(engine.connections) + len(engine.time_wait)
        if not port and (holders <= _SHORT_SEARCH or self._may_search()):  # so it seems
            self.look()
            port = self._unused(start, end) or self._unused(first, start)
        if port:
            self._bound.setdefault(port, []).append(socket)
        return port

    def _unused(self, first: int, end: int) -> int:
        """The first port below ``end`` that surely nobody has; 0: none."""
        port = self._used.find(0, first, end)
        while port in self._bound:
            port = self._used.find(0, port + 1, end)
        return max(port, 0)

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
        for tried in range(count):
            if tried == _SHORT_SEARCH and not self._may_search():
                break  # the next choice goes on from here
            step = self.steps[index]
            self.steps[index] = step + 1
            port = first + ((hashed >> 32) + step) % count
            if port not in self._bound:
                key = where + port.to_bytes(2, "big") + mark
                if engine.may_use(key):
                    self._used[port] = 1
                    return key
        return b""

    def _may_search(self) -> bool:
        """Through all ports and whoever has them, now?"""
        now_ns = self._engine.now_ns
        if now_ns < self._long_ns:
            return False
        self._long_ns = now_ns + _LONG_SEARCH_NS
        return True

    def __len__(self) -> int:
        return len(self._bound)
