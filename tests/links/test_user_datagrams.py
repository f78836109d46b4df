"""UDP, names, ping and ARP through the user gateway, each packet looked at on the guest's wire."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from raw_guest import DNS, GUEST_MAC, RawGuest
from user_world import GATEWAY, GUEST, Port

from leulo.errors import EnvironmentProblem
from leulo.links.user import dns, udp, udp_publish
from leulo.links.user.dns import servfail
from leulo.links.user.resolver import Resolvers, parse
from leulo.net.wire.icmp import (
    DESTINATION_UNREACHABLE,
    ECHO_REPLY,
    ECHO_REQUEST,
    NET_UNREACHABLE,
    PORT_UNREACHABLE,
    IcmpRepr,
)
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.units import NS_PER_S

OUTSIDE = bytes((192, 0, 2, 7))
BROADCAST = b"\xff" * 6
QUESTION = bytes.fromhex("abcd01000001000000000000") + b"\x03www\x04test\x00\x00\x01\x00\x01"


@pytest.fixture
def guests() -> Iterator[Callable[..., RawGuest]]:
    made: list[RawGuest] = []

    def make(*ports: Port, **options: object) -> RawGuest:
        made.append(RawGuest(*ports, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for guest in made:
        guest.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(5)
        yield opened


def closed_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# UDP from the guest


def test_datagram_and_its_answer(guests: Callable[..., RawGuest], server: socket.socket) -> None:
    guest = guests()
    port = server.getsockname()[1]
    guest.send_udp(5000, (GATEWAY, port), b"question")
    data, sender = server.recvfrom(100)
    assert data == b"question"
    server.sendto(b"answer", sender)
    guest.until(lambda: guest.udp)
    ip, header, payload = guest.udp[0]
    assert (ip.source, ip.destination) == (GATEWAY, GUEST)
    assert (header.source_port, header.destination_port, payload) == (port, 5000, b"answer")


def test_one_socket_of_the_guest_is_one_of_the_host(
    guests: Callable[..., RawGuest], server: socket.socket
) -> None:
    """Whoever the guest sends to sees the same address and port. [RFC 4787 REQ-1]"""
    guest = guests()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(5)
        for to in (server, other):
            guest.send_udp(5000, (GATEWAY, to.getsockname()[1]), b"x")
        first = server.recvfrom(10)[1]
        assert other.recvfrom(10)[1] == first
    guest.send_udp(5001, (GATEWAY, server.getsockname()[1]), b"x")
    assert server.recvfrom(10)[1] != first
    assert guest.link.counters()["udp_flows"] == 2


def test_longest_datagrams_pass_both_ways_in_fragments(
    guests: Callable[..., RawGuest], server: socket.socket
) -> None:
    guest = guests()
    data = bytes(range(256)) * 255
    guest.send_udp(5000, (GATEWAY, server.getsockname()[1]), data)
    received, sender = server.recvfrom(65_535)
    assert received == data
    server.sendto(data, sender)
    guest.until(lambda: guest.udp)
    assert guest.udp[0][2] == data
    assert guest.fragments > 40


def test_closed_port_is_told_to_the_guest(guests: Callable[..., RawGuest]) -> None:
    guest = guests()
    port = closed_port()
    guest.send_udp(5000, (GATEWAY, port), b"nobody there")
    guest.until(lambda: guest.icmp)
    ip, message = guest.icmp[0]
    assert (message.kind, message.code) == (DESTINATION_UNREACHABLE, PORT_UNREACHABLE)
    assert ip.source == GATEWAY
    quoted = Ipv4Repr.parse_quoted(message.payload, 0xFFFF)
    assert (quoted.source, quoted.destination) == (GUEST, GATEWAY)
    ports = message.payload[20:24]
    assert (int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")) == (5000, port)


def test_gateway_without_host_loopback_has_no_open_port(
    guests: Callable[..., RawGuest], server: socket.socket
) -> None:
    guest = guests(host_loopback=False)
    guest.send_udp(5000, (GATEWAY, server.getsockname()[1]), b"x")
    guest.until(lambda: guest.icmp)
    assert guest.icmp[0][1].code == PORT_UNREACHABLE
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.recv(10)


@pytest.mark.parametrize("target", [(10, 0, 2, 77), (127, 0, 0, 1), (224, 0, 0, 5), (0, 0, 0, 1)])
def test_addresses_that_are_nowhere_get_no_socket(
    guests: Callable[..., RawGuest], target: tuple[int, ...]
) -> None:
    guest = guests()
    guest.send_udp(5000, (bytes(target), 9), b"x")
    assert guest.link.counters()["udp_flows"] == 0


def test_strangers_are_not_let_in(guests: Callable[..., RawGuest], server: socket.socket) -> None:
    """Only who was sent to may answer. [RFC 4787 REQ-8]"""
    guest = guests()
    guest.send_udp(5000, (GATEWAY, server.getsockname()[1]), b"x")
    mapped = server.recvfrom(10)[1][1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.2", 0))
        stranger.sendto(b"boo", ("127.0.0.1", mapped))
    guest.until(lambda: guest.link.counters()["udp_filtered"] == 1)
    assert guest.udp == []


def test_flows_end_after_five_idle_minutes(
    guests: Callable[..., RawGuest], server: socket.socket
) -> None:
    guest = guests()
    to = (GATEWAY, server.getsockname()[1])
    guest.send_udp(5000, to, b"x")
    guest.skip(200 * NS_PER_S)
    guest.send_udp(5001, to, b"x")
    guest.skip(150 * NS_PER_S)
    assert guest.link.counters()["udp_flows"] == 1
    guest.skip(udp.IDLE_NS)
    assert guest.link.counters()["udp_flows"] == 0
    assert guest.link.next_deadline() is None


def test_flows_are_bounded_and_the_longest_unused_gives_way(
    guests: Callable[..., RawGuest], server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "MOST_FLOWS", 20)
    guest = guests()
    to = (GATEWAY, server.getsockname()[1])
    for port in range(1000, 1050):
        guest.send_udp(1000, to, b"kept")
        guest.send_udp(port, to, b"x")
    counters = guest.link.counters()
    assert counters["udp_flows"] == 20
    assert counters["udp_evicted"] == 30
    first = server.recvfrom(10)[1]
    guest.send_udp(1000, to, b"still")
    server.setblocking(False)
    while (found := server.recvfrom(10))[0] != b"still":
        pass
    assert found[1] == first


def test_forged_and_broken_packets_are_counted_drops(guests: Callable[..., RawGuest]) -> None:
    guest = guests()
    guest.send_udp(5000, (GATEWAY, 99), b"x", source=bytes((192, 0, 2, 9)))
    guest.send_udp(5000, (GATEWAY, 99), b"x", source=GATEWAY)
    guest.send_udp(5000, (b"\xff" * 4, 99), b"x", to=BROADCAST)
    guest.send_ip(17, GATEWAY, b"short")
    guest.send_ip(1, OUTSIDE, b"\x08")
    drops = {k: v for k, v in guest.link.counters().items() if k.startswith("drop_")}
    assert drops == {
        "drop_ipv4_source": 2, "drop_ipv4_broadcast": 1, "drop_udp_short": 1,
        "drop_icmp_short": 1,
    }  # fmt: skip
    assert guest.udp == guest.icmp == []


# Published UDP ports


def test_published_port_leads_to_the_guest_and_back(guests: Callable[..., RawGuest]) -> None:
    guest = guests(Port(7, protocol="udp"))
    port = guest.link.published_udp[0].port
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        for client in (one, two):
            client.bind(("127.0.0.1", 0))
            client.settimeout(5)
            client.sendto(b"hello %d" % client.getsockname()[1], ("127.0.0.1", port))
        guest.until(lambda: len(guest.udp) == 2)
        for ip, header, payload in guest.udp:
            assert (ip.source, header.destination_port) == (GATEWAY, 7)
            guest.send_udp(7, (GATEWAY, header.source_port), b"re: " + payload)
        for client in (one, two):
            answer, sender = client.recvfrom(100)
            assert answer == b"re: hello %d" % client.getsockname()[1]
            assert sender == ("127.0.0.1", port)  # from where it was sent to
    guest.skip(2 * udp.IDLE_NS)
    assert guest.link.counters()["udp_senders"] == 0


def test_senders_are_bounded(
    guests: Callable[..., RawGuest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_publish, "MOST_SENDERS", 8)
    guest = guests(Port(7, protocol="udp"))
    port = guest.link.published_udp[0].port
    for _ in range(30):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", ("127.0.0.1", port))
    guest.until(lambda: len(guest.udp) == 30)
    assert guest.link.counters()["udp_senders"] <= 8


def test_busy_udp_port_is_named_with_a_free_one(server: socket.socket) -> None:
    busy = server.getsockname()[1]
    with pytest.raises(EnvironmentProblem, match=f"{busy}:7/udp: port {busy} .* is free"):
        RawGuest(Port(7, busy, protocol="udp"))


# Names


def write_resolvers(path: Path, *addresses: str) -> Resolvers:
    path.write_text("".join(f"nameserver {address}\n" for address in addresses))
    return Resolvers(path)


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A resolver of the host, on a port of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(5)
        monkeypatch.setattr("leulo.links.user.resolver.PORT", opened.getsockname()[1])
        yield opened


def test_query_and_answer_pass_as_they_are(
    guests: Callable[..., RawGuest], name_server: socket.socket, tmp_path: Path
) -> None:
    guest = guests(resolvers=write_resolvers(tmp_path / "resolv.conf", "127.0.0.1"))
    guest.send_udp(6000, (DNS, 53), QUESTION)
    asked, sender = name_server.recvfrom(1000)
    assert asked == QUESTION
    name_server.sendto(b"\0\0 not the answer to this", sender)
    name_server.sendto(QUESTION[:2] + b"\x81\x80 the answer", sender)
    guest.until(lambda: guest.udp)
    ip, header, payload = guest.udp[0]
    assert (ip.source, header.source_port, header.destination_port) == (DNS, 53, 6000)
    assert payload == QUESTION[:2] + b"\x81\x80 the answer"
    assert guest.link._names.next_deadline() is None  # the query is forgotten


def test_no_resolver_is_servfail_at_once(guests: Callable[..., RawGuest], tmp_path: Path) -> None:
    guest = guests(resolvers=Resolvers(tmp_path / "none"))
    guest.send_udp(6000, (DNS, 53), QUESTION)
    guest.until(lambda: guest.udp)
    answer = guest.udp[0][2]
    assert answer[:4] == QUESTION[:2] + b"\x81\x82"  # a response, recursion, SERVFAIL
    assert answer[4:] == b"\x00\x01" + bytes(6) + QUESTION[12:]


def test_silent_resolver_gives_way_and_then_servfail(
    guests: Callable[..., RawGuest], name_server: socket.socket, tmp_path: Path
) -> None:
    guest = guests(resolvers=write_resolvers(tmp_path / "resolv.conf", "127.0.0.1"))
    guest.send_udp(6000, (DNS, 53), QUESTION)
    for _ in range(dns.ATTEMPTS):
        assert name_server.recvfrom(1000)[0] == QUESTION
        assert guest.udp == []
        guest.skip(dns.ATTEMPT_NS)
    guest.until(lambda: guest.udp)
    assert guest.udp[0][2][3] & 15 == 2


def test_resolver_that_is_gone_gives_way_to_the_next(
    guests: Callable[..., RawGuest],
    name_server: socket.socket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dns, "ATTEMPT_NS", 10**15)  # no timer helps
    guest = guests(resolvers=write_resolvers(tmp_path / "c", "127.0.0.2", "127.0.0.1"))
    guest.send_udp(6000, (DNS, 53), QUESTION)
    name_server.setblocking(False)
    asked: list[bytes] = []

    def is_asked() -> bool:
        try:
            asked.append(name_server.recv(1000))
        except BlockingIOError:
            return False
        return True

    guest.until(is_asked)  # nobody listens at .2: ICMP says so at once
    assert asked == [QUESTION]


def test_queries_are_bounded_and_responses_are_not_relayed(
    guests: Callable[..., RawGuest], name_server: socket.socket, tmp_path: Path
) -> None:
    guest = guests(resolvers=write_resolvers(tmp_path / "resolv.conf", "127.0.0.1"))
    guest.send_udp(6000, (DNS, 53), QUESTION[:2] + b"\x81" + QUESTION[3:])
    guest.send_udp(6000, (DNS, 53), b"short")
    assert guest.link.counters()["dns_queries"] == 0
    for number in range(dns.MOST_QUERIES + 10):
        guest.send_udp(6000, (DNS, 53), number.to_bytes(2, "big") + QUESTION[2:])
    guest.until(lambda: len(guest.udp) == 10)
    assert guest.link.counters()["dns_failed"] == 10


def test_servfail_for_any_bytes_is_a_header() -> None:
    for question in (QUESTION[:12], QUESTION[:20], QUESTION[:4] + bytes(8) + b"\xff" * 20):
        assert servfail(question)[2:4] == b"\x81\x82"
        assert len(servfail(question)) == 12


def test_resolv_conf_is_read_as_libc_reads_it(tmp_path: Path) -> None:
    servers = parse(
        "# nameserver 1.1.1.1\nsearch example.org\nnameserver 9.9.9.9 \n nameserver ::1\n"
        "nameserver name.example\nnameserver\nnameserver fe80::1%1\nnameserver 8.8.8.8\n"
    )
    assert [(family, address[0]) for family, address in servers] == [
        (socket.AF_INET, "9.9.9.9"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "fe80::1"),
    ]  # fmt: skip
    assert servers[2][1][3] == 1
    path = tmp_path / "resolv.conf"
    resolvers = write_resolvers(path, "1.1.1.1")
    assert len(resolvers.servers()) == 1
    write_resolvers(path, "1.1.1.1", "2.2.2.2")
    assert len(resolvers.servers()) == 2
    path.unlink()
    assert resolvers.servers() == []


# ARP and several machines


def test_arp_is_answered_for_gateway_and_name_server_only(guests: Callable[..., RawGuest]) -> None:
    """A second machine on the link answers for itself; nobody answers for nobody."""
    guest = guests()
    for last in (2, 3, 4, 15, 16, 99):
        guest.ask_arp(bytes((10, 0, 2, last)))
    assert [arp.sender_address[3] for arp in guest.arp] == [2, 3]


def test_two_machines_have_flows_of_their_own(
    guests: Callable[..., RawGuest], server: socket.socket
) -> None:
    guest = guests()
    other = bytes((10, 0, 2, 16))
    to = (GATEWAY, server.getsockname()[1])
    guest.send_udp(5000, to, b"from 15")
    guest.send_udp(5000, to, b"from 16", source=other)
    first, second = server.recvfrom(10)[1], server.recvfrom(10)[1]
    assert first != second
    server.sendto(b"for 16", second)
    guest.until(lambda: any(arp.target_address == other for arp in guest.arp))
    guest.address, guest.mac = other, b"\x52\x54\0\0\0\2"
    guest.ask_arp(GATEWAY)  # now the gateway knows him
    guest.until(lambda: guest.udp)
    assert guest.udp[0][0].destination == other and guest.macs[-1] == guest.mac != GUEST_MAC


# Ping


def test_gateway_and_name_server_answer_ping(guests: Callable[..., RawGuest]) -> None:
    guest = guests()
    for target in (GATEWAY, DNS):
        guest.send_icmp(target, IcmpRepr(ECHO_REQUEST, 0, 0x12340001, b"payload"))
    guest.until(lambda: len(guest.icmp) == 2)
    for (ip, message), target in zip(guest.icmp, (GATEWAY, DNS), strict=True):
        assert (ip.source, message.kind, message.rest) == (target, ECHO_REPLY, 0x12340001)
        assert message.payload == b"payload"


def test_pings_in_fragments_are_answered_in_fragments(guests: Callable[..., RawGuest]) -> None:
    guest = guests()
    data = bytes(range(256)) * 255
    for target in (GATEWAY, DNS):
        guest.send_icmp(target, IcmpRepr(ECHO_REQUEST, 0, 0x12340001, data))
        guest.until(lambda: guest.icmp)
        ip, message = guest.icmp.pop()
        assert (ip.source, message.kind, message.payload) == (target, ECHO_REPLY, data)
    assert guest.fragments > 80


def test_ping_to_nobody_in_the_network_is_unreachable(guests: Callable[..., RawGuest]) -> None:
    guest = guests()
    guest.send_icmp(bytes((10, 0, 2, 200)), IcmpRepr(ECHO_REQUEST, 0, 1, b""))
    guest.until(lambda: guest.icmp)
    assert (guest.icmp[0][1].kind, guest.icmp[0][1].code) == (3, NET_UNREACHABLE)


def test_ping_outside_is_answered_or_said_to_be_forbidden(
    guests: Callable[..., RawGuest],
) -> None:
    """By the host's ping sockets if it allows them to us; never by silence."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address of this computer that is not loopback
        own = socket.inet_aton(probe.getsockname()[0])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP):
            is_allowed = True
    except PermissionError:
        is_allowed = False
    guest = guests()
    guest.send_icmp(own, IcmpRepr(ECHO_REQUEST, 0, 0x55550007, b"abc"))
    guest.until(lambda: guest.icmp)
    ip, message = guest.icmp[0]
    if is_allowed:
        assert (ip.source, message.kind, message.rest) == (own, ECHO_REPLY, 0x55550007)
        assert message.payload == b"abc"
        guest.skip(61 * NS_PER_S)
        assert guest.link._pings.flows.next_deadline() is None
    else:
        assert (message.kind, message.code) == (DESTINATION_UNREACHABLE, 13)


_NAMESPACE = """
ip link set lo up && ip addr add 192.0.2.1/32 dev lo &&
echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range &&
exec "$0" -m pytest -q -p no:cacheprovider "$1" -k ping_outside
"""


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace")
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_ping_outside_where_the_host_allows_it() -> None:
    """The test before this one, in a namespace whose ping sockets are open to everybody."""
    run = subprocess.run(
        ["unshare", "-n", "sh", "-c", _NAMESPACE, sys.executable,
         f"{__file__}::test_ping_outside_is_answered_or_said_to_be_forbidden"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout
