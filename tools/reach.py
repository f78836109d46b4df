"""Which functions and classes of a package nothing in it names, so that only tests can reach them.

By names alone, whoever an attribute belongs to: what is called unnamed here surely is, and not the
other way round. What only an unnamed one names is unnamed, too. Names in text count, because
`getattr` and tables use them; those that begin with two underscores are Python's to call, and
decorators of others may register what they decorate.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A definition that nothing names, by its lines."""

    path: Path
    name: str
    first: int
    last: int


def unnamed(package: Path) -> list[Unnamed]:
    """The functions, methods and classes below ``package`` that nothing living in it names."""
    definitions: list[tuple[Path, _Definition, Counter[str]]] = []
    named: Counter[str] = Counter()
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named += _names(tree)
        definitions += [(path, node, _names(node)) for node in _definitions(tree)]
    found: list[Unnamed] = []
    while True:
        dead = [entry for entry in definitions if named[entry[1].name] <= entry[2][entry[1].name]]
        if not dead:
            return found
        for path, node, names in dead:
            if not any(_is_inside(node, path, other) for other in found):
                named -= names
            found.append(Unnamed(path, node.name, node.lineno, node.end_lineno or node.lineno))
        definitions = [entry for entry in definitions if entry not in dead]


def _definitions(tree: ast.AST) -> Iterator[_Definition]:
    for node in ast.walk(tree):
        if isinstance(node, _Definition) and not node.name.startswith("__") and _is_plain(node):
            yield node


def _is_plain(node: _Definition) -> bool:
    """Does no decorator register it?"""
    plain = {"property", "classmethod", "staticmethod", "dataclass", "setter", "overload"}
    return all(_last(decorator) in plain for decorator in node.decorator_list)


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _names(tree: ast.AST) -> Counter[str]:
    """How often each name stands in what is below ``tree``, but for imports."""
    names: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names[node.id] += 1
        elif isinstance(node, ast.Attribute):
            names[node.attr] += 1
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names[node.value] += node.value.isidentifier()
    return names


def _is_inside(node: _Definition, path: Path, other: Unnamed) -> bool:
    return path == other.path and other.first <= node.lineno <= other.last
