"""TCP-MD5 with Linux's own TCP as the peer, over a TAP, both ways and over both versions.

Linux signs and checks by itself; what crosses the TAP is worked out a third time by scapy's parser
and hashlib. The engine runs in a thread of its own, Linux's sockets in the test's.
"""

from __future__ import annotations

import hashlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from struct import pack

import pytest
from engine_process import ADDRESS, GATEWAY
from engine_server import Conversation, Server
from http_checks import expected_bytes
from netns import Namespace

from leulo.links.poller import IN
from leulo.net.wire.ipv4 import parse_ipv4
from leulo.tcp.header import Frame
from leulo.tcp.socket import TcpSocket
from leulo.tcp.sockopt.names import IPPROTO_TCP, TCP_MD5SIG, TCP_MD5SIG_EXT

pytestmark = pytest.mark.netns

SECRET = b"a secret of both"
HOST_6, ENGINE_6 = "fd00:77::1", "fd00:77::2"
CHECK_PORT, ECHO_PORT, LINUX_PORT = 5001, 7, 179
FLAG_PREFIX = 1
SIZE = 3_000_000
HOSTS = {4: (GATEWAY, ADDRESS), 6: (HOST_6, ENGINE_6)}


def key_for(address: str, secret: bytes, prefix: int = -1, is_mapped: bool = False) -> bytes:
    """struct tcp_md5sig for a peer, or for a network."""
    if ":" in address or is_mapped:
        text = f"::ffff:{address}" if is_mapped else address
        place = pack("<HHI", socket.AF_INET6, 0, 0) + socket.inet_pton(socket.AF_INET6, text)
    else:
        place = pack("<HH", socket.AF_INET, 0) + socket.inet_aton(address)
    flags, bits = (FLAG_PREFIX, prefix) if prefix >= 0 else (0, 0)
    return place.ljust(128, b"\0") + pack("<BBHi80s", flags, bits, len(secret), 0, secret)


@pytest.fixture(scope="module")
def tap() -> Iterator[Namespace]:
    with Namespace("md5") as namespace:
        with namespace.entered(), socket.socket() as probe:
            try:
                probe.setsockopt(IPPROTO_TCP, TCP_MD5SIG, key_for(ADDRESS, SECRET))
            except OSError as error:
                pytest.skip(f"this kernel has no TCP-MD5 (CONFIG_TCP_MD5SIG): {error}")
        yield namespace


class Stage:
    """The engine's server with keys for Linux, and every packet of TCP that has crossed."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.packets: list[bytes] = []
        with namespace.entered():
            self.server = Server("leulo0", parse_ipv4(ADDRESS), 24, parse_ipv4(GATEWAY))
        self.server.switch.watch(self._look)
        self._orders, self._order_end = os.pipe()
        self._waiting: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.server.poller.add(self._orders, IN, self._obey)
        namespace.run("ip", "-6", "addr", "add", f"{HOST_6}/64", "dev", "leulo0", "nodad")
        for listener in self.server.listeners:
            for key in (key_for(GATEWAY, SECRET, is_mapped=True), key_for(HOST_6, SECRET)):
                assert listener.socket.setsockopt(IPPROTO_TCP, TCP_MD5SIG, key) == 0

    def _look(self, frames: Sequence[Frame], from_link: bool, now_ns: int) -> None:
        for frame in frames:
            whole = frame if isinstance(frame, bytes) else b"".join(frame)
            packet = whole[24:]
            is_tcp = {b"\x08\0": 9, b"\x86\xdd": 6}.get(whole[22:24])
            if is_tcp is not None and packet[is_tcp] == IPPROTO_TCP:
                self.packets.append(packet)

    def _obey(self, mask: int) -> None:
        os.read(self._orders, 1)
        self._answers.put(self._waiting.get()())

    def ask(self, call: Callable[[], object]) -> object:
        """What ``call`` returns in the engine's thread, the only one that may touch it."""
        self._waiting.put(call)
        os.write(self._order_end, b".")
        return self._answers.get(timeout=10)

    def await_(self, is_so: Callable[[], bool]) -> None:
        """Until that is so in the engine's thread."""
        end = time.monotonic() + 10
        while not self.ask(is_so):
            assert time.monotonic() < end
            time.sleep(0.02)

    def has_ended(self) -> bool:
        """Is every connection over, its last acknowledgement included?"""
        return not self.server.stack.engine.connections

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.server.run)
        thread.start()
        try:
            # Duplicate address detection: then the engine's address is more than tentative.
            self.await_(lambda: self.server.stack.counters()["ipv6_addresses"] >= 2)
            yield
        finally:
            self.server.stop()
            thread.join(20)
            self.server.close()
            os.close(self._orders)
            os.close(self._order_end)
        assert not thread.is_alive()

    def linux_counts(self) -> dict[str, int]:
        """Linux's own, of TCP-MD5, inside."""
        lines = self.namespace.run("cat", "/proc/net/netstat").splitlines()
        names, values = (line.split() for line in lines[:2])
        found = dict(zip(names[1:], map(int, values[1:]), strict=True))
        return {name: found[name] for name in found if name.startswith("TCPMD5")}


