"""The flags that describe a machine and its run, and how they join with files and ``--set``.

A flag has the name of its key in a machine file (leulo/config/keys.py) and no default here, so
that one which was not given leaves the file's value standing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from leulo.config.settings import Settings, from_flags, from_set
from leulo.errors import ConfigError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_FILE = click.Path(path_type=Path, dir_okay=False)

# What a shell may offer after a flag; a word that ends in a colon wants more behind it.
_OFFERS: Final = {
    "mode": ("paravirt",),  # the others are to come
    "net": ("user", "none", "tap:", "sim:"),
    "cpu": ("native", "portable"),
    "clock": ("real", "virtual"),
    "serial": ("stdio", "pty", "tcp:"),
    "gateway": ("none",),
    "ip": ("dhcp",),
    "ip6": ("auto", "none"),
    "tcp_preset": ("linux", "freebsd", "rfc"),
}


def _offer(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [word for word in _OFFERS[param.name or ""] if word.startswith(incomplete)]


def _offer_folders(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # asked by a shell only

    return [CompletionItem(incomplete, type="dir")]


def _offer_set(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from leulo.config.keys import KEYS

    return [f"{name}=" for name in KEYS if name.startswith(incomplete)]


def _offer_log(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from leulo.cli.events import all_kinds

    words = ["list", *(kind.NAME for kind in all_kinds())]
    return [word for word in words if word.startswith(incomplete)]


_OPTIONS: Final = (
    click.option(
        "--machine",
        type=_FILE,
        metavar="FILE",
        help="A machine file (TOML): the keys are the names of these flags.",
    ),
    click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=_offer_set,
        help="A key of the machine file, set from here; flags win over it, it over the file.",
    ),
    click.option(
        "--mode",
        metavar="MODE",
        shell_complete=_offer,
        help="Where TCP runs: paravirt, in the hypervisor; emulated and native are to come.  "
        "[default: paravirt]",
    ),
    click.option(
        "--net",
        metavar="NET",
        shell_complete=_offer,
        help="user, tap:NAME, sim:OPTIONS or none.  [default: user]",
    ),
    click.option(
        "--publish",
        multiple=True,
        metavar="[ADDR:]HOST:GUEST[/udp]",
        help="A port of this computer that leads to one of the guest, TCP on 127.0.0.1 unless "
        "told otherwise; several with commas, or repeated.  [default: 8080:80; none for nothing]",
    ),
    click.option(
        "--ip",
        metavar="ADDR[/LEN]",
        shell_complete=_offer,
        help="The guest's address, or dhcp to ask for one.  [default: 10.0.2.15/24; "
        "10.77.0.2/24 on a TAP]",
    ),
    click.option(
        "--gateway",
        metavar="ADDR",
        shell_complete=_offer,
        help="The guest's way out, or none.  [default: 10.0.2.2; 10.77.0.1 on a TAP]",
    ),
    click.option(
        "--ip6",
        metavar="ADDR[/LEN]",
        shell_complete=_offer,
        help="The guest's IPv6 address, auto, or none for no IPv6.  [default: auto: a link-local "
        "one, and what a router advertises]",
    ),
    click.option("--gateway6", metavar="ADDR", help="The guest's way out over IPv6."),
    click.option(
        "--dns",
        metavar="ADDR",
        help="The guest's name server.  [default: 10.0.2.3 with --net user, else the gateway]",
    ),
    click.option(
        "--host-loopback/--no-host-loopback",
        default=None,
        help="Let the guest reach this computer's own 127.0.0.1 through the gateway of --net user.",
    ),
    click.option(
        "--tcp-preset",
        metavar="NAME",
        shell_complete=_offer,
        help="Whose TCP the hypervisor speaks: linux, freebsd, or rfc for the standards' own "
        "figures.  [default: linux]",
    ),
    click.option(
        "--www",
        type=click.Path(path_type=Path),
        shell_complete=_offer_folders,
        metavar="DIR",
        help="Serve the files of this folder instead of the guest's own page.",
    ),
    click.option("--mem", metavar="SIZE", help="The guest's RAM.  [default: 16M]"),
    click.option(
        "--cpu",
        metavar="CPU",
        shell_complete=_offer,
        help="How exceptions and interrupts reach the guest: native, or portable, which is slow, "
        "wholly in Python, and gives the same results.  [default: native]",
    ),
    click.option(
        "--max-sockets",
        type=int,
        metavar="N",
        help="Sockets the guest may have at once; EMFILE past it.  [default: 4096]",
    ),
    click.option(
        "--max-connections",
        type=int,
        metavar="N",
        help="Connections at once, closed ones that still end included.  [default: 65536]",
    ),
    click.option(
        "--max-half-open",
        type=int,
        metavar="N",
        help="Handshakes at once; past it they are answered with cookies.  [default: 65536]",
    ),
    click.option(
        "--max-buffers",
        metavar="SIZE",
        help="Memory for what all connections hold, and again, up to 64M, for datagrams that "
        "wait; ENOBUFS past it.  [default: 128M]",
    ),
    click.option(
        "--max-events",
        type=int,
        metavar="N",
        help="Entries of the event ring, a power of two.  [default: 4096]",
    ),
    click.option("--append", metavar="WORDS", help="More words for the kernel."),
    click.option(
        "--name",
        metavar="NAME",
        help="The machine's name; its MAC address is made of it.  [default: leulo]",
    ),
    click.option(
        "--serial",
        metavar="WHERE",
        shell_complete=_offer,
        help="The other end of the serial port: stdio, pty, tcp:PORT (of 127.0.0.1, one client "
        "at a time), or a file that it is written to.  [default: stdio]",
    ),
    click.option(
        "--clock",
        metavar="CLOCK",
        shell_complete=_offer,
        help="real, or virtual: the same seed gives the same bytes.  [default: real]",
    ),
    click.option(
        "--seed",
        type=int,
        metavar="N",
        help="Where all random numbers come from.  [default: 0 on the virtual clock, "
        "else the host's randomness]",
    ),
    click.option(
        "--quantum",
        metavar="TIME",
        help="The longest run between two looks at the network.  [default: 200us]",
    ),
    click.option("--pcap", type=_FILE, metavar="FILE", help="Capture every frame, as pcapng."),
    click.option(
        "--trace", type=_FILE, metavar="FILE", help="Write every event, one JSON object a line."
    ),
    click.option(
        "--log",
        multiple=True,
        metavar="GLOB",
        shell_complete=_offer_log,
        help="Show the events so named, as in 'tcp.*'; may be repeated. list: show all names.",
    ),
    click.option("--timeout", metavar="TIME", help="End after this time with exit code 4."),
    click.option(
        "--max-ticks",
        type=int,
        metavar="N",
        help="End after N code bytes with exit code 4.",
    ),
    click.option(
        "--ready-fd",
        type=int,
        metavar="FD",
        help="Write the ready line to this descriptor too, then close it.",
    ),
    click.option(
        "--accounting/--no-accounting",
        default=None,
        help="Count exits by device and ticks by privilege, measure where the time goes, and "
        "show all counters at the end.",
    ),
    click.option(
        "--counters",
        type=_FILE,
        metavar="FILE",
        help="Write all counters at the end, as JSON; turns accounting on.",
    ),
)  # fmt: skip


def machine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """All of them on a command, which gets them as keyword arguments."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def gather(first: Path | None, given: Mapping[str, Any]) -> Settings:
    """What file, ``--set`` and flags say together. ``first`` is the word without a flag: an image,
    or a machine file if it ends in ``.toml``. Raises ConfigError.
    """
    flags = dict(given)
    machine: Path | None = flags.pop("machine")
    sets: Sequence[str] = flags.pop("sets")
    if first is not None and first.suffix == ".toml":
        if machine is not None:
            raise ConfigError(f"--machine {machine}: {first} is a machine file too: write one")
        machine = first
    elif first is not None:
        flags["image"] = first
    settings = _read(machine) if machine is not None else {}
    settings.update(from_set(sets))
    settings.update(from_flags({name.replace("_", "-"): value for name, value in flags.items()}))
    return settings


def _read(path: Path) -> Settings:
    """The settings of a machine file. Raises ConfigError."""
    from leulo.config.machine_file import MOST_FILE_BYTES, read_machine_file

    try:
        with path.open("rb") as file:
            data = file.read(MOST_FILE_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text: it is no machine file") from None
    if len(data) > MOST_FILE_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_FILE_BYTES >> 10} KiB: no machine file is")
    return read_machine_file(text, path)
