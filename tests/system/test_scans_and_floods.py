"""nmap and hping3 against the engine over a TAP, and nmap against Linux beside it in the same run.

What nmap learns of the engine is what it learns of Linux; scans leave nothing in any table; floods
and odd packets leave the service up and memory where it was.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from engine_process import ADDRESS, EngineProcess
from http_checks import check_body, get
from linux_peer import LinuxServer
from netns import Namespace
from tcp_segments import TcpRepr

from leulo.net.wire.tcp import SYN

pytestmark = [pytest.mark.netns, pytest.mark.slow]

LINUX = "10.78.0.2"
HALF_OPEN_LIMIT = 1024  # `Config.half_open_limit`
MOST_GROWTH_KIB = 8 * 1024
FLOOD_SECONDS = 3

needs_nmap = pytest.mark.skipif(shutil.which("nmap") is None, reason="needs nmap (Debian: nmap)")
needs_hping3 = pytest.mark.skipif(
    shutil.which("hping3") is None, reason="needs hping3 (Debian: hping3)"
)


@pytest.fixture(scope="module")
def attacker() -> Iterator[Namespace]:
    """Where nmap and hping3 run: the engine's TAP is there, and veth to Linux."""
    with Namespace("scan") as namespace, Namespace("linux") as linux:
        namespace.add_veth(linux, ("10.78.0.1/24", f"{LINUX}/24"))
        with LinuxServer(linux):
            yield namespace


@pytest.fixture(scope="module")
def engine(attacker: Namespace) -> Iterator[EngineProcess]:
    with EngineProcess(attacker) as process:
        yield process


def serves(attacker: Namespace) -> None:
    body = attacker.inside(lambda: get((ADDRESS, 80), "/bytes/100000"))
    check_body(body, 100_000)


def settle(engine: EngineProcess) -> dict[str, int]:
    """The counters, once nothing is left of what was going on; fails if something stays."""
    deadline = time.monotonic() + 10
    while True:
        counters = engine.ask()
        left = {
            name: count
            for name in ("tcp_connections", "tcp_half_open", "tcp_orphans", "tcp_buffered_bytes")
            if (count := counters[f"stack.{name}"])
        }
        if not left:
            # What is open is what was at the beginning: one socket for each listener.
            assert counters["stack.tcp_sockets"] == counters["stack.tcp_listeners"]
            return counters
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


# ---------------------------------------------------------------- nmap


@needs_nmap
def test_nmap_cannot_tell_the_engine_from_linux(attacker: Namespace, engine: EngineProcess) -> None:
    """Sequence numbers as hard to guess, no IP identification to count, timestamps at a rate,
    and each odd probe answered as Linux answers it."""
    words = ["nmap", "-n", "-Pn", "-O", "-vv", "-d", "--max-os-tries", "1", "-p", "80,81"]
    with ThreadPoolExecutor(2) as pool:
        ours, linux = pool.map(lambda to: attacker.run(*words, to), (ADDRESS, LINUX))
    difficulties = [
        int(found[1])
        for shown in (ours, linux)
        if (found := re.search(r"TCP Sequence Prediction: Difficulty=(\d+)", shown))
    ]
    print(f"difficulty {difficulties[0]}, Linux's {difficulties[1]}")
    # Each is the spread of six differences, on a scale of eight for a doubling.
    assert difficulties[0] >= difficulties[1] - 32, difficulties
    assert "IP ID Sequence Generation: All zeros" in ours
    mine, theirs = fingerprint(ours), fingerprint(linux)
    assert mine.pop("SCAN") and theirs.pop("SCAN")
    sequences = [dict(part.split("=") for part in f.pop("SEQ").split("%")) for f in (mine, theirs)]
    for name in ("TI", "CI", "II"):
        assert sequences[0][name] == sequences[1][name]
    assert 0x1E <= int(sequences[0]["TS"], 16) <= 0x24, sequences  # about 1,000 a second
    # The factor of the window depends on how large a buffer may become.
    mine, theirs = ({k: re.sub(r"NW\w", "NW*", v) for k, v in f.items()} for f in (mine, theirs))
    assert mine == theirs


def fingerprint(shown: str) -> dict[str, str]:
    """nmap's tests by name."""
    text = "".join(line[3:] for line in shown.splitlines() if line.startswith("OS:"))
    tests = dict(re.findall(r"(\w+)\(([^)]*)\)", text))
    assert len(tests) >= 13, shown
    return tests


@needs_nmap
@pytest.mark.parametrize("scan", ["-sS", "-sT", "-sX", "-sN", "-sF", "-sA", "-sW", "-sM"])
def test_scan_sees_what_it_sees_of_linux_and_leaves_nothing(
    attacker: Namespace, engine: EngineProcess, scan: str
) -> None:
    words = ["nmap", "-n", "-Pn", scan, "-p", "79-83,5001"]
    with ThreadPoolExecutor(2) as pool:
        ours, linux = pool.map(lambda to: attacker.run(*words, to), (ADDRESS, LINUX))
    assert ports_of(ours) == ports_of(linux) != []
    settle(engine)
    serves(attacker)


