"""The person's end of the serial console: raw keys in, the guest's bytes out.

On a terminal every key goes to the guest, Ctrl-C included, except after the escape key Ctrl-A,
as in QEMU. In a pipe nothing is interpreted, and the end of the input does not end the run. Input
that the serial port has no room for waits here, bounded, and the rest in the kernel's buffer.
The terminal's settings are given back however the program ends, short of SIGKILL.

It must not know machines: it is handed a sink for what is typed and a way to ask for the end.
[POSIX 11.1]
"""

from __future__ import annotations

import atexit
import errno
import os
import select
import signal
import termios
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Protocol

from leulo.links.poller import EDGE, IN, OUT

ESCAPE: Final = 0x01  # Ctrl-A
_READ_BYTES: Final = 4096
_WRITE_BYTES: Final = 4096  # PIPE_BUF: a pipe that polls writable takes this much at once
_MOST_WAITING_BYTES: Final = 1 << 20  # output that may wait for a slow reader
_LOOK_MS: Final = 50

HELP: Final = (
    b"\r\n"
    b"Ctrl-A h       this help\r\n"
    b"Ctrl-A x       end the run\r\n"
    b"Ctrl-A c       show counters\r\n"
    b"Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n"
)

_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Waiter(Protocol):
    """The part of the host's poller that is used here."""

    def add(self, fd: int, mask: int, callback: Callable[[int], None]) -> None: ...

    def remove(self, fd: int) -> None: ...


class Keys:
    """The escape key's state machine: typed bytes to bytes for the guest, and commands."""

    def __init__(
        self,
        quit_run: Callable[[], None],
        show: Callable[[bytes], None],
        counters: Callable[[], str] = str,
    ) -> None:
        self._commands: dict[int, Callable[[], None]] = {
            ord("x"): quit_run,
            ord("c"): lambda: show(b"\n" + counters().encode()),
            ord("h"): lambda: show(HELP),
            ord("?"): lambda: show(HELP),
        }
        self._escaped = False

    def feed(self, typed: bytes) -> bytes:
        """What of ``typed`` is the guest's; the commands in it are done."""
        if not self._escaped and ESCAPE not in typed:
            return typed
        out = bytearray()
        for key in typed:
            if not self._escaped:
                if key == ESCAPE:
                    self._escaped = True
                else:
                    out.append(key)
                continue
            self._escaped = False
            if key == ESCAPE:
                out.append(ESCAPE)
            elif key in self._commands:
                self._commands[key]()
            # any other key after the escape is dropped, as in QEMU
        return bytes(out)


