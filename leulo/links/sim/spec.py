"""The options of ``--net sim:``, read and checked once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

from leulo.errors import ConfigError
from leulo.links.sim.chance import PER_BILLION
from leulo.units import NS_PER_MS, NS_PER_S, parse_duration, parse_rate

MAX_REQUESTS: Final = 10_000_000
MAX_CONNECTIONS: Final = 4096
MAX_QUEUE_PACKETS: Final = 1_000_000
MAX_DELAY_NS: Final = 60 * NS_PER_S
MAX_RATE: Final = 10**15
MAX_PATH_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class SimSpec:
    """A wire and what the scripted client does at its far end. Both directions are alike."""

    rate: int = 100_000_000  # bit/s; 0: unlimited
    delay: int = NS_PER_MS  # one way, in nanoseconds
    queue: int = 1000  # packets before the bottleneck, the one being sent included
    loss: int = 0  # probability in parts per billion
    seed: int | None = None  # of losses and of the far end's secrets; None: the run's own
    requests: int = 1  # how many in all; 0: no client
    path: str = "/"
    port: int = 80
    keepalive: bool = True  # one connection for many requests
    connections: int = 1  # at the same time

    @classmethod
    def parse(cls, text: str) -> SimSpec:
        """From ``key=value,key=value``; what is not named keeps its default.

        Raises ConfigError that names the key.
        """
        values: dict[str, Any] = {}
        for option in filter(None, (part.strip() for part in text.split(","))):
            key, equals, value = option.partition("=")
            reader = _READERS.get(key)
            if reader is None:
                known = ", ".join(field.name for field in fields(cls))
                raise ConfigError(f"--net sim: there is no option {key!r}; there are {known}")
            if not equals:
                raise ConfigError(f"--net sim: {key} needs a value: write {key}=VALUE")
            if key in values:
                raise ConfigError(f"--net sim: {key} is given twice")
            try:
                values[key] = reader(value)
            except ValueError as error:
                raise ConfigError(f"--net sim: {key}: {error}") from None
        return cls(**values)


def _within(least: int, most: int, read: Callable[[str], int], unit: str) -> Callable[[str], int]:
    def checked(text: str) -> int:
        value = read(text)
        if not least <= value <= most:
            raise ValueError(f"{text!r} is not between {least} and {most}{unit}")
        return value

    return checked


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,20}", text):
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def _probability(text: str) -> int:
    """Exactly, in parts per billion."""
    match = re.fullmatch(r"([01])(?:\.([0-9]{1,9}))?", text)
    value = int(match[1]) * PER_BILLION + int((match[2] or "").ljust(9, "0")) if match else -1
    if not 0 <= value <= PER_BILLION:
        raise ValueError(f"{text!r} is not a probability: write 0.01 for one in a hundred")
    return value


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return text == "1"


def _path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text) or len(text) > MAX_PATH_BYTES:
        raise ValueError(f"{text[:40]!r} is not a path: write /bytes/10000 or /index.html")
    return text


_READERS: Final[dict[str, Callable[[str], int | bool | str]]] = {
    "rate": _within(0, MAX_RATE, parse_rate, " bit/s"),
    "delay": _within(0, MAX_DELAY_NS, parse_duration, " ns"),
    "queue": _within(1, MAX_QUEUE_PACKETS, _number, " packets"),
    "loss": _probability,
    "seed": _within(0, 2**64 - 1, _number, ""),
    "requests": _within(0, MAX_REQUESTS, _number, ""),
    "path": _path,
    "port": _within(1, 65_535, _number, ""),
    "keepalive": _switch,
    "connections": _within(1, MAX_CONNECTIONS, _number, ""),
}
