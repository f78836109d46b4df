"""A guest's hypercalls over the real engine, and another stack of ours as the other end.

Frames pass at once and time stands still unless a test moves it: what needs no time must not
take any.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypercall_guest import ADDRESS, DATA, GATEWAY, INFO, MAC, TABLE, Guest, HandClock, endpoint

from leulo.hypercalls import Limits, abi
from leulo.stack import Stack, StackConfig
from leulo.tcp.config import Config
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace

Op = abi.Op
OTHER = GATEWAY


def make_stack(
    name: str, mac: bytes, address: bytes, chance: random.Random, tcp: Config | None = None,
    has_ipv6: bool = False,
) -> Stack:  # fmt: skip
    config = StackConfig(
        name=name, mac=mac, address=address, prefix_length=24, gateway=None, mtu=1500,
        checksum=True, tso_bytes=65535, tcp=tcp or Config(), has_ipv6=has_ipv6,
        address6=b"\xfd" + bytes(11) + address,
    )  # fmt: skip
    return Stack(config, chance.getrandbits, Trace())


class EngineWorld:
    """``guest`` makes hypercalls on ``stack``; ``other`` is the stack at the wire's far end."""

    def __init__(
        self, *, limits: Limits | None = None, ring_entries: int = 64, memory_bytes: int = 1 << 20,
        tcp: Config | None = None, has_ipv6: bool = False,
    ) -> None:  # fmt: skip
        self.chance = random.Random(11)
        self.clock = HandClock()
        self.stack = make_stack("guest", MAC, ADDRESS, self.chance, tcp, has_ipv6)
        mac = bytes.fromhex("525400000002")
        self.other = make_stack("other", mac, OTHER, self.chance, None, has_ipv6)
        self.guest = Guest(
            self.stack, limits=limits, ring_entries=ring_entries, memory_bytes=memory_bytes,
            clock=self.clock,
        )  # fmt: skip
        self.guest.hypercalls.session.info = replace(INFO, has_ipv6=has_ipv6)
        self.is_cut = False  # nothing arrives

    def turn(self) -> int:
        """Pass what wants to be sent, both ways, once; the number of frames."""
        now = self.clock.now_ns()
        passed = 0
        for sender, receiver in ((self.stack, self.other), (self.other, self.stack)):
            due = sender.next_deadline()
            if due is not None and due <= now:
                sender.advance(now)
            frames = [b"".join(frame) for frame in sender.drain(now)] if sender.has_output else []
            if frames and not self.is_cut:
                receiver.input(frames, now)
            passed += len(frames)
        self.guest.hypercalls.deliver()
        return passed

    def settle(self) -> None:
        """Until nobody has anything to say, in no time."""
        for _ in range(10_000):
            if not self.turn() and not self.stack.has_output and not self.other.has_output:
                return
        raise AssertionError("the two stacks never stop talking")

    def sleep(self, duration_ns: int) -> None:
        """Let time pass, stopping at every deadline."""
        end = self.clock.time_ns + duration_ns
        self.settle()
        while True:
            dues = [d for d in (self.stack.next_deadline(), self.other.next_deadline()) if d]
            due = min(dues, default=end)
            if due >= end:
                break
            self.clock.time_ns = max(due, self.clock.time_ns)
            self.settle()
        self.clock.time_ns = end
        self.settle()

    def other_socket(self) -> TcpSocket:
        socket = self.other.socket(2, 1)
        assert isinstance(socket, TcpSocket)
        return socket

    def other_listener(self, port: int) -> TcpSocket:
        socket = self.other_socket()
        assert socket.bind(OTHER, port) == 0
        assert socket.listen(128) == 0
        return socket

    def connect(self, port: int, **fields: Any) -> int:
        """A guest's socket on its way to the other end; subscribed with its number as cookie."""
        handle = self.guest.socket()
        self.guest.call(Op.SUBSCRIBE, handle, events=5, cookie=handle)
        answer = self.guest.call(Op.CONNECT, handle, peer=endpoint(OTHER, port), **fields)
        assert answer.result == -abi.Errno.EINPROGRESS
        return handle

    def connected(self) -> tuple[int, TcpSocket]:
        """A connection that the guest opened: its handle, and the other end."""
        port = self.chance.randrange(1024, 30_000)
        listener = self.other_listener(port)
        handle = self.connect(port)
        self.settle()
        other = listener.accept()
        assert isinstance(other, TcpSocket)
        listener.close()
        self.guest.drain()
        return handle, other

    def option(self, handle: int, level: int, name: int) -> int:
        answer = self.guest.call(Op.GETSOCKOPT, handle, args=(level, name, TABLE, 4))
        if answer.result < 0:
            return answer.result
        return int.from_bytes(self.guest.memory.read(TABLE, 4), "little", signed=True)

    def set_option(self, handle: int, level: int, name: int, value: int) -> int:
        self.guest.memory.write(TABLE, value.to_bytes(4, "little", signed=True))
        return self.guest.call(Op.SETSOCKOPT, handle, args=(level, name, TABLE, 4)).result

    def data(self, length: int) -> bytes:
        return self.guest.memory.read(DATA, length)
