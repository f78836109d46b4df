"""Ctrl-C while the program is still being loaded: the exit code, and no traceback of Python's.

`leulo.cli` imports this before anything that takes time. Nothing is open yet, so ending at once
leaves nothing behind; after `over` the interrupt is an exception, which `leulo.cli.run` catches.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from leulo.errors import EXIT_INTERRUPTED


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"leulo: interrupted\n")
    os._exit(EXIT_INTERRUPTED)


def begin() -> None:
    """An interrupt ends the program at once; who ignores it, or has an own way, keeps that."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_default and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _leave)


def over() -> None:
    """What catches the exception is there: interrupts are Python's again."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


begin()
