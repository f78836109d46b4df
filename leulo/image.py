"""The guest image: compiles ``guest_kernel/`` and packs it into one multiboot file.

``guest.img`` is the kernel with the initrd linked in; ``guest.elf`` is the same with DWARF. The
same sources give the same bytes in every directory and on every computer, because the pinned
``ziglang`` wheel compiles the reference image; its SHA-256 is kept in
``guest_kernel/reference.sha256``. It must not know how an image is run. The build hook of the
wheel imports this module before anything is installed: standard library, `compiled`, `errors`,
`line_table` and `listing` only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leulo import compiled
from leulo.errors import EnvironmentProblem, ImageError
from leulo.line_table import read_lines
from leulo.listing import write_listing
from leulo.packaged import IMAGE_NAME, PACKAGE, PACKAGED

_BUILD: Final = compiled.running()
SOURCES: Final = (PACKAGE.parent if _BUILD is None else _BUILD.root) / "guest_kernel"
ELF_NAME: Final = "guest.elf"
REFERENCE_NAME: Final = "reference.sha256"
KERNEL_FOLDERS: Final = ("boot", "kern", "drv", "net")
# The kernel shares these with the programs.
SHARED: Final = ("libc/string.c", "libc/div64.c", "libc/printf.c")

_FLAGS: Final = (
    *("-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-pic"),
    *("-mno-sse", "-mno-mmx", "-msoft-float", "-fno-stack-protector", "-fno-strict-aliasing"),
    *("-fno-asynchronous-unwind-tables", "-fno-common"),
    *("-ffunction-sections", "-fdata-sections"),
    # The engine finds where a return leads in a cache with 64 places for a page of code: functions
    # far apart make a third of the misses (12 instead of 37 a connection, 8 instead of 25 a
    # request) and the image a quarter larger.
    "-falign-functions=256",
)
_KERNEL_FLAGS: Final = ("-fno-omit-frame-pointer", "-Wstrict-prototypes")  # backtraces need EBP
_PROGRAM_FLAGS: Final = ("-fomit-frame-pointer",)
_SANITIZE: Final = ("-fsanitize=undefined", "-fsanitize-trap=undefined")
# clang: each trap keeps the source line of what it guards
_TRAPS_APART: Final = ("-fno-sanitize-merge", "-fno-sanitize-debug-trap-reasons")
_LINK: Final = ("-static", "--build-id=none", "--gc-sections", "-z", "noexecstack")
_PARALLEL: Final = 2


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The commands of one compiler: to compile (before the flags) and to link."""

    name: str
    compile: tuple[str, ...]
    link: tuple[str, ...]
    maps: tuple[str, ...] = ()  # so that its own place does not show in DWARF


def is_reference(path: Path) -> bool:
    """Is it the image whose hash the repository keeps? Results compare only between such."""
    for folder in (SOURCES, PACKAGED):
        reference = folder / REFERENCE_NAME
        if reference.is_file():
            return sha256_of(path) == reference.read_text().split()[0]
    return False


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_reference(path: Path) -> None:
    """Make ``path`` the reference: for the developer who has changed the guest on purpose."""
    (SOURCES / REFERENCE_NAME).write_text(f"{sha256_of(path)}  {IMAGE_NAME}\n")


def build(
    output: Path | None = None, compiler: str | None = None, *, sanitize: bool = False
) -> Path:
    """Build the image into ``output`` (default: the package's folder) and return its path.

    ``compiler`` None or ``zig``: the pinned one; else ``gcc``, ``clang`` or another command that
    speaks as they do, for developers. ``sanitize``: undefined behaviour in the kernel traps.
    Beside the image: guest.elf, guest.sym, guest.lst, sha256, and each program with DWARF.
    Raises EnvironmentProblem without sources or compiler, ImageError with the compiler's words.
    """
    if not (SOURCES / "kernel.ld").is_file():
        raise EnvironmentProblem(f"{SOURCES} is not there: an image is built from a checkout")
    output = PACKAGED if output is None else output
    tools = _toolchain(compiler)
    with tempfile.TemporaryDirectory(prefix="leulo-image-") as name:
        work = _Work(tools, Path(name), sanitize)
        image = work.image()
        try:
            _put((image, *work.results), output)
        except OSError as error:
            raise EnvironmentProblem(f"{output}: cannot be written: {error.strerror}") from None
    return output / IMAGE_NAME


def _put(files: Iterable[Path], output: Path) -> None:
    """Copy them into the folder, with the image's hash and the reference's."""
    output.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, output / file.name)
    digest = sha256_of(output / IMAGE_NAME)
    (output / "guest.sha256").write_text(f"{digest}  {IMAGE_NAME}\n")
    if (SOURCES / REFERENCE_NAME).is_file():
        shutil.copyfile(SOURCES / REFERENCE_NAME, output / REFERENCE_NAME)


def build_program(sources: Sequence[Path], output: Path, compiler: str | None = None) -> Path:
    """One program for the guest, with its libc: for tests and experiments. Errors as `build`."""
    with tempfile.TemporaryDirectory(prefix="leulo-image-") as name:
        work = _Work(_toolchain(compiler), Path(name), sanitize=False)
        shutil.copyfile(work.program(output.name, sources), output)
    return output


