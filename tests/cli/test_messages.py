"""One ready line, at the right moment, with an address that works; events the same twice."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar

import pytest

from leulo.cli import events, messages
from leulo.config import MachineConfig, NetSpec, Publish, RunConfig, parse_publish
from leulo.errors import ConfigError, EnvironmentProblem
from leulo.net.dhcp import Lease
from leulo.trace import Event

ANY = bytes(4)
TAP = MachineConfig(net=NetSpec("tap", "t0"), address=bytes((10, 77, 0, 2)), publish=())


class Colour(Enum):
    RED = 1


@dataclass(frozen=True, slots=True)
class Painted(Event):
    NAME: ClassVar[str] = "test.painted"
    colour: Colour
    data: bytes
    text: str
    count: int


PAINTED = Painted(1_234_567_890, Colour.RED, b"\x01\xff", "two words", 3)


def published(*texts: str) -> MachineConfig:
    return MachineConfig(publish=tuple(parse_publish(text) for text in texts))


@pytest.mark.parametrize(
    ("machine", "port", "line"),
    [
        (published("8080:80"), 80, "ready: http://127.0.0.1:8080/"),
        (published("80:80"), 80, "ready: http://127.0.0.1/"),
        (published("0.0.0.0:9000:80"), 80, "ready: http://127.0.0.1:9000/"),
        (published("10.1.1.1:9000:80"), 80, "ready: http://10.1.1.1:9000/"),
        (published("2007:7"), 7, "ready: 127.0.0.1:2007"),
        (TAP, 80, "ready: http://10.77.0.2/"),
    ],
)
def test_the_ready_line_is_an_address_that_works(
    machine: MachineConfig, port: int, line: str
) -> None:
    ready = messages.Ready(machine, None)
    assert ready.on_listening(ANY, port) == line
    assert ready.on_listening(ANY, port) is None, "said twice"


def test_ready_waits_for_the_first_published_port() -> None:
    ready = messages.Ready(published("8080:80", "2007:7"), None)
    assert ready.on_listening(ANY, 7) is None
    assert ready.on_listening(ANY, 80) is not None


def test_ready_waits_for_http_of_the_packaged_guest_but_for_any_port_of_another() -> None:
    assert messages.Ready(TAP, None).on_listening(ANY, 7) is None
    other = MachineConfig(net=TAP.net, publish=(), append="init=/bin/echo")
    assert messages.Ready(other, None).on_listening(ANY, 7) == "ready: 10.0.2.15:7"


def test_ready_waits_for_the_address_that_is_asked_for() -> None:
    """Protects: without a lease nobody is told the address that was planned."""
    asks = MachineConfig(net=NetSpec("tap", "t0"), is_dhcp=True, publish=())
    ready = messages.Ready(asks, None)
    assert ready.on_listening(ANY, 80) is None
    assert ready.on_addressed(None) is None
    leased = Lease(bytes((10, 9, 0, 7)), 24, None, None, bytes((10, 9, 0, 1)))
    assert ready.on_addressed(leased) == "ready: http://10.9.0.7/"
    assert ready.on_addressed(leased) is None
    first = messages.Ready(asks, None)
    assert first.on_addressed(leased) is None
    assert first.on_listening(ANY, 80) == "ready: http://10.9.0.7/"


def test_the_ready_descriptor_gets_the_line_and_then_the_end() -> None:
    reading, writing = os.pipe()
    try:
        messages.Ready(published("8080:80"), writing).on_listening(ANY, 80)
        assert os.read(reading, 100) == b"ready: http://127.0.0.1:8080/\n"
        assert os.read(reading, 100) == b""
    finally:
        os.close(reading)


def test_a_ready_descriptor_that_is_not_open_for_writing_is_refused() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    try:
        for fd in (reading, writing):
            with pytest.raises(ConfigError, match=f"^--ready-fd {fd}: "):
                messages.Ready(published("8080:80"), fd)
    finally:
        os.close(reading)


def test_a_reader_that_has_gone_does_not_end_the_run() -> None:
    reading, writing = os.pipe()
    ready = messages.Ready(published("8080:80"), writing)
    os.close(reading)
    assert ready.on_listening(ANY, 80) == "ready: http://127.0.0.1:8080/"


def test_the_banner_names_mode_addresses_and_every_published_port() -> None:
    text = "\n".join(messages.banner(published("8080:80", "0.0.0.0:2007:7"), RunConfig()))
    for wanted in ("paravirt", "10.0.2.15/24", "10.0.2.2", "127.0.0.1:8080", "0.0.0.0:2007"):
        assert wanted in text


def test_the_farewell_names_what_was_counted_and_nothing_else() -> None:
    line = messages.farewell({"cpu.ticks": 1234567, "hypercalls.calls": 1, "no": 4}, 1_500_000_000)
    assert line == "leulo: 1.50 s, 1 234 567 ticks, 1 hypercall"


def test_a_publish_is_written_as_host_and_port() -> None:
    assert str(Publish(bytes((127, 0, 0, 1)), 8080, 80)) == "127.0.0.1:8080"


def test_a_log_line_has_time_name_and_every_value() -> None:
    out = io.StringIO()
    events.LogLines(out)(PAINTED)
    assert out.getvalue() == (
        "[    1.234567] test.painted colour=RED data=01ff text='two words' count=3\n"
    )


def test_trace_lines_are_json_and_the_same_every_time(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        writer = events.JsonLines(tmp_path / name)
        writer(PAINTED)
        writer.close()
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert json.loads(texts[0]) == {
        "event": "test.painted", "time_ns": 1_234_567_890, "colour": "RED", "data": "01ff",
        "text": "two words", "count": 3,
    }  # fmt: skip


def test_files_that_cannot_be_written_are_named() -> None:
    missing = Path("/nonexistent/trace.jsonl")
    advice = r".*\. Name a file in a directory of yours, on a disk with room\.$"
    with pytest.raises(EnvironmentProblem, match=r"^--trace /nonexistent/trace\.jsonl: " + advice):
        events.JsonLines(missing)
    with pytest.raises(EnvironmentProblem, match="^--counters " + advice):
        events.write_counters(missing, {})
    full = events.JsonLines(Path("/dev/full"))
    full(PAINTED)
    with pytest.raises(EnvironmentProblem, match="^--trace /dev/full: " + advice):
        full.close()


def test_a_pipe_that_nobody_reads_has_no_room_in_the_end() -> None:
    """Protects: a guest that floods the debug console cannot stop the hypervisor."""
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w") as file:
        written = 0
        while messages.has_room(file):
            written += os.write(writing, bytes(4096))
            assert written <= 1 << 20
        assert written >= 4096
