"""Pictures of one flow: window, round-trip time and sequence numbers over time.

Needs matplotlib, which is no dependency of Leulo: without it an EnvironmentProblem says what to
install.
"""

from __future__ import annotations

from pathlib import Path as FilePath

from leulo.errors import EnvironmentProblem
from leulo.netsim.behaviour import MSS
from leulo.netsim.simulation import Flow
from leulo.units import NS_PER_MS, NS_PER_S

_NO_THRESHOLD = 1 << 39  # ssthresh before the first loss


def draw(flows: list[Flow], title: str, file: FilePath) -> None:
    """Draw the samples of ``flows`` into ``file`` (PNG or SVG by its name).

    Raises EnvironmentProblem without matplotlib, or where the file cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        raise EnvironmentProblem(
            "plots need matplotlib: install it with `pip install matplotlib`"
        ) from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (window, delay, sequence) = pyplot.subplots(
        3, 1, sharex=True, figsize=(10, 9), layout="constrained"
    )
    figure.suptitle(title)
    for number, flow in enumerate(flows, 1):
        label = flow.congestion if len(flows) == 1 else f"{flow.congestion} {number}"
        seconds = [sample.time_ns / NS_PER_S for sample in flow.samples]
        (line,) = window.plot(seconds, [s.cwnd / MSS for s in flow.samples], label=f"cwnd, {label}")
        known = [s for s in flow.samples if s.ssthresh < _NO_THRESHOLD]
        if known:  # a model of the path needs none
            window.plot(
                [s.time_ns / NS_PER_S for s in known], [s.ssthresh / MSS for s in known],
                linestyle=":", color=line.get_color(), label=f"ssthresh, {label}",
            )  # fmt: skip
        delay.plot(seconds, [s.srtt_ns / NS_PER_MS for s in flow.samples], label=label)
        sequence.plot(seconds, [s.nxt / 1e6 for s in flow.samples], label=f"sent, {label}")
        sequence.plot(
            seconds, [s.una / 1e6 for s in flow.samples], linestyle="--",
            color=sequence.lines[-1].get_color(), label=f"acknowledged, {label}",
        )  # fmt: skip
    window.set_ylabel("segments")
    window.set_ylim(bottom=0)
    delay.set_ylabel("smoothed RTT, ms")
    delay.set_ylim(bottom=0)
    sequence.set_ylabel("megabytes")
    sequence.set_xlabel("seconds")
    for axes in (window, delay, sequence):
        axes.grid(alpha=0.3)
        axes.legend(loc="best", fontsize="small")
    try:
        figure.savefig(file, dpi=110)
    except OSError as error:
        raise EnvironmentProblem(f"{file}: cannot be written: {error.strerror}") from None
    finally:
        pyplot.close(figure)
