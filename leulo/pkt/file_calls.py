"""open and sendfile of files that a script's ``dd`` has made: of a size, and all zeros.

There is no file: what has been "written" is a length by its path. Functions are as those of
`option_calls`. [Linux sendfile(2)]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leulo.pkt.constants import ERRNO
from leulo.pkt.lexer import Refused
from leulo.pkt.syntax import Array, Name, Text

if TYPE_CHECKING:
    from leulo.pkt.calls import Calls, Running


@dataclass(slots=True)
class File:
    """An open one."""

    length: int
    at: int = 0


def made_by_dd(words: list[str], line: int) -> tuple[str, int]:
    """Path and length of what ``dd`` writes. Raises Refused unless all of it is zeros."""
    settings = dict(word.partition("=")[::2] for word in words[1:])
    length = 1
    for name in ("bs", "count"):
        if not settings.get(name, "").isdigit():
            raise Refused(line, f"command `{' '.join(words)}`")
        length *= int(settings[name])
    if settings.get("if") != "/dev/zero" or "of" not in settings:
        raise Refused(line, f"command `{' '.join(words)}`")
    return settings["of"], length


def open_file(calls: Calls, running: Running) -> int:
    path = running.call.arguments[0]
    length = None
    if isinstance(path, Text):
        length = calls.world.setup.files.get(path.value.decode("latin-1"))
    if length is None:
        raise Refused(running.line, "a file that no dd has made")
    number = calls.free_number(running, running.call.result)
    calls.files[number] = File(length)
    return number


def sendfile(calls: Calls, running: Running) -> int | None:
    file = calls.files.get(calls.number(running, 1))
    if file is None:
        return -ERRNO["EBADF"]
    where = running.call.arguments[2]
    begin = file.at
    if isinstance(where, Array) and where.items:
        begin = calls.value(where.items[0], running.line)
    elif not (isinstance(where, Name) and where.name == "NULL"):
        raise Refused(running.line, "this offset of sendfile")
    length = max(0, min(calls.number(running, 3), file.length - begin))
    count = calls.transmit(running, length, 0, bytes(length))
    if count is not None and count > 0 and not isinstance(where, Array):
        file.at += count
    return count
