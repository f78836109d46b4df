"""The guest's ``ping``: what it prints, who answers, and that ^C ends it with its figures."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from leulo_process import LeuloProcess
from netns import Namespace
from test_guest_programs import command

pytestmark = pytest.mark.compiler
FIGURES = re.compile(r"rtt min/avg/max/mdev = (\d+\.\d{3})/(\d+\.\d{3})/(\d+\.\d{3})/\d+\.\d{3} ms")


@pytest.fixture(scope="module")
def guest() -> Iterator[LeuloProcess]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with LeuloProcess("--publish", f"{port}:80") as process:
        process.expect_services()
        yield process


def test_the_gateway_and_the_guest_itself_answer(guest: LeuloProcess) -> None:
    for address, whole in (("10.0.2.2", 84), ("127.0.0.1", 84), ("10.0.2.15", 84), ("::1", 104)):
        said = command(guest, f"ping -c 3 -i 0.01 {address}")
        assert f"PING {address} 56({whole}) bytes of data." in said
        numbers = re.findall(rf"64 bytes from {re.escape(address)}: icmp_seq=(\d) time=", said)
        assert numbers == ["1", "2", "3"]
        assert "3 packets transmitted, 3 received, 0% packet loss" in said
        figures = FIGURES.search(said)
        assert figures is not None, said
        least, mean, most = map(float, figures.groups())
        assert 0 < least <= mean <= most < 5_000
        assert "status" not in said


@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 65507])
def test_any_size_comes_back_as_it_went(guest: LeuloProcess, size: int) -> None:
    said = command(guest, f"ping -c 2 -i 0.01 -s {size} 127.0.0.1")
    assert said.count(f"{size + 8} bytes from 127.0.0.1") == 2
    assert "2 received" in said and "not what was sent" not in said


def test_what_is_wrong_is_said_in_one_line(guest: LeuloProcess) -> None:
    for wrong in ("", "-c 0 10.0.2.2", "-c x 10.0.2.2", "-s 65508 10.0.2.2", "-i -1 10.0.2.2",
                  "-c 1", "-z 1 10.0.2.2", "10.0.2.2 10.0.2.2", "-i 0.x 10.0.2.2",
                  "-h"):  # fmt: skip
        said = command(guest, f"ping {wrong}".rstrip())
        assert "ping: write: ping [-c COUNT]" in said and "status 2" in said, wrong
    for wrong in ("10.0.2", "10.0.2.2:7", "10.0.2.999", "[::1]", ":", ":::", "1:2:3",
                  "1:2:3:4:5:6:7:8:9", "1::2::3", "::12345", "fd00::g", "1:2:3:4:5:6:7:8::", "1:",
                  "::1:", "0.0.0.0:", "1::2:3:4:5:6:7:8"):  # fmt: skip
        said = command(guest, f"ping {wrong}")
        assert f"ping: {wrong} is not an address" in said and "status 2" in said


def test_netstat_shows_its_socket(guest: LeuloProcess) -> None:
    command(guest, "ping -c 1000 10.0.2.2 > /tmp/out &")
    for _ in range(50):
        if "icmp  10.0.2.15:" in (said := command(guest, "netstat")):
            break
    line = next(line for line in said.splitlines() if line.startswith("icmp"))
    assert line.split()[2] == "10.0.2.2:0" and line.endswith("/ping")
    for pid in re.findall(r"(\d+)/ping", command(guest, "netstat")):
        command(guest, f"kill {pid}")


def test_ctrl_c_ends_it_with_its_statistics(guest: LeuloProcess) -> None:
    before = len(guest.console)
    guest.type("ping -i 0.05 10.0.2.2\n")
    guest.expect("icmp_seq=4 time=")
    guest.type("\x03")
    for _ in range(100):
        if "leulo$ " in guest.console[before:].decode():
            break
        guest._collect(0.1)
    whole = guest.console[before:].decode()
    assert re.search(r"(\d+) packets transmitted, \1 received, 0% packet loss, time \d+ms", whole)
    assert FIGURES.search(whole)
    assert "ping" not in command(guest, "ps").partition("ps\n")[2]


@pytest.mark.netns
def test_over_a_tap_linux_answers_and_a_silent_host_does_not() -> None:
    with Namespace("gping") as namespace:  # noqa: SIM117 (the guest ends first)
        with LeuloProcess("--net", "tap:leulo0", netns=namespace.name) as guest:
            guest.expect_services()
            said = command(guest, "ping -c 3 -i 0.02 -s 3000 10.77.0.1")
            assert said.count("3008 bytes from 10.77.0.1") == 3, said
            said = command(guest, "ping -c 2 -i 0.02 10.77.0.77")
            assert "2 packets transmitted, 0 received, 100% packet loss" in said
            assert "status 1" in said
            namespace.run("ip", "route", "add", "unreachable", "192.0.2.1")
            namespace.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
            said = command(guest, "ping -c 1 192.0.2.1")
            assert "no answer to icmp_seq=1: No route to host" in said
