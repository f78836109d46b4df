"""The console gives the terminal back, never swallows Ctrl-C, and never grows without bound."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leulo.cli.terminal import HELP, Keys, Terminal
from leulo.links.poller import Poller
from leulo.units import NS_PER_S

A = b"\x01"


class Port:
    """A serial port that takes at most ``room`` bytes."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.got = b""

    def take(self, data: bytes) -> int:
        taken = min(self.room, len(data))
        self.room -= taken
        self.got += data[:taken]
        return taken


@pytest.fixture
def poller() -> Iterator[Poller]:
    made = Poller()
    yield made
    made.close()


def settle(poller: Poller, done: Callable[[], bool]) -> None:
    """Serve the poller until ``done()``, at most five seconds."""
    end = time.monotonic() + 5
    while not done():
        assert time.monotonic() < end, "nothing came of it within five seconds"
        poller.wait(NS_PER_S // 100)


def terminal_of(poller: Poller, port: Port, stdin: int, stdout: int, ends: list[str]) -> Terminal:
    return Terminal(
        poller,
        port.take,
        interrupt=lambda: ends.append("interrupt"),
        quit_run=lambda: ends.append("quit"),
        stdin=stdin,
        stdout=stdout,
    )


# ---------------------------------------------------------------- the escape key


def test_keys_without_the_escape_key_are_the_guest_s_ctrl_c_too() -> None:
    keys = Keys(lambda: pytest.fail("quit"), lambda shown: pytest.fail("show"))
    assert keys.feed(b"ls\r\x03\x1a\xff") == b"ls\r\x03\x1a\xff"


def test_the_escape_key_works_split_over_two_reads() -> None:
    quits: list[int] = []
    keys = Keys(lambda: quits.append(1), lambda shown: None)
    assert keys.feed(b"ab" + A) == b"ab"
    assert keys.feed(b"xcd") == b"cd"
    assert quits == [1]


def test_the_escape_key_twice_is_one_for_the_guest() -> None:
    keys = Keys(lambda: None, lambda shown: None)
    assert keys.feed(A + A + b"k" + A + A) == A + b"k" + A


def test_help_is_shown_and_an_unknown_command_is_dropped() -> None:
    shown: list[bytes] = []
    keys = Keys(lambda: None, shown.append)
    assert keys.feed(A + b"h" + A + b"z" + b"q") == b"q"
    assert shown == [HELP]


# ---------------------------------------------------------------- on a terminal


def test_a_terminal_is_raw_within_and_as_before_after(poller: Poller) -> None:
    outer, inner = pty.openpty()
    try:
        before = termios.tcgetattr(inner)
        port, ends = Port(), list[str]()
        terminal = terminal_of(poller, port, inner, inner, ends)
        with terminal:
            assert terminal.is_raw
            os.write(outer, b"\x03hi" + A + b"x")
            settle(poller, lambda: bool(ends))
            assert port.got == b"\x03hi"
            assert ends == ["quit"]
            assert terminal.quit_asked
        assert termios.tcgetattr(inner) == before
        terminal.restore()  # again: nothing happens
    finally:
        os.close(outer)
        os.close(inner)


def test_a_guest_that_reads_nothing_cannot_stop_the_escape_key(poller: Poller) -> None:
    outer, inner = pty.openpty()
    try:
        ends = list[str]()
        terminal = terminal_of(poller, Port(room=0), inner, inner, ends)
        with terminal:
            for _ in range(20):
                os.write(outer, b"z" * 1000)
                poller.wait(NS_PER_S // 100)
            os.write(outer, A + b"x")
            settle(poller, lambda: bool(ends))
            assert len(terminal._waiting_in) <= 4096
    finally:
        os.close(outer)
        os.close(inner)


CHILD = """
import os, sys, termios
from leulo.cli.terminal import Terminal
from leulo.links.poller import Poller
ends = []
poller = Poller()
with Terminal(
    poller, len, interrupt=lambda: ends.append(1), quit_run=lambda: ends.append(2)
) as terminal:
    os.write(1, b"%s %d\\n" % (b"RAW" if terminal.is_raw else b"PIPE", os.getpid()))
    if "crash" in sys.argv:
        raise SystemError("crash")
    if "exit" in sys.argv:
        sys.exit(7)
    while not ends:
        poller.wait(50_000_000)
os.write(1, b"DONE\\n")
"""


def read_until(fd: int, wanted: bytes) -> bytes:
    got = b""
    while wanted not in got:
        piece = os.read(fd, 4096)
        assert piece, got
        got += piece
    return got


def start_job(arguments: list[str]) -> tuple[int, int]:
    """A program as a shell starts it: foreground group of a new session on a new terminal.

    Returns the session leader's pid and the terminal's outer end. The leader writes STOPPED when
    its job stops, and ends with the job's exit code.
    """
    leader, outer = pty.fork()
    if leader:
        return leader, outer
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(arguments[0], arguments)
    while True:
        status = os.waitpid(job, os.WUNTRACED)[1]
        if not os.WIFSTOPPED(status):
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        os.write(1, b"STOPPED\n")


@pytest.mark.parametrize("how", ["INT", "TERM", "HUP", "crash", "exit", "stop"])
def test_the_terminal_is_given_back_however_the_program_ends(how: str, tmp_path: Path) -> None:
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    leader, outer = start_job([sys.executable, str(program), how])
    try:
        said = read_until(outer, b"\n")
        assert said.startswith(b"RAW ")
        job = int(said.split()[1])
        if how in ("INT", "TERM", "HUP"):
            os.kill(job, getattr(signal, f"SIG{how}"))
        elif how == "stop":
            os.kill(job, signal.SIGTSTP)
            read_until(outer, b"STOPPED")
            assert termios.tcgetattr(outer)[3] & termios.ICANON, "stopped, but still raw"
            os.kill(job, signal.SIGCONT)
            end = time.monotonic() + 5
            while termios.tcgetattr(outer)[3] & termios.ICANON:
                assert time.monotonic() < end, "not raw again after it went on"
                os.sched_yield()
            os.write(outer, A + b"x")
        status = os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1])
        leader = 0
        flags = termios.tcgetattr(outer)[3]
        for flag in (termios.ICANON, termios.ECHO, termios.ISIG, termios.IEXTEN):
            assert flags & flag
        assert status == {"crash": 1, "exit": 7}.get(how, 0)
    finally:
        if leader:
            os.kill(leader, signal.SIGKILL)
            os.waitpid(leader, 0)
        os.close(outer)


