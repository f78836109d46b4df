"""Explicit congestion notification of one connection, both roles. [RFC 3168 6.1]

The object exists where both sides have agreed on it. As a receiver it echoes a mark in every
acknowledgement until the sender says that it has reduced; as a sender it marks new data as capable
(never repeated data, probes or bare acknowledgements, unless `Config.ecn_of_control` says so),
reduces once a window when it is told of congestion, and says so in the next new data. The reduction
itself is with `recovery`. Where both sides can, ``accurate`` takes the place of all this: see
`accecn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.accecn import ASK as ASK_ACCURATE
from leulo.tcp.accecn import Accurate
from leulo.tcp.header import CWR, ECE

if TYPE_CHECKING:
    from leulo.tcp.config import Config
    from leulo.tcp.tcb import Tcb

NOT_ECT: Final = 0
ECT0: Final = 2
CE: Final = 3
_FIELD: Final = 3  # of the byte that was called type of service [RFC 3168 5]
SETUP: Final = ECE | CWR  # of a SYN that asks [RFC 3168 6.1.1]

# Values of `Config.ecn`, as of net.ipv4.tcp_ecn
OFF: Final = 0
ASK: Final = 1
ASK_AND_ANSWER_BETTER: Final = 4
ASKING: Final = (ASK, ASK_ACCURATE, ASK_AND_ANSWER_BETTER)

EVERYTHING: Final = 2  # of `Config.ecn_of_control`
ON_REQUEST: Final = 2

_QUICK_ACKS: Final = 2
_FAST_RECOVERY: Final = 1  # `tcb.RECOVERY_FAST`
_ACK_NOW: Final = 2  # `tcb.ACK_NOW`
_OF_NEW_PROBES: Final = ECT0  # on FreeBSD: they are new data all the same
_ENDS_6_BYTES: Final = 36  # two addresses of IPv6 and two ports
_FIELDS: Final = (
    "codepoint", "delivered_ce", "echo", "is_cwr_due", "is_cwr_set", "is_seen", "recover",
)  # fmt: skip


class Ecn:
    """``echo`` is ECE while a mark is to be echoed; ``codepoint`` is the next data segment's."""

    __slots__ = (*_FIELDS, "accurate")

    def __init__(self, recover: int) -> None:
        self.accurate: Accurate | None = None  # instead of the rest but for the last two
        self.echo: int = 0
        self.codepoint: int = NOT_ECT
        self.is_seen: bool = False  # the peer has marked its data as capable
        self.is_cwr_due: bool = False  # the next new data says that we have reduced
        self.is_cwr_set: bool = False  # the segment being made says so
        self.recover: int = recover  # up to here there was a reduction already
        self.delivered_ce: int = 0  # segments that were acknowledged with an echo

    def save(self) -> Saved:
        out = save_fields(self, 2, _FIELDS)
        out["accurate"] = None if self.accurate is None else self.accurate.save()
        return out

    @classmethod
    def loaded(cls, state: Saved) -> Ecn:
        """The object saved as ``state``."""
        ecn = cls(0)
        load_fields(ecn, 2, _FIELDS, state)
        if state["accurate"] is not None:
            ecn.accurate = Accurate.loaded(state["accurate"])
        return ecn


def is_ordinary(ecn: Ecn, config: Config) -> bool:
    """Is nothing said of ECN by segments that carry no data?"""
    return ecn.accurate is None and not config.has_freebsd_ecn


def mark_of(frame: bytes, ends: bytes) -> int:
    """The codepoint of a received frame. [RFC 3168 5]"""
    # An IPv6 header has lost its first twenty bytes here. [RFC 8200 7]
    return (frame[5] >> 4 if len(ends) == _ENDS_6_BYTES else frame[25]) & _FIELD


def data_leaves(tcb: Tcb, ecn: Ecn, seq: int, length: int) -> int:
    """A segment with ``length`` bytes from ``seq`` is about to go out; returns the flags that it
    carries. Called before snd_max moves. [RFC 3168 6.1.2, 6.1.5, 6.1.6]"""
    codepoint = NOT_ECT
    is_cwr_set = False
    is_probe = seq + length > tcb.snd_una + tcb.snd_wnd
    if length and not is_probe and seq >= tcb.snd_max:
        codepoint = ECT0
    elif is_probe and seq >= tcb.snd_max and tcb.engine.config.has_freebsd_ecn:
        codepoint = _OF_NEW_PROBES
    if ecn.accurate is not None:
        ecn.codepoint = codepoint
        return 0
    if (
        ecn.is_cwr_due
        and length
        and not is_probe
        and (
            codepoint == ECT0
            or (tcb.recovery == _FAST_RECOVERY and tcb.engine.config.has_cwr_again)
        )
    ):
        ecn.is_cwr_due = False
        is_cwr_set = True
    ecn.codepoint = codepoint
    ecn.is_cwr_set = is_cwr_set
    return ecn.echo | CWR if is_cwr_set else ecn.echo


def cwr_arrives(tcb: Tcb, ecn: Ecn, length: int) -> None:
    """The peer has reduced its window. Comes before the mark of the same segment.
    [RFC 3168 6.1.3]"""
    ecn.echo = 0
    if length and not tcb.engine.config.has_freebsd_ecn:
        tcb.quick_acks = max(tcb.quick_acks, 1)  # the peer's window may be very small now


def freebsd_cwr_arrives(tcb: Tcb, ecn: Ecn, ack: int, length: int) -> None:
    """The same on FreeBSD, before anything else is looked at: whatever acknowledges ``ack`` need
    not be valid. It is answered at once unless it is just an ACK, or just data."""
    ecn.echo = 0
    if not length:
        if ack == tcb.snd_una:
            tcb.ack_due = _ACK_NOW
            tcb.engine.want_output(tcb)
    elif ack != tcb.snd_una:
        tcb.quick_acks = max(tcb.quick_acks, 1)


def data_arrives(tcb: Tcb, ecn: Ecn, frame: bytes) -> None:
    """A segment with data in the window: note its mark. [RFC 3168 6.1.3]"""
    mark = mark_of(frame, tcb.ends)
    quick_acks = 0 if tcb.engine.config.has_freebsd_ecn else _QUICK_ACKS
    if mark == CE:
        if not ecn.echo:
            ecn.echo = ECE
            tcb.quick_acks = max(tcb.quick_acks, quick_acks)
        ecn.is_seen = True
        tcb.engine.counts["tcp_ecn_marks"] += 1
    elif mark != NOT_ECT:
        ecn.is_seen = True
    elif ecn.is_seen:
        tcb.quick_acks = max(tcb.quick_acks, quick_acks)  # sent again: the peer has lost it


def reduced(tcb: Tcb) -> None:
    """The window was reduced, for whatever reason: the peer shall know. [RFC 3168 6.1.2]"""
    ecn = tcb.ecn
    if ecn is not None:
        ecn.is_cwr_due = True
        ecn.recover = tcb.snd_max
