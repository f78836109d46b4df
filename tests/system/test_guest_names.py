"""The guest's programs find hosts by name: through the gateway's relay, a name server of the test.

Protects: fetch, ping and ttcp take names; the name server is the one of `--dns` or of the network;
what is not an answer to the question is not believed; each failure has its words.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from leulo_process import LeuloProcess
from netns import Namespace
from test_guest_programs import command

from leulo.cli.image import command as image_command
from leulo.packaged import packaged

pytestmark = [pytest.mark.compiler, pytest.mark.netns]
SERVER = "198.51.100.53"
GATEWAY = bytes((10, 0, 2, 2))
A, AAAA = b"\0\1", b"\0\x1c"
HERE = b"\xc0\x0c"


def record(kind: bytes, data: bytes) -> bytes:
    return HERE + kind + b"\0\1" + bytes(4) + len(data).to_bytes(2, "big") + data


def answers(question: bytes) -> Iterator[bytes]:
    """What the name server of the test sends back, the name telling."""
    name, kind = question[13:].partition(b"\4test")[0].decode(), question[-4:-2]
    address = record(A, GATEWAY) if kind == A else b""
    head = question[:2] + b"\x81\x80" + question[4:6]

    def answer(head: bytes, *records: bytes) -> bytes:
        return head + len(records).to_bytes(2, "big") + bytes(4) + question[12:] + b"".join(records)

    if name == "liar":  # to another question, of another number, half of one, and then a good one
        lie = answer(head, record(A, bytes((10, 0, 2, 99))))
        yield lie.replace(b"liar", b"rail")
        yield bytes((lie[0] ^ 1,)) + lie[1:]
        yield lie[:13]
    if name == "nobody":
        yield answer(question[:2] + b"\x81\x83" + question[4:6])
    elif name == "broken":
        yield answer(question[:2] + b"\x81\x82" + question[4:6])
    elif name == "bare":
        yield answer(head)
    elif name == "six":
        yield answer(head, *([record(AAAA, bytes(15) + b"\1")] if kind == AAAA else []))
    else:
        yield answer(head, *([address] if address else []))


@pytest.fixture
def named(netns: Namespace) -> Iterator[tuple[Namespace, list[bytes]]]:
    """A namespace whose resolv.conf names a server in it, and what it was asked."""
    folder = Path("/etc/netns") / netns.name  # `ip netns exec` puts it in /etc's place
    if not os.access("/etc", os.W_OK):
        pytest.skip("needs to write to /etc/netns")
    had_parent = folder.parent.exists()
    folder.mkdir(parents=True)
    asked: list[bytes] = []
    server = netns.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    netns.run("ip", "addr", "add", f"{SERVER}/32", "dev", "lo")
    server.bind((SERVER, 53))

    def serve() -> None:
        while True:
            question, client = server.recvfrom(4096)
            if not question:
                return
            asked.append(question)
            for text in answers(question):
                server.sendto(text, client)

    thread = threading.Thread(target=serve, daemon=True)
    try:
        (folder / "resolv.conf").write_text(f"search example.test\nnameserver {SERVER}\n")
        thread.start()
        yield netns, asked
        with netns.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as last:
            last.sendto(b"", (SERVER, 53))
        thread.join()
    finally:
        server.close()
        shutil.rmtree(folder)
        if not had_parent:
            with suppress(OSError):  # a test that runs beside this one has its own folder there
                folder.parent.rmdir()


def serve_page(listener: socket.socket, heads: list[bytes]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            heads.append(client.recv(65536))
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage")


def test_programs_take_names(named: tuple[Namespace, list[bytes]]) -> None:
    namespace, asked = named
    heads: list[bytes] = []
    with namespace.inside(lambda: socket.create_server(("127.0.0.1", 8000))) as listener:
        web = threading.Thread(target=serve_page, args=(listener, heads), daemon=True)
        web.start()
        flags = ("--host-loopback", "--publish", "none")
        with LeuloProcess(*flags, netns=namespace.name) as process:
            process.expect_services()
            assert "nameserver 10.0.2.3" in command(process, "cat /proc/resolv.conf")
            said = command(process, "fetch http://www.Host-1.test.:8000/file | wc")
            assert "0 lines, 4 bytes" in said, said
            assert b"Host: www.Host-1.test.:8000\r\n" in heads[0]
            assert asked[0][12:] == b"\3www\6Host-1\4test\0\0\1\0\1"
            said = command(process, "ping -c 1 gateway.test")
            assert "64 bytes from gateway.test: icmp_seq=1" in said
            assert "Connection refused" in command(process, "ttcp -t sink.test:9 1")
            for name, words in {
                "nobody": "there is no such host",
                "broken": "the name server does not know",
                "bare": "it has no address",
            }.items():
                said = command(process, f"fetch {name}.test/")
                assert f"fetch: {name}.test: {words}\n" in said and "status 1" in said
            before = len(asked)
            assert "six.test" in command(process, "fetch six.test/"), "there is no way to ::1:80"
            assert [question[-4:-2] for question in asked[before:]] == [A, AAAA]
        listener.shutdown(socket.SHUT_RDWR)
        web.join()


def test_the_name_server_is_the_one_that_dns_says(named: tuple[Namespace, list[bytes]]) -> None:
    """A server beyond the guest's network is asked as any other host."""
    namespace, asked = named
    flags = ("--host-loopback", "--publish", "none", "--dns", SERVER)
    with LeuloProcess(*flags, netns=namespace.name) as process:
        process.expect_services()
        assert f"nameserver {SERVER}" in command(process, "cat /proc/resolv.conf")
        assert "1 received" in command(process, "ping -c 1 gateway.test")
        assert len(asked) == 1
        said = command(process, "ping -c 1 liar.test")
        assert "1 received" in said, "it has not believed that the host is 10.0.2.99"
        said = command(process, "fetch nobody-.test./a")
        assert "fetch: nobody-.test.: " in said


