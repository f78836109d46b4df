"""The DHCP server of the guest's network: gives the machine the address it was made for.

The first client gets the configured address, further ones the next free of the network. Leases
live as long as the link. Pure: a message goes in, a message and where to send it come out.
[RFC 2131 4.3] [RFC 2132]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from leulo.links.user.plan import AddressPlan
from leulo.net.wire import dhcp
from leulo.net.wire.dhcp import DhcpRepr, mask_of
from leulo.net.wire.ethernet import BROADCAST
from leulo.net.wire.ipv4 import LIMITED_BROADCAST

LEASE_S: Final = 86_400
MOST_LEASES: Final = 64
_NOWHERE: Final = bytes(4)
_NAK_TEXT: Final = b"this network has another address for you"


@dataclass(frozen=True)
class Reply:
    """``message`` for port 68 of ``address`` at ``mac``."""

    message: DhcpRepr
    mac: bytes
    address: bytes


class DhcpServer:
    """Leases by client, each one address."""

    def __init__(self, plan: AddressPlan, mtu: int) -> None:
        self._plan = plan
        self._mtu = mtu
        self._leases: dict[bytes, bytes] = {}  # client -> address
        self._declined: dict[bytes, None] = {}  # somebody else was found there

    def answer(self, message: DhcpRepr) -> Reply | None:
        """What to say to a client; None: nothing."""
        if message.operation != dhcp.BOOT_REQUEST or message.relay != _NOWHERE:
            return None  # there is no relay on this wire
        if message.mac[0] & 1 or not any(message.mac):
            return None
        client = message.options.get(dhcp.OPTION_CLIENT_ID) or message.mac
        match message.kind:
            case dhcp.DISCOVER:
                address = self._lease_of(client)
                return None if address is None else self._grant(dhcp.OFFER, message, address)
            case dhcp.REQUEST:
                return self._requested(client, message)
            case dhcp.DECLINE:
                self._decline(client, message)
            case dhcp.RELEASE:
                if self._leases.get(client) == message.client_address:
                    del self._leases[client]
            case dhcp.INFORM if message.client_address != _NOWHERE:
                return self._grant(dhcp.ACK, message, _NOWHERE)
        return None

    def _requested(self, client: bytes, message: DhcpRepr) -> Reply | None:
        """All four ways to ask for an address. [RFC 2131 4.3.2]"""
        server = message.server_id
        if server is not None and server != self._plan.gateway:
            return None  # another server was chosen
        wanted = message.requested_address
        if wanted is None:
            wanted = message.client_address  # renewing or rebinding
        if wanted == _NOWHERE:
            return None
        if wanted == self._lease_of(client):
            return self._grant(dhcp.ACK, message, wanted)
        return self._refuse(message)

    def _decline(self, client: bytes, message: DhcpRepr) -> None:
        address = self._leases.get(client)
        if address is not None and address == message.requested_address:
            del self._leases[client]
            if len(self._declined) < MOST_LEASES:
                self._declined[address] = None

    def _lease_of(self, client: bytes) -> bytes | None:
        """The client's address, a new one if it has none; None if all are given away."""
        address = self._leases.get(client)
        if address is None and len(self._leases) < MOST_LEASES:
            address = self._free_address()
            if address is not None:
                self._leases[client] = address
        return address

    def _free_address(self) -> bytes | None:
        plan = self._plan
        taken = {*self._leases.values(), *self._declined, plan.gateway, plan.dns}
        route = plan.route
        number = int.from_bytes(plan.guest, "big")
        for step in range(2 * MOST_LEASES + 3):
            # Around in the network, from the machine's own address on.
            inside = (number + step) & ~route.mask & 0xFFFFFFFF
            address = (route.network | inside).to_bytes(4, "big")
            if inside and address not in taken and not route.is_broadcast(address):
                return address
        return None

    def _grant(self, kind: int, message: DhcpRepr, address: bytes) -> Reply:
        plan = self._plan
        options = {dhcp.OPTION_SERVER_ID: plan.gateway}
        if address != _NOWHERE:  # who only asks for information has an address [RFC 2131 4.3.5]
            options[dhcp.OPTION_LEASE_TIME] = LEASE_S.to_bytes(4, "big")
            options[dhcp.OPTION_RENEWAL_TIME] = (LEASE_S // 2).to_bytes(4, "big")
            options[dhcp.OPTION_REBINDING_TIME] = (LEASE_S * 7 // 8).to_bytes(4, "big")
        options[dhcp.OPTION_SUBNET_MASK] = mask_of(plan.prefix_length)
        options[dhcp.OPTION_BROADCAST] = plan.route.broadcast
        options[dhcp.OPTION_ROUTERS] = plan.gateway
        options[dhcp.OPTION_DNS] = plan.dns
        options[dhcp.OPTION_MTU] = self._mtu.to_bytes(2, "big")
        reply = self._reply(kind, message, options)
        reply.your_address = address
        reply.client_address = message.client_address if kind == dhcp.ACK else _NOWHERE
        if message.client_address != _NOWHERE:
            return Reply(reply, message.mac, message.client_address)
        if message.is_broadcast:
            return Reply(reply, BROADCAST, LIMITED_BROADCAST)
        return Reply(reply, message.mac, address)  # he does not answer ARP for it yet

    def _refuse(self, message: DhcpRepr) -> Reply:
        """The client shall begin anew. [RFC 2131 4.3.2]"""
        options = {
            dhcp.OPTION_SERVER_ID: self._plan.gateway,
            dhcp.OPTION_MESSAGE: _NAK_TEXT,
        }
        return Reply(self._reply(dhcp.NAK, message, options), BROADCAST, LIMITED_BROADCAST)

    def _reply(self, kind: int, message: DhcpRepr, options: dict[int, bytes]) -> DhcpRepr:
        client = message.options.get(dhcp.OPTION_CLIENT_ID)
        if client is not None:
            options[dhcp.OPTION_CLIENT_ID] = client  # [RFC 6842 3]
        return DhcpRepr(
            dhcp.BOOT_REPLY, kind, message.transaction, message.mac,
            is_broadcast=message.is_broadcast, options=options,
        )  # fmt: skip
