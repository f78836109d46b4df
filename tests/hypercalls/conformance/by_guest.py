"""The provider of the guest's own sockets: libc in user mode, the kernel's system calls and its
socket layer, its hypercalls, the engine, and a stack as peer.

The guest's first process is /bin/pktagent, which makes the calls of libc that its mailbox names;
the mailbox is read and written in RAM, a line on the console says that there is something to do.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from struct import Struct, pack, unpack_from
from typing import Final

import engine_world

from conformance.by_hypercall import LINGER_NONE, StackBox, StackPeer
from conformance.provider import Box, Peer
from leulo.clock import VirtualClock
from leulo.config import MachineConfig, NetSpec
from leulo.cpu import Exit
from leulo.links.base import Offload
from leulo.machine import Machine
from leulo.memory import PAGE_BYTES
from leulo.packaged import packaged
from leulo.trace import Trace
from leulo.units import NS_PER_MS, NS_PER_S

ADDRESS, OTHER, SILENT = (bytes((10, 0, 2, last)) for last in (15, 2, 200))
SILENT_PORT: Final = 9
# The agent's table.
_CALLS: Final = (
    "socket", "bind", "listen", "connect", "accept4", "shutdown", "close", "send", "recv",
    "sendto", "recvfrom", "getsockname", "getpeername", "getsockopt", "setsockopt", "poll",
    "fcntl",
)  # fmt: skip
_REQUEST: Final = Struct("<7I")
_ANSWER_AT: Final = 28
_NONBLOCK: Final = 0o4000
_QUANTUM: Final = 200_000  # ticks


class Agent:
    """A machine whose init is the agent, joined by a perfect wire to the stack ``other``."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.console = bytearray()
        self.chance = random.Random(11)
        config = MachineConfig(
            net=NetSpec("none"), publish=(), seed=0, address=ADDRESS, gateway=None,
            append="init=/bin/pktagent",
        )  # fmt: skip
        self.machine = Machine(
            config, self.clock, Trace(), offload=Offload(checksum=True, tso_bytes=65_535),
            console=self.console.extend, random_bits=self.chance.getrandbits, epoch_s=0,
        )  # fmt: skip
        mac = bytes.fromhex("525400000002")
        self.other = engine_world.make_stack("other", mac, OTHER, self.chance)
        image = packaged()
        self.machine.load(image.read_bytes(), str(image))
        said = self.wait_for_line("mailbox ").replace(",", "").split()
        self.mailbox, self.data_bytes, self.data = int(said[1], 16), int(said[2]), int(said[-1])
        self.data += self.mailbox

    # ------------------------------------------------------------ time

    def turn(self) -> None:
        """A little: what the guest does next, frames both ways, timers; or a jump to the next
        thing that happens."""
        machine, stack = self.machine, self.machine.stack
        if machine.is_runnable():
            found = machine.cpu.run(_QUANTUM)
            assert found is not Exit.SHUTDOWN, machine.explain_shutdown()
        elif not stack.has_output and not self.other.has_output:
            dues = [d for d in (machine.next_deadline(), self.other.next_deadline()) if d]
            self.clock.skip_to(max(min(dues), self.clock.now_ns()))
        now = self.clock.now_ns()
        self.pass_frames()
        due = self.other.next_deadline()
        if due is not None and due <= now:
            self.other.advance(now)
        machine.serve(now)
        self.pass_frames()

    def pass_frames(self) -> None:
        now = self.clock.now_ns()
        stack = self.machine.stack
        while stack.has_output or self.other.has_output:
            self.other.input([b"".join(frame) for frame in stack.drain(now)], now)
            stack.input([b"".join(frame) for frame in self.other.drain(now)], now)
            self.machine.hypercalls.deliver()

    def sleep(self, duration_ns: int) -> None:
        end = self.clock.now_ns() + duration_ns
        while self.clock.now_ns() < end:
            self.turn()

    def wait_for_line(self, beginning: str) -> str:
        """The next line of the console that begins so."""
        for _ in range(100_000):
            *lines, _ = self.console.decode().split("\n")
            for number, line in enumerate(lines):
                if line.startswith(beginning):
                    del self.console[: len("\n".join([*lines[: number + 1], ""]))]
                    return line.strip()
            self.turn()
        raise AssertionError(f"no {beginning!r} on the console: {self.console.decode()!r}")

    # ------------------------------------------------------------ calls

    def call(self, name: str, *arguments: int) -> int:
        """Make a call of libc: its result, or a negative errno. It must not block."""
        words = (*(a & 0xFFFFFFFF for a in arguments), 0, 0, 0, 0, 0, 0)[:6]
        self.poke(self.mailbox, _REQUEST.pack(_CALLS.index(name), *words))
        assert self.machine.console_input(b"\n") == 1
        self.wait_for_line("done")
        result, error = unpack_from("<ii", self.peek(self.mailbox + _ANSWER_AT, 8))
        return -error if result == -1 else result

    def poke(self, address: int, data: bytes) -> None:
        """Write the agent's memory; its page tables are the CPU's, as it runs alone."""
        done = 0
        while done < len(data):
            size = min(len(data) - done, PAGE_BYTES - (address + done) % PAGE_BYTES)
            physical = self.machine.cpu.translate(address + done)
            assert physical is not None
            self.machine.memory.write(physical, data[done : done + size])
            done += size

    def peek(self, address: int, length: int) -> bytes:
        return self.machine.cpu.read_virtual(address, length)


