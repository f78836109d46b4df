"""``leulo image``: what has to do with the guest image itself."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("image", short_help="Build the guest image.")
def command() -> None:
    """Build the guest image of a checkout."""


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
def build(cc: str | None, output: Path | None) -> None:
    """Compile guest_kernel/ with the pinned compiler into guest.img.

    Needs a checkout. The same sources give the same bytes on every computer, unless --cc is used.
    """
    from leulo import image

    built = image.build(output, compiler=cc)
    click.echo(f"{built}: {built.stat().st_size} bytes")
