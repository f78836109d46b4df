"""``leulo image``: what has to do with the guest image itself."""

from __future__ import annotations

from pathlib import Path

import click

from leulo.errors import ConfigError


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
@click.option(
    "--set-reference",
    is_flag=True,
    help="Make what comes out the reference: for whoever changed the guest on purpose.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a sentence.")
def build(cc: str | None, output: Path | None, set_reference: bool, as_json: bool) -> None:
    """Compile guest_kernel/ with the pinned compiler into guest.img.

    Needs a checkout. The same sources give the same bytes on every computer, unless --cc is used.
    """
    from leulo import image

    if set_reference and cc is not None:
        raise ConfigError(f"--cc {cc}: the reference is made by the pinned compiler: leave it out")
    built = image.build(output, compiler=cc)
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
