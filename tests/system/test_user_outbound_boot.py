"""A guest that is a client: its connections through the user gateway to servers of the host."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from http_checks import check_body, get
from leulo_process import LeuloProcess

pytestmark = pytest.mark.compiler
PAGE = bytes(range(256)) * 12_000


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_guest_fetches_from_the_host_and_is_refused_where_nobody_listens(pages: int) -> None:
    web, echo, closed = free_port(), free_port(), free_port()
    with LeuloProcess("--host-loopback", "--publish", f"{web}:80,{echo}:7") as process:
        process.type(f"fetch -q 10.0.2.2:{pages}/page\n")
        process.expect(f"{len(PAGE)} bytes")
        process.type(f"fetch -q 10.0.2.2:{closed}/page\n")
        process.expect("refused")
        check_body(get(("127.0.0.1", web), "/bytes/5000"), 5000)
        with socket.create_connection(("127.0.0.1", echo), timeout=10) as connection:
            connection.sendall(b"both ports are open")
            assert connection.recv(100) == b"both ports are open"
        process.type("poweroff\n")
        assert process.wait() == 0, process.transcript()


def test_several_ports_of_tcp_and_udp_lead_to_the_guest_at_once() -> None:
    web, echo, sink = free_port(), free_port(), free_port()
    ports = f"{web}:80,{echo}:7,{echo}:7/udp"
    with LeuloProcess("--publish", ports, "--publish", f"{sink}:9/udp") as process:
        process.expect_services()
        check_body(get(("127.0.0.1", web), "/bytes/5000"), 5000)
        with socket.create_connection(("127.0.0.1", echo), timeout=10) as stream:
            stream.sendall(b"by TCP")
            assert stream.recv(100) == b"by TCP"
        with ExitStack() as stack:
            clients = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in "abc"]
            for number, client in enumerate(clients):
                client.settimeout(10)
                client.connect(("127.0.0.1", echo))
                client.send(b"%d" % number * 3000)
            for number, client in enumerate(clients):
                assert client.recv(1 << 16) == b"%d" % number * 3000
            clients[0].connect(("127.0.0.1", sink))
            clients[0].send(b"away")
        process.type("netstat\n")
        process.expect("udp   [::]:7 ")
        process.type("poweroff\n")
        assert process.wait() == 0, process.transcript()


def test_host_that_never_answers_does_not_stall_the_guest() -> None:
    """Its connection waits, and everything else goes on."""
    web = free_port()
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (one, two):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        with LeuloProcess("--host-loopback", "--publish", f"{web}:80") as process:
            process.type(f"fetch -q 10.0.2.2:{full.getsockname()[1]}/never\n")
            for _ in range(20):
                check_body(get(("127.0.0.1", web), "/bytes/20000"), 20_000)
            assert b"fetch:" not in process.console
