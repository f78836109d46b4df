"""Protects the first minute of a new user: boot, the page by plain HTTP, the console, the end."""

from __future__ import annotations

import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from http_checks import check_body, get, read_response
from leulo_process import LeuloProcess, run_leulo

pytestmark = pytest.mark.compiler


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def booted(*args: str) -> tuple[LeuloProcess, tuple[str, int]]:
    port = free_port()
    return LeuloProcess("--publish", f"{port}:80", *args), ("127.0.0.1", port)


def test_the_page_comes_and_poweroff_ends_with_zero() -> None:
    process, address = booted()
    with process:
        assert f"http://127.0.0.1:{address[1]}/" in process.ready_line
        assert b"<html" in get(address, "/").lower()
        process.type("poweroff\n")
        assert process.wait() == 0, process.transcript()
        assert b"requests" in process.errors or b"segments" in process.errors


def test_curl_checks_every_byte() -> None:
    process, (host, port) = booted()
    with process:
        for length in (0, 1, 15, 16, 17, 4096, 100_000, 3_000_000):
            url = f"http://{host}:{port}/bytes/{length}"
            done = subprocess.run(["curl", "-sSf", url], capture_output=True, timeout=60)
            assert done.returncode == 0, done.stderr
            check_body(done.stdout, length)


def test_many_clients_and_kept_connections() -> None:
    process, address = booted()

    def client(number: int) -> None:
        with socket.create_connection(address, timeout=30) as stream:
            for turn in range(10):
                length = 1000 * (number % 7) + turn
                stream.sendall(f"GET /bytes/{length} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                status, _, body = read_response(stream)
                assert status == 200
                check_body(body, length)

    with process, ThreadPoolExecutor(32) as pool:
        list(pool.map(client, range(64)))


def test_what_is_not_there_is_404_and_a_bad_request_is_400() -> None:
    process, address = booted()
    with process:
        for request, wanted in (
            ("GET /no/such/page HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            ("GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            ("nonsense\r\n\r\n", 400),
        ):
            with socket.create_connection(address, timeout=30) as stream:
                stream.sendall(request.encode())
                status, _, _ = read_response(stream)
                assert status in (wanted, 400), request


def test_control_c_in_a_pipe_ends_with_130() -> None:
    process, address = booted()
    with process:
        get(address, "/")
        process.signal(signal.SIGINT)
        assert process.wait(5) == 130, process.transcript()


def test_a_busy_port_is_named_with_a_free_one() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        done = run_leulo("boot", "--publish", f"{port}:80")
        assert done.returncode in (2, 5), done
        assert str(port).encode() in done.stderr
        assert b"Traceback" not in done.stderr


def test_the_guest_shell_lists_its_programs() -> None:
    process, _ = booted()
    with process:
        process.expect_services()
        process.type("help\n")
        process.expect("poweroff")
        process.type("ls /www\n")
        process.expect("index.html")
