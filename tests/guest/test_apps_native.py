"""The servers' logic, without the guest: on the host's TCP, over loopback.

Each test runs twice: the sources on the host's libc (the native mode), and on the guest's libc, as
in the guest. What is wrong here is wrong in `guest_kernel/apps` or `libc`; what only fails in the
guest is the kernel's or the hypervisor's.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from freestanding import KERNEL, build, sources_of

TIMEOUT_S = 20.0

Server = Callable[[str], int]  # name of a program -> its port


@pytest.fixture(scope="module", params=["host libc", "guest libc"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Starts servers once each, on ports the system chooses."""
    folder = tmp_path_factory.mktemp("servers")
    if request.param == "guest libc":
        for name in ("httpd", "echo", "discard", "chargen"):
            build(sources_of(name), folder / name)
    elif shutil.which("make") is None or shutil.which("gcc") is None:
        pytest.skip("needs make and gcc")
    else:
        make = ["make", "-s", "-C", str(KERNEL / "native"), f"OUT={folder}", "CC=gcc"]
        subprocess.run(make, check=True)
    www = folder / "www"
    shutil.copytree(KERNEL / "www", www)
    (www / "big.txt").write_bytes(bytes(range(256)) * 4096)
    (www / "empty.txt").write_bytes(b"")
    (www / "folder").mkdir()
    (folder / "secret").write_text("not for the web")
    ports: dict[str, int] = {}
    running: list[subprocess.Popen[str]] = []

    def start(name: str) -> int:
        if name not in ports:
            command = [str(folder / name), "0", str(www)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            running.append(process)
            assert process.stdout is not None
            ports[name] = int(process.stdout.readline().rsplit(" ", 1)[1])
        return ports[name]

    yield start
    for process in running:
        alive = process.poll() is None
        process.kill()
        process.communicate()
        assert alive, f"{process.args!r} ended by itself"


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), TIMEOUT_S)


def read_all(s: socket.socket) -> bytes:
    parts = []
    while part := s.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def read_exactly(s: socket.socket, count: int) -> bytes:
    text = bytearray()
    while len(text) < count:
        part = s.recv(count - len(text))
        assert part, f"the stream ended after {len(text)} of {count} bytes"
        text += part
    return bytes(text)


def ask(port: int, request: bytes) -> bytes:
    """Send, end our direction, and read until the server ends its own."""
    with connect(port) as s:
        s.sendall(request)
        s.shutdown(socket.SHUT_WR)
        return read_all(s)


