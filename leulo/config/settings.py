"""From settings, wherever they were written, to a configuration.

A setting is a key's value with the words by which an error names it: ``--mem``, ``--set mem`` or
``machine.toml:3: mem``; the value follows as it is written there, behind ``=`` or a space. Where
several say something of one key, a flag wins over ``--set`` and that over a machine file; a list
replaces a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leulo.config.keys import KEYS, Key, Kind, nearest
from leulo.config.model import DEFAULT_QUANTUM_NS, MachineConfig, Quotas, RunConfig
from leulo.config.values import (
    check_together,
    parse_addresses,
    parse_addresses6,
    parse_append,
    parse_buffers,
    parse_clock,
    parse_cpu,
    parse_events,
    parse_memory,
    parse_mode,
    parse_name,
    parse_net,
    parse_publishes,
    parse_serial,
    parse_tcp_preset,
    parse_time,
)
from leulo.errors import ConfigError, LeuloError

Value = str | int | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """A checked value (of the type that its key's kind says) and how to name it."""

    value: Value
    origin: str


Settings = dict[str, Setting]


def from_flags(flags: Mapping[str, Any]) -> Settings:
    """What was given on the command line, by the flags' names. Raises ConfigError."""
    return {
        name: Setting(checked(KEYS[name], _plain(value), f"--{name}"), f"--{name}")
        for name, value in flags.items()
        if value is not None and value != ()
    }


def from_set(texts: Sequence[str]) -> Settings:
    """The ``--set KEY=VALUE``; the last one of a key counts. Raises ConfigError."""
    settings: Settings = {}
    for text in texts:
        name, equals, written = text.partition("=")
        name = name.strip()
        if not equals:
            raise ConfigError(f"--set {text}: has no value: write --set KEY=VALUE")
        key = KEYS.get(name)
        if key is None:
            raise ConfigError(f"--set {text}: {name} is no key of a machine: {nearest(name)}")
        origin = f"--set {name}"
        settings[name] = Setting(checked(key, _read(key, written.strip(), origin), origin), origin)
    return settings


def checked(key: Key, value: Any, origin: str) -> Value:
    """``value`` if it is of the key's kind. Raises ConfigError."""
    if isinstance(value, int) and value.bit_length() > 64:
        raise ConfigError(f"{origin}: is a number out of all range")
    match key.kind:
        case Kind.SWITCH if isinstance(value, bool):
            return value
        case Kind.NUMBER if isinstance(value, int) and not isinstance(value, bool):
            if not key.least <= value <= key.most:
                raise ConfigError(
                    f"{_with(origin, value)}: is out of range: write {key.least} to {key.most}"
                )
            return value
        case Kind.TEXTS if isinstance(value, str):
            return (value,)
        case Kind.TEXTS if isinstance(value, tuple) and all(isinstance(v, str) for v in value):
            return value
        case Kind.TEXT if isinstance(value, int) and not isinstance(value, bool):
            return str(value)  # seconds and bytes need no quotes
        case Kind.TEXT if isinstance(value, str):
            return value
        case Kind.PATH | Kind.SERIAL if isinstance(value, str) and value and "\0" not in value:
            return value
    raise ConfigError(f"{origin}: must be {key.kind.value}")


def configure(settings: Settings) -> tuple[MachineConfig, RunConfig]:
    """The machine and its run, checked one by one and together. Raises ConfigError."""
    with named(settings):
        return _configure({name: setting.value for name, setting in settings.items()})


@contextmanager
def named(settings: Settings) -> Iterator[None]:
    """Errors that name a flag, raised within, name the place where its value was written."""
    try:
        yield
    except LeuloError as error:
        text = str(error)
        found = re.match(r"--([a-z-]+)", text)
        setting = settings.get(found[1]) if found else settings.get("image")
        if found is None and setting is not None and setting.origin != "--image":
            named_it = text.startswith(f"{setting.value}:")  # as errors of an image do
            raise type(error)(_with(setting.origin, text) if named_it else text) from None
        if found is None or setting is None or setting.origin == found[0]:
            raise
        rest = text[found.end() :]
        if rest.startswith(" "):  # the value
            raise type(error)(_with(setting.origin, rest[1:])) from None
        raise type(error)(setting.origin + rest) from None


def _configure(values: dict[str, Any]) -> tuple[MachineConfig, RunConfig]:
    def path(name: str) -> Path | None:
        return Path(values[name]) if name in values else None

    def time(name: str) -> int | None:
        return parse_time(f"--{name}", values[name]) if name in values else None

    net = parse_net(values.get("net", "user"))
    clock = parse_clock(values.get("clock", "real"))
    address, prefix_length, gateway, dns = parse_addresses(
        net, values.get("ip"), values.get("gateway"), values.get("dns")
    )
    has_ipv6, address6, prefix_length6, gateway6 = parse_addresses6(
        values.get("ip6"), values.get("gateway6")
    )
    machine = MachineConfig(
        name=parse_name(values.get("name", "leulo")),
        mode=parse_mode(values.get("mode", "paravirt")),
        image=path("image"),
        www=path("www"),
        memory_bytes=parse_memory(values.get("mem", "16M")),
        cpu=parse_cpu(values.get("cpu", "native")),
        append=parse_append(values.get("append", "")),
        seed=values.get("seed", 0 if clock == "virtual" else None),
        net=net,
        address=address,
        prefix_length=prefix_length,
        gateway=gateway,
        dns=dns,
        is_dhcp=values.get("ip") == "dhcp",
        has_ipv6=has_ipv6,
        address6=address6,
        prefix_length6=prefix_length6,
        gateway6=gateway6,
        publish=parse_publishes(values.get("publish", ()), net),
        host_loopback=values.get("host-loopback", False),
        tcp_preset=parse_tcp_preset(values.get("tcp-preset", "linux")),
        quotas=_quotas(values),
    )
    run = RunConfig(
        clock=clock,
        quantum_ns=time("quantum") or DEFAULT_QUANTUM_NS,
        pcap=path("pcap"),
        trace=path("trace"),
        log=values.get("log", ()),
        timeout_ns=time("timeout"),
        max_ticks=values.get("max-ticks"),
        ready_fd=values.get("ready-fd"),
        counters=path("counters"),
        serial=parse_serial(values.get("serial", "stdio")),
        accounting=values.get("accounting", False),
        json=values.get("json", False),
    )
    check_together(machine, run)
    return machine, run


def _quotas(values: dict[str, Any]) -> Quotas:
    usual = Quotas()
    buffers = values.get("max-buffers")
    return Quotas(
        sockets=values.get("max-sockets", usual.sockets),
        connections=values.get("max-connections", usual.connections),
        half_open=values.get("max-half-open", usual.half_open),
        buffers_bytes=usual.buffers_bytes if buffers is None else parse_buffers(buffers),
        events=parse_events(values.get("max-events", usual.events)),
    )


def _read(key: Key, text: str, origin: str) -> Value:
    """Text of the command line as the key's kind."""
    match key.kind:
        case Kind.SWITCH:
            if text not in ("true", "false"):
                raise ConfigError(f"{_with(origin, text)}: write true or false")
            return text == "true"
        case Kind.NUMBER:
            if not re.fullmatch(r"-?[0-9]{1,30}", text):
                raise ConfigError(f"{_with(origin, text)}: is not a whole number")
            return int(text)
        case Kind.TEXTS:
            return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _with(origin: str, value: Any) -> str:
    """A setting and its value, as both were typed."""
    return f"{origin}={value}" if origin.startswith("--set ") else f"{origin} {value}"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
