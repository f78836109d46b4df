"""The guest image that was asked for, as bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from leulo.errors import ImageError
from leulo.units import MIB

_IMAGE_BYTES_MOST: Final = 64 << 20


def read_image(
    path: Path | None, www: Path | None = None, memory_bytes: int = 16 * MIB
) -> tuple[bytes, str]:
    """The image's bytes, and its name for messages; None is the packaged one. Raises ImageError.

    With ``www`` the files of that folder take the place of those in /www; they may fill half of
    the machine's RAM.
    """
    if path is None:
        from leulo.packaged import packaged

        path = packaged()
    try:
        with path.open("rb") as file:
            data = file.read(_IMAGE_BYTES_MOST + 1)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > _IMAGE_BYTES_MOST:
        raise ImageError(f"{path}: is larger than {_IMAGE_BYTES_MOST >> 20} MiB: it is no guest")
    if www is not None:
        from leulo import image_files

        name = str(path)
        own = image_files.read_folder(www, "www", memory_bytes // 2, "--www")
        kept = image_files.read_files(data, name)
        files = {at: text for at, text in kept.items() if not at.startswith("www/")}
        data = image_files.with_files(data, name, files | own)
    return data, str(path)
