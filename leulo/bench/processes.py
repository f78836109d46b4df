"""The programs a benchmark runs against each other: a guest, nginx, wrk, a bulk source and sink."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leulo.bench.netns import inside
from leulo.errors import EnvironmentProblem

SERVER_CORE: Final = 0
CLIENT_CORE: Final = 1
READY_SECONDS: Final = 20
BODY_BYTES: Final = 100

_NGINX: Final = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{
        listen {address}:80 backlog=4096;
        location / {{ return 200 "{body}"; }}
    }}
}}
"""


@contextmanager
def running(command: Sequence[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended on the way out."""
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def guest(namespace: str, counters: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``leulo boot`` on a TAP in ``namespace``, ready to answer. Counters appear at its end."""
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "leulo", "boot", "--net", "tap:leulo0"]
    command += ["--ready-fd", str(writer), "--counters", str(counters)]
    with running(
        inside(namespace, SERVER_CORE, command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(writer,),
    ) as process:
        os.close(writer)
        ready = select.select([reader], [], [], READY_SECONDS)[0]
        line = os.read(reader, 4096) if ready else b""
        os.close(reader)
        if not line:
            process.terminate()
            _, errors = process.communicate()
            raise EnvironmentProblem(f"the guest did not start: {errors.decode()[-500:]}")
        yield process


@contextmanager
def nginx(namespace: str, address: str, folder: Path) -> Iterator[None]:
    """nginx with one worker on the server's core; it answers everything with 100 bytes."""
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, address=address, body="x" * BODY_BYTES))
    command = ["nginx", "-c", str(config), "-e", str(folder / "error.log")]
    with running(inside(namespace, SERVER_CORE, command), stderr=subprocess.DEVNULL):
        _wait_connect(namespace, address, 80)
        yield


def _wait_connect(namespace: str, address: str, port: int) -> None:
    program = (
        "import socket, sys, time\n"
        "for _ in range(100):\n"
        "    try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 1); sys.exit(0)\n"
        "    except OSError: time.sleep(0.05)\n"
        "sys.exit(1)\n"
    )
    command = inside(namespace, CLIENT_CORE, [sys.executable, "-c", program, address, str(port)])
    if subprocess.run(command, check=False).returncode:
        raise EnvironmentProblem(f"nothing answers at {address}:{port}")


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw."""

    requests: int
    per_second: int
    errors: int


def wrk(namespace: str, url: str, seconds: int, keep_alive: bool, connections: int = 64) -> Load:
    """Load ``url`` from the client's core. A failed request is counted, never hidden."""
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s"]
    command += [] if keep_alive else ["-H", "Connection: close"]
    done = subprocess.run(
        inside(namespace, CLIENT_CORE, [*command, url]), capture_output=True, text=True
    )
    requests = re.search(r"(\d+) requests in", done.stdout)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if done.returncode or requests is None or rate is None:
        raise EnvironmentProblem(f"wrk failed: {done.stdout}{done.stderr}")
    errors = sum(
        int(number)
        for line in re.findall(r"(?:Socket errors|Non-2xx).*", done.stdout)
        for number in re.findall(r"(\d+)(?:,|$)", line)
    )
    return Load(int(requests[1]), int(float(rate[1])), errors)


_SINK: Final = """
import json, socket, sys, time
stream = socket.create_connection((sys.argv[1], int(sys.argv[2])))
if sys.argv[3]: stream.sendall(sys.argv[3].encode())
buffer = bytearray(1 << 20)
total = 0
began = time.perf_counter_ns()
while got := stream.recv_into(buffer): total += got
print(json.dumps([total, time.perf_counter_ns() - began]))
"""

_SOURCE: Final = """
import json, socket, sys, time
stream = socket.create_connection((sys.argv[1], int(sys.argv[2])))
piece = bytes(1 << 16)
total = int(sys.argv[3])
began = time.perf_counter_ns()
for _ in range(total // len(piece)): stream.sendall(piece)
stream.shutdown(socket.SHUT_WR)
stream.recv(1)
print(json.dumps([total, time.perf_counter_ns() - began]))
"""

_SERVER: Final = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=16)
piece = bytes(1 << 16)
buffer = bytearray(1 << 16)
while True:
    stream, _ = listener.accept()
    if sys.argv[3] == "source":
        try:
            for _ in range(int(sys.argv[4]) // len(piece)): stream.sendall(piece)
        except OSError: pass
    else:
        while stream.recv_into(buffer): pass
    stream.close()
"""


def _client(namespace: str, program: str, *words: str) -> float:
    done = subprocess.run(
        inside(namespace, CLIENT_CORE, [sys.executable, "-c", program, *words]),
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise EnvironmentProblem(f"the bulk client failed: {done.stderr[-500:]}")
    count, took_ns = json.loads(done.stdout)
    return count * 8 / took_ns


def sink(namespace: str, address: str, port: int, request: str) -> float:
    """Gbit/s that a client reads after sending ``request``, until the server closes."""
    return _client(namespace, _SINK, address, str(port), request)


def source(namespace: str, address: str, port: int, count: int) -> float:
    """Gbit/s at which a server takes ``count`` bytes, its close included."""
    return _client(namespace, _SOURCE, address, str(port), str(count))


@contextmanager
def linux_server(namespace: str, address: str, port: int, role: str, count: int) -> Iterator[None]:
    """The rival in bulk: plain writes (``source``) or reads (``sink``) of 64 KiB on Linux."""
    words = [sys.executable, "-c", _SERVER, address, str(port), role, str(count)]
    with running(inside(namespace, SERVER_CORE, words)):
        _wait_connect(namespace, address, port)
        yield
