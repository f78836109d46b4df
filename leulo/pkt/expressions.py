"""Arguments and results of system calls: numbers, constants, strings, arrays, structures."""

from __future__ import annotations

import re
from typing import Final

from leulo.pkt.lexer import Refused, Scanner
from leulo.pkt.syntax import Apply, Array, Ellipsis_, Expression, Name, Or, Struct, Text

_HEX = re.compile(r"-?0[xX][0-9a-fA-F]+")
_INTEGER = re.compile(r"-?\d+(?![\w.])")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_STRING = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_FIELD = re.compile(r"([A-Za-z_]\w*)\s*(?:\(\s*(?:\.\.\.|\d+)\s*\))?\s*=(?!=)")
_SYMBOL_IS = re.compile(r"=(?!=)\s*")
_HEADERS: Final = (
    (re.compile(r"\(\s*label\b"), "MPLS labels"),
    (re.compile(r"flags\s*(?:\[|\d)"), "GRE headers"),
)
_MAX_DEPTH: Final = 16
_MAX_DIGITS: Final = 40
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)


def parse_expression(scanner: Scanner, depth: int = 0) -> Expression:
    """One expression with its ``|``. Raises ScriptError."""
    first = _operand(scanner, depth)
    if not scanner.peek("|"):
        return first
    parts = [first]
    while scanner.has("|"):
        parts.append(_operand(scanner, depth))
    return Or(parts)


def parse_arguments(scanner: Scanner, end: str, depth: int = 0) -> list[Expression]:
    """Expressions with commas between, up to and including ``end``."""
    arguments: list[Expression] = []
    if scanner.has(end):
        return arguments
    while True:
        arguments.append(parse_expression(scanner, depth))
        if scanner.has(end):
            return arguments
        scanner.expect(",", f"or '{end}'")


def _operand(scanner: Scanner, depth: int) -> Expression:
    if depth > _MAX_DEPTH:
        raise scanner.error("the expression is nested too deeply")
    if scanner.has("..."):
        return Ellipsis_()
    match = scanner.take(_HEX)
    if match is not None:
        return _number(scanner, match[0], 16)
    match = scanner.take(_INTEGER)
    if match is not None:
        return _number(scanner, match[0], 10)
    match = scanner.take(_STRING)
    if match is not None:
        value = _unescaped(match[1])
        while True:
            match = scanner.take(_STRING)
            if match is None:
                break
            value += _unescaped(match[1])
        scanner.has("...")  # as strace writes a string that it has cut
        return Text(value)
    if scanner.has("["):
        return Array(parse_arguments(scanner, "]", depth + 1))
    if scanner.has("{"):
        return _structure(scanner, depth + 1)
    if scanner.has("("):
        inner = parse_expression(scanner, depth + 1)
        scanner.expect(")", "behind the expression")
        return inner
    match = scanner.take(_IDENTIFIER)
    if match is None:
        raise scanner.error("expected a value")
    if scanner.has("("):
        return Apply(match[0], parse_arguments(scanner, ")", depth + 1))
    if scanner.take(_SYMBOL_IS):  # a field without its braces
        return Struct({match[0]: parse_expression(scanner, depth + 1)})
    return Name(match[0])


def _structure(scanner: Scanner, depth: int) -> Expression:
    """``{name=value, ...}`` or a list in braces; in a structure ``...`` may stand for the rest."""
    for pattern, what in _HEADERS:
        if pattern.match(scanner.text, scanner.at):
            raise Refused(scanner.line, what)
    fields: dict[str, Expression] = {}
    items: list[Expression] = []
    while not scanner.has("}"):
        match = scanner.take(_FIELD)
        if match is not None:
            fields[match[1]] = parse_expression(scanner, depth)
        else:
            items.append(parse_expression(scanner, depth))
        if not scanner.peek("}"):
            scanner.expect(",", "or '}'")
    if fields:
        return Struct(fields)
    return Array(items)


def _number(scanner: Scanner, text: str, base: int) -> int:
    if len(text) > _MAX_DIGITS:
        raise scanner.error("the number is too long")
    return int(text, base)


def _unescaped(text: str) -> bytes:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) == 3:
            return chr(int(code[1:], 16))
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(one, text).encode("latin-1", "replace")
