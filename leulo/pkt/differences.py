"""What a call gave back is not what the script says."""

from __future__ import annotations


class CallDiffers(Exception):
    """A value that the call gave back is not the one expected."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"expected {expected}, got {actual}")
        self.expected: str = expected
        self.actual: str = actual
