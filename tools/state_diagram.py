"""The state machine of a connection as a picture and as a table, both from `leulo.tcp.state`.

Where each state stands is said here, as in the figure of the RFC; which ways there are between
them, and what leads along them, only the engine's own table says. [RFC 9293 3.3.2]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from leulo.tcp.state import TRANSITIONS, Event, State

_WIDTH: Final = 920
_HEIGHT: Final = 660
_BOX: Final = (124, 34)
_PLACES: Final = {
    State.CLOSED: (450, 50),
    State.LISTEN: (230, 150),
    State.SYN_SENT: (670, 150),
    State.SYN_RCVD: (230, 280),
    State.ESTABLISHED: (450, 280),
    State.FIN_WAIT_1: (230, 400),
    State.CLOSE_WAIT: (670, 400),
    State.FIN_WAIT_2: (230, 520),
    State.CLOSING: (450, 520),
    State.LAST_ACK: (670, 520),
    State.TIME_WAIT: (450, 620),
}
_BACK_AND_FORTH: Final = 26  # how far two ways between the same states keep apart
# The ways that lead round all others: how far to the left or the right they are drawn to.
_ROUND: Final = {(State.TIME_WAIT, State.CLOSED): -60, (State.LAST_ACK, State.CLOSED): 940}

Point = tuple[float, float]


def _ways() -> Iterator[tuple[State, Event, State]]:
    for state, events in TRANSITIONS.items():
        for event, to in events.items():
            yield state, event, to


def table() -> str:
    """A line for each way that there is."""
    lines = ["| in | hears of | and is in |", "| --- | --- | --- |"]
    lines += [f"| {state.name} | {event.name} | {to.name} |" for state, event, to in _ways()]
    return "\n".join(lines) + "\n"


def picture() -> str:
    """An SVG. Without ABORT, which leads from everywhere to CLOSED."""
    drawn = [way for way in _ways() if way[1] is not Event.ABORT]
    pairs = {(state, to) for state, _, to in drawn}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        "<!-- Made by tools/generate_reference.py from leulo/tcp/state.py: edit that instead. -->",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="#567"/></marker></defs>',
    ]
    parts += [_arrow(state, event, to, (to, state) in pairs) for state, event, to in drawn]
    parts += [_box(state) for state in State]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _box(state: State) -> str:
    x, y = _PLACES[state]
    width, height = _BOX
    return (
        f'<rect x="{x - width // 2}" y="{y - height // 2}" width="{width}" height="{height}" '
        'rx="6" fill="#eef3f8" stroke="#345"/>'
        f'<text x="{x}" y="{y + 4}" text-anchor="middle" fill="#123">{state.name}</text>'
    )


def _arrow(state: State, event: Event, to: State, is_pair: bool) -> str:
    begin, end = _PLACES[state], _PLACES[to]
    aside = _ROUND.get((state, to))
    if aside is not None:
        first: Point = (aside, begin[1])
        last: Point = (aside, end[1])
    else:
        first = last = _bend(begin, end, _BACK_AND_FORTH if is_pair else 0)
    x1, y1 = _border(begin, first)
    x2, y2 = _border(end, last)
    x = (x1 + 3 * first[0] + 3 * last[0] + x2) / 8
    y = (y1 + 3 * first[1] + 3 * last[1] + y2) / 8
    return (
        f"<g><title>{state.name} {event.name} {to.name}</title>"
        f'<path d="M{x1:.0f} {y1:.0f}C{first[0]:.0f} {first[1]:.0f} {last[0]:.0f} {last[1]:.0f} '
        f'{x2:.0f} {y2:.0f}" '
        'fill="none" stroke="#567" marker-end="url(#tip)"/>'
        f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle" fill="#a30" stroke="#fff" '
        f'stroke-width="4" paint-order="stroke">{event.name}</text></g>'
    )


def _bend(begin: Point, end: Point, aside: float) -> Point:
    """The middle between two points, or as far beside it."""
    dx, dy = end[0] - begin[0], end[1] - begin[1]
    length = (dx * dx + dy * dy) ** 0.5
    x, y = (begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2
    return x - dy / length * aside, y + dx / length * aside


def _border(center: Point, towards: Point) -> Point:
    """Where a line from a box's middle leaves it."""
    dx, dy = towards[0] - center[0], towards[1] - center[1]
    reach = min(
        _BOX[0] / 2 / abs(dx) if dx else float("inf"),
        _BOX[1] / 2 / abs(dy) if dy else float("inf"),
    )
    return center[0] + dx * reach, center[1] + dy * reach
