"""SOCKET to CLOSE, and the names of both ends.

It must not know how bytes travel. Every answer carries the addresses the engine really uses, so
the guest never guesses (a port chosen by bind to 0 is known on both sides at once).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from leulo.hypercalls import abi
from leulo.hypercalls.engine import Address, Engine
from leulo.hypercalls.handles import Entry, Handles
from leulo.hypercalls.readiness import Readiness
from leulo.hypercalls.refusal import Refused
from leulo.memory import Memory

_INET: Final = int(abi.Family.INET)
_INET6: Final = int(abi.Family.INET6)
_RESERVED: Final = int(abi.Status.RESERVED)
_EBADF: Final = int(abi.Errno.EBADF)
_EAFNOSUPPORT: Final = int(abi.Errno.EAFNOSUPPORT)
_EINVAL: Final = int(abi.Errno.EINVAL)
_EMFILE: Final = int(abi.Errno.EMFILE)
_ENOTCONN: Final = int(abi.Errno.ENOTCONN)
_ESOCKTNOSUPPORT: Final = int(abi.Errno.ESOCKTNOSUPPORT)
_DGRAM: Final = int(abi.SockType.DGRAM)
_NVAL: Final = int(abi.Poll.NVAL)
_ENDPOINT: Final = abi.ENDPOINT_STRUCT
_LOCAL: Final = abi.LOCAL_OFFSET
_PEER: Final = abi.PEER_OFFSET
_ARGS: Final = abi.ARGS_OFFSET
# args[0], args[1] to args[3] as zero, local, peer: what ACCEPT tells beside the answer.
_ACCEPTED: Final = Struct("<Q24xHHI16sHHI16s")
_SCOPES: Final = (0, 1)  # there is one interface
_NO_ADDRESS: Address = (b"", 0)
_FAMILIES: dict[int, int] = {0: 0, 4: _INET, 16: _INET6}


class SocketCalls:
    """The life of one machine's sockets."""

    def __init__(
        self, engine: Engine, memory: Memory, handles: Handles, readiness: Readiness
    ) -> None:
        self._engine: Engine = engine
        self._view = memory.view
        self._handles = handles
        self._readiness = readiness
        self.listening: Callable[[bytes, int], None] = lambda address, port: None
        self.has_datagrams = True  # the feature UDP was agreed on
        self.has_ipv6 = False  # the feature IPV6 was

    def op_socket(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        if self._handles.is_full:
            return 0, -_EMFILE, 0
        if (a0 | a1 | a2) > 0xFFFFFFFF:
            return 0, -_EINVAL, 0
        if a1 == _DGRAM and not self.has_datagrams:
            return 0, -_ESOCKTNOSUPPORT, 0
        if a0 == _INET6 and not self.has_ipv6:
            return 0, -_EAFNOSUPPORT, 0
        socket = self._engine.socket(a0, a1, a2)
        if isinstance(socket, int):
            return 0, socket, 0
        entry = self._handles.add(socket)
        socket.owner = entry
        mask: int = socket.events
        entry.reported = mask
        return entry.handle, 0, mask

    def op_accept(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        handles = self._handles
        listener = handles.live.get(handle)
        if listener is None:
            return handle, -_EBADF, _NVAL
        if handles.is_full:  # the connection stays in the engine's queue
            queue_mask = listener.socket.events
            self._readiness.told(listener, queue_mask)
            return handle, -_EMFILE, queue_mask
        mode = self._readiness.mode(flags) if events else 0  # before a connection is taken
        socket = listener.socket.accept()
        queue_mask = listener.socket.events
        self._readiness.told(listener, queue_mask)
        if isinstance(socket, int):
            return handle, socket, queue_mask
        entry = handles.add(socket)
        socket.owner = entry
        mask: int = socket.events
        entry.reported = mask
        if events:
            self._readiness.subscribe(entry, events, cookie, mode)
        local, port, peer, peer_port = socket.ends
        family = _FAMILIES[len(local)]
        _ACCEPTED.pack_into(
            self._view, call + _ARGS, queue_mask,
            family, port, 0, local, family, peer_port, 0, peer,
        )  # fmt: skip
        return entry.handle, 0, mask

    def op_close(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        entry = self._handles.live.get(handle)
        if entry is None:
            return handle, -_EBADF, _NVAL
        self.close(entry)
        return handle, 0, 0

    def close(self, entry: Entry) -> None:
        """Let go of the socket; the engine ends its connection by itself."""
        self._readiness.forget(entry)
        self._handles.remove(entry)
        socket = entry.socket
        socket.owner = None
        socket.close()

    def op_bind(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        family, port, address = self.fetch(call + _LOCAL)
        if not family:
            return -_EAFNOSUPPORT
        result = entry.socket.bind(address, port)
        self._tell_local(entry, call)
        return result

    def op_listen(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        backlog = min(a0 & 0xFFFFFFFF, 0x7FFFFFFF)
        result = entry.socket.listen(backlog)
        self._tell_local(entry, call)
        if result == 0:
            local = entry.socket.local
            if local is not None:
                self.listening(local[0], local[1])
        return result

    def op_connect(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        family, port, address = self.fetch(call + _PEER)
        if not family:
            return -_EAFNOSUPPORT
        result = entry.socket.connect(address, port)
        self._tell_local(entry, call)  # the other side is who the guest asked for
        return result

    def op_shutdown(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        if a0 > int(abi.Shut.RDWR):
            return -_EINVAL
        return entry.socket.shutdown(a0)

    def op_getsockname(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        self._tell_local(entry, call)
        return 0

    def op_getpeername(
        self, entry: Entry, call: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> int:  # fmt: skip
        self._tell_local(entry, call)
        self._tell_peer(entry, call)
        return -_ENOTCONN if entry.socket.peer is None else 0

    def fetch(self, at: int) -> tuple[int, int, bytes]:
        """Family, port and address of an endpoint; family 0 if the address is not spoken here."""
        family, port, scope, address = _ENDPOINT.unpack_from(self._view, at)
        if family == _INET:
            if scope or any(address[4:]):
                raise Refused(_RESERVED)
            return family, port, address[:4]
        if family == _INET6 and self.has_ipv6:
            if scope not in _SCOPES:
                raise Refused(_RESERVED)
            return family, port, address
        return 0, 0, b""

    def is_nowhere(self, at: int) -> bool:
        """Is the endpoint there all zero, so that it names nobody?"""
        return not any(self._view[at : at + abi.ENDPOINT_BYTES])

    def _tell_local(self, entry: Entry, call: int) -> None:
        self.tell(entry.socket.local or _NO_ADDRESS, call + _LOCAL)

    def _tell_peer(self, entry: Entry, call: int) -> None:
        self.tell(entry.socket.peer or _NO_ADDRESS, call + _PEER)

    def tell(self, name: Address, at: int) -> None:
        """Write an endpoint."""
        address, port = name
        _ENDPOINT.pack_into(self._view, at, _FAMILIES[len(address)], port, 0, address)
