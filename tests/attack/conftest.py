"""The attacks play on the stage of tests/tcp."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tcp"))
