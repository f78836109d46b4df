"""Build QEMU 7.2 with its errors mended: the judge in the conformance table's third column.

Debian's source of QEMU 7.2 is fetched by apt-get (24 MB, signed; lists and sources stay in build/),
tests/cpu/conformance/qemu-7.2.patch is applied, and the i386 machine alone is compiled: about two
minutes on two cores. The program comes to build/qemu, its firmware from the QEMU that is installed.
What is missing is installed where this is root, else named. A program of another patch is built
anew. Exit code 5 with one sentence where it cannot be built: then its record is the judge.

Examples:
  python tools/mended_qemu.py        build it, or do nothing if it is there
  python tools/conformance.py        asks it
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import conformance_judges as judges
import environment

SOURCES: Final = Path("/etc/apt")
RELEASE: Final = Path("/etc/os-release")
# The system's Python, for which Debian's meson is made, not this environment's.
SYSTEM_PATH: Final = "/usr/bin:/bin"
PACKAGES: Final = (
    *("gcc", "libc6-dev", "dpkg-dev", "patch", "pkg-config", "ninja-build", "meson"),
    *("libglib2.0-dev", "libpixman-1-dev", "libfdt-dev"),
)
_CONFIGURE: Final = (
    *("--without-default-features", "--enable-tcg", "--enable-system", "--enable-fdt=system"),
    *("--target-list=i386-softmmu", "--disable-docs", "--disable-tools", "--meson=meson"),
    *("--disable-debug-info", "--extra-cflags=-O1"),
)
_LAST_LINES: Final = 15


class BuildError(Exception):
    """It cannot be built here; the text says why."""


def build() -> Path:
    """The program, built if it is not there yet. Raises `BuildError`."""
    program = judges.MENDED
    if program.exists():
        return program
    if shutil.which("apt-get") is None:
        raise BuildError("its source comes by apt-get, and this is no Debian")
    if not judges.is_there("qemu") or judges.version("qemu") != "7.2":
        here = f"QEMU {judges.version('qemu')}" if judges.is_there("qemu") else "none"
        raise BuildError(f"the patch is for QEMU 7.2 (Debian 12: qemu-system-x86), here is {here}")
    _provide_packages()
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="source-", dir=program.parent) as name:
        folder = Path(name)
        _say("fetching QEMU's source")
        source = _fetch(folder)
        _run(["patch", "-p1", "--fuzz=0", "-i", str(judges.PATCH)], source)
        objects = folder / "objects"
        objects.mkdir()
        _say("compiling QEMU, about two minutes on two cores")
        _run([str(source / "configure"), *_CONFIGURE], objects)
        _run(["ninja", judges.QEMU], objects, shows=sys.stderr.isatty())
        for old in program.parent.glob(f"{judges.QEMU}-*"):
            old.unlink()
        (objects / judges.QEMU).replace(program)
    return program


def _provide_packages() -> None:
    missing = [package for package in PACKAGES if not _is_installed(package)]
    if not missing:
        return
    command = ["install", "-y", "-qq", *missing]
    if os.geteuid() == 0:
        _say(f"installing {' '.join(missing)}")
        if environment.apt_get(command) == 0:
            return
        if environment.apt_get(["update", "-qq"]) == 0 and environment.apt_get(command) == 0:
            return
    raise BuildError(f"it needs: sudo apt-get install {' '.join(missing)}")


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    found = subprocess.run(query, capture_output=True, text=True, check=False)
    # pkg-config may be pkgconf's; what only provides a name has no status.
    return found.stdout == "installed" or shutil.which(package) is not None


def source_lists(folder: Path) -> dict[str, str]:
    """File name to text: the system's lists of packages of its own release as lists of sources."""
    release = re.search(r"VERSION_CODENAME=(\w+)", RELEASE.read_text())
    suite = release[1] if release else ""
    lists: dict[str, list[str]] = {"debian.list": [], "debian.sources": []}
    for path in (folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))):
        for line in path.read_text().splitlines() if path.exists() else ():
            words = line.split()
            if words[:1] == ["deb"] and any(_is_of(word, suite) for word in words):
                lists["debian.list"].append(re.sub("^deb ", "deb-src ", line.strip()))
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            suites = re.search(r"^Suites:(.*)", stanza, re.MULTILINE | re.IGNORECASE)
            if suites and any(_is_of(word, suite) for word in suites[1].split()):
                text = re.sub(r"(?mi)^Types:.*", "Types: deb-src", stanza.strip())
                lists["debian.sources"].append(text + "\n")
    return {name: "\n".join(parts) + "\n" for name, parts in lists.items() if parts}


def _is_of(word: str, suite: str) -> bool:
    return bool(suite) and word.partition("-")[0] == suite


def _fetch(folder: Path) -> Path:
    """Debian's source, its patches applied, unpacked below ``folder``."""
    lists = source_lists(SOURCES)
    if not lists:
        raise BuildError("apt has no list of this release's packages")
    for name in ("parts", "lists/partial"):
        (folder / name).mkdir(parents=True)
    for name, text in lists.items():
        (folder / "parts" / name).write_text(text)
    own = ["-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={folder}/parts"]
    own += ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}"]
    own += ["-o", "APT::Sandbox::User="]
    for arguments in (["update", "-qq"], ["source", "-qq", "qemu"]):
        _run(["apt-get", *environment.PATIENCE, *own, *arguments], folder)
    found = list(folder.glob("qemu-*/configure"))
    if len(found) != 1:
        raise BuildError("Debian's source of QEMU is not where it used to be")
    version = (found[0].parent / "VERSION").read_text().strip()
    if not version.startswith("7.2."):
        raise BuildError(f"the patch is for QEMU 7.2, and Debian's source is {version}")
    return found[0].parent


def _run(command: list[str], folder: Path, *, shows: bool = False) -> None:
    """Run a step; what it printed last is in the error if it fails."""
    path = f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}"
    output = None if shows else subprocess.PIPE
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL,
        stdout=output, stderr=subprocess.STDOUT if output else None, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = "\n".join((done.stdout or "").splitlines()[-_LAST_LINES:])
        raise BuildError(f"{Path(command[0]).name} failed ({done.returncode})\n{said}".rstrip())


def _say(what: str) -> None:
    print(f"leulo: {what}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build it and say where it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    try:
        _say(f"QEMU with its errors mended: {os.path.relpath(build())}")
    except BuildError as error:
        _say(f"QEMU with its errors mended is not built, its record is the judge: {error}")
        return environment.EXIT_ENVIRONMENT
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
