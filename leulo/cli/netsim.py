"""``leulo netsim``: the behaviour table, or one flow to look at, in simulated time."""

from __future__ import annotations

import json
import time
from pathlib import Path as FilePath

import click
from click.core import ParameterSource

from leulo.errors import EXIT_FAILED, EXIT_OK, ConfigError
from leulo.tcp.config import PRESETS
from leulo.units import NS_PER_MS, NS_PER_S, parse_duration, parse_rate

_EXAMPLES = """\b
Examples:
  leulo netsim                                   the table, some three minutes
  leulo netsim --quick                           fewer seeds, shorter runs
  leulo netsim 'reno*' 'two*'                    the rows so named
  leulo netsim --flow cubic --loss 0.001 --plot cubic.png
  leulo netsim --flow reno --flow cubic --rate 20mbit --queue 66 --plot both.png

\b
Exit codes: 0 all bounds are held; 1 one is not; 2 a flag is wrong.
"""


@click.command(
    "netsim",
    epilog=_EXAMPLES,
    short_help="Flows in simulated time: the behaviour table, and plots.",
)
@click.argument("rows", nargs=-1, metavar="[ROW]...")
@click.option("--quick", is_flag=True, help="Fewer seeds and shorter runs, within wider bounds.")
@click.option("--long", "with_long", is_flag=True, help="Also the rows that take minutes.")
@click.option(
    "--snapshot", is_flag=True,
    help="Print the table of loss and buffer that the repository keeps, instead.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--flow", "flows", multiple=True, metavar="NAME",
    help="Simulate one flow with this congestion control, instead of the table; may be repeated.",
)  # fmt: skip
@click.option("--rate", default="100mbit", show_default=True, help="Bottleneck, with --flow.")
@click.option("--rtt", default="40ms", show_default=True, help="Round trip, with --flow.")
@click.option("--jitter", default="0ms", show_default=True, help="At most so much more delay.")
@click.option("--queue", default=2000, show_default=True, type=click.IntRange(1), help="Packets.")
@click.option("--loss", default=0.0, show_default=True, type=click.FloatRange(0, 0.5), help="Rate.")
@click.option(
    "--ecn", default=0, type=click.IntRange(0), metavar="PACKETS",
    help="Mark from so many packets in the queue on, and ask for ECN; 0: off.",
)  # fmt: skip
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), default="linux", show_default=True,
    help="Whose TCP both stacks speak, with --flow.",
)  # fmt: skip
@click.option("--seconds", default=30, show_default=True, type=click.IntRange(1, 3600))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@click.option(
    "--plot", type=click.Path(path_type=FilePath, dir_okay=False), metavar="FILE",
    help="Draw window, RTT and sequence numbers of the flows (PNG or SVG).",
)  # fmt: skip
def command(  # one parameter a flag
    rows: tuple[str, ...],
    quick: bool,
    with_long: bool,
    snapshot: bool,
    as_json: bool,
    flows: tuple[str, ...],
    rate: str,
    rtt: str,
    jitter: str,
    queue: int,
    loss: float,
    ecn: int,
    preset: str,
    seconds: int,
    seed: int,
    plot: FilePath | None,
) -> int:
    """Simulate bulk flows between two of our stacks, and hold them to a table of bounds.

    ROW selects rows of the table by name or glob.
    """
    _refuse_what_does_nothing("flow" if flows else "snapshot" if snapshot else "table")
    if flows:
        return _one(
            flows, rate, rtt, jitter, queue, loss, ecn, preset, seconds, seed, plot, as_json
        )
    if snapshot:
        return _snapshot(as_json)
    return _table(rows, quick, with_long, as_json)


_OF_THE_FLOW = (
    "rate",
    "rtt",
    "jitter",
    "queue",
    "loss",
    "ecn",
    "preset",
    "seconds",
    "seed",
    "plot",
)
_OF_THE_TABLE = {"rows": "a ROW", "quick": "--quick", "with_long": "--long"}


def _refuse_what_does_nothing(what: str) -> None:
    """What was given and is of another thing than the one that is asked for. Raises ConfigError."""
    context = click.get_current_context()

    def is_given(name: str) -> bool:
        return context.get_parameter_source(name) is not ParameterSource.DEFAULT

    for name in _OF_THE_FLOW:
        if what != "flow" and is_given(name):
            raise ConfigError(f"--{name}: is for what --flow simulates: add --flow NAME")
    for name, written in _OF_THE_TABLE.items():
        if what != "table" and is_given(name):
            raise ConfigError(f"{written}: is of the table: leave out --{what}")
    if what == "flow" and is_given("snapshot"):
        raise ConfigError("--snapshot: is a table of its own: leave out --flow")


