"""A machine whose engine listens on port 80, and a client's stack: no guest runs."""

from __future__ import annotations

from random import Random

from leulo.clock import Clock
from leulo.config import MachineConfig
from leulo.links.base import Offload
from leulo.machine import Machine
from leulo.stack import Stack, StackConfig
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace

HERE, THERE = bytes((10, 0, 2, 15)), bytes((10, 0, 2, 99))


def listening_machine(clock: Clock) -> Machine:
    machine = Machine(
        MachineConfig(), clock, Trace(), offload=Offload(True, 65_535), console=lambda _: None,
        random_bits=Random(1).getrandbits, epoch_s=0,
    )  # fmt: skip
    listener = machine.stack.socket(2, 1)
    assert not isinstance(listener, int)
    assert listener.bind(bytes(4), 80) == 0
    assert listener.listen(1) == 0
    return machine


def connecting_client() -> tuple[Stack, TcpSocket]:
    """Its SYN is the first thing to be sent."""
    mac = bytes((2, 0, 0, 0, 0, 9))
    config = StackConfig("client", mac, THERE, 24, checksum=True, tso_bytes=65_535)
    client = Stack(config, Random(2).getrandbits, Trace())
    socket = client.socket(2, 1)
    assert isinstance(socket, TcpSocket)
    socket.connect(HERE, 80)
    return client, socket
