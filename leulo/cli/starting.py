"""Ctrl-C while the program is still being loaded: the exit code, and no traceback of Python's.

`leulo.cli` imports this before anything that takes time. Nothing is open yet, so ending at once
leaves nothing behind; after `over` the interrupt is an exception, which `leulo.cli.run` catches.
Python forgets an exception that it cannot raise, such as one in a finaliser or in the callback of a
weak reference, which every import has; after `insist` such an interrupt comes again.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Final

from leulo.errors import EXIT_INTERRUPTED

_AGAIN_S: Final = 0.01


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


def insist() -> None:
    """For a program, not for who imports its parts: an interrupt is never lost."""
    previous = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            previous(unraisable)
            return
        # A moment later: from in here it would be forgotten, too.
        main = threading.main_thread().ident
        again = threading.Timer(_AGAIN_S, signal.pthread_kill, (main, signal.SIGINT))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook


begin()
