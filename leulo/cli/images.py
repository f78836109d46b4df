"""The guest image that was asked for, as bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from leulo.errors import ImageError

_IMAGE_BYTES_MOST: Final = 64 << 20


def read_image(path: Path | None) -> tuple[bytes, str]:
    """The image's bytes, and its name for messages; None is the packaged one. Raises ImageError."""
    if path is None:
        from leulo import image

        path = image.packaged()
    try:
        with path.open("rb") as file:
            data = file.read(_IMAGE_BYTES_MOST + 1)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > _IMAGE_BYTES_MOST:
        raise ImageError(f"{path}: is larger than {_IMAGE_BYTES_MOST >> 20} MiB: it is no guest")
    return data, str(path)
