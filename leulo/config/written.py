"""A configuration written back: the effective machine as plain data, and as a machine file.

What comes out says everything, defaults included, and read again gives the same configuration,
from whatever folder: names of files are absolute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from leulo.config.keys import KEYS
from leulo.config.model import MachineConfig, Publish, RunConfig, format_address
from leulo.config.values import with_script
from leulo.units import KIB, MIB, NS_PER_MS, NS_PER_S, NS_PER_US

_TIMES: Final = ((NS_PER_S, "s"), (NS_PER_MS, "ms"), (NS_PER_US, "us"), (1, "ns"))
_SIZES: Final = ((MIB, "M"), (KIB, "K"), (1, ""))


def plain(machine: MachineConfig, run: RunConfig) -> dict[str, Any]:
    """Every key that has a value, in the order of ``KEYS``; JSON-ready."""
    gateway = "none" if machine.gateway is None else format_address(machine.gateway)
    values: dict[str, Any] = {
        "image": _path(machine.image),
        "www": _path(machine.www),
        "name": machine.name,
        "mode": machine.mode,
        "mem": _scaled(machine.memory_bytes, _SIZES),
        "cpu": machine.cpu,
        "append": machine.append,
        "net": with_script(str(machine.net), _absolute),
        "ip": "dhcp"
        if machine.is_dhcp
        else f"{format_address(machine.address)}/{machine.prefix_length}",
        "gateway": gateway,
        "ip6": _ip6(machine),
        "gateway6": "none" if machine.gateway6 is None else format_address(machine.gateway6),
        "dns": format_address(machine.dns),
        "publish": [_publish(publish) for publish in machine.publish] or ["none"],
        "host-loopback": machine.host_loopback,
        "tcp-preset": machine.tcp_preset,
        "max-sockets": machine.quotas.sockets,
        "max-connections": machine.quotas.connections,
        "max-half-open": machine.quotas.half_open,
        "max-buffers": _scaled(machine.quotas.buffers_bytes, _SIZES),
        "max-events": machine.quotas.events,
        "serial": _path(run.serial.path) or str(run.serial),
        "clock": run.clock,
        "seed": machine.seed,
        "quantum": _scaled(run.quantum_ns, _TIMES),
        "timeout": None if run.timeout_ns is None else _scaled(run.timeout_ns, _TIMES),
        "max-ticks": run.max_ticks,
        "pcap": _path(run.pcap),
        "trace": _path(run.trace),
        "log": list(run.log),
        "counters": _path(run.counters),
        "accounting": run.accounting,
        "json": run.json,
        "ready-fd": run.ready_fd,
    }
    return {name: value for name, value in values.items() if value is not None}


def unset(values: Mapping[str, Any]) -> list[str]:
    """The keys that `plain` has left out: TOML has no word for nothing."""
    return [name for name in KEYS if name not in values]


def to_toml(values: Mapping[str, Any]) -> str:
    """The text of a machine file. Values are texts, numbers, truths and lists of texts."""
    return "".join(f"{name} = {_toml(value)}\n" for name, value in values.items())


def _ip6(machine: MachineConfig) -> str:
    if not machine.has_ipv6:
        return "none"
    if machine.address6 is None:
        return "auto"
    return f"{format_address(machine.address6)}/{machine.prefix_length6}"


def _toml(value: Any) -> str:
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which TOML wants escaped. [RFC 8259 7]
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    return json.dumps(value)


def _publish(publish: Publish) -> str:
    host, _, protocol = str(publish).partition("/")
    return f"{host}:{publish.guest_port}" + (f"/{protocol}" if protocol else "")


def _absolute(name: str) -> Path:
    return Path(name).absolute()


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _scaled(value: int, units: tuple[tuple[int, str], ...]) -> str:
    return next(f"{value // size}{unit}" for size, unit in units if value % size == 0)
