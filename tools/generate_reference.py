"""Make the reference pages that follow from the code: command line, events, chips, exit codes, the
states of TCP.

``python tools/generate_reference.py`` writes them, ``--check`` only says which would change.
Nobody edits these pages: change the code they come from.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import click
import state_diagram

from leulo import errors
from leulo.cli import VERBS, group
from leulo.cli.events import all_kinds
from leulo.devices.register import Register, place

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"
_NOTE = "<!-- Made by tools/generate_reference.py from the code: edit that instead. -->\n"
_WIDTH = 96


def command_line() -> str:
    """Every verb's ``--help``, as it is printed."""
    page = [_NOTE, "# Command line\n"]
    page += _help(group, ("leulo",))
    for verb, (module, _) in VERBS.items():
        command = importlib.import_module(module).command
        page += _help(command, ("leulo", verb))
    return "\n".join(page)


def _help(command: click.Command, words: tuple[str, ...]) -> Iterator[str]:
    context: click.Context | None = None
    for word in words[:-1]:
        context = click.Context(group, info_name=word, parent=context)
    context = click.Context(
        command, info_name=words[-1], parent=context, terminal_width=_WIDTH,
        max_content_width=_WIDTH,
    )  # fmt: skip
    yield f"## {' '.join(words)}\n"
    yield f"```text\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group) and len(words) > 1:
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _help(inner, (*words, name))


def events() -> str:
    """Every event type, by name, with its fields."""
    page = [
        _NOTE,
        "# Events\n",
        "Everything that happens is one of these, with `time_ns`, nanoseconds of the host's clock. "
        "`leulo boot --log GLOB` shows them by name, `--log list` their names, "
        "`--trace FILE` writes all of them, a JSON object a line.\n",
    ]
    for kind in all_kinds():
        page.append(f"## {kind.NAME}\n")
        page.append(f"{inspect.cleandoc(kind.__doc__ or '').strip()}\n")
        own = [field for field in fields(kind) if field.name != "time_ns"]
        if own:
            page.append("| field | type |\n| --- | --- |")
            page += [f"| `{field.name}` | {_type(field.type)} |" for field in own]
            page.append("")
    return "\n".join(page)


def _type(kind: object) -> str:
    return f"`{kind if isinstance(kind, str) else getattr(kind, '__name__', kind)}`"


def tcp_states() -> str:
    """The state machine of a connection."""
    return "\n".join(
        [
            _NOTE,
            "# TCP states\n",
            "Every change of a connection's state goes through one table, `TRANSITIONS` in "
            "`leulo/tcp/state.py`; what is drawn and listed here is that table. ABORT (the user, a "
            "reset or a timer ends the connection at once) leads from everywhere to CLOSED and is "
            "not drawn. A passive open is a small record until its handshake is complete, and "
            "TIME_WAIT is one from then on.\n",
            "![The states of a connection and what leads from one to another](tcp-states.svg)\n",
            state_diagram.table(),
        ]
    )


def exit_codes() -> str:
    """The codes of errors.py."""
    page = [_NOTE, "# Exit codes\n", "| code | name |\n| --- | --- |"]
    found = {
        name: value
        for name, value in vars(errors).items()
        if name.startswith("EXIT_") and isinstance(value, int)
    }
    meaning = {
        "EXIT_OK": "the guest switched itself off, or what was asked for is done",
        "EXIT_FAILED": "the guest ended with an error, a check failed, a benchmark missed a goal",
        "EXIT_USAGE": "a flag, a configuration file or an image is wrong",
        "EXIT_GUEST_FAULT": "the guest stopped on a fault",
        "EXIT_BUDGET": "`--timeout` or `--max-ticks` is over",
        "EXIT_ENVIRONMENT": "this computer lacks something",
        "EXIT_BUG": "a bug in Leulo",
        "EXIT_INTERRUPTED": "interrupted",
        "EXIT_PIPE": "nobody reads the output any more",
    }
    for name, value in sorted(found.items(), key=lambda item: item[1]):
        page.append(f"| {value} | {meaning[name]} (`{name}`) |")
    return "\n".join(page) + "\n"


def chips() -> str:
    """The port map of a machine; what each chip's file says of itself, and its registers."""
    from leulo.clock import VirtualClock
    from leulo.config import MachineConfig
    from leulo.links.base import Offload
    from leulo.machine import Machine
    from leulo.trace import Trace

    machine = Machine(
        MachineConfig(), VirtualClock(), Trace(), offload=Offload(True, 0),
        console=lambda data: None, random_bits=lambda bits: 0, epoch_s=0,
    )  # fmt: skip
    page = [_NOTE, "# Chips and ports\n", "| ports | chip |\n| --- | --- |"]
    tables: dict[str, dict[tuple[Register, ...], list[str]]] = {}  # module -> table -> headings
    for base, length, name in machine.ports.ranges():
        last = f" to {base + length - 1:#x}" if length > 1 else ""
        page.append(f"| {base:#x}{last} | {name} |")
        kind = type(machine.ports.target(base))
        place_of = tables.setdefault(kind.__module__, {})
        place_of.setdefault(vars(kind)["REGISTERS"], []).append(f"{name} at {base:#x}")
    for device, number, function in machine.pci.functions():
        place_of = tables[type(function).__module__]
        place_of[tuple(function.registers())] = [f"function {device:02x}.{number}"]
    machine.close()
    page.append(
        "\nOffsets are from the first port. Reset is what is read after power-on, writable are the "
        "bits that read back what was written; `-` where neither is a constant. Bits without a "
        "name do nothing.\n"
    )
    package = importlib.import_module("leulo.devices")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
        text = inspect.getdoc(importlib.import_module(f"leulo.devices.{module.name}")) or ""
        page.append(f"## leulo/devices/{module.name}.py\n")
        page.append(f"{text.strip()}\n")
        for registers, places in tables.get(f"leulo.devices.{module.name}", {}).items():
            page.append(f"### Registers of {', '.join(places)}\n")
            page += _registers(registers)
    return "\n".join(page)


def _registers(registers: Iterable[Register]) -> Iterator[str]:
    yield "| offset | register | when | access | reset | writable | bits |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for one in registers:
        is_read = "R" in one.access
        reset = f"{one.reset:#0{2 + 2 * one.width}x}" if is_read and one.reset is not None else "-"
        writable = f"{one.writable:#0{2 + 2 * one.width}x}" if one.writable else "-"
        at = f"{one.at:#x}" + (f", {one.width} bytes" if one.width > 1 else "")
        name = f"{one.name}: {one.meaning}" if one.meaning else one.name
        bits = "; ".join(f"{place(mask)} {words}" for mask, words in one.bits)
        yield f"| {at} | {name} | {one.when} | {one.access} | {reset} | {writable} | {bits} |"
    yield ""


MAKERS = {
    "command-line.md": command_line,
    "events.md": events,
    "exit-codes.md": exit_codes,
    "chips.md": chips,
    "tcp-states.md": tcp_states,
    "tcp-states.svg": state_diagram.picture,
}


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        print(__doc__)
        return 2
    stale = []
    for name, make in MAKERS.items():
        path, text = PAGES / name, make().rstrip() + "\n"
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if check and stale:
        print(f"docs/reference: {', '.join(stale)} are not what the code says: make generate")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
