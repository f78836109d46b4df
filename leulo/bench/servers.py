"""What is measured: a guest under Leulo, and its rivals on the kernel's TCP.

Each is a context manager around one process, pinned to one core, gone when it is left.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from leulo.bench.network import GUEST_ADDRESS, SERVER_ADDRESS, TAP, Network
from leulo.errors import EnvironmentProblem, LeuloError

PAGE_BYTES: Final = 100
SOURCE_PORT: Final = 19  # chargen's
SINK_PORT: Final = 9  # discard's
_READY_SECONDS: Final = 30.0
_END_SECONDS: Final = 10.0


class Server:
    """A process with an address."""

    name = ""
    address = ""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Ask the process to end, then make it."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


class Leulo(Server):
    """``leulo boot`` on a TAP. With ``accounted`` it keeps the account of its own time."""

    name = "leulo"
    address = GUEST_ADDRESS

    def __init__(self, network: Network, folder: Path, core: int, *, accounted: bool = False):
        super().__init__()
        self._network = network
        self._core = core
        self._counters = folder / "counters.json" if accounted else None
        self._errors = folder / "leulo.stderr"

    def __enter__(self) -> Leulo:
        """Boot and wait for the ready line. Raises LeuloError with what the program said."""
        reading, writing = os.pipe()
        command = [
            *self._network.within(self._network.client, self._core),
            sys.executable, "-m", "leulo", "boot", "--net", f"tap:{TAP}",
            "--ready-fd", str(writing),
        ]  # fmt: skip
        if self._counters is not None:
            command += ["--counters", str(self._counters)]
        try:
            with self._errors.open("wb") as errors:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                    pass_fds=(writing,),
                )  # fmt: skip
            os.close(writing)
            ready = select.select([reading], [], [], _READY_SECONDS)[0] and os.read(reading, 4096)
        finally:
            os.close(reading)
        if not ready:
            self.end()
            raise LeuloError(f"leulo boot did not become ready: {self.errors()}")
        return self

    def errors(self) -> str:
        """The last lines that the program wrote on stderr."""
        text = self._errors.read_text(errors="replace").strip()
        return " / ".join(text.splitlines()[-4:]) or "it said nothing"

    def counters(self) -> dict[str, int]:
        """All counters of the run; only after the end, and only of an accounted one."""
        assert self._counters is not None
        found: dict[str, Any] = json.loads(self._counters.read_text())
        return {name: int(value) for name, value in found.items()}


_NGINX: Final = """\
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 60;
    keepalive_requests 100000000;
    default_type text/plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 80 backlog=4096; root {folder}/www; }}
}}
"""


class Nginx(Server):
    """nginx with one worker, serving the same page on the kernel's TCP."""

    name = "nginx"
    address = SERVER_ADDRESS

    def __init__(self, network: Network, folder: Path, core: int) -> None:
        super().__init__()
        self._network = network
        self._folder = folder
        self._core = core

    def __enter__(self) -> Nginx:
        """Raises EnvironmentProblem if nginx does not start."""
        pages = self._folder / "www" / "bytes"
        pages.mkdir(parents=True)
        (pages / str(PAGE_BYTES)).write_bytes(b"x" * PAGE_BYTES)
        configuration = self._folder / "nginx.conf"
        configuration.write_text(_NGINX.format(folder=self._folder))
        self._process = subprocess.Popen(
            [*self._network.within(self._network.server, self._core),
             "nginx", "-p", str(self._folder), "-c", str(configuration)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        _wait_for_port(self, self._network, 80)
        return self


class Stream(Server):
    """A source on one port and a sink on another, plain reads and writes on the kernel's TCP."""

    name = "linux"
    address = SERVER_ADDRESS

    def __init__(self, network: Network, core: int) -> None:
        super().__init__()
        self._network = network
        self._core = core

    def __enter__(self) -> Stream:
        self._process = subprocess.Popen(
            [*self._network.within(self._network.server, self._core),
             sys.executable, "-m", "leulo.bench.stream", "serve", "0.0.0.0",
             str(SOURCE_PORT), str(SINK_PORT)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        _wait_for_port(self, self._network, SINK_PORT)
        return self


def _wait_for_port(server: Server, network: Network, port: int) -> None:
    """Until somebody listens in the server's namespace, at most some seconds."""
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end and server.is_alive():
        listening = subprocess.run(
            [*network.within(network.server), "ss", "-Hltn", f"sport = :{port}"],
            capture_output=True, check=False,
        ).stdout  # fmt: skip
        if listening.strip():
            return
    said = ""
    process = server._process
    if process is not None and process.poll() is not None and process.stderr is not None:
        said = process.stderr.read(1000).decode(errors="replace").strip()
    server.end()
    raise EnvironmentProblem(f"{server.name} did not start: {said or 'it said nothing'}")
