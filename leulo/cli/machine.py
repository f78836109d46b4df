"""``leulo machine``: what a machine would be, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leulo.cli.events import check_glob
from leulo.cli.machine_options import gather, machine_options
from leulo.config.model import MachineConfig, RunConfig
from leulo.config.settings import configure, named

Ranges = list[tuple[int, int, str]]

_EXAMPLES = """\b
Examples:
  leulo machine show > lab.toml             a file with what is set, to begin from
  leulo machine show lab.toml --set mem=32M
  leulo machine show lab.toml --json
"""


@click.group("machine", short_help="Show what a machine would be.")
def command() -> None:
    """Show what a machine would be."""


@command.command("show", epilog=_EXAMPLES)
@click.argument(
    "image", required=False, type=click.Path(path_type=Path), metavar="[IMAGE|FILE.toml]"
)
@machine_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead.")
def show(image: Path | None, as_json: bool, **flags: Any) -> None:
    """Write the effective machine: every key, its memory and its ports.

    Takes what `leulo boot` takes, and boots nothing. What it writes is a machine file.
    """
    settings = gather(image, flags)
    machine, run = configure(settings)
    with named(settings):
        for glob in run.log:
            check_glob(glob)
        memory, ports = maps(machine)
    if as_json:
        click.echo(_json(machine, run, memory, ports))
    else:
        click.echo(_text(machine, run, memory, ports), nl=False)


def maps(config: MachineConfig) -> tuple[Ranges, Ranges]:
    """(base, length, name) of what lies in memory and at ports, once the image is loaded.

    Raises ImageError, and ConfigError for a wire that cannot be.
    """
    from leulo.cli.images import read_image
    from leulo.clock import VirtualClock
    from leulo.links.base import Offload
    from leulo.links.sim.spec import SimSpec
    from leulo.machine import Machine
    from leulo.trace import Trace

    if config.net.kind == "sim":
        SimSpec.parse(config.net.argument)
    image, name = read_image(config.image, config.www, config.memory_bytes)
    machine = Machine(
        config,
        VirtualClock(),
        Trace(),
        offload=Offload(checksum=True, tso_bytes=0),
        console=_discard,
        random_bits=lambda _: 0,
        epoch_s=0,
    )
    try:
        machine.load(image, name)
        memory: Ranges = [(0, machine.memory.size, "RAM")]
        if machine.boot is not None:
            memory += [(low, high - low, what) for low, high, what in machine.boot.occupied]
        memory += machine.mmio.ranges()
        return sorted(memory, key=lambda entry: (entry[0], -entry[1])), machine.ports.ranges()
    finally:
        machine.close()


def _discard(data: bytes) -> None:
    """Nobody reads the console of a machine that does not run."""


def _text(machine: MachineConfig, run: RunConfig, memory: Ranges, ports: Ranges) -> str:
    from leulo.config.written import plain, to_toml, unset

    values = plain(machine, run)
    lines = [f"# not set: {', '.join(unset(values))}", "", "# memory (physical)"]
    lines += [f"#   {base:08x}-{base + size - 1:08x}  {name}" for base, size, name in memory]
    lines += ["# ports"]
    lines += [f"#   {base:04x}-{base + size - 1:04x}  {name}" for base, size, name in ports]
    return to_toml(values) + "".join(f"{line}\n" for line in lines)


def _json(machine: MachineConfig, run: RunConfig, memory: Ranges, ports: Ranges) -> str:
    import json

    from leulo.config.written import plain, unset

    def rows(ranges: Ranges) -> list[dict[str, int | str]]:
        return [{"base": base, "length": size, "name": name} for base, size, name in ranges]

    mac = ":".join(f"{byte:02x}" for byte in machine.mac)
    values = plain(machine, run)
    found = {"machine": values, "unset": unset(values), "mac": mac}
    return json.dumps({**found, "memory": rows(memory), "ports": rows(ports)}, indent=2)
