"""The benchmark reads what its programs print, knows its own instruction counts, ends in time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import capstone
import pytest
from rich.console import Console

from leulo.bench import __main__, clients, guests, network, plan, report, stream
from leulo.bench.network import Network
from leulo.errors import EnvironmentProblem, LeuloError

WRK = """\
Running 2s test @ http://10.77.0.2/bytes/100
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.63ms    1.10ms  25.51ms   94.93%
  83166 requests in 2.00s, 20.14MB read
Requests/sec:  41513.79
Transfer/sec:     10.05MB
"""


def test_wrk_s_report_is_read() -> None:
    assert clients.parse_wrk(WRK) == clients.Requests(41513.79, 83166, 0)


def test_every_failed_request_is_counted() -> None:
    text = WRK + "  Socket errors: connect 1, read 20, write 300, timeout 4000\n"
    text += "  Non-2xx or 3xx responses: 50000\n"
    assert clients.parse_wrk(text).failed == 54321


def test_a_report_that_is_none_is_an_error() -> None:
    with pytest.raises(LeuloError, match="unable to connect"):
        clients.parse_wrk("unable to connect to 10.77.0.2:http Connection refused\n")


@pytest.mark.parametrize("guest", [guests.arithmetic(3), guests.hypercalls(3)])
def test_the_guests_machine_code_is_what_its_comments_say(guest: guests.Guest) -> None:
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32)
    code = list(decoder.disasm(guest.code, 0x100010))
    assert sum(one.size for one in code) == len(guest.code), "not all of it is code"
    names = [one.mnemonic for one in code]
    (branch,) = [one for one in code if one.mnemonic == "jne"]
    loop = [one for one in code if int(branch.op_str, 16) <= one.address <= branch.address]
    if "imul" in names:
        assert len(loop) == guests.WORK_INSTRUCTIONS
    else:
        assert [one.mnemonic for one in loop] == ["mov", "out", "dec", "jne"]
    assert (names[11], code[11].op_str) == ("mov", "cr0, eax")


def test_bulk_is_counted_to_the_last_byte_both_ways() -> None:
    taken = 0

    def sink(listener: socket.socket) -> None:
        nonlocal taken
        connection, _ = listener.accept()
        with connection:
            while piece := connection.recv(1 << 16):
                taken += len(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=sink, args=(listener,))
        thread.start()
        count, took_ns = stream.send("127.0.0.1", listener.getsockname()[1], 0.05)
        thread.join(10)
    assert count == taken > 0
    assert took_ns >= 50_000_000


def test_a_source_that_ends_early_is_measured_by_what_came() -> None:
    def source(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(bytes(100_000))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=source, args=(listener,))
        thread.start()
        count, _ = stream.receive("127.0.0.1", listener.getsockname()[1], 5)
        thread.join(10)
    assert count == 100_000


def results() -> plan.Results:
    made = plan.Results(cores=(0, 1), load_average=0.5, mips=900.0, hypercalls=400_000.0)
    made.linux_is = "6.1, bbr"
    made.leulo = {"new": 5e3, "keep": 2e4, "from": 1e9, "to": 5e8}
    made.linux = {"new": 1e4, "keep": 1e5, "from": 2e9, "to": 2e9}
    made.failed = {"new leulo": 3}
    made.account_us = {"new": {"engine": 40.0, "all": 100.0}, "keep": {"engine": 10.0}}
    return made


def test_the_figures_are_json_with_their_ratios() -> None:
    plain = json.loads(json.dumps(report.plain(results())))
    assert plain["linux"] == "6.1, bbr"
    assert plain["figures"]["new"]["ratio"] == 0.5
    assert plain["figures"]["new"]["failed"] == 3
    assert plain["figures"]["keep"]["ratio"] == 0.2
    assert plain["cpu_us_per_request"]["new"]["engine"] == 40.0


def test_the_table_shows_every_figure() -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        report.show(results(), console)
        text = console.export_text()
    for wanted in (
        "900 million",
        "400,000",
        "5,000",
        "10,000 (nginx)",
        "0.50",
        "1,000",
        "40.0",
        "6.1, bbr",
    ):
        assert wanted in text


def test_what_is_below_its_goal_is_said_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    got = results()  # new 0.5, keep 0.2, from 0.5, to 0.25
    assert __main__.judge(got) == 1
    assert capsys.readouterr().err == (
        "bench: missed: new connections: 3 failed; keep-alive requests 0.200 instead of 0.25; "
        "bulk from the guest 0.500 instead of 0.70; bulk to the guest 0.250 instead of 0.70\n"
    )
    assert len(report.plain(got)["missed"]) == 4
    got.failed = {}
    got.leulo = {"new": 4e3, "keep": 25e3, "from": 1.4e9, "to": 1.4e9}  # just the goals
    assert __main__.judge(got) == 0
    got.is_compiled = True
    assert __main__.judge(got) == 1
    assert "instead of 0.55" in capsys.readouterr().err
    got.leulo = got.linux = {}  # --no-network: nothing is compared
    assert __main__.judge(got) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are made as root")
def test_linux_s_congestion_control_is_named_and_can_be_chosen() -> None:
    with Network() as lab:
        assert lab.congestion in Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text()
    with Network("reno") as lab:
        assert lab.congestion == "reno"
        for name in (lab.client, lab.server):
            asked = [*lab.within(name), "cat", "/proc/sys/net/ipv4/tcp_congestion_control"]
            assert subprocess.run(asked, capture_output=True, text=True).stdout == "reno\n"
    lab = Network("nonesuch")
    with pytest.raises(EnvironmentProblem, match="nonesuch: this kernel has .*reno"), lab:
        pass
    names = subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    assert lab.client not in names


def test_what_is_allowed_stays_so_where_one_more_is(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"available": "reno bbr cubic", "allowed": "reno bbr"}
    monkeypatch.setattr(network, "_read", lambda key: here[key.split("_")[1]])
    assert '="reno bbr cubic" adds it' in network._why_not("cubic")


def test_a_time_that_is_too_short_is_refused() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "leulo.bench", "--seconds", "1"], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert "write 10 to 3600" in result.stderr
