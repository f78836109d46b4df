"""Header codecs: pure functions of bytes, no state, no clock, no I/O.

Two levels, as in smoltcp. A ``...Packet`` wraps a buffer and reads one field at a time, after a
single check of the length; it trusts nothing else. A ``...Repr`` is a validated header: ``parse``
takes any bytes at all and gives a Repr or raises `ParseError` (and nothing else, ever), ``emit``
gives the bytes back. For every Repr that ``parse`` can give, ``parse(emit(r)) == r``.

Addresses are ``bytes`` (6 for a MAC, 4 or 16 for IP); ports and numbers are integers. The TCP
engine has its own fast path; these codecs serve ARP, ICMP, tools, captures and tests.
"""

from __future__ import annotations

Buffer = bytes | memoryview


class ParseError(Exception):
    """A header that is not valid. ``reason`` is the key of a drop counter (``ipv4_short``)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: str = reason
