"""A running ``leulo boot``, as a test sees it: its ready line, its console, its exit code."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

READY_SECONDS = 20.0


class LeuloProcess:
    """``leulo boot ARGS`` in a process of its own, in a network namespace if one is named.

    A context manager: leaving it ends the process whatever happened. stdin is a pipe, so the
    console works as in a script.
    """

    def __init__(self, *args: str, netns: str | None = None, wait_ready: bool = True) -> None:
        prefix = ["ip", "netns", "exec", netns] if netns else []
        reader, writer = os.pipe()
        command = [*prefix, sys.executable, "-m", "leulo", "boot", "--ready-fd", str(writer), *args]
        self.console = b""
        self.errors = b""
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(writer,),
        )
        os.close(writer)
        self._ready_fd = reader
        self.ready_line = ""
        if wait_ready:
            try:
                self.ready_line = self._wait_ready()
            except BaseException:
                self.stop()
                raise

    def __enter__(self) -> LeuloProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_ready(self) -> str:
        line = b""
        end = time.monotonic() + READY_SECONDS
        while not line.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._ready_fd], [], [], left)[0]:
                raise AssertionError(f"not ready after {READY_SECONDS} s\n{self.transcript()}")
            data = os.read(self._ready_fd, 4096)
            if not data:
                self.process.wait(10)
                raise AssertionError(f"ended before it was ready\n{self.transcript()}")
            line += data
        return line.decode().strip()

    def transcript(self) -> str:
        """Everything it has printed so far, for the message of a failed test."""
        self._collect(0.0)
        return (
            f"exit code {self.process.poll()}\n--- stderr\n{self.errors.decode('utf-8', 'replace')}"
            f"\n--- console\n{self.console.decode('utf-8', 'replace')}"
        )

    def _collect(self, seconds: float) -> None:
        streams = {}
        for name, stream in (("console", self.process.stdout), ("errors", self.process.stderr)):
            if stream is not None and not stream.closed:
                streams[stream.fileno()] = name
        while streams:
            readable = select.select(list(streams), [], [], seconds)[0]
            if not readable:
                return
            for fd in readable:
                data = os.read(fd, 65536)
                if data:
                    setattr(self, streams[fd], getattr(self, streams[fd]) + data)
                else:
                    del streams[fd]
            seconds = 0.0

    def type(self, text: str) -> None:
        """Type on the serial console."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def expect(self, text: str, seconds: float = 10.0) -> None:
        """Wait until the console has shown ``text``."""
        end = time.monotonic() + seconds
        while text.encode() not in self.console:
            left = end - time.monotonic()
            assert left > 0, f"no {text!r} on the console\n{self.transcript()}"
            self._collect(min(left, 0.2))
            if self.process.poll() is not None and text.encode() not in self.console:
                self._collect(0.2)
                assert text.encode() in self.console, f"ended without {text!r}\n{self.transcript()}"

    def expect_services(self) -> None:
        """Wait until all servers have said their line, so that none comes between what is typed."""
        for service in ("echo: port 7", "discard: port 9", "httpd: port 80", "chargen: port 19"):
            self.expect(service)
        self.expect("leulo$ ")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 20.0) -> int:
        """Wait for its end, reading what it prints; returns the exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still running\n{self.transcript()}"
            self._collect(0.05)
        self._collect(0.2)
        return self.process.returncode

    def stop(self) -> None:
        """End it, gently first."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        self._collect(0.1)
        os.close(self._ready_fd)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def run_leulo(*args: str, seconds: float = 60.0) -> subprocess.CompletedProcess[bytes]:
    """``leulo ARGS`` to its end, with nothing on its standard input."""
    command: Sequence[str] = [sys.executable, "-m", "leulo", *args]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
    )
