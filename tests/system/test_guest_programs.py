"""The guest's own programs, through the whole machine: what they print, and what the host sees."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from http_checks import check_body, get
from leulo_process import LeuloProcess

pytestmark = pytest.mark.compiler
BODY = bytes(range(256)) * 2000


@contextmanager
def host_server() -> Iterator[tuple[int, list[int]]]:
    """A server on the host: GET gets BODY, anything else is counted. (port, counts)"""
    counts: list[int] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(20)
                data = client.recv(65536)
                if data.startswith(b"GET /short"):
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nshort")
                    continue
                if data.startswith(b"GET"):
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n"
                    client.sendall(head.encode() + BODY)
                    continue
                count = len(data)
                while data := client.recv(1 << 20):
                    count += len(data)
                counts.append(count)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1], counts
        listener.shutdown(socket.SHUT_RDWR)


def command(process: LeuloProcess, line: str) -> str:
    """What the shell's answer to a line is, up to its next prompt."""
    before = len(process.console)
    process.type(line + "\n")
    for _ in range(200):
        process._collect(0.1)
        text = process.console[before:].decode("latin-1").replace("\r", "")
        if "leulo$ " in text.partition(line + "\n")[2]:
            return text
    raise AssertionError(f"{line}: no prompt again\n{process.transcript()}")


def test_clients_reach_the_host() -> None:
    with (
        host_server() as (port, counts),
        LeuloProcess("--host-loopback", "--publish", "none") as process,
    ):
        process.expect_services()
        said = command(process, f"fetch http://10.0.2.2:{port}/ | wc")
        assert f"{BODY.count(10)} lines, {len(BODY)} bytes" in said
        assert f"fetch: {len(BODY)} bytes in" in said
        said = command(process, f"fetch -q 10.0.2.2:{port}/short")
        assert "did not come whole" in said
        assert "status 1" in said
        said = command(process, f"ttcp -t 10.0.2.2:{port} 3")
        assert f"ttcp: sent: {3 << 20} bytes" in said
        assert counts == [3 << 20]
        assert "Connection refused" in command(process, "fetch 10.0.2.2:1/")
        for wrong in ("1.2.3", "1.2.3.4.5", "1.2.3.999", "1.2.3.4:99999", "-1.2.3.4"):
            assert "is not an address" in command(process, f"fetch {wrong}"), wrong
        assert re.search(r"tcp +\[::\]:80 +- +LISTEN +\d+/httpd", command(process, "netstat"))
        assert command(process, "ps").count("httpd") == 1


def test_ttcp_counts_what_the_host_sends_to_it() -> None:
    port = free_port()
    with LeuloProcess("--publish", f"{free_port()}:80,{port}:5001") as process:
        process.expect_services()
        process.type("ttcp -r\n")
        process.expect("ttcp: waits on port 5001")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
            stream.sendall(bytes(3_000_001))
        process.expect("ttcp: received: 3000001 bytes in")
        assert "3000001" not in command(process, "ttcp -x"), "a wrong flag is explained"


@pytest.mark.parametrize("percent", [20, 70])
def test_burn_takes_the_share_that_it_is_told(percent: int) -> None:
    """By its own account and by the host's, which saw the CPU idle for the rest."""
    result = subprocess.run(
        [sys.executable, "-m", "leulo", "boot", "--clock", "virtual", "--net", "none", "--json",
         "--append", "init=/bin/sh", "--timeout", "60"],
        input=f"burn {percent} 2\npoweroff\n".encode(), capture_output=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    told = re.search(rb"burn: (\d+) per cent of (\d+) ms", result.stdout)
    assert told is not None, result.stdout
    assert abs(int(told[1]) - percent) <= 2
    assert 2_000 <= int(told[2]) < 2_100
    idle_s = json.loads(result.stderr.splitlines()[-1])["counters"]["host.idle_ns"] / 1e9
    assert abs(idle_s - 2 * (100 - percent) / 100) < 0.1


def test_the_status_of_init_is_the_machines() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "leulo", "boot", "--clock", "virtual", "--net", "none",
         "--append", "init=/bin/sh", "--timeout", "60"],
        input=b"exit 4\n", capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert b"sh has ended with status 4: power off" in result.stdout
    assert b"its exit status was 4" in result.stderr and result.returncode == 1


