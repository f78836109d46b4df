"""``leulo doctor``: what this computer offers and lacks, each with what to do about it.

A check gives one finding: good, a remark (something optional is missing), or bad (``leulo boot``
cannot work). The exit code is 5 if any is bad.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import click

import leulo
from leulo.errors import EXIT_ENVIRONMENT, EXIT_OK, LeuloError

UNICORN_VERSION: Final = "2.1.4"

# program -> (what it is for, Debian package)
_PROGRAMS: Final = {
    "ip": ("tests and bench over TAP", "iproute2"),
    "curl": ("tests", "curl"),
    "tshark": ("tests of captures", "tshark"),
    "qemu-system-i386": ("tests against QEMU", "qemu-system-x86"),
    "nginx": ("bench", "nginx-light"),
    "wrk": ("bench", "wrk"),
}


class Verdict(Enum):
    GOOD = "ok"
    REMARK = "--"
    BAD = "NO"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table: ``advice`` is what to do, empty if there is nothing."""

    what: str
    verdict: Verdict
    text: str
    advice: str = ""


def findings() -> Iterator[Finding]:
    """Every check, in the order in which they are shown; none raises."""
    for what, check in _CHECKS.items():
        try:
            yield check(what)
        except LeuloError as error:
            yield Finding(what, Verdict.BAD, str(error))
        except Exception as error:
            yield Finding(what, Verdict.BAD, f"the check itself failed: {error!r}")
    for program, (purpose, package) in _PROGRAMS.items():
        found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if found:
            yield Finding(program, Verdict.GOOD, found)
        else:
            yield Finding(
                program, Verdict.REMARK, f"not found; only for {purpose}",
                f"apt-get install {package}",
            )  # fmt: skip


def _platform(what: str) -> Finding:
    here = f"{platform.system()} on {platform.machine()}"
    if here == "Linux on x86_64":
        return Finding(what, Verdict.GOOD, here)
    return Finding(what, Verdict.BAD, here, "Leulo runs on x86-64 Linux only")


def _python(what: str) -> Finding:
    return Finding(what, Verdict.GOOD, f"{platform.python_version()} ({sys.executable})")


def _unicorn(what: str) -> Finding:
    try:
        version = importlib.metadata.version("unicorn")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    if version == UNICORN_VERSION:
        return Finding(what, Verdict.GOOD, version)
    return Finding(what, Verdict.BAD, version, f"pip install unicorn=={UNICORN_VERSION}")


def _cpu(what: str) -> Finding:
    from leulo.cpu import self_test

    result = self_test()
    if result.is_good:
        return Finding(what, Verdict.GOOD, f"{len(result.checks)} checks passed")
    return Finding(
        what,
        Verdict.BAD,
        result.text(),
        f"pip install --force-reinstall unicorn=={UNICORN_VERSION}; if it stays, please report it",
    )


def _build(what: str) -> Finding:
    from leulo import compiled

    build = compiled.running()
    if build is not None:
        name = f"compiled by mypyc, {len(build.compiled)} modules"
        changed = build.changed_sources()
        if not changed:
            return Finding(what, Verdict.GOOD, f"{name}, as their sources are now")
        return Finding(
            what, Verdict.REMARK,
            f"{name}; {len(changed)} of the sources have changed since, {changed[0]} among them",
            "make fast",
        )  # fmt: skip
    other = compiled.build_in(compiled.PACKAGE.parent / compiled.FAST)
    if other is None:
        return Finding(what, Verdict.GOOD, "interpreted")
    state = "older than the sources" if other.changed_sources() else "up to date"
    return Finding(what, Verdict.GOOD, f"interpreted; the compiled one in build/fast is {state}")


def _image(what: str) -> Finding:
    from leulo import image
    from leulo.packaged import packaged

    path = packaged()
    if image.is_reference(path):
        return Finding(what, Verdict.GOOD, f"{path} is the reference")
    return Finding(
        what, Verdict.REMARK, f"{path} is not the reference: its sources or compiler differ",
        "results on the virtual clock will differ too",
    )  # fmt: skip


def _tap(what: str) -> Finding:
    if not os.path.exists("/dev/net/tun"):
        return Finding(what, Verdict.REMARK, "/dev/net/tun is not there; --net user works",
                       "modprobe tun; in a container: --device /dev/net/tun")  # fmt: skip
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return Finding(what, Verdict.REMARK, "/dev/net/tun may not be opened; --net user works",
                       "run as root, or make a TAP: ip tuntap add dev leulo0 mode tap user "
                       "$USER")  # fmt: skip
    if os.geteuid() != 0:
        return Finding(what, Verdict.REMARK, "may use a TAP that is there, not make one",
                       "ip tuntap add dev leulo0 mode tap user $USER (as root)")  # fmt: skip
    return Finding(what, Verdict.GOOD, "may be made")


_CHECKS: Final[dict[str, Callable[[str], Finding]]] = {
    "platform": _platform,
    "python": _python,
    "unicorn": _unicorn,
    "CPU self-test": _cpu,
    "build": _build,
    "guest image": _image,
    "TAP": _tap,
}


@click.command("doctor", short_help="Say what this computer offers and lacks.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def command(as_json: bool) -> int:
    """Say what this computer offers and lacks for running Leulo.

    Exit code 0 if `leulo boot` can work here, 5 if not.
    """
    found = list(findings())
    can_boot = all(finding.verdict is not Verdict.BAD for finding in found)
    if as_json:
        click.echo(_json(found, can_boot))
    else:
        _show(found)
    return EXIT_OK if can_boot else EXIT_ENVIRONMENT


def _json(found: Sequence[Finding], can_boot: bool) -> str:
    import json

    rows = [
        {
            "what": finding.what,
            "verdict": finding.verdict.name.lower(),
            "text": finding.text,
            "advice": finding.advice,
        }
        for finding in found
    ]
    about = {"version": leulo.__version__, "can_boot": can_boot}
    return json.dumps({**about, "findings": rows}, indent=2)


def _show(found: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {Verdict.GOOD: "green", Verdict.REMARK: "yellow", Verdict.BAD: "bold red"}
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    table = Table(
        title=f"leulo {leulo.__version__}", title_justify="left", box=None, padding=(0, 1)
    )
    table.add_column("")
    table.add_column("what")
    table.add_column("found", overflow="fold")
    for finding in found:
        text = f"{finding.text}\n-> {finding.advice}" if finding.advice else finding.text
        verdict = Text(finding.verdict.value, style=colours[finding.verdict])
        table.add_row(verdict, Text(finding.what), Text(text))
    console.print(table)
