"""TCP_INFO: struct tcp_info as Linux lays it out. [Linux tcp(7)]

Every field that Linux fills is filled, and counts what it counts there: SYN-ACKs of a passive open
do not count as sent, but as delivered; a super-segment is as many as the segments it stands for.
What is sent again takes no other path, so there never was a change of it (``tcpi_rehash``).
What is not known has Linux's value for that: zero, and all ones in ``tcpi_min_rtt`` and in the
rates of what is not paced.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from leulo.tcp import handshake, path_mtu
from leulo.tcp.accecn import CE, ECT0, ECT1, SEEN_ZEROS
from leulo.tcp.pacer import rate
from leulo.tcp.rtt import backed_off
from leulo.tcp.state import State
from leulo.tcp.tcb import RECOVERY_CWR, RECOVERY_FAST, RECOVERY_TIMEOUT, Tcb
from leulo.units import NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.socket import TcpSocket

# 8 bytes, 24 words, 4 quads, 6 words, 4 quads, 2 words, 2 quads, 6 words, 2 halves, 9 words
_LAYOUT: Final = Struct("<8B24I4Q6I4Q2I2Q6I2H9I")
_VALUES: Final = 67

_CA_OPEN: Final = 0
_CA_DISORDER: Final = 1
_CA_CWR: Final = 2
_CA_RECOVERY: Final = 3
_CA_LOSS: Final = 4
_OPT_TIMESTAMPS: Final = 1
_OPT_SACK: Final = 2
_OPT_WSCALE: Final = 4
_OPT_ECN: Final = 8
_OPT_ECN_SEEN: Final = 16
_OPT_SYN_DATA: Final = 32
_OPT_TFO_CHILD: Final = 128  # accepted before its handshake was complete
_APP_LIMITED: Final = 1
_MODE_CLASSIC: Final = 1
_MODE_ACCURATE: Final = 2
_FAIL_ACE_SEND: Final = 1
_FAIL_ACE_RECEIVE: Final = 2
_FAIL_OPTION_SEND: Final = 4
_FAIL_OPTION_RECEIVE: Final = 8
_UNKNOWN_RTT: Final = 0xFFFFFFFF
_UNPACED: Final = 0xFFFFFFFFFFFFFFFF
_INFINITE: Final = 0x7FFFFFFF
_US: Final = 1_000
_MS: Final = 1_000_000


def tcp_info(socket: TcpSocket) -> bytes:
    """The structure for ``socket``; one without a connection tells what a new one begins with."""
    tcb = socket.tcb
    if tcb is None:
        values = [0] * _VALUES
        values[7] = _APP_LIMITED
        config = socket.engine.config
        values[0] = int(socket.state)
        values[8] = config.rto_initial_ns // _US
        values[10] = config.default_mss
        values[25] = _INFINITE
        values[26] = config.initial_window_segments
        values[28] = config.duplicate_threshold
        values[32] = values[33] = _UNPACED
        values[39] = _UNKNOWN_RTT
        listener = socket.listener
        if listener is not None:
            values[8] = values[10] = values[25] = 0
            values[7] = values[39] = 0
            values[12] = len(listener.accept_queue)  # as Linux: unacked and sacked of a listener
            values[13] = listener.backlog
        return _LAYOUT.pack(*values)
    return _LAYOUT.pack(*_of(tcb))


def _of(tcb: Tcb) -> tuple[int, ...]:
    engine = tcb.engine
    path_mtu.refresh(tcb)
    mss = max(tcb.mss, 1)
    board = tcb.scoreboard
    sacked = 0 if board is None else board.sacked
    outstanding = tcb.snd_max - tcb.snd_una
    unacked = _segments(tcb, mss, outstanding) if tcb.flight is None else tcb.flight.segments()
    lost = 0
    again = -(-max(0, min(tcb.again_end, tcb.snd_max) - tcb.snd_una) // mss)
    if tcb.flight is not None:
        lost, marked = tcb.flight.counts()
        if tcb.flight.order is not None:
            again = marked
    elif tcb.recovery == RECOVERY_TIMEOUT:
        lost = -(-(tcb.snd_max - tcb.snd_nxt) // mss)
    elif board is not None and tcb.recovery == RECOVERY_FAST:
        edge = board.lost_edge(tcb.mss, engine.config.duplicate_threshold)
        lost = -(-max(0, edge - tcb.snd_una - board.below(edge)) // mss)
    is_open = tcb.state not in (State.SYN_SENT, State.SYN_RCVD)
    ca_state = _CA_OPEN
    if tcb.recovery == RECOVERY_FAST:
        ca_state = _CA_RECOVERY
    elif tcb.recovery == RECOVERY_TIMEOUT or (tcb.backoff and not is_open):
        ca_state = _CA_LOSS
    elif tcb.recovery == RECOVERY_CWR:
        ca_state = _CA_CWR
    elif tcb.dupacks:
        ca_state = _CA_DISORDER
    fast = tcb.fast_open
    options = (
        _OPT_TIMESTAMPS * tcb.has_timestamps
        | _OPT_SACK * tcb.has_sack
        | _OPT_WSCALE * (tcb.rcv_wscale > 0 or tcb.snd_wscale > 0)
        | _OPT_ECN * (tcb.ecn is not None)
        | _OPT_ECN_SEEN * (tcb.ecn is not None and tcb.ecn.is_seen)
        | _OPT_SYN_DATA * (fast is not None and fast.is_acked)
        | _OPT_TFO_CHILD * (fast is not None and fast.is_passive)
    )
    reordering = tcb.reordering
    degree = engine.config.duplicate_threshold
    dsacks = 0
    if reordering is not None:
        degree = max(degree, reordering.degree)
        dsacks = reordering.dsacks
    now_ns = engine.now_ns
    window_ns = buffer_ns = 0
    if tcb.limits is not None:
        window_ns, buffer_ns = tcb.limits.totals(now_ns)
    busy_ns = tcb.busy_ns + (now_ns - tcb.busy_at if tcb.busy_at else 0)
    received = max(0, tcb.rcv_nxt - tcb.irs - 1) if is_open else 0
    acked = max(0, tcb.snd_una - tcb.iss) if is_open else 0  # the SYN is one, as on Linux
    unit = 1 if engine.config.has_freebsd_syn else mss  # of windows
    sent = max(0, min(tcb.snd_max, tcb.snd_end) - tcb.iss - 1)
    # Whatever was sent once and is not outstanding has arrived, and so have needless repeats.
    waiting = unacked - -(-sacked // mss)
    delivered = tcb.data_out - tcb.retransmits - waiting + dsacks
    since_send = _bounded((now_ns - tcb.last_send_ns) // _MS)
    since_data = _bounded((now_ns - tcb.last_data_ns) // _MS)
    since_recv = _bounded((now_ns - tcb.heard_ns) // _MS)
    again_tries, probes = (tcb.backoff if tcb.first_timeout_at else 0), tcb.keep_probes
    if tcb.recovery == RECOVERY_TIMEOUT and not tcb.is_persisting:
        again_tries, probes = again_tries + probes, 0  # for a device that took nothing
    return (
        _state(tcb), ca_state, min(again_tries, 255),
        min(probes, 255), min(_doublings(tcb), 255), options,
        tcb.snd_wscale | tcb.rcv_wscale << 4,
        (0 if fast is None else fast.failure << 1) | _is_limited(tcb),
        (tcb.rto_ns if tcb.is_persisting else backed_off(tcb)) // _US,
        engine.config.delayed_ack_ns // _US, tcb.mss, tcb.rcv_mss,
        unacked, -(-sacked // mss), lost, again, 0,
        since_send, 0, since_data, since_recv,
        path_mtu.of_tcb(tcb), _bounded(tcb.rcv_limit), tcb.srtt_ns // _US, tcb.rttvar_ns // _US,
        _bounded(tcb.ssthresh // unit) if tcb.ssthresh < 1 << 40 else _INFINITE,
        _bounded(tcb.cwnd // unit), handshake.own_mss(engine, tcb.settings, tcb.ends), degree,
        0 if tcb.receiver_rtt is None else tcb.receiver_rtt.rtt_ns // _US, _receive_space(tcb),
        tcb.retransmits,
        _UNPACED if tcb.pacer is None else rate(tcb, tcb.pacer) or _UNPACED,
        tcb.settings.max_pacing_rate or _UNPACED, acked, received,
        _bounded(tcb.data_out + tcb.bare_out), _bounded(tcb.data_in + tcb.bare_in),
        _bounded(tcb.snd_end - tcb.snd_max),
        tcb.min_rtt_ns // _US or _UNKNOWN_RTT, _bounded(tcb.data_in),
        _bounded(tcb.data_out - tcb.control_out),
        _delivery_rate(tcb, acked, busy_ns), busy_ns // _US, window_ns // _US, buffer_ns // _US,
        _bounded(delivered), 0 if tcb.ecn is None else tcb.ecn.delivered_ce,
        sent + tcb.retransmitted_bytes, tcb.retransmitted_bytes,
        _bounded(dsacks), 0 if reordering is None else reordering.count,
        _bounded(tcb.overtaking_in), _bounded(tcb.snd_wnd),
        _bounded(tcb.rcv_adv - tcb.rcv_nxt), 0, *_timeouts(tcb), *_accurate(tcb),
    )  # fmt: skip


def _state(tcb: Tcb) -> int:
    """As the user is told: on Linux a connection in TIME_WAIT is no longer the socket's."""
    is_over = tcb.state is State.TIME_WAIT and not tcb.engine.config.has_freebsd_syn
    return int(State.CLOSED if is_over else tcb.state)


