"""``leulo pkt``: run packetdrill scripts against the TCP engine in virtual time."""

from __future__ import annotations

import errno
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from leulo.errors import EXIT_FAILED, EXIT_OK, ConfigError
from leulo.tcp.config import PRESETS

SUFFIX: Final = ".pkt"
_MAX_BYTES: Final = 1 << 21


def _names_a_report(left: list[str]) -> bool:
    """Whether the first of these words is a file of ``--json``, and no script."""
    return bool(left) and (left[0].endswith(".json") or (left[0] == "-" and len(left) > 1))


class _Pkt(click.Command):
    """Takes a file for ``--json`` too: ``--json=FILE`` is ``--json-file FILE``, and so is what
    was written before ``--json`` was a flag: ``--json`` with a word behind it that ends in .json,
    or ``-`` before the scripts' names.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        left = list(args)
        while left and left[0] != "--":
            word = left.pop(0)
            if word.startswith("--json="):
                words += ["--json-file", word.removeprefix("--json=")]
            elif word == "--json" and _names_a_report(left):
                words += ["--json-file", left.pop(0)]
            else:
                words.append(word)
        return super().parse_args(ctx, words + left)


@click.command(
    "pkt",
    cls=_Pkt,
    short_help="Run packetdrill scripts against the TCP engine.",
    epilog="Examples: `leulo pkt tests/pkt`, "
    "`leulo pkt --relaxed --junit report.xml suite/ one.pkt`, `leulo pkt --json test.pkt`.",
)
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR...")
@click.option(
    "--strict/--relaxed",
    "is_strict",
    default=True,
    show_default="strict",
    help="Strict: packets as the line says. Relaxed: also data in other pieces, another push "
    "flag, window or padding of options, and 20 ms of tolerance.",
)
@click.option(
    "--preset",
    type=click.Choice(["auto", *PRESETS]),
    default="auto",
    show_default=True,
    help="Whose defaults the engine has; auto looks at the script's sysctls.",
)
@click.option(
    "-D",
    "--define",
    "definitions",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace a word of the scripts, as packetdrill's -D.",
)
@click.option(
    "--init-script",
    "init_scripts",
    multiple=True,
    metavar="COMMAND",
    help="A set-up command before each script, as packetdrill's --init_scripts (defaults.sh).",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="One of packetdrill's own before each script's: --option ip_version=ipv6.",
)
@click.option("--junit", metavar="FILE", help="Write a JUnit report ('-': standard output).")
@click.option(
    "--json", "prints_json", is_flag=True, help="Print results as JSON, the rest on stderr."
)
@click.option("--json-file", metavar="FILE", help="Write results as JSON to a file: --json=FILE.")
@click.option("--quiet", "-q", is_flag=True, help="Show the last line only.")
def command(
    paths: tuple[str, ...],
    is_strict: bool,
    preset: str,
    definitions: tuple[str, ...],
    init_scripts: tuple[str, ...],
    options: tuple[str, ...],
    junit: str | None,
    prints_json: bool,
    json_file: str | None,
    quiet: bool,
) -> int:
    """Run packetdrill scripts (*.pkt; directories are searched) against Leulo's TCP engine.

    Every script has a stack of its own in virtual time; no root, no device, no network. A script
    that fails does not end the run. Exit code 0: all passed; 1: some failed, were refused (ask
    for what is not there, by name) or are in error; 2: wrong use.
    """
    from leulo.pkt.outcome import Mode, Outcome, Status
    from leulo.pkt.report import Result, as_json, as_junit, summary, text_of
    from leulo.pkt.runner import run_text

    for definition in definitions:
        if not definition.partition("=")[0].isidentifier():
            raise ConfigError(f"-D {definition}: write NAME=VALUE")
    pairs = tuple((name, value) for name, _, value in (d.partition("=") for d in definitions))
    given = tuple((name, value) for name, _, value in (o.partition("=") for o in options))
    mode = Mode(not is_strict, preset, pairs, init_scripts, given)
    if (prints_json, json_file == "-", junit == "-").count(True) > 1:
        raise ConfigError("--json: one report can be on standard output: give the other a file")
    # A report on standard output keeps it for itself.
    stream = sys.stderr if prints_json or "-" in (junit, json_file) else sys.stdout
    results: list[Result] = []
    for path in _scripts(paths):
        begin = time.perf_counter()
        try:
            outcome = run_text(_read(path), mode, str(path))
        except OSError as error:
            outcome = Outcome(Status.ERROR, None, "", error.strerror or str(error))
        result = Result(str(path), outcome, time.perf_counter() - begin)
        results.append(result)
        if not quiet and outcome.status is not Status.PASSED:
            print(text_of(result), file=stream)
    print(summary(results), file=stream)
    if junit is not None:
        _write(junit, as_junit(results))
    for name in (json_file, "-" if prints_json else None):
        if name is not None:
            _write(name, as_json(results) + "\n")
    if not results:
        raise ConfigError(f"no {SUFFIX} file in {', '.join(paths)}")
    is_good = all(result.outcome.status is Status.PASSED for result in results)
    return EXIT_OK if is_good else EXIT_FAILED


def _scripts(paths: tuple[str, ...]) -> Iterator[Path]:
    """Files as named, directories with all scripts in them in a fixed order, also those that
    cannot be read: what is skipped in silence would pass for passed."""
    for text in paths:
        path = Path(text)
        if text != "-" and path.is_dir():
            yield from sorted(found for found in path.rglob(f"*{SUFFIX}") if not found.is_dir())
        else:
            yield path  # one that is not there is an error of its own


def _read(path: Path) -> str:
    """The text of a regular file, or of standard input for ``-``. Raises OSError."""
    if str(path) == "-":
        return sys.stdin.buffer.read(_MAX_BYTES).decode("utf-8", "replace")
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind):  # one could wait in it for ever
        raise OSError(errno.EINVAL, "not a regular file ('-' reads standard input)")
    with path.open("rb") as file:
        return file.read(_MAX_BYTES).decode("utf-8", "replace")


def _write(name: str, text: str) -> None:
    if name == "-":
        sys.stdout.write(text)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{name} cannot be written: {error.strerror}") from error
