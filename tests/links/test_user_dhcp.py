"""The gateway's DHCP server: who gets which address, and what is refused. [RFC 2131 4.3]"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_guest import DNS, GUEST_MAC, RawGuest
from user_world import GATEWAY, GUEST

from leulo.links.user.dhcp import MOST_LEASES, DhcpServer, Reply
from leulo.links.user.plan import AddressPlan
from leulo.net.wire import ParseError, dhcp
from leulo.net.wire.dhcp import DhcpRepr

NOWHERE = bytes(4)
EVERYBODY = b"\xff" * 4
SERVER = {dhcp.OPTION_SERVER_ID: GATEWAY}


def plan(prefix_length: int = 24) -> AddressPlan:
    return AddressPlan(GUEST, GATEWAY, prefix_length, DNS, False)


def server() -> DhcpServer:
    return DhcpServer(plan(), 1500)


def message(kind: int, number: int = 1, **fields: object) -> DhcpRepr:
    mac = b"\x52\x54\0\0" + number.to_bytes(2, "big")
    return DhcpRepr(dhcp.BOOT_REQUEST, kind, 77, mac, **fields)  # type: ignore[arg-type]


def wants(address: bytes, **more: bytes) -> dict[int, bytes]:
    return {dhcp.OPTION_REQUESTED_ADDRESS: address}


def kind_of(reply: Reply | None) -> int | None:
    return None if reply is None else reply.message.kind


def test_first_client_gets_the_machines_address_and_all_it_needs() -> None:
    asked = server()
    offer = asked.answer(message(dhcp.DISCOVER))
    assert offer is not None
    assert (offer.message.kind, offer.message.your_address) == (dhcp.OFFER, GUEST)
    assert (offer.mac, offer.address) == (message(1).mac, GUEST)
    told = offer.message
    assert (told.server_id, told.prefix_length, told.lease_s) == (GATEWAY, 24, 86_400)
    assert told.address_option(dhcp.OPTION_ROUTERS) == GATEWAY
    assert told.address_option(dhcp.OPTION_DNS) == DNS
    assert told.address_option(dhcp.OPTION_BROADCAST) == bytes((10, 0, 2, 255))
    assert told.transaction == 77
    ack = asked.answer(message(dhcp.REQUEST, options=SERVER | wants(GUEST)))
    assert kind_of(ack) == dhcp.ACK and ack is not None
    assert ack.message.your_address == GUEST


def test_every_client_has_an_address_of_its_own_and_keeps_it() -> None:
    asked = server()
    given_out: dict[int, bytes] = {}
    for number in (1, 2, 3, 2, 1):
        offer = asked.answer(message(dhcp.DISCOVER, number))
        assert offer is not None
        assert given_out.setdefault(number, offer.message.your_address) == (
            offer.message.your_address
        )
    assert len(set(given_out.values())) == 3
    assert given_out[1] == GUEST


def test_small_network_is_given_out_once_and_then_nobody_is_answered() -> None:
    """A /29 has five addresses beside the gateway's; one of them is the name server's."""
    address = bytes((10, 0, 2, 5))
    asked = DhcpServer(AddressPlan(address, GATEWAY, 29, DNS, False), 1500)
    offers = [asked.answer(message(dhcp.DISCOVER, number)) for number in range(1, 10)]
    found = [offer.message.your_address[3] for offer in offers if offer is not None]
    assert found == [5, 6, 1, 4]


def test_leases_are_bounded() -> None:
    asked = server()
    replies = [asked.answer(message(dhcp.DISCOVER, number)) for number in range(1, 500)]
    assert sum(reply is not None for reply in replies) == MOST_LEASES


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"options": SERVER | wants(GUEST)}, dhcp.ACK),  # selecting
        ({"options": wants(GUEST)}, dhcp.ACK),  # after a reboot
        ({"client_address": GUEST}, dhcp.ACK),  # renewing
        ({"options": wants(bytes((10, 0, 2, 99)))}, dhcp.NAK),
        ({"options": wants(bytes((192, 168, 0, 5)))}, dhcp.NAK),
        ({"client_address": bytes((10, 0, 2, 16))}, dhcp.NAK),
        ({"options": {dhcp.OPTION_SERVER_ID: DNS} | wants(GUEST)}, None),  # another was chosen
        ({}, None),  # asks for nothing
        ({"options": wants(GUEST), "relay": DNS}, None),
    ],
)
def test_every_way_to_ask(fields: dict[str, object], outcome: int | None) -> None:
    reply = server().answer(message(dhcp.REQUEST, **fields))
    assert kind_of(reply) == outcome
    if outcome == dhcp.NAK:
        assert reply is not None
        assert (reply.mac, reply.address) == (b"\xff" * 6, EVERYBODY)
        assert reply.message.your_address == NOWHERE
        assert reply.message.lease_s is None


def test_declined_address_is_not_given_again_and_a_released_one_is() -> None:
    asked = server()
    asked.answer(message(dhcp.DISCOVER))
    asked.answer(message(dhcp.DECLINE, options=wants(GUEST)))
    again = asked.answer(message(dhcp.DISCOVER))
    assert again is not None
    second = again.message.your_address
    assert second != GUEST
    asked.answer(message(dhcp.RELEASE, client_address=second))
    other = asked.answer(message(dhcp.DISCOVER, 9))
    assert other is not None and other.message.your_address == second


def test_inform_tells_options_and_no_address() -> None:
    reply = server().answer(message(dhcp.INFORM, client_address=bytes((10, 0, 2, 50))))
    assert reply is not None
    assert (reply.message.kind, reply.message.your_address) == (dhcp.ACK, NOWHERE)
    assert reply.message.lease_s is None
    assert reply.address == bytes((10, 0, 2, 50))


def test_client_that_cannot_hear_unicast_is_told_by_broadcast() -> None:
    reply = server().answer(message(dhcp.DISCOVER, is_broadcast=True))
    assert reply is not None
    assert (reply.mac, reply.address) == (b"\xff" * 6, EVERYBODY)
    assert reply.message.is_broadcast


def test_client_identifier_counts_and_is_echoed() -> None:
    """[RFC 2131 4.2] [RFC 6842 3]"""
    asked = server()
    options = {dhcp.OPTION_CLIENT_ID: b"\xff12345678"}
    first = asked.answer(message(dhcp.DISCOVER, 1, options=dict(options)))
    second = asked.answer(message(dhcp.DISCOVER, 2, options=dict(options)))
    assert first is not None and second is not None
    assert first.message.your_address == second.message.your_address
    assert second.message.options[dhcp.OPTION_CLIENT_ID] == b"\xff12345678"


@given(st.lists(st.binary(min_size=200, max_size=330), max_size=8), st.integers(0, 255))
def test_any_bytes_are_an_answer_or_none(texts: list[bytes], kind: int) -> None:
    asked = server()
    for text in texts:
        forged = b"\x01\x01\x06\0" + text[4:236] + b"\x63\x82\x53\x63\x35\x01" + bytes((kind,))
        for data in (text, forged + text[240:]):
            try:
                reply = asked.answer(DhcpRepr.parse(data))
            except ParseError:
                continue
            if reply is not None:
                assert DhcpRepr.parse(reply.message.emit()).kind in (2, 5, 6)


# Over the wire


@pytest.fixture
def guest() -> Iterator[RawGuest]:
    made = RawGuest()
    yield made
    made.close()


def test_exchange_over_the_wire_from_no_address_to_one(guest: RawGuest) -> None:
    def ask(sent: DhcpRepr, source: bytes = NOWHERE, to: bytes = EVERYBODY) -> DhcpRepr:
        guest.udp.clear()
        mac = b"\xff" * 6 if to == EVERYBODY else b"\x52\x55" + GATEWAY
        guest.send_udp(68, (to, 67), sent.emit(), source=source, to=mac)
        ((ip, udp, payload),) = guest.udp
        assert (ip.source, udp.source_port, udp.destination_port) == (GATEWAY, 67, 68)
        assert guest.macs[-1] == GUEST_MAC
        return DhcpRepr.parse(payload)

    discover = DhcpRepr(dhcp.BOOT_REQUEST, dhcp.DISCOVER, 5, GUEST_MAC)
    offer = ask(discover)
    request = DhcpRepr(
        dhcp.BOOT_REQUEST, dhcp.REQUEST, 5, GUEST_MAC,
        options=SERVER | wants(offer.your_address),
    )  # fmt: skip
    ack = ask(request)
    assert (ack.kind, ack.your_address) == (dhcp.ACK, GUEST)
    renew = DhcpRepr(dhcp.BOOT_REQUEST, dhcp.REQUEST, 6, GUEST_MAC, client_address=GUEST)
    assert ask(renew, source=GUEST, to=GATEWAY).kind == dhcp.ACK
    assert guest.arp == []  # nobody was asked for an address that he does not have yet