def _segments(tcb: Tcb, mss: int, outstanding: int) -> int:
    """How many carry what is outstanding, all but the last of them full."""
    if tcb.snd_una == tcb.iss and outstanding:
        return 1 + -(-(outstanding - 1) // mss)  # data with a SYN is a segment of its own
    if tcb.snd_max > tcb.snd_end and outstanding > 1:
        outstanding -= 1  # the FIN is in the last
    return -(-outstanding // mss)


def _receive_space(tcb: Tcb) -> int:
    """Bytes that the user reads in a round trip, at the least an initial window: what the receive
    buffer is tuned by. FreeBSD says the window."""
    config = tcb.engine.config
    if config.has_freebsd_syn:
        return _bounded(tcb.rcv_adv - tcb.rcv_nxt)
    first = config.initial_window_segments * handshake.own_mss(tcb.engine, tcb.settings, tcb.ends)
    return _bounded(max(min(first, tcb.rcv_limit), tcb.rcv_round_bytes))


def _is_limited(tcb: Tcb) -> int:
    """Was it the user who set the pace when the rate of delivery was measured?"""
    return _APP_LIMITED if tcb.goodput is None or tcb.goodput.is_limited else 0


def _delivery_rate(tcb: Tcb, acked: int, busy_ns: int) -> int:
    """Bytes a second, 0: not known. Where there never was more than one segment on its way, or
    RACK does not care, it is the mean of the time in which there was something to send."""
    if tcb.goodput is not None:
        return tcb.goodput.bytes_s
    return max(0, acked - 1) * NS_PER_S // busy_ns if busy_ns else 0


def _timeouts(tcb: Tcb) -> tuple[int, int, int]:
    """How many there were, how many recoveries from them, and milliseconds that these took."""
    timeouts = tcb.timeouts
    if timeouts is None:
        return 0, 0, 0
    total_ms = timeouts.total_ns(tcb.engine.now_ns) // _MS
    return min(timeouts.count, 0xFFFF), min(timeouts.recoveries, 0xFFFF), _bounded(total_ms)


def _accurate(tcb: Tcb) -> tuple[int, ...]:
    """The counters of accurate ECN, as the peer has them and as we do, and what is known of the
    path. [RFC 9768 3.2]"""
    ecn = tcb.ecn
    if ecn is None:
        return (0,) * 8
    accurate = ecn.accurate
    if accurate is None:
        return (0,) * 7 + (_MODE_CLASSIC,)
    delivered, received = accurate.delivered, accurate.received
    failed = (
        _FAIL_ACE_SEND * (not accurate.has_ect and not accurate.is_deaf)
        | _FAIL_ACE_RECEIVE * accurate.is_deaf
        | _FAIL_OPTION_SEND * accurate.is_option_lost
        | _FAIL_OPTION_RECEIVE * (accurate.seen == SEEN_ZEROS)
    )
    return (
        _bounded(accurate.received_ce),
        *(_bounded(delivered[mark]) for mark in (ECT1, ECT0, CE)),
        *(_bounded(received[mark]) for mark in (ECT1, ECT0, CE)),
        _MODE_ACCURATE | accurate.seen << 2 | failed << 4,
    )


def _doublings(tcb: Tcb) -> int:
    """How often the timeout was doubled; the first of a SYN are not."""
    if tcb.state is State.SYN_SENT:
        return max(0, tcb.backoff - tcb.engine.config.syn_linear_timeouts)
    return tcb.backoff


def _bounded(value: int) -> int:
    return max(0, min(value, 0xFFFFFFFF))