class Answers:
    """The answers on one connection, in order."""

    def __init__(self, s: socket.socket) -> None:
        self._file = s.makefile("rb")

    def next(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        status = self._file.readline().split(b" ", 2)
        assert status[0] == b"HTTP/1.1", status
        fields: dict[str, str] = {}
        while (line := self._file.readline().decode().strip()) != "":
            name, value = line.split(": ", 1)
            fields[name.lower()] = value
        body = self._file.read(int(fields["content-length"])) if has_body else b""
        return int(status[1]), fields, body

    def at_end(self) -> bool:
        return self._file.read(1) == b""


def get(path: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: guest", *fields, "", ""]
    return "\r\n".join(lines).encode()


def lines_of(start: int, end: int) -> bytes:
    """Bytes [start, end) of /bytes/N."""
    first = start // 16
    text = b"".join(b"%015x\n" % (16 * i) for i in range(first, (end + 15) // 16))
    return text[start - 16 * first : end - 16 * first]


def test_keep_alive_serves_files_with_their_types(server: Server) -> None:
    with connect(server("httpd")) as s:
        answers = Answers(s)
        for path, file, kind in [
            ("/", "index.html", "text/html; charset=utf-8"),
            ("/style.css?v=1", "style.css", "text/css; charset=utf-8"),
            ("/seam.svg", "seam.svg", "image/svg+xml"),
            ("/index%2ehtml", "index.html", "text/html; charset=utf-8"),
            ("http://guest/style.css", "style.css", "text/css; charset=utf-8"),
        ] * 2:
            s.sendall(get(path))
            status, fields, body = answers.next()
            assert (status, fields["content-type"]) == (200, kind), path
            assert body == (KERNEL / "www" / file).read_bytes(), path


def test_files_too_big_to_keep_and_empty_ones_are_whole(server: Server) -> None:
    with connect(server("httpd")) as s:
        answers = Answers(s)
        for path, expected in [("/big.txt", bytes(range(256)) * 4096), ("/empty.txt", b"")] * 2:
            s.sendall(get(path))
            assert answers.next()[2] == expected


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (get("/none"), 404),
        (get("/folder"), 404),
        (get("/folder/"), 404),
        (get("/../secret"), 404),
        (get("/%2e%2e/secret"), 404),
        (get("/x/..%2f..%2fsecret"), 404),
        (get("/" + "a" * 300), 414),
        (get("/%zz"), 400),
        (get("/a%00b"), 400),
        (get("nowhere"), 400),
        (get("/a b"), 400),
        (get("/none?" + "q" * 500), 404),
        (b"GE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GETS / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (get("/", version="2.0"), 505),
        (get("/", "Content-Length: 5", method="POST") + b"hello", 405),
        (get("/", "Content-Length: 5") + b"hello", 413),
        (get("/", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 413),
        (get("/", "X: " + "y" * 9000), 431),
        (get("/bytes/"), 404),
        (get("/bytes/12x"), 404),
        (get("/bytes/-1"), 404),
        (get("/bytes/1099511627777"), 404),
        (get("/bytes/99999999999999999999999"), 404),
    ],
)
def test_bad_requests_get_their_status(server: Server, request_text: bytes, status: int) -> None:
    answer = ask(server("httpd"), request_text)
    assert answer.split(b" ", 2)[:2] == [b"HTTP/1.1", b"%d" % status]
    assert b"secret" not in answer and b"not for the web" not in answer


@pytest.mark.parametrize(
    ("request_text", "stays"),
    [
        (get("/"), True),
        (get("/none"), True),
        (get("/", "Connection: close"), False),
        (get("/", "connection: foo , CLOSE"), False),
        (get("/", "Connection:\t close ,, foo"), False),
        (get("/", "Connection: closed, clos, a close"), True),
        (get("/", version="1.0"), False),
        (get("/", "Connection: Keep-Alive", version="1.0"), True),
    ],
)
def test_connection_stays_or_ends_as_asked(
    server: Server, request_text: bytes, stays: bool
) -> None:
    with connect(server("httpd")) as s:
        answers = Answers(s)
        s.sendall(request_text)
        _, fields, _ = answers.next()
        assert (fields.get("connection", "keep-alive") == "close") is not stays
        if stays:
            s.sendall(get("/style.css"))
            assert answers.next()[0] == 200
        else:
            assert answers.at_end()


def test_refusal_reaches_a_client_that_still_sends(server: Server) -> None:
    """An answer before the request's body must not be lost to a reset."""
    with connect(server("httpd")) as s:
        s.sendall(get("/", "Content-Length: 500000", method="PUT"))
        s.sendall(b"x" * 500_000)
        assert Answers(s).next()[0] == 405


def test_head_has_the_length_and_no_body(server: Server) -> None:
    with connect(server("httpd")) as s:
        answers = Answers(s)
        for path, size in [("/bytes/1000000", 1_000_000), ("/big.txt", 1 << 20), ("/none", 14)]:
            s.sendall(get(path, method="HEAD"))
            _, fields, _ = answers.next(has_body=False)
            assert int(fields["content-length"]) == size
        s.sendall(get("/bytes/5"))
        assert answers.next()[2] == b"00000"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 65535, 65536, 65537, 330_001, 9_000_000])
def test_bytes_of_every_length_are_right(server: Server, size: int) -> None:
    answer = ask(server("httpd"), get(f"/bytes/{size}", "Connection: close"))
    assert answer.split(b"\r\n\r\n", 1)[1] == lines_of(0, size)


def test_bytes_are_right_where_many_clients_read_slowly_and_apart(server: Server) -> None:
    """They share the server's buffers; each must see its own offsets."""
    size, count = 3_000_000, 12
    port = server("httpd")
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(count)]
        got = [b""] * count
        for i, client in enumerate(clients):
            client.sendall(get(f"/bytes/{size + i}", "Connection: close"))
            got[i] = read_exactly(client, 10_000 * (i + 1))
        for part in range(4):
            for i, client in enumerate(clients):
                got[i] += read_exactly(client, 150_000 + 7919 * i + part)
        for i, client in enumerate(clients):
            body = (got[i] + read_all(client)).split(b"\r\n\r\n", 1)[1]
            assert body == lines_of(0, size + i), i


def test_huge_bytes_begin_at_once_and_stop_with_the_client(server: Server) -> None:
    with connect(server("httpd")) as s:
        s.sendall(get(f"/bytes/{1 << 40}"))
        head, body = read_exactly(s, 300_000).split(b"\r\n\r\n", 1)
        assert b"\r\nContent-Length: 1099511627776" in head
        assert body == lines_of(0, len(body))
    assert ask(server("httpd"), get("/bytes/3")).endswith(b"000")


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    sizes = [10, 400_000, 0, 70_000, 5] * 30
    with connect(server("httpd")) as s:
        text = b"".join(get(f"/bytes/{size}") for size in sizes)
        sender = threading.Thread(target=s.sendall, args=(text,))
        sender.start()
        answers = Answers(s)
        for size in sizes:
            assert answers.next()[2] == lines_of(0, size)
        sender.join()


def test_head_that_could_not_go_is_whole_though_others_were_answered(server: Server) -> None:
    port = server("httpd")
    count = 50_000  # more than all buffers: somewhere in there a head has to wait
    with connect(port) as slow:
        text = get("/bytes/100") * count
        sender = threading.Thread(target=slow.sendall, args=(text,))
        sender.start()
        sender.join(1)
        for size in range(20):  # their heads stand in front of the same bytes
            assert ask(port, get(f"/bytes/{size}")).endswith(lines_of(0, size))
        answers = Answers(slow)
        for _ in range(count):
            assert answers.next()[2] == lines_of(0, 100)
        sender.join()


def test_request_in_single_bytes_and_with_bare_line_feeds(server: Server) -> None:
    with connect(server("httpd")) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = Answers(s)
        for request in (get("/bytes/4"), b"\r\n\nGET /bytes/4 HTTP/1.1\nHost: a\n\n"):
            for at in range(len(request)):
                s.sendall(request[at : at + 1])
            assert answers.next()[2] == b"0000"


def test_many_connections_at_once(server: Server) -> None:
    port = server("httpd")
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(400)]
        for _ in range(2):
            for i, client in enumerate(clients):
                client.sendall(get(f"/bytes/{i}"))
            for i, client in enumerate(clients):
                answer = b""
                while b"\r\n\r\n" not in answer or len(answer.split(b"\r\n\r\n", 1)[1]) < i:
                    answer += client.recv(4096)
                assert answer.split(b"\r\n\r\n", 1)[1] == lines_of(0, i)


