"""Protects the main claim: real Linux talks to the engine over a TAP, and nothing is lost."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from leulo_process import LeuloProcess
from netns import Namespace

pytestmark = [pytest.mark.netns, pytest.mark.compiler]

GUEST = "10.77.0.2"


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with Namespace("tap") as made:
        yield made


@pytest.fixture(scope="module")
def guest(namespace: Namespace) -> Iterator[LeuloProcess]:
    with LeuloProcess("--net", "tap:leulo0", netns=namespace.name) as process:
        yield process


def run(namespace: Namespace, *command: str, seconds: float = 120) -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", namespace.name, *command],
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    output = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, f"{command}: {output[-2000:]}"
    return output


CLIENT = """
import socket, sys, threading
sys.path.insert(0, {here!r})
from http_checks import Checker
"""


def python(namespace: Namespace, program: str, seconds: float = 120) -> str:
    """Run a Python program inside the namespace, beside the test's own modules."""
    import os
    import sys

    here = os.path.dirname(os.path.abspath(__file__))
    return run(namespace, sys.executable, "-c", CLIENT.format(here=here) + program, seconds=seconds)


def test_curl_of_100_mb_is_right_to_the_byte(namespace: Namespace, guest: LeuloProcess) -> None:
    output = python(
        namespace,
        f"""
stream = socket.create_connection(("{GUEST}", 80), timeout=60)
stream.sendall(b"GET /bytes/100000000 HTTP/1.0\\r\\n\\r\\n")
data = b""
while b"\\r\\n\\r\\n" not in data:
    data += stream.recv(65536)
head, _, body = data.partition(b"\\r\\n\\r\\n")
check = Checker()
check.feed(body)
while piece := stream.recv(1 << 20):
    check.feed(piece)
print(check.count)
""",
    )
    assert output.strip() == "100000000"


def test_100_mb_by_many_connections(namespace: Namespace, guest: LeuloProcess) -> None:
    output = python(
        namespace,
        f"""
counts = []
def fetch():
    stream = socket.create_connection(("{GUEST}", 80), timeout=60)
    stream.sendall(b"GET /bytes/3125000 HTTP/1.0\\r\\n\\r\\n")
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        data += stream.recv(65536)
    check = Checker()
    check.feed(data.partition(b"\\r\\n\\r\\n")[2])
    while piece := stream.recv(1 << 18):
        check.feed(piece)
    counts.append(check.count)
threads = [threading.Thread(target=fetch) for _ in range(32)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sum(counts))
""",
    )
    assert output.strip() == "100000000"


def test_100_mb_to_echo_and_back(namespace: Namespace, guest: LeuloProcess) -> None:
    output = python(
        namespace,
        f"""
from http_checks import expected_bytes
TOTAL = 100_000_000
stream = socket.create_connection(("{GUEST}", 7), timeout=60)
def write():
    for offset in range(0, TOTAL, 1_000_000):
        stream.sendall(expected_bytes(offset, 1_000_000))
    stream.shutdown(socket.SHUT_WR)
writer = threading.Thread(target=write)
writer.start()
check = Checker()
while piece := stream.recv(1 << 20):
    check.feed(piece)
writer.join()
print(check.count)
""",
    )
    assert output.strip() == "100000000"


def test_wrk_without_one_failed_request(namespace: Namespace, guest: LeuloProcess) -> None:
    output = run(namespace, "wrk", "-c", "64", "-t", "1", "-d", "3", f"http://{GUEST}/bytes/100")
    assert "Socket errors" not in output and "Non-2xx" not in output, output
    found = re.search(r"(\d+) requests in", output)
    assert found and int(found[1]) > 100, output


@pytest.mark.parametrize("keep", [(), ("-k",)])
def test_ab_without_one_failed_request(
    namespace: Namespace, guest: LeuloProcess, keep: tuple[str, ...]
) -> None:
    url = f"http://{GUEST}/bytes/1000"
    output = run(namespace, "ab", "-q", "-c", "32", "-n", "3000", *keep, url)
    assert re.search(r"Failed requests:\s+0\b", output), output
    assert re.search(r"Complete requests:\s+3000\b", output), output


def test_256_connections_at_once(namespace: Namespace, guest: LeuloProcess) -> None:
    output = python(
        namespace,
        f"""
streams = [socket.create_connection(("{GUEST}", 80), timeout=60) for _ in range(256)]
for number, stream in enumerate(streams):
    stream.sendall(b"GET /bytes/%d HTTP/1.0\\r\\n\\r\\n" % (number * 100))
total = 0
for number, stream in enumerate(streams):
    data = b""
    while piece := stream.recv(65536):
        data += piece
    check = Checker()
    check.feed(data.partition(b"\\r\\n\\r\\n")[2])
    assert check.count == number * 100
    total += check.count
print(total)
""",
    )
    assert output.strip() == str(sum(n * 100 for n in range(256)))


def test_ping(namespace: Namespace, guest: LeuloProcess) -> None:
    assert namespace.ping(GUEST, count=3) == 3


def test_a_closed_port_refuses_at_once(namespace: Namespace, guest: LeuloProcess) -> None:
    output = python(
        namespace,
        f"""
import time
began = time.monotonic()
try:
    socket.create_connection(("{GUEST}", 4242), timeout=10)
    print("connected")
except ConnectionRefusedError:
    print("refused", time.monotonic() - began < 1)
""",
    )
    assert output.strip() == "refused True"
