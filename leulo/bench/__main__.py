"""``python -m leulo.bench``: the project's figures, each beside its rival in the same run.

Rounds are interleaved and medians shown, since the machine is shared; compare the ratios, not the
figures. The server (guest or nginx) has one core, the client the other.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

import click

from leulo.bench import guest_speed, processes
from leulo.bench.netns import SERVER_ADDRESS, namespace, require, veth_pair
from leulo.errors import LeuloError

GUEST: Final = "10.77.0.2"
BULK_BYTES: Final = 512 << 20
_GATES: Final = {"new": 0.35, "keep": 0.2, "from guest": 0.35}

Row = dict[str, Any]


class Report:
    """Samples by name, and the table made of them."""

    def __init__(self, quiet: bool) -> None:
        self.samples: dict[str, list[float]] = {}
        self._quiet = quiet

    def add(self, name: str, value: float) -> None:
        self.samples.setdefault(name, []).append(value)
        if not self._quiet:
            print(f"  {name}: {value:,.2f}", file=sys.stderr, flush=True)

    def median(self, name: str) -> float:
        return median(self.samples[name])


def _network(report: Report, rounds: int, seconds: int, errors: dict[str, int]) -> Row:
    """Connections, requests and bulk; returns the guest's counters of one clean load each."""
    require("ip", "nginx", "wrk", "taskset")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leulo-bench-")))
        tap = stack.enter_context(namespace("guest"))
        server, client = stack.enter_context(veth_pair())
        stack.enter_context(processes.nginx(server, SERVER_ADDRESS, folder))
        for port, role in ((9001, "source"), (9002, "sink")):
            stack.enter_context(
                processes.linux_server(server, SERVER_ADDRESS, port, role, BULK_BYTES)
            )
        with processes.guest(tap, folder / "all.json"):
            ours, rival = f"http://{GUEST}/bytes/100", f"http://{SERVER_ADDRESS}/"
            cells: list[tuple[str, Callable[[], float]]] = []
            for name, keep in (("new", False), ("keep", True)):
                for who, place, url in (("leulo", tap, ours), ("nginx", client, rival)):
                    cells.append((f"{name} {who}", _loader(place, url, seconds, keep, errors, who)))
            request = f"GET /bytes/{BULK_BYTES} HTTP/1.0\r\n\r\n"
            cells += [
                ("from guest leulo", lambda: processes.sink(tap, GUEST, 80, request)),
                ("from guest linux", lambda: processes.sink(client, SERVER_ADDRESS, 9001, "")),
                ("to guest leulo", lambda: processes.source(tap, GUEST, 9, BULK_BYTES)),
                (
                    "to guest linux",
                    lambda: processes.source(client, SERVER_ADDRESS, 9002, BULK_BYTES),
                ),
            ]
            for number in range(rounds):
                print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
                for name, measure in cells:
                    report.add(name, measure())
        return {
            name: _split(tap, folder, ours, seconds, keep)
            for name, keep in (("new", False), ("keep", True))
        }


def _loader(
    place: str, url: str, seconds: int, keep: bool, errors: dict[str, int], who: str
) -> Callable[[], float]:
    def load() -> float:
        seen = processes.wrk(place, url, seconds, keep)
        errors[who] = errors.get(who, 0) + seen.errors
        return seen.per_second

    return load


def _split(tap: str, folder: Path, url: str, seconds: int, keep: bool) -> Row:
    """Microseconds a request by part, from a guest that served nothing else."""
    counters = folder / f"split-{keep}.json"
    with processes.guest(tap, counters) as process:
        load = processes.wrk(tap, url, seconds, keep)
        process.terminate()
        process.wait(10)
    account = json.loads(counters.read_text())
    parts = {
        name: account[f"account.{name}_ns"] / 1000 / load.requests
        for name in ("engine", "hypercall", "guest", "link")
    }
    total = account["account.total_ns"] / 1000 / load.requests
    return {**parts, "loop and idle": total - sum(parts.values())}


def _print(report: Report, split: Row, errors: dict[str, int]) -> None:
    print(f"guest speed           {report.median('mips'):>12,.0f} MIPS")
    print(f"hypercalls            {report.median('hypercalls'):>12,.0f} /s")
    if not split:
        return
    print(f"\n{'':22}{'leulo':>12}{'rival':>12}{'ratio':>8}")
    for title, name, rival, unit in (
        ("new connections", "new", "nginx", "/s"),
        ("keep-alive requests", "keep", "nginx", "/s"),
        ("bulk from the guest", "from guest", "linux", "Gbit/s"),
        ("bulk to the guest", "to guest", "linux", "Gbit/s"),
    ):
        ours, theirs = report.median(f"{name} leulo"), report.median(f"{name} {rival}")
        digits = 1 if unit == "Gbit/s" else 0
        gate = f"  (wanted: {_GATES[name]})" if name in _GATES else ""
        print(
            f"{title:22}{ours:>12,.{digits}f}{theirs:>12,.{digits}f}{ours / theirs:>8.2f}"
            f"  {unit}{gate}"
        )
    print(f"failed requests       {errors.get('leulo', 0):>12}{errors.get('nginx', 0):>12}")
    print("\nmicroseconds a request, wall clock of the one thread:")
    for title, name in (("new connection", "new"), ("keep-alive", "keep")):
        parts = ", ".join(f"{part} {value:.1f}" for part, value in split[name].items())
        print(f"  {title:18}{parts}")


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Rounds.")
@click.option(
    "--seconds", default=3, show_default=True, type=click.IntRange(1), help="Of each load."
)
@click.option("--no-network", is_flag=True, help="Only what needs neither root nor a network.")
@click.option("--json", "as_json", is_flag=True, help="Print samples and medians as JSON.")
def main(rounds: int, seconds: int, no_network: bool, as_json: bool) -> None:
    """Measure this checkout beside its rivals; about a minute and a half, as root.

    \b
    Examples:
      make bench
      python -m leulo.bench --rounds 5 --seconds 5
      python -m leulo.bench --no-network --json
    """
    report = Report(quiet=as_json)
    errors: dict[str, int] = {}
    try:
        for _ in range(rounds):
            report.add("mips", guest_speed.mips())
            report.add("hypercalls", guest_speed.hypercalls_per_second())
        split = {} if no_network else _network(report, rounds, seconds, errors)
    except LeuloError as error:
        raise SystemExit(f"leulo.bench: {error}") from None
    if as_json:
        medians = {name: report.median(name) for name in report.samples}
        print(json.dumps({"medians": medians, "samples": report.samples, "split_us": split,
                          "errors": errors}, indent=1))  # fmt: skip
    else:
        _print(report, split, errors)


if __name__ == "__main__":
    main()
