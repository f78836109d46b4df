"""Pictures of flows: window, round-trip time and sequence numbers over time.

The last panel shows the beginning segment by segment, which is where most of what there is to see
happens; `Record` takes it down while the simulation runs. Needs matplotlib, which is no dependency
of Leulo: without it an EnvironmentProblem says what to install.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final

from leulo.errors import EnvironmentProblem
from leulo.netsim.behaviour import MSS
from leulo.netsim.simulation import Flow, Path, Result
from leulo.tcp.events import Retransmitted, SegmentIn, SegmentOut
from leulo.tcp.seq import MASK
from leulo.trace import Trace
from leulo.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NO_THRESHOLD: Final = 1 << 39  # ssthresh before the first loss
_CLOSE_ROUNDS: Final = 25  # round trips in the last panel
_DPI: Final = 110
_AGAIN: Final = "tab:red"


class Record:
    """What a sender did, by local port: (time, sequence number) each."""

    def __init__(self, trace: Trace, path: Path) -> None:
        """``trace`` is the simulation's."""
        self.until_ns = _CLOSE_ROUNDS * path.rtt_ns
        self.sent: dict[int, list[tuple[int, int]]] = {}
        self.acknowledged: dict[int, list[tuple[int, int]]] = {}
        self.again: dict[int, list[tuple[int, int]]] = {}
        self._trace = trace
        trace.subscribe(SegmentOut.NAME, self._segment)
        trace.subscribe(SegmentIn.NAME, self._segment)
        trace.subscribe(Retransmitted.NAME, self._again)

    def _segment(self, event: SegmentOut | SegmentIn) -> None:
        if event.time_ns > self.until_ns:
            self._trace.unsubscribe(self._segment)
        elif isinstance(event, SegmentIn):
            _port_of(self.acknowledged, event).append((event.time_ns, event.ack))
        elif event.length:
            _port_of(self.sent, event).append((event.time_ns, event.seq))

    def _again(self, event: Retransmitted) -> None:
        _port_of(self.again, event).append((event.time_ns, event.seq))


def _port_of(
    lists: dict[int, list[tuple[int, int]]], event: SegmentOut | SegmentIn | Retransmitted
) -> list[tuple[int, int]]:
    return lists.setdefault(int(event.local.rpartition(":")[2]), [])


def draw(result: Result, path: Path, record: Record, title: str, file: FilePath) -> None:
    """Draw the samples of the flows, and what ``record`` has of them, into ``file`` (PNG or SVG by
    its name).

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

    figure, panels = pyplot.subplots(4, 1, figsize=(11, 13), layout="constrained")
    window, delay, sequence, begin = panels
    figure.suptitle(title)
    for number, flow in enumerate(result.flows):
        color = f"C{number if number < 3 else number + 1}"  # all but that of what is sent again
        name = flow.congestion if len(result.flows) == 1 else f"{flow.congestion} {number + 1}"
        _draw_window(window, flow, name, color)
        seconds = [sample.time_ns / NS_PER_S for sample in flow.samples]
        delay.plot(seconds, [s.srtt_ns / NS_PER_MS for s in flow.samples], color=color, label=name)
        rate = f"{name}: {result.rate(number) / 1e6:.2f} Mbit/s"
        sequence.plot(seconds, [s.una / 1e6 for s in flow.samples], color=color, label=rate)
        _mark(sequence, "|", 7, "sent again", _relative(flow, record.again), _AGAIN, 1e6)
        _draw_segments(begin, flow, record, name, color)
    delay.axhline(
        path.rtt_ns / NS_PER_MS, color="gray", linestyle="--", linewidth=1, label="without a queue"
    )
    window.set_ylim(bottom=0)
    _name(window, "congestion window", "segments")
    _name(delay, "smoothed round-trip time (the axis does not begin at 0)", "milliseconds")
    _name(sequence, "acknowledged", "megabytes")
    _name(begin, f"the first {_CLOSE_ROUNDS} round trips, segment by segment", "segments")
    begin.set_xlim(0, record.until_ns / NS_PER_S)
    for axes in (delay, sequence):
        axes.sharex(window)
    begin.set_xlabel("seconds")
    try:
        figure.savefig(file, dpi=_DPI)
    except OSError as error:
        raise EnvironmentProblem(f"{file}: cannot be written: {error.strerror}") from None
    finally:
        pyplot.close(figure)


def _draw_window(axes: Axes, flow: Flow, name: str, color: str) -> None:
    seconds = [sample.time_ns / NS_PER_S for sample in flow.samples]
    axes.plot(seconds, [s.cwnd / MSS for s in flow.samples], color=color, label=f"cwnd, {name}")
    known = [s for s in flow.samples if s.ssthresh < _NO_THRESHOLD]
    if known:  # a model of the path needs none
        axes.plot(
            [s.time_ns / NS_PER_S for s in known], [s.ssthresh / MSS for s in known],
            linestyle=":", color=color, label=f"ssthresh, {name}",
        )  # fmt: skip


def _draw_segments(axes: Axes, flow: Flow, record: Record, name: str, color: str) -> None:
    """Each segment a dot, what is acknowledged a line of steps: their distance is in flight."""
    _mark(axes, ".", 3, f"sent, {name}", _relative(flow, record.sent), color, MSS)
    steps = _relative(flow, record.acknowledged)
    axes.step(
        [time_ns / NS_PER_S for time_ns, _ in steps], [seq / MSS for _, seq in steps],
        where="post", color=color, linewidth=1, label=f"acknowledged, {name}",
    )  # fmt: skip
    again = [it for it in _relative(flow, record.again) if it[0] <= record.until_ns]
    _mark(axes, "x", 5, "sent again", again, _AGAIN, MSS)


def _relative(flow: Flow, lists: dict[int, list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """The flow's, with numbers that count from the first byte."""
    if flow.tcb is None:
        return []
    first = flow.tcb.iss + 1
    return [(at, (seq - first) & MASK) for at, seq in lists.get(flow.tcb.local_port, [])]


def _mark(
    axes: Axes, marker: str, size: int, label: str, points: Sequence[tuple[int, int]], color: str,
    unit: float,
) -> None:  # fmt: skip
    if points:
        known = axes.get_legend_handles_labels()[1]
        axes.plot(
            [time_ns / NS_PER_S for time_ns, _ in points], [seq / unit for _, seq in points],
            marker=marker, markersize=size, linestyle="none", color=color,
            label="_" + label if label in known else label,
        )  # fmt: skip


def _name(axes: Any, title: str, unit: str) -> None:
    axes.set_title(title, fontsize="medium", loc="left")
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small", frameon=False)