def _sources_of(programs: Iterable[Sequence[Path]]) -> list[Path]:
    """What those programs are made of, libc first, each file once."""
    libc = sorted((SOURCES / "libc").glob("*.[cS]"))
    return list(dict.fromkeys([*libc, *(path for program in programs for path in program)]))


def _toolchain(compiler: str | None) -> Toolchain:
    if compiler is None or compiler == "zig":
        found = importlib.util.find_spec("ziglang")
        if found is None or found.origin is None:
            raise EnvironmentProblem(
                "the pinned compiler is not installed: `pip install ziglang==0.17.1`, "
                "or choose another one with --cc gcc"
            )
        folder = Path(found.origin).parent
        zig = str(folder / "zig")
        places = {str(folder), os.path.relpath(folder, SOURCES.parent)}
        maps = (f"-ffile-prefix-map={place}=zig" for place in sorted(places))
        return Toolchain(
            "zig",
            # Functions of other files are built in, too: 429 instead of 547 blocks a connection.
            (zig, "cc", "-target", "x86-freestanding-none", "-mcpu=i686", "-flto"),
            (zig, "ld.lld", "-m", "elf_i386"),
            tuple(maps),
        )
    path = shutil.which(compiler)
    if path is None:
        raise EnvironmentProblem(f"there is no command {compiler!r}: install it, or leave out --cc")
    return Toolchain(compiler, (path, "-m32", "-march=i686"), ("ld", "-m", "elf_i386"))


