"""Accurate ECN of one connection: the state, the handshake's codes, the receiver. [RFC 9768]

Three flags of every segment count the packets that arrived marked (the ACE field), and an option
the bytes behind each of the three marks. The object exists from the SYN that asks on, and no
longer if the peer does not take part; then `ecn` is all there is, or nothing. What the peer's
counters mean for what we send is in `accecn_feedback`. This module knows codepoints and counters,
and nothing of acknowledgement or congestion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp import segment_size
from leulo.tcp.options import ACCURATE_1, NOP

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

NOT_ECT: Final = 0
ECT1: Final = 1
ECT0: Final = 2
CE: Final = 3

FIRST: Final = 3  # of `Config.ecn`: from here on a SYN that asks for accurate ECN gets it
ASK: Final = 3  # and our own asks

ACE_AT: Final = 6  # the field's place in the flags: AE, CWR, ECE
ASKS: Final = 7 << ACE_AT  # of a SYN
CLASSIC: Final = 3  # the ACE of a SYN that asks for no more than RFC 3168
FIRST_ACE: Final = 5 << ACE_AT
_CEP: Final = 5  # where the counter of packets begins [RFC 9768 3.2.1]
# What a SYN-ACK or its ACK says of the other's mark, by that mark. [RFC 9768 3.1.1 table 2]
_ECHO: Final = (2, 3, 4, 6)
_MEANS: Final = (-1, -1, NOT_ECT, ECT1, ECT0, -1, CE, -1)  # and back [RFC 9768 3.2.2.1 table 4]

# How many fields of an option of order 1 reach as far as a mark's counter
_FIELDS_TO: Final = (0, 1, 3, 2)
_ALL_FIELDS: Final = 3
_FIELD_BYTES: Final = 3
_FIELD: Final = 0xFFFFFF
OPTION_BYTES: Final = 12  # of an option with all fields, filled up
_MOST_OPTION_BYTES: Final = 40
_BLOCK_BYTES: Final = 8  # of SACK
_LEAST_BLOCKS: Final = 2  # that no option takes the room of [RFC 9768 3.2.3.3]
_REPEAT_SHIFT: Final = 22  # a counter goes at least once for so many bits [RFC 9768 3.2.3.3]

# Values of `Config.ecn_option`
OPTION_ALWAYS: Final = 2

# Values of `Accurate.seen`: the best of the peer's options
SEEN_NOTHING: Final = 0
SEEN_EMPTY: Final = 1
SEEN_COUNTERS: Final = 2
SEEN_ZEROS: Final = 3  # somebody clears them: they are not looked at

_PENDING_WITH_DATA: Final = 2
_PENDING: Final = 3  # marks that are told at once [RFC 9768 3.2.2.5.1]
_SCALARS: Final = (
    "answer", "demand", "dsack_at", "estimate", "has_ect", "is_ambiguous", "is_deaf",
    "is_option_lost", "is_silent", "is_syn_ack_counted", "last_mark", "least_fields", "option_at",
    "packets", "pending", "received_ce", "room", "seen", "sent_mark",
)  # fmt: skip


class Accurate:
    """Counters begin at zero here; what they begin at on the wire is added there."""

    __slots__ = (*_SCALARS, "delivered", "received")

    def __init__(self) -> None:
        # -- as receiver
        self.received_ce: int = 0  # packets
        self.received: list[int] = [0, 0, 0, 0]  # bytes of payload by codepoint; the first unused
        self.last_mark: int = NOT_ECT
        self.pending: int = 0  # marks that no segment of ours has told of yet
        self.answer: int = 0  # flags with which the next bare ACK tells of the SYN-ACK, 0: none
        self.is_syn_ack_counted: bool = False
        self.is_silent: bool = False  # a record of TIME_WAIT speaks, which has no counters
        # -- the option we send
        self.least_fields: int = 0  # that have changed since the last one
        self.demand: int = 0  # so many segments have one in any case
        self.option_at: int = 0
        self.room: int = 0  # bytes that `tcb.mss` leaves for it
        self.dsack_at: int = -1  # what the last one said came twice, -1: nothing
        self.is_option_lost: bool = False  # the path seems to drop segments that have one
        # -- as sender
        self.sent_mark: int = NOT_ECT  # of our SYN or SYN-ACK
        self.has_ect: bool = True
        self.is_deaf: bool = False  # the peer's counters are not to be believed
        self.is_ambiguous: bool = False  # the count of packets may have been wrong once
        self.seen: int = SEEN_NOTHING
        self.delivered: list[int] = [0, 0, 0, 0]  # as ``received``, of the peer
        self.estimate: int = NOT_ECT  # the only counter that changed last, 0: not known
        self.packets: int = 0  # that one acknowledgement stands for, in 64ths, smoothed

    def save(self) -> Saved:
        out = save_fields(self, 2, _SCALARS)
        out["received"], out["delivered"] = list(self.received), list(self.delivered)
        return out

    @classmethod
    def loaded(cls, state: Saved) -> Accurate:
        """The object saved as ``state``."""
        accurate = cls()
        load_fields(accurate, 2, _SCALARS, state)
        accurate.received = list(state["received"])
        accurate.delivered = list(state["delivered"])
        return accurate

    @property
    def ace(self) -> int:
        """The flags of a segment of ours. [RFC 9768 3.2.2.2]"""
        return 0 if self.is_silent else (self.received_ce + _CEP & 7) << ACE_AT


# ---------------------------------------------------------------- the handshake


def ace_of(control: int) -> int:
    """The three bits in a segment's flags."""
    return control >> ACE_AT & 7


