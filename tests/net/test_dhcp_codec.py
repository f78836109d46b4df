"""The DHCP codec, with scapy as the judge and any bytes at all as input."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leulo.net.wire import ParseError, dhcp
from leulo.net.wire.dhcp import DhcpRepr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.dhcp import BOOTP, DHCP

MAC = bytes.fromhex("525400010203")
OFFER = DhcpRepr(
    dhcp.BOOT_REPLY, dhcp.OFFER, 0x12345678, MAC, seconds=3, is_broadcast=True,
    your_address=bytes((10, 0, 2, 15)), next_server=bytes((10, 0, 2, 2)),
    options={
        dhcp.OPTION_SERVER_ID: bytes((10, 0, 2, 2)),
        dhcp.OPTION_LEASE_TIME: (86400).to_bytes(4, "big"),
        dhcp.OPTION_SUBNET_MASK: bytes((255, 255, 255, 0)),
        dhcp.OPTION_ROUTERS: bytes((10, 0, 2, 2)),
        dhcp.OPTION_DNS: bytes((10, 0, 2, 3, 10, 0, 2, 4)),
    },
)  # fmt: skip


def test_offer_read_by_scapy_says_the_same() -> None:
    seen = BOOTP(OFFER.emit())
    options = {o[0]: o[1:] for o in seen[DHCP].options if isinstance(o, tuple)}
    assert (seen.op, seen.xid, seen.secs, int(seen.flags)) == (2, 0x12345678, 3, 0x8000)
    assert (seen.yiaddr, seen.siaddr, seen.chaddr[:6]) == ("10.0.2.15", "10.0.2.2", MAC)
    assert options["message-type"] == (2,)
    assert options["lease_time"] == (86400,)
    assert options["name_server"] == ("10.0.2.3", "10.0.2.4")


def test_discover_written_by_scapy_is_read() -> None:
    packet = BOOTP(op=1, chaddr=MAC, xid=7, flags=0x8000) / DHCP(
        options=[
            ("message-type", "discover"),
            ("requested_addr", "10.1.2.3"),
            ("param_req_list", [1, 3, 6]),
            "end",
        ]
    )
    message = DhcpRepr.parse(bytes(packet))
    assert (message.kind, message.transaction, message.mac) == (dhcp.DISCOVER, 7, MAC)
    assert message.requested_address == bytes((10, 1, 2, 3))
    assert message.options[dhcp.OPTION_PARAMETERS] == bytes((1, 3, 6))


def test_properties_read_the_usual_options() -> None:
    assert OFFER.prefix_length == 24
    assert OFFER.lease_s == 86400
    assert OFFER.server_id == bytes((10, 0, 2, 2))
    assert OFFER.address_option(dhcp.OPTION_DNS) == bytes((10, 0, 2, 3))
    assert dhcp.mask_of(0) == bytes(4)
    assert dhcp.mask_of(23) == bytes((255, 255, 254, 0))


@pytest.mark.parametrize("mask", [b"\xff\x00\xff\x00", b"\xff\xff\xff", b""])
def test_crooked_mask_is_none(mask: bytes) -> None:
    message = DhcpRepr(dhcp.BOOT_REPLY, dhcp.ACK, 1, MAC, options={dhcp.OPTION_SUBNET_MASK: mask})
    assert DhcpRepr.parse(message.emit()).prefix_length is None


def test_options_in_the_name_fields_are_found() -> None:
    text = bytearray(OFFER.emit())
    at = text.rindex(dhcp.OPTION_END)
    text[at : at + 4] = bytes((dhcp.OPTION_OVERLOAD, 1, 3, dhcp.OPTION_END))
    text[108:113] = bytes((dhcp.OPTION_HOST_NAME, 2)) + b"ab" + bytes((dhcp.OPTION_END,))
    text[44:49] = bytes((dhcp.OPTION_HOST_NAME, 2)) + b"cd" + bytes((dhcp.OPTION_END,))
    assert DhcpRepr.parse(bytes(text)).options[dhcp.OPTION_HOST_NAME] == b"abcd"


numbers = st.integers(1, 254).filter(
    lambda n: n not in (dhcp.OPTION_OVERLOAD, dhcp.OPTION_MESSAGE_TYPE)
)
addresses = st.binary(min_size=4, max_size=4)


@given(
    st.builds(
        DhcpRepr,
        st.sampled_from((1, 2)),
        st.integers(1, 8),
        st.integers(0, 0xFFFFFFFF),
        st.binary(min_size=6, max_size=6),
        st.integers(0, 0xFFFF),
        st.booleans(),
        st.integers(0, 255),
        addresses,
        addresses,
        addresses,
        addresses,
        st.dictionaries(numbers, st.binary(max_size=600), max_size=6),
    )
)
@settings(max_examples=150, deadline=None)
def test_parse_of_emit_is_the_same(message: DhcpRepr) -> None:
    assert DhcpRepr.parse(message.emit()) == message


@given(st.binary(max_size=400), st.integers(0, 299), st.binary(max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_bytes_parse_or_are_refused(text: bytes, at: int, change: bytes) -> None:
    offer = OFFER.emit()
    for data in (text, offer[:at] + change + offer[at + len(change) :], offer[:at]):
        try:
            message = DhcpRepr.parse(data)
        except ParseError as error:
            assert error.reason.startswith("dhcp_")
        else:
            assert message == DhcpRepr.parse(message.emit())
