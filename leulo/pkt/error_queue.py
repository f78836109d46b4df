"""What the kernel tells a sender afterwards, by recvmsg with MSG_ERRQUEUE.

Two kinds: that memory given with MSG_ZEROCOPY is free again, and when the last byte of a write was
handed to the device, sent and acknowledged (SO_TIMESTAMPING). Both follow from how far the
connection has sent and how much is acknowledged, which is looked at after every event. The data of
MSG_ZEROCOPY is copied here as Linux copies it towards a tun device, and the notice says so.
[Linux msg_zerocopy] [Linux timestamping]
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from leulo.tcp.state import CLOSED
from leulo.tcp.tcb import Tcb

ORIGIN_TIMESTAMPING: Final = 4
ORIGIN_ZEROCOPY: Final = 5
_ZEROCOPY_COPIED: Final = 1
_ENOMSG: Final = 42
TX_SOFTWARE: Final = 1 << 1
OPT_ID: Final = 1 << 7
TX_SCHED: Final = 1 << 8
TX_ACK: Final = 1 << 9
OPT_TSONLY: Final = 1 << 11
# Values of ee_info
_SENT: Final = 0
_SCHEDULED: Final = 1
_ACKNOWLEDGED: Final = 2


@dataclass(slots=True)
class Notice:
    """One entry: struct sock_extended_err, and for a timestamp the time."""

    errno: int
    origin: int
    code: int
    info: int
    data: int
    at_ns: int = 0

    @property
    def fields(self) -> dict[str, int]:
        return {
            "ee_errno": self.errno, "ee_origin": self.origin, "ee_type": 0, "ee_code": self.code,
            "ee_info": self.info, "ee_data": self.data,
        }  # fmt: skip


class ErrorQueue:
    """Of one descriptor. ``key_base``: the sequence number that timestamp keys count from."""

    __slots__ = ("_stamped", "_zerocopy", "key_base", "notices", "stamps", "zerocopy_count")

    def __init__(self) -> None:
        self.notices: deque[Notice] = deque()
        self.stamps: int = 0  # flags of SO_TIMESTAMPING
        self.key_base: int = 0
        self.zerocopy_count: int = 0
        self._zerocopy: list[tuple[int, int]] = []  # end of the data, number of the call
        self._stamped: list[tuple[int, bool]] = []  # end of a write, whether it has been sent

    def lend(self, end: int) -> None:
        """A call with MSG_ZEROCOPY has put data up to ``end`` into the stream."""
        self._zerocopy.append((end, self.zerocopy_count))
        self.zerocopy_count += 1

    def stamp(self, end: int) -> None:
        """A write has put data up to ``end`` into the stream."""
        if self.stamps & (TX_SOFTWARE | TX_SCHED | TX_ACK):
            self._stamped.append((end, False))

    def look(self, tcb: Tcb, now_ns: int) -> bool:
        """Note what has come about. True: there is something new."""
        before = len(self.notices)
        is_over = tcb.state is CLOSED
        is_news = False
        while self._zerocopy and (is_over or tcb.snd_una >= self._zerocopy[0][0]):
            self._give_back(self._zerocopy.pop(0)[1])
            is_news = True
        for at, (end, is_sent) in enumerate(self._stamped):
            if not is_sent and tcb.snd_max >= end:
                self._stamped[at] = (end, True)
                self._note(TX_SCHED, _SCHEDULED, end, now_ns)
                self._note(TX_SOFTWARE, _SENT, end, now_ns)
        while self._stamped and tcb.snd_una >= self._stamped[0][0]:
            self._note(TX_ACK, _ACKNOWLEDGED, self._stamped.pop(0)[0], now_ns)
        return is_news or len(self.notices) > before

    def _give_back(self, number: int) -> None:
        """Notices of calls in a row become one with their range."""
        last = self.notices[-1] if self.notices else None
        if last is not None and last.origin == ORIGIN_ZEROCOPY and last.data + 1 == number:
            last.data = number
            return
        self.notices.append(Notice(0, ORIGIN_ZEROCOPY, _ZEROCOPY_COPIED, number, number))

    def _note(self, flag: int, kind: int, end: int, now_ns: int) -> None:
        if self.stamps & flag:
            key = (end - 1 - self.key_base) & 0xFFFFFFFF if self.stamps & OPT_ID else 0
            self.notices.append(Notice(_ENOMSG, ORIGIN_TIMESTAMPING, 0, kind, key, now_ns))
