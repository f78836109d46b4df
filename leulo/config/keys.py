"""The keys of a machine: the same names as flags, in a machine file and in ``--set``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """What a key's value is, and so how it may be written."""

    TEXT = "text"
    TEXTS = "a list of texts"
    SWITCH = "true or false"
    NUMBER = "a whole number"
    PATH = "a file's name"
    SERIAL = "stdio, pty, tcp:PORT or a file's name"


@dataclass(frozen=True, slots=True)
class Key:
    """One key; ``least`` and ``most`` bound a NUMBER."""

    name: str
    kind: Kind = Kind.TEXT
    least: int = 0
    most: int = (1 << 63) - 1


KEYS: Final[dict[str, Key]] = {
    key.name: key
    for key in (
        Key("image", Kind.PATH),
        Key("www", Kind.PATH),
        Key("name"),
        Key("mode"),
        Key("mem"),
        Key("cpu"),
        Key("append"),
        Key("net"),
        Key("ip"),
        Key("gateway"),
        Key("ip6"),
        Key("gateway6"),
        Key("dns"),
        Key("publish", Kind.TEXTS),
        Key("host-loopback", Kind.SWITCH),
        Key("tcp-preset"),
        Key("max-sockets", Kind.NUMBER, least=1, most=0xFFFF),
        Key("max-connections", Kind.NUMBER, least=1, most=1 << 20),
        Key("max-half-open", Kind.NUMBER, least=1, most=1 << 20),
        Key("max-buffers"),
        Key("max-events", Kind.NUMBER, least=2, most=1 << 16),
        Key("serial", Kind.SERIAL),
        Key("clock"),
        Key("seed", Kind.NUMBER, most=(1 << 64) - 1),
        Key("quantum"),
        Key("timeout"),
        Key("max-ticks", Kind.NUMBER, least=1),
        Key("pcap", Kind.PATH),
        Key("trace", Kind.PATH),
        Key("log", Kind.TEXTS),
        Key("counters", Kind.PATH),
        Key("accounting", Kind.SWITCH),
        Key("json", Kind.SWITCH),
        Key("ready-fd", Kind.NUMBER, most=(1 << 31) - 1),
    )
}


def nearest(name: str) -> str:
    """``: did you mean mem?`` for a name that is no key, or where all of them are listed."""
    import difflib

    found = difflib.get_close_matches(name.lower().replace("_", "-"), KEYS, 1)
    if found:
        return f"did you mean {found[0]}?"
    return "`leulo boot --help` has them all"
