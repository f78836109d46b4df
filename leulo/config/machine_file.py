"""A machine file: TOML with the flags' names as keys, and where in the text each key stands.

    net = "sim:loss=0.01"
    publish = ["8080:80", "2007:7"]
    mem = "32M"

There are no sections. The parser of the standard library gives no line numbers, so `key_lines`
looks through the text once more; it may rely on the text being right TOML. Names of files are
taken from the folder of the machine file.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from leulo.config.keys import KEYS, Kind, nearest
from leulo.config.settings import Setting, Settings, checked
from leulo.config.values import with_script
from leulo.errors import ConfigError

MOST_FILE_BYTES: Final = 1 << 16

_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_NO_FILE: Final = re.compile(r"(stdio|pty|tcp|tcp:.*)$")  # as a value of ``serial``
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_QUIET: Final = re.compile(r"[^\"'#\[\]{}\n]+")  # of a value: nothing to look at more closely
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL
)


def read_machine_file(text: str, path: Path) -> Settings:
    """The settings in the text of ``path``. Raises ConfigError that names file, line and key."""
    try:
        values = tomllib.loads(text)
    except ValueError as error:  # also what Python says of a number with thousands of digits
        raise ConfigError(_syntax_error(str(error), text, path)) from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply for a machine file") from None
    lines = key_lines(text)
    settings: Settings = {}
    for name, value in values.items():
        place = f"{path}:{lines.get(name, 1)}"
        key = KEYS.get(name)
        if key is None:
            shown = f"[{name}]" if isinstance(value, dict) else name
            raise ConfigError(f"{place}: {shown}: is no key of a machine: {nearest(name)}")
        origin = f"{place}: {name}"
        settings[name] = Setting(checked(key, _from_toml(value), origin), origin)
        if key.kind is Kind.PATH or (key.kind is Kind.SERIAL and not _NO_FILE.match(str(value))):
            settings[name] = Setting(str(path.parent / str(value)), origin)
        elif name == "net":
            settings[name] = Setting(with_script(str(value), path.parent.joinpath), origin)
    return settings


def key_lines(text: str) -> dict[str, int]:
    """The line on which each top-level key of right TOML first stands, a table's included."""
    lines: dict[str, int] = {}
    at, end = 0, len(text)
    in_table = False
    while at < end:
        if text[at] in " \t\r\n":
            at += 1
            continue
        if text[at] == "#":
            at = _line_end(text, at)
            continue
        is_header = text[at] == "["
        start = at
        while is_header and text[start] in "[ \t":
            start += 1
        name = _key_at(text, start)
        if name is not None and (is_header or not in_table):
            lines.setdefault(name, text.count("\n", 0, at) + 1)
        in_table = in_table or is_header
        at = _statement_end(text, at)
    return lines


def _key_at(text: str, at: int) -> str | None:
    """The first part of the key at ``at``."""
    if text[at] in "\"'":
        found = _STRING.match(text, at)
        if found is None:
            return None
        return next(iter(tomllib.loads(f"{found[0]} = 0")))
    found = _BARE_KEY.match(text, at)
    return found[0] if found else None


def _statement_end(text: str, at: int) -> int:
    """Past the newline that ends the statement at ``at``: not one in a string or in brackets."""
    depth, end = 0, len(text)
    while at < end:
        char = text[at]
        if char in "\"'":
            found = _STRING.match(text, at)
            at = found.end() if found else at + 1
        elif char == "#":
            at = _line_end(text, at)
        elif char == "\n" and depth == 0:
            return at + 1
        elif char in "[{":
            depth, at = depth + 1, at + 1
        elif char in "]}":
            depth, at = depth - 1, at + 1
        else:
            found = _QUIET.match(text, at)
            at = found.end() if found else at + 1
    return at


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return found if found >= 0 else len(text)


def _syntax_error(said: str, text: str, path: Path) -> str:
    """tomllib's sentence with the place in front, and the key if the line has one."""
    found = _PLACE.search(said)
    line = text.count("\n") + 1
    if found is not None:
        said = said[: found.start()]
        if found[1] is not None:
            line = int(found[1])
    written = text.split("\n")[line - 1] if line <= text.count("\n") + 1 else ""
    key = re.match(r"\s*([A-Za-z0-9_-]+)\s*=", written)
    where = f"{path}:{line}: {key[1]}" if key else f"{path}:{line}"
    if said.startswith("Exceeds the limit"):  # what Python takes for a number
        return f"{where}: is a number out of all range"
    return f"{where}: is not TOML: {said[:1].lower()}{said[1:]}"


def _from_toml(value: Any) -> Any:
    """A value as ``checked`` wants it: what TOML has beyond that stays and is refused there."""
    if isinstance(value, float):
        return f"{value:f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else str(value)
    if isinstance(value, list):
        return tuple(value)
    return value
