"""Builds the guest image with the pinned compiler and keeps its SHA-256 as the reference.

    python tools/reference_image.py [--check]

Run it after a wanted change of the guest, and commit guest_kernel/reference.sha256 with it.
``--check`` changes nothing and exits 1 if the sources no longer give the reference.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from leulo import image


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        made = image.build(Path(folder))
        digest = image.sha256_of(made)
        if image.is_reference(made):
            sys.stdout.write(f"{digest} is the reference\n")
            return 0
        if arguments == ["--check"]:
            sys.stdout.write(f"{digest} is not the reference\n")
            return 1
        image.write_reference(made)
        sys.stdout.write(f"{digest} is the reference from now on\n")
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
