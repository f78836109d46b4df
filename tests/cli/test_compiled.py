"""A compiled build knows when it is not what its sources say, and says so."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from leulo import cli, compiled
from leulo.cli import doctor


def make_build(tmp_path: Path, root: str) -> compiled.Build:
    """A package with one source below ``tmp_path``/checkout, and its build beside it."""
    checkout = tmp_path / "checkout"
    (checkout / "leulo" / "tcp").mkdir(parents=True)
    (checkout / "leulo" / "tcp" / "ack.py").write_text("ACK = 1\n")
    (checkout / "leulo" / "cli.py").write_text("")
    package = tmp_path / "fast" / "leulo"
    package.mkdir(parents=True)
    manifest = {
        "root": str(checkout) if root == "checkout" else root,
        "sources": compiled.hashes(checkout),
        "compiled": ["leulo/tcp/ack.py"],
    }
    (package / "_fast.json").write_text(json.dumps(manifest))
    build = compiled.build_in(package)
    assert build is not None
    return build


def test_a_fresh_build_has_nothing_to_say(tmp_path: Path) -> None:
    build = make_build(tmp_path, "checkout")
    assert build.changed_sources() == []
    assert build.newer_sources() == []


def test_an_edit_is_seen_by_hash_and_by_time(tmp_path: Path) -> None:
    build = make_build(tmp_path, "checkout")
    source = build.root / "leulo" / "tcp" / "ack.py"
    source.write_text("ACK = 2\n")
    later = (build.package / "_fast.json").stat().st_mtime + 10
    os.utime(source, (later, later))
    assert build.changed_sources() == ["leulo/tcp/ack.py"]
    assert build.newer_sources() == ["leulo/tcp/ack.py"]


def test_a_file_that_is_only_touched_has_not_changed(tmp_path: Path) -> None:
    build = make_build(tmp_path, "checkout")
    later = (build.package / "_fast.json").stat().st_mtime + 10
    os.utime(build.root / "leulo" / "tcp" / "ack.py", (later, later))
    assert build.changed_sources() == []


def test_new_and_removed_sources_count_as_changes(tmp_path: Path) -> None:
    build = make_build(tmp_path, "checkout")
    (build.root / "leulo" / "cli.py").unlink()
    (build.root / "leulo" / "new.py").write_text("")
    assert build.changed_sources() == ["leulo/cli.py", "leulo/new.py"]


def test_a_wheel_is_compared_with_the_sources_in_it(tmp_path: Path) -> None:
    build = make_build(tmp_path, "")
    assert build.root == build.package.parent
    assert build.changed_sources() == ["leulo/cli.py", "leulo/tcp/ack.py"]  # none is there


def test_no_manifest_is_no_build(tmp_path: Path) -> None:
    assert compiled.build_in(tmp_path) is None
    (tmp_path / "_fast.json").write_text("half of a fi")
    assert compiled.build_in(tmp_path) is None


def test_doctor_says_which_build_runs() -> None:
    (finding,) = [found for found in doctor.findings() if found.what == "build"]
    word = "interpreted" if compiled.running() is None else "compiled"
    assert finding.text.startswith(word)


def test_doctor_names_a_source_that_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = make_build(tmp_path, "checkout")
    (build.root / "leulo" / "tcp" / "ack.py").write_text("ACK = 2\n")
    monkeypatch.setattr(compiled, "running", lambda: build)
    (finding,) = [found for found in doctor.findings() if found.what == "build"]
    assert "leulo/tcp/ack.py" in finding.text
    assert finding.advice == "make fast"


def test_an_old_build_says_so_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = make_build(tmp_path, "checkout")
    monkeypatch.setattr(compiled, "running", lambda: build)
    monkeypatch.setattr("leulo.__file__", str(build.package / "__init__.py"))
    cli._warn_of_old_build()
    assert capsys.readouterr().err == ""
    later = (build.package / "_fast.json").stat().st_mtime + 10
    os.utime(build.root / "leulo" / "tcp" / "ack.py", (later, later))
    cli._warn_of_old_build()
    assert "older than leulo/tcp/ack.py: run make fast" in capsys.readouterr().err
