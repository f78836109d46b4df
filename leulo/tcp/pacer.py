"""What a paced connection keeps, how fast it goes and how much it sends at once.

The rate is that of a congestion control with a model of the path, or else what window and
round-trip time say, twice that in slow start and 1.2 times later, as on Linux; SO_MAX_PACING_RATE
bounds it. [Linux socket(7)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp.timers import Timed
from leulo.units import NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

UNLIMITED: Final = 0  # a rate that is not known yet, or has no bound
_QUANTA_PER_S: Final = 1_000
_LEAST_SEGMENTS: Final = 2
_SLOW_BYTES_S: Final = 150_000  # below this a quantum is one segment: 1.2 Mbit/s
_FIELDS: Final = ("at", "has_expired", "model_rate", "next_ns")


class Pacer(Timed):
    """``model_rate`` is what the congestion control wants, bytes/s; UNLIMITED: it has no wish.

    Its deadline is an entry of the heap beside its connection's: what comes up a thousand times a
    second has nothing to do with the deadlines that are for when nothing comes.
    """

    __slots__ = (*_FIELDS, "again", "bytes_s", "cwnd", "lent", "nxt", "tcb")

    def __init__(self, tcb: Tcb) -> None:
        super().__init__(-tcb.serial)
        self.tcb: Tcb = tcb
        self.model_rate: int = UNLIMITED
        self.next_ns: int = 0  # nothing leaves before
        self.at: int = 0  # deadline: there is more to send then
        self.has_expired: bool = False  # the deadline has come, and nothing was sent yet
        # Between `opens` and `closes`:
        self.bytes_s: int = 0  # the rate
        self.cwnd: int = 0  # the window without the quantum's bound
        self.lent: int = 0  # cwnd while the quantum bounds it
        self.nxt: int = 0
        self.again: int = 0  # bytes repeated so far

    def save(self) -> Saved:
        return save_fields(self, 1, _FIELDS)

    @classmethod
    def loaded(cls, state: Saved, tcb: Tcb) -> Pacer:
        """The pacer of ``tcb`` saved as ``state``."""
        pacer = cls(tcb)
        load_fields(pacer, 1, _FIELDS, state)
        return pacer


def rate(tcb: Tcb, pacer: Pacer) -> int:
    """Bytes of payload a second, UNLIMITED while there is nothing to tell it from."""
    wanted = pacer.model_rate
    if not wanted and tcb.srtt_ns:
        config = tcb.engine.config
        percent = config.pacing_avoidance_percent
        if tcb.cwnd < tcb.ssthresh >> 1:
            percent = config.pacing_slow_start_percent
        wanted = max(min(percent, 1), tcb.cwnd * NS_PER_S // tcb.srtt_ns * percent // 100)
    most = tcb.settings.max_pacing_rate
    return most if most and (not wanted or most < wanted) else wanted


def quantum(tcb: Tcb, bytes_s: int) -> int:
    """Whole segments that may leave at once, in bytes."""
    mss = tcb.mss
    segments = bytes_s // _QUANTA_PER_S // mss
    least = 1 if bytes_s < _SLOW_BYTES_S else _LEAST_SEGMENTS
    return max(segments, least) * mss
