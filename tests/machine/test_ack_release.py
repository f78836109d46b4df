"""ACKs that wait for the guest's answer go out when the guest has halted, not before."""

from __future__ import annotations

import pytest
from tcp_client import connecting_client, listening_machine

from leulo.clock import VirtualClock
from leulo.stack import Stack


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
    machine = listening_machine(VirtualClock())
    client, socket = connecting_client()
    carry(client, machine.stack)
    assert socket.send(b"request") == 7
    assert carry(client, machine.stack) == 1  # the request, and no ACK
    machine.memory.write(0x1000, b"\xf4" if is_halted else b"\xeb\xfe")  # hlt, or a loop
    machine.cpu.reset(0x1000, 0, 0)
    machine.cpu.run(100)
    assert machine.cpu.halted is is_halted
    machine.serve(0)
    assert carry(client, machine.stack) == (1 if is_halted else 0)