def is_asked(control: int) -> bool:
    """Does a SYN ask for accurate ECN? Every combination does that has no older meaning.
    [RFC 9768 3.1.3]"""
    return ace_of(control) not in (0, CLASSIC)


def echo(mark: int) -> int:
    """The flags of a SYN-ACK, or of its bare ACK, that tell of ``mark``."""
    return _ECHO[mark] << ACE_AT


def is_damaged(sent: int, arrived: int) -> bool:
    """May no router have made the one mark of the other? [RFC 9768 3.2.2.3]"""
    return sent != arrived and (NOT_ECT in (sent, arrived) or sent == CE)


def agrees(control: int) -> bool:
    """Does a SYN-ACK agree? [RFC 9768 3.1.1 table 2, 3.1.3]"""
    return ace_of(control) not in (0, 1, 7)


def syn_ack_arrives(tcb: Tcb, accurate: Accurate, control: int, mark: int) -> None:
    """The peer has agreed. [RFC 9768 3.1.5, 3.2.2.1, 3.2.2.3]"""
    meant = _MEANS[ace_of(control)]
    if meant >= 0 and _looks_for_damage(tcb):
        accurate.has_ect = not is_damaged(accurate.sent_mark, meant)
    accurate.last_mark = mark
    accurate.demand = 2
    syn_ack_again(accurate, mark)


def syn_ack_again(accurate: Accurate, mark: int) -> None:
    """The next bare ACK tells of the SYN-ACK's mark; one counts. [RFC 9768 3.2.2.2]"""
    accurate.answer = echo(mark)
    accurate.demand = max(accurate.demand, 1)
    if mark == CE and not accurate.is_syn_ack_counted:
        accurate.is_syn_ack_counted = True
        accurate.received_ce += 1
        accurate.pending += 1


def passive(mark: int, sent_mark: int, is_plain: bool, counts_syn: bool) -> Accurate:
    """The state of a server whose client asked by a SYN with ``mark``; ``is_plain``: a SYN or a
    SYN-ACK without the flags was among theirs, so nothing may be capable. [RFC 9768 3.1.5]
    ``counts_syn``: the SYN's mark counts, as on FreeBSD."""
    accurate = Accurate()
    accurate.received_ce = int(counts_syn and mark == CE)
    accurate.last_mark = mark
    accurate.sent_mark = sent_mark
    accurate.has_ect = not is_plain
    accurate.demand = 1
    return accurate


def handshake_ends(tcb: Tcb, accurate: Accurate, control: int) -> bool:
    """A bare ACK without SACK completes a passive handshake. True: it says that the SYN-ACK was
    marked. [RFC 9768 3.2.2.1 table 4]"""
    ace = ace_of(control)
    if not ace and not tcb.engine.config.has_freebsd_ecn:
        accurate.has_ect = False
        accurate.is_deaf = True
        return False
    meant = _MEANS[ace]
    if meant >= 0 and _looks_for_damage(tcb) and is_damaged(accurate.sent_mark, meant):
        accurate.has_ect = False
    return meant == CE


def _looks_for_damage(tcb: Tcb) -> bool:
    config = tcb.engine.config
    return config.has_ecn_fallback and not config.has_freebsd_ecn


# ---------------------------------------------------------------- what arrives


