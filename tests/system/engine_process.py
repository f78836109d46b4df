"""`engine_server` as a process inside a namespace of its own, and nginx beside it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from netns import Namespace

ADDRESS = "10.77.0.2"
GATEWAY = "10.77.0.1"
_READY_SECONDS = 20


class EngineProcess:
    """The engine serving at `ADDRESS` over the TAP leulo0; a context manager.

    ``cpu`` pins it. With ``socket_fd`` it serves over that socket of frames instead, which it
    takes over, and ``namespace`` may be None. ``reference`` is the file of another engine, which
    then serves instead of ours (`reference_server`).
    """

    def __init__(
        self,
        namespace: Namespace | None,
        capture: Path | None = None,
        cpu: int | None = None,
        environment: dict[str, str] | None = None,
        socket_fd: int | None = None,
        congestion: str | None = None,
        reference: Path | None = None,
    ) -> None:
        here = os.path.dirname(os.path.abspath(__file__))
        command = ["taskset", "-c", str(cpu)] if cpu is not None else []
        link = "leulo0" if socket_fd is None else f"fd:{socket_fd}"
        server = ["engine_server.py"]
        if reference is not None:
            server = ["reference_server.py", str(reference.resolve())]
        command += [sys.executable, os.path.join(here, server[0]), *server[1:], link,
                    f"{ADDRESS}/24", GATEWAY]  # fmt: skip
        if capture is not None:
            command += ["--capture", str(capture)]
        if congestion is not None:
            command += ["--congestion", congestion]
        self.counters: dict[str, int] = {}
        self._errors = b""
        self._process = subprocess.Popen(
            command if namespace is None else namespace.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            pass_fds=() if socket_fd is None else (socket_fd,),
        )
        if socket_fd is not None:
            os.close(socket_fd)
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_ready(self) -> None:
        assert self._process.stdout is not None
        ready = select.select([self._process.stdout], [], [], _READY_SECONDS)[0]
        line = self._process.stdout.readline() if ready else b""
        if line != b"ready\n":
            self._process.kill()
            assert self._process.stderr is not None
            raise AssertionError(f"not ready: {line!r}\n{self._process.stderr.read().decode()}")

    def ask(self) -> dict[str, int]:
        """Its counters now."""
        assert self._process.stderr is not None
        self._process.send_signal(signal.SIGUSR1)
        fd = self._process.stderr.fileno()
        data = b""
        end = time.monotonic() + 10
        while not data.endswith(b"}\n"):
            left = end - time.monotonic()
            assert left > 0 and select.select([fd], [], [], left)[0], f"no counters: {data!r}"
            piece = os.read(fd, 65536)
            assert piece, f"ended: {data.decode()}"
            data += piece
        counters: dict[str, int] = json.loads(data.splitlines()[-1])
        return counters

    def stop(self) -> None:
        """End it; its last counters are kept. Fails if it ended with a traceback."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            output, errors = self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, errors = self._process.communicate()
        lines = output.decode().splitlines()
        if lines and lines[-1].startswith("{"):
            self.counters = json.loads(lines[-1])
        assert b"Traceback" not in errors, errors.decode()


NGINX = """
worker_processes 1; daemon off; master_process off; pid {directory}/pid; error_log stderr crit;
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{
    listen 80 backlog=4096;
    location / {{ return 200 "{body}"; }}
    location /closed {{ keepalive_timeout 0; return 200 "{body}"; }}
  }}
}}
"""


def start_nginx(namespace: Namespace, directory: Path, cpu: int | None = None) -> None:
    """One nginx worker on port 80 inside ``namespace``, until that is closed."""
    path = directory / "nginx.conf"
    path.write_text(NGINX.format(directory=directory, body="x" * 100))
    pin = ["taskset", "-c", str(cpu)] if cpu is not None else []
    namespace.start(*pin, "nginx", "-c", str(path), "-p", str(directory))
