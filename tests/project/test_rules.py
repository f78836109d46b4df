"""The project's own rules hold, and the checks that hold them can fail."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from leulo.tcp.state import TRANSITIONS

ROOT = Path(__file__).resolve().parents[2]


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


rules = load_tool("check_project")
fast = load_tool("fast")


@pytest.mark.sources
@pytest.mark.parametrize("check", rules.CHECKS, ids=lambda check: check.__name__)
def test_the_project_keeps(check: Callable[[], Iterator[str]]) -> None:
    assert list(check()) == []


@pytest.mark.parametrize(
    "text",
    ["RFC 9293 3.10.7.4", "RFC 6298", "8259A ICW4", "SDM 3 6.12", "virtio 1.2 5.1.6", "ELF 1.2 2-1",
     "multiboot 1 3.1.1", "Linux tun", "IEEE 802.3 1.4", "MC146818 Register A", "POSIX 11.1.4"],
)  # fmt: skip
def test_citations_are_seen_and_known(text: str) -> None:
    assert rules.looks_like_citation(text)
    assert any(rules._key_pattern(key).match(text) for key in rules.citation_keys())


@pytest.mark.parametrize("text", ["RFC 12a", "SDM 9 1.2", "E1000 3.3.3", "virtio 1.3 5.1"])
def test_citations_of_unknown_documents_are_seen_and_refused(text: str) -> None:
    assert rules.looks_like_citation(text)
    assert not any(rules._key_pattern(key).match(text) for key in rules.citation_keys())


@pytest.mark.parametrize("text", ["0", "i + 1", "str", "bytes, int", "ADDR:", "int, ...", "IMAGE"])
def test_code_in_brackets_is_no_citation(text: str) -> None:
    assert not rules.looks_like_citation(text)


def test_citations_are_found_in_docstrings_and_comments_but_not_in_code(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text('"""Does it. [RFC 1122\n4.2]"""\nx = ["RFC 1 1"]  # why [8254 Mode 3]\n')
    assert [text for _, text in rules.citations(source)] == ["RFC 1122 4.2", "8254 Mode 3"]
    source = tmp_path / "module.c"
    source.write_text("/* So it is. [SDM 3\n * 4.4; RFC 768] */\nint x[8259]; // [8259A OCW2]\n")
    assert [text for _, text in rules.citations(source)] == ["SDM 3 4.4", "RFC 768", "8259A OCW2"]


def test_deviations_are_collected_whole_from_python_and_c(tmp_path: Path) -> None:
    tool = load_tool("generate_conformance")
    source = tmp_path / "a.py"
    source.write_text("x = 1  # Deviation: this, because\n#   of that.\ny = 2\n# Deviation: two.\n")
    assert list(tool.deviations(source)) == [(1, "this, because of that."), (4, "two.")]
    source = tmp_path / "a.c"
    source.write_text("/* Deviation: so,\n * because so. */\nint x;\n")
    assert list(tool.deviations(source)) == [(1, "so, because so.")]


def test_without_python_3_11_the_environment_names_the_command(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("uname", "id"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    (programs / "python3").write_text("#!/bin/sh\nexit 1\n")
    (programs / "python3").chmod(0o755)
    (programs / "id").unlink()
    (programs / "id").write_text("#!/bin/sh\necho 1000\n")
    (programs / "id").chmod(0o755)
    result = subprocess.run(
        ["/bin/sh", "tools/environment.sh", str(tmp_path / "venv")],
        cwd=ROOT, env={"PATH": str(programs)}, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 5
    assert "Python 3.11 or later" in result.stderr
    assert "sudo apt-get install python3 python3-venv" in result.stderr
    assert not (tmp_path / "venv").exists()


def test_every_event_stands_once_in_its_reference() -> None:
    page = (ROOT / "docs" / "reference" / "events.md").read_text(encoding="utf-8")
    names = [line for line in page.splitlines() if line.startswith("## ")]
    assert len(names) == len(set(names)) > 10


def declared(node: ast.ClassDef) -> set[str]:
    """The attributes that a class declares with their types, in its body or in its methods."""
    found = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.AnnAssign) and "ClassVar" not in ast.unparse(inner.annotation):
            target = inner.target
            if isinstance(target, ast.Attribute):
                found.add(target.attr)
            elif inner in node.body and isinstance(target, ast.Name):
                found.add(target.id)
    return found


def test_no_compiled_class_declares_what_its_base_does() -> None:
    """Protects: mypyc makes two attributes of it, and the collector never frees such an object."""
    classes: dict[str, ast.ClassDef] = {}
    for name in fast.modules():
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        classes |= {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in classes.values():
        for base in node.bases:
            if isinstance(base, ast.Name) and base.id in classes:
                assert not declared(node) & declared(classes[base.id]), node.name


def test_every_way_of_the_state_machine_is_drawn_and_listed() -> None:
    """And nothing else: the picture is the engine's own table."""
    pages = ROOT / "docs" / "reference"
    picture = (pages / "tcp-states.svg").read_text(encoding="utf-8")
    page = (pages / "tcp-states.md").read_text(encoding="utf-8")
    ways = [(a.name, e.name, b.name) for a, ways in TRANSITIONS.items() for e, b in ways.items()]
    drawn = re.findall(r"<title>(\w+) (\w+) (\w+)</title>", picture)
    assert sorted(drawn) == sorted(way for way in ways if way[1] != "ABORT")
    assert all(f"| {' | '.join(way)} |" in page for way in ways)
    assert len(re.findall(r"(?m)^\| [A-Z]", page)) == len(ways)
