"""Machine files, ``--set`` and flags: who wins, and that errors name file, line and key."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leulo.cli.machine_options import gather
from leulo.config import MachineConfig, NetSpec, RunConfig, SerialSpec
from leulo.config.keys import KEYS
from leulo.config.machine_file import key_lines, read_machine_file
from leulo.config.settings import Settings, configure, from_flags, from_set, named
from leulo.config.written import plain, to_toml
from leulo.errors import ConfigError, EnvironmentProblem

HERE = Path("lab/machine.toml")


def read(text: str) -> Settings:
    return read_machine_file(text, HERE)


def test_every_key_of_a_file_is_taken_as_its_flag_is() -> None:
    machine, run = configure(
        read("""
        image = "other.img"
        net = 'tap:leulo0'   # a TAP
        mem = "32M"
        "seed" = 7
        timeout = 1.5
        log = [
            "tcp.*",  # mem = 1
            "exit.*",
        ]
        host-loopback = false
        serial = "console.txt"
        append = \"\"\"
init=/bin/sh\\
\"\"\"
    """)
    )
    assert machine.image == Path("lab/other.img"), "from the folder of the machine file"
    assert machine.net == NetSpec("tap", "leulo0")
    assert (machine.memory_bytes, machine.seed, machine.host_loopback) == (32 << 20, 7, False)
    assert machine.append == "init=/bin/sh"
    assert run.timeout_ns == 1_500_000_000
    assert run.log == ("tcp.*", "exit.*")
    assert run.serial == SerialSpec("file", path=Path("lab/console.txt"))


def test_a_flag_wins_over_set_and_set_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text('mem = "8M"\nname = "a"\nlog = ["one"]\n')
    flags = {"machine": None, "sets": ("name=b", "mem=32M", "mem=64M"), "mem": "16M", "log": ()}
    machine, run = configure(gather(file, flags))
    assert (machine.memory_bytes, machine.name, run.log) == (16 << 20, "b", ("one",))
    machine, _ = configure(gather(file, {**flags, "mem": None}))
    assert machine.memory_bytes == 64 << 20, "the last --set of a key counts"


def test_an_image_and_a_machine_file_may_both_be_named(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text('image = "one.img"\n')
    settings = gather(Path("two.img"), {"machine": file, "sets": ()})
    assert configure(settings)[0].image == Path("two.img")
    with pytest.raises(ConfigError, match="a machine file too"):
        gather(file, {"machine": file, "sets": ()})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('net = "none"\nmem = "1K"', "lab/machine.toml:2: mem 1K: is out of range"),
        ("\n\nmme = 5", "lab/machine.toml:3: mme: is no key of a machine: did you mean mem?"),
        ("host_loopback = true", "did you mean host-loopback?"),
        ('tcp-preset = "bsd"', "lab/machine.toml:1: tcp-preset bsd: is no preset: write linux"),
        ("qqqqqq = 5", "boot --help"),
        ("[net]\nkind = 1", "lab/machine.toml:1: net: must be text"),
        ("a = 1\n[machine]", "lab/machine.toml:1: a: "),
        ("[machine]\nmem = 1", "lab/machine.toml:1: [machine]: is no key"),
        ("seed = true", "lab/machine.toml:1: seed: must be a whole number"),
        ("seed = -1", "lab/machine.toml:1: seed -1: is out of range"),
        ("max-ticks = 0", "lab/machine.toml:1: max-ticks 0: is out of range"),
        ("seed = " + "9" * 5000, "lab/machine.toml:1: seed: is a number out of all range"),
        ("seed = 0x" + "f" * 5000, "lab/machine.toml:1: seed: is a number out of all range"),
        ("log = [1, 2]", "lab/machine.toml:1: log: must be a list of texts"),
        ("timeout = nan", "lab/machine.toml:1: timeout nan: is not a time"),
        ("timeout = 2020-01-01", "lab/machine.toml:1: timeout: must be text"),
        ('image = ""', "lab/machine.toml:1: image: must be a file's name"),
        ('name = "x"\nmem = ', "lab/machine.toml:2: mem: is not TOML: invalid value"),
        ('name = "x', "lab/machine.toml:1: name: is not TOML"),
        ('name = "x"\nname = "y"', "lab/machine.toml:2"),
        ("log = " + "[" * 5000, "lab/machine.toml"),
        ('serial = "tcp:x"', "lab/machine.toml:1: serial tcp:x: 'x' is not a port"),
        ('net="none"\npublish = ["1:2"]', "lab/machine.toml:2: publish 1:2: needs --net user"),
        ('net="none"\nhost-loopback = true', "lab/machine.toml:2: host-loopback: needs --net user"),
        ('clock="virtual"\nserial="pty"\nnet="none"', "lab/machine.toml:2: serial pty: cannot be"),
    ],
)
def test_an_error_names_file_line_and_key(text: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(read(text))
    assert wanted in str(caught.value)
    assert str(caught.value).startswith("lab/machine.toml")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mem", "--set mem: has no value: write --set KEY=VALUE"),
        ("mme=1", "--set mme=1: mme is no key of a machine: did you mean mem?"),
        ("mem=1K", "--set mem=1K: is out of range"),
        ("max-ticks = 0", "--set max-ticks=0: is out of range"),
        ("publish=1:2,x", "--set publish=x: write [ADDRESS:]"),
        ("ready-fd=x", "--set ready-fd=x: is not a whole number"),
        ("host-loopback=1", "--set host-loopback=1: write true or false"),
        ("seed=x", "--set seed=x: is not a whole number"),
        ("json=yes", "--set json=yes: write true or false"),
    ],
)
def test_an_error_of_set_says_so(text: str, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(from_set([text]))
    assert str(caught.value).startswith(wanted)


def test_set_reads_lists_switches_and_numbers() -> None:
    machine, run = configure(
        from_set(["publish=80:80,81:81/udp", "log=tcp.*, x", "accounting=true", "seed=3"])
    )
    assert [str(publish) for publish in machine.publish] == ["127.0.0.1:80", "127.0.0.1:81/udp"]
    assert (run.log, run.accounting, machine.seed) == (("tcp.*", "x"), True, 3)


def test_an_error_raised_later_names_the_file_too() -> None:
    settings = read('pcap = "no/such/run.pcapng"')
    with (
        pytest.raises(EnvironmentProblem, match=r"^lab/machine.toml:1: pcap no/such"),
        named(settings),
    ):
        raise EnvironmentProblem("--pcap no/such/run.pcapng: cannot be written")
    with pytest.raises(EnvironmentProblem, match=r"^--trace"), named(settings):
        raise EnvironmentProblem("--trace x: cannot be written")


def test_a_file_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    for content in (b"\xff\xfe", b"#" * 100_000):
        file = tmp_path / "m.toml"
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"m.toml: is "):
            gather(file, {"machine": None, "sets": ()})
    with pytest.raises(ConfigError, match="cannot be read"):
        gather(tmp_path / "none.toml", {"machine": None, "sets": ()})


CONFIGURATIONS = [
    {},
    {"net": "none", "gateway": "none", "clock": "virtual", "quantum": "1ms"},
    {"publish": ("8080:80", "0.0.0.0:5353:53/udp"), "mem": "4100K", "log": ("a", "b"),
     "serial": "tcp:4000", "accounting": True, "json": True, "timeout": "1.5s", "max-ticks": 9},
    {"publish": ("none",), "serial": "/tmp/out \x7f\"'\\.txt", "pcap": "/tmp/ü.pcapng",
     "append": 'a="b c" \\d', "ip": "192.168.7.9/28", "seed": 2**64 - 1, "ready-fd": 1},
]  # fmt: skip


@pytest.mark.parametrize("flags", CONFIGURATIONS)
def test_what_is_written_is_read_back_as_the_same(flags: dict[str, object]) -> None:
    first = configure(from_flags(flags))
    text = to_toml(plain(*first))
    second = configure(read_machine_file(text, Path("/elsewhere/m.toml")))
    assert second == first
    assert to_toml(plain(*second)) == text


def test_every_key_is_a_flag_of_boot_and_is_written() -> None:
    from leulo.cli.boot import command

    flags = {option[2:] for p in command.params for option in p.opts if option.startswith("--")}
    assert set(KEYS) - {"image"} == flags - {"machine", "set"}
    machine = replace(MachineConfig(), seed=1, **_every_path(MachineConfig))
    run = replace(RunConfig(), timeout_ns=1, max_ticks=1, ready_fd=1, **_every_path(RunConfig))
    assert list(plain(machine, run)) == list(KEYS)


def _every_path(kind: type[MachineConfig] | type[RunConfig]) -> dict[str, Any]:
    """Some file for each field that may name one."""
    return {field.name: Path("x") for field in fields(kind) if "Path" in str(field.type)}


names = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True)
values = st.one_of(
    st.integers(), st.booleans(), st.text(max_size=20), st.lists(st.text(max_size=9), max_size=4)
)
quoting = st.sampled_from(["plain", "multi", "comments"])


@given(st.dictionaries(names, st.tuples(values, quoting), max_size=6))
def test_the_line_of_a_key_is_found_whatever_the_values_hold(
    entries: dict[str, tuple[object, str]],
) -> None:
    """Protects: no string, comment or bracket is taken for a key, and none hides one."""
    lines: list[str] = []
    wanted: dict[str, int] = {}
    for name, (value, how) in entries.items():
        if how == "comments":
            lines.append("# mem = [\"'''")
        wanted[name] = len("\n".join(lines).split("\n")) + 1 if lines else 1
        if isinstance(value, list) and how == "multi":
            text = "[\n" + "".join(f"  {to_toml({'x': v})[4:-1]}, # ] = \n" for v in value) + "]"
        elif isinstance(value, str) and how == "multi":
            text = '"""\nmem = 1\n""" # "'
        else:
            text = to_toml({"x": value})[4:-1]
        lines.append(f"  {name} = {text}")
    found = key_lines("\n".join(lines))
    assert found == wanted


@given(st.text(alphabet="ab=[]{}\"'#\n\\. 1,", max_size=60))
def test_any_text_is_settings_or_one_sentence(text: str) -> None:
    try:
        read(text)
    except ConfigError as error:
        assert "\n" not in str(error)
        assert str(error).startswith("lab/machine.toml")
