"""``leulo boot``: one guest, its network, its console, until something ends it.

This file reads the flags and tells the person what happens; joining the parts is in assembly.py.
Our own lines go to stderr, so that stdout holds the guest's console and nothing else.
"""

from __future__ import annotations

from pathlib import Path

import click

from leulo import config
from leulo.config import MachineConfig, RunConfig

_EXAMPLES = """\b
Examples:
  leulo boot                                the packaged guest, on http://127.0.0.1:8080/
  leulo boot guest.img --publish 9000:80    another image, another port of this computer
  leulo boot --publish 8080:80,2007:7,2007:7/udp
  leulo boot --publish 0.0.0.0:8080:80      for other computers too
  sudo leulo boot --net tap:leulo0          the guest is 10.77.0.2, this computer 10.77.0.1
  leulo boot --append init=/bin/sh          a shell instead of the services
  leulo boot --net sim:loss=0.01,requests=50 --clock virtual --seed 7 --pcap run.pcapng
  leulo boot --log 'tcp.*' --trace run.jsonl

\b
On the console: Ctrl-A x ends the run, Ctrl-A h helps; every other key is the guest's.

\b
Exit codes: 0 the guest switched itself off, or you ended it; 1 the guest ended with an error;
2 a flag or the image is wrong; 3 the guest stopped on a fault; 4 --timeout or --max-ticks is
over; 5 this computer lacks something; 70 a bug in Leulo; 130 interrupted.
"""


@click.command("boot", epilog=_EXAMPLES, short_help="Boot a guest and give it a network.")
@click.argument("image", required=False, type=click.Path(path_type=Path), metavar="[IMAGE]")
@click.option(
    "--mode",
    default="paravirt",
    show_default=True,
    metavar="MODE",
    help="Where TCP runs: paravirt, emulated or native.",
)
@click.option(
    "--net",
    default="user",
    show_default=True,
    metavar="NET",
    help="user, tap:NAME, sim:OPTIONS or none.",
)
@click.option(
    "--publish",
    multiple=True,
    metavar="[ADDR:]HOST:GUEST[/udp]",
    help="A port of this computer that leads to one of the guest, TCP on 127.0.0.1 unless "
    "told otherwise; several with commas, or repeated.  [default: 8080:80; none for nothing]",
)
@click.option(
    "--ip",
    metavar="ADDR[/LEN]",
    help="The guest's address.  [default: 10.0.2.15/24; 10.77.0.2/24 on a TAP]",
)
@click.option(
    "--gateway",
    metavar="ADDR",
    help="The guest's way out, or none.  [default: 10.0.2.2; 10.77.0.1 on a TAP]",
)
@click.option("--dns", metavar="ADDR", help="The guest's name server.  [default: 10.0.2.3]")
@click.option(
    "--host-loopback",
    is_flag=True,
    help="Let the guest reach this computer's own 127.0.0.1 through the gateway.",
)
@click.option("--mem", default="16M", show_default=True, metavar="SIZE", help="The guest's RAM.")
@click.option("--append", default="", metavar="WORDS", help="More words for the kernel.")
@click.option(
    "--name",
    default="leulo",
    show_default=True,
    metavar="NAME",
    help="The machine's name; its MAC address is made of it.",
)
@click.option(
    "--clock",
    default="real",
    show_default=True,
    metavar="CLOCK",
    help="real, or virtual: the same seed gives the same bytes.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**64 - 1),
    metavar="N",
    help="Where all random numbers come from.  [default: 0 on the virtual clock, "
    "else the host's randomness]",
)
@click.option(
    "--quantum",
    metavar="TIME",
    help="The longest run between two looks at the network.  [default: 200us]",
)
@click.option(
    "--pcap",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Capture every frame, as pcapng.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write every event, one JSON object a line.",
)
@click.option(
    "--log",
    multiple=True,
    metavar="GLOB",
    help="Show the events so named, as in 'tcp.*'; may be repeated.",
)
@click.option("--timeout", metavar="TIME", help="End after this time with exit code 4.")
@click.option(
    "--max-ticks",
    type=click.IntRange(1),
    metavar="N",
    help="End after N code bytes with exit code 4.",
)
@click.option(
    "--ready-fd",
    type=click.IntRange(0),
    metavar="FD",
    help="Write the ready line to this descriptor too, then close it.",
)
@click.option(
    "--counters",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write all counters at the end, as JSON; turns time accounting on.",
)
def command(  # one parameter a flag
    image: Path | None,
    mode: str,
    net: str,
    publish: tuple[str, ...],
    ip: str | None,
    gateway: str | None,
    dns: str | None,
    host_loopback: bool,
    mem: str,
    append: str,
    name: str,
    clock: str,
    seed: int | None,
    quantum: str | None,
    pcap: Path | None,
    trace: Path | None,
    log: tuple[str, ...],
    timeout: str | None,
    max_ticks: int | None,
    ready_fd: int | None,
    counters: Path | None,
) -> int:
    """Boot a guest on the emulated CPU, with TCP in the hypervisor.

    Without IMAGE it is the packaged guest, which serves HTTP on its port 80.
    """
    spec = config.parse_net(net)
    clock_kind = config.parse_clock(clock)
    address, prefix_length, way_out, server = config.parse_addresses(spec, ip, gateway, dns)
    machine = MachineConfig(
        name=config.parse_name(name),
        mode=config.parse_mode(mode),
        image=image,
        memory_bytes=config.parse_memory(mem),
        append=config.parse_append(append),
        seed=0 if seed is None and clock_kind == "virtual" else seed,
        net=spec,
        address=address,
        prefix_length=prefix_length,
        gateway=way_out,
        dns=server,
        publish=config.parse_publishes(publish, spec),
        host_loopback=host_loopback,
    )
    run = RunConfig(
        clock=clock_kind,
        quantum_ns=(
            config.DEFAULT_QUANTUM_NS
            if quantum is None
            else config.parse_time("--quantum", quantum)
        ),
        pcap=pcap,
        trace=trace,
        log=log,
        timeout_ns=None if timeout is None else config.parse_time("--timeout", timeout),
        max_ticks=max_ticks,
        ready_fd=ready_fd,
        counters=counters,
    )
    config.check_together(machine, run)

    from leulo.cli.assembly import boot

    return boot(machine, run)
