"""A guest's servers over IPv6: real Linux on the other side of a TAP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_checks import check_body
from leulo_process import LeuloProcess
from netns import Namespace
from test_guest_programs import command

pytestmark = [pytest.mark.netns, pytest.mark.compiler]

HOST_6, GUEST_6, GUEST = "fd00:77::1", "fd00:77::2", "10.77.0.2"


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with Namespace("g6") as made:
        yield made


@pytest.fixture(scope="module")
def guest(namespace: Namespace) -> Iterator[LeuloProcess]:
    words = ("--net", "tap:leulo0", "--ip6", f"{GUEST_6}/64", "--gateway6", HOST_6)
    with LeuloProcess(*words, netns=namespace.name) as process:
        namespace.run("ip", "-6", "addr", "add", f"{HOST_6}/64", "dev", "leulo0", "nodad")
        deadline = time.monotonic() + 10
        while "1 received" not in namespace.run(
            "ping", "-6", "-c", "1", "-W", "1", GUEST_6, is_checked=False
        ):
            assert time.monotonic() < deadline
        yield process


def test_one_listener_serves_both_versions(
    namespace: Namespace, guest: LeuloProcess, tmp_path: Path
) -> None:
    pages = [
        namespace.run("curl", "-sS", "-g", "-m", "10", f"http://{host}/")
        for host in (f"[{GUEST_6}]", GUEST)
    ]
    assert pages[0] == pages[1] and "<html" in pages[0]
    body = tmp_path / "body"
    namespace.run("curl", "-sS", "-g", "-o", str(body), f"http://[{GUEST_6}]/bytes/5000000")
    check_body(body.read_bytes(), 5_000_000)


def test_ab_without_one_failed_request(namespace: Namespace, guest: LeuloProcess) -> None:
    text = namespace.run("ab", "-q", "-n", "500", "-c", "16", f"http://[{GUEST_6}]/")
    assert "Failed requests:        0" in text and "Complete requests:      500" in text


def test_the_guests_own_clients_speak_ipv6(namespace: Namespace, guest: LeuloProcess) -> None:
    guest.expect_services()
    own = next(
        word.partition("/")[0]
        for word in namespace.run("ip", "-6", "addr", "show", "dev", "leulo0").split()
        if word.startswith("fe80")
    )
    for address in (HOST_6, own):  # the link-local one needs no scope: there is one link
        said = command(guest, f"ping -c 3 -i 0.02 -s 3000 {address}")
        assert said.count(f"3008 bytes from {address}") == 3, said
    for to in (f"[{HOST_6}]:9", f"[{own}]:9", "10.77.0.1:9"):
        assert "Connection refused" in command(guest, f"fetch -q http://{to}/")
    said = command(guest, f"fetch -q http://[{GUEST_6}]/bytes/100000")
    assert "fetch: 100000 bytes" in said
