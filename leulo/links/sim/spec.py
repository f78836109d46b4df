"""The options of ``--net sim:``, read and checked once.

``key=value`` pairs with commas between them. A wire's key is for both directions; ``up.`` before
it means from the guest to the far end, ``down.`` the other way. ``at=TIME`` begins a change: the
wire's keys behind it hold from then on. The same keys may stand in a TOML file (`script`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from leulo.errors import ConfigError
from leulo.links.sim.chance import PER_BILLION
from leulo.links.sim.script import Changes, read_script
from leulo.links.sim.wire_spec import Change, WireSpec
from leulo.units import NS_PER_S, parse_duration, parse_rate

MAX_REQUESTS: Final = 10_000_000
MAX_CONNECTIONS: Final = 4096
MAX_QUEUE_PACKETS: Final = 1_000_000
MAX_DELAY_NS: Final = 60 * NS_PER_S
MAX_AT_NS: Final = 1_000_000 * NS_PER_S
MAX_CHANGES: Final = 10_000
MAX_RATE: Final = 10**15
MAX_PATH_BYTES: Final = 1024

DEFAULT: Final = WireSpec()

Pair = tuple[str, str]  # key and value as they were written


@dataclass(frozen=True, slots=True)
class SimSpec:
    """A wire and what the scripted client does at its far end."""

    up: WireSpec = DEFAULT  # from the guest to the far end
    down: WireSpec = DEFAULT
    changes: tuple[Change, ...] = ()  # in the order of time
    seed: int | None = None  # of all chance and of the far end's secrets; None: the run's own
    requests: int = 1  # how many in all; 0: no client
    path: str = "/"
    port: int = 80
    keepalive: bool = True  # one connection for many requests
    connections: int = 1  # at the same time

    @property
    def delay(self) -> int:
        """The longest way from one end to the other, in nanoseconds, without queues."""
        states = [self.up, self.down]
        for change in self.changes:
            states += (change.up, change.down)
        return max(s.delay + s.jitter + (s.reorder_by if s.reorder else 0) for s in states)

    @classmethod
    def parse(cls, text: str, read: Callable[[str], Changes] = read_script) -> SimSpec:
        """From the options; what is not named keeps its default. If there is a script, ``read``
        reads it. Raises ConfigError that names the key."""
        sections = _sections(_pairs(text))
        values, wire = _general(sections[0][1])
        script = values.pop("script", None)
        up, down = _changed(DEFAULT, DEFAULT, wire, "--net sim: ")
        changes: list[Change] = []
        state = up, down
        later = sections[1:]
        where = "--net sim: "
        if script is not None:
            if later:
                raise ConfigError("--net sim: at: is in the script already: leave one of them out")
            later, where = read(script), f"--net sim: {script}: "
        for at, pairs in later:
            at_ns = _read("at", at, where)
            if changes and at_ns <= changes[-1].at_ns:
                raise ConfigError(f"{where}at={at}: comes after a later change: order them by time")
            lead = f"{where}at={at}: "
            _check_once(pairs, lead)
            if not pairs:
                raise ConfigError(f"{lead}changes nothing: write at={at},loss=0.1")
            state = _changed(*state, pairs, lead)
            changes.append(Change(at_ns, *state))
        if len(changes) > MAX_CHANGES:
            raise ConfigError(f"{where}at: there are more than {MAX_CHANGES} changes")
        return cls(up=up, down=down, changes=tuple(changes), **values)


def _pairs(text: str) -> list[Pair]:
    pairs: list[Pair] = []
    for option in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = option.partition("=")
        if not equals:
            _check_known(key, "--net sim: ")
            raise ConfigError(f"--net sim: {key} needs a value: write {key}=VALUE")
        pairs.append((key, value))
    return pairs


def _sections(pairs: Sequence[Pair]) -> list[tuple[str, list[Pair]]]:
    """What stands before the first ``at``, then each ``at`` with what follows it."""
    sections: list[tuple[str, list[Pair]]] = [("", [])]
    for key, value in pairs:
        if key == "at":
            sections.append((value, []))
        else:
            sections[-1][1].append((key, value))
    return sections


def _general(pairs: Sequence[Pair]) -> tuple[dict[str, Any], list[Pair]]:
    """The client's options, read, and the wire's, still to be read."""
    _check_once(pairs, "--net sim: ")
    values: dict[str, Any] = {}
    wire: list[Pair] = []
    for key, value in pairs:
        if key in _CLIENT:
            values[key] = _read(key, value, "--net sim: ")
        else:
            wire.append((key, value))
    return values, wire


def _changed(
    up: WireSpec, down: WireSpec, pairs: Sequence[Pair], where: str
) -> tuple[WireSpec, WireSpec]:
    """Both directions after these options. One for a single direction wins over one for both,
    whatever their order."""
    for prefix, is_up, is_down in (("", True, True), ("up.", True, False), ("down.", False, True)):
        for key, text in pairs:
            name = key.removeprefix("up.").removeprefix("down.") if "." in key else key
            if key != prefix + name:
                continue
            if name not in _WIRE:
                if name in _CLIENT:
                    raise ConfigError(f"{where}{key}: is not the wire's: write it before any at=")
                _check_known(key, where)
            value = _read(key, text, where, name)
            field = _FIELD_NAMES.get(name, name)
            if is_up:
                up = replace(up, **{field: value})
            if is_down:
                down = replace(down, **{field: value})
    return up, down


def _check_once(pairs: Sequence[Pair], where: str) -> None:
    seen: dict[str, None] = {}
    for key, _ in pairs:
        _check_known(key, where)
        if key in seen:
            raise ConfigError(f"{where}{key} is given twice")
        seen[key] = None


def _check_known(key: str, where: str) -> None:
    direction, dot, name = key.rpartition(".")
    if (dot and (direction not in ("up", "down") or name not in _WIRE)) or (
        not dot and name not in _WIRE and name not in _CLIENT and name != "at"
    ):
        known = ", ".join((*_WIRE, *_CLIENT, "at"))
        raise ConfigError(
            f"{where}there is no option {key!r}; there are {known}, and up. or down. before "
            "those of the wire"
        )


def _read(key: str, text: str, where: str, name: str = "") -> Any:
    name = name or key
    reader = _WIRE.get(name) or _CLIENT.get(name) or _AT
    try:
        return reader(text)
    except ValueError as error:
        raise ConfigError(f"{where}{key}: {error}") from None


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


def _file(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is not a file's name")
    return text


_TIME: Final = _within(0, MAX_DELAY_NS, parse_duration, " ns")
_AT: Final = _within(0, MAX_AT_NS, parse_duration, " ns")

_WIRE: Final[dict[str, Callable[[str], int]]] = {
    "rate": _within(0, MAX_RATE, parse_rate, " bit/s"),
    "delay": _TIME,
    "queue": _within(1, MAX_QUEUE_PACKETS, _number, " packets"),
    "loss": _probability,
    "jitter": _TIME,
    "reorder": _probability,
    "reorder-by": _TIME,
    "duplicate": _probability,
    "corrupt": _probability,
    "ecn": _within(0, MAX_QUEUE_PACKETS, _number, " packets"),
}
_CLIENT: Final[dict[str, Callable[[str], int | bool | str]]] = {
    "seed": _within(0, 2**64 - 1, _number, ""),
    "requests": _within(0, MAX_REQUESTS, _number, ""),
    "path": _path,
    "port": _within(1, 65_535, _number, ""),
    "keepalive": _switch,
    "connections": _within(1, MAX_CONNECTIONS, _number, ""),
    "script": _file,
}
_FIELD_NAMES: Final = {"reorder-by": "reorder_by"}
