"""Where the guest image of this installation is. Building one is in image.py, slow to load."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from leulo.errors import ImageError

PACKAGE: Final = Path(__file__).parent
PACKAGED: Final = PACKAGE / "_image"
IMAGE_NAME: Final = "guest.img"


def packaged() -> Path:
    """The image that came with the package or was built in the checkout. Raises ImageError."""
    path = PACKAGED / IMAGE_NAME
    if not path.is_file():
        raise ImageError(f"{path} is not there: `leulo image build` makes it from a checkout")
    return path
