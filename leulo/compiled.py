"""Which build of Leulo runs, interpreted or compiled, and whether it is what its sources say.

A compiled build carries a manifest with the hash of every source it was made from; an interpreted
one has none. It must stay cheap: `newer_sources` runs at every start of a compiled build and looks
at the times of files only, `changed_sources` reads them all and is for ``leulo doctor``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent
MANIFEST: Final = "_fast.json"  # in the package's directory
FAST: Final = Path("build") / "fast" / "leulo"  # where `make fast` puts its package


@dataclass(frozen=True, slots=True)
class Build:
    """A compiled package in ``package``, made from the sources below ``root``."""

    package: Path
    root: Path
    sources: dict[str, str]  # path relative to the root: SHA-256
    compiled: tuple[str, ...]  # those that are machine code

    def newer_sources(self) -> list[str]:
        """Compiled files whose source was written after the build; a hint, not a proof."""
        built = (self.package / MANIFEST).stat().st_mtime_ns
        return [name for name in self.compiled if _written_ns(self.root / name) > built]

    def changed_sources(self) -> list[str]:
        """Files that differ from what the build was made from, new and removed ones too."""
        now = hashes(self.root)
        names = sorted(now.keys() | self.sources.keys())
        return [name for name in names if now.get(name) != self.sources.get(name)]


def running() -> Build | None:
    """The compiled build that this program runs from, None if it is interpreted."""
    return build_in(PACKAGE)


def build_in(package: Path) -> Build | None:
    """The compiled build in this directory, if there is one."""
    try:
        manifest = json.loads((package / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    root = Path(manifest["root"])
    if (
        not manifest["root"] or not (root / "leulo").is_dir()
    ):  # of a wheel: the sources are those beside the machine code
        root = package.parent
    return Build(package, root, manifest["sources"], tuple(manifest["compiled"]))


def hashes(root: Path) -> dict[str, str]:
    """SHA-256 of every Python file of the package below ``root``."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((root / "leulo").rglob("*.py"))
    }


def warning() -> str | None:
    """One sentence if a compiled build runs that is older than its sources."""
    build = running()
    if build is None:
        return None
    newer = build.newer_sources()
    if not newer:
        return None
    more = f" and {len(newer) - 1} more" if len(newer) > 1 else ""
    return f"this compiled build is older than {newer[0]}{more}: run make fast again"


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