class Terminal:
    """Joins two descriptors to a guest's serial port.

    ``type_in(data)`` offers bytes to the port and returns how many it took. ``interrupt()`` asks
    for the end of the run from a signal handler; ``quit_run()`` is the escape key's way, and
    ``counters()`` gives the text that Ctrl-A c shows. Without ``reads`` the serial port is
    elsewhere: nothing is read and the terminal stays as it is, so Ctrl-C is a signal.
    """

    def __init__(
        self,
        poller: Waiter,
        type_in: Callable[[bytes], int],
        *,
        interrupt: Callable[[], None],
        quit_run: Callable[[], None],
        counters: Callable[[], str] = str,
        reads: bool = True,
        stdin: int = 0,
        stdout: int = 1,
    ) -> None:
        self.quit_asked = False
        self.interrupted = False
        self.at_line_start = True
        self._poller = poller
        self._type_in = type_in
        self._interrupt = interrupt
        self._quit_run = quit_run
        self._stdin = stdin
        self._stdout = stdout
        self._keys = Keys(self._quit, self.show, counters)
        self._saved: list[Any] | None = None
        self._reading = False  # stdin is in the poller
        self._reads = reads
        self._input_open = reads
        self._waiting_in = b""
        self._waiting_out: deque[bytes] = deque()
        self._waiting_out_bytes = 0
        self._writing = False  # stdout is in the poller
        self.lost: OSError | None = None  # why nothing can be shown any more
        self._handlers: dict[int, Any] = {}
        self._opened = False

    # ------------------------------------------------------------ life

    def __enter__(self) -> Terminal:
        self._opened = True
        atexit.register(self.restore)
        for number in (*_ENDING_SIGNALS, signal.SIGTSTP, signal.SIGCONT):
            handler = self._on_ending
            if number == signal.SIGTSTP:
                handler = self._on_stop
            elif number == signal.SIGCONT:
                handler = self._on_continue
            self._handlers[number] = signal.signal(number, handler)
        try:
            self._input_open = self._reads and self._is_there()
            if self._input_open:
                self._resume_reading()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what still waits, then give terminal and signals back."""
        if not self._opened:
            return
        self._opened = False
        self._pause_reading()
        if self._writing:
            self._poller.remove(self._stdout)
            self._writing = False
        self._flush()
        self.restore()
        atexit.unregister(self.restore)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def restore(self) -> None:
        """Put the terminal back as it was found. Calling it again does nothing."""
        saved, self._saved = self._saved, None
        if saved is not None:
            try:
                termios.tcsetattr(self._stdin, termios.TCSADRAIN, saved)
            except termios.error:
                return  # the terminal itself has gone

    def goes_with(self, other: int) -> bool:
        """Whether the guest's bytes and what is written to ``other`` come together: on a screen, in
        one file, or in one pipe."""
        try:
            return os.path.sameopenfile(self._stdout, other)
        except OSError:
            return False

    @property
    def is_raw(self) -> bool:
        """Whether keys arrive one by one, Ctrl-C among them."""
        return self._saved is not None

    # ------------------------------------------------------------ keys to the guest

    def pump(self) -> None:
        """Offer again what the serial port had no room for. Cheap when nothing waits."""
        if self._waiting_in:
            self._offer(b"")
        elif self._input_open and not self._reading and self._opened:
            self._resume_reading()

    def _readable(self, mask: int) -> None:
        if not self.is_raw and not self._is_ours():  # we were stopped, and go on behind the shell
            self._pause_reading()
            self._resume_reading()
            return
        try:
            data = os.read(self._stdin, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a hung-up terminal reads as an error: the same as the end
        if not data:
            self._input_open = False
            self._pause_reading()
            return
        self._offer(self._keys.feed(data) if self.is_raw else data)

    def _offer(self, data: bytes) -> None:
        data = self._waiting_in + data
        taken = self._type_in(data) if data else 0
        self._waiting_in = data[taken:]
        if self._waiting_in and not self.is_raw:
            self._pause_reading()
        elif self._waiting_in:
            # Keys go on being read, since the escape key must work with a guest that reads
            # nothing; what such a guest is typed is bounded.
            self._waiting_in = self._waiting_in[:_READ_BYTES]
        elif self._input_open and not self._reading and self._opened:
            self._resume_reading()

    def _come_to_front(self, mask: int) -> None:
        """Something is typed at the terminal, for whoever is in its foreground: perhaps for us."""
        if self._is_ours():
            self._pause_reading()
            self._resume_reading()

    def _resume_reading(self) -> None:
        is_ours = self._is_ours()
        if is_ours:
            self._go_raw()
        try:
            if is_ours:
                self._poller.add(self._stdin, IN, self._readable)
            else:  # told once of what is typed, and takes none of it
                self._poller.add(self._stdin, IN | EDGE, self._come_to_front)
            self._reading = True
        except PermissionError:  # a plain file: epoll has no use for it, it is always readable
            while self._input_open and not self._waiting_in:
                self._readable(IN)

    def _pause_reading(self) -> None:
        if self._reading:
            self._poller.remove(self._stdin)
            self._reading = False

    # ------------------------------------------------------------ bytes from the guest

    def write(self, data: bytes) -> None:
        """Show what the guest printed; a slow reader is waited for, a gone one ends the run."""
        if data and self.lost is None:
            self.at_line_start = data.endswith(b"\n")
            if self._waiting_out:
                self._waiting_out.append(data)
                self._waiting_out_bytes += len(data)
            elif self._write_now(data):
                return
            if self._waiting_out_bytes > _MOST_WAITING_BYTES:
                self._flush()
            self._arm_writing()

    def show(self, data: bytes) -> None:
        """Our own words, between the guest's."""
        self.write(data)

    def _write_now(self, data: bytes) -> bool:
        """Write as much as goes without waiting; keep the rest. True if nothing was kept."""
        view = memoryview(data)
        while view:
            if not self._is_writable(0):
                break
            try:
                written = os.write(self._stdout, view[:_WRITE_BYTES])
            except BlockingIOError:
                break
            except OSError as error:
                self._lose_reader(error)
                return True
            view = view[written:]
        if not view:
            return True
        self._waiting_out.appendleft(bytes(view))
        self._waiting_out_bytes += len(view)
        return False

    def _is_writable(self, timeout_ms: int) -> bool:
        waiter = select.poll()
        waiter.register(self._stdout, select.POLLOUT)
        return bool(waiter.poll(timeout_ms))

    def _arm_writing(self) -> None:
        if self._waiting_out and not self._writing and self._opened:
            self._poller.add(self._stdout, OUT, self._writable)
            self._writing = True

    def _writable(self, mask: int) -> None:
        while self._waiting_out:
            first = self._waiting_out.popleft()
            self._waiting_out_bytes -= len(first)
            if not self._write_now(first):
                return
        if self._writing:
            self._poller.remove(self._stdout)
            self._writing = False

    def _flush(self) -> None:
        """Write everything that waits, for as long as the reader takes and nobody interrupts."""
        while self._waiting_out and self.lost is None:
            if self._is_writable(_LOOK_MS):
                first = self._waiting_out.popleft()
                self._waiting_out_bytes -= len(first)
                self._write_now(first)
            elif self.interrupted:
                self._waiting_out.clear()
                self._waiting_out_bytes = 0

    def _lose_reader(self, error: OSError) -> None:
        self.lost = error
        self._waiting_out.clear()
        self._waiting_out_bytes = 0
        self._quit_run()

    # ------------------------------------------------------------ the terminal itself

    def _is_there(self) -> bool:
        try:
            os.fstat(self._stdin)
        except OSError:
            return False
        return True

    def _is_ours(self) -> bool:
        """Whether reading takes nothing from others: not in the background of a shell."""
        if not os.isatty(self._stdin):
            return True
        try:
            return os.tcgetpgrp(self._stdin) == os.getpgrp()
        except OSError as error:
            # Another terminal than the controlling one knows no background. [POSIX 11.1.4]
            return error.errno == errno.ENOTTY

    def _go_raw(self) -> None:
        if self._saved is not None or not os.isatty(self._stdin):
            return
        saved = termios.tcgetattr(self._stdin)
        raw: list[Any] = [list(part) if isinstance(part, list) else part for part in saved]
        raw[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        # Output processing stays on, so that a bare newline still begins a line.
        raw[2] = (raw[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._stdin, termios.TCSADRAIN, raw)
        self._saved = saved

    def _quit(self) -> None:
        self.quit_asked = True
        self._quit_run()

    def _on_ending(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt  # asked twice: whatever hangs is left where it is
        self.interrupted = True
        self._interrupt()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.restore()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # Here we have been continued, or were not stopped at all: a process group that no shell
        # looks after ignores the stop. [POSIX 11.1.4]
        self._on_continue(number, frame)

    def _on_continue(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTSTP, self._on_stop)
        if self._opened and self._input_open and self._is_ours():
            self._go_raw()
