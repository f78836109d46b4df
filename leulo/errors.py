"""Errors that reach a person, each with the exit code of the ``leulo`` command.

Wrong use of a socket by the guest is an errno, a bad segment is a counted drop reason:
neither is an exception. What is here ends a run or refuses to begin one.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_GUEST_FAULT = 3
EXIT_BUDGET = 4
EXIT_ENVIRONMENT = 5
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141


class LeuloError(Exception):
    """Something a person can act on: one sentence on what is wrong, then what to try."""

    exit_code = EXIT_FAILED


class ConfigError(LeuloError):
    """A flag or a configuration value is wrong; the message names the key."""

    exit_code = EXIT_USAGE


class ImageError(LeuloError):
    """A guest image cannot be loaded; the message names the file and the place in it."""

    exit_code = EXIT_USAGE


class EnvironmentProblem(LeuloError):
    """This computer lacks something (a device, a right, a package); the message names it."""

    exit_code = EXIT_ENVIRONMENT


class GuestFault(LeuloError):
    """The guest did something it cannot go on from: where, what, and what to look at."""

    exit_code = EXIT_GUEST_FAULT


class LeuloBug(LeuloError):
    """Our own mistake. The message says what was assumed."""

    exit_code = EXIT_BUG
