"""ACKs that wait for the guest's answer go out when the guest has halted, not before."""

from __future__ import annotations

from random import Random

import pytest

from leulo.clock import VirtualClock
from leulo.config import MachineConfig
from leulo.links.base import Offload
from leulo.machine import Machine
from leulo.stack import Stack, StackConfig
from leulo.trace import Trace

HERE, THERE = bytes((10, 0, 2, 15)), bytes((10, 0, 2, 99))


def carry(one: Stack, other: Stack) -> int:
    """Frames back and forth until both are silent; how many of them were IPv4."""
    count = 0
    while one.has_output or other.has_output:
        for sender, receiver in ((one, other), (other, one)):
            frames = [b"".join(frame) for frame in sender.drain(0)]
            count += sum(frame[22:24] == b"\x08\x00" for frame in frames)
            receiver.input(frames, 0)
    return count


@pytest.mark.parametrize("is_halted", [True, False])
def test_acks_wait_while_the_guest_runs(is_halted: bool) -> None:
    machine = Machine(
        MachineConfig(), VirtualClock(), Trace(), offload=Offload(True, 65535),
        console=lambda _: None, random_bits=Random(1).getrandbits, epoch_s=0,
    )  # fmt: skip
    mac = bytes((2, 0, 0, 0, 0, 9))
    client = Stack(
        StackConfig("client", mac, THERE, 24, checksum=True), Random(2).getrandbits, Trace()
    )
    listener = machine.stack.socket(2, 1)
    assert not isinstance(listener, int)
    assert listener.bind(bytes(4), 80) == 0
    assert listener.listen(1) == 0
    socket = client.socket(2, 1)
    assert not isinstance(socket, int)
    socket.connect(HERE, 80)
    carry(client, machine.stack)
    assert socket.send(b"request") == 7
    assert carry(client, machine.stack) == 1  # the request, and no ACK
    machine.memory.write(0x1000, b"\xf4" if is_halted else b"\xeb\xfe")  # hlt, or a loop
    machine.cpu.reset(0x1000, 0, 0)
    machine.cpu.run(100)
    assert machine.cpu.halted is is_halted
    machine.serve(0)
    assert carry(client, machine.stack) == (1 if is_halted else 0)
