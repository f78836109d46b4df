"""What is measured, in which order, and what comes of it.

Both sides of every ratio take turns within each round, with one core for the server and the other
for the client; a figure is the median of its rounds. The account of CPU time comes from a run of
its own, because keeping it costs time too.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from leulo import compiled
from leulo.bench import clients, processor
from leulo.bench.network import Network
from leulo.bench.servers import Leulo, Nginx, Server, Stream
from leulo.errors import LeuloError

ROUNDS: Final = 3
_SHARES: Final = 3 * 8 + 2 * 3 + 2 * 2  # a round's rates and bulks, the processor, two accounts
LEAST_SECONDS: Final = 10
# goal of the ratio to Linux, by figure
GOALS: Final = {"new": 0.4, "keep": 0.25, "from": 0.7, "to": 0.7}
COMPILED_GOALS: Final = {"new": 0.55, "keep": 0.45, "from": 0.7, "to": 0.7}
ACCOUNT_PARTS: Final = ("engine", "hypercalls", "guest", "links", "loop")

Say = Callable[[str], None]


@dataclass(slots=True)
class Results:
    """All figures: per second, bytes a second, or microseconds a request."""

    cores: tuple[int, int]
    load_average: float
    is_compiled: bool = False
    linux_is: str = ""  # the kernel's release and its congestion control
    mips: float = 0.0
    hypercalls: float = 0.0
    leulo: dict[str, float] = field(default_factory=dict)  # by figure: new, keep, from, to
    linux: dict[str, float] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)  # (greatest - least) / median
    failed: dict[str, int] = field(default_factory=dict)  # requests, by figure and server
    account_us: dict[str, dict[str, float]] = field(default_factory=dict)  # by connection kind

    @property
    def goals(self) -> dict[str, float]:
        """The ratios wanted of this build."""
        return COMPILED_GOALS if self.is_compiled else GOALS

    def ratio(self, figure: str) -> float:
        """Leulo's part of what Linux does."""
        linux = self.linux.get(figure, 0.0)
        return self.leulo.get(figure, 0.0) / linux if linux else 0.0


def run(seconds: float, say: Say, *, network: bool = True, congestion: str = "") -> Results:
    """Measure everything within about ``seconds``, or only what needs neither root nor a network;
    with Linux's congestion control ``congestion``, if it is not to be what it is here.

    Raises LeuloError; leaves nothing behind.
    """
    cores = pick_cores()
    share = seconds / _SHARES
    results = Results(cores, os.getloadavg()[0], compiled.running() is not None)
    if not network:
        _measure_processor(results, seconds / 6, say)
        return results
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leulo-bench-")))
        lab = stack.enter_context(Network(congestion))
        results.linux_is = f"{platform.release()}, {lab.congestion}"
        _measure_processor(results, share, say)
        _measure_rounds(results, lab, folder, share, say)
        for kind, keep_alive in (("new", False), ("keep", True)):
            say(f"account of a request, {'keep-alive' if keep_alive else 'new connections'}")
            results.account_us[kind] = _account(lab, folder, cores, 2 * share, keep_alive)
    return results


def pick_cores() -> tuple[int, int]:
    """A core for the server and one for the client; the same one if there is no other."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[1] if len(cores) > 1 else cores[0]


def _measure_processor(results: Results, share: float, say: Say) -> None:
    say("guest instructions and hypercalls")
    home = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {results.cores[0]})
    try:
        mips = [processor.millions_of_instructions(share) for _ in range(ROUNDS)]
        calls = [processor.hypercalls(share) for _ in range(ROUNDS)]
    finally:
        os.sched_setaffinity(0, home)
    results.mips, results.hypercalls = median(mips), median(calls)


def _measure_rounds(
    results: Results, network: Network, folder: Path, share: float, say: Say
) -> None:
    core, client = results.cores
    samples: dict[tuple[str, str], list[float]] = {}

    def rate(figure: str, server: Server, keep_alive: bool) -> None:
        got = clients.requests(network, server.address, share, client, keep_alive=keep_alive)
        samples.setdefault((figure, server.name), []).append(got.per_second)
        key = f"{figure} {server.name}"
        results.failed[key] = results.failed.get(key, 0) + got.failed

    def bulk(figure: str, server: Server) -> None:
        measure = clients.from_server if figure == "from" else clients.to_server
        got = measure(network, server.address, share, client)
        samples.setdefault((figure, server.name), []).append(got)

    with (
        Leulo(network, folder, core) as leulo,
        Nginx(network, folder, core) as nginx,
        Stream(network, core) as stream,
    ):
        for number in range(1, ROUNDS + 1):
            say(f"round {number} of {ROUNDS}")
            steps: list[tuple[str, Callable[[Server], None], tuple[Server, Server]]] = [
                ("new", lambda server: rate("new", server, False), (leulo, nginx)),
                ("keep", lambda server: rate("keep", server, True), (leulo, nginx)),
                ("from", lambda server: bulk("from", server), (leulo, stream)),
                ("to", lambda server: bulk("to", server), (leulo, stream)),
            ]
            for _, step, servers in steps:
                # Who begins changes, so that warm caches or a hot core favour nobody.
                for server in servers if number % 2 else reversed(servers):
                    step(server)
                    if not leulo.is_alive():
                        raise LeuloError(f"leulo boot ended in the middle: {leulo.errors()}")
    for (figure, name), values in samples.items():
        middle = median(values)
        (results.leulo if name == Leulo.name else results.linux)[figure] = middle
        results.spread[f"{figure} {name}"] = (max(values) - min(values)) / middle if middle else 0.0


def _account(
    network: Network, folder: Path, cores: tuple[int, int], seconds: float, keep_alive: bool
) -> dict[str, float]:
    """Microseconds of CPU a request, by part; a run that only boots is subtracted."""
    idle, _ = _accounted_run(network, folder, cores, 0.0, keep_alive)
    busy, count = _accounted_run(network, folder, cores, seconds, keep_alive)
    if count == 0:
        raise LeuloError("no request was answered in the accounted run")
    parts = {name: (busy[name] - idle[name]) * 1e6 / count for name in busy}
    known = sum(parts[name] for name in ("engine", "hypercalls", "guest", "links"))
    return {
        **{name: parts[name] for name in ("engine", "hypercalls", "guest", "links")},
        "loop": max(0.0, parts["all"] - known),
        "all": parts["all"],
    }


def _accounted_run(
    network: Network, folder: Path, cores: tuple[int, int], seconds: float, keep_alive: bool
) -> tuple[dict[str, float], int]:
    """(seconds by part, requests answered) of one run."""
    core, client = cores
    with Leulo(network, folder, core, accounted=True) as leulo:
        count = 0
        if seconds:
            got = clients.requests(network, leulo.address, seconds, client, keep_alive=keep_alive)
            count = got.count
        leulo.end()
        counters = leulo.counters()
    return {
        "engine": counters["account.engine_ns"] / 1e9,
        "hypercalls": counters["account.hypercall_ns"] / 1e9,
        "guest": counters["account.guest_ns"] / 1e9,
        "links": counters["account.link_ns"] / 1e9,
        "all": counters["account.total_ns"] / 1e9,
    }, count