class _Work:
    """One build in a folder of its own; every path that a compiler sees is relative."""

    def __init__(self, tools: Toolchain, folder: Path, sanitize: bool) -> None:
        self._tools = tools
        self._folder = folder
        apart = _TRAPS_APART if tools.name == "zig" else ()
        self._kernel_flags = _KERNEL_FLAGS + ((*_SANITIZE, *apart) if sanitize else ())
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ZIG_")},
            "ZIG_LOCAL_CACHE_DIR": str(folder / "zig"),
            "ZIG_GLOBAL_CACHE_DIR": str(folder / "zig"),
            "SOURCE_DATE_EPOCH": "0",
        }
        self.results: list[Path] = []

    def image(self) -> Path:
        """Compile and link everything; `results` are the files beside the image."""
        kernel = [
            path
            for name in KERNEL_FOLDERS
            for path in sorted((SOURCES / name).rglob("*.[cS]"))
            if path.name != "blobs.S"
        ] + [SOURCES / name for name in SHARED]
        programs = read_programs()
        jobs = [(path, "kernel", self._kernel_flags) for path in kernel]
        jobs += [(path, "user", _PROGRAM_FLAGS) for path in _sources_of(programs.values())]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            made = dict(zip(jobs, pool.map(lambda job: self._compile(*job), jobs), strict=True))
            own = {(path, kind): result for (path, kind, _), result in made.items()}
            files = list(
                pool.map(lambda item: self._program(item[0], item[1], own), programs.items())
            )
        self.results += [stripped.with_suffix(".elf") for stripped in files]
        content = {f"bin/{path.stem}": path.read_bytes() for path in files}
        content |= read_tree(SOURCES / "www", "www")
        (self._folder / "initrd.cpio").write_bytes(pack_cpio(content))
        return self._kernel([own[path, "kernel"] for path in kernel])

    def _kernel(self, objects: Sequence[Path]) -> Path:
        """Link twice: the first link tells the addresses that the symbol table then holds."""
        symbols = self._folder / "symbols.bin"
        symbols.write_bytes(struct.pack("<II", 0, 0))
        blobs = self._blobs("first")
        first = self._link("kernel.ld", "first.elf", [*objects, blobs])
        functions = read_functions(first.read_bytes())
        lines = [row for row in read_lines(first.read_bytes()) if row[0] >= functions[0][0]]
        symbols.write_bytes(pack_symbols(functions, lines))
        blobs = self._blobs("second")
        names = self._folder / "guest.sym"
        names.write_text("".join(f"{address:08x} {name}\n" for address, name in functions))
        elf = self._link("kernel.ld", ELF_NAME, [*objects, blobs])
        listing = self._folder / "guest.lst"
        listing.write_text(write_listing(elf.read_bytes(), functions, lines, SOURCES))
        self.results += [elf, names, listing]
        return self._link("kernel.ld", IMAGE_NAME, [*objects, blobs], "--strip-debug")

    def _blobs(self, link: str) -> Path:
        # The macro is for the compiler's cache, which does not look into .incbin.
        return self._compile(SOURCES / "boot" / "blobs.S", "kernel", (f"-DLINK_{link}",))

    def program(self, name: str, sources: Sequence[Path]) -> Path:
        """One user program, stripped."""
        own = {
            (path, "user"): self._compile(path, "user", _PROGRAM_FLAGS)
            for path in _sources_of([sources])
        }
        return self._program(name, sources, own)

    def _program(
        self, name: str, sources: Sequence[Path], made: dict[tuple[Path, str], Path]
    ) -> Path:
        objects = [made[path, "user"] for path in _sources_of([sources])]
        self._link("user.ld", f"{name}.elf", objects)
        return self._link("user.ld", f"{name}.bin", objects, "--strip-all")

    def _compile(self, source: Path, kind: str, flags: tuple[str, ...]) -> Path:
        inside = source.is_relative_to(SOURCES)
        relative = source.relative_to(SOURCES.parent) if inside else source.absolute()
        made = self._folder / f"{kind}-{'-'.join(relative.parts[1:])}.o"
        libc = ("-isystem", "guest_kernel/libc/include")
        wants_libc = kind == "user" or source.parent.name == "libc"
        command = [
            *self._tools.compile,
            *((*_FLAGS, *flags) if source.suffix == ".c" else ("-g0", *flags)),
            *(libc if wants_libc else ()),
            *("-Iguest_kernel", "-Iguest_kernel/include", f"-Wa,-I{self._folder}"),
            f"-ffile-prefix-map={SOURCES.parent}=.",
            *self._tools.maps,
            *("-c", str(relative), "-o", str(made)),
        ]
        self._run(command, str(relative))
        return made

    def _link(self, script: str, name: str, objects: Iterable[Path], *more: str) -> Path:
        made = self._folder / name
        command = [*self._tools.link, *_LINK, *more, "-T", f"guest_kernel/{script}"]
        self._run([*command, "-o", str(made), *map(str, objects)], name)
        return made

    def _run(self, command: Sequence[str], what: str) -> None:
        try:
            done = subprocess.run(
                command,
                cwd=SOURCES.parent,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise EnvironmentProblem(f"{command[0]} cannot be run: {error.strerror}") from None
        if done.returncode:
            words = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
            raise ImageError(f"{what}: {self._tools.name} cannot build it:\n{words}")


def read_programs() -> dict[str, list[Path]]:
    """Name and sources of every user program, by ``apps/programs``. Raises ImageError."""
    programs = {}
    for line in (SOURCES / "apps" / "programs").read_text().splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            programs[words[0]] = [SOURCES / "apps" / word for word in words[1:]]
    missing = [path for sources in programs.values() for path in sources if not path.is_file()]
    if missing:
        raise ImageError(f"{missing[0]} is named in apps/programs, but is not there")
    return programs


def read_tree(folder: Path, name: str) -> dict[str, bytes]:
    """Every regular file below ``folder``, as ``name``/path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {f"{name}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}


def pack_cpio(files: dict[str, bytes]) -> bytes:
    """A "newc" archive [cpio newc]: sorted, no times, no owners, with the folders above files."""
    folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    out = bytearray()
    entries = [(name, 0o040755, b"") for name in folders]
    entries += [(name, 0o100644 | 0o111 * name.startswith("bin/"), files[name]) for name in files]
    for inode, (name, mode, data) in enumerate([*sorted(entries), ("TRAILER!!!", 0, b"")], 1):
        path = name.encode() + b"\0"
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + path
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def read_functions(elf: bytes) -> list[tuple[int, str]]:
    """Address and name of the functions in an ELF32 file, sorted [ELF 1.2 1-17]."""
    (table,) = struct.unpack_from("<I", elf, 32)
    entry_bytes, count = struct.unpack_from("<HH", elf, 46)
    sections = [struct.unpack_from("<10I", elf, table + n * entry_bytes) for n in range(count)]
    found: dict[int, str] = {}
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        names = sections[link][4]
        for at in range(offset, offset + size, 16):
            name, value, _, info, _, section = struct.unpack_from("<IIIBBH", elf, at)
            start = names + name
            text = elf[start : elf.index(b"\0", start)].decode()
            is_code = 0 < section < count and sections[section][2] & 4  # SHF_EXECINSTR
            if is_code and info & 15 in (0, 2) and text and not text.startswith("."):
                found[value] = min(text, found.get(value, text))
    return sorted(found.items())


def pack_symbols(
    functions: Sequence[tuple[int, str]], lines: Sequence[tuple[int, str, int]] = ()
) -> bytes:
    """The table that guest_kernel/kern/panic.c reads: both counts; the functions' addresses with
    the places of their names; the lines' addresses with the place of the file's name << 14 | the
    line; names.
    """
    first = 8 + 8 * (len(functions) + len(lines))
    places: dict[str, int] = {}
    names = b""
    for name in [*(name for _, name in functions), *(file for _, file, _ in lines)]:
        if name not in places:
            places[name] = first + len(names)
            names += name.encode() + b"\0"
    rows = [(address, places[name]) for address, name in functions]
    for address, file, line in lines:
        is_kept = places[file] < 1 << 18 and line < 1 << 14
        rows.append((address, places[file] << 14 | line if is_kept else 0))
    head = struct.pack("<II", len(functions), len(lines))
    return head + b"".join(struct.pack("<II", *row) for row in rows) + names
