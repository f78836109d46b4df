"""Boot the packaged guest, fetch its page with a plain HTTP client, print it.

    python tools/boot_check.py [--port 8080] [--stay] [--timeout 60]

With ``--stay`` the guest's console follows and Ctrl-A x ends it; without, the guest is ended and
the exit code says whether the page came. It uses the command as anybody does: ``leulo boot`` in a
process of its own and its ``--ready-fd``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

EXIT_FAILED = 1
EXIT_USAGE = 2
MOST_PAGE_BYTES = 1 << 20
FETCH_SECONDS = 10
END_SECONDS = 10


def is_free(port: int) -> bool:
    """Whether a listener on 127.0.0.1 would get the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port_near(port: int) -> int:
    """A free port, close to the one that was wanted if there is one."""
    for candidate in range(port + 1, min(port + 200, 65536)):
        if is_free(candidate):
            return candidate
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(fd: int, child: subprocess.Popen[bytes], seconds: float) -> str | None:
    """The ready line, or None when the child ends or the time is over."""
    end = time.monotonic() + seconds
    line = b""
    while not line.endswith(b"\n"):
        left = end - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            return None
        piece = os.read(fd, 4096)
        if not piece:  # closed without a word: the child has ended or is about to
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
            return None
        line += piece
    return line.decode().strip()


def fetch(url: str) -> tuple[int, str, bytes]:
    """Status, content type and body of a page. Raises OSError or ValueError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=FETCH_SECONDS) as answer:
        return answer.status, answer.headers.get_content_type(), answer.read(MOST_PAGE_BYTES)


def check(url: str) -> bool:
    """Fetch and print the page; say what came. True if it is a page."""
    began = time.monotonic()
    try:
        status, kind, body = fetch(url)
    except (OSError, ValueError) as error:
        print(f"boot-check: {url} could not be fetched: {error}", file=sys.stderr)
        return False
    took_ms = (time.monotonic() - began) * 1000
    print(f"--- GET {url}: {status} {kind}, {len(body)} bytes in {took_ms:.0f} ms")
    print(body.decode("utf-8", errors="replace").rstrip())
    print("---", flush=True)
    return status == 200 and bool(body)


def power_off(child: subprocess.Popen[bytes]) -> int:
    """Type ``poweroff`` on the guest's console; the exit code, or EXIT_FAILED if it stays."""
    try:
        child.communicate(b"poweroff\n", END_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"boot-check: the guest did not power off in {END_SECONDS} s", file=sys.stderr)
        return EXIT_FAILED
    return child.returncode


def end(child: subprocess.Popen[bytes]) -> int:
    """End a guest that still runs, as Ctrl-C would; never leave it behind."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description="boot the guest and fetch its page")
    parser.add_argument("--port", type=int, default=8080, help="the port of this computer")
    parser.add_argument("--stay", action="store_true", help="stay on the guest's console")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds until it is ready")
    arguments = parser.parse_args()
    if not 1 <= arguments.port <= 65535:
        print(
            f"boot-check: {arguments.port} is no port: write a number from 1 to 65535",
            file=sys.stderr,
        )
        return EXIT_USAGE
    if not is_free(arguments.port):
        target = "boot" if arguments.stay else "boot-check"
        print(
            f"boot-check: port {arguments.port} of 127.0.0.1 is in use; "
            f"{free_port_near(arguments.port)} is free: "
            f"make {target} PORT={free_port_near(arguments.port)}",
            file=sys.stderr,
        )
        return EXIT_USAGE

    reading, writing = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "leulo", "boot", "--publish", f"{arguments.port}:80",
         "--ready-fd", str(writing)],
        stdin=None if arguments.stay else subprocess.PIPE,
        pass_fds=(writing,),
    )  # fmt: skip
    os.close(writing)
    # Ctrl-C belongs to the guest, or to the child: it ends, and then so do we.
    if arguments.stay:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ready = wait_until_ready(reading, child, arguments.timeout)
        if ready is None:
            status = child.poll()
            why = "did not become ready in time" if status is None else f"ended with {status}"
            print(f"boot-check: the guest {why}", file=sys.stderr)
            return EXIT_FAILED if status is None or status == 0 else status
        fetched = check(ready.removeprefix("ready: "))
        if not arguments.stay:
            return power_off(child) if fetched else EXIT_FAILED
        print("The guest goes on: try curl from another terminal. Ctrl-A x ends it, "
              "Ctrl-A h helps.", flush=True)  # fmt: skip
        status = child.wait()
        return status if fetched else EXIT_FAILED
    except KeyboardInterrupt:
        return 130
    finally:
        os.close(reading)
        end(child)


if __name__ == "__main__":
    sys.exit(main())
