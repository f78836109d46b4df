"""The quotas of a machine: written in a file or as flags, shown, and kept by the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leulo import cli
from leulo.cli.machine_options import gather
from leulo.clock import VirtualClock
from leulo.config import Quotas
from leulo.config.settings import configure
from leulo.links.base import Offload
from leulo.machine import Machine
from leulo.tcp.config import PRESETS
from leulo.trace import Trace

WRITTEN = {
    "max-sockets": 8, "max-connections": 16, "max-half-open": 4, "max-buffers": "256K",
    "max-events": 2,
}  # fmt: skip
MEANT = Quotas(8, 16, 4, 256 << 10, 2)


def quotas_of(file: Path | None, **given: object) -> Quotas:
    return configure(gather(file, {"machine": None, "sets": (), **given}))[0].quotas


def test_file_flags_and_set_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in WRITTEN.items()))
    flags = {key.replace("-", "_"): value for key, value in WRITTEN.items()}
    sets = tuple(f"{key}={value}" for key, value in WRITTEN.items())
    assert quotas_of(None) == Quotas()
    assert quotas_of(file) == quotas_of(None, **flags) == quotas_of(None, sets=sets) == MEANT
    assert quotas_of(file, max_sockets=9).sockets == 9, "a flag wins"


def test_show_writes_them_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for key, value in WRITTEN.items() for word in (f"--{key}", str(value))]
    assert cli.run(["machine", "show", *words]) == 0
    text = capsys.readouterr().out
    for key, value in WRITTEN.items():
        assert f"{key} = {json.dumps(value)}\n" in text
    file = tmp_path / "lab.toml"
    file.write_text(text)
    assert quotas_of(file) == MEANT


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("max-sockets", "0", "out of range: write 1 to 65535"),
        ("max-sockets", '"many"', "must be a whole number"),
        ("max-half-open", "-1", "out of range: write 1 to 1048576"),
        ("max-buffers", '"1K"', "out of range: write 64K to 64G"),
        ("max-buffers", '"lots"', "is not a size"),
        ("max-events", "3", "is not a power of two: write 2 or 4"),
        ("max-events", "1", "out of range: write 2 to 65536"),
        ("max-socket", "1", "did you mean max-sockets?"),
    ],
)
def test_a_wrong_one_is_told_with_its_line(
    key: str, value: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(f'name = "lab"\n{key} = {value}\n')
    assert cli.run(["machine", "show", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"leulo: {file}:2: {key}") and said in error, error
    assert error.count("\n") == 1


def test_the_machine_keeps_them_beside_its_preset() -> None:
    flags = {key.replace("-", "_"): value for key, value in WRITTEN.items()}
    flags["tcp_preset"] = "freebsd"
    config, _ = configure(gather(None, {"machine": None, "sets": (), "net": "none", **flags}))
    machine = Machine(
        config, VirtualClock(), Trace(), offload=Offload(checksum=True, tso_bytes=0),
        console=lambda data: None, random_bits=lambda bits: 0, epoch_s=0,
    )  # fmt: skip
    try:
        limits, tcp = machine.hypercalls.readiness._limits, machine.stack.config.tcp
        assert (limits.max_sockets, limits.max_events) == (8, 2)
        assert (tcp.connections_max, tcp.half_open_max, tcp.buffers_max) == (16, 4, 256 << 10)
        assert tcp.has_freebsd_syn and tcp.nagle == PRESETS["freebsd"].nagle
        assert machine.stack.udp.received_max == 256 << 10
    finally:
        machine.close()
