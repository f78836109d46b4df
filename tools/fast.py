"""Build the compiled engine: ``build/fast``, a copy of leulo with mypyc's modules in it.

``python tools/fast.py`` compiles what a segment or a hypercall passes through. The copy lives apart
from the sources, because a compiled module beside an edited one would win in silence; the manifest
in it holds the sources' hashes (`leulo.compiled`), by which this program, ``leulo doctor`` and
the compiled program itself know what has changed. Run it with ``build/fast/bin/leulo``.
`hatch_build.py` makes a wheel of the same. A C compiler and Python's headers are needed; it takes
some minutes on two cores.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the sources, whatever build is on the path

from leulo import compiled  # noqa: E402

OUT: Final = ROOT / "build" / "fast"
COMPILED: Final = ("net", "tcp", "udp", "hypercalls")
# The run loop and what an exit or a frame passes through.
COMPILED_TOO: Final = (
    "bus", "clock", "host", "irq", "machine", "memory", "cpu/core", "devices/gate",
    "devices/byte_ports", "devices/pic", "devices/pic_chip",
    "links/offload", "links/poller", "links/switch", "links/tap",
)  # fmt: skip
# Dataclasses with slots, which mypyc refuses, in modules that no segment passes through; the ABI's
# numbers are read once.
INTERPRETED: Final = frozenset(
    f"leulo/{name}.py"
    for name in (
        "tcp/config", "tcp/settings", "tcp/events", "hypercalls/limits", "hypercalls/events",
        "hypercalls/abi", "hypercalls/operations",
    )
)  # fmt: skip

_SETUP: Final = """
from mypyc.build import mypycify
from setuptools import setup

setup(
    name="leulo-fast",
    packages=[],
    ext_modules=mypycify(
        ["--strict", "--ignore-missing-imports", *{files!r}],
        opt_level="2", debug_level="0", multi_file=True,
    ),
)
"""
_LAUNCHER: Final = """#!/bin/sh
# The compiled build of `leulo`, made by tools/fast.py.
PYTHONPATH={out}${{PYTHONPATH:+:$PYTHONPATH}} PYTHONSAFEPATH=1 exec {python} -m leulo "$@"
"""


def modules() -> list[str]:
    """The files to compile, relative to the root."""
    found = [path for name in COMPILED for path in (ROOT / "leulo" / name).rglob("*.py")]
    found += (ROOT / "leulo").glob("stack*.py")
    found += [ROOT / "leulo" / f"{name}.py" for name in COMPILED_TOO]
    names = sorted(path.relative_to(ROOT).as_posix() for path in found)
    return [name for name in names if name not in INTERPRETED]


class CompileError(Exception):
    """mypyc or the C compiler refused; the text is what they said last."""


def compile_into(work: Path, root: str) -> None:
    """Make ``work`` a directory with the package in it, compiled. ``root`` is where the manifest
    says that the sources are. Raises CompileError."""
    sources = compiled.hashes(ROOT)  # before: somebody may write while the compilers run
    shutil.copytree(
        ROOT / "leulo", work / "leulo", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    files = modules()
    (work / "setup.py").write_text(_SETUP.format(files=files))
    jobs = str(os.cpu_count() or 1)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "-j", jobs],
        cwd=work,
        env={**os.environ, "MYPYPATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if "warning" not in line]
        raise CompileError("\n".join(lines[-40:]))
    shutil.rmtree(work / "build", ignore_errors=True)
    (work / "setup.py").unlink()
    manifest = {"root": root, "sources": sources, "compiled": files}
    (work / "leulo" / compiled.MANIFEST).write_text(json.dumps(manifest, indent=1))


def main() -> int:
    if sys.argv[1:]:
        print(__doc__)
        return 2
    before = compiled.build_in(OUT / "leulo")
    if (
        before is not None
        and before.root == ROOT
        and not before.changed_sources()
        and list(before.compiled) == modules()
    ):
        print(f"{OUT.relative_to(ROOT)}: nothing has changed")
        return 0
    if shutil.which("cc") is None:
        print("tools/fast.py: needs a C compiler: apt-get install gcc python3-dev", file=sys.stderr)
        return 5
    work = ROOT / "build" / "fast-work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    print(f"compiling {len(modules())} modules; this takes some minutes", flush=True)
    try:
        compile_into(work, str(ROOT))
    except CompileError as error:
        print(error, file=sys.stderr)
        return 1
    launcher = work / "bin" / "leulo"
    launcher.parent.mkdir()
    launcher.write_text(_LAUNCHER.format(out=OUT, python=sys.executable))
    launcher.chmod(0o755)
    shutil.rmtree(OUT, ignore_errors=True)
    work.rename(OUT)
    print(f"{OUT.relative_to(ROOT)}: run {launcher.relative_to(work)} there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