class GuestProvider:
    """See `Provider`. A socket's number is the guest's file descriptor."""

    name = "guest"

    def __init__(self) -> None:
        self.agent = Agent()
        self.next_port = 20_000

    def _address(self, address: bytes, port: int) -> tuple[int, int]:
        """A sockaddr_in in the mailbox's data: where it is, and its length."""
        self.agent.poke(self.agent.data, pack("<H", 2) + pack(">H", port) + address + bytes(8))
        return self.agent.data, 16

    def _port(self, call: str, number: int) -> int:
        at = self.agent.data
        self.agent.poke(at, pack("<I", 16) + bytes(28))
        result = self.agent.call(call, number, at + 16, at)
        return result or int.from_bytes(self.agent.peek(at + 18, 2), "big")

    def socket(self) -> int:
        return self.agent.call("socket", 2, 1 | _NONBLOCK, 0)

    def bind(self, number: int, port: int) -> int:
        return self.agent.call("bind", number, *self._address(bytes(4), port))

    def port_of(self, number: int) -> int:
        return self._port("getsockname", number)

    def peer_port_of(self, number: int) -> int:
        return self._port("getpeername", number)

    def listen(self, number: int, backlog: int) -> int:
        return self.agent.call("listen", number, backlog)

    def connect(self, number: int, port: int) -> int:
        where = SILENT if port == SILENT_PORT else OTHER
        return self.agent.call("connect", number, *self._address(where, port))

    def accept(self, number: int) -> int:
        return self.agent.call("accept4", number, 0, 0, _NONBLOCK)

    def send(self, number: int, data: bytes) -> int:
        data = data[: self.agent.data_bytes]
        self.agent.poke(self.agent.data, data)
        return self.agent.call("send", number, self.agent.data, len(data), 0x4000)

    def recv(self, number: int, limit: int) -> bytes | int:
        limit = min(limit, self.agent.data_bytes)
        got = self.agent.call("recv", number, self.agent.data, limit, 0)
        return got if got < 0 else self.agent.peek(self.agent.data, got)

    def datagram(self) -> int:
        return self.agent.call("socket", 2, 2 | _NONBLOCK, 0)

    def sendto(self, number: int, data: bytes, port: int) -> int:
        address, length = self._address(OTHER, port)
        self.agent.poke(address + length, data)
        return self.agent.call("sendto", number, address + length, len(data), 0, address, length)

    def recvfrom(self, number: int, limit: int) -> tuple[bytes, int] | int:
        at, data = self.agent.data, self.agent.data + 32
        self.agent.poke(at, pack("<I", 16))
        got = self.agent.call("recvfrom", number, data, limit, 0, at + 4, at)
        if got < 0:
            return got
        return self.agent.peek(data, got), int.from_bytes(self.agent.peek(at + 6, 2), "big")

    def shutdown(self, number: int, how: int) -> int:
        return self.agent.call("shutdown", number, how)

    def close(self, number: int) -> int:
        return self.agent.call("close", number)

    def poll(self, number: int) -> int:
        at = self.agent.data
        self.agent.poke(at, pack("<iHH", number, 0x2005, 0))
        assert self.agent.call("poll", at, 1, 0) in (0, 1)
        return int.from_bytes(self.agent.peek(at + 6, 2), "little")

    def option(self, number: int, level: int, name: int) -> int:
        at = self.agent.data
        self.agent.poke(at, pack("<II", 4, 0))
        result = self.agent.call("getsockopt", number, level, name, at + 4, at)
        return result or int.from_bytes(self.agent.peek(at + 4, 4), "little", signed=True)

    def set_option(self, number: int, level: int, name: int, value: int) -> int:
        self.agent.poke(self.agent.data, pack("<i", value))
        return self.agent.call("setsockopt", number, level, name, self.agent.data, 4)

    def linger_none(self, number: int) -> None:
        self.agent.poke(self.agent.data, LINGER_NONE)
        assert self.agent.call("setsockopt", number, 1, 13, self.agent.data, 8) == 0

    def peer_listens(self, port: int) -> Peer:
        socket = self.agent.other.socket(2, 1)
        assert not isinstance(socket, int)
        assert socket.bind(OTHER, port) == 0 and socket.listen(128) == 0
        return StackPeer(socket)

    def peer_connects(self, port: int) -> Peer:
        socket = self.agent.other.socket(2, 1)
        assert not isinstance(socket, int)
        socket.connect(ADDRESS, port)
        return StackPeer(socket)

    def peer_box(self, port: int) -> Box:
        return StackBox(self.agent.other, port)

    def silent_port(self) -> int:
        return SILENT_PORT

    def free_port(self) -> int:
        self.next_port += 1
        return self.next_port

    def until(self, is_so: Callable[[], bool]) -> None:
        for _ in range(5_000):
            if is_so():
                return
            self.agent.sleep(NS_PER_MS // 10)
        raise AssertionError("it never came to pass")

    def rest(self) -> None:
        self.agent.sleep(130 * NS_PER_S)

    def open_connections(self) -> int:
        counters = self.agent.machine.stack.counters()
        return counters["tcp_connections"] + counters["tcp_half_open"]

    def close_all(self) -> None:
        self.agent.machine.close()