def arrives(tcb: Tcb, accurate: Accurate, mark: int, length: int) -> None:
    """An acceptable segment with ``length`` bytes of payload; decides whether it is answered at
    once. [RFC 9768 3.2, 3.2.2.5.1]"""
    if mark != NOT_ECT:
        if mark == CE:
            most = segment_size.of_link(tcb.engine, len(tcb.peer) == 4)
            count = 1 if length <= most else -(-length // most)  # some that the link has joined
            accurate.received_ce += count
            accurate.pending += count
            tcb.engine.counts["tcp_ecn_marks"] += count
        if length:
            old = accurate.received[mark]
            new = accurate.received[mark] = old + length
            accurate.least_fields = max(accurate.least_fields, _FIELDS_TO[mark])
            if old >> _REPEAT_SHIFT != new >> _REPEAT_SHIFT:
                accurate.demand = max(accurate.demand, 1)
    is_edge = mark != accurate.last_mark
    accurate.last_mark = mark
    if is_edge or mark == CE:
        accurate.demand = 2
    is_due = False
    if tcb.engine.config.has_freebsd_ecn:
        pass
    elif length:
        is_due = is_edge or accurate.pending >= _PENDING_WITH_DATA
    elif mark == CE:
        # An ACK of ACKs, which has no SACK, so that nobody takes it for a duplicate.
        most = _PENDING_WITH_DATA if tcb.rcv_nxt > tcb.last_ack_sent else _PENDING
        is_due = accurate.pending >= most and tcb.reassembly is None and tcb.dsack is None
    if is_due:
        tcb.ack_due = max(tcb.ack_due, 2)  # `tcb.ACK_NOW`
        tcb.engine.want_output(tcb)


def last_fin_arrives(tcb: Tcb, accurate: Accurate) -> None:
    """The peer's FIN behind ours; what answers it is as good as TIME_WAIT in FreeBSD, and in Linux
    where the user has closed."""
    config = tcb.engine.config
    # Deviation: no counter is told from there on, because that is how these two are.
    # [RFC 9768 3.2.2.2]
    if not config.has_ace_in_time_wait and (tcb.is_orphan or config.has_freebsd_ecn):
        accurate.is_silent = True


def repeats(tcb: Tcb, accurate: Accurate, start: int) -> None:
    """The bytes from ``start`` on came again. If the last ACK with the option said so of the same
    bytes, it was lost: so may be all that have one. [RFC 9768 3.2.3.2.2]"""
    if accurate.dsack_at == start and tcb.has_sack:
        accurate.is_option_lost = True


# ---------------------------------------------------------------- what leaves


def fit(tcb: Tcb, accurate: Accurate) -> None:
    """Full segments leave room for the option as long as segments may have one."""
    config = tcb.engine.config
    room = OPTION_BYTES
    if not config.ecn_option or not accurate.seen or accurate.is_option_lost:
        room = 0
    if room != accurate.room:
        segment_size.headers_grow(tcb, room - accurate.room)
        accurate.room = room


def is_option_due(tcb: Tcb, accurate: Accurate) -> bool:
    """Shall the segment that is being made have the option?"""
    config = tcb.engine.config
    # Deviation: not before the peer has sent one, as in Linux: who strips those of one side
    # strips the other's. [RFC 9768 3.2.3.2.3]
    if not config.ecn_option or not accurate.seen or accurate.is_option_lost:
        return False
    if config.ecn_option >= OPTION_ALWAYS or accurate.demand:
        return True
    beacon = config.ecn_option_beacon
    return beacon > 0 and (tcb.engine.now_ns - accurate.option_at) * beacon >= tcb.srtt_ns


def option(
    tcb: Tcb, accurate: Accurate, taken: int, blocks: int, is_bare: bool
) -> tuple[bytes, int]:
    """The option of a segment in which ``taken`` bytes of options and ``blocks`` of SACK have
    their place, with what fills it up; and how many of these blocks remain. The words of SACK
    follow directly: their own two NOPs are in it. Empty if what has changed has no room.
    [RFC 9768 3.2.3, 3.2.3.3]"""
    lead = b"\x01\x01" if blocks else b""
    if not is_option_due(tcb, accurate):
        accurate.dsack_at = -1
        return lead, blocks
    required = accurate.least_fields
    left = blocks
    fields = _ALL_FIELDS
    while True:
        rest = _MOST_OPTION_BYTES - taken - (4 + left * _BLOCK_BYTES if left else 0)
        size = 2 + fields * _FIELD_BYTES
        # Up to two bytes take the place of the NOPs before SACK.
        padded = size & ~3 if size & 3 <= (2 if left else 0) else size + 3 & ~3
        if padded <= rest:
            break
        if fields > required:
            fields -= 1
        elif left > _LEAST_BLOCKS and required:
            left -= 1
            fields = _ALL_FIELDS
        else:
            accurate.dsack_at = -1
            return lead, blocks
    text = bytes((ACCURATE_1, size)) + _counters(accurate)[: fields * _FIELD_BYTES]
    fill = padded + 2 - size if left else padded - size
    accurate.least_fields = 0
    accurate.option_at = tcb.engine.now_ns
    if accurate.demand:
        accurate.demand -= 1
    accurate.dsack_at = -1 if tcb.dsack is None or not is_bare else tcb.dsack[0]
    return text + bytes((NOP,)) * fill, left


def _counters(accurate: Accurate) -> bytes:
    """The three fields in order 1. [RFC 9768 3.2.1, 3.2.3.1]"""
    received = accurate.received
    return b"".join(
        (value & _FIELD).to_bytes(_FIELD_BYTES, "big")
        for value in (received[ECT1] + 1, received[CE], received[ECT0] + 1)
    )


# Of a SYN-ACK, whose counters are what they begin with.
SYN_ACK_OPTION: Final = bytes((ACCURATE_1, 11, 0, 0, 1, 0, 0, 0, 0, 0, 1, NOP))


def with_option(options: bytes, is_behind_timestamps: bool, spare: int) -> bytes:
    """A SYN-ACK's options with this one, if there is room: behind the segment size, or as in Linux
    behind the timestamps that come next. ``spare`` bytes more follow."""
    if len(options) + spare + OPTION_BYTES > _MOST_OPTION_BYTES:
        return options
    at = 16 if is_behind_timestamps else 4
    return options[:at] + SYN_ACK_OPTION + options[at:]
