"""The engine over a TAP beside nginx over veth, in one run: ``python engine_bench.py [SECONDS]``.

Needs root, wrk and nginx, and two processors: the server on one, wrk on the other. Prints the
median of three rounds: new connections/s (``Connection: close``) and keep-alive requests/s, the
ratio, and the engine's CPU time for each.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
from pathlib import Path

from engine_process import ADDRESS, EngineProcess, start_nginx
from netns import Namespace

ROUNDS = 3
CONNECTIONS = 64


def wrk(namespace: Namespace, url: str, seconds: int, is_closing: bool) -> float:
    """Requests per second; fails on any error that is not a close after the response."""
    header = ["-H", "Connection: close"] if is_closing else []
    output = namespace.run(
        "taskset", "-c", "1", "wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s",
        *header, url,
    )  # fmt: skip
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert rate, output
    if "Non-2xx" in output or re.search(r"Socket errors: .*(connect|timeout) [1-9]", output):
        print(output)
    return float(rate[1])


def main(argv: list[str]) -> None:
    seconds = int(argv[0]) if argv else 2
    rates: dict[tuple[str, bool], list[float]] = {}
    costs: dict[bool, list[float]] = {True: [], False: []}
    with (
        Namespace("wrk") as tap,
        Namespace("cl") as client,
        Namespace("srv") as server,
        tempfile.TemporaryDirectory() as directory,
    ):
        client.add_veth(server, ("10.78.0.1/24", "10.78.0.2/24"))
        for namespace in (tap, client):
            namespace.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535")
        start_nginx(server, Path(directory), cpu=0)
        with EngineProcess(tap, cpu=0) as engine:
            for _ in range(ROUNDS):
                for is_closing in (True, False):
                    path = "/closed" if is_closing else "/"
                    rate = wrk(client, f"http://10.78.0.2{path}", seconds, is_closing)
                    rates.setdefault(("nginx", is_closing), []).append(rate)
                    before = engine.ask()["cpu_us"]
                    rate = wrk(tap, f"http://{ADDRESS}/", seconds, is_closing)
                    rates.setdefault(("engine", is_closing), []).append(rate)
                    costs[is_closing].append((engine.ask()["cpu_us"] - before) / (rate * seconds))
    for is_closing, name in ((True, "new connections/s"), (False, "keep-alive requests/s")):
        ours = statistics.median(rates["engine", is_closing])
        theirs = statistics.median(rates["nginx", is_closing])
        cost = statistics.median(costs[is_closing])
        print(f"{name:24} engine {ours:8.0f} ({cost:.1f} us CPU each)  nginx {theirs:8.0f}  "
              f"ratio {ours / theirs:.2f}")  # fmt: skip
    print({k: v for k, v in engine.counters.items() if v})


if __name__ == "__main__":
    main(sys.argv[1:])