def test_www_is_served_by_sendfile_too(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    (tmp_path / "large.bin").write_bytes(BODY)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with LeuloProcess("--www", str(tmp_path), "--publish", f"{port}:80") as process:
        assert process.ready_line
        assert get(("127.0.0.1", port), "/") == b"mine"
        for _ in range(3):
            assert get(("127.0.0.1", port), "/large.bin") == BODY


def test_ctrl_c_ends_a_pipeline_and_not_the_shell() -> None:
    with LeuloProcess("--publish", "none") as process:
        process.expect_services()
        process.type("ttcp -r | cat | cat\n")
        process.expect("ttcp: waits on port 5001")
        process.type("\x03")
        process.expect("^C")
        said = command(process, "ps")
        assert "ttcp" not in said
        assert command(process, "echo still here").count("still here") == 2


def test_a_job_in_the_background_neither_takes_nor_drops_the_terminal() -> None:
    with LeuloProcess("--publish", "none") as process:
        process.expect_services()
        command(process, "sh -c 'ttcp -r' &")
        process.expect("ttcp: waits on port 5001")
        process.type("\x03")
        process.expect("^C")
        assert "ttcp" in command(process, "ps"), "^C at the prompt ends nobody"
        command(process, "sh -c 'burn 10 1' &")
        process.type("ttcp -r 5002\n")
        process.expect("ttcp: waits on port 5002")
        process.expect(" per cent of ")  # it ends, and its shell, while the other has the terminal
        process.type("\x03")
        process.expect("ended by signal 2")
        assert command(process, "ps").count("ttcp") == 1, "that in the background"


def test_ctrl_c_at_the_prompt_of_a_shell_in_a_shell_ends_neither() -> None:
    with LeuloProcess("--publish", "none") as process:
        process.expect_services()
        command(process, "sh")
        for port in (5001, 5002):
            process.type("\x03")
            assert command(process, "ps").count(" sh\n") == 2
            process.type(f"ttcp -r {port}\n")
            process.expect(f"waits on port {port}")
            process.type("\x03")
            for _ in range(100):
                if process.console.count(b"ended by signal 2") == port - 5000:
                    break
                process._collect(0.1)
            assert process.console.count(b"ended by signal 2") == port - 5000
        command(process, "exit")
        assert command(process, "ps").count(" sh\n") == 1


def test_a_line_ends_with_the_status_of_what_the_shell_does_itself() -> None:
    with LeuloProcess("--publish", "none") as process:
        process.expect_services()
        for line in ("cat /nope", "rm /nope", "ls /nope", "kill 0"):
            assert "ended with status 1" in command(process, f"sh -c '{line}'"), line
        for line in ("cat /www/index.html", "ls /www", "echo a", "ps"):
            assert "status" not in command(process, f"sh -c '{line}'"), line
        assert "ttcp: write" in command(process, "ttcp -r -x")
        assert "init" in command(process, "ps aux"), "what it does not know harms nothing"


def test_ctrl_c_ends_a_shell_that_reads_a_pipe_and_not_the_one_before_it() -> None:
    with LeuloProcess("--publish", "none") as process:
        process.expect_services()
        process.type("echo ttcp -r | sh\n")
        process.expect("ttcp: waits on port 5001")
        process.type("\x03")
        process.expect("ended by signal 2")
        assert "still here" in command(process, "echo still here").partition("\n")[2]


@pytest.mark.parametrize("reader", ["cat", "wc"])
def test_ctrl_c_ends_a_command_of_the_shell_that_reads_the_console(reader: str) -> None:
    with LeuloProcess("--publish", "none") as process:
        process.expect_services()
        process.type(f"{reader}\n")
        for _ in range(20):  # nothing shows that it reads by now: the shell takes no harm from one
            with suppress(AssertionError):
                process.type("\x03")
                process.expect("ended by signal 2", seconds=0.5)
                break
        process.expect("ended by signal 2")
        assert command(process, "echo still here").count("still here") == 2


@pytest.mark.parametrize("events", ["2", "4096"])
def test_past_its_quota_of_sockets_a_guest_gets_an_errno_and_goes_on(events: str) -> None:
    """Four servers have six sockets, so eight are all taken when two clients are served."""
    quotas = ("--max-sockets", "8", "--max-events", events, "--max-buffers", "256K")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with LeuloProcess(*quotas, "--publish", f"{port}:7") as process:
        process.expect_services()
        streams = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(2)]
        for stream in streams:
            stream.sendall(b"x" * 100_000)
            got = 0
            while got < 100_000:
                got += len(stream.recv(1 << 16))
        assert "Too many open files" in command(process, "fetch 10.0.2.2:80/")
        for stream in streams:
            stream.close()
        for _ in range(50):
            said = command(process, "ping -c 1 127.0.0.1")
            if "1 received" in said:
                break
        assert "1 received" in said


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_body_far_larger_than_all_buffers_comes_whole() -> None:
    """ENOBUFS is no end of a connection: what is acknowledged makes room."""
    port = free_port()
    with LeuloProcess("--max-buffers", "64K", "--publish", f"{port}:80") as process:
        assert process.ready_line
        check_body(get(("127.0.0.1", port), "/bytes/1500000"), 1_500_000)


