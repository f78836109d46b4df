"""The serial port's other ends: a client comes and goes, a slow one loses bytes, none stalls."""

from __future__ import annotations

import os
import resource
import socket
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leulo.config import SerialSpec
from leulo.errors import EnvironmentProblem
from leulo.links import serial
from leulo.links.poller import Poller
from leulo.links.serial import FileEnd, PtyEnd, SerialEnd, TcpEnd, open_serial


class Bench:
    """A poller and a chip that has room for ``room`` bytes."""

    def __init__(self) -> None:
        self.poller = Poller()
        self.room = 1 << 20
        self.typed = b""
        self.ends: list[SerialEnd] = []

    def type_in(self, data: bytes) -> int:
        taken = min(self.room, len(data))
        self.room -= taken
        self.typed += data[:taken]
        return taken

    def open(self, spec: SerialSpec) -> SerialEnd:
        end = open_serial(spec, self.poller, self.type_in)
        self.ends.append(end)
        return end

    def tcp(self) -> TcpEnd:
        end = self.open(SerialSpec("tcp"))
        assert isinstance(end, TcpEnd)
        return end

    def serve_until(self, done: Callable[[], bool]) -> None:
        for _ in range(1000):
            if done():
                return
            assert self.poller.wait(5_000_000_000), "nothing more happens"
        raise AssertionError("it never came to be")

    def close(self) -> None:
        for end in self.ends:
            end.close()
        assert not self.poller._callbacks, "a descriptor stayed in the poller"
        self.poller.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def connect(end: TcpEnd) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", end.port), 5)
    client.settimeout(5)
    return client


def receive(client: socket.socket, length: int) -> bytes:
    got = b""
    while len(got) < length:
        piece = client.recv(length - len(got))
        assert piece, f"the end came after {got!r}"
        got += piece
    return got


def test_a_client_gets_what_was_said_before_it_came_and_can_type(bench: Bench) -> None:
    end = bench.tcp()
    end.write(b"boot\n")
    with connect(end) as client:
        client.sendall(b"ls\n")
        bench.serve_until(lambda: bench.typed == b"ls\n")
        end.write(b"$ ")
        assert receive(client, 7) == b"boot\n$ "
    assert end.counters() == {"sent_bytes": 7, "received_bytes": 3, "dropped_bytes": 0}


def test_what_the_chip_has_no_room_for_is_not_read_from_the_client(bench: Bench) -> None:
    """Protects: a person who pastes a megabyte fills his own buffers, not ours."""
    end = bench.tcp()
    bench.room = 16
    with connect(end) as client:
        client.sendall(b"x" * 50_000)
        bench.serve_until(lambda: len(bench.typed) == 16)
        assert bench.poller.wait(0) == 0, "nothing is watched while the chip is full"
        assert end.counters()["received_bytes"] <= 4096
        while len(bench.typed) < 50_000:
            bench.room = 1000
            end.pump()
            bench.poller.wait(0)
    assert bench.typed == b"x" * 50_000


def test_one_client_at_a_time_and_the_next_when_it_has_gone(bench: Bench) -> None:
    end = bench.tcp()
    first, second = connect(end), connect(end)
    first.sendall(b"1")
    second.sendall(b"2")
    bench.serve_until(lambda: bench.typed == b"1")
    end.write(b"for the first")
    assert receive(first, 13) == b"for the first"
    first.close()
    bench.serve_until(lambda: bench.typed == b"12")
    end.write(b"for the second")
    assert receive(second, 14) == b"for the second"
    second.close()


def test_those_who_wait_for_their_turn_are_connected_at_once(bench: Bench) -> None:
    """Protects: with a short queue the third would be let in by its second SYN, a second later."""
    end = bench.tcp()
    clients = [connect(end) for _ in range(6)]
    for number, client in enumerate(clients):
        client.sendall(b"%d" % number)
        client.close()
    bench.serve_until(lambda: bench.typed == b"012345")


def test_without_a_descriptor_a_client_waits_and_nothing_spins(bench: Bench) -> None:
    end = bench.tcp()
    client = connect(end)
    client.sendall(b"at last")
    free = os.dup(client.fileno())
    os.close(free)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))  # the next one is too many
    try:
        bench.poller.wait(0)
        for _ in range(20):
            assert bench.poller.wait(0) == 0
            end.pump()
            end.write(b"x")
        assert bench.typed == b""
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    end.pump()
    bench.serve_until(lambda: bench.typed == b"at last")
    assert receive(client, 20) == b"x" * 20
    client.close()


