"""``leulo boot``: one guest, its network, its console, until something ends it.

The flags are in machine_options.py, joining the parts is in assembly.py.
Our own lines go to stderr, so that stdout holds the guest's console and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leulo.cli.loading import loading
from leulo.cli.machine_options import gather, machine_options
from leulo.config.settings import configure, named
from leulo.errors import EXIT_OK

_EXAMPLES = """\b
Examples:
  leulo boot                                the packaged guest, on http://127.0.0.1:8080/
  leulo boot guest.img --publish 9000:80    another image, another port of this computer
  leulo boot --www ~/site                   your own files on http://127.0.0.1:8080/
  leulo boot --publish 8080:80,2007:7,2007:7/udp   several, the echo service over UDP too
  leulo boot --publish 0.0.0.0:8080:80      for other computers too
  sudo leulo boot --net tap:leulo0          the guest is 10.77.0.2, this computer 10.77.0.1
  leulo boot --append init=/bin/sh          a shell instead of the services
  leulo boot --net sim:loss=0.01,requests=50 --clock virtual --seed 7 --pcap run.pcapng
  leulo boot --net sim:up.rate=1mbit,requests=99,at=2s,loss=0.1,at=4s,loss=0 --clock virtual
  leulo boot --log 'tcp.*' --trace run.jsonl
  leulo boot --log list                     the names of all events
  leulo boot lab.toml --set mem=32M         a machine file, and one key of it otherwise
  leulo boot --serial tcp:4000              the console by nc 127.0.0.1 4000

\b
On the console: Ctrl-A x ends the run, Ctrl-A c shows counters, Ctrl-A h helps; every other key is
the guest's.

\b
Exit codes: 0 the guest switched itself off, or you ended it; 1 the guest ended with an error;
2 a flag or the image is wrong; 3 the guest stopped on a fault; 4 --timeout or --max-ticks is
over; 5 this computer lacks something; 70 a bug in Leulo; 130 interrupted;
141 nobody reads the console any more.
"""


@click.command("boot", epilog=_EXAMPLES, short_help="Boot a guest and give it a network.")
@click.argument(
    "image", required=False, type=click.Path(path_type=Path), metavar="[IMAGE|FILE.toml]"
)
@machine_options
@click.option(
    "--json",
    is_flag=True,
    default=None,
    help="End with one line of JSON on stderr: how it ended, and all counters.",
)
def command(image: Path | None, **flags: Any) -> int:
    """Boot a guest on the emulated CPU, with TCP in the hypervisor.

    Without IMAGE it is the packaged guest, which serves HTTP on its port 80. A FILE.toml is a
    machine file: `leulo machine show` writes one.
    """
    if "list" in flags["log"]:
        from leulo.cli.events import listing

        click.echo(listing())
        return EXIT_OK
    settings = gather(image, flags)
    machine, run = configure(settings)

    with loading():
        from leulo.cli.assembly import boot
        from leulo.cli.heap import keep_freed_memory

    keep_freed_memory()
    with named(settings):
        return boot(machine, run)
