"""tools/mended_qemu.py: builds the conformance kernel's judge, or says in a sentence why not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import mended_qemu
import pytest

TARGETS = """\
W: a word of apt's
Debian|bookworm|http://d/debian/|stable|main
Debian|bookworm-updates|http://d/debian/|bookworm-updates|main
Debian|bookworm-security|http://d/security/|bookworm-security|main
Debian|bookworm-backports|http://d/debian/|bookworm-backports|main
Debian|trixie|http://d/debian/|trixie|main
Other|bookworm|http://o/|bookworm|main
"""
SOURCES = [
    "deb-src http://d/debian/ stable main",
    "deb-src http://d/debian/ bookworm-updates main",
    "deb-src http://d/security/ bookworm-security main",
]


class Debian:
    """A Debian with QEMU 7.2 and every package; what its programs do."""

    def __init__(self) -> None:
        self.targets = TARGETS
        self.source_version = "7.2.22"
        self.says = "QEMU emulator version 7.2.22"
        self.steps: list[str] = []
        self.lines: list[str] = []

    def run(self, command: list[str], folder: Path, *, shows: bool = False) -> str:
        program, last = Path(command[0]).name, command[-1]
        if last.startswith("Created-By"):
            return self.targets
        self.steps.append(program)
        if "update" in command:
            self.lines = (folder / "parts" / "debian.list").read_text().splitlines()
        elif last == "qemu" and program == "apt-get":
            (source := folder / "qemu-7.2+dfsg").mkdir()
            (source / "configure").touch()
            (source / "VERSION").write_text(self.source_version + "\n")
        elif program == "ninja":
            built = folder / "qemu-system-i386"
            built.write_text(f"#!/bin/sh\necho {self.says}\n")
            built.chmod(0o755)
        return ""


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """What a judge said of its version is asked anew."""
    mended_qemu.judges._help.cache_clear()
    mended_qemu.judges.version.cache_clear()
    yield
    mended_qemu.judges._help.cache_clear()
    mended_qemu.judges.version.cache_clear()


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Debian:
    """Nothing is built yet."""
    system = Debian()
    program = tmp_path / "bin" / "qemu-system-i386"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho QEMU emulator version 7.2.22\n")
    program.chmod(0o755)
    (program.with_name("apt-get")).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(mended_qemu.judges, "MENDED", tmp_path / "qemu" / "qemu-system-i386-new")
    monkeypatch.setattr(mended_qemu, "_is_installed", lambda package: True)
    monkeypatch.setattr(mended_qemu, "_run", system.run)
    monkeypatch.setattr(
        mended_qemu.platform, "freedesktop_os_release", lambda: {"VERSION_CODENAME": "bookworm"}
    )
    return system


def test_steps_end_in_a_program_and_an_older_one_goes(
    debian: Debian, capsys: pytest.CaptureFixture[str]
) -> None:
    program = mended_qemu.judges.MENDED
    program.parent.mkdir()
    program.with_name("qemu-system-i386-old").touch()
    assert mended_qemu.main([]) == 0
    whole = ["apt-get", "apt-get", "patch", "configure", "ninja", "qemu-system-i386"]
    assert debian.steps == whole, "the last one: does it start?"
    assert debian.lines == SOURCES
    assert [path.name for path in program.parent.iterdir()] == [program.name]
    mended_qemu.judges._help.cache_clear()
    assert mended_qemu.main([]) == 0
    assert debian.steps == whole, "it is there"
    assert "leulo: QEMU with its errors mended: " in capsys.readouterr().err
    for text, mode in (("", 0o755), ("#!/bin/sh\nexit 127\n", 0o755), ("", 0o644)):
        program.write_text(text)
        program.chmod(mode)
        mended_qemu.judges._help.cache_clear()
        assert not mended_qemu.judges.is_there("mended")
        assert mended_qemu.main([]) == 0
        mended_qemu.judges._help.cache_clear()
        assert mended_qemu.judges.is_there("mended"), "what did not start is built anew"


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("apt", "its source comes by apt-get, and this is no Debian"),
        ("version", "the patch is for QEMU 7.2 (Debian 12: qemu-system-x86), here is QEMU 10.0"),
        ("qemu", "the patch is for QEMU 7.2 (Debian 12: qemu-system-x86), here is none"),
        ("packages", "it needs: sudo apt-get install ninja-build meson"),
        ("root", "it needs: sudo apt-get install ninja-build"),
        ("lists", "apt has no list of Debian's packages: sudo apt-get update"),
        ("release", "apt has no list of Debian's packages: sudo apt-get update"),
        ("source", "the patch is for QEMU 7.2, and Debian's source is 10.0.2"),
        ("folder", "[Errno 17] File exists: "),
    ],
)
def test_why_it_cannot_be_built_is_a_sentence(
    debian: Debian, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, broken: str, sentence: str,
) -> None:  # fmt: skip
    program = tmp_path / "bin" / "qemu-system-i386"
    if broken == "apt":
        monkeypatch.setattr(mended_qemu.shutil, "which", lambda program: None)
    elif broken == "version":
        program.write_text("#!/bin/sh\necho QEMU emulator version 10.0.2\n")
    elif broken == "qemu":
        program.unlink()
        monkeypatch.setenv("PATH", str(program.parent))
    elif broken in ("packages", "root"):
        gone = ("ninja-build", "meson")[: 1 + (broken == "packages")]
        monkeypatch.setattr(mended_qemu, "_is_installed", lambda package: package not in gone)
        monkeypatch.setattr(os, "geteuid", lambda: 1000 * (broken == "packages"))
        monkeypatch.setattr(mended_qemu.environment, "apt_get", lambda arguments: 100)
    elif broken == "lists":
        debian.targets = ""
    elif broken == "release":
        monkeypatch.setattr(mended_qemu.platform, "freedesktop_os_release", dict)
    elif broken == "source":
        debian.source_version = "10.0.2"
    else:
        (tmp_path / "qemu").touch()
    assert mended_qemu.main([]) == 5
    said = capsys.readouterr().err
    assert f"not built, its record is the judge: {sentence}" in said
    folder = mended_qemu.judges.MENDED.parent
    assert not folder.is_dir() or not list(folder.iterdir()), "what was fetched is removed"


def test_missing_packages_are_installed_where_it_may(
    debian: Debian, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def apt_get(arguments: list[str]) -> int:
        asked.append(arguments)
        return 0 if arguments[0] == "update" or len(asked) > 2 else 100

    monkeypatch.setattr(mended_qemu, "_is_installed", lambda package: package != "meson")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(mended_qemu.environment, "apt_get", apt_get)
    assert mended_qemu.main([]) == 0
    install = ["install", "-y", "-qq", "meson"]
    assert asked == [install, ["update", "-qq"], install]


def test_step_that_fails_says_its_last_words(tmp_path: Path) -> None:
    script = (
        "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; done; printf 'caf\\351'; exit 3"
    )
    with pytest.raises(mended_qemu.BuildError) as error:
        mended_qemu._run(["sh", "-c", script], tmp_path)
    said = str(error.value).splitlines()
    assert said[0] == "sh failed (3)"
    assert said[1:] == [
        *(f"line {number}" for number in range(27, 41)),
        "caf\N{REPLACEMENT CHARACTER}",
    ]


def test_package_of_two_architectures_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    query = tmp_path / "dpkg-query"
    query.write_text(
        '#!/bin/sh\n[ "$4" = gone-dev ] && exit 1\necho "$3$3" | sed "s/[^ ]*}/installed/g"\n'
    )
    query.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert mended_qemu._is_installed("libc6-dev")
    assert not mended_qemu._is_installed("gone-dev")


def test_another_patch_is_another_program() -> None:
    judges = mended_qemu.judges
    digest = judges.hashlib.sha256(judges.PATCH.read_bytes()).hexdigest()
    assert re.fullmatch("qemu-system-i386-(.{12})", judges.MENDED.name)[1] == digest[:12]
