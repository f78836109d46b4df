"""``leulo image``: what has to do with the guest image itself."""

from __future__ import annotations

from pathlib import Path

import click

from leulo.errors import ConfigError

_LARGEST_FILE = 32 << 20
_MADE_BY_THE_GUEST = ("tmp", "proc")


@click.group("image", short_help="Build the guest image, list and add its files.")
def command() -> None:
    """Build the guest image of a checkout; list its files, and add others without a compiler."""


@command.command("build")
@click.option(
    "--cc",
    metavar="COMPILER",
    help="Another compiler, as gcc; the image is then marked as not the reference.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where to put it.  [default: the place of the packaged image]",
)
@click.option(
    "--sanitize",
    is_flag=True,
    help="Undefined behaviour in the kernel traps, and its panic names kind and line.",
)
@click.option(
    "--set-reference",
    is_flag=True,
    help="Make what comes out the reference: for whoever changed the guest on purpose.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a sentence.")
def build(
    cc: str | None, output: Path | None, sanitize: bool, set_reference: bool, as_json: bool
) -> None:
    """Compile guest_kernel/ with the pinned compiler into guest.img.

    Needs a checkout. The same sources give the same bytes on every computer, unless --cc is used.

    \b
    leulo image build --sanitize -o lab
    leulo boot lab/guest.img --append provoke=overflow
    """
    from leulo import image

    if set_reference and cc is not None:
        raise ConfigError(f"--cc {cc}: the reference is made by the pinned compiler: leave it out")
    if set_reference and sanitize:
        raise ConfigError("--sanitize: the reference is built without: leave it out")
    built = image.build(output, compiler=cc, sanitize=sanitize)
    if set_reference:
        image.write_reference(built)
    is_reference = image.is_reference(built)
    size = built.stat().st_size
    if as_json:
        import hashlib
        import json

        digest = hashlib.sha256(built.read_bytes()).hexdigest()
        found = {"path": str(built), "bytes": size, "sha256": digest}
        click.echo(json.dumps({**found, "is_reference": is_reference}))
    else:
        verdict = "the reference" if is_reference else "not the reference"
        click.echo(f"{built}: {size} bytes, {verdict}")


@command.command(
    "add",
    epilog="""\b
Examples:
  leulo image add guest.img mytool                  as /bin/mytool, if it is a program
  leulo image add guest.img page.html notes.txt     as /www/page.html, /www/notes.txt
  leulo image add guest.img site -o mine.img        a folder: /www/..., into another image
  leulo image add guest.img hosts --to /etc/hosts
""",
)
@click.argument("image", type=click.Path(path_type=Path, dir_okay=False))
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT",
    help="Write the new image there.  [default: IMAGE itself]",
)
@click.option(
    "--to",
    metavar="/PATH",
    help="Where it goes in the guest; for several files, or with a slash at the end, the folder.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a sentence.")
def add(
    image: Path, files: tuple[Path, ...], output: Path | None, to: str | None, as_json: bool
) -> None:
    """Put programs and files into an image. Files of the same path are replaced.

    Programs are ELF files linked for the guest's user space, as `leulo image build` makes them;
    they go to /bin, all others to /www, unless --to says otherwise.
    """
    from leulo import image_files
    from leulo.cli.images import read_image
    from leulo.errors import ImageError
    from leulo.loader.multiboot import load
    from leulo.memory import Memory

    data, name = read_image(image)
    held = image_files.read_files(data, name)
    added: dict[str, bytes] = {}
    for path in files:
        added |= _named(path, to, is_folder=len(files) > 1 or (to or "").endswith("/"))
    for inside in added:
        if inside.split("/")[0] in _MADE_BY_THE_GUEST:
            raise ImageError(f"/{inside}: would not be seen: the guest makes that folder itself")
    replaced = sorted(held.keys() & added.keys())
    held |= added
    made = image_files.with_files(data, name, held)
    load(Memory(max(16 << 20, 2 * len(made) & -4096)), made, name=name)
    output = output or image
    _write(output, made)
    if as_json:
        import json

        report = {"path": str(output), "bytes": len(made), "files": len(held)}
        report["added"] = {f"/{path}": len(data) for path, data in sorted(added.items())}
        report["replaced"] = [f"/{path}" for path in replaced]
        click.echo(json.dumps(report))
    else:
        click.echo(f"{output}: {len(made)} bytes, {len(held)} files")


@command.command("ls")
@click.argument("image", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object: path to bytes.")
def ls(image: Path | None, as_json: bool) -> None:
    """List the files in an image, by default the packaged one, with their sizes."""
    import json

    from leulo import image_files
    from leulo.cli.images import read_image

    held = image_files.read_files(*read_image(image))
    if as_json:
        click.echo(json.dumps({f"/{path}": len(data) for path, data in sorted(held.items())}))
        return
    for path, data in sorted(held.items()):
        click.echo(f"{len(data):9}  /{path}")


def _write(output: Path, made: bytes) -> None:
    """All of it or nothing where a file is to be; what is a device or a pipe stays one."""
    from leulo.errors import ImageError

    try:
        if output.exists() and not output.is_file():
            output.write_bytes(made)
            return
        target = output.resolve()  # a link goes on leading there
        partial = target.with_name(target.name + ".part")
        try:
            partial.write_bytes(made)
            if target.exists():
                partial.chmod(target.stat().st_mode & 0o777)
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        why = error.strerror if isinstance(error, OSError) else "its links go round in a circle"
        raise ImageError(f"{output}: cannot be written: {why}") from None


def _named(path: Path, to: str | None, *, is_folder: bool) -> dict[str, bytes]:
    """One file or folder of this computer, by where it goes in the guest."""
    from leulo import image_files
    from leulo.errors import ImageError

    origin = str(path)
    if path.is_dir():
        at = image_files.check_path(to or "/www", "--to" if to else origin)
        return image_files.read_folder(path, at, _LARGEST_FILE, origin)
    if path.is_fifo():
        raise ImageError(f"{path}: is a pipe: write its content to a file first")
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST_FILE:
        raise ImageError(f"{path}: is larger than {_LARGEST_FILE >> 20} MiB")
    is_program = image_files.check_program(data, origin)
    if to is None:
        to, is_folder = "/bin" if is_program else "/www", True
    inside = f"{to.rstrip('/')}/{path.name}" if is_folder else to
    return {image_files.check_path(inside, origin): data}
