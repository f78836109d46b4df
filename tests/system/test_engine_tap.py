"""The engine against the kernel's TCP and the usual tools over a TAP, without any guest.

If one of these fails, the engine or the link is at fault; if only the same test with a guest
fails, it is the hypercalls or the guest.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_process import ADDRESS, EngineProcess
from http_checks import Checker, check_body, expected_bytes, get
from netns import Namespace

from leulo.bench.beside import VARIABLE

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def tap() -> Iterator[Namespace]:
    with Namespace("eng") as namespace:
        yield namespace


@pytest.fixture(scope="module")
def engine(tap: Namespace) -> Iterator[EngineProcess]:
    with EngineProcess(tap) as process:
        yield process


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")


def connect(tap: Namespace, port: int, seconds: float = 20) -> socket.socket:
    return tap.inside(lambda: socket.create_connection((ADDRESS, port), timeout=seconds))


def test_ping_is_answered(tap: Namespace, engine: EngineProcess) -> None:
    assert tap.ping(ADDRESS, count=3) == 3
    assert tap.ping(ADDRESS, size=1400) == 1
    before = engine.ask()["link.frames_out"]
    assert tap.ping(ADDRESS, size=5000) == 1
    # It went back in four fragments. The answer may be here before they are counted, and ARP may
    # add a frame of its own; in one piece it would never be four.
    deadline = time.monotonic() + 5
    while engine.ask()["link.frames_out"] < before + 4:
        assert time.monotonic() < deadline, "the reply was not fragmented"


def test_closed_port_refuses_at_once(tap: Namespace, engine: EngineProcess) -> None:
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        connect(tap, 4242)
    assert time.monotonic() - began < 1


def test_closed_udp_port_is_reported(tap: Namespace, engine: EngineProcess) -> None:
    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
            stream.settimeout(2)
            stream.connect((ADDRESS, 5353))
            stream.send(b"anybody?")
            stream.recv(100)

    with pytest.raises(ConnectionRefusedError):
        tap.inside(ask)


def test_bodies_are_right_to_the_byte(tap: Namespace, engine: EngineProcess) -> None:
    for length in (0, 1, 1447, 1448, 1449, 65_535, 65_536, 1_000_003, 30_000_000):
        body = tap.inside(lambda length=length: get((ADDRESS, 80), f"/bytes/{length}"))
        check_body(body, length)


def test_upload_comes_back_from_echo(tap: Namespace, engine: EngineProcess) -> None:
    total = 20_000_000
    stream = connect(tap, 7)

    def write() -> None:
        for offset in range(0, total, 1_000_000):
            stream.sendall(expected_bytes(offset, 1_000_000))
        stream.shutdown(socket.SHUT_WR)

    writer = threading.Thread(target=write)
    writer.start()
    check = Checker()
    while piece := stream.recv(1 << 20):
        check.feed(piece)
    writer.join()
    stream.close()
    assert check.count == total


def test_linux_agrees_to_ecn_and_sees_capable_data(tap: Namespace, engine: EngineProcess) -> None:
    """[RFC 3168 6.1.1]: Linux asks; TCP_INFO says what it has seen of our data."""
    switch = Path("/proc/sys/net/ipv4/tcp_ecn")
    options = {}
    for asks in ("1", "2"):
        tap.inside(lambda asks=asks: switch.write_text(asks))
        with connect(tap, 80) as stream:
            stream.sendall(b"GET /bytes/3000000 HTTP/1.0\r\n\r\n")
            data = b""
            while piece := stream.recv(1 << 20):
                data += piece
            options[asks] = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5]
        check_body(data.partition(b"\r\n\r\n")[2], 3_000_000)
    agreed, seen = 8, 16  # TCPI_OPT_ECN, TCPI_OPT_ECN_SEEN
    assert options["1"] & (agreed | seen) == agreed | seen
    assert not options["2"] & (agreed | seen)


def test_many_connections_at_once(tap: Namespace, engine: EngineProcess) -> None:
    streams = [connect(tap, 80) for _ in range(300)]
    for number, stream in enumerate(streams):
        stream.sendall(b"GET /bytes/%d HTTP/1.0\r\n\r\n" % (number * 50))
    for number, stream in enumerate(streams):
        data = b""
        while piece := stream.recv(65536):
            data += piece
        check_body(data.partition(b"\r\n\r\n")[2], number * 50)
        stream.close()


def test_curl_fetches(tap: Namespace, engine: EngineProcess) -> None:
    needs("curl")
    shown = tap.run("curl", "-sS", "-w", "%{http_code} %{size_download}", "-o", "/dev/null",
                    f"http://{ADDRESS}/bytes/2000000")  # fmt: skip
    assert shown == "200 2000000"


@pytest.mark.parametrize("header", [(), ("-H", "Connection: close")])
def test_wrk_without_one_error(
    tap: Namespace, engine: EngineProcess, header: tuple[str, ...]
) -> None:
    needs("wrk")
    shown = tap.run("wrk", "-t", "1", "-c", "64", "-d", "2s", *header, f"http://{ADDRESS}/")
    assert "Socket errors" not in shown, shown
    assert "Non-2xx" not in shown, shown
    rate = re.search(r"Requests/sec:\s+([\d.]+)", shown)
    assert rate and float(rate[1]) > 100, shown


@pytest.mark.parametrize("keep", [(), ("-k",)])
def test_ab_without_one_failure(
    tap: Namespace, engine: EngineProcess, keep: tuple[str, ...]
) -> None:
    needs("ab")
    shown = tap.run("ab", "-q", "-c", "32", "-n", "3000", *keep, f"http://{ADDRESS}/")
    assert re.search(r"Complete requests:\s+3000\b", shown), shown
    assert re.search(r"Failed requests:\s+0\b", shown), shown
    if keep:
        assert re.search(r"Keep-Alive requests:\s+3000\b", shown), shown


WINDOW_FULL = "TCP window specified by the receiver is now completely full"


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark (Debian: tshark)")
def test_tshark_finds_nothing_wrong(tmp_path: Path) -> None:
    """Expert findings of a plain download, many connections and an echo: no fault of ours."""
    path = tmp_path / "engine.pcapng"
    with Namespace("eng") as namespace:
        with EngineProcess(namespace, capture=path):
            for number in range(20):
                body = namespace.inside(lambda n=number: get((ADDRESS, 80), f"/bytes/{n * 999}"))
                check_body(body, number * 999)
            body = namespace.inside(lambda: get((ADDRESS, 80), "/bytes/3000000"))
            check_body(body, 3_000_000)
            with connect(namespace, 7) as stream:
                stream.sendall(b"hello")
                assert stream.recv(100) == b"hello"
        frames = namespace.run("tshark", "-r", str(path), "-Y", f"ip.src == {ADDRESS} && tcp")
        assert len(frames.splitlines()) > 100, "tshark has seen next to nothing"
        findings = faults(namespace, path)
        # It does find what is wrong: a byte of ours that changed on its way.
        spoiled = path.read_bytes().replace(b" 200 ", b"-200 ", 1)
        assert spoiled != path.read_bytes()
        path.write_bytes(spoiled)
        assert len(faults(namespace, path)) == len(findings) + 1
    assert not findings, "\n".join(findings[:20])


def faults(namespace: Namespace, path: Path) -> list[str]:
    """What tshark's experts warn of in frames of ours, a line each. That a sender fills the window
    is a slow reader's doing."""
    shown = namespace.run(
        *["tshark", "-r", str(path), "-o", "tcp.check_checksum:TRUE"],
        *["-Y", "_ws.expert.severity >= 6291456", "-T", "fields"],
        *["-e", "frame.number", "-e", "ip.src", "-e", "_ws.expert.message"],
    )
    lines = [line for line in shown.splitlines() if f"\t{ADDRESS}\t" in line]
    return [line for line in lines if not line.endswith(f"\t{WINDOW_FULL}")]


@pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} is not set")
def test_another_engine_serves_as_ours_does() -> None:
    """What `engine_bench` puts beside ours answers wrk's requests, kept alive and closed."""
    needs("wrk")
    with (
        Namespace("ref") as namespace,
        EngineProcess(namespace, reference=Path(os.environ[VARIABLE])) as engine,
    ):
        for header in ((), ("-H", "Connection: close")):
            shown = namespace.run("wrk", "-t", "1", "-c", "8", "-d", "1s", *header,
                                  f"http://{ADDRESS}/")  # fmt: skip
            assert "Socket errors" not in shown and "Non-2xx" not in shown, shown
        assert engine.ask()["cpu_us"] > 0
