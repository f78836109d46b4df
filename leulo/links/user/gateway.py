"""The gateway of ``--net user``: a stack of ours on one side, the host's sockets on the other.

It is the other end of the guest's wire, in this process: frames go in and out as super-segments
with checksums left undone, since nothing on the way can spoil them. A published port's connection
becomes one of the gateway to the guest; one that the guest opens ends here and goes on from a
socket of the host. No byte leaves but by such sockets, so no right is needed.

Limits: TCP only, over IPv4. The gateway answers ping itself, for every address. A connection the
guest opens is established before the host's one is: where that is refused, the guest sees a
reset.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from typing import Final

from leulo.errors import ConfigError
from leulo.links.base import Offload, TxFrame
from leulo.links.context import LinkContext
from leulo.links.user.publish import PublishedPort
from leulo.links.user.splice import Splice
from leulo.stack import Stack, StackConfig
from leulo.tcp.config import Config
from leulo.tcp.socket import TcpSocket
from leulo.units import NS_PER_S

MAX_CONNECTIONS: Final = 4096
TURNS: Final = 64  # looks at what is ready, at one call; the rest waits for the next
_STREAM: Final = 1
_INET: Final = 2
_IPPROTO_TCP: Final = 6
_TCP_NODELAY: Final = 1
_ONE: Final = b"\x01\0\0\0"
_EINPROGRESS: Final = 115
_SUPER: Final = 65_535
_LOOPBACK: Final = 127
_FIRST_MULTICAST: Final = 224
_TIME_WAIT_NS: Final = NS_PER_S  # nothing wanders about on a wire inside the process


class UserLink:
    """``--net user``. ``published`` are the open ports of the host."""

    def __init__(self, context: LinkContext) -> None:
        """Raises EnvironmentProblem for a port that can't be had, ConfigError for addresses."""
        if context.gateway is None:
            raise ConfigError("--gateway none: --net user is a gateway: give it an address")
        self.name = "user"
        self.mtu = context.mtu
        self.offload = Offload(checksum=True, tso_bytes=_SUPER)
        self._clock = context.clock
        self._poller = context.poller
        self._guest_address = context.guest_address
        self._gateway = context.gateway
        self._prefix_length = context.prefix_length
        self._host_loopback = context.host_loopback
        self._stack = Stack(
            StackConfig(
                name="gateway",
                mac=b"\x52\x55" + context.gateway,
                address=context.gateway,
                prefix_length=context.prefix_length,
                gateway=None,
                mtu=context.mtu,
                checksum=True,
                tso_bytes=_SUPER,
                accept_any=True,
                tcp=Config(time_wait_ns=_TIME_WAIT_NS),
            ),
            context.random_bits,
            context.trace,
        )
        self._deliver: Callable[[Sequence[bytes]], None] = lambda frames: None
        self._wants_output = False
        self._splices: dict[Splice, None] = {}
        self._counters = {
            "frames_in": 0, "frames_out": 0, "bytes_in": 0, "bytes_out": 0,
            "connections_in": 0, "connections_out": 0, "resets": 0, "refused": 0,
            "bytes_to_guest": 0, "bytes_from_guest": 0,
        }  # fmt: skip
        self.published: list[PublishedPort] = []
        try:
            for published in context.publish:
                self.published.append(PublishedPort(published, self._poller, self._from_host))
        except BaseException:
            self.close()
            raise
        self._listener = self._listen()

    # ------------------------------------------------------------ the link

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self._deliver = deliver

    def transmit(self, frames: Sequence[TxFrame], now_ns: int) -> None:
        counters = self._counters
        whole = [frame[0] if len(frame) == 1 else b"".join(frame) for frame in frames]
        counters["frames_in"] += len(whole)
        counters["bytes_in"] += sum(map(len, whole))
        self._stack.input([bytes(frame) for frame in whole], now_ns)
        self._serve(now_ns)

    def next_deadline(self) -> int | None:
        """At once, if a host's socket has brought something; else the stack's."""
        return 0 if self._wants_output else self._stack.next_deadline()

    def advance(self, now_ns: int) -> None:
        due = self._stack.next_deadline()
        if due is not None and due <= now_ns:
            self._stack.advance(now_ns)
        self._serve(now_ns)

    def counters(self) -> dict[str, int]:
        stack = {f"gateway.{name}": value for name, value in self._stack.counters().items()}
        return {**self._counters, "connections": len(self._splices), **stack}

    def close(self) -> None:
        for splice in list(self._splices):
            splice.reset()
        for published in self.published:
            published.close()
        self.published.clear()

    # ------------------------------------------------------------ the gateway's stack

    def _serve(self, now_ns: int) -> None:
        """Serve the sockets that are ready and send what came of it, until nothing is left.

        A bounded number of times: with a guest that answers at once there might be no end.
        """
        self._wants_output = False
        stack = self._stack
        counters = self._counters
        for _ in range(TURNS):
            for ready in stack.take_ready():
                owner = ready.owner
                if isinstance(owner, Splice):
                    owner.on_guest()
                elif owner is self:
                    self._accept()
            if not stack.has_output:
                return
            frames = stack.drain(now_ns)
            if not frames:
                return
            whole = [b"".join(frame) for frame in frames]
            counters["frames_out"] += len(whole)
            counters["bytes_out"] += sum(map(len, whole))
            self._deliver(whole)
        self._wants_output = True

    def _needs_output(self) -> None:
        self._wants_output = True

    def _listen(self) -> TcpSocket:
        """The socket that takes whatever connection the guest opens, to any address and port."""
        listener = self._stack.socket(_INET, _STREAM)
        assert isinstance(listener, TcpSocket)
        listener.owner = self
        listener.bind(bytes(4), 0)
        listener.listen(1024)
        return listener

    # ------------------------------------------------------------ connections

    def _from_host(self, connection: socket.socket, guest_port: int) -> None:
        """Somebody has connected to a published port."""
        guest = self._new_guest_socket()
        if guest is None:
            self._refuse(connection)
            return
        result = guest.connect(self._guest_address, guest_port)
        if result not in (0, -_EINPROGRESS):
            guest.close()
            self._refuse(connection)
            return
        self._counters["connections_in"] += 1
        self._join(guest, connection, is_connecting=False)
        self._wants_output = True

    def _new_guest_socket(self) -> TcpSocket | None:
        if len(self._splices) >= MAX_CONNECTIONS:
            return None
        guest = self._stack.socket(_INET, _STREAM)
        return guest if isinstance(guest, TcpSocket) else None

    def _accept(self) -> None:
        """The guest has opened connections."""
        while True:
            guest = self._listener.accept()
            if not isinstance(guest, TcpSocket):
                return
            host = self._open_towards(guest)
            if host is None:
                self._counters["refused"] += 1
                guest.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ONE + bytes(4))
                guest.close()
            else:
                self._counters["connections_out"] += 1
                self._join(guest, host, is_connecting=True)

    def _open_towards(self, guest: TcpSocket) -> socket.socket | None:
        """A socket of the host on its way to where the guest wants to go; None: not from here."""
        local = guest.local
        if local is None or len(self._splices) >= MAX_CONNECTIONS:
            return None
        target = self._host_address(local[0])
        if target is None:
            return None
        try:
            host = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:
            return None
        result = host.connect_ex((socket.inet_ntoa(target), local[1]))
        if result not in (0, errno.EINPROGRESS):
            host.close()
            return None
        return host

    def _host_address(self, address: bytes) -> bytes | None:
        """Where an address of the guest's world lies in the host's; None: nowhere."""
        if address == self._gateway:
            return bytes((_LOOPBACK, 0, 0, 1)) if self._host_loopback else None
        shift = 32 - self._prefix_length
        network = int.from_bytes(self._gateway, "big") >> shift
        if int.from_bytes(address, "big") >> shift == network:
            return None  # nobody else lives in the guest's network
        if address[0] in (0, _LOOPBACK) or address[0] >= _FIRST_MULTICAST:
            return None
        return address

    def _join(self, guest: TcpSocket, host: socket.socket, *, is_connecting: bool) -> None:
        guest.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, _ONE)
        host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        splice = Splice(
            guest, host, self._poller,
            done=self._ended, wants_output=self._needs_output, is_connecting=is_connecting,
        )  # fmt: skip
        self._splices[splice] = None

    def _refuse(self, connection: socket.socket) -> None:
        self._counters["refused"] += 1
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ONE + bytes(4))
        connection.close()

    def _ended(self, splice: Splice) -> None:
        self._splices.pop(splice, None)
        self._wants_output = True
        counters = self._counters
        counters["resets"] += splice.was_reset
        counters["bytes_to_guest"] += splice.bytes_to_guest
        counters["bytes_from_guest"] += splice.bytes_from_guest
        for published in self.published:
            published.resume()
