"""Loading code quickly: without looking for garbage among what has just been made and stays.

The collector would look through every new function and class some thirty times: a fifth of the
time until a guest prints its first byte.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """For import statements. What is there afterwards is taken to stay, and not looked at again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()