def test_a_terminal_that_is_not_the_controlling_one_is_read(tmp_path: Path) -> None:
    """Protects: after setsid, or with another terminal's name behind <, keys are not ignored."""
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    outer, inner = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, str(program)], stdin=inner, stdout=inner, start_new_session=True
    )
    try:
        assert read_until(outer, b"\n").startswith(b"RAW ")
        os.write(outer, A + b"x")
        read_until(outer, b"DONE")
        assert child.wait(10) == 0
        assert termios.tcgetattr(outer)[3] & termios.ICANON
    finally:
        child.kill()
        child.wait()
        os.close(outer)
        os.close(inner)


@pytest.mark.parametrize("is_told", [False, True])
def test_a_job_in_the_background_reads_when_it_comes_to_the_front(
    is_told: bool, tmp_path: Path
) -> None:
    """As `leulo boot &`, `fg`, which tells a job that runs nothing; and it takes no key before."""
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    leader, outer = pty.fork()
    if not leader:
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.execv(sys.executable, [sys.executable, str(program)])
        os.write(1, b"SHELL got %s" % os.read(0, 100))
        os.tcsetpgrp(0, job)
        if is_told:
            os.kill(job, signal.SIGCONT)
        os.write(1, b"FRONT\n")
        status = os.waitpid(job, os.WUNTRACED)[1]
        os._exit(9 if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status) & 0xFF)
    try:
        read_until(outer, b"PIPE ")
        os.write(outer, b"fg\n")
        assert b"SHELL got fg" in read_until(outer, b"FRONT")
        if not is_told:
            os.write(outer, b"\n")
        end = time.monotonic() + 5
        while termios.tcgetattr(outer)[3] & termios.ICANON:
            assert time.monotonic() < end, "not raw in the foreground"
            os.sched_yield()
        os.write(outer, A + b"x")
        read_until(outer, b"DONE")
        assert os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1]) == 0
        leader = 0
        assert termios.tcgetattr(outer)[3] & termios.ICANON
    finally:
        if leader:
            os.kill(leader, signal.SIGKILL)
            os.waitpid(leader, 0)
        os.close(outer)


