"""Hatchling's build hook: a wheel carries the guest image, built by the pinned compiler.

An editable install gets none here: in a checkout ``make`` or ``leulo image build`` makes it, so
that a changed guest does not need another install. With ``LEULO_MYPYC=1`` in the environment the
wheel is compiled as ``make fast`` does it, and is then for one Python on one kind of machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_COMPILED = os.environ.get("LEULO_MYPYC", "0") not in ("", "0")


class ImageHook(BuildHookInterface[Any]):
    """Builds ``leulo/_image``, and machine code if asked, before the wheel is packed."""

    _work: tempfile.TemporaryDirectory[str] | None = None

    def dependencies(self) -> list[str]:
        return ["mypy[mypyc]>=1.13", "setuptools", "click"] if _COMPILED else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        try:
            from leulo import image

            image.build(Path(self.root) / "leulo" / "_image")
            if _COMPILED:
                self._compile(build_data)
        finally:
            sys.path.remove(self.root)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._work is not None:
            self._work.cleanup()

    def _compile(self, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, str(Path(self.root) / "tools"))
        try:
            import fast
        finally:
            del sys.path[0]
        self._work = tempfile.TemporaryDirectory(prefix="leulo-wheel-")
        work = Path(self._work.name)
        fast.compile_into(work, "")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        made = [*work.glob("*.so"), *(work / "leulo").rglob("*.so"), *work.glob("leulo/_fast.json")]
        for path in made:
            build_data["force_include"][str(path)] = path.relative_to(work).as_posix()
