"""Every wrong value is one sentence that begins with its key; every right one is taken as meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leulo import config
from leulo.config import MachineConfig, NetSpec, Publish, RunConfig
from leulo.errors import ConfigError

LOCAL = bytes((127, 0, 0, 1))
USER = NetSpec("user")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("8080:80", Publish(LOCAL, 8080, 80)),
        ("0.0.0.0:1:65535", Publish(bytes(4), 1, 65535)),
        ("192.168.1.7:2007:7", Publish(bytes((192, 168, 1, 7)), 2007, 7)),
    ],
)
def test_publish_is_read(text: str, wanted: Publish) -> None:
    assert config.parse_publish(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "80", "8080:", ":80", "0:80", "65536:80", "80:-1", "a:b", "1:2:3:4", "1.2.3:80:80",
     "٣:80", "1:99999999999999999999"],
)  # fmt: skip
def test_a_wrong_publish_names_flag_and_value(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_publish(text)
    assert str(caught.value).startswith(f"--publish {text}:")


def test_the_same_host_port_twice_is_refused_but_not_on_two_addresses() -> None:
    with pytest.raises(ConfigError, match="already published"):
        config.parse_publishes(["8080:80", "8080:81"], USER)
    assert len(config.parse_publishes(["127.0.0.2:8080:80", "8080:80"], USER)) == 2


def test_publish_of_udp_and_of_several_ports() -> None:
    """One flag may hold several ports, and UDP's ports are apart from TCP's."""
    found = config.parse_publishes(["8080:80,5353:53/udp", "5353:53/tcp"], USER)
    assert [(p.host_port, p.guest_port, p.protocol) for p in found] == [
        (8080, 80, "tcp"), (5353, 53, "udp"), (5353, 53, "tcp"),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="--publish 5353:54/udp: .*already published"):
        config.parse_publishes(["5353:53/udp,5353:54/udp"], USER)
    with pytest.raises(ConfigError, match="'sctp' is not a protocol"):
        config.parse_publish("80:80/sctp")


def test_publish_defaults_follow_the_network() -> None:
    assert config.parse_publishes([], USER) == config.DEFAULT_PUBLISH
    assert config.parse_publishes(["none"], USER) == ()
    assert config.parse_publishes([], NetSpec("none")) == ()
    with pytest.raises(ConfigError, match="needs --net user"):
        config.parse_publishes(["80:80"], NetSpec("tap", "t0"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("user", NetSpec("user")),
        ("none", NetSpec("none")),
        ("tap:leulo0", NetSpec("tap", "leulo0")),
        ("sim:loss=0.01,rate=10mbit", NetSpec("sim", "loss=0.01,rate=10mbit")),
        ("sim", NetSpec("sim")),
    ],
)
def test_net_is_read_and_written_back(text: str, wanted: NetSpec) -> None:
    assert config.parse_net(text) == wanted
    assert str(wanted) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bridge",
        "tap",
        "tap:",
        "tap:a/b",
        "tap:" + "x" * 16,
        "tap:..",
        "user:1",
        "tap:a b",
        "tap:l\udcf3",
    ],
)
def test_a_wrong_net_names_flag_and_value(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_net(text)
    assert str(caught.value).startswith(f"--net {text}:")


def test_addresses_have_the_plan_of_their_network() -> None:
    assert config.parse_addresses(USER) == (
        bytes((10, 0, 2, 15)), 24, bytes((10, 0, 2, 2)), bytes((10, 0, 2, 3)),
    )  # fmt: skip
    assert config.parse_addresses(NetSpec("tap", "t"))[:3] == (
        bytes((10, 77, 0, 2)), 24, bytes((10, 77, 0, 1)),
    )  # fmt: skip


def test_an_address_of_ones_own_brings_a_gateway_of_its_network() -> None:
    address, length, gateway, _ = config.parse_addresses(USER, "192.168.9.1/29")
    assert (address, length, gateway) == (bytes((192, 168, 9, 1)), 29, bytes((192, 168, 9, 2)))
    assert config.parse_addresses(USER, "192.168.9.7")[1] == 24
    assert config.parse_addresses(USER, None, "none")[2] is None


@pytest.mark.parametrize(
    ("ip", "gateway", "key"),
    [
        ("10.0.2", None, "--ip"),
        ("10.0.2.0/24", None, "--ip"),
        ("10.0.2.255/24", None, "--ip"),
        ("224.0.0.1/24", None, "--ip"),
        ("127.0.0.1/8", None, "--ip"),
        ("10.0.2.15/31", None, "--ip"),
        ("10.0.2.15/", None, "--ip"),
        ("10.0.2.15/x", None, "--ip"),
        ("::1/64", None, "--ip"),
        ("10.0.2.15/24", "10.0.3.1", "--gateway"),
        ("10.0.2.15/24", "10.0.2.15", "--gateway"),
        ("10.0.2.15/24", "gw", "--gateway"),
    ],
)
def test_a_wrong_address_names_its_flag(ip: str, gateway: str | None, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_addresses(USER, ip, gateway)
    assert str(caught.value).startswith(f"{key} {ip if key == '--ip' else gateway}:")


@given(
    ip=st.none() | st.ip_addresses(v=4).map(str) | st.text(max_size=20),
    gateway=st.none() | st.ip_addresses(v=4).map(str) | st.text(max_size=20),
    dns=st.none() | st.ip_addresses(v=4).map(str) | st.text(max_size=20),
    kind=st.sampled_from(["user", "tap", "sim", "none"]),
)
def test_any_addresses_are_a_plan_that_holds_or_a_config_error(
    ip: str | None, gateway: str | None, dns: str | None, kind: config.NetKind
) -> None:
    try:
        address, length, way_out, server = config.parse_addresses(
            NetSpec(kind, "x"), ip, gateway, dns
        )
    except ConfigError:
        return
    assert len(address) == len(server) == 4
    if way_out is not None:
        shift = 32 - length
        assert int.from_bytes(way_out, "big") >> shift == int.from_bytes(address, "big") >> shift
        assert way_out != address


@pytest.mark.parametrize(
    ("text", "wanted"), [("16M", 1 << 24), ("4194304", 1 << 22), ("1G", 1 << 30)]
)
def test_memory_is_read(text: str, wanted: int) -> None:
    assert config.parse_memory(text) == wanted


@pytest.mark.parametrize("text", ["", "1K", "2G", "16X", "-16M", "5000001"])
def test_wrong_memory_names_flag_and_value(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse_memory(text)
    assert str(caught.value).startswith(f"--mem {text}:")


@pytest.mark.parametrize("text", ["a\nb", "a\0", "é", "x" * 2000])
def test_a_command_line_that_a_kernel_cannot_take_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--append"):
        config.parse_append(text)


def test_the_mac_address_is_the_names_own_and_local_to_qemu_s_prefix() -> None:
    assert config.mac_of("leulo")[:3] == b"\x52\x54\x00"
    assert config.mac_of("leulo") == MachineConfig().mac != config.mac_of("other")


@pytest.mark.parametrize("mode", ["emulated", "native"])
def test_the_modes_to_come_are_refused_in_a_sentence(mode: config.Mode) -> None:
    with pytest.raises(ConfigError, match=f"^--mode {mode}: "):
        config.check_together(MachineConfig(mode=mode), RunConfig())


@pytest.mark.parametrize("net", [USER, NetSpec("tap", "t0")])
def test_virtual_time_is_refused_where_packets_come_in_real_time(net: NetSpec) -> None:
    with pytest.raises(ConfigError, match="^--clock virtual: "):
        config.check_together(MachineConfig(net=net), RunConfig(clock="virtual"))


@pytest.mark.parametrize("net", [NetSpec("none"), NetSpec("sim"), NetSpec("tap", "t0")])
def test_host_loopback_is_refused_where_no_gateway_leads_there(net: NetSpec) -> None:
    with pytest.raises(ConfigError, match="^--host-loopback: needs --net user"):
        config.check_together(MachineConfig(net=net, host_loopback=True), RunConfig())
    config.check_together(MachineConfig(net=net), RunConfig())
    config.check_together(MachineConfig(host_loopback=True), RunConfig())


def test_virtual_time_is_taken_on_the_simulated_wire() -> None:
    config.check_together(MachineConfig(net=NetSpec("sim")), RunConfig(clock="virtual"))
