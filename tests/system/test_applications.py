"""iperf3, ssh and scp through the engine: their namespace has no way out but our gateway.

Each connection of theirs is one between Linux's TCP and ours, over a TAP or over the worst of
emulated links, joined to one of this computer's to the server. So these programs judge the engine
and `--net user` at once.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from engine_router import GATEWAY, INSIDE, PREFIX_LENGTH, EngineRouter
from link_emulator import LinkEmulator, LinkSpec, open_end, socket_ends
from netns import Namespace

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SERVER = "192.0.2.1"
SSH_PORT, IPERF_PORT = 22, 5201
LISTEN = "0A"  # of /proc/net/tcp

needs_iperf3 = pytest.mark.skipif(
    shutil.which("iperf3") is None, reason="needs iperf3 (Debian: iperf3)"
)
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
needs_ssh = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None,
    reason="needs ssh and sshd (Debian: openssh-client, openssh-server)",
)


@pytest.fixture(scope="module")
def outside() -> Iterator[Namespace]:
    with Namespace("out") as namespace:
        namespace.run("ip", "addr", "add", f"{SERVER}/32", "dev", "lo")
        yield namespace


def wait_for(namespace: Namespace, port: int) -> None:
    """Until somebody listens; he is not disturbed by a connection."""
    deadline = time.monotonic() + 10
    while True:
        rows = [line.split() for line in namespace.run("cat", "/proc/net/tcp").splitlines()[1:]]
        if any(row[3] == LISTEN and int(row[1].split(":")[1], 16) == port for row in rows):
            return
        assert time.monotonic() < deadline, f"nobody listens on {port}"
        time.sleep(0.02)


def lead_out(inside: Namespace) -> None:
    inside.run("ip", "route", "add", "default", "via", GATEWAY)


# ---------------------------------------------------------------- iperf3


@needs_iperf3
def test_iperf3_in_every_way(outside: Namespace) -> None:
    """One stream, four at once, from the server, both ways at once, and datagrams."""
    outside.start("iperf3", "-s", "-B", SERVER)
    wait_for(outside, IPERF_PORT)
    with Namespace("in") as inside, EngineRouter(inside, outside) as router:
        lead_out(inside)

        def iperf3(*words: str) -> dict[str, Any]:
            for _ in range(50):
                shown = inside.run("iperf3", "-J", "-c", SERVER, "-t", "1", *words)
                report: dict[str, Any] = json.loads(shown)
                if "server is busy" not in report.get("error", ""):
                    break
                time.sleep(0.1)  # it has not put the last test away
            assert "error" not in report, report["error"]
            end: dict[str, Any] = report["end"]
            return end

        for words in ([], ["-P", "4"], ["-R"], ["-R", "-P", "4"], ["--bidir"]):
            end = iperf3(*words)
            print(words, f"{end['sum_received']['bits_per_second'] / 1e9:.2f} Gbit/s")
            for stream in end["streams"]:
                assert stream["receiver"]["bytes"] > 100_000, (words, stream)
            # What is not received was on its way at the end.
            assert end["sum_received"]["bytes"] >= 0.5 * end["sum_sent"]["bytes"], words
        sent = iperf3("-u", "-b", "20M", "-l", "1400")["sum"]
        # A busy computer's kernel drops what the server is too slow for; the relay drops nothing.
        assert sent["lost_percent"] < 90, sent
    assert router.counters["udp_from_guest"] >= sent["packets"] > 1000
    assert router.counters["udp_not_sent"] == 0
    assert router.counters["connections_out"] >= 18
    assert router.counters["gateway.tcp_timeouts"] <= 2, router.counters


# ---------------------------------------------------------------- ssh


@dataclass
class Shell:
    """How to reach the server by ssh."""

    options: list[str]
    directory: Path


@pytest.fixture(scope="module")
def shell(outside: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A server of its own, with keys made for it, that lives in the namespace alone."""
    assert SSHD is not None
    directory = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        outside.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name))
    Path("/run/sshd").mkdir(exist_ok=True)  # it will not start without
    (directory / "config").write_text(
        f"Port {SSH_PORT}\nListenAddress {SERVER}\nHostKey {directory}/host\n"
        f"AuthorizedKeysFile {directory}/user.pub\nUsePAM no\nStrictModes no\nPidFile none\n"
        "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    outside.start(SSHD, "-D", "-e", "-f", str(directory / "config"))
    wait_for(outside, SSH_PORT)
    options = ["-F", "none", "-i", str(directory / "user")]
    for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes",
                   "LogLevel=ERROR"):  # fmt: skip
        options += ["-o", option]
    return Shell(options, directory)


def copies_are_whole(inside: Namespace, shell: Shell, size: int) -> None:
    """A command, then a file there and back."""
    assert inside.run("ssh", *shell.options, f"root@{SERVER}", "echo there") == "there\n"
    data = Random(size).randbytes(size)
    sent, copy, back = (shell.directory / name for name in ("sent", "copy", "back"))
    sent.write_bytes(data)
    inside.run("scp", *shell.options, str(sent), f"root@{SERVER}:{copy}")
    assert copy.read_bytes() == data
    inside.run("scp", *shell.options, f"root@{SERVER}:{copy}", str(back))
    assert back.read_bytes() == data
    for path in (sent, copy, back):
        path.unlink()


@needs_ssh
def test_ssh_and_scp(outside: Namespace, shell: Shell) -> None:
    with Namespace("in") as inside, EngineRouter(inside, outside) as router:
        lead_out(inside)
        copies_are_whole(inside, shell, 20_000_000)
    counters = router.counters
    assert counters["connections_out"] == 3
    assert counters["resets"] == 0
    assert counters["gateway.tcp_timeouts"] <= 2


@needs_ssh
def test_ssh_and_scp_over_a_bad_link(outside: Namespace, shell: Shell) -> None:
    """Whatever is lost, doubled, overtaken or spoiled, ssh's own checks find nothing."""
    spec = LinkSpec(
        mbit_s=100, delay_ms=2, loss=0.01, reordering=0.02, reordering_ms=1, duplication=0.01,
        corruption=0.005,
    )  # fmt: skip
    with Namespace("in") as inside:
        link_fd, router_fd = socket_ends()
        with (
            LinkEmulator(open_end(inside, f"{INSIDE}/{PREFIX_LENGTH}"), link_fd, spec) as link,
            EngineRouter(inside, outside, router_fd) as router,
        ):
            lead_out(inside)
            copies_are_whole(inside, shell, 1_000_000)
    assert router.counters["connections_out"] == 3
    assert router.counters["resets"] == 0
    for direction in link.counters:
        assert direction["lost"] > 0 and direction["corrupted"] > 0, direction