# ---------------------------------------------------------------- in a pipe


def test_a_pipe_is_not_interpreted_and_its_end_does_not_end_the_run(poller: Poller) -> None:
    reader, writer = os.pipe()
    out_reader, out_writer = os.pipe()
    port, ends = Port(), list[str]()
    try:
        with terminal_of(poller, port, reader, out_writer, ends) as terminal:
            assert not terminal.is_raw
            os.write(writer, A + b"x\x03")
            settle(poller, lambda: len(port.got) == 3)
            os.close(writer)
            for _ in range(3):
                poller.wait(NS_PER_S // 100)
            terminal.write(b"still here\n")
        assert (port.got, ends) == (A + b"x\x03", [])
        assert os.read(out_reader, 100) == b"still here\n"
    finally:
        for fd in (reader, out_reader, out_writer):
            os.close(fd)


def test_a_pipe_waits_for_room_in_the_serial_port_and_loses_nothing(poller: Poller) -> None:
    reader, writer = os.pipe()
    sent = bytes(range(256)) * 100
    port, ends = Port(room=10), list[str]()
    try:
        with terminal_of(poller, port, reader, 1, ends) as terminal:
            os.write(writer, sent)
            os.close(writer)
            for _ in range(3000):
                poller.wait(0)
                if port.got == sent:
                    break
                assert len(terminal._waiting_in) <= 4096
                port.room = 16
                terminal.pump()
        assert port.got == sent
    finally:
        os.close(reader)


def test_a_file_or_dev_null_as_stdin_is_read_to_its_end(poller: Poller, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"typed before")
    for name, wanted in ((str(path), b"typed before"), (os.devnull, b"")):
        fd = os.open(name, os.O_RDONLY)
        port = Port()
        with terminal_of(poller, port, fd, 1, []):
            poller.wait(0)
        os.close(fd)
        assert port.got == wanted


def test_a_closed_stdin_is_no_input(poller: Poller) -> None:
    reader, writer = os.pipe()
    os.close(writer)
    os.close(reader)
    with terminal_of(poller, Port(), reader, 1, []) as terminal:
        terminal.pump()


def test_output_waits_for_a_slow_reader_and_arrives_whole(poller: Poller) -> None:
    reader, writer = os.pipe()
    data = bytes(range(256)) * 1024  # four times what a pipe holds
    got = b""
    try:
        with terminal_of(poller, Port(), reader, writer, []) as terminal:
            terminal._pause_reading()
            terminal._input_open = False
            for at in range(0, len(data), 1000):
                terminal.write(data[at : at + 1000])
            while len(got) < len(data):
                got += os.read(reader, 65536)
                poller.wait(0)
        assert got == data
    finally:
        os.close(reader)
        os.close(writer)


def test_a_reader_that_has_gone_ends_the_run_once(poller: Poller) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    nothing = os.open(os.devnull, os.O_RDONLY)
    ends = list[str]()
    try:
        with terminal_of(poller, Port(), nothing, writer, ends) as terminal:
            terminal.write(b"x")
            terminal.write(b"y")
        assert ends == ["quit"]
    finally:
        os.close(writer)
        os.close(nothing)


def test_ctrl_c_in_a_pipe_asks_for_the_end_and_twice_breaks(tmp_path: Path) -> None:
    program = tmp_path / "child.py"
    program.write_text(CHILD.replace("while not ends:", "while True:"))
    child = subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        assert child.stdout.readline().startswith(b"PIPE ")
        child.send_signal(signal.SIGINT)
        end = time.monotonic() + 10
        while child.poll() is None and time.monotonic() < end:
            try:
                child.wait(0.1)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGINT)
        assert child.returncode == -signal.SIGINT
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()
