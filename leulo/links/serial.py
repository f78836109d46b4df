"""The other end of the serial port when it is not this terminal: a file, a TCP port, a pty.

It is handed a sink for what comes in (``type_in(data)`` says how many bytes it took) and knows
neither chip nor machine. Nothing here waits: what a slow reader does not take stays in a bounded
queue, beyond which the oldest bytes are lost and counted; what the chip has no room for stays with
whoever sends it, because no more is read until `pump` has got rid of the last of it.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from leulo.errors import EnvironmentProblem
from leulo.links.poller import ERR, HUP, IN, OUT, Poller

MOST_WAITING_BYTES: Final = 1 << 20  # for a reader that is there
MOST_KEPT_BYTES: Final = 1 << 16  # for one that may yet come
_READ_BYTES: Final = 4096
_CLOSING_MS: Final = 250  # how long the last words may take, each time that some have gone
_CLOSING_TRIES: Final = 8
_LOCAL: Final = "127.0.0.1"
_MOST_IN_LINE: Final = 16  # clients that wait for their turn
_NO_MORE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

TypeIn = Callable[[bytes], int]


class Spec(Protocol):
    """What was asked for."""

    @property
    def kind(self) -> str:
        """``file``, ``tcp`` or ``pty``."""

    @property
    def path(self) -> Path | None: ...

    @property
    def port(self) -> int: ...


def open_serial(spec: Spec, poller: Poller, type_in: TypeIn) -> SerialEnd:
    """Open what ``--serial`` names. Raises EnvironmentProblem if this computer will not let us."""
    if spec.kind == "tcp":
        return TcpEnd(spec.port, poller, type_in)
    if spec.kind == "pty":
        return PtyEnd(poller, type_in)
    if spec.kind == "file" and spec.path is not None:
        return FileEnd(spec.path, poller)
    raise ValueError(f"{spec.kind} is no serial end of its own")


class SerialEnd:
    """A descriptor that comes and goes, a queue for it, and what came from it. The base of all."""

    def __init__(self, poller: Poller, type_in: TypeIn) -> None:
        self.where = ""  # for a person
        self._poller = poller
        self._type_in = type_in
        self._fd: int | None = None
        self._mask = 0  # what the poller watches on it; 0: it does not
        self._input_open = False
        self._waiting_in = b""
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._sent_bytes = 0
        self._received_bytes = 0
        self._dropped_bytes = 0

    # ------------------------------------------------------------ for the machine

    def write(self, data: bytes) -> None:
        """Bytes from the guest."""
        self._queue.append(data)
        self._queued_bytes += len(data)
        if self._fd is not None and self._mask & OUT == 0:
            self._send()
        self._trim()
        self._watch()

    def pump(self) -> None:
        """Offer again what the chip had no room for. Cheap when nothing waits."""
        if self._waiting_in:
            self._offer()
            self._watch()

    def counters(self) -> dict[str, int]:
        return {
            "sent_bytes": self._sent_bytes,
            "received_bytes": self._received_bytes,
            "dropped_bytes": self._dropped_bytes,
        }

    def close(self) -> None:
        """Give the reader a moment for what still waits, then let everything go."""
        fd = self._fd
        if fd is not None:
            waiter = select.poll()
            waiter.register(fd, select.POLLOUT)
            for _ in range(_CLOSING_TRIES):
                if not self._queue or self._fd is None or not waiter.poll(_CLOSING_MS):
                    break
                self._send()
        self._lose()

    # ------------------------------------------------------------ the descriptor

    def _take(self, fd: int, *, reads: bool) -> None:
        """Use ``fd``, which does not block, from now on."""
        self._fd = fd
        self._input_open = reads
        self._send()
        self._watch()

    def _lose(self) -> None:
        """The other side has gone, or we have."""
        fd, self._fd = self._fd, None
        if fd is not None:
            if self._mask:
                self._poller.remove(fd)
            self._mask = 0
            self._close_fd(fd)
        self._input_open = False
        self._waiting_in = b""

    def _close_fd(self, fd: int) -> None:
        os.close(fd)

    def _watch(self) -> None:
        """Ask the poller for what there is to do, and for nothing else."""
        fd = self._fd
        if fd is None:
            return
        reads = self._input_open and not self._waiting_in
        mask = (IN if reads else 0) | (OUT if self._queue else 0)
        if mask == self._mask:
            return
        if not self._mask:
            self._poller.add(fd, mask, self._ready)
        elif mask:
            self._poller.modify(fd, mask)
        else:
            self._poller.remove(fd)
        self._mask = mask

    def _ready(self, mask: int) -> None:
        if mask & IN:
            self._receive()
        if mask & OUT and self._fd is not None:
            self._send()
        if mask & (ERR | HUP) and not mask & IN:
            self._lose()
        self._watch()

    # ------------------------------------------------------------ bytes

    def _receive(self) -> None:
        if self._fd is None:
            return
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        if not data:
            self._input_open = False  # it may still listen
            return
        self._received_bytes += len(data)
        self._waiting_in = data
        self._offer()

    def _offer(self) -> None:
        taken = self._type_in(self._waiting_in)
        self._waiting_in = self._waiting_in[taken:]

    def _send(self) -> None:
        """As much as goes without waiting."""
        while self._queue and self._fd is not None:
            data = self._queue[0]
            try:
                written = os.write(self._fd, data)
            except BlockingIOError:
                return
            except OSError as error:
                self._cannot_write(error)
                return
            self._sent_bytes += written
            self._queued_bytes -= written
            if written < len(data):
                self._queue[0] = data[written:]
            else:
                self._queue.popleft()

    def _cannot_write(self, error: OSError) -> None:
        self._lose()

    def _trim(self) -> None:
        """Lose the oldest bytes beyond what may wait."""
        most = MOST_KEPT_BYTES if self._fd is None else MOST_WAITING_BYTES
        while self._queued_bytes > most:
            lost = len(self._queue.popleft())
            self._queued_bytes -= lost
            self._dropped_bytes += lost


class FileEnd(SerialEnd):
    """A file that the guest's bytes are written to; it may be a named pipe with a reader."""

    def __init__(self, path: Path, poller: Poller) -> None:
        """Raises EnvironmentProblem."""
        super().__init__(poller, _nothing)
        self._path = path
        self.where = str(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, 0o666)
        except OSError as error:
            raise _problem(f"{path}", "cannot be written", error) from None
        self._take(fd, reads=False)

    def _cannot_write(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            self._lose()
            return
        self._queue.clear()
        self._queued_bytes = 0
        raise _problem(f"{self._path}", "cannot be written", error) from None


class PtyEnd(SerialEnd):
    """A new pseudo-terminal; a terminal program opens its other side by the name in ``where``."""

    def __init__(self, poller: Poller, type_in: TypeIn) -> None:
        """Raises EnvironmentProblem."""
        super().__init__(poller, type_in)
        try:
            fd, self._other = os.openpty()
        except OSError as error:
            raise _problem("pty", "this computer has none to give", error) from None
        # Our hold on the other side keeps ours from reading as hung up while nobody has it open.
        tty.setraw(self._other)
        self.where = os.ttyname(self._other)
        os.set_blocking(fd, False)
        self._take(fd, reads=True)

    def _close_fd(self, fd: int) -> None:
        os.close(fd)
        os.close(self._other)


class TcpEnd(SerialEnd):
    """A TCP port of this computer, for one client at a time; the next one waits for its turn.

    A client that has sent its end may go on reading, but makes way for the next.
    """

    def __init__(self, port: int, poller: Poller, type_in: TypeIn) -> None:
        """Raises EnvironmentProblem."""
        super().__init__(poller, type_in)
        self._client: socket.socket | None = None
        try:
            self._listener = socket.create_server((_LOCAL, port), backlog=_MOST_IN_LINE)
        except OSError as error:
            raise _problem(f"tcp:{port}", "cannot be listened on", error) from None
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self.where = f"{_LOCAL}:{self.port}"
        self._listening = False
        self._starved = False  # somebody waits, and there was no descriptor for him
        self._listen(True)

    def pump(self) -> None:
        super().pump()
        if self._starved:
            self._knock(IN)

    def close(self) -> None:
        super().close()
        self._starved = False
        self._listen(False)
        self._listener.close()

    def _listen(self, wanted: bool) -> None:
        if wanted and not self._listening:
            self._poller.add(self._listener.fileno(), IN, self._knock)
        elif self._listening and not wanted:
            self._poller.remove(self._listener.fileno())
        self._listening = wanted

    def _knock(self, mask: int) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError as error:
            # The poller would come back at once for who waits, so `pump` looks again.
            self._starved = error.errno in _NO_MORE
            self._listen(not self._starved)
            return
        self._starved = False
        self._lose()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._listen(False)
        self._take(client.fileno(), reads=True)

    def _watch(self) -> None:
        super()._watch()
        if self._listener.fileno() >= 0 and not self._input_open and not self._starved:
            self._listen(True)

    def _close_fd(self, fd: int) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _nothing(data: bytes) -> int:
    """Where nothing comes in, nothing is taken."""
    return 0


def _problem(what: str, why: str, error: OSError) -> EnvironmentProblem:
    reason = os.strerror(error.errno) if error.errno else str(error)  # without Python's additions
    if error.errno == errno.ENXIO:
        reason = "Nobody reads this pipe: begin with its reader"
    return EnvironmentProblem(f"--serial {what}: {why}: {reason}")
