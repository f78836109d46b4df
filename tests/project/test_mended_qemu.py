"""tools/mended_qemu.py: builds the conformance kernel's judge, or says in a sentence why not."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import mended_qemu
import pytest


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The tool on a Debian with QEMU 7.2 and every package, and nothing built yet."""
    monkeypatch.setattr(mended_qemu.judges, "MENDED", tmp_path / "qemu" / "qemu-system-i386-new")
    monkeypatch.setattr(mended_qemu.judges, "is_there", lambda judge: judge == "qemu")
    monkeypatch.setattr(mended_qemu.judges, "version", lambda judge: "7.2")
    monkeypatch.setattr(
        mended_qemu.shutil, "which", lambda program, path=None: f"/usr/bin/{program}"
    )
    monkeypatch.setattr(mended_qemu, "_is_installed", lambda package: True)
    monkeypatch.setattr(mended_qemu, "SOURCES", tmp_path / "apt")
    lists = tmp_path / "apt" / "sources.list.d"
    lists.mkdir(parents=True)
    release = tmp_path / "os-release"
    release.write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    monkeypatch.setattr(mended_qemu, "RELEASE", release)
    (lists / "debian.sources").write_text("Types: deb\nURIs: http://d\nSuites: bookworm\n")
    return mended_qemu


def test_steps_end_in_a_program_and_an_older_one_goes(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = []

    def run(command: list[str], folder: Path, *, shows: bool = False) -> None:
        steps.append(Path(command[0]).name)
        if command[-1] == "qemu" and command[0] == "apt-get":
            source = folder / "qemu-7.2+dfsg"
            source.mkdir()
            (source / "configure").touch()
            (source / "VERSION").write_text("7.2.22\n")
        if command[0] == "ninja":
            (folder / "qemu-system-i386").write_text("built")

    monkeypatch.setattr(tool, "_run", run)
    old = tool.judges.MENDED.with_name("qemu-system-i386-old")
    old.parent.mkdir()
    old.touch()
    assert tool.main([]) == 0
    assert steps == ["apt-get", "apt-get", "patch", "configure", "ninja"]
    assert tool.judges.MENDED.read_text() == "built"
    assert [path.name for path in old.parent.iterdir()] == [tool.judges.MENDED.name]
    assert tool.main([]) == 0
    assert len(steps) == 5, "it is there"
    assert "leulo: QEMU with its errors mended: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("apt", "its source comes by apt-get, and this is no Debian"),
        ("version", "the patch is for QEMU 7.2 (Debian 12: qemu-system-x86), here is QEMU 10.0"),
        ("qemu", "the patch is for QEMU 7.2 (Debian 12: qemu-system-x86), here is none"),
        ("packages", "it needs: sudo apt-get install ninja-build meson"),
        ("lists", "apt has no list of this release's packages"),
        ("step", "apt-get failed (3)\nno such archive"),
    ],
)
def test_why_it_cannot_be_built_is_a_sentence(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, broken: str, sentence: str,
) -> None:  # fmt: skip
    if broken == "apt":
        monkeypatch.setattr(tool.shutil, "which", lambda program, path=None: None)
    elif broken == "version":
        monkeypatch.setattr(tool.judges, "version", lambda judge: "10.0")
    elif broken == "qemu":
        monkeypatch.setattr(tool.judges, "is_there", lambda judge: False)
    elif broken == "packages":
        gone = ("ninja-build", "meson")
        monkeypatch.setattr(tool, "_is_installed", lambda package: package not in gone)
        monkeypatch.setattr(tool.os, "geteuid", lambda: 1000)
    elif broken == "lists":
        (tmp_path / "apt" / "sources.list.d" / "debian.sources").unlink()
    else:
        program = tmp_path / "bin" / "apt-get"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho no such archive\nexit 3\n")
        program.chmod(0o755)
        monkeypatch.setattr(tool, "SYSTEM_PATH", str(program.parent))
    assert tool.main([]) == 5
    said = capsys.readouterr().err
    assert said.endswith(f"not built, its record is the judge: {sentence}\n")
    assert not tool.judges.MENDED.exists()
    folder = tool.judges.MENDED.parent
    assert not folder.exists() or not list(folder.iterdir()), "what was fetched is removed"


def test_source_lists_are_those_of_this_release(tool: ModuleType, tmp_path: Path) -> None:
    apt = tmp_path / "apt"
    (apt / "sources.list").write_text(
        "# deb http://d bookworm main\n"
        "deb [signed-by=/k] http://d bookworm-updates main\n"
        "deb https://other cloud-sdk-bookworm main\n"
        "deb http://d trixie main\n"
    )
    (apt / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\n# a word\nURIs: http://d\nSuites: bookworm bookworm-updates\n"
        "Signed-By: /k\n\nTypes: deb deb-src\nURIs: http://s\nSuites: bookworm-security\n"
    )
    (apt / "sources.list.d" / "node.sources").write_text(
        "Types: deb\nURIs: http://n\nSuites: nodistro\n"
    )
    assert tool.source_lists(apt) == {
        "debian.list": "deb-src [signed-by=/k] http://d bookworm-updates main\n",
        "debian.sources": (
            "Types: deb-src\n# a word\nURIs: http://d\nSuites: bookworm bookworm-updates\n"
            "Signed-By: /k\n\nTypes: deb-src\nURIs: http://s\nSuites: bookworm-security\n\n"
        ),
    }
