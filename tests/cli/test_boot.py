"""``leulo boot`` with the real guest: how a run ends, what it leaves, and that keys arrive."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from leulo.hypercalls import abi
from leulo.outcome import PANIC_STATUS

BOOT = [sys.executable, "-m", "leulo", "boot", "--net", "none"]
PROMPT = b"leulo$ "


def boot(*flags: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """A whole run in pipes."""
    source: dict[str, object] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run([*BOOT, *flags], capture_output=True, timeout=60, **source)  # type: ignore[call-overload, no-any-return]


def read_until(fd: int, wanted: bytes, seconds: float = 20) -> bytes:
    """What a descriptor gives up to ``wanted``."""
    got = b""
    end = time.monotonic() + seconds
    while wanted not in got:
        left = end - time.monotonic()
        assert left > 0, f"{wanted!r} did not come; this did: {got!r}"
        if select.select([fd], [], [], left)[0]:
            piece = os.read(fd, 4096)
            assert piece, f"the end came before {wanted!r}: {got!r}"
            got += piece
    return got


def test_the_guest_s_poweroff_is_0_and_typed_commands_come_through_a_pipe() -> None:
    result = boot("--timeout", "20", stdin=b"help\npoweroff\n")
    assert result.returncode == 0, result.stderr
    assert b"poweroff      ends the machine" in result.stdout
    assert b"the guest switched itself off" in result.stderr


@pytest.mark.parametrize("status", [3, 5, 255])
def test_the_status_that_the_first_process_ends_with_is_told(status: int) -> None:
    """Protects: 3 is a status as any other, and not taken for a panic of the kernel."""
    words = ("--append", "init=/bin/sh", "--timeout", "20", "--json")
    result = boot(*words, stdin=b"exit %d\n" % status)
    found = last_json(result)
    assert (found["ending"], found["guest_status"]) == ("failed", status)
    assert found["explanation"] == f"its exit status was {status}"
    assert found["exit_code"] == result.returncode == 1


def test_a_panic_is_a_fault_whose_report_is_on_the_console() -> None:
    result = boot("--append", "provoke=division", "--timeout", "20", "--json")
    found = last_json(result)
    assert (found["ending"], result.returncode) == ("fault", 3)
    assert found["guest_status"] == PANIC_STATUS > 255
    assert b"*** kernel panic: divide error" in result.stdout


def test_the_end_of_stdin_does_not_end_the_run_but_the_timeout_does() -> None:
    began = time.monotonic()
    result = boot("--timeout", "1")
    assert result.returncode == 4
    assert time.monotonic() - began >= 1
    assert b"the time given is over" in result.stderr


def test_counters_that_cannot_be_written_are_told_before_the_run(tmp_path: Path) -> None:
    result = boot("--timeout", "1", "--counters", str(tmp_path / "none" / "c.json"))
    assert (result.returncode, result.stdout) == (5, b"")
    assert b"--counters" in result.stderr


def test_accounting_is_shown_at_the_end_when_it_was_asked_for() -> None:
    result = boot("--max-ticks", "1000000", "--accounting")
    assert result.returncode == 4, result.stderr
    assert b"--- counters at " in result.stderr
    assert b"exits.port:" in result.stderr
    assert b"account: guest_ns " in result.stderr
    assert b"--- counters" not in boot("--max-ticks", "1000000").stderr


def test_so_many_ticks_and_no_more() -> None:
    result = boot("--max-ticks", "1000000", "--clock", "virtual")
    assert result.returncode == 4
    assert b"1 000 0" in result.stderr


def test_stdout_is_the_console_alone_and_stderr_ends_with_a_line_of_counters() -> None:
    result = boot("--timeout", "1")
    lines = result.stderr.decode().splitlines()
    assert b"ready:" not in result.stdout
    assert [line for line in lines if line.startswith("ready: ")] == ["ready: http://10.0.2.15/"]
    assert "paravirt" in lines[0]
    assert "hypercalls" in lines[-2]


def test_trace_log_counters_and_capture_are_written(tmp_path: Path) -> None:
    trace, counters, capture = tmp_path / "t.jsonl", tmp_path / "c.json", tmp_path / "p.pcapng"
    result = boot(
        "--timeout", "20", "--trace", str(trace), "--counters", str(counters),
        "--pcap", str(capture), "--log", "console.*", stdin=b"poweroff\n",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    names = {json.loads(line)["event"] for line in trace.read_text().splitlines()}
    assert "console.output" in names
    assert any(name.startswith("hypercall") for name in names)
    found = json.loads(counters.read_text())
    assert found["cpu.ticks"] > 0
    assert found["account.guest_ns"] > 0
    assert capture.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    assert b"console.output" in result.stderr


def last_json(result: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """The object that ``--json`` leaves as the last line of stderr."""
    found = json.loads(result.stderr.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def test_what_the_scripted_client_did_not_get_is_in_json_too() -> None:
    result = boot("--net", "sim:requests=2,path=/nowhere", "--clock", "virtual", "--json")
    found = last_json(result)
    assert (found["ending"], found["exit_code"], result.returncode) == ("finished", 1, 1)
    assert found["explanation"].startswith("0 of 2 requests were answered in full; ")
    assert "status 404" in found["explanation"]


def test_without_a_dhcp_server_it_says_so_and_is_not_ready() -> None:
    result = boot("--ip", "dhcp", "--timeout", "6")
    said = result.stderr.decode()
    assert said.count("dhcp: no server has answered yet; the guest goes on asking") == 1
    assert "ready:" not in said
    assert result.returncode == 4


def test_json_tells_how_it_ended_and_every_tick_is_accounted_for() -> None:
    result = boot("--timeout", "20", "--json", stdin=b"poweroff\n")
    found = last_json(result)
    assert (found["ending"], found["exit_code"], result.returncode) == ("power_off", 0, 0)
    counters = found["counters"]
    levels = counters["cpu.ticks_cpl_0"] + counters["cpu.ticks_cpl_3"]
    assert counters["cpu.ticks_cpl_3"] > 1000, "the shell runs in ring 3"
    assert levels + 16 * counters["cpu.exceptions"] == counters["cpu.ticks"]
    assert {f"cpu.ticks_cpl_{n}" for n in range(4)} < set(counters), "a zero has its key too"
    assert {f"pic.irq_{n}" for n in range(16)} < set(counters)
    assert {f"exits.hypercall.{op.name.lower()}" for op in abi.Op} < set(counters)
    calls = sum(value for name, value in counters.items() if name.startswith("exits.hypercall."))
    assert calls == counters["hypercalls.calls"] > 0
    assert counters["exits.port.hypercall_gate"] >= calls
    assert counters["exits.port.uart_com1"] > 100
    assert counters["pic.irq_4"] >= 1, "what was typed came by the UART's interrupt"
    lines = sum(value for name, value in counters.items() if name.startswith("pic.irq_"))
    assert lines == counters["pic.interrupts"] - counters["pic.spurious"]


def test_an_idle_guest_is_woken_by_its_own_clock_and_nothing_else() -> None:
    """Protects: no part of the program looks again and again whether something has happened."""
    counters = last_json(boot("--timeout", "2", "--json"))["counters"]
    assert counters["host.woken"] == 0
    assert counters["host.rests"] <= counters["pic.irq_0"] + 5, counters
    assert counters["host.idle_ns"] > 1_000_000_000


def test_accounting_changes_nothing_of_a_virtual_run() -> None:
    flags = ("--clock", "virtual", "--max-ticks", "4000000")
    plain, counted = boot(*flags), boot(*flags, "--accounting")
    assert plain.stdout == counted.stdout != b""
    before, _, table = counted.stderr.partition(b"--- counters at ")
    counted_stderr = before + table.partition(b"\n---\n")[2]

    def without_seconds(text: bytes) -> bytes:
        return re.sub(rb"[0-9.]+ s, ", b"", text)

    assert without_seconds(plain.stderr) == without_seconds(counted_stderr)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "cannot be read"),
        (b"", ""),
        (b"\x7fELF", ""),
        (b"#!/bin/sh\nexit 1\n", ""),
        (bytes(100_000), ""),
    ],
)
def test_a_wrong_image_is_one_sentence_that_names_it(
    content: bytes | None, word: str, tmp_path: Path
) -> None:
    image = tmp_path / "wrong.img"
    if content is not None:
        image.write_bytes(content)
    result = subprocess.run(
        [sys.executable, "-m", "leulo", "boot", str(image), "--net", "none"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=30,
    )  # fmt: skip
    assert result.returncode == 2
    said = result.stderr.decode().splitlines()
    assert len(said) == 1
    assert "wrong.img" in said[0]
    assert word in said[0]


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGHUP, 130)],
)
@pytest.mark.parametrize("guest", ["idle", "busy"])
def test_a_signal_ends_the_run_at_once(number: signal.Signals, status: int, guest: str) -> None:
    process = subprocess.Popen(
        BOOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        read_until(process.stdout.fileno(), PROMPT)
        if guest == "busy":  # a shell that runs commands without end
            process.stdin.write(b"ls\n" * 5000)
            process.stdin.flush()
            read_until(process.stdout.fileno(), b"bin/")
        began = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == status
        assert b"interrupted" in errors
        assert b"Traceback" not in errors
        assert time.monotonic() - began < 2, "far more than the tenth of a second promised"
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_on_a_terminal_ctrl_c_is_the_guest_s_and_the_escape_key_ends_it() -> None:
    pid, outer = pty.fork()
    if pid == 0:
        os.execv(sys.executable, BOOT)
    try:
        read_until(outer, PROMPT)
        assert not termios.tcgetattr(outer)[3] & termios.ICANON
        os.write(outer, b"chargen\r")
        os.write(outer, b"\x03")
        read_until(outer, PROMPT)
        os.write(outer, b"\x01h")
        read_until(outer, b"end the run")
        os.write(outer, b"\x01c")
        read_until(outer, b"look again")
        os.write(outer, b"help\r")
        read_until(outer, b"ends the machine")
        os.write(outer, b"\x01c")
        shown = read_until(outer, b"total_ns ")
        for name in (b"exits.port:", b"ticks_cpl_0 ", b"ticks_cpl_3 ", b"guest_ns ", b"engine_ns "):
            assert name in shown, name
        os.write(outer, b"\x01x")
        read_until(outer, b"ended from the console")
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        pid = 0
        assert status == 0
        assert termios.tcgetattr(outer)[3] & termios.ICANON
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(outer)


def test_the_serial_port_on_tcp_is_a_console_of_its_own() -> None:
    """Protects: the guest's bytes go there and not to stdout, and what is typed there arrives."""
    process = subprocess.Popen(
        [*BOOT, "--serial", "tcp:0", "--timeout", "30"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said = read_until(process.stderr.fileno(), b"the serial port is on 127.0.0.1:")
        said += read_until(process.stderr.fileno(), b"\n") if not said.endswith(b"\n") else b""
        port = int(said.partition(b"port is on 127.0.0.1:")[2].split()[0])
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            read_until(client.fileno(), PROMPT)
            client.sendall(b"poweroff\n")
            out, _ = process.communicate(timeout=20)
        assert (process.returncode, out) == (0, b"")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_the_serial_port_on_a_file_and_a_machine_file_that_says_so(tmp_path: Path) -> None:
    machine = tmp_path / "lab.toml"
    machine.write_text('serial = "console.txt"\nnet = "none"\ntimeout = "1s"\nname = "lab"\n')
    result = subprocess.run(
        [sys.executable, "-m", "leulo", "boot", str(machine)],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (4, b""), result.stderr
    assert PROMPT in (tmp_path / "console.txt").read_bytes()


def test_a_reader_of_the_console_that_goes_away_ends_the_run() -> None:
    process = subprocess.Popen(
        BOOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    try:
        _, errors = process.communicate(timeout=20)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert b"Traceback" not in errors
    assert b"bug" not in errors


def test_doctor_says_that_boot_can_work_here() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "leulo", "doctor"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout
    assert "CPU self-test" in result.stdout
    assert "NO" not in result.stdout.split()


@pytest.mark.compiler
def test_doctor_and_image_build_report_in_json_too(tmp_path: Path) -> None:
    def report(*words: str) -> dict[str, Any]:
        result = subprocess.run(
            [sys.executable, "-m", "leulo", *words, "--json"],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        found = json.loads(result.stdout)
        assert isinstance(found, dict)
        return found

    doctor = report("doctor")
    assert doctor["can_boot"] is True
    verdicts = {row["what"]: row["verdict"] for row in doctor["findings"]}
    assert verdicts["CPU self-test"] == "good"
    built = report("image", "build", "-o", str(tmp_path))
    content = Path(built["path"]).read_bytes()
    assert built["bytes"] == len(content)
    assert built["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_run_that_is_refused_leaves_an_older_trace_as_it_was(tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    trace.write_text("precious\n")
    for words in (("--net", "sim:script=nosuch.toml"), ("--serial", str(tmp_path))):
        assert boot("--trace", str(trace), *words).returncode != 0
        assert trace.read_text() == "precious\n", words


def test_a_script_is_taken_from_the_folder_of_the_machine_file(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[[change]]\nat = "5s"\nloss = 0.1\n')
    machine = tmp_path / "m.toml"
    machine.write_text('net = "sim:requests=1, script=s.toml"\nclock = "virtual"\n')
    leulo = sys.executable, "-m", "leulo"
    subprocess.run([*leulo, "boot", str(machine)], stdin=subprocess.DEVNULL, check=True, timeout=60)
    show = [*leulo, "machine", "show", str(machine)]
    shown = subprocess.run(show, capture_output=True, check=True).stdout
    assert f"script={tmp_path}/s.toml".encode() in shown


def test_a_trace_in_real_time_has_the_exits_and_nothing_of_an_older_one(tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    trace.write_text("older\n")
    boot("--timeout", "1", "--trace", str(trace))
    names = {json.loads(line)["event"] for line in trace.read_text().splitlines()}
    assert "exit.port" in names
