"""Every knob of the engine, as a sysctl would have it; frozen, one per stack.

The plain ``Config()`` is the preset ``linux``: the defaults of a current Linux where they are
observable from outside. Times are nanoseconds, sizes bytes of payload.
"""

from __future__ import annotations

from dataclasses import dataclass

from leulo.units import KIB, MIB, NS_PER_MS, NS_PER_S


@dataclass(frozen=True, slots=True)
class Config:
    """The knobs. Values are taken as they are: who reads a file or a flag checks them."""

    # options on the wire
    has_timestamps: bool = True  # [RFC 7323]
    has_window_scaling: bool = True  # [RFC 7323]
    has_sack: bool = True  # [RFC 2018]
    default_mss: int = 536  # the peer's when it names none [RFC 9293 3.7.1]
    default_mss6: int = 1_220  # the same over IPv6
    min_mss: int = 48  # smaller ones from a peer count as this

    # buffers, bytes of payload; they tune themselves from the default to the maximum
    rcv_min: int = 2 * KIB
    rcv_default: int = 64 * KIB
    rcv_max: int = 6 * MIB
    snd_min: int = 2 * KIB
    snd_default: int = 64 * KIB
    snd_max: int = 4 * MIB

    # what all connections of a stack may take together
    buffers_max: int = 1 << 40  # bytes in buffers; ENOBUFS and dropped data past it
    connections_max: int = 65_536  # ENOBUFS and dropped SYNs past it
    half_open_max: int = 65_536  # as half_open_limit, of all listeners
    orphans_max: int = 8_192  # closed by the user, not yet by the peer; reset past it

    # congestion control
    congestion: str = "cubic"
    initial_window_segments: int = 10  # [RFC 6928 2]
    restarts_after_idle: bool = True  # [RFC 5681 4.1]
    duplicate_threshold: int = 3  # [RFC 6675 2]
    has_rack: bool = True  # loss by time, on connections with SACK [RFC 8985]
    has_tail_probe: bool = True  # [RFC 8985 7]
    has_frto: bool = True  # [RFC 5682]
    has_dsack: bool = True  # report what came twice [RFC 2883]
    has_hystart: bool = True  # [RFC 9406]

    # retransmission
    rto_initial_ns: int = 1 * NS_PER_S  # [RFC 6298 2.1]
    rto_min_ns: int = 200 * NS_PER_MS
    rto_max_ns: int = 120 * NS_PER_S
    syn_retries: int = 6
    synack_retries: int = 5
    retries: int = 15  # R2 of an open connection [RFC 9293 3.8.3]
    orphan_retries: int = 8

    # acknowledgement
    delayed_ack_ns: int = 40 * NS_PER_MS
    quick_acks: int = 16  # segments acknowledged at once at a connection's beginning, as in Linux
    cork_ns: int = 200 * NS_PER_MS  # longest time a partial segment is held back by TCP_CORK

    # what Linux does in its own way
    probes_with_data: bool = False  # a zero window is probed by a byte, else by an old number
    trims_to_window: bool = False  # of a segment beyond the window; else all of it or nothing
    drops_missing_timestamps: bool = False  # segments without those agreed on [RFC 7323 3.2]
    delays_ack_of_fin: bool = True  # on an open connection, as for data
    rounds_first_window: bool = True  # down to whole segments
    acks_unsent: bool = False  # an open connection answers an acknowledgement of nothing sent

    # life and death
    time_wait_ns: int = 60 * NS_PER_S
    time_wait_limit: int = 65_536
    has_time_wait_reuse: bool = True  # an active open may reuse one after a second [RFC 6191]
    fin_timeout_ns: int = 60 * NS_PER_S  # an orphan in FIN_WAIT_2
    keep_idle_ns: int = 7_200 * NS_PER_S
    keep_interval_ns: int = 75 * NS_PER_S
    keep_count: int = 9

    # passive opens
    max_backlog: int = 4_096
    half_open_limit: int = 1_024  # per listener; past it cookies, or SYNs are dropped
    has_syn_cookies: bool = True  # [RFC 4987 3.6]

    # limits against attack
    challenge_acks_per_s: int = 1_000  # [RFC 5961 10]
    invalid_ack_interval_ns: int = 500 * NS_PER_MS  # one connection's answers to what may be forged
    reassembly_blocks: int = 256
    scoreboard_blocks: int = 256

    # ports of active opens [RFC 6056 3.2]
    first_ephemeral: int = 32_768
    last_ephemeral: int = 60_999


PRESETS = {"linux": Config()}
