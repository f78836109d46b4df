"""Protects the hypervisor's tables: forty thousand short connections over a TAP leave no
connection, timer or byte behind, and tshark finds no fault in what the guest's side sent."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from leulo_process import LeuloProcess
from netns import Namespace

GUEST = "10.77.0.2"
REQUESTS = 20_000
MOST_GROWTH_KIB = 6 * 1024
TIME_WAIT_SECONDS = 60 + 3  # 2 MSL, and a margin for the last timer
WINDOW_FULL = "TCP window specified by the receiver is now completely full"
CHUNK_WARN = 0x600000  # PI_WARN, tshark's severity "warning"; "error" lies above it
RESET = 0x04

pytestmark = [pytest.mark.netns, pytest.mark.compiler, pytest.mark.slow]


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")


def resident_kib(pid: int) -> int:
    """VmRSS of a process, in KiB [Linux proc_pid_status(5)]."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1])


def load(namespace: Namespace) -> None:
    """One connection for each request, four at a time, and not one may fail."""
    url = f"http://{GUEST}/bytes/100"
    shown = namespace.run("ab", "-q", "-c", "4", "-n", str(REQUESTS), url, seconds=110)
    assert re.search(rf"Complete requests:\s+{REQUESTS}\b", shown), shown
    assert re.search(r"Failed requests:\s+0\b", shown), shown
    assert "Non-2xx" not in shown, shown


@pytest.mark.timeout(300)
def test_forty_thousand_connections_leave_nothing_behind(tmp_path: Path) -> None:
    needs("ab")
    path = tmp_path / "counters.json"
    with (
        Namespace("endure") as namespace,
        LeuloProcess(
            "--net", "tap:leulo0", "--counters", str(path), netns=namespace.name
        ) as guest,
    ):  # fmt: skip
        # `ip netns exec` becomes the command that it runs, so the process is Leulo itself.
        command = Path(f"/proc/{guest.process.pid}/cmdline").read_bytes()
        assert b"\0leulo\0boot\0" in command, command
        load(namespace)
        before_kib = resident_kib(guest.process.pid)
        load(namespace)
        after_kib = resident_kib(guest.process.pid)
        print(f"VmRSS {before_kib} KiB after the first round, {after_kib} after the second")
        assert after_kib - before_kib <= MOST_GROWTH_KIB, (before_kib, after_kib)
        # What is waited for is the end of TIME-WAIT [RFC 9293 3.4.1]: no event tells of it.
        with pytest.raises(subprocess.TimeoutExpired):
            guest.process.wait(TIME_WAIT_SECONDS)
        guest.signal(signal.SIGINT)
        assert guest.wait() == 130, guest.transcript()
    counters = json.loads(path.read_text())
    assert counters["tcp.tcp_accepted"] >= 2 * REQUESTS
    left = {
        name: counters[f"tcp.{name}"]
        for name in ("tcp_time_wait", "tcp_connections", "tcp_half_open", "tcp_orphans",
                     "tcp_buffered_bytes", "tcp_timers")
    }  # fmt: skip
    assert left == dict.fromkeys(left, 0)
    assert counters["tcp.tcp_listeners"] == 4
    assert counters["hypercalls.sockets"] == 4 + counters["tcp.udp_sockets"]


def start_capture(namespace: Namespace, path: Path) -> subprocess.Popen[bytes]:
    """tshark at Linux's end of the TAP; it captures when this returns."""
    capture = namespace.start(
        "tshark", "-q", "-i", "leulo0", "-s", "0", "-B", "64", "-w", str(path)
    )
    end = time.monotonic() + 20
    # Once frames are in the file, it captures, however slow its start. Answers do not matter.
    while not (path.exists() and path.stat().st_size > 1000):
        assert capture.poll() is None, capture.stdout and capture.stdout.read()
        assert time.monotonic() < end, "tshark captured nothing in 20 s"
        namespace.ping(GUEST, seconds=0.1)
    return capture


def stop_capture(namespace: Namespace, capture: subprocess.Popen[bytes], path: Path) -> None:
    """End it once the file holds a request made after all others: it is written in order."""
    mark = b"the last request of the capture"
    end = time.monotonic() + 20
    while mark not in path.read_bytes()[-65536:]:
        assert time.monotonic() < end, "the capture never caught up"
        namespace.run("curl", "-sS", "-o", "/dev/null", "-A", mark.decode(), f"http://{GUEST}/")
    capture.send_signal(signal.SIGINT)
    assert capture.wait(20) == 0, capture.stdout and capture.stdout.read()


@pytest.mark.timeout(180)
def test_tshark_finds_nothing_wrong_with_the_guests_side(tmp_path: Path) -> None:
    for program in ("tshark", "curl", "wrk"):
        needs(program)
    path = tmp_path / "tap.pcapng"
    with (
        Namespace("expert") as namespace,
        LeuloProcess("--net", "tap:leulo0", netns=namespace.name),
    ):
        capture = start_capture(namespace, path)
        for length in (0, 1, 1448, 1449, 65_536, 3_000_000):
            size = namespace.run("curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}",
                                 f"http://{GUEST}/bytes/{length}")  # fmt: skip
            assert size == str(length)
        for extra in ((), ("-H", "Connection: close")):
            shown = namespace.run("wrk", "-t", "1", "-c", "8", "-d", "1s", *extra,
                                  f"http://{GUEST}/bytes/100")  # fmt: skip
            assert "Socket errors" not in shown and "Non-2xx" not in shown, shown
        refused = namespace.run("curl", "-sS", f"http://{GUEST}:4242/", is_checked=False)
        assert "refused" in refused or "connect" in refused, refused
        stop_capture(namespace, capture, path)
        shown = namespace.run(
            "tshark", "-r", str(path), "-Y",
            f"ip.src == {GUEST} && _ws.expert.severity >= {CHUNK_WARN}",
            "-T", "fields", "-e", "frame.number", "-e", "tcp.flags", "-e", "tcp.srcport",
            "-e", "tcp.analysis.flags", "-e", "_ws.expert.message", seconds=100,
        )  # fmt: skip
        total = namespace.run("tshark", "-r", str(path), "-Y", f"ip.src == {GUEST} && tcp",
                              "-T", "fields", "-e", "frame.number", seconds=100)  # fmt: skip
    frames = sum(line.strip().isdigit() for line in total.splitlines())
    assert frames > 1000, f"only {frames} segments of the guest were captured"
    findings = []
    resets = 0
    for line in shown.splitlines():
        fields = line.split("\t")
        if len(fields) < 5:  # tshark's own words about running as root
            continue
        if fields[2] == "4242" and int(fields[1], 16) & RESET:
            resets += 1
        elif fields[4] != WINDOW_FULL:  # which is a slow reader's doing
            findings.append(line)
    assert not findings, f"{len(findings)} findings\n" + "\n".join(findings[:20])
    assert resets >= 1, "the capture does not show the closed port's reset: is it complete?"
