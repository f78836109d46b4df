"""ACKs that wait for the guest's answer go out when the guest has halted, not before."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from leulo.clock import VirtualClock
from leulo.config import MachineConfig
from leulo.links.base import Offload
from leulo.machine import Machine
from leulo.trace import Trace


@pytest.mark.parametrize("is_halted", [True, False])
def test_acks_wait_while_the_guest_runs(is_halted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(
        MachineConfig(), VirtualClock(), Trace(), offload=Offload(True, 65535),
        console=lambda _: None, random_bits=lambda _: 0, epoch_s=0,
    )  # fmt: skip
    patience = machine.stack.engine.config.ack_patience_ns
    assert patience
    released: list[int] = []
    monkeypatch.setattr(type(machine.stack), "holds_acks", True)
    monkeypatch.setattr(machine.stack, "release_acks", released.append)
    cpu = SimpleNamespace(halted=is_halted, will_wake=lambda: False)
    monkeypatch.setattr(machine, "cpu", cpu)
    machine.serve(5)
    assert released == ([5] if is_halted else [])
