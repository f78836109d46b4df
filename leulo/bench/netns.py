"""Network namespaces of the benchmark's own: one with a TAP for the guest, two joined by veth.

Nothing outside them is touched, and leaving the context removes them whatever happened.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from leulo.errors import EnvironmentProblem

SERVER_ADDRESS = "10.78.0.2"
CLIENT_ADDRESS = "10.78.0.1"


def require(*programs: str) -> None:
    """Raises EnvironmentProblem that names what is missing and how to get it."""
    if os.geteuid() != 0:
        raise EnvironmentProblem("the network benchmarks make namespaces: run them as root")
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise EnvironmentProblem(
            f"the network benchmarks need {', '.join(missing)}: "
            "apt-get install iproute2 nginx-light wrk util-linux"
        )


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise EnvironmentProblem(f"ip {' '.join(words)}: {done.stderr.strip()}")


def inside(namespace: str, core: int, command: Sequence[str]) -> list[str]:
    """The command line that runs ``command`` in a namespace on one core."""
    return ["ip", "netns", "exec", namespace, "taskset", "-c", str(core), *command]


@contextmanager
def namespace(label: str) -> Iterator[str]:
    """An empty namespace with its loopback up; gives its name."""
    name = f"leulo-bench-{os.getpid()}-{label}"
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@contextmanager
def veth_pair() -> Iterator[tuple[str, str]]:
    """Two namespaces joined by a veth: (server's, client's), at the addresses above."""
    with namespace("server") as server, namespace("client") as client:
        _ip("-n", server, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        _ip("-n", server, "link", "set", "v1", "netns", client)
        for name, device, address in (
            (server, "v0", SERVER_ADDRESS),
            (client, "v1", CLIENT_ADDRESS),
        ):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
            _ip("-n", name, "link", "set", device, "up")
        yield server, client
