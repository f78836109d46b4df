"""Build QEMU 7.2 with its errors mended: the judge in the conformance table's third column.

Debian's source of QEMU 7.2 is fetched by apt-get (24 MB, signed; nothing of it is kept),
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
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import conformance_judges as judges
import environment

TARGETS: Final = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
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
    if judges.is_there("mended"):
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
        _run([str(objects / judges.QEMU), "--version"], objects)
        (objects / judges.QEMU).replace(program)
    for old in program.parent.glob(f"{judges.QEMU}-*"):
        if old != program:
            old.unlink(missing_ok=True)
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
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ", package]
    found = subprocess.run(query, capture_output=True, text=True, check=False)
    # pkg-config may be pkgconf's; what only provides a name has no status.
    return "installed" in found.stdout.split() or shutil.which(package) is not None


def source_lines(targets: str, codename: str) -> list[str]:
    """What apt's list of sources has to say, from its lists of packages (`TARGETS` a line): those
    of the release called ``codename`` alone, without its backports."""
    suites = {codename, f"{codename}-updates", f"{codename}-security"}
    found = [line.split("|") for line in targets.splitlines() if line.count("|") == 4]
    return [
        f"deb-src {uri} {release} {component}"
        for origin, name, uri, release, component in found
        if origin == "Debian" and name in suites
    ]


def _fetch(folder: Path) -> Path:
    """Debian's source, its patches applied, unpacked below ``folder``."""
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    targets = _run(["apt-get", "indextargets", "--format", TARGETS, "Created-By: Packages"], folder)
    lines = source_lines(targets, release)
    if not lines:
        raise BuildError("apt has no list of Debian's packages: sudo apt-get update")
    for name in ("parts", "lists/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "parts" / "debian.list").write_text("\n".join([*lines, ""]))
    own = ["-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={folder}/parts"]
    own += ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}"]
    own += ["-o", "APT::Sandbox::User=", "-o", "APT::Update::Error-Mode=any"]
    for arguments in (["update", "-qq"], ["source", "-qq", "qemu"]):
        _run(["apt-get", *environment.PATIENCE, *own, *arguments], folder)
    found = list(folder.glob("qemu-*/configure"))
    if len(found) != 1:
        raise BuildError("Debian's source of QEMU is not where it used to be")
    version = (found[0].parent / "VERSION").read_text().strip()
    if not version.startswith("7.2."):
        raise BuildError(f"the patch is for QEMU 7.2, and Debian's source is {version}")
    return found[0].parent


def _run(command: list[str], folder: Path, *, shows: bool = False) -> str:
    """Run a step, and what it printed, the last lines of which are in the error if it fails."""
    path = f"{SYSTEM_PATH}:{os.environ.get('PATH', '')}"
    output = None if shows else subprocess.PIPE
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL,
        stdout=output, stderr=subprocess.STDOUT if output else None, text=True, errors="replace",
        check=False,
    )  # fmt: skip
    printed = done.stdout or ""
    if done.returncode:
        said = "\n".join(printed.splitlines()[-_LAST_LINES:])
        raise BuildError(f"{Path(command[0]).name} failed ({done.returncode})\n{said}".rstrip())
    return printed


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
    except (BuildError, OSError) as error:
        _say(f"QEMU with its errors mended is not built, its record is the judge: {error}")
        return environment.EXIT_ENVIRONMENT
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
