"""A wire's script: a TOML file of changes over time.

    [[change]]
    at = "5s"
    loss = 0.1
    down.rate = "1mbit"

It gives keys and values as they would stand in ``--net sim:``; the options' own reader checks them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

from leulo.errors import ConfigError

MOST_BYTES: Final = 1 << 20


Changes = list[tuple[str, list[tuple[str, str]]]]  # each one's time with its keys and values


def read_script(name: str) -> Changes:
    """The changes in a file. Raises ConfigError that names it."""
    key = f"--net sim: script={name}"
    try:
        with Path(name).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{key}: cannot be read: {reason}") from None
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{key}: is larger than {MOST_BYTES >> 20} MiB: it is no script")
    return changes_of(data, key)


def changes_of(data: bytes, key: str) -> Changes:
    """The changes in a file's content. Raises ConfigError that begins with ``key``."""
    try:
        document = tomllib.loads(data.decode())
    except RecursionError:
        raise ConfigError(f"{key}: is nested too deeply for a script") from None
    except ValueError as error:  # also what Python says of a number with thousands of digits
        raise ConfigError(f"{key}: is not TOML: {error}") from None
    changes = document.pop("change", [])
    if document:
        raise ConfigError(f"{key}: there is no {next(iter(document))!r}: write [[change]] tables")
    if not isinstance(changes, list) or not all(isinstance(entry, dict) for entry in changes):
        raise ConfigError(f"{key}: change: write [[change]] with two brackets each side")
    found: Changes = []
    for number, change in enumerate(changes, 1):
        if "at" not in change:
            raise ConfigError(f'{key}: change {number} has no time: write at = "5s"')
        at = _text(f"{key}: change {number}: at", change.pop("at"))
        found.append((at, _pairs(f"{key}: at={at}", "", change)))
    return found


def _pairs(where: str, prefix: str, table: dict[str, Any]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in table.items():
        if isinstance(value, dict) and not prefix:
            pairs += _pairs(where, f"{name}.", value)
        else:
            pairs.append((prefix + name, _text(f"{where}: {prefix}{name}", value)))
    return pairs


def _text(where: str, value: object) -> str:
    """As it would be written on the command line."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        if value.bit_length() > 64:
            raise ConfigError(f"{where}: is a number out of all range")
        return str(value)
    if isinstance(value, float):
        text = f"{value:.9f}"
        return text.rstrip("0").rstrip(".") if float(text) == value else repr(value)
    raise ConfigError(f"{where}: is neither a text nor a number")
