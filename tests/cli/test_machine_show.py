"""``leulo machine show``, as a person and a program use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leulo import cli
from leulo.cli.machine_options import gather
from leulo.config.keys import KEYS
from leulo.config.settings import configure


def test_what_is_shown_can_be_fed_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--mem", "32M", "--set", "name=lab", "--publish", "9000:80", "--no-host-loopback",
             "--tcp-preset", "freebsd"]  # fmt: skip
    assert cli.run(["machine", "show", *flags]) == 0
    text = capsys.readouterr().out
    file = tmp_path / "lab.toml"
    file.write_text(text)
    machine, _ = configure(gather(file, {"machine": None, "sets": ()}))
    assert (machine.memory_bytes, machine.name, machine.publish[0].host_port) == (
        32 << 20, "lab", 9000,
    )  # fmt: skip
    assert machine.tcp_preset == "freebsd"
    assert cli.run(["machine", "show", str(file)]) == 0
    assert capsys.readouterr().out == text


def test_the_maps_are_those_of_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["machine", "show", "--json", "--mem", "8M"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["machine"]["mem"] == "8M"
    assert found["memory"][0] == {"base": 0, "length": 8 << 20, "name": "RAM"}
    assert any(row["base"] == 0x100000 for row in found["memory"]), "the image, at 1 MiB"
    ports = {row["name"]: row["base"] for row in found["ports"]}
    assert ports["UART COM1"] == 0x3F8
    assert ports["PCI configuration"] == 0xCF8
    assert found["mac"].startswith("52:54:00:")


def test_a_wrong_machine_file_is_one_sentence_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('name = "lab"\nmemm = "32M"\n')
    for arguments in (["machine", "show", str(file)], ["boot", "--machine", str(file)]):
        assert cli.run(arguments) == 2
        out, err = capsys.readouterr()
        assert (out, err) == (
            "", f"leulo: {file}:2: memm: is no key of a machine: did you mean mem?\n",
        )  # fmt: skip


def test_every_key_is_shown_or_named_as_not_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["machine", "show", "--timeout", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = {line.partition(" = ")[0] for line in lines if " = " in line}
    (unset,) = [line for line in lines if line.startswith("# not set: ")]
    named = set(unset.removeprefix("# not set: ").split(", "))
    assert shown | named == set(KEYS) and not shown & named
    assert "timeout" in shown and "seed" in named
    assert cli.run(["machine", "show", "--timeout", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (set(found["machine"]), set(found["unset"])) == (shown, named)


def test_the_memory_map_has_the_files_of_www(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def image_bytes(*flags: str) -> int:
        assert cli.run(["machine", "show", "--json", *flags]) == 0
        rows = json.loads(capsys.readouterr().out)["memory"]
        return sum(row["length"] for row in rows if row["name"] == "image")

    (tmp_path / "large.bin").write_bytes(bytes(1 << 20))
    assert image_bytes("--www", str(tmp_path)) > image_bytes() + (1 << 19)
    assert cli.run(["machine", "show", "--www", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"leulo: --www: {tmp_path / 'none'} is not a folder\n"


def test_a_wire_that_cannot_be_is_refused_as_boot_refuses_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('mem = "32M"\nnet = "sim:loss=2"\n')
    assert cli.run(["machine", "show", str(file)]) == 2
    assert "loss: '2' is not a probability" in capsys.readouterr().err


def test_an_event_that_is_none_is_refused_as_boot_refuses_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('mem = "32M"\nlog = ["tcp.*", "nope.*"]\n')
    for verb in (["machine", "show"], ["boot", "--publish", "none"]):
        assert cli.run([*verb, str(file)]) == 2
        assert capsys.readouterr().err.startswith(
            f"leulo: {file}:2: log nope.*: there is no such event: write a name or a glob of "
        )


def test_an_image_that_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, image = tmp_path / "lab.toml", tmp_path / "none.img"
    file.write_text('mem = "32M"\nimage = "none.img"\n')
    ways = {f"{file}:2: image ": [str(file)], "--set image=": ["--set", f"image={image}"],
            "": [str(image)]}  # fmt: skip
    for said, words in ways.items():
        for verb in (["machine", "show"], ["boot", "--publish", "none"]):
            assert cli.run([*verb, *words]) == 2
            told = f"leulo: {said}{image}: cannot be read: No such file or directory\n"
            assert capsys.readouterr().err == told
