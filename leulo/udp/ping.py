"""Ping sockets: ICMP echo for programs, as Linux has it for SOCK_DGRAM with IPPROTO_ICMP.

A datagram is an ICMP message from its type on. A program sends echo requests and receives the
replies to them; the port of its socket is the identifier, which the stack fills in as it does the
checksum. [Linux icmp(7)] [RFC 792] [RFC 4443 4]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.net.wire.icmp import ECHO_REPLY, ECHO_REQUEST, HEADER_BYTES, IcmpRepr
from leulo.net.wire.icmpv6 import ECHO_REPLY as ECHO_REPLY_6
from leulo.net.wire.icmpv6 import ECHO_REQUEST as ECHO_REQUEST_6
from leulo.net.wire.icmpv6 import Icmpv6Repr
from leulo.net.wire.ipv4 import PROTOCOL_ICMP
from leulo.net.wire.ipv6 import PROTOCOL_ICMPV6
from leulo.tcp.errno import AF_INET, EAFNOSUPPORT, EAGAIN, EINVAL
from leulo.udp.socket import MAX_PAYLOAD, MAX_PAYLOAD_V6, PING_SPACE, Endpoint, UdpSocket

if TYPE_CHECKING:
    from leulo.udp.table import UdpTable

_UDP_HEADER_BYTES: Final = 8  # which messages do not have


class PingSocket(UdpSocket):
    """One of them: `UdpSocket` in all but what may be sent, and that it has one IP version.
    The port of the other side means nothing; it is shown as 0."""

    __slots__ = ()

    def __init__(self, table: UdpTable, serial: int, family: int) -> None:
        super().__init__(table, serial, family)
        self.space = PING_SPACE
        self.is_v6only = True
        self.is_address_reused = True  # as of all sockets of this kind; the last one is served

    def connect(self, address: bytes, port: int) -> int:
        """As `UdpSocket.connect`; errors of the network are told, soft ones too."""
        return self._connect(address, 0)

    def send(self, data: bytes, more: bool = False) -> int:
        """As `UdpSocket.send`; -EINVAL for anything but an echo request of code 0."""
        return super().send(data, more) if self._bind_any() else -EAGAIN

    def sendto(self, data: bytes, address: bytes, port: int, source: Endpoint | None = None) -> int:
        """As `send`, to ``address``. An identifier is taken before anything is looked at."""
        inside = self._inside(address)
        if not self._bind_any():
            return -EAGAIN
        return -EAFNOSUPPORT if inside is None else self._send(data, (inside, 0), source)

    def _send(self, data: bytes, to: Endpoint, source: Endpoint | None = None) -> int:
        kind = ECHO_REQUEST if self.family == AF_INET else ECHO_REQUEST_6
        if len(data) < HEADER_BYTES or data[0] != kind or data[1]:
            return -EINVAL
        return super()._send(data, to, source)

    @property
    def _protocol(self) -> int:
        return PROTOCOL_ICMP if self.family == AF_INET else PROTOCOL_ICMPV6

    def _largest(self, address: bytes) -> int:
        return _UDP_HEADER_BYTES + (MAX_PAYLOAD if len(address) == 4 else MAX_PAYLOAD_V6)


def echo_message(source: Endpoint, destination: bytes, data: bytes, is_reply: bool) -> bytes:
    """``data`` as it travels: with its type, its identifier (the source's port) and a checksum."""
    address, identifier = source
    rest = identifier << 16 | data[6] << 8 | data[7]
    text = data[HEADER_BYTES:]
    if len(address) == 4:
        return IcmpRepr(ECHO_REPLY if is_reply else ECHO_REQUEST, 0, rest, text).emit()
    kind = ECHO_REPLY_6 if is_reply else ECHO_REQUEST_6
    return Icmpv6Repr(kind, 0, rest, text).emit(address, destination)
