"""What measures: wrk for requests, stream.py for bulk data, each pinned to the client's core."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from leulo.bench.network import Network
from leulo.bench.servers import PAGE_BYTES, SINK_PORT, SOURCE_PORT
from leulo.errors import EnvironmentProblem, LeuloError

CONNECTIONS: Final = 64
_EXTRA_SECONDS: Final = 40


@dataclass(frozen=True, slots=True)
class Requests:
    """What wrk saw. ``failed`` are socket errors and answers other than 2xx and 3xx."""

    per_second: float
    count: int
    failed: int


def parse_wrk(text: str) -> Requests:
    """Read wrk's report. Raises LeuloError if it is none."""
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", text, re.MULTILINE)
    count = re.search(r"^\s*(\d+) requests in ", text, re.MULTILINE)
    if rate is None or count is None:
        raise LeuloError(f"wrk's report cannot be read: {text.strip()[-300:]!r}")
    failed = 0
    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text
    )
    if errors is not None:
        failed += sum(int(group) for group in errors.groups())
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if wrong is not None:
        failed += int(wrong[1])
    return Requests(float(rate[1]), int(count[1]), failed)


def requests(
    network: Network, address: str, seconds: float, core: int, *, keep_alive: bool
) -> Requests:
    """Ask for the page by 64 connections for so long (whole seconds, at least one)."""
    whole = max(1, round(seconds))
    command = [
        *network.within(network.client, core),
        "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{whole}s", "--timeout", "10s",
    ]  # fmt: skip
    if not keep_alive:
        command += ["-H", "Connection: close"]
    return parse_wrk(_run([*command, f"http://{address}/bytes/{PAGE_BYTES}"], whole))


def from_server(network: Network, address: str, seconds: float, core: int) -> float:
    """Bytes a second that a source there sends to us."""
    return _stream(network, core, "receive", address, SOURCE_PORT, seconds)


def to_server(network: Network, address: str, seconds: float, core: int) -> float:
    """Bytes a second that a sink there takes from us."""
    return _stream(network, core, "send", address, SINK_PORT, seconds)


def _stream(
    network: Network, core: int, verb: str, address: str, port: int, seconds: float
) -> float:
    command = [
        *network.within(network.client, core),
        sys.executable, "-m", "leulo.bench.stream", verb, address, str(port), str(seconds),
    ]  # fmt: skip
    count, took_ns = (int(word) for word in _run(command, seconds).split())
    return count * 1e9 / took_ns


def _run(command: list[str], seconds: float) -> str:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds + _EXTRA_SECONDS
        )
    except FileNotFoundError as error:
        raise EnvironmentProblem(f"{error.filename} is not installed") from None
    except subprocess.TimeoutExpired:
        raise LeuloError(f"{command[-1]} did not end in time: {' '.join(command)}") from None
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise LeuloError(f"{' '.join(command)}: {said[-1] if said else result.returncode}")
    return result.stdout
