"""--ip6, --gateway6 and --ip dhcp: what is right, and what a wrong one is told."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leulo import config
from leulo.config.settings import configure, from_flags
from leulo.config.written import plain
from leulo.errors import ConfigError


def packed(text: str) -> bytes:
    return ipaddress.IPv6Address(text).packed


def test_left_out_it_is_the_link_local_address_alone() -> None:
    assert config.parse_addresses6() == config.parse_addresses6("auto") == (True, None, 64, None)
    assert config.parse_addresses6("none") == (False, None, 64, None)


def test_addresses_are_written_in_the_short_form() -> None:
    """[RFC 5952 4]: no leading zeros, the longest run of zeros as `::`, small letters."""
    for text in ("FD00:0077:0:0:0:0:0:2", "fd00:77::0002", "fd00:77:0:0::2"):
        assert config.format_address(packed(text)) == "fd00:77::2"
    assert config.format_address(packed("2001:db8:0:0:1:0:0:1")) == "2001:db8::1:0:0:1"
    assert config.format_address(packed("2001:db8:0:1:1:1:1:1")) == "2001:db8:0:1:1:1:1:1"


def test_an_address_its_length_and_a_router() -> None:
    found = config.parse_addresses6("fd00:77::2/48", "fd00:77:0:9::1")
    assert found == (True, packed("fd00:77::2"), 48, packed("fd00:77:0:9::1"))
    assert config.parse_addresses6(None, "fe80::1")[3] == packed("fe80::1")
    assert config.parse_addresses6("fd00::2")[2] == 64


@pytest.mark.parametrize(
    ("ip", "gateway", "key"),
    [
        ("10.0.0.1", None, "--ip6"),
        ("fd00::2/0", None, "--ip6"),
        ("fd00::2/128", None, "--ip6"),
        ("fd00::2/x", None, "--ip6"),
        ("::1", None, "--ip6"),
        ("ff02::1", None, "--ip6"),
        ("::", None, "--ip6"),
        ("fe80::5", None, "--ip6"),
        ("fe80::5%eth0", None, "--ip6"),
        ("::ffff:1.2.3.4", None, "--ip6"),
        ("fd00::2/64", "fd01::1", "--gateway6"),
        ("fd00::2/64", "fd00::2", "--gateway6"),
        ("fd00::2/64", "ff02::2", "--gateway6"),
        ("none", "fe80::1", "--gateway6"),
        (None, "fd00::1", "--gateway6"),
        (None, "router", "--gateway6"),
    ],
)
def test_a_wrong_one_names_its_flag(ip: str | None, gateway: str | None, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_addresses6(ip, gateway)
    assert str(caught.value).startswith(f"{key} {ip if key == '--ip6' else gateway}:")


@given(st.none() | st.text(max_size=30), st.none() | st.text(max_size=30))
def test_any_text_is_read_or_refused(ip: str | None, gateway: str | None) -> None:
    try:
        config.parse_addresses6(ip, gateway)
    except ConfigError as error:
        assert str(error).startswith("--")


def test_dhcp_plans_as_the_network_does_and_is_written_again() -> None:
    machine, run = configure(from_flags({"ip": "dhcp", "ip6": "fd00::2/64"}))
    assert machine.is_dhcp and machine.address == bytes((10, 0, 2, 15))
    values = plain(machine, run)
    assert (values["ip"], values["ip6"], values["gateway6"]) == ("dhcp", "fd00::2/64", "none")
    again, _ = configure(from_flags({name: values[name] for name in ("ip", "ip6", "gateway6")}))
    assert again == machine
    none, run = configure(from_flags({"ip6": "none"}))
    assert not none.has_ipv6 and plain(none, run)["ip6"] == "none"
