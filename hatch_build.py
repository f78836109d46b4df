"""Hatchling's build hook: a wheel carries the guest image, built by the pinned compiler.

An editable install gets none here: in a checkout ``make`` or ``leulo image build`` makes it, so
that a changed guest does not need another install.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ImageHook(BuildHookInterface[Any]):
    """Builds ``leulo/_image`` before the wheel is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        try:
            from leulo import image
        finally:
            sys.path.remove(self.root)
        image.build(Path(self.root) / "leulo" / "_image")
