"""``python -m leulo`` is ``leulo``."""

from leulo.cli import main

main()
