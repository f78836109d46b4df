"""The ``leulo`` command: one file a verb, loaded only when that verb is typed.

This file knows the verbs' names and how an error becomes one sentence and an exit code; nothing
else. Whatever goes wrong, nobody is shown a traceback: our own mistakes leave theirs in a file
that the message names.
"""

from __future__ import annotations

from leulo.cli import starting  # first: from here on Ctrl-C ends in an exit code

# isort: split
import errno
import importlib
import io
import os
import select
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

import leulo
from leulo.cli.loading import loading
from leulo.errors import (
    EXIT_BUG,
    EXIT_ENVIRONMENT,
    EXIT_INTERRUPTED,
    EXIT_PIPE,
    EXIT_USAGE,
    LeuloBug,
    LeuloError,
)

# verb -> (module, one line for the list; the module is not imported for the list)
VERBS: Final = {
    "boot": ("leulo.cli.boot", "Boot a guest and give it a network."),
    "doctor": ("leulo.cli.doctor", "Say what this computer offers and lacks."),
    "image": ("leulo.cli.image", "Build the guest image, list and add its files."),
    "machine": ("leulo.cli.machine", "Show what a machine would be."),
    "completion": ("leulo.cli.completion", "Print a shell's completion script."),
    "netsim": ("leulo.cli.netsim", "Flows in simulated time: the behaviour table, and plots."),
    "pkt": ("leulo.cli.pkt", "Run packetdrill scripts against the TCP engine."),
}
_UNWRITABLE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class _Deaf(io.FileIO):
    """Standard error: what cannot be written there is lost, and no reason to end a run."""

    def write(self, data: Any) -> int:
        try:
            while (written := super().write(data)) is None:  # it does not block, and is full
                select.select((), (self,), ())
        except OSError:
            return len(memoryview(data))
        return written


class _Verbs(click.Group):
    """Finds a verb by importing its file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        with loading():
            command = importlib.import_module(VERBS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise click.UsageError(f"{args[0]} is no verb: write {', '.join(VERBS)}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # of which click would make a 1
            return _cannot_write(error)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Try `leulo boot`, then `curl http://127.0.0.1:8080/` in another terminal.",
    subcommand_metavar="VERB [ARGUMENTS]...",
)
@click.version_option(leulo.__version__, "--version", message="leulo %(version)s")
def group() -> None:
    """A hypervisor that runs TCP for its guests."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: run, then exit with the code of errors.py."""
    starting.begin()
    starting.insist()
    _open_standard_streams()
    _warn_of_old_build()
    status = run(list(sys.argv[1:] if arguments is None else arguments))
    if status == EXIT_INTERRUPTED:
        # Where Ctrl-C hit an exec(), as dataclasses make at import, Python remembers it and
        # `python -m` would end by the signal instead of our code. The next exec() forgets it.
        exec("")
    try:
        sys.stdout.flush()
    except OSError as error:
        status = status or _cannot_write(error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(status)


def _open_standard_streams() -> None:
    """Put /dev/null where a daemon or ``<&-`` has closed descriptor 0, 1 or 2.

    Otherwise the next file that is opened would take the number, and the console would be it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Deaf(2, "w", closefd=False)),
        encoding=sys.stderr.encoding if sys.stderr is not None else None,
        errors="backslashreplace",
        line_buffering=True,
    )


def _warn_of_old_build() -> None:
    """Say so if this is a compiled build whose sources have been written since."""
    if os.path.exists(os.path.join(os.path.dirname(leulo.__file__), "_fast.json")):
        from leulo import compiled

        words = compiled.warning()
        if words is not None:
            _say(words)


def run(arguments: list[str]) -> int:
    """Do what ``arguments`` say, every error as a sentence on stderr; returns the exit code."""
    try:
        starting.over()
        status = group.main(arguments, prog_name="leulo", standalone_mode=False)
    except LeuloBug as error:
        return _report_bug(error)
    except LeuloError as error:
        _say(str(error))
        return error.exit_code
    except click.ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # from click 8.2 on
            click.echo(error.format_message())
            return 0
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        _say(" ".join(error.format_message().split()).rstrip(".") + hint)
        return EXIT_USAGE
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return EXIT_INTERRUPTED
    except OSError as error:
        # A file that cannot be opened has its own sentence, and a name.
        return _report_bug(error) if error.filename is not None else _cannot_write(error)
    except Exception as error:
        return _report_bug(error)
    return status if isinstance(status, int) else 0


def _cannot_write(error: OSError) -> int:
    """The exit code where standard output is full, or its reader has gone, who is told nothing."""
    if isinstance(error, BrokenPipeError):
        return EXIT_PIPE
    if error.errno not in _UNWRITABLE:
        return _report_bug(error)
    _say(f"standard output cannot be written: {error.strerror}")
    return EXIT_ENVIRONMENT


def _say(sentence: str) -> None:
    print(f"leulo: {sentence}", file=sys.stderr)  # noqa: T201


def _report_bug(error: BaseException) -> int:
    """One sentence that names the file with the traceback, or the traceback if it was wished."""
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    about = f"{type(error).__name__}: {error}".splitlines()[0]
    if os.environ.get("LEULO_TRACEBACK"):
        print(text, file=sys.stderr)  # noqa: T201
        _say(f"this is a bug in Leulo: {about}")
        return EXIT_BUG
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="leulo-bug-", suffix=".txt", delete=False, errors="replace"
        ) as file:
            file.write(f"leulo {leulo.__version__}, python {sys.version}\n")
            file.write(f"arguments: {sys.argv[1:]}\n\n{text}")
        where = f"the traceback is in {file.name}: please send it with your report"
    except OSError:
        where = "run it again with LEULO_TRACEBACK=1 and send the traceback with your report"
    _say(f"this is a bug in Leulo ({about}); {where}")
    return EXIT_BUG


starting.over()  # whoever imports this file as a library has its own Ctrl-C again
