"""How a script is to be judged, and how it went."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from leulo.pkt.settings import looks_like_bsd
from leulo.tcp.config import PRESETS

AUTO: Final = "auto"  # the preset that the script's own set-up suggests
_PRESET: Final = re.compile(r"^--preset=(\w+)", re.MULTILINE)
_BSD_DIRECTORIES: Final = {"bsd", "freebsd"}  # as suites have them


class Status(Enum):
    PASSED = "passed"
    FAILED = "failed"  # the stack did something else
    REFUSED = "refused"  # asks for what is not there, by name
    ERROR = "error"  # not a script, or the runner's own fault


@dataclass(slots=True)
class Outcome:
    """How a script went. ``line`` is where it ended, None if it passed."""

    status: Status
    line: int | None = None
    expected: str = ""
    actual: str = ""
    script_line: str = ""  # its text
    history: tuple[str, ...] = ()  # the last events before, oldest first
    duration_ns: int = 0  # virtual


@dataclass(frozen=True, slots=True)
class Mode:
    """How a script is judged. ``preset`` names a `leulo.tcp.config` preset, or is `AUTO`."""

    is_relaxed: bool = False
    preset: str = AUTO
    definitions: tuple[tuple[str, str], ...] = ()  # of words, as -D gives them
    commands: tuple[str, ...] = ()  # set-up before the script's own
    options: tuple[tuple[str, str], ...] = ()  # name and value, before the script's own

    def preset_for(self, text: str, path: str = "") -> str:
        """The preset's name for this script, which may name it by ``--preset=NAME``, or lie in a
        directory of FreeBSD's."""
        if self.preset != AUTO:
            return self.preset
        named = _PRESET.search(text)
        if named is not None and named[1] in PRESETS:
            return named[1]
        is_there = not _BSD_DIRECTORIES.isdisjoint(path.lower().split("/")[:-1])
        return "freebsd" if is_there or looks_like_bsd(text) else "linux"


# What #ifdef finds with each preset.
SYMBOLS: Final = {
    "linux": ("Linux", "linux", "STANDARD"),
    "freebsd": ("FreeBSD", "__FreeBSD__"),
    "rfc": ("STANDARD",),
}
# What suites give on the command line.
DEFINITIONS: Final = {
    "CMSG_LEVEL_IP": "SOL_IP", "CMSG_TYPE_RECVERR": "IP_RECVERR",
    "TFO_COOKIE": "3021b9d889017eeb", "TFO_COOKIE_ZERO": "b7c12350a90dc8f5",
}  # fmt: skip
# The cookies of packetdrill's default addresses, for the suites' key and for one of zeros.
_OF_SOCKETS_6: Final = {"CMSG_LEVEL_IP": "SOL_IPV6", "CMSG_TYPE_RECVERR": "IPV6_RECVERR"}
DEFINITIONS_OF: Final = {
    "ipv6": {
        **_OF_SOCKETS_6,
        "TFO_COOKIE": "c1d1e9742a47a9bc",
        "TFO_COOKIE_ZERO": "82af1a8f9a205c34",
    },
    "ipv4-mapped-ipv6": {**DEFINITIONS, **_OF_SOCKETS_6},
}