def scapy_digest(packet: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """The digest in a packet, and what it should be, by scapy's fields."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6

    ip = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    tcp = ip[TCP]
    payload = bytes(tcp.payload)
    size = tcp.dataofs * 4 + len(payload)
    carried = [value for name, value in tcp.options if name in (19, "MD5")]
    family = socket.AF_INET if packet[0] >> 4 == 4 else socket.AF_INET6
    ends = socket.inet_pton(family, ip.src) + socket.inet_pton(family, ip.dst)
    tail = pack("!BBH", 0, 6, size) if family == socket.AF_INET else pack("!II", size, 6)
    header = pack(
        "!HHIIHHHH", tcp.sport, tcp.dport, tcp.seq, tcp.ack, tcp.dataofs << 12 | int(tcp.flags),
        tcp.window, 0, tcp.urgptr,
    )  # fmt: skip
    right = hashlib.md5(ends + tail + header + payload + secret).digest()
    return (bytes(carried[0]) if carried else b""), right


def assert_all_signed(packets: list[bytes]) -> None:
    for packet in packets:
        found, right = scapy_digest(packet, SECRET)
        assert found == right, packet[:80].hex()


def connected(stage: Stage, version: int, port: int, secret: bytes = SECRET) -> socket.socket:
    """A socket of Linux's, connected to the engine; no key if ``secret`` is empty."""
    with stage.namespace.entered():
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        stream = socket.socket(family, socket.SOCK_STREAM)
    stream.settimeout(20)
    address = HOSTS[version][1]
    if secret:
        stream.setsockopt(IPPROTO_TCP, TCP_MD5SIG, key_for(address, secret))
    stream.connect((address, port))
    return stream


@pytest.mark.parametrize("version", [4, 6])
def test_linux_connects_to_the_engine(tap: Namespace, version: int) -> None:
    """Megabytes each way, checked byte by byte, and every packet of them signed."""
    stage = Stage(tap)
    before = stage.linux_counts()
    with stage.running():
        with closing(connected(stage, version, CHECK_PORT)) as stream:
            stream.sendall(expected_bytes(0, SIZE))
            stream.shutdown(socket.SHUT_WR)
            assert stream.recv(100) == b"%d right" % SIZE
        with closing(connected(stage, version, 80)) as stream:
            stream.sendall(b"GET /bytes/%d HTTP/1.0\r\n\r\n" % SIZE)
            answer = b""
            while piece := stream.recv(1 << 18):
                answer += piece
            assert answer.partition(b"\r\n\r\n")[2] == expected_bytes(0, SIZE)
        stage.await_(stage.has_ended)
    assert stage.linux_counts() == before
    assert not [name for name in stage.server.stack.counters() if "md5" in name]
    assert len(stage.packets) > 2 * SIZE // 1500
    assert max(len(packet) for packet in stage.packets) <= 1500
    assert_all_signed(stage.packets[:300] + stage.packets[-300:])


class Sends(Conversation):
    """Opens to Linux, sends what it is given and reads the answer to its end."""

    __slots__ = ("answer",)

    def __init__(self, socket: TcpSocket, data: bytes) -> None:
        super().__init__(socket)
        self.pending.append(data)
        self.answer = b""

    def ready(self) -> None:
        if self.socket.tcb is None or not self.socket.events & 4:
            return
        super().ready()

    def received(self, data: bytes) -> None:
        self.answer += data


@pytest.mark.parametrize("version", [4, 6])
def test_the_engine_connects_to_linux(tap: Namespace, version: int) -> None:
    """Linux's listener has a key for the engine's whole network."""
    stage = Stage(tap)
    before = stage.linux_counts()
    host = HOSTS[version][0]
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with stage.namespace.entered():
        listener = socket.create_server((host, LINUX_PORT), family=family)
    network, prefix = ("10.77.0.0", 24) if version == 4 else ("fd00:77::", 32)
    listener.setsockopt(IPPROTO_TCP, TCP_MD5SIG_EXT, key_for(network, SECRET, prefix))
    listener.settimeout(20)
    client = stage.server.stack.socket(family, 1)
    assert isinstance(client, TcpSocket)
    assert client.setsockopt(IPPROTO_TCP, TCP_MD5SIG, key_for(host, SECRET)) == 0
    data = expected_bytes(0, SIZE)
    with closing(listener), stage.running():
        to = socket.inet_pton(family, host)
        sends = Sends(client, data)
        assert stage.ask(lambda: client.connect(to, LINUX_PORT)) == -115
        stream, _ = listener.accept()
        with closing(stream):
            stream.settimeout(20)
            got = bytearray()
            while len(got) < SIZE:
                piece = stream.recv(1 << 18)
                assert piece
                got += piece
            assert got == data
            stream.sendall(b"all of it")
        stage.await_(lambda: sends.is_ended and stage.has_ended())
    assert sends.answer == b"all of it"
    assert stage.linux_counts() == before
    assert not [name for name in stage.server.stack.counters() if "md5" in name]
    assert_all_signed(stage.packets[:300] + stage.packets[-300:])


@pytest.mark.parametrize(
    ("secret", "count"), [(b"another", "drop_tcp_md5_failure"), (b"", "drop_tcp_md5_not_found")]
)
def test_without_the_secret_there_is_silence(tap: Namespace, secret: bytes, count: str) -> None:
    stage = Stage(tap)
    with stage.running():
        with stage.namespace.entered():
            stream = socket.socket()
        with closing(stream):
            stream.settimeout(1.5)
            if secret:
                stream.setsockopt(IPPROTO_TCP, TCP_MD5SIG, key_for(ADDRESS, secret))
            with pytest.raises(TimeoutError):
                stream.connect((ADDRESS, ECHO_PORT))
    assert stage.server.stack.counters()[count] >= 2
    assert not [packet for packet in stage.packets if packet[12:16] == parse_ipv4(ADDRESS)]


def test_a_reset_of_linux_is_believed_and_one_of_ours_is(tap: Namespace) -> None:
    stage = Stage(tap)
    with stage.running():
        stream = connected(stage, 4, ECHO_PORT)
        stream.sendall(b"hello")
        assert stream.recv(10) == b"hello"
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("<ii", 1, 0))
        stream.close()
        engine = stage.server.stack.engine
        stage.await_(lambda: not engine.connections)
        with closing(connected(stage, 4, ECHO_PORT)) as stream:
            stream.sendall(b"hello")
            assert stream.recv(10) == b"hello"
            stage.ask(lambda: [engine.abort(tcb) for tcb in list(engine.connections.values())])
            with pytest.raises(ConnectionResetError):
                stream.recv(10)
    assert [packet for packet in stage.packets if packet[33] & 4]
    assert_all_signed(stage.packets)
