"""One image for all tests of the guest kernel: built once from the checkout's sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from leulo import image


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that a build makes. Skips without the pinned compiler."""
    pytest.importorskip("ziglang", reason="needs ziglang, the pinned compiler")
    folder = tmp_path_factory.mktemp("image")
    image.build(folder)
    return folder
