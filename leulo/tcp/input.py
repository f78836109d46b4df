"""A segment arrives for a connection. [RFC 9293 3.10.7.4]

`segment_arrives` predicts the usual segment of a connection past its handshake: next in order,
timestamps the only option, no flag but ACK, PSH and FIN. It is done with it in a few steps;
everything else goes to `examine`, which walks the RFC's list. Nothing is sent from here: what is
due is noted in the connection, and `output` sends it in drain.
"""

from __future__ import annotations

from typing import Final

from leulo.tcp.ack import acknowledged, fin_acknowledged, last_acknowledged, take_window
from leulo.tcp.deadlines import repeat_fin
from leulo.tcp.ecn import data_arrives
from leulo.tcp.events import tell_segment_in
from leulo.tcp.examine import examine
from leulo.tcp.header import FIN, TCP_AT, TIMESTAMPED_AT
from leulo.tcp.options import TIMESTAMPS_ONLY
from leulo.tcp.receiver_rtt import FULL_BYTES, echo_arrives
from leulo.tcp.seq import HALF, MASK
from leulo.tcp.state import ESTABLISHED, RECEIVES
from leulo.tcp.tcb import Tcb
from leulo.tcp.text import VIEWED_BYTES, deliver, take_last_text

_PREDICTED: Final = 0xF0F6  # of offset and flags, all but FIN, PSH and reserved bits
_ORDINARY: Final = 0x8010  # eight words, ACK


def segment_arrives(
    tcb: Tcb,
    frame: bytes,
    end: int,
    seq: int,
    ack: int,
    control: int,
    window: int,
    option: int,
    tsval: int,
    tsecr: int,
    now_ns: int,
) -> None:
    """The segment in ``frame[44:end]``, its checksum verified, for ``tcb``.

    ``control`` is the word of offset and flags, ``option`` the first four bytes of the options;
    ``tsval`` and ``tsecr`` are what stands there if that is a timestamp.
    """
    engine = tcb.engine
    if engine.segment_in.active:
        length = end - TCP_AT - (control >> 12) * 4
        tell_segment_in(tcb, seq, ack, control & 0xFF, window, length, now_ns)
    if tcb.is_ordinary and control & _PREDICTED == _ORDINARY and option == TIMESTAMPS_ONLY:
        acked = (ack - tcb.snd_una) & MASK
        length = end - TIMESTAMPED_AT
        rcv_nxt = tcb.rcv_nxt
        age = (tsval - tcb.ts_recent) & MASK
        fin = control & FIN
        if (
            not (seq - rcv_nxt) & MASK
            and (length > 0 or (not length and (acked or fin)))
            and acked <= tcb.snd_max - tcb.snd_una
            and length + fin <= tcb.rcv_adv - rcv_nxt
            and age < HALF
            and (not length or engine.account.used < engine.account.limit)
            and (
                tcb.state is ESTABLISHED
                or not (length or fin)
                or (RECEIVES >> tcb.state & 1 and not (length and tcb.is_deaf))
            )
        ):
            if age and tcb.last_ack_sent == rcv_nxt:
                tcb.ts_recent = tsval
                tcb.ts_recent_at = now_ns
                if length >= FULL_BYTES:
                    echo_arrives(tcb, length, tsecr)
            wnd = window << tcb.snd_wscale
            if wnd != tcb.snd_wnd:
                take_window(tcb, wnd)
            tcb.snd_wl1 = rcv_nxt
            if acked:
                if tcb.is_orphan and tcb.snd_una + acked > tcb.snd_end:
                    if not last_acknowledged(tcb, acked, now_ns):
                        return
                else:
                    acknowledged(tcb, acked, tsecr, now_ns)
                    if tcb.snd_una > tcb.snd_end and not fin_acknowledged(tcb, now_ns):
                        return
            tcb.snd_wl2 = tcb.snd_una
            if fin:
                if length:
                    tcb.data_in += 1
                else:
                    tcb.bare_in += 1
                    tcb.last_recv_ns = now_ns
                take_last_text(tcb, frame, TIMESTAMPED_AT, length)
                if length:
                    tcb.last_data_ns = now_ns
            elif length:
                tcb.data_in += 1
                if tcb.ecn is not None:
                    data_arrives(tcb, tcb.ecn, frame)
                if length < VIEWED_BYTES or length << 1 < len(frame):
                    deliver(tcb, frame[TIMESTAMPED_AT:end], length)
                else:  # as `payload` has it
                    deliver(tcb, memoryview(frame)[TIMESTAMPED_AT:end], length)
                tcb.last_data_ns = now_ns
            else:
                tcb.bare_in += 1
                tcb.last_recv_ns = now_ns
            return
    examine(tcb, frame, end, seq, ack, control, window, option, tsval, tsecr, now_ns)
    if tcb.is_fin_queued:
        repeat_fin(tcb)
