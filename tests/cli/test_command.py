"""The command itself: one sentence and an exit code for every error, and a quick list of verbs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from leulo import cli
from leulo.errors import (
    EXIT_BUG,
    EXIT_ENVIRONMENT,
    EXIT_GUEST_FAULT,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    ConfigError,
    EnvironmentProblem,
    GuestFault,
    LeuloBug,
)


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `leulo doctor` raise ``error``."""

    @click.command("doctor")
    def command() -> None:
        raise error

    monkeypatch.setattr("leulo.cli.doctor.command", command)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("--mem 1: is out of range"), EXIT_USAGE),
        (EnvironmentProblem("no /dev/net/tun"), EXIT_ENVIRONMENT),
        (GuestFault("page fault at 0"), EXIT_GUEST_FAULT),
    ],
)
def test_an_error_for_a_person_is_its_sentence_and_its_code(
    error: Exception, status: int, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    fail_with(monkeypatch, error)
    assert cli.run(["doctor"]) == status
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"leulo: {error}\n")


@pytest.mark.parametrize("error", [LeuloBug("the ring is empty"), ZeroDivisionError("by zero")])
def test_a_bug_is_one_line_that_names_the_file_with_the_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    fail_with(monkeypatch, error)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("LEULO_TRACEBACK", raising=False)
    assert cli.run(["doctor"]) == EXIT_BUG
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    (report,) = tmp_path.iterdir()
    assert str(report) in err
    assert type(error).__name__ in report.read_text()


def test_the_traceback_comes_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, ZeroDivisionError("by zero"))
    monkeypatch.setenv("LEULO_TRACEBACK", "1")
    assert cli.run(["doctor"]) == EXIT_BUG
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fail_with(monkeypatch, KeyboardInterrupt())
    assert cli.run(["doctor"]) == EXIT_INTERRUPTED
    assert capsys.readouterr().err.strip() == "leulo: interrupted"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["bot"], "bot is no verb"),
        (["boot", "--bad"], "--bad"),
        (["boot", "--net", "wifi"], "--net wifi:"),
        (["boot", "--mode", "native"], "--mode native:"),
        (["boot", "--mode", "emulated"], "--mode emulated:"),
        (["boot", "--mode", "fast"], "--mode fast:"),
        (["boot", "--mem", "1K"], "--mem 1K:"),
        (["boot", "--publish", "80"], "--publish 80:"),
        (["boot", "--clock", "virtual"], "--clock virtual:"),
        (["boot", "--timeout", "soon"], "--timeout soon:"),
        (["boot", "--timeout", "0"], "--timeout 0:"),
        (["boot", "--quantum", "0"], "--quantum 0:"),
        (["boot", "--seed", "-1"], "--seed"),
        (["boot", "--max-ticks", "0"], "--max-ticks"),
        (["boot", "--name", "a b"], "--name"),
        (["boot", "a", "b"], "b"),
        (["image", "bake"], "bake"),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == EXIT_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("leulo: ")
    assert named in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], [], ["boot", "--help"], ["image", "--help"]]
)
def test_help_is_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 0
    out, err = capsys.readouterr()
    assert "Usage: leulo" in out
    assert err == ""


def test_every_verb_in_the_list_is_there() -> None:
    context = click.Context(cli.group)
    for verb in cli.group.list_commands(context):
        command = cli.group.get_command(context, verb)
        assert command is not None
        assert command.name == verb
        assert command.get_short_help_str(100) == cli.VERBS[verb][1]


def test_the_list_of_verbs_imports_neither_the_machine_nor_rich() -> None:
    code = (
        "import sys; from leulo import cli; cli.run(['--help']);"
        "print([m for m in sys.modules if m.split('.')[0] in ('rich', 'unicorn', 'numpy')"
        " or m.startswith('leulo.') and not m.startswith(('leulo.cli', 'leulo.errors'))])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_way_to_the_first_byte_loads_nothing_that_it_does_not_need() -> None:
    """Protects the half second to a guest's first byte; and the collector works again after."""
    heavy = ("rich", "numpy", "capstone", "json", "random", "subprocess", "tempfile",
             "concurrent.futures", "asyncio", "logging", "ssl", "tomllib", "difflib")  # fmt: skip
    code = (
        "import gc, sys; from leulo import cli; cli.run(['boot', '--net', 'none', '--help']);"
        "from leulo.cli.loading import loading\n"
        "with loading(): import leulo.cli.assembly\n"
        f"print(gc.isenabled(), [m for m in {heavy!r} if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "True []"


def test_the_installed_command_says_its_version() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "leulo", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("leulo ")


def test_an_interrupt_inside_exec_keeps_the_exit_code(tmp_path: Path) -> None:
    """As when Ctrl-C comes while a dataclass is being made at import."""
    (tmp_path / "interrupted.py").write_text(
        "from leulo import cli\n"
        "def run(arguments):\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        return 130\n"
        "cli.run = run\n"
        "cli.main([])\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"], cwd=tmp_path, timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    assert done.returncode == 130


def test_an_interrupt_in_a_weak_reference_s_callback_is_not_lost(tmp_path: Path) -> None:
    """As when Ctrl-C hits the callback with which Python's imports give back a module's lock."""
    (tmp_path / "interrupted.py").write_text(
        "import os, signal, time, weakref\n"
        "signal.signal(2, signal.default_int_handler)\n"
        "from leulo import cli\n"
        "class Lock: pass\n"
        "def run(arguments):\n"
        "    cli.starting.over()\n"
        "    lock = Lock()\n"
        "    told = weakref.ref(lock, lambda _: [os.kill(os.getpid(), 2), time.sleep(0.1)])\n"
        "    try:\n"
        "        del lock\n"
        "        time.sleep(60)\n"
        "        return 0\n"
        "    except KeyboardInterrupt:\n"
        "        return 130\n"
        "cli.run = run\n"
        "cli.main([])\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"], cwd=tmp_path, timeout=30, capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, b"")


def test_an_interrupt_while_the_program_is_loaded_is_no_traceback(tmp_path: Path) -> None:
    """Protects: Ctrl-C in the first tenth of a second; a caller's own handler stays."""
    (tmp_path / "click.py").write_text("import os\nos.kill(os.getpid(), 2)\n")
    found = os.pathsep.join([str(tmp_path), *sys.path])
    code = "import signal; signal.signal(2, signal.default_int_handler); import leulo.cli"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=30,
        env={**os.environ, "PYTHONPATH": found},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, b"leulo: interrupted\n")
    code = (
        "import os, signal; signal.signal(2, signal.default_int_handler); import click;"
        "click.version_option = lambda *_, **__: os.kill(os.getpid(), 2); import leulo.cli"
    )
    late = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert (late.returncode, late.stderr) == (130, b"leulo: interrupted\n"), "its own commands"
    code = (
        "import signal; own = lambda *_: None; signal.signal(2, own); import leulo.cli as cli;"
        "print(signal.getsignal(2) is own); signal.signal(2, signal.default_int_handler);"
        "cli.starting.begin(); cli.run(['image', '--help']);"
        "print(signal.getsignal(2) is signal.default_int_handler)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[0] == "True" and told.stdout.endswith("True\n")
