"""The connections a script speaks of, and how its numbers become those on the wire and back.

A script counts from its own initial sequence numbers and calls every timestamp what it likes.
The peer's numbers go out as the script says them; the stack's are learned from its SYN. Of
timestamps each value expected is tied to the value that came, so that an echo can be translated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

_MASK: Final = 0xFFFFFFFF


class Stage(Enum):
    """How far the script has got with a connection; it decides what a SYN means."""

    LISTENING = "listening"  # no peer yet
    CONNECTING = "connecting"  # connect() was called, the SYN has not been seen
    BEGUN = "begun"


@dataclass(slots=True)
class Connection:
    """One four-tuple. Addresses are the wire's; ports 0 while unknown."""

    stage: Stage
    local: bytes
    peer: bytes
    local_port: int = 0
    peer_port: int = 0
    script_iss: int = 0  # what the script calls the stack's initial sequence number
    live_iss: int = 0
    is_iss_known: bool = False
    is_reopening: bool = False  # a SYN has come since: the next SYN-ACK may count anew
    script_irs: int = 0  # the peer's initial number; 0 while nobody has opened anything
    is_irs_known: bool = False
    next_irs: int = 0  # of the SYN that is reopening
    timestamps: dict[int, int] = field(default_factory=dict)  # of the script -> on the wire
    first_timestamp: tuple[int, int, int] | None = None  # script, wire, when it came
    has_odd_data: bool = False  # data that does not follow the pattern of `payload_at`
    sent_strings: bool = False

    def learn_iss(self, script_seq: int, live_seq: int) -> None:
        self.script_iss = script_seq
        self.live_iss = live_seq
        self.is_iss_known = True
        if self.is_reopening:
            self.is_reopening = False
            self.learn_irs(self.next_irs)

    def learn_irs(self, seq: int) -> None:
        self.script_irs = seq
        self.is_irs_known = True

    # In a segment with a SYN the script says whole numbers, in any other those behind the initial
    # ones, as a capture is usually shown. The peer's initial number is the script's own.

    def to_live(self, number: int, is_syn: bool) -> int:
        """A number of the stack's, as the script says it, on the wire."""
        return (number - (self.script_iss if is_syn else 0) + self.live_iss) & _MASK

    def to_script(self, number: int, is_syn: bool) -> int:
        """The reverse of `to_live`."""
        return (number - self.live_iss + (self.script_iss if is_syn else 0)) & _MASK

    def peer_to_live(self, number: int, is_syn: bool) -> int:
        """A number of the peer's, as the script says it, on the wire."""
        return number if is_syn else (number + self.script_irs) & _MASK

    def peer_to_script(self, number: int, is_syn: bool) -> int:
        """The reverse of `peer_to_live`."""
        return number if is_syn else (number - self.script_irs) & _MASK

    def learn_timestamp(self, script: int, live: int, now_ns: int) -> None:
        self.timestamps[script] = live
        if self.first_timestamp is None:
            self.first_timestamp = (script, live, now_ns)

    def live_timestamp(self, script: int) -> int:
        """The echo that a script means; one it never expected is as far from the first known
        value as the script says."""
        live = self.timestamps.get(script)
        if live is not None:
            return live
        if self.first_timestamp is None:
            return script
        first_script, first_live, _ = self.first_timestamp
        return (first_live + script - first_script) & _MASK

    def knows(self, local_port: int, peer_port: int) -> bool:
        return self.local_port == local_port and self.peer_port == peer_port


# Every byte of a stream is known from its place in it, so that misplaced data is seen on both
# sides. 251 is prime: shifts by a segment or a power of two show.
_PERIOD: Final = 251
_PATTERN: Final = bytes(range(_PERIOD)) * (0x20000 // _PERIOD + 2)


def payload_at(offset: int, length: int) -> bytes:
    """``length`` bytes of the stream from ``offset`` (0: the first byte behind the SYN)."""
    begin = offset % _PERIOD
    if begin + length <= len(_PATTERN):
        return _PATTERN[begin : begin + length]
    times = (begin + length) // _PERIOD + 1
    return (_PATTERN[:_PERIOD] * times)[begin : begin + length]
