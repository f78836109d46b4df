"""Files in a finished guest image: listed, and replaced without a compiler.

The kernel finds its initrd, a cpio archive, through two words behind the text ``LULOCPIO``. Another
archive becomes one more loadable segment behind everything else, and the two words are changed;
any multiboot loader boots the result. Images, archives and the user's folders are hostile: what is
wrong with them is one `ImageError`. It must not know how an image is compiled or run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Final

from leulo.errors import ImageError
from leulo.image import pack_cpio
from leulo.loader.elf import IDENT_ELF32_LSB, Elf

MAX_PATH_BYTES: Final = 230  # the kernel takes 255, the web server 240 without the folder
MAX_FILES: Final = 10_000
PAGE_BYTES: Final = 4096
USER_BASE: Final = 0x4000_0000  # where the kernel's user space begins and ends
USER_TOP: Final = 0xC000_0000

_MARK: Final = b"LULOCPIO"
_PLACE: Final = Struct("<II")
_PROGRAM_HEADER: Final = Struct("<8I")
_PROGRAMS_AT: Final = Struct("<28xI12xH")  # e_phoff, e_phnum [ELF 1.2 1-3]
_PROGRAM_COUNT_OFFSET: Final = 44
_CPIO_HEADER_BYTES: Final = 110
_CPIO_END: Final = "TRAILER!!!"


def read_files(image: bytes, name: str) -> dict[str, bytes]:
    """Every regular file of the image's archive, by path without the first slash.

    Raises ImageError.
    """
    _, start, end = _find(Elf(image, name), name)
    return _unpack(image[start:end], name)


def with_files(image: bytes, name: str, files: dict[str, bytes]) -> bytes:
    """The same image with an archive of just these files. Raises ImageError."""
    _check_folders(files)
    elf = Elf(image, name)
    mark, _, _ = _find(elf, name)
    place = mark + len(_MARK)
    old_start, _ = _PLACE.unpack_from(image, place)
    table, count = _PROGRAMS_AT.unpack_from(image)
    segments = list(elf.segments)
    last = max(segments, key=lambda segment: segment.offset)
    if last.address == old_start and len(segments) > 1:  # the archive that was put in before
        segments.remove(last)
        image = image[: last.offset]
        count -= 1
    archive = pack_cpio(files)
    address = max(segment.address + segment.memory_bytes for segment in segments)
    address = -(-address // PAGE_BYTES) * PAGE_BYTES
    offset = -(-len(image) // PAGE_BYTES) * PAGE_BYTES
    header = table + count * _PROGRAM_HEADER.size
    first = min(segment.offset for segment in segments)
    if header + _PROGRAM_HEADER.size > first or offset > 1 << 31:
        raise ImageError(f"{name}: has no room for another program header")
    out = bytearray(image.ljust(offset, b"\0"))
    out += archive
    size = len(archive)
    _PROGRAM_HEADER.pack_into(out, header, 1, offset, address, address, size, size, 4, PAGE_BYTES)
    out[_PROGRAM_COUNT_OFFSET : _PROGRAM_COUNT_OFFSET + 2] = (count + 1).to_bytes(2, "little")
    _PLACE.pack_into(out, place, address, address + size)
    Elf(bytes(out), name)
    return bytes(out)


def check_path(path: str, origin: str) -> str:
    """The path as the archive has it, without the first slash. Raises ImageError."""
    parts = path.strip("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ImageError(f"{origin}: {path!r} is not a path in the guest, as /www/page.html is")
    if not path.isprintable():
        raise ImageError(f"{origin}: the name {path!r} has characters that cannot be printed")
    name = "/".join(parts)
    if len(name.encode()) > MAX_PATH_BYTES:
        raise ImageError(f"{origin}: {path[:60]!r}... is longer than {MAX_PATH_BYTES} bytes")
    return name


def check_program(data: bytes, origin: str) -> bool:
    """Is it a program? One that the guest cannot run raises ImageError."""
    if not data.startswith(IDENT_ELF32_LSB[:4]):
        return False
    for segment in Elf(data, origin).segments:
        end = segment.virtual_address + segment.memory_bytes
        if segment.virtual_address < USER_BASE or end > USER_TOP:
            raise ImageError(
                f"{origin}: is linked for {segment.virtual_address:#x}, but the guest's programs "
                f"lie from {USER_BASE:#x} on: link it with guest_kernel/user.ld"
            )
    return True


def read_folder(folder: Path, at: str, most_bytes: int, flag: str) -> dict[str, bytes]:
    """The regular files below ``folder`` as ``at``/path; hidden ones (.git) are left out.

    Links may lead to files inside the folder only. Raises ImageError that begins with ``flag``.
    """
    if not folder.is_dir():
        raise ImageError(f"{flag}: {folder} is not a folder")
    files: dict[str, bytes] = {}
    left = most_bytes
    root = folder.resolve()
    for parent, folders, names in os.walk(folder, onerror=_refuse(flag)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (Path(parent) / name).is_symlink():
                raise ImageError(f"{flag}: {Path(parent) / name} is a link to a folder")
        for name in sorted(names):
            if name.startswith("."):
                continue
            path = Path(parent) / name
            inside = check_path(f"{at}/{path.relative_to(folder).as_posix()}", flag)
            if len(files) == MAX_FILES:
                raise ImageError(f"{flag}: {folder} has more than {MAX_FILES} files")
            files[inside] = data = _read_file(path, root, left, flag)
            left -= len(data)
            if left < 0:
                raise ImageError(
                    f"{flag}: {folder} has more than the {most_bytes} bytes that fit; "
                    "a larger --mem makes room for more"
                )
    return files


def _refuse(flag: str) -> Callable[[OSError], None]:
    def refuse(error: OSError) -> None:
        raise ImageError(f"{flag}: {error.filename} cannot be read: {error.strerror}")

    return refuse


def _read_file(path: Path, root: Path, most: int, flag: str) -> bytes:
    """At most one byte more than ``most``."""
    try:
        if path.is_symlink() and not path.resolve(strict=True).is_relative_to(root):
            raise ImageError(f"{flag}: {path} is a link that leads out of the folder")
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageError(f"{flag}: {path} is not a regular file")
        with path.open("rb") as file:
            return file.read(most + 1)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        why = error.strerror if isinstance(error, OSError) else "its links go round in a circle"
        raise ImageError(f"{flag}: {path} cannot be read: {why}") from None


def _check_folders(files: dict[str, bytes]) -> None:
    """No path is a file and a folder at once: the guest would find one of them only."""
    for path in files:
        for end, letter in enumerate(path):
            if letter == "/" and path[:end] in files:
                raise ImageError(
                    f"/{path[:end]}: would be a file, but there is /{path} in a folder of that "
                    f"name: write /{path[:end]}/ for a place in the folder"
                )


def _find(elf: Elf, name: str) -> tuple[int, int, int]:
    """Offsets in the file: of the mark, of the archive's beginning, and of its end."""
    mark = elf.data.find(_MARK)
    if mark < 0 or mark + len(_MARK) + _PLACE.size > len(elf.data):
        raise ImageError(f"{name}: is no image of Leulo's guest: it does not tell of its files")
    start, end = _PLACE.unpack_from(elf.data, mark + len(_MARK))
    for segment in elf.segments:
        if segment.address <= start <= end <= segment.address + segment.file_bytes:
            offset = segment.offset - segment.address
            return mark, start + offset, end + offset
    raise ImageError(f"{name}: its files lie at {start:#x}, where the image has nothing")


def _unpack(archive: bytes, name: str) -> dict[str, bytes]:
    """The regular files of a "newc" archive [cpio newc]. Raises ImageError."""
    files: dict[str, bytes] = {}
    at = 0
    while True:
        header = archive[at : at + _CPIO_HEADER_BYTES]
        try:
            if len(header) < _CPIO_HEADER_BYTES or header[:6] != b"070701":
                raise ValueError
            fields = [int(header[i : i + 8], 16) for i in range(6, _CPIO_HEADER_BYTES, 8)]
            mode, size, name_bytes = fields[1], fields[6], fields[11]
            names_at = at + _CPIO_HEADER_BYTES
            data_at = -(-(names_at + name_bytes) // 4) * 4
            if not name_bytes or data_at + size > len(archive) or min(fields) < 0:
                raise ValueError
            path = archive[names_at : names_at + name_bytes - 1].decode()
        except ValueError:
            raise ImageError(f"{name}: its archive of files is damaged at byte {at:#x}") from None
        if path == _CPIO_END:
            return files
        if stat.S_ISREG(mode):
            files[path] = archive[data_at : data_at + size]
        at = -(-(data_at + size) // 4) * 4
