"""The figures as a table for people and as JSON for programs."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table

from leulo.bench.plan import ACCOUNT_PARTS, ROUNDS, Results

_FIGURES: Final = {
    "new": ("new connections", "/s", 1.0),
    "keep": ("keep-alive requests", "/s", 1.0),
    "from": ("bulk from the guest", "MB/s", 1e-6),
    "to": ("bulk to the guest", "MB/s", 1e-6),
}
_RIVALS: Final = {"new": "nginx", "keep": "nginx", "from": "linux", "to": "linux"}
_KINDS: Final = {"new": "new connection", "keep": "keep-alive"}


def plain(results: Results) -> dict[str, Any]:
    """All figures as JSON-ready data, with their units in their names."""
    return {
        "rounds": ROUNDS,
        "is_compiled": results.is_compiled,
        "linux": results.linux_is,
        "server_core": results.cores[0],
        "client_core": results.cores[1],
        "load_average": results.load_average,
        "guest_mips": results.mips,
        "hypercalls_per_s": results.hypercalls,
        "figures": {
            figure: {
                "what": words,
                "leulo_per_s": results.leulo.get(figure, 0.0),
                "linux_per_s": results.linux.get(figure, 0.0),
                "linux_is": _RIVALS[figure],
                "ratio": results.ratio(figure),
                "goal": results.goals[figure],
                "failed": results.failed.get(f"{figure} leulo", 0),
                "spread_leulo": results.spread.get(f"{figure} leulo", 0.0),
                "spread_linux": results.spread.get(f"{figure} {_RIVALS[figure]}", 0.0),
            }
            for figure, (words, _, _) in _FIGURES.items()
        },
        "cpu_us_per_request": results.account_us,
        "missed": missed(results),
    }


def missed(results: Results) -> list[str]:
    """What was measured and is not as wanted, in words: ratios below their goal, and failures."""
    found = []
    for figure, (words, _, _) in _FIGURES.items():
        if figure in results.leulo:
            ratio, goal = results.ratio(figure), results.goals[figure]
            if ratio < goal:
                found.append(f"{words} {ratio:.3f} instead of {goal:.2f}")
            if failed := results.failed.get(f"{figure} leulo", 0):
                found.append(f"{words}: {failed} failed")
    return found


def show(results: Results, console: Console) -> None:
    """Print everything; what is below its goal is marked."""
    console.print(f"guest: {results.mips:,.0f} million instructions/s")
    console.print(f"hypercalls: {results.hypercalls:,.0f}/s")
    if not results.leulo:
        return
    console.print()
    build = "compiled" if results.is_compiled else "interpreted"
    cores = f"server on core {results.cores[0]}, client on core {results.cores[1]}"
    title = (
        f"{build}; medians of {ROUNDS} rounds; {cores}; load was {results.load_average:.1f}; "
        f"Linux {results.linux_is}"
    )
    table = Table(box=None, padding=(0, 1), title_justify="left", title=title)
    for name in ("", "Leulo", "Linux", "ratio", "goal", "spread", "failed"):
        table.add_column(name, justify="left" if not name else "right")
    for figure, (words, unit, scale) in _FIGURES.items():
        rival = _RIVALS[figure]
        goal = results.goals[figure]
        ratio = results.ratio(figure)
        spread = max(results.spread.get(f"{figure} {name}", 0.0) for name in ("leulo", rival))
        table.add_row(
            f"{words}, {unit}",
            f"{results.leulo.get(figure, 0.0) * scale:,.0f}",
            f"{results.linux.get(figure, 0.0) * scale:,.0f} ({rival})",
            f"{ratio:.2f}" if ratio >= goal else f"[red]{ratio:.2f}[/red]",
            f"{goal:.2f}",
            f"{spread:.0%}",
            str(results.failed.get(f"{figure} leulo", 0)) if rival == "nginx" else "",
        )
    console.print(table)
    console.print()
    account = Table(box=None, padding=(0, 1), title="CPU microseconds a request",
                    title_justify="left")  # fmt: skip
    account.add_column("")
    for part in (*ACCOUNT_PARTS, "all"):
        account.add_column(part, justify="right")
    for kind, parts in results.account_us.items():
        account.add_row(
            _KINDS[kind], *(f"{parts.get(part, 0.0):.1f}" for part in (*ACCOUNT_PARTS, "all"))
        )
    console.print(account)
