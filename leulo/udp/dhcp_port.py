"""A DHCP client at its port: between `leulo.net.dhcp` and the table of UDP."""

from __future__ import annotations

from typing import Final

from leulo.net.dhcp import DhcpClient, Lease
from leulo.net.wire.dhcp import CLIENT_PORT, SERVER_PORT
from leulo.state import State
from leulo.tcp.errno import AF_INET
from leulo.udp.socket import UdpSocket
from leulo.udp.table import UdpTable

_NOWHERE: Final = bytes(4)


class DhcpPort:
    """The client with a socket of its own, which no user sees."""

    def __init__(self, client: DhcpClient, table: UdpTable) -> None:
        self.client: DhcpClient = client
        self._table: UdpTable = table
        self.socket: UdpSocket = self._open()

    def _open(self) -> UdpSocket:
        socket = UdpSocket(self._table, 0, AF_INET)
        socket.may_broadcast = True
        socket.bind(_NOWHERE, CLIENT_PORT)
        return socket

    def serve(self, now_ns: int) -> Lease | None:
        """Answers for the client, then its questions into the table; the lease it has now."""
        client, socket = self.client, self.socket
        while not isinstance(got := socket.receive(), int):
            if got.source[1] == SERVER_PORT:
                client.input(got.data, now_ns)
        client.advance(now_ns)
        lease = client.lease
        own = _NOWHERE if lease is None else lease.address
        for message, to in client.take_output():
            socket.sendto(message, to, SERVER_PORT, (own, CLIENT_PORT))
        return lease

    def save(self) -> State:
        return self.client.save()

    def load(self, state: State) -> None:
        """After the table was loaded, which knows nothing of this socket. Raises ValueError on
        another version."""
        self.client.load(state)
        self.socket = self._open()
