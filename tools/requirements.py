"""What the RFCs require, as docs/requirements/*.toml lists it: read, checked, found in the code.

A file an RFC, a table a requirement. Its key is the RFC's own number (``MUST-14``) or the section
with a letter; ``says`` is the rule in our words. Then comes one of

- ``code`` (a file) and ``line`` (a whole line of it, there exactly once, or the first such line
  behind a line ``after``) in what Leulo itself uses, with ``test``: a packetdrill script or a test
  of pytest that fails without the line;
- ``deviation``: why Leulo does something else;
- ``outside``: why it is nobody's business here (another layer, an application's, a document's).

``mutant`` is what stands in the line's place when tools/mutants.py checks that the test would
notice; without it the line's statement is removed, or its condition made false.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from reach import Unnamed, unnamed

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "requirements"

_LEVELS = {"MUST": "MUST", "SHLD": "SHOULD", "MAY": "MAY", "REC": "SHOULD"}
_KEYS = {
    "level", "section", "says", "code", "line", "after", "test", "mutant", "deviation", "outside",
}  # fmt: skip


class RequirementError(Exception):
    """A table is wrong: the message names file and key."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One rule of one RFC."""

    rfc: int
    key: str
    level: str
    section: str
    says: str
    code: str = ""
    line: str = ""
    after: str = ""
    test: str = ""
    mutant: str = ""
    deviation: str = ""
    outside: str = ""

    @property
    def name(self) -> str:
        return f"RFC {self.rfc} {self.key}"


@dataclass(frozen=True, slots=True)
class Document:
    """The requirements of one RFC, in its order."""

    rfc: int
    title: str
    requirements: list[Requirement] = field(default_factory=list)


def documents() -> list[Document]:
    """Every RFC that docs/requirements has. Raises RequirementError."""
    paths = sorted(FOLDER.glob("rfc*.toml"), key=lambda path: int(path.stem[3:]))
    found = [_document(path) for path in paths]
    return sorted(found, key=lambda document: (document.rfc != 9293, document.rfc))


def _document(path: Path) -> Document:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise RequirementError(f"{path.name}: {error}") from None
    document = Document(int(path.stem[3:]), table.pop("title"))
    for key, entry in table.items():
        document.requirements.append(_requirement(document.rfc, key, entry))
    return document


def _requirement(rfc: int, key: str, entry: dict[str, str]) -> Requirement:
    name = f"rfc{rfc}.toml: {key}"
    if unknown := sorted(entry.keys() - _KEYS):
        raise RequirementError(f"{name}: what is {', '.join(unknown)}?")
    level = entry.get("level") or _LEVELS.get(key.partition("-")[0], "")
    if level not in {"MUST", "SHOULD", "MAY"}:
        raise RequirementError(f"{name}: level is MUST, SHOULD or MAY")
    if not entry.get("section") or not entry.get("says"):
        raise RequirementError(f"{name}: section and says are missing")
    kinds = [kind for kind in ("code", "deviation", "outside") if entry.get(kind)]
    if len(kinds) != 1:
        raise RequirementError(f"{name}: say one of code, deviation and outside")
    if kinds == ["code"] and not (entry.get("line") and entry.get("test")):
        raise RequirementError(f"{name}: code needs line and test")
    return Requirement(rfc, key, level, **{k: v for k, v in entry.items() if k != "level"})


def line_number(requirement: Requirement, root: Path = ROOT) -> int:
    """Where the line stands, from 1. Raises RequirementError unless it is there just once."""
    path = root / requirement.code
    if not path.is_file():
        raise RequirementError(f"{requirement.name}: there is no {requirement.code}")
    lines = [_bare(line) for line in path.read_text(encoding="utf-8").splitlines()]
    start = _only(requirement, lines, requirement.after) if requirement.after else 0
    lines = lines[start:]
    if requirement.after and requirement.line.strip() in lines:
        lines = lines[: lines.index(requirement.line.strip()) + 1]
    return start + _only(requirement, lines, requirement.line)


def _only(requirement: Requirement, lines: list[str], line: str) -> int:
    wanted = line.strip()
    count = lines.count(wanted)
    if count != 1:
        times = "is not" if not count else f"is {count} times"
        raise RequirementError(f"{requirement.name}: {wanted!r} {times} in {requirement.code}")
    return lines.index(wanted) + 1


def findings() -> Iterator[str]:
    """What is wrong with the tables: a line that moved away, a test that is gone."""
    try:
        every = [r for document in documents() for r in document.requirements]
    except RequirementError as error:
        yield f"docs/requirements: {error}"
        return
    unreached = unnamed(ROOT / "leulo")
    for requirement in every:
        if not requirement.code:
            continue
        try:
            check_reached(requirement, ROOT, unreached)
            if not requirement.mutant:
                mutated(requirement, ROOT)
        except RequirementError as error:
            yield f"docs/requirements: {error}"
        if not _has_test(requirement.test):
            yield f"docs/requirements: {requirement.name}: there is no test {requirement.test}"


def check_reached(requirement: Requirement, root: Path, unreached: list[Unnamed]) -> None:
    """Its line keeps no rule in what only tests reach. Raises RequirementError."""
    number = line_number(requirement, root)
    for one in unreached:
        if one.path == root / requirement.code and one.first <= number <= one.last:
            raise RequirementError(
                f"{requirement.name}: its line is in {one.name}, which nothing in leulo uses"
            )


def mutated(requirement: Requirement, root: Path) -> str:
    """The text of the file without the requirement's line. Raises RequirementError."""
    number = line_number(requirement, root)
    text = (root / requirement.code).read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    old = lines[number - 1]
    indent = old[: len(old) - len(old.lstrip())]
    if requirement.mutant:
        lines[number - 1] = f"{indent}{requirement.mutant}\n"
    elif requirement.line.startswith(("and ", "or ")):
        lines[number - 1] = "\n"
    else:
        _remove(requirement, lines, number, indent)
    changed = "".join(lines)
    try:
        ast.parse(changed)
    except SyntaxError as error:
        raise RequirementError(f"{requirement.name}: it takes a mutant: {error}") from None
    return changed


def _remove(requirement: Requirement, lines: list[str], number: int, indent: str) -> None:
    """Take the statement that begins at the line out, or make its condition false."""
    for node in ast.walk(ast.parse("".join(lines))):
        if not isinstance(node, ast.stmt) or node.lineno != number:
            continue
        end = node.end_lineno or number
        if isinstance(node, ast.If | ast.While):
            head = lines[number - 1].lstrip().split(" ", 1)[0]
            lines[number - 1 : node.body[0].lineno - 1] = [f"{indent}{head} False:\n"]
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.For | ast.With | ast.Try):
            break
        lines[number - 1 : end] = [f"{indent}pass\n"]
        return
    raise RequirementError(f"{requirement.name}: its line begins no statement: say the mutant")


def _bare(line: str) -> str:
    """A line without its indentation and a comment behind it."""
    code, _, comment = line.partition("  #")
    return (line if comment and not code.strip() else code).strip()


def _has_test(test: str) -> bool:
    name, _, function = test.partition("::")
    path = ROOT / name
    if not path.is_file():
        return False
    return not function or f"def {function.partition('[')[0]}(" in path.read_text(encoding="utf-8")