def test_a_client_that_sends_more_than_all_buffers_hold_waits() -> None:
    with (
        host_server() as (port, counts),
        LeuloProcess("--host-loopback", "--max-buffers", "64K", "--publish", "none") as process,
    ):
        process.expect("leulo$ ")
        assert f"ttcp: sent: {2 << 20} bytes" in command(process, f"ttcp -t 10.0.2.2:{port} 2")
        assert counts == [2 << 20]


def test_a_server_that_cannot_accept_does_not_spin(tmp_path: Path) -> None:
    """All sockets are taken by others, so no close of its own will ever make room."""
    port, counters = free_port(), tmp_path / "counters.json"
    words = ("--max-sockets", "6", "--publish", f"{port}:80", "--counters", str(counters))
    with LeuloProcess(*words) as process:
        process.expect_services()
        before = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
            stream.settimeout(1)
            with pytest.raises(TimeoutError):
                stream.recv(1)
        process.process.send_signal(signal.SIGINT)
        assert process.process.wait(10) == 130
        lasted_s = time.monotonic() - before
    ticks = json.loads(counters.read_text())["cpu.ticks"]
    assert ticks < 100_000_000 * lasted_s, "it was busy all the time"


def test_one_line_for_the_shell_ends_with_the_status_of_its_last_program() -> None:
    with LeuloProcess("--publish", "none") as process:
        process.expect_services()
        assert "ended with status 4" in command(process, "sh -c 'exit 4'")
        said = command(process, "sh -c 'ls /www | wc'")
        assert "3 lines" in said and "status" not in said
        assert "ended with status 1" in command(process, "sh -c ttcp")
        said = command(process, "sh -c 'ttcp | cat'")
        assert "ttcp: write" in said and "status" not in said, "the last one's, which is 0"
        assert "ended with status 2" in command(process, "sh -x")
        process.type("sh -c 'ttcp -r'\n")
        process.expect("ttcp: waits on port 5001")  # so ^C is the program's, not the shell's
        process.type("\x03")
        process.expect("ended with status 130")


def test_a_line_may_be_the_first_program_and_its_status_the_machine_s() -> None:
    for line, code in (("ls", 0), ("ttcp", 1)):
        words = ("--append", f"init=/bin/sh,-c,{line}", "--publish", "none")
        with LeuloProcess(*words, wait_ready=False) as process:
            assert process.wait() == code, process.transcript()
            assert f"sh has ended with status {code}" in process.transcript()


def test_control_u_takes_back_what_was_typed_and_no_more() -> None:
    with LeuloProcess("--publish", "none") as process:
        process.expect_services()
        process.type("\x15\x7frubbish\x15echo onl\x7fly \x7f this\n")
        process.expect("only this")  # the echo has blanks where it took something back
        assert b"no such program" not in process.console


def test_the_shell_refuses_in_words_and_harms_nobody() -> None:
    with LeuloProcess("--publish", "none") as process:
        process.expect_services()
        assert "abc: No such process" in command(process, "kill abc"), "0 would be a whole group"
        assert "0: No such process" in command(process, "kill 0 -5")
        assert command(process, "ps").count("httpd") == 1
        assert "/tmp: Device or resource busy" in command(process, "rmdir /tmp")
        said = command(process, "x" * 254 + " echo second half")
        assert "more than 254 characters" in said and "leulo$ second half" not in said
        assert "no such program" in command(process, "x" * 200)
        said = command(process, "ls /www /bin")
        assert "index.html" in said and "httpd" in said


def test_a_full_tmp_is_told_by_what_writes_to_it() -> None:
    with LeuloProcess("--publish", "none", "--mem", "8M") as process:
        process.expect_services()
        said = command(process, "cat" + " /bin/sh" * 12 + " > /tmp/a")
        assert "output" not in said
        said = command(process, "cat" + " /tmp/a" * 20 + " > /tmp/b")
        assert said.count("output: No space left on device") == 1
        assert "ended with status 1" in said
        assert command(process, "rm /tmp/b").count("\n") == 1
        assert "3 bytes" in command(process, "echo hi | wc")
