"""The packetdrill language into the tree of `syntax`: all dialects in one grammar.

Google's, the Linux self-tests', nplab's and FreeBSD's scripts differ in options, in how a
sequence number may look and in what an annotation may hold; every form is taken everywhere.
Packet lines are read by `packet_lines`, expressions by `expressions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from leulo.pkt.expressions import parse_arguments, parse_expression
from leulo.pkt.lexer import (
    MAX_SCRIPT_CHARS,
    Scanner,
    ScriptError,
    with_definitions,
    without_comments,
    without_conditionals,
)
from leulo.pkt.packet_lines import parse_packet
from leulo.pkt.syntax import Action, Call, Code, Command, Event, Script, Time, When

_NUMBER: Final = r"(?:\d*\.\d+|\d+)"
_TIME = re.compile(
    rf"(?P<any>\*)|(?P<plus>\+)?\s*(?P<start>{_NUMBER})"
    rf"(?:\s*~\s*(?P<plus2>\+)?\s*(?P<end>{_NUMBER}))?"
)
_OPTION = re.compile(
    r"--?([A-Za-z]\w*)(?:[ \t]*=[ \t]*(\w+=`[^`]*`|\w+=\"[^\"]*\"|\"[^\"]*\"|\S+))?"
)
_DEFINITION = re.compile(r"-D[ \t]+(\S+)")
_COMMAND = re.compile(r"`((?:\\.|[^`\\])*)`", re.DOTALL)
_CODE = re.compile(r"%\{(.*?)\}%", re.DOTALL)
_END = re.compile(rf"\.\.\.\s*({_NUMBER})")
_FUNCTION = re.compile(r"([A-Za-z_]\w*)\s*\(")
_ERRNO = re.compile(r"(E[A-Z0-9]+)\b")
_NOTE = re.compile(r"\((?:[^()]|\([^()]*\))*\)")
_MAX_TIME_NS: Final = 10**17
_MAX_EVENTS: Final = 50_000


def parse(
    text: str, symbols: Iterable[str] = (), definitions: Mapping[str, str] | None = None
) -> Script:
    """The script, or ScriptError with the line, or Refused for what only this runner lacks.

    ``symbols`` are what ``#ifdef`` finds; ``definitions`` replace words, as do the script's own
    ``--define`` lines.
    """
    if len(text) > MAX_SCRIPT_CHARS:
        raise ScriptError(1, f"the script is longer than {MAX_SCRIPT_CHARS} characters")
    scanner = Scanner(without_comments(without_conditionals(text, symbols)))
    options = _options(scanner)
    known = dict(definitions or {})
    for name, value in options:
        symbol, equals, replacement = value.partition("=")
        if name in ("define", "D") and equals:
            known[symbol] = replacement
    if known:
        # Options stay as they are; the lines keep their numbers.
        rest = with_definitions(scanner.text[scanner.at :], known)
        scanner = Scanner("\n" * (scanner.line - 1) + rest)
    events: list[Event] = []
    while not scanner.is_at_end:
        if len(events) >= _MAX_EVENTS:
            raise scanner.error(f"the script has more than {_MAX_EVENTS} events")
        events.append(_event(scanner))
    if not events:
        raise ScriptError(scanner.line, "the script has no events")
    return Script(options, events)


def _options(scanner: Scanner) -> list[tuple[str, str]]:
    options: list[tuple[str, str]] = []
    while scanner.peek("-"):
        match = scanner.take(_DEFINITION)
        if match is not None:
            options.append(("define", match[1]))
            continue
        match = scanner.take(_OPTION)
        if match is None:
            raise scanner.error("expected an option (--name=value)")
        value = match[2] or ""
        if value.startswith('"') and value.endswith('"'):
            value = value[1:-1]
        options.append((match[1], value))
    return options


def _event(scanner: Scanner) -> Event:
    line = scanner.line
    command = scanner.take(_COMMAND)
    if command is not None:  # set up before the first event, or clean up behind the last
        return Event(line, Time(When.RELATIVE), Command(command[1]))
    time = _time(scanner)
    action = _action(scanner)
    is_outbound = not isinstance(action, Call | Command | Code) and action.direction.value == ">"
    if time.kind not in (When.ABSOLUTE, When.RELATIVE) and not is_outbound:
        raise ScriptError(line, "a time range, or any time, is for packets of the stack only")
    return Event(line, time, action)


def _time(scanner: Scanner) -> Time:
    match = scanner.take(_TIME)
    if match is None:
        raise scanner.error("expected a time")
    if match["any"]:
        return Time(When.ANY)
    start = _nanoseconds(scanner, match["start"])
    is_relative = match["plus"] is not None
    if match["end"] is None:
        return Time(When.RELATIVE if is_relative else When.ABSOLUTE, start)
    end = _nanoseconds(scanner, match["end"])
    if end < start:
        raise scanner.error("the time range is backwards")
    if not is_relative and match["plus2"] is not None:
        raise scanner.error("a range is of two absolute or of two relative times")
    return Time(When.RELATIVE_RANGE if is_relative else When.ABSOLUTE_RANGE, start, end)


def _nanoseconds(scanner: Scanner, text: str) -> int:
    whole, _, fraction = text.partition(".")
    value = int(whole or "0") * 10**9 + int(fraction.ljust(9, "0")[:9] or "0")
    if value > _MAX_TIME_NS:
        raise scanner.error("the time is too large")
    return value


def _action(scanner: Scanner) -> Action:
    if scanner.peek("<") or scanner.peek(">"):
        return parse_packet(scanner)
    match = scanner.take(_COMMAND)
    if match is not None:
        return Command(match[1])
    match = scanner.take(_CODE)
    if match is not None:
        return Code(match[1].strip(" \t"))
    return _call(scanner)


def _call(scanner: Scanner) -> Call:
    end = scanner.take(_END)
    begin = scanner.at
    match = scanner.take(_FUNCTION)
    if match is None:
        raise scanner.error("expected a packet, a system call, a command or a snippet")
    arguments = parse_arguments(scanner, ")")
    scanner.expect("=", f"and the result of {match[1]}")
    result = parse_expression(scanner)
    errno = scanner.take(_ERRNO)
    behind = scanner.at
    scanner.take(_NOTE)  # what strerror says, or flags in words
    text = " ".join(scanner.text[begin:behind].split())
    return Call(
        match[1],
        arguments,
        result,
        errno[1] if errno else "",
        _nanoseconds(scanner, end[1]) if end else None,
        text,
    )
