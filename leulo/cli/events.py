"""Subscribers that write events down for people and programs: ``--log`` and ``--trace``.

They add nothing of their own (no wall clock, no process number), so on the virtual clock two
runs write the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_ISREG
from typing import Any, TextIO

from leulo.errors import ConfigError, EnvironmentProblem
from leulo.trace import Event
from leulo.units import NS_PER_S


class JsonLines:
    """Every event as one JSON object a line, in the order in which it happened. What the file had
    stays in it until `begin`."""

    def __init__(self, path: Path) -> None:
        """Raises EnvironmentProblem if the file cannot be written."""
        import json

        self._dumps = json.dumps
        self._path = path
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise _cannot_write("--trace", path, error) from None

    def begin(self) -> None:
        """Empty the file; a pipe or a terminal has nothing to lose."""
        if S_ISREG(os.fstat(self._file.fileno()).st_mode):
            os.ftruncate(self._file.fileno(), 0)

    def __call__(self, event: Event) -> None:
        try:
            self._file.write(self._dumps(event.plain(), default=_plain, separators=(",", ":")))
            self._file.write("\n")
        except OSError as error:
            raise _cannot_write("--trace", self._path, error) from None

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise _cannot_write("--trace", self._path, error) from None


class LogLines:
    """Events as one readable line each: time, name, then what it carries."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, event: Event) -> None:
        plain = event.plain()
        name, time_ns = plain.pop("event"), plain.pop("time_ns")
        seconds, rest = divmod(time_ns, NS_PER_S)
        values = " ".join(f"{key}={_shown(value)}" for key, value in plain.items())
        print(f"[{seconds:5d}.{rest // 1000:06d}] {name} {values}".rstrip(), file=self._file)


def check_glob(glob: str) -> None:
    """A glob that names none of the program's events is a mistake. Raises ConfigError."""
    names = [kind.NAME for kind in all_kinds()]
    if not any(fnmatchcase(name, glob) for name in names):
        raise ConfigError(
            f"--log {glob}: there is no such event: write a name or a glob of {', '.join(names)}"
        )


def all_kinds() -> list[type[Event]]:
    """Every event type of the program, in the order of their names, whatever this run has."""
    import leulo.hypercalls.events
    import leulo.links.sim.client
    import leulo.machine
    import leulo.tcp.events  # noqa: F401

    found: dict[str, type[Event]] = {}
    waiting = [Event]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            # A dataclass with slots is made anew, and the first one may not be gone yet.
            is_real = "__slots__" in vars(kind)
            if is_real and kind.NAME and kind.__module__.startswith("leulo."):
                found[kind.NAME] = kind
    return [found[name] for name in sorted(found)]


def listing() -> str:
    """What ``--log list`` prints: each event, and what it is."""
    kinds = all_kinds()
    width = max(len(kind.NAME) for kind in kinds)
    lines = []
    for kind in kinds:
        first = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        lines.append(f"{kind.NAME:{width}}  {first}")
    return "\n".join(lines)


def check_counters(path: Path) -> None:
    """Can they be written when the run is over? Raises EnvironmentProblem."""
    try:
        path.open("a").close()
    except OSError as error:
        raise _cannot_write("--counters", path, error) from None


def write_counters(path: Path, counters: Mapping[str, int]) -> None:
    """All counters as one JSON object. Raises EnvironmentProblem."""
    import json

    try:
        path.write_text(json.dumps(counters, indent=2) + "\n")
    except OSError as error:
        raise _cannot_write("--counters", path, error) from None


def _cannot_write(key: str, path: Path, error: OSError) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{key} {path}: cannot be written: {error.strerror}. "
        "Name a file in a directory of yours, on a disk with room."
    )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, Enum):
        return value.name
    return str(value)


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return data.hex() if len(data) <= 32 else f"{data[:32].hex()}..({len(data)})"
    if isinstance(value, str):
        return repr(value) if not value.isprintable() or " " in value or not value else value
    return str(value)