def test_a_client_that_has_sent_its_end_still_reads_and_makes_way(bench: Bench) -> None:
    end = bench.tcp()
    with connect(end) as client:
        client.sendall(b"help\n")
        client.shutdown(socket.SHUT_WR)
        bench.serve_until(lambda: end._listening and bench.typed == b"help\n")
        end.write(b"no help")
        assert receive(client, 7) == b"no help"
        with connect(end) as other:
            other.sendall(b"!")
            bench.serve_until(lambda: bench.typed == b"help\n!")
            assert client.recv(1) == b""


def test_a_client_that_does_not_read_loses_the_oldest_and_stalls_nobody(bench: Bench) -> None:
    end = bench.tcp()
    with connect(end) as client:
        client.sendall(b"?")
        bench.serve_until(lambda: bench.typed == b"?")
        for _ in range(3000):
            end.write(b"y" * 4096)
        assert end._queued_bytes <= serial.MOST_WAITING_BYTES
        assert end.counters()["dropped_bytes"] > 1 << 20
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    bench.serve_until(lambda: end._fd is None)  # a reset


def test_without_a_client_the_last_of_it_is_kept(bench: Bench) -> None:
    end = bench.tcp()
    for number in range(2000):
        end.write(b"%099d\n" % number)
    kept = end._queued_bytes
    assert 0 < kept <= serial.MOST_KEPT_BYTES
    with connect(end) as client:
        bench.serve_until(lambda: end._fd is not None)
        bench.serve_until(lambda: not end._queue)
        assert receive(client, kept).endswith(b"1999\n")


def test_a_pty_is_raw_has_a_name_and_survives_its_users(bench: Bench) -> None:
    end = bench.open(SerialSpec("pty"))
    assert isinstance(end, PtyEnd)
    for _ in range(2):
        user = os.open(end.where, os.O_RDWR | os.O_NOCTTY)
        try:
            assert not termios.tcgetattr(user)[3] & (termios.ECHO | termios.ICANON)
            end.write(b"login: ")
            assert os.read(user, 100) == b"login: "
            before = bench.typed
            os.write(user, b"\x03\r")
            bench.serve_until(lambda before=before: bench.typed == before + b"\x03\r")  # type: ignore[misc]
        finally:
            os.close(user)
        assert bench.poller.wait(0) == 0, "a user that leaves is no event to spin on"


def test_a_file_holds_what_was_printed(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "console.txt"
    path.write_text("old and long")
    end = bench.open(SerialSpec("file", path=path))
    end.write(b"new\n")
    assert path.read_bytes() == b"new\n"


def test_a_named_pipe_whose_reader_is_slow_or_gone(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    end = bench.open(SerialSpec("file", path=path))
    for _ in range(40):
        end.write(b"z" * 4096)
    got = 0
    while got < 40 * 4096:
        got += len(os.read(reader, 65536))
        bench.poller.wait(0)
    os.close(reader)
    end.write(b"nobody hears")
    end.write(b"nobody hears")
    assert isinstance(end, FileEnd)


@pytest.mark.parametrize("what", ["folder", "taken port", "pipe without a reader", "full disk"])
def test_what_cannot_be_opened_or_written_is_one_sentence(
    what: str, bench: Bench, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if what == "pipe without a reader":
            os.mkfifo(tmp_path / "pipe")
        spec = {
            "folder": SerialSpec("file", path=tmp_path),
            "taken port": SerialSpec("tcp", port=taken.getsockname()[1]),
            "pipe without a reader": SerialSpec("file", path=tmp_path / "pipe"),
            "full disk": SerialSpec("file", path=Path("/dev/full")),
        }[what]
        with pytest.raises(EnvironmentProblem, match=r"^--serial [^:]+(:\d+)?: .*: [A-Z]") as told:
            bench.open(spec).write(b"x")
        assert "attempting" not in str(told.value)
        assert ("begin with its reader" in str(told.value)) == (what == "pipe without a reader")