def ports_of(shown: str) -> list[tuple[str, str]]:
    """Ports and states in nmap's table; "all are ..." counts as one."""
    ports = re.findall(r"^(\d+)/tcp\s+(\S+)", shown, re.MULTILINE)
    return ports or re.findall(r"(All \d+) scanned ports on \S+ are (.*)", shown)


@needs_nmap
def test_service_scan_recognises_the_services(attacker: Namespace, engine: EngineProcess) -> None:
    shown = attacker.run(
        *["nmap", "-n", "-Pn", "-sV", "--version-intensity", "2", "-p", "7,19"], ADDRESS
    )
    assert re.search(r"^7/tcp\s+open\s+echo", shown, re.MULTILINE), shown
    assert re.search(r"^19/tcp\s+open\s+chargen", shown, re.MULTILINE), shown
    settle(engine)


# ---------------------------------------------------------------- hping3

ODD = {
    "xmas": "-F -S -R -P -A -U -X -Y -p 80",
    "fin, psh, urg": "-F -P -U -p 80",
    "null": "-p 80",
    "syn and fin": "-S -F -p 80",
    "syn with data": "-S -p 80 -d 1400",
    "closed port": "-S -p 4242",
    "ack out of nowhere": "-A -p 80 -d 1000 -w 0",
    "fragments": "-S -p 80 -f -d 400",
    "first fragments that stay alone": "-S -x -p 80",
    "a fragment far off": "-S -g 8 -p 80",
    "bad checksum": "-S -b -p 80",
    "header too long": "-S -p 80 -O 15",
    "source route": "--lsrr 10.77.0.1 -S -p 80",
    "from itself": f"-S -p 80 -a {ADDRESS}",
    "from a group": "-S -p 80 -a 224.0.0.1",
    "echo": "-1 -d 1400",
    "timestamp request": "-1 -C 13",
    "mask request": "-1 -C 17",
    "closed datagrams": "-2 -p 4242 -d 100",
    "no protocol": "-0 -H 255 -d 64",
}


@needs_hping3
def test_odd_packets_do_no_harm(attacker: Namespace, engine: EngineProcess) -> None:
    """A hundred of each kind, all kinds at once (fewer where hping3 takes the answers to another
    for its own)."""
    serves(attacker)
    assert attacker.ping(ADDRESS, size=1400) == 1  # NumPy is there from now on
    before = settle(engine)
    children = [
        attacker.start("hping3", "-q", "-c", "100", "-i", "u5000", *words.split(), ADDRESS)
        for words in ODD.values()
    ]
    serves(attacker)
    for child in children:
        child.wait(30)
    serves(attacker)
    after = settle(engine)
    sent = after["link.frames_in"] - before["link.frames_in"]
    assert sent >= 40 * len(ODD), "the packets did not arrive"
    for drop in ("checksum", "tcp_listen_neither", "ipv4_source_route", "icmp_kind"):
        count = after[f"stack.drop_{drop}"] - before.get(f"stack.drop_{drop}", 0)
        assert count >= 10, drop
    assert after["rss_kb"] - before["rss_kb"] < MOST_GROWTH_KIB


def test_options_of_every_length_do_no_harm(attacker: Namespace, engine: EngineProcess) -> None:
    """SYNs whose forty bytes of options are cut, overlong or meaningless."""
    before = settle(engine)
    odd = [
        [(kind, bytes(length))] for kind in (0, 1, 2, 3, 4, 5, 8, 19, 34, 254) for length in (0, 38)
    ]
    source, target = socket.inet_aton("10.77.0.1"), socket.inet_aton(ADDRESS)
    with attacker.entered():
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    with raw:
        for number, options in enumerate(odd):
            for port in (80, 81):
                segment = TcpRepr(20_000 + number, port, number, 0, SYN, 1000, options=options)
                raw.sendto(segment.emit(source, target), (ADDRESS, 0))
    serves(attacker)
    after = settle(engine)
    assert after["stack.segments_in"] - before["stack.segments_in"] >= 2 * len(odd)


@needs_hping3
def test_syn_flood_does_not_stop_a_client(attacker: Namespace, engine: EngineProcess) -> None:
    """SYNs from everywhere for some seconds; a client asks all the time, and is always served.
    [RFC 4987 3.6]"""
    serves(attacker)
    before = engine.ask()
    flood = attacker.start("hping3", "-q", "-S", "-p", "80", "--rand-source", "-i", "u100", ADDRESS)
    slowest = served = 0.0
    end = time.monotonic() + FLOOD_SECONDS
    while time.monotonic() < end:
        began = time.monotonic()
        body = attacker.inside(lambda: get((ADDRESS, 80), "/bytes/1000"))
        check_body(body, 1000)
        slowest = max(slowest, time.monotonic() - began)
        served += 1
    after = engine.ask()
    flood.send_signal(signal.SIGINT)
    flood.wait(10)
    syns = after["stack.segments_in"] - before["stack.segments_in"]
    print(f"{served:.0f} served among {syns} segments, the slowest in {slowest * 1e3:.0f} ms")
    assert served > 50
    assert slowest < 2
    assert after["stack.syn_cookies_sent"] > before["stack.syn_cookies_sent"]
    assert after["stack.tcp_half_open"] <= HALF_OPEN_LIMIT
    assert after["rss_kb"] - before["rss_kb"] < MOST_GROWTH_KIB
