"""Every knob of the engine, as a sysctl would have it; frozen, one per stack.

The plain ``Config()`` is the preset ``linux``: the defaults of a current Linux where they are
observable from outside. The preset ``freebsd`` is FreeBSD's base stack likewise [FreeBSD tcp(4)],
``rfc`` the standards' own figures, where they name one. Times are nanoseconds, sizes bytes of
payload.
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
    route_mss: int = 0  # what is announced at most; 0: as much as the link carries
    default_mss: int = 536  # the peer's when it names none [RFC 9293 3.7.1]
    default_mss6: int = 1_220  # the same over IPv6
    # A SYN's options in FreeBSD's order, and the scale always for the largest buffer there may be
    has_freebsd_syn: bool = False
    min_mss: int = 48  # smaller ones from a peer count as this

    # buffers, bytes of payload; they tune themselves from the default to the maximum
    rcv_min: int = 2 * KIB
    rcv_default: int = 64 * KIB
    rcv_max: int = 6 * MIB
    snd_min: int = 2_304
    snd_default: int = 64 * KIB
    snd_max: int = 4 * MIB
    tunes_rcvbuf: bool = True  # else the receive buffer stays as it was, or as its user has set it
    notsent_lowat: int = 0  # TCP_NOTSENT_LOWAT of who has set none; 0: no bound
    is_buffer_doubled: bool = True  # SO_RCVBUF and SO_SNDBUF are read back as twice the payload
    has_whole_segment_buffers: bool = False  # rounded up to segments when a connection opens
    # What arrives counts by the memory that it takes on a TUN device of Linux, not by its payload
    counts_memory: bool = False
    # Every segment offers all the room there is, and all of it is accepted, even what 16 bits
    # cannot say: a scaled window is rounded down. Otherwise the window moves by steps, is rounded
    # up, and binds this side, too.
    offers_all_room: bool = False

    # what all connections of a stack may take together
    buffers_max: int = 1 << 40  # bytes in buffers; ENOBUFS and dropped data past it
    connections_max: int = 65_536  # ENOBUFS and dropped SYNs past it
    half_open_max: int = 65_536  # as half_open_limit, of all listeners
    orphans_max: int = 8_192  # closed by the user, not yet by the peer; reset past it

    # explicit congestion notification [RFC 3168]
    # 0: off, 1: asked for, 2: on the peer's request; 3: accurate ECN asked for, and so is it on
    # request with 4, which asks for the older kind, and with 5, which does not ask [RFC 9768]
    ecn: int = 2
    has_ecn_fallback: bool = True  # a SYN sent again does not ask, and marks that changed count
    ecn_retries: int = 0  # SYNs sent again that ask nevertheless
    ecn_option: int = 2  # of accurate ECN, 0: never, 1: when it tells something, 2: in all segments
    ecn_option_beacon: int = 3  # so often in a round trip with 1
    # With accurate ECN all segments behind the handshake are capable; else new data alone
    has_capable_control: bool = True
    # What else than new data is marked as capable: 0: nothing, 1: SYN-ACKs [RFC 5562],
    # 2: everything [draft-ietf-tcpm-generalized-ecn]
    ecn_of_control: int = 0
    # Marks of the handshake that no router can have made change nothing, what arrives marked is
    # answered no sooner, an ACK's mark counts, and a new window probe is capable, as on FreeBSD
    has_freebsd_ecn: bool = False
    has_ace_in_time_wait: bool = False  # the last ACKs, too, say what accurate ECN has counted
    has_cwr_again: bool = False  # a fast retransmission says CWR, as on FreeBSD

    # congestion control
    congestion: str = "cubic"
    initial_window_segments: int = 10  # [RFC 6928 2]
    restarts_after_idle: bool = True  # [RFC 5681 4.1]
    duplicate_threshold: int = 3  # [RFC 6675 2]
    has_rack: bool = True  # loss by time, on connections with SACK [RFC 8985]
    has_tail_probe: bool = True  # [RFC 8985 7]
    has_frto: bool = True  # [RFC 5682]
    max_reordering: int = 300  # segments that one counts as late by, at most
    sends_last_fin: bool = True  # though the window is full; not so on Linux 6.18
    has_limited_transmit: bool = True  # the first duplicates let new segments out [RFC 3042]
    undoes_backoff: bool = True  # for a router's word that a retransmission got to him [RFC 6069]
    has_dsack: bool = True  # report what came twice [RFC 2883]
    # Fast recovery without RACK, and without SACK, too, sends in proportion to what arrives
    # [RFC 9937]; else as the window of RFC 6582 and RFC 6675 allows
    has_rate_reduction: bool = True
    # In recovery with SACK but without RACK every acknowledgement that goes forward is answered
    answers_partial_acks: bool = False
    has_linux_cubic: bool = True  # CUBIC's two departures from its RFC in Linux
    hystart: str = "linux"  # "++": [RFC 9406], "linux": its forerunner, with CUBIC, "": none
    # Conservative slow start grows by an acknowledged segment in so many. An eighth loses less than
    # the RFC's quarter, in the same time (decision 9) [RFC 9406 4.3]
    css_growth_divisor: int = 8

    has_pacing: bool = False  # every connection is paced; else those that ask for it
    # How fast, in hundredths of a window a round trip, where no model of the path says it; 0: as
    # if it were not paced
    pacing_slow_start_percent: int = 200
    pacing_avoidance_percent: int = 120

    # retransmission
    rto_initial_ns: int = 1 * NS_PER_S  # [RFC 6298 2.1]
    rto_min_ns: int = 200 * NS_PER_MS
    # The minimum bounds the variance's part of the timeout, which falls slowly, as in Linux;
    # else all of it [RFC 6298 2]
    has_min_variance: bool = True
    rto_slop_ns: int = 0  # on top of every timeout but a SYN's first
    rto_max_ns: int = 120 * NS_PER_S
    connect_timeout_ns: int = 0  # of an active open, beside the retries; 0: none
    plain_syn_retries: int = 0  # from this retransmission on a SYN has no options but MSS; 0: never
    persist_min_ns: int = 0  # bounds between window probes
    persist_max_ns: int = 120 * NS_PER_S
    syn_retries: int = 6
    # So many timeouts of a SYN are as long as the first, and beside ``syn_retries``
    syn_linear_timeouts: int = 4
    # How soon a SYN goes again whose wrong acknowledgement was reset: its sender has nothing any
    # more that it could be of; 0: at its time
    syn_after_reset_ns: int = 12 * NS_PER_MS
    synack_retries: int = 5
    retries1: int = 3  # R1: then the path is suspected [RFC 9293 3.8.3]
    retries: int = 15  # R2 of an open connection [RFC 9293 3.8.3]
    orphan_retries: int = 8

    # acknowledgement
    delayed_ack_ns: int = 40 * NS_PER_MS
    quick_acks: int = 16  # segments acknowledged at once at a connection's beginning, as in Linux
    # The first of these waits so long for the user's answer to ride on, or until the user rests
    # (`Engine.release_acks`): for a guest, that is about to run; 0: not at all
    ack_patience_ns: int = 0
    acks_every_second: bool = False  # every second segment at once, however small it is
    # What a small segment waits for: "strict" for everything that is outstanding
    # [RFC 9293 3.7.4], "bsd" for what was when the user wrote, "minshall" for a small one alone
    nagle: str = "minshall"
    cork_ns: int = 200 * NS_PER_MS  # longest time a partial segment is held back by TCP_CORK

    # what Linux does in its own way
    reduces_cwnd: bool = True  # a loss takes its part of cwnd, else of what is in flight
    probes_with_data: bool = False  # a zero window is probed by a byte, else by an old number
    # What ends at our last acknowledgement or behind counts but for its text, else it is old
    takes_last_again: bool = True
    trims_to_window: bool = False  # of a segment beyond the window; else all of it or nothing
    drops_missing_timestamps: bool = False  # segments without those agreed on [RFC 7323 3.2]
    delays_ack_of_fin: bool = True  # on an open connection, as for data
    may_shrink_window: bool = False  # to the room that is left [RFC 7323 2.4]
    grows_over_gaps: bool = True  # the receive buffer, by what has come ahead of one
    super_segment: int = 0  # payload of the segments that one larger than the MSS is of; 0: the MSS
    rounds_first_window: bool = True  # down to whole segments
    first_window_segments: int = 0  # how many it has at most; 0: no such bound
    first_window_most: int = 0  # that nobody asked for, which is not rounded then; 0: no such bound
    # An open connection answers an acknowledgement of nothing sent, as Linux does from 7.1 on and
    # in later releases of 6.18; else it drops it in silence, as Linux did before
    acks_unsent: bool = False

    # life and death
    time_wait_ns: int = 60 * NS_PER_S
    time_wait_limit: int = 65_536
    has_time_wait_reuse: bool = True  # an active open may reuse one after a while [RFC 6191]
    time_wait_reuse_ns: int = 1 * NS_PER_S  # so that the timestamp clock has surely moved on
    fin_timeout_ns: int = 60 * NS_PER_S  # an orphan in FIN_WAIT_2
    keep_idle_ns: int = 7_200 * NS_PER_S
    keep_interval_ns: int = 75 * NS_PER_S
    keep_count: int = 9
    always_keepalive: bool = False  # whatever the user says [FreeBSD tcp(4)]
    has_window_in_reset: bool = True  # a user's reset says what window there was, else 0
    resets_unread: bool = True  # closing with data unread is a reset [RFC 2525 2.17]
    # A user who does not linger resets a connection that both sides have closed, too; else it is
    # forgotten [RFC 9293 3.10.5]
    resets_when_over: bool = False
    # Behind shutdown(SHUT_RD) what comes is acknowledged and thrown away; else it can be read
    discards_after_shutdown: bool = False
    has_epipe_on_reset: bool = True  # a reset in CLOSE_WAIT is EPIPE, not ECONNRESET
    # The urgent pointer names the last urgent byte, as RFC 1122 had it; else the one behind
    # [RFC 6093 3.1]
    has_old_urgent_pointer: bool = False
    repeats_fin: bool = False  # every ACK has the FIN until that is acknowledged
    # One of the next number; else none does [RFC 1337 3]
    rst_ends_time_wait: bool = True
    # A SYN, or any segment without an ACK, in TIME_WAIT is answered, as in every state
    # [RFC 5961 4]; if not, dropped.
    answers_time_wait_syn: bool = True
    answers_closed_port: bool = True  # by a reset; if not, by nothing

    # passive opens
    max_backlog: int = 4_096
    half_open_limit: int = 1_024  # per listener; past it cookies, or SYNs are dropped
    # A handshake that ends where no more may wait is reset; else its last ACK is as if it were lost
    resets_on_overflow: bool = False
    has_syn_cookies: bool = True  # [RFC 4987 3.6]
    has_cookies_always: bool = False  # in every answer, not only to a flood

    mtu_probing: int = 0  # 0: never, 1: in black holes, 2: always [RFC 4821]
    base_mss: int = 1_024  # what surely passes: where a search begins
    mtu_probe_floor: int = 48
    mtu_probe_threshold: int = 8  # bytes: a closer range is good enough
    mtu_probe_interval_ns: int = 600 * NS_PER_S  # then the path is searched anew
    path_mtu_ns: int = 600 * NS_PER_S  # how long a router's report counts [RFC 1191 6.3]

    # TCP Fast Open [RFC 7413]
    fast_open: int = 1  # bits of net.ipv4.tcp_fastopen, see leulo.tcp.fast_open
    fast_open_keys: bytes = b""  # one of 16 bytes, or two; empty: made of the stack's secret
    fast_open_peers: int = 1_024  # whose cookies are remembered
    fast_open_pause_ns: int = 0  # the first after a black hole, 0: none
    # As FreeBSD: TCP_FASTOPEN on a client's socket, data queued before the connection is open, and
    # no further try for a while with a peer that does not take part [FreeBSD tcp(4) TCP_FASTOPEN]
    has_freebsd_fast_open: bool = False
    fast_open_refused_ns: int = 900 * NS_PER_S

    # limits against attack
    challenge_acks_per_s: int = 1_000  # [RFC 5961 10]
    # So many answers of one connection, in such a time, to what is invalid and may be forged
    invalid_acks: int = 1
    invalid_ack_interval_ns: int = 500 * NS_PER_MS
    has_exact_rst: bool = True  # only at RCV.NXT; else anywhere in the window [RFC 5961 3]
    has_near_rst: bool = True  # one right before the peer's FIN or at SACK's right edge counts
    has_syn_challenge: bool = True  # else a SYN in the window is a reset, as before RFC 5961
    drops_syn_fin: bool = True  # to a listener; else the FIN is overlooked
    drops_every_syn_fin: bool = False  # not only to a listener
    keeps_text_of_syn: bool = False  # until a connection that both have opened is open
    overlooks_fin_of_syn: bool = False  # in SYN_SENT, too
    believes_icmp: bool = True  # a hard error ends an active open
    # An unreachable network or host, exceeded time and the like end an open, too: an active one,
    # and a passive one
    icmp_ends_open: bool = True
    icmp_ends_half_open: bool = True
    has_freebsd_icmp: bool = False  # which errors are hard, and what they are called
    reassembly_blocks: int = 256
    scoreboard_blocks: int = 256

    # ports of active opens [RFC 6056 3.2]
    first_ephemeral: int = 32_768
    last_ephemeral: int = 60_999


PRESETS = {
    "linux": Config(),
    # What is listed is where FreeBSD's default differs from Linux's. [FreeBSD tcp(4)]
    "freebsd": Config(
        has_freebsd_syn=True,
        ecn_retries=1,
        min_mss=216,
        rcv_default=64 * KIB,
        rcv_max=2 * MIB,
        snd_default=32 * KIB,
        snd_max=2 * MIB,
        is_buffer_doubled=False,
        has_whole_segment_buffers=True,
        offers_all_room=True,
        has_rack=False,
        has_tail_probe=False,
        answers_partial_acks=True,
        has_frto=False,
        undoes_backoff=False,
        has_linux_cubic=False,
        hystart="",
        has_freebsd_ecn=True,
        has_cwr_again=True,
        has_capable_control=False,
        rto_min_ns=30 * NS_PER_MS,
        has_min_variance=False,
        rto_slop_ns=200 * NS_PER_MS,
        rto_max_ns=64 * NS_PER_S,
        connect_timeout_ns=75 * NS_PER_S,
        persist_min_ns=5 * NS_PER_S,
        persist_max_ns=60 * NS_PER_S,
        syn_retries=12,
        syn_linear_timeouts=0,
        synack_retries=3,
        retries=12,
        orphan_retries=12,
        quick_acks=0,
        acks_every_second=True,
        nagle="bsd",
        keep_count=8,
        always_keepalive=True,
        has_window_in_reset=False,
        resets_unread=False,
        resets_when_over=True,
        discards_after_shutdown=True,
        has_epipe_on_reset=False,
        repeats_fin=True,
        probes_with_data=True,
        trims_to_window=True,
        takes_last_again=False,
        syn_after_reset_ns=0,
        drops_missing_timestamps=True,
        delays_ack_of_fin=False,
        rounds_first_window=False,
        grows_over_gaps=False,
        acks_unsent=True,
        icmp_ends_open=False,
        icmp_ends_half_open=False,
        rst_ends_time_wait=False,
        has_freebsd_icmp=True,
        has_freebsd_fast_open=True,
        has_near_rst=False,
        invalid_acks=5,  # net.inet.tcp.ack_war_cnt
        invalid_ack_interval_ns=1 * NS_PER_S,
        answers_time_wait_syn=False,
        drops_syn_fin=False,
        keeps_text_of_syn=True,
        overlooks_fin_of_syn=True,
        max_backlog=128,
        first_ephemeral=10_000,
        last_ephemeral=65_535,
    ),
    # Where a standard names a figure or leaves no choice, it is this one.
    "rfc": Config(
        congestion="reno",  # [RFC 5681 3.1]
        has_linux_cubic=False,
        hystart="++",  # [RFC 9406]
        css_growth_divisor=4,  # [RFC 9406 4.3]
        has_rate_reduction=False,  # [RFC 6582 3.2] [RFC 6675 5]
        has_capable_control=False,  # [RFC 3168 6.1.4, 6.1.5]
        has_ace_in_time_wait=True,  # [RFC 9768 3.2.2.2]
        reduces_cwnd=False,  # [RFC 5681 3.1 (4)]
        undoes_backoff=False,
        rto_min_ns=1 * NS_PER_S,  # [RFC 6298 2.4]
        has_min_variance=False,
        rto_max_ns=60 * NS_PER_S,  # at least [RFC 6298 2.5]
        syn_linear_timeouts=0,  # [RFC 6298 5.5]
        syn_retries=7,  # R2 of a SYN: three minutes [RFC 9293 3.8.3 (MUST-23)]
        synack_retries=7,
        delayed_ack_ns=499 * NS_PER_MS,  # less than 0.5 s [RFC 9293 3.8.6.3 (MUST-40)]
        quick_acks=0,
        acks_every_second=False,  # of full size [RFC 9293 3.8.6.3 (SHLD-18)]
        nagle="strict",  # [RFC 9293 3.7.4]
        probes_with_data=True,  # [RFC 9293 3.8.6.1]
        drops_missing_timestamps=True,  # [RFC 7323 3.2]
        trims_to_window=True,  # [RFC 9293 3.10.7.4 first]
        takes_last_again=False,  # [RFC 9293 3.10.7.4 first]
        syn_after_reset_ns=0,
        delays_ack_of_fin=False,  # [RFC 9293 3.10.7.4 eighth]
        rounds_first_window=False,
        acks_unsent=True,  # [RFC 9293 3.10.7.4 fifth]
        icmp_ends_open=False,  # [RFC 1122 4.2.3.9]
        icmp_ends_half_open=False,  # [RFC 1122 4.2.3.9]
        keeps_text_of_syn=True,  # [RFC 9293 3.10.7.3 fourth]
        has_near_rst=False,  # [RFC 5961 3.2]
        time_wait_ns=240 * NS_PER_S,  # two times two minutes [RFC 9293 3.4.2]
    ),
}
