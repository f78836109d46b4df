"""The text of a script without its comments, and a cursor that walks over it.

The language is too irregular for a token stream (``5.`` is a set of TCP flags in one place and
part of a number in another), so the parser matches patterns at a position. Comments are replaced
by blanks first, so positions and line numbers stay those of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

MAX_SCRIPT_CHARS: Final = 1 << 20

# What may hide a comment's beginning, then the comments: // to the end of the line, /* */, and
# '#' at the beginning of a line.
_HIDING = re.compile(
    r"""("(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`|%\{.*?\}%)|(//[^\n]*|/\*.*?\*/|^[ \t]*\#[^\n]*)""",
    re.DOTALL | re.MULTILINE,
)
_NOT_NEWLINE = re.compile(r"[^\n]")
_SPACE = re.compile(r"\s*")


class ScriptError(Exception):
    """The script is not in the language: ``line`` (from 1) and what was expected there."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(f"line {line}: {sentence}")
        self.line: int = line
        self.sentence: str = sentence


class Refused(Exception):
    """The script is in the language but asks for something this runner or stack does not have;
    ``what`` names it."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line: int = line
        self.what: str = what


_CONDITIONAL = re.compile(r"^[ \t]*#[ \t]*(ifdef|ifndef|else|endif)\b[ \t]*(\w*).*$")


def without_conditionals(text: str, symbols: Iterable[str]) -> str:
    """``text`` without the lines that ``#ifdef`` and its kin leave out. Raises ScriptError."""
    if "#" not in text or "#if" not in text:
        return text
    defined = list(symbols)
    kept: list[str] = []
    nesting: list[tuple[bool, bool]] = []  # does the text around count, does this part
    for number, line in enumerate(text.split("\n"), 1):
        match = _CONDITIONAL.match(line)
        if match is None:
            kept.append(line if not nesting or all(nesting[-1]) else "")
            continue
        kept.append("")
        word = match[1]
        if word in ("ifdef", "ifndef"):
            around = not nesting or all(nesting[-1])
            nesting.append((around, (match[2] in defined) == (word == "ifdef")))
        elif not nesting:
            raise ScriptError(number, f"#{word} without #ifdef")
        elif word == "else":
            nesting[-1] = (nesting[-1][0], not nesting[-1][1])
        else:
            nesting.pop()
    if nesting:
        raise ScriptError(text.count("\n") + 1, "#ifdef without #endif")
    return "\n".join(kept)


def with_definitions(text: str, definitions: Mapping[str, str]) -> str:
    """``text`` with every word that is defined replaced by its definition."""
    if not definitions:
        return text
    words = "|".join(re.escape(word) for word in sorted(definitions, key=len, reverse=True))
    return re.sub(rf"(?<![\w.]){'(?:' + words + ')'}\b", lambda m: definitions[m[0]], text)


def without_comments(text: str) -> str:
    """``text`` with every comment blanked out."""

    def blank(match: re.Match[str]) -> str:
        kept = match[1]
        return kept if kept is not None else _NOT_NEWLINE.sub(" ", match[2])

    return _HIDING.sub(blank, text)


class Scanner:
    """A position in a text. Patterns are compiled regular expressions without leading blanks."""

    __slots__ = ("_counted_to", "_line", "at", "text")

    def __init__(self, text: str) -> None:
        self.text: str = text
        self.at: int = 0
        self._line: int = 1
        self._counted_to: int = 0
        self.skip_space()

    @property
    def line(self) -> int:
        """The line of the position, from 1. The position only moves forward."""
        if self.at >= self._counted_to:
            self._line += self.text.count("\n", self._counted_to, self.at)
            self._counted_to = self.at
            return self._line
        return self.text.count("\n", 0, self.at) + 1

    @property
    def is_at_end(self) -> bool:
        return self.at >= len(self.text)

    def skip_space(self) -> None:
        match = _SPACE.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Match here and move behind it and the blanks that follow; None if it is not here."""
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
            self.skip_space()
        return match

    def has(self, literal: str) -> bool:
        """Take ``literal`` if it is here."""
        if not self.text.startswith(literal, self.at):
            return False
        self.at += len(literal)
        self.skip_space()
        return True

    def peek(self, literal: str) -> bool:
        return self.text.startswith(literal, self.at)

    def expect(self, literal: str, where: str) -> None:
        """Take ``literal``. Raises ScriptError."""
        if not self.has(literal):
            raise self.error(f"expected '{literal}' {where}")

    def error(self, sentence: str) -> ScriptError:
        """An error here that shows what is there instead."""
        rest = self.text[self.at : self.at + 40].split("\n")[0].rstrip()
        return ScriptError(self.line, f"{sentence}, found {rest!r}" if rest else sentence)
