"""A call that was not understood: it ends in a transport status, not in an errno."""

from __future__ import annotations


class Refused(Exception):
    """``status`` is a number of `abi.Status`. Raised by operations, caught by `dispatch` only."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status
