"""``grep`` as the commands of scripts use it: a pipeline of filters for fixed words.

Nothing is executed, and a word is no regular expression, but for escapes of what would mean
something in one. [POSIX grep]
"""

from __future__ import annotations

import re
from typing import Final

from leulo.pkt.lexer import Refused

_FLAGS: Final = {"-q", "-c", "-v", "-E", "-F", "-w"}
_ESCAPED = re.compile(r"\\([^\w])")
_OPERATORS = re.compile(r"(?<!\\)[*+?\[\]^$|(){}]")


def filtered(lines: list[str], filters: list[list[str]], line: int) -> str | None:
    """None if the last grep of the pipeline succeeds, else what was there before it. Raises
    Refused for anything but greps for words."""
    output = lines
    before = lines
    for words in filters:
        flags = {word for word in words[1:-1] if word.startswith("-")}
        if words[:1] != ["grep"] or len(words) != 2 + len(flags) or not flags <= _FLAGS:
            raise Refused(line, f"command `{' '.join(words)}`")
        before = output
        output = matching(output, words[-1], flags, line)
        if "-c" in flags and (words is not filters[-1] or output):
            output = [str(len(output))]
    return None if output or not filters else "; ".join(before) or "nothing"


def matching(lines: list[str], pattern: str, flags: set[str], line: int) -> list[str]:
    """Those of ``lines`` that one grep lets through."""
    if "-F" not in flags:
        if _OPERATORS.search(pattern):
            raise Refused(line, f"grep for the expression {pattern}")
        pattern = _ESCAPED.sub(r"\1", pattern)
    word = re.compile(
        rf"(?<!\w){re.escape(pattern)}(?!\w)" if "-w" in flags else re.escape(pattern)
    )
    return [entry for entry in lines if (word.search(entry) is None) == ("-v" in flags)]