def test_echo_of_more_than_all_buffers_with_a_client_that_writes_first(server: Server) -> None:
    """Buffers are bounded, so the client has to be stopped by its window, and nothing be lost."""
    size = 100_000_000
    block = lines_of(0, 1 << 20)
    with connect(server("echo")) as s, connect(server("echo")) as other:

        def write() -> None:
            left = size
            while left:
                left -= s.send(block[size - left & 0xFFFFF :][:left])
            s.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write)
        writer.start()
        other.sendall(b"meanwhile")
        assert other.recv(100) == b"meanwhile"
        at = 0
        while part := s.recv(1 << 20):
            begin = at & 0xFFFFF
            expected = block[begin : begin + len(part)]
            expected += block[: len(part) - len(expected)]
            assert part == expected, at
            at += len(part)
        writer.join()
        assert at == size


def test_discard_takes_everything_and_says_nothing(server: Server) -> None:
    assert ask(server("discard"), b"x" * 3_000_000) == b""


def test_echo_and_discard_take_datagrams_on_the_same_port(server: Server) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.settimeout(TIMEOUT_S)
        s.connect(("127.0.0.1", server("echo")))
        for data in (b"one", b"", bytes(range(256)) * 230):
            s.send(data)
            assert s.recv(1 << 16) == data
        s.connect(("127.0.0.1", server("discard")))
        for _ in range(200):
            s.send(b"x" * 1000)
        s.settimeout(0.1)
        with pytest.raises(TimeoutError):
            s.recv(1)
    assert ask(server("discard"), b"and it is still there") == b""


def test_echo_sends_nothing_back_to_a_server(server: Server) -> None:
    """Protects: two servers that echo would answer each other for ever."""
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        try:
            s.bind(("127.0.0.1", 1023))
        except OSError:
            pytest.skip("needs leave to bind a port below 1024")
        s.sendto(b"from a server", ("127.0.0.1", server("echo")))
        s.settimeout(0.2)
        with pytest.raises(TimeoutError):
            s.recv(100)


def test_chargen_has_the_lines_of_the_rfc(server: Server) -> None:
    with connect(server("chargen")) as s:
        s.sendall(b"ignored")
        text = read_exactly(s, 5_000_000)
    printing = bytes(range(32, 127))
    for number, line in enumerate(text.split(b"\r\n")[:-1]):
        first = number % 95
        assert line == (printing * 2)[first : first + 72], number
    assert number > 60_000


def test_servers_survive_clients_that_reset(server: Server) -> None:
    linger = b"\x01\0\0\0\0\0\0\0"
    for name in ("httpd", "echo", "discard", "chargen"):
        port = server(name)
        for _ in range(30):
            with connect(port) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                s.sendall(get("/bytes/10000000"))
    with connect(server("echo")) as s:
        s.sendall(b"alive")
        assert read_exactly(s, 5) == b"alive"