MANY_FORMS = f"""# nameserver 10.0.2.99
;nameserver 10.0.2.98

search nameserver 10.0.2.97
 nameserver
nameserver host.test
\t nameserver \t{SERVER}\t # nobody else\r
nameserver 10.0.2.96
"""


@pytest.mark.parametrize(
    ("text", "is_known"), [(MANY_FORMS, True), ("# nameserver 10.0.2.3\nnameserver\n", False)]
)
def test_a_name_server_of_ones_own_stands_in_a_file_as_people_write_it(
    named: tuple[Namespace, list[bytes]], tmp_path: Path, text: str, is_known: bool
) -> None:
    """Comments, blanks of either kind, lines without an address; the first that has one counts."""
    namespace, asked = named
    (tmp_path / "resolv.conf").write_bytes(text.encode())
    made = tmp_path / "mine.img"
    words = ["add", str(packaged()), str(tmp_path / "resolv.conf")]
    result = CliRunner().invoke(
        image_command, [*words, "--to", "/etc/resolv.conf", "-o", str(made)]
    )
    assert result.exit_code == 0, result.output
    flags = (str(made), "--host-loopback", "--publish", "none")
    with LeuloProcess(*flags, netns=namespace.name) as process:
        process.expect_services()
        said = command(process, "ping -c 1 gateway.test")
        assert ("1 received" in said) == is_known == bool(asked), said
        assert ("no name server is known" in said) != is_known


@pytest.mark.parametrize(("net", "server"), [("user", "nameserver 10.0.2.3\n"), ("none", "")])
def test_a_guest_without_a_lease_knows_the_gateways_name_server_or_none(
    net: str, server: str
) -> None:
    flags = ("--net", net, "--ip", "dhcp", "--publish", "none")
    with LeuloProcess(*flags, wait_ready=False) as process:
        process.expect("leulo$ ")
        assert f"resolv.conf\n{server}leulo$" in command(process, "cat /proc/resolv.conf")
        if not server:
            said = command(process, "fetch host.test")
            assert "fetch: host.test: no name server is known" in said
