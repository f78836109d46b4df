"""TCP Fast Open: data in the SYN, and what a connection that opens so needs beyond others.

Here are the state of such a connection and the options on the wire; `fast_open_client` sends SYNs
with data and remembers cookies, `fast_open_server` judges them. [RFC 7413] [Linux tcp(7)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.options import FAST_OPEN, NOP

if TYPE_CHECKING:
    from leulo.tcp.listen import Listener

# Bits of `Config.fast_open`, those of Linux's net.ipv4.tcp_fastopen
CLIENT: Final = 0x1
SERVER: Final = 0x2
CLIENT_WITHOUT_COOKIE: Final = 0x4
SERVER_WITHOUT_COOKIE: Final = 0x200
ALL_LISTENERS: Final = 0x400  # as if each had TCP_FASTOPEN set to its backlog

# Values of `FastOpen.failure`, those of tcpi_fastopen_client_fail
FAILED_NOT: Final = 0
FAILED_NO_COOKIE: Final = 1
FAILED_NOT_ACKED: Final = 2
FAILED_TIMEOUT: Final = 3

OPTION_BYTES: Final = 40  # left free in a SYN with data, for whatever a box on the way may add

_EXPERIMENT: Final = b"\xf9\x89"  # of option 254, from before there was a number [RFC 7413 7]
_EXPERIMENT_KIND: Final = 254

_FIELDS: Final = (
    "cookie", "data_end", "failure", "has_checked", "has_option", "is_acked", "is_deferred",
    "is_experimental", "is_passive", "is_queueing", "padding", "room",
)  # fmt: skip


class FastOpen:
    """What is particular to a connection whose SYN carries data, or may."""

    __slots__ = (
        "cookie", "data_end", "failure", "has_checked", "has_option", "is_acked", "is_deferred",
        "is_experimental", "is_passive", "is_queueing", "listener", "padding", "room",
    )  # fmt: skip

    def __init__(self, is_passive: bool) -> None:
        self.is_passive: bool = is_passive
        self.listener: Listener | None = None  # passive: it counts this until it is acknowledged
        self.cookie: bytes = b""  # for the first SYN, or SYN-ACK; empty asks for one
        self.has_option: bool = False  # the first SYN, or SYN-ACK, carries the option
        self.is_experimental: bool = False  # in its old form
        self.is_deferred: bool = False  # the SYN, or SYN-ACK, waits for the user's first write
        self.is_queueing: bool = False  # more may be written before the connection is open
        self.padding: int = NOP  # behind the option
        self.room: int = 0  # bytes of data that the SYN may carry, or that the SYN-ACK has
        self.data_end: int = 0  # behind the SYN's data, ours or the peer's; 0: it has carried none
        self.is_acked: bool = False  # all of that was taken
        self.failure: int = FAILED_NOT
        self.has_checked: bool = False  # the first try after a pause

    def option(self) -> bytes:
        """The option of the first SYN or SYN-ACK, padded to whole words."""
        return emit(self.cookie, self.is_experimental, self.padding) if self.has_option else b""

    def save(self) -> Saved:
        """Everything but the listener: see `leulo.tcp.saved`."""
        return save_fields(self, 1, _FIELDS)

    @classmethod
    def loaded(cls, state: Saved) -> FastOpen:
        """What was saved as ``state``."""
        fast = cls(False)
        load_fields(fast, 1, _FIELDS, state)
        return fast


def emit(cookie: bytes, is_experimental: bool, padding: int = NOP) -> bytes:
    """The option with ``cookie``, padded to whole words. [RFC 7413 4.1.1]"""
    kind = FAST_OPEN
    if is_experimental:
        kind = _EXPERIMENT_KIND
        cookie = _EXPERIMENT + cookie
    length = 2 + len(cookie)
    return bytes((kind, length)) + cookie + bytes((padding,)) * (-length & 3)