def _table(rows: tuple[str, ...], quick: bool, with_long: bool, as_json: bool) -> int:
    from fnmatch import fnmatchcase

    from leulo.netsim.behaviour import CASES, check
    from leulo.netsim.simulation import Simulation

    named = [case for case in CASES if not rows or any(fnmatchcase(case.name, row) for row in rows)]
    chosen = [
        case for case in named if with_long or not case.is_long or case.name in rows
    ] or named  # a glob that means only rows that take minutes
    if not chosen:
        names = ", ".join(case.name for case in CASES)
        raise ConfigError(f"netsim {' '.join(rows)}: no row is called so; there are: {names}")
    results = []
    began = time.process_time()
    for case in chosen:
        verdict = check(case, quick)
        case = verdict.case
        results.append(
            {
                "name": case.name, "what": case.what, "value": verdict.value / 1000,
                "least": case.least / 1000,
                "most": None if case.most is None else case.most / 1000,
                "held": verdict.is_held,
            }
        )  # fmt: skip
        if not as_json:
            most = "" if case.most is None else f" to {case.most / 1000:g}"
            mark = "ok" if verdict.is_held else "NOT HELD"
            click.echo(
                f"{case.name:22} {verdict.value / 1000:7.3f}  {case.what:24} "
                f"wanted {case.least / 1000:g}{most:9} {mark}"
            )
    hops = Simulation.total_hops
    per_cpu_s = round(hops / max(time.process_time() - began, 1e-9))
    if as_json:
        speed = {"hops": hops, "hops_per_cpu_s": per_cpu_s}
        click.echo(json.dumps({"results": results, **speed}, indent=1))
    else:
        click.echo(f"{hops:,} frame hops, {per_cpu_s:,} in a second of CPU time")
    return EXIT_OK if all(result["held"] for result in results) else EXIT_FAILED


def _snapshot(as_json: bool) -> int:
    from leulo.netsim.behaviour import ALGORITHMS, loss_and_buffer

    if as_json:
        keys = ("loss_ppm", "queue_packets", "kbit_per_s")
        rows = [
            {"algorithm": name, **dict(zip(keys, row, strict=True))}
            for name in ALGORITHMS
            for row in loss_and_buffer(name)
        ]
        click.echo(json.dumps(rows, indent=1))
        return EXIT_OK
    click.echo("# kbit/s over 20 Mbit/s and 40 ms, by loss in ppm and queue in packets")
    for name in ALGORITHMS:
        for loss, queue, rate in loss_and_buffer(name):
            click.echo(f"{name:6} {loss:6} {queue:4} {rate:6}")
    return EXIT_OK


def _one(
    names: tuple[str, ...],
    rate: str,
    rtt: str,
    jitter: str,
    queue: int,
    loss: float,
    ecn: int,
    preset: str,
    seconds: int,
    seed: int,
    plot: FilePath | None,
    as_json: bool,
) -> int:
    from leulo.netsim.plots import Record, draw

    if plot is not None and plot.suffix.lower() not in (".png", ".svg"):
        raise ConfigError(f"--plot {plot}: is no picture: name it .png or .svg")
    from leulo.netsim.simulation import Flow, Path, Simulation
    from leulo.tcp import congestion
    from leulo.trace import Trace

    for name in names:
        if congestion.make(name) is None:
            known = ", ".join(congestion.names())
            raise ConfigError(
                f"--flow {name}: no congestion control is called so; there are: {known}"
            )
    try:
        path = Path(
            rate=parse_rate(rate),
            rtt_ns=parse_duration(rtt),
            jitter_ns=parse_duration(jitter),
            queue=queue,
            loss=round(loss * 10**9),
            ecn=ecn,
        )
    except ValueError as error:
        raise ConfigError(f"netsim: {error}") from None
    flows = [Flow(name) for name in names]
    step = max(NS_PER_MS, seconds * NS_PER_S // 2000)
    trace = Trace()
    record = None if plot is None else Record(trace, path)
    simulation = Simulation(path, flows, seed, sample_ns=step, preset=preset, trace=trace)
    result = simulation.run(seconds * NS_PER_S)
    rates = [result.rate(number) for number in range(len(flows))]
    if as_json:
        click.echo(
            json.dumps(
                {
                    "flows": [
                        {"congestion": f.congestion, "bit_s": r, "retransmits": f.retransmits}
                        for f, r in zip(flows, rates, strict=True)
                    ],
                    "lost": result.lost, "dropped": result.dropped, "marked": result.marked,
                    "hops": result.hops,
                }
            )
        )  # fmt: skip
    else:
        for flow, got in zip(flows, rates, strict=True):
            click.echo(f"{flow.congestion}: {got / 1e6:.2f} Mbit/s, "
                       f"{flow.retransmits} retransmissions")  # fmt: skip
        click.echo(f"the wire lost {result.lost} and its queue dropped {result.dropped} segments")
        if ecn:
            click.echo(f"{result.marked} segments were marked")
    if plot is not None and record is not None:
        title = f"{rate}, {rtt}, a queue of {queue} packets"
        title += f", {jitter} jitter" if path.jitter_ns else ""
        title += f", marks from {ecn} on" if ecn else ""
        draw(result, path, record, title + (f", loses {loss:g}" if loss else ""), plot)
        if not as_json:
            click.echo(f"wrote {plot}")
    return EXIT_OK
