"""The engine over IPv6 against the kernel and the usual tools over a TAP, without any guest."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest
from engine_process import ADDRESS, EngineProcess
from http_checks import check_body
from netns import Namespace

pytestmark = pytest.mark.netns

HOST_6, ENGINE_6 = "fd00:77::1", "fd00:77::2"
LINK_LOCAL = "fe80::5054:ff:fe00:e2"
T = TypeVar("T")


@pytest.fixture(scope="module")
def tap() -> Iterator[Namespace]:
    with Namespace("six") as namespace:
        yield namespace


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("six") / "six.pcapng"


@pytest.fixture(scope="module")
def engine(tap: Namespace, capture: Path) -> Iterator[EngineProcess]:
    with EngineProcess(tap, capture) as process:
        tap.run("ip", "-6", "addr", "add", f"{HOST_6}/64", "dev", "leulo0", "nodad")
        deadline = time.monotonic() + 10
        while process.ask()["stack.ipv6_addresses"] < 2:  # after duplicate address detection
            assert time.monotonic() < deadline
        yield process


def ping(tap: Namespace, address: str, size: int = 56) -> str:
    return tap.run("ping", "-6", "-c", "2", "-i", "0.2", "-W", "2", "-s", str(size), address)


@pytest.mark.parametrize("size", [56, 1400, 5000, 60_000])
def test_ping_is_answered(tap: Namespace, engine: EngineProcess, size: int) -> None:
    assert " 0% packet loss" in ping(tap, ENGINE_6, size)


def test_ping_of_the_link_local_address(tap: Namespace, engine: EngineProcess) -> None:
    assert " 0% packet loss" in ping(tap, f"{LINK_LOCAL}%leulo0")


def test_curl_fetches_every_byte_over_either_version(
    tap: Namespace, engine: EngineProcess, tmp_path: Path
) -> None:
    for host in (f"[{ENGINE_6}]", ADDRESS, f"[{LINK_LOCAL}%25leulo0]"):
        tap.run("curl", "-sS", "-g", "-o", str(tmp_path / "body"), f"http://{host}/bytes/30000000")
        check_body((tmp_path / "body").read_bytes(), 30_000_000)


def test_ab_over_ipv6_without_one_failed_request(tap: Namespace, engine: EngineProcess) -> None:
    for extra in ([], ["-k"]):
        text = tap.run("ab", "-q", "-n", "2000", "-c", "32", *extra, f"http://[{ENGINE_6}]/")
        assert "Failed requests:        0" in text
        assert "Complete requests:      2000" in text


def inside(tap: Namespace, call: Callable[[], T]) -> T:
    return tap.inside(call)


def test_upload_comes_back(tap: Namespace, engine: EngineProcess) -> None:
    data = Random(6).randbytes(5_000_000)
    stream = inside(tap, lambda: socket.create_connection((ENGINE_6, 7), timeout=20))
    with stream:
        got = bytearray()
        stream.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 30
        while len(got) < len(data):
            assert time.monotonic() < deadline
            with suppress(BlockingIOError):
                if sent < len(data):
                    sent += stream.send(data[sent : sent + 65_536])
            with suppress(BlockingIOError):
                got += stream.recv(1 << 20)
    assert bytes(got) == data


@pytest.mark.parametrize("address", [ENGINE_6, ADDRESS])
def test_datagrams_come_back_whole(tap: Namespace, engine: EngineProcess, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    box = inside(tap, lambda: socket.socket(family, socket.SOCK_DGRAM))
    with box:
        box.settimeout(5)
        box.connect((address, 7))
        for size in (0, 1, 1452, 1453, 1472, 1473, 9_000, 65_507):
            data = Random(size).randbytes(size)
            box.send(data)
            assert box.recv(70_000) == data


def test_closed_ports_refuse_at_once(tap: Namespace, engine: EngineProcess) -> None:
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        inside(tap, lambda: socket.create_connection((ENGINE_6, 4242), timeout=5))
    box = inside(tap, lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    with box:
        box.settimeout(5)
        box.connect((ENGINE_6, 4242))
        box.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            box.recv(10)
    assert time.monotonic() - began < 2


def test_address_that_linux_has_is_not_taken(tap: Namespace) -> None:
    """Duplicate address detection against the kernel."""
    with Namespace("dad") as other:
        # The TAP exists before the engine opens it, with the engine's address on this side.
        other.run("ip", "tuntap", "add", "leulo0", "mode", "tap", "vnet_hdr")
        other.run("ip", "-6", "addr", "add", f"{ENGINE_6}/64", "dev", "leulo0", "nodad")
        other.run("ip", "link", "set", "leulo0", "up")
        with EngineProcess(other) as process:
            deadline = time.monotonic() + 10
            while process.ask()["stack.ipv6_addresses"] < 1:
                assert time.monotonic() < deadline
            counters = process.ask()
            assert counters["stack.ipv6_duplicates"] == 1
            assert counters["stack.ipv6_addresses"] == 1  # the link-local one


def test_wireshark_finds_no_fault(tap: Namespace, engine: EngineProcess, capture: Path) -> None:
    """But what an error quotes: a datagram whose checksum the kernel had left undone."""
    engine.stop()
    text = subprocess.run(
        ["tshark", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-r",
         str(capture), "-Y",
         "ipv6 && !(icmpv6.type < 128) && (_ws.malformed || icmpv6.checksum.status == 0"
         " || tcp.checksum.status == 0 || udp.checksum.status == 0)"],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert text == ""
