"""Accurate ECN: what the peer's counters mean for what we send. [RFC 9768 3.2.2.5.2]

Three bits count the marked packets, so one acknowledgement of many may stand for eight more, or
not. The option's counters of bytes decide, where the peer sends it; else the worse is assumed,
unless acknowledgements stand for so many packets always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.tcp import accecn, ecn, rack, segment_size
from leulo.tcp.accecn import (
    CE,
    ECT0,
    ECT1,
    NOT_ECT,
    SEEN_COUNTERS,
    SEEN_EMPTY,
    SEEN_NOTHING,
    SEEN_ZEROS,
    Accurate,
)
from leulo.tcp.tcb import RECOVERY_NONE, Tcb

if TYPE_CHECKING:
    from leulo.tcp.ecn import Ecn

_WRAP: Final = 8
_CEP: Final = 5
_FIELD_BYTES: Final = 3
_WEIGHT: Final = 6  # of an acknowledgement in the mean, as a shift
_COMPRESSED: Final = 4 << 6  # packets an acknowledgement, in 64ths: then it is thinned out
_TOO_LATE_BYTES: Final = (1 << 23) - 1  # sent without any option: its counters may have wrapped
_INITIAL: Final = (0, 1, 1, 0)  # of the counters on the wire, by codepoint [RFC 9768 3.2.1]
_ORDERS: Final = ((ECT0, CE, ECT1), (ECT1, CE, ECT0))


def mark_of_delivery(tcb: Tcb) -> int:
    """A number that grows by what the peer newly acknowledges or reports."""
    return tcb.snd_una if tcb.scoreboard is None else tcb.snd_una + tcb.scoreboard.sacked


def look_at(accurate: Accurate, option: bytes | None) -> None:
    """The first options say whether they pass as they were sent. [RFC 9768 3.2.3.2.4]"""
    if option is None or accurate.seen >= SEEN_COUNTERS:
        return
    first, last = option[:_FIELD_BYTES], option[2 * _FIELD_BYTES : 3 * _FIELD_BYTES]
    if len(first) < _FIELD_BYTES:
        accurate.seen = SEEN_EMPTY
    elif not any(first) or (len(last) == _FIELD_BYTES and not any(last)):
        accurate.seen = SEEN_ZEROS
    else:
        accurate.seen = SEEN_COUNTERS


def handshake_ends(tcb: Tcb, accurate: Accurate, control: int) -> None:
    """A bare ACK without SACK completes a passive handshake. [RFC 9768 3.2.2.2] [RFC 5562 3.1]"""
    notification = tcb.ecn
    if notification is not None and accecn.handshake_ends(tcb, accurate, control):
        notification.delivered_ce += 1
        if accurate.sent_mark != NOT_ECT:
            tcb.cwnd = min(tcb.cwnd, tcb.mss)  # our SYN-ACK has met congestion


def take(
    tcb: Tcb,
    notification: Ecn,
    accurate: Accurate,
    ace: int,
    option: bytes | None,
    order: int,
    news: int,
    outstanding: int,
    now_ns: int,
) -> None:
    """An acknowledgement that no later one has overtaken, with ``news`` bytes newly acknowledged
    or reported; ``outstanding`` bytes were so before. [RFC 9768 3.2.2.2, 3.2.3.2.5]"""
    before = accurate.delivered[CE]
    is_sure = _take_option(tcb, accurate, option, order, news)
    packets = -(-news // max(tcb.mss, 1))
    if packets:
        mean = accurate.packets
        step = packets << _WEIGHT
        accurate.packets = step if not mean else (mean << _WEIGHT) - mean + step >> _WEIGHT
    count = ace - _CEP - notification.delivered_ce & _WRAP - 1
    marked_bytes = accurate.delivered[CE] - before
    if packets >= _WRAP:
        count = _safe(tcb, accurate, count, packets, news, marked_bytes if is_sure else -1)
        accurate.is_ambiguous = True
    elif (
        option is not None
        and len(option) >= 2 * _FIELD_BYTES
        and not accurate.is_ambiguous
        and accurate.delivered[CE]
        > (notification.delivered_ce + count) * segment_size.of_link(tcb.engine, len(tcb.peer) == 4)
    ):
        accurate.has_ect = False  # more bytes than marked packets can have had
    if count and not accurate.is_deaf:
        notification.delivered_ce += count
        respond(tcb, notification, outstanding, now_ns)


def respond(tcb: Tcb, notification: Ecn, outstanding: int, now_ns: int) -> None:
    """Marks on what we sent: the window shrinks, once for a window of data, as for the echo of
    RFC 3168. [RFC 9768 3.1.5] [RFC 3168 6.1.2]"""
    if tcb.recovery != RECOVERY_NONE or tcb.snd_una <= notification.recover or not outstanding:
        return
    tcb.engine.counts["tcp_ecn_reductions"] += 1
    if rack.is_used(tcb) and tcb.snd_max > tcb.snd_una:
        rack.reduce(tcb, now_ns)
        return
    tcb.congestion.on_loss(tcb, rack.reducible(tcb, outstanding), now_ns)
    tcb.cwnd = min(tcb.cwnd, tcb.ssthresh)  # a model has left it high
    tcb.cwnd_credit = 0
    tcb.congestion.on_recovered(tcb, now_ns)
    ecn.reduced(tcb)


def _safe(
    tcb: Tcb, accurate: Accurate, count: int, packets: int, news: int, marked_bytes: int
) -> int:
    """How many of ``packets`` were marked, when the field may have gone round. ``marked_bytes`` is
    -1 if there is no sure counter of them. [RFC 9768 3.2.2.5.2, A.2]"""
    most = packets - (packets - count & _WRAP - 1)
    if marked_bytes < 0:
        return count if accurate.packets > _COMPRESSED else most
    if not marked_bytes:
        return count
    if packets >= 2 * _WRAP and (tcb.has_sack or tcb.recovery == RECOVERY_NONE):
        if news <= marked_bytes:
            return most
        likely = -(-marked_bytes * packets // news)
        return min(most, count + (likely & ~(_WRAP - 1)))
    if marked_bytes > count * tcb.mss:
        return most
    return count if marked_bytes < most * tcb.mss >> 1 else most


def _take_option(tcb: Tcb, accurate: Accurate, option: bytes | None, order: int, news: int) -> bool:
    """Bring our copies of the peer's counters up to date. False: they are not sure.
    [RFC 9768 3.2.3.1]"""
    delivered = accurate.delivered
    estimate = accurate.estimate
    if accurate.seen == SEEN_ZEROS:
        return False
    if option is None:
        if accurate.seen == SEEN_NOTHING:
            if tcb.snd_max - tcb.iss > _TOO_LATE_BYTES:
                accurate.seen = SEEN_ZEROS
        elif estimate:
            delivered[estimate] += news  # the counter that alone changed last goes on, presumably
            return True
        return False
    look_at(accurate, option)
    if accurate.seen == SEEN_ZEROS:
        return False
    is_sure = estimate != NOT_ECT
    has_changed = False
    is_ambiguous = False
    for place, mark in enumerate(_ORDERS[order]):
        field = option[place * _FIELD_BYTES : (place + 1) * _FIELD_BYTES]
        if len(field) < _FIELD_BYTES:
            break
        difference = int.from_bytes(field, "big") - _INITIAL[mark] - delivered[mark] & 0xFFFFFF
        if difference & 0x800000:
            difference -= 0x1000000
            is_sure, is_ambiguous = False, True
        delivered[mark] += difference
        if difference and mark != estimate:
            if has_changed:
                is_sure, is_ambiguous = False, True
            else:
                accurate.estimate = mark
                has_changed = True
    if is_ambiguous:
        accurate.estimate = NOT_ECT
    return is_sure
