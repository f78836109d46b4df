"""The engine over a TAP beside nginx over veth, in one run: ``python engine_bench.py [SECONDS]``.

Needs root, wrk and nginx, and two processors: the server on one, wrk on the other. Prints the
medians of the rounds: new connections/s (``Connection: close``) and keep-alive requests/s, the
ratio, and the engine's CPU time for each. With ``--reference FILE`` the engine in that file
(`leulo.bench.beside`) serves over a TAP of its own, in turns with ours, and the ratio of CPU time
is printed, too. ``--connections`` is how many wrk holds at once.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from engine_process import ADDRESS, EngineProcess, start_nginx
from netns import Namespace

ROUNDS = 3
CONNECTIONS = 64
GOAL = 1.25


def wrk(namespace: Namespace, url: str, seconds: int, is_closing: bool, connections: int) -> float:
    """Requests per second; fails on any error that is not a close after the response."""
    header = ["-H", "Connection: close"] if is_closing else []
    output = namespace.run(
        "taskset", "-c", "1", "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s",
        *header, url,
    )  # fmt: skip
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert rate, output
    if "Non-2xx" in output or re.search(r"Socket errors: .*(connect|timeout) [1-9]", output):
        print(output)
    return float(rate[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=int, default=2, help="of each measurement")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="the other engine")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    rates: dict[tuple[str, bool], list[float]] = {}
    costs: dict[tuple[str, bool], list[float]] = {}
    with ExitStack() as stack:
        client, server = (stack.enter_context(Namespace(name)) for name in ("cl", "srv"))
        client.add_veth(server, ("10.78.0.1/24", "10.78.0.2/24"))
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        start_nginx(server, Path(directory), cpu=0)
        engines = {}
        for name, file in (("engine", None), ("reference", given.reference)):
            if name == "engine" or file is not None:
                tap = stack.enter_context(Namespace(name))
                engines[name] = tap, stack.enter_context(EngineProcess(tap, cpu=0, reference=file))
        for namespace in (client, *(tap for tap, _ in engines.values())):
            namespace.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535")
        for number in range(given.rounds):
            for is_closing in (True, False):
                path = "/closed" if is_closing else "/"
                rate = wrk(client, f"http://10.78.0.2{path}", given.seconds, is_closing,
                           given.connections)  # fmt: skip
                rates.setdefault(("nginx", is_closing), []).append(rate)
                # Who begins changes.
                for name in list(engines) if number % 2 else reversed(engines):
                    tap, engine = engines[name]
                    before = engine.ask()["cpu_us"]
                    rate = wrk(tap, f"http://{ADDRESS}/", given.seconds, is_closing,
                               given.connections)  # fmt: skip
                    rates.setdefault((name, is_closing), []).append(rate)
                    costs.setdefault((name, is_closing), []).append(
                        (engine.ask()["cpu_us"] - before) / (rate * given.seconds)
                    )
    for is_closing, words in ((True, "new connections/s"), (False, "keep-alive requests/s")):
        ours = statistics.median(rates["engine", is_closing])
        theirs = statistics.median(rates["nginx", is_closing])
        cost = statistics.median(costs["engine", is_closing])
        print(f"{words:24} engine {ours:8.0f} ({cost:.1f} us CPU each)  nginx {theirs:8.0f}  "
              f"ratio {ours / theirs:.2f}")  # fmt: skip
        if given.reference is not None:
            other = statistics.median(costs["reference", is_closing])
            rate = statistics.median(rates["reference", is_closing])
            print(f"{'':24} reference {rate:5.0f} ({other:.1f} us CPU each)  "
                  f"CPU ratio {cost / other:.2f}, wanted {GOAL:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
