"""Segments as they leave: one with the usual header, one with options, SYN and SYN-ACK.

`output` decides what goes out and accounts for data; here it becomes a frame. [RFC 9293 3.1]
"""

from __future__ import annotations

from typing import Final

from leulo.tcp import accecn, ecn, fast_open_client, header, md5, urgent
from leulo.tcp.events import tell_segment_out
from leulo.tcp.handshake import Terms, syn_options, terms_of_tcb
from leulo.tcp.header import (
    ACK,
    DONT_FRAGMENT,
    ECE,
    ENDS_4_BYTES,
    FIN,
    SYN,
    TIMESTAMPED,
    TIMESTAMPED_BYTES,
    TIMESTAMPED_WORDS,
    TTL_AND_TCP,
    URG,
    Frame,
)
from leulo.tcp.options import TIMESTAMPS_ONLY, emit_sack, emit_timestamps
from leulo.tcp.rtt import backed_off
from leulo.tcp.seq import MASK
from leulo.tcp.settings import PATH_WANT
from leulo.tcp.state import SYN_RCVD
from leulo.tcp.tcb import ACK_NONE, Tcb

_PACK: Final = TIMESTAMPED.pack
# of the usual segment without payload: the first word of IPv4, the words of its header, and what
# the pseudo header has beside the addresses
_FIRST_WORD: Final = header.VERSION_4 + 20 + TIMESTAMPED_BYTES
_IP_SUM: Final = header.IP_SUM + 20 + TIMESTAMPED_BYTES
_PSEUDO_SUM: Final = header.TCP + TIMESTAMPED_BYTES
_SACK_BLOCKS_WITH_TIMESTAMPS: Final = 3
_SACK_BLOCKS: Final = 4
_SACK_BYTES: Final = 4  # of the option without its blocks, padded
_BLOCK_BYTES: Final = 8
_ACCURATE_TRIES: Final = 2


def emit(
    tcb: Tcb, seq: int, control: int, length: int, payload: Frame, now_ns: int, out: list[Frame]
) -> None:
    """Put one segment into ``out``; it carries the acknowledgement, whatever it is for."""
    engine = tcb.engine
    front = tcb.front or b""
    ends = tcb.ends
    window = tcb.window
    rcv_nxt = tcb.rcv_nxt
    if length > tcb.mss:
        front = _super_front(tcb, front, length)
    if not tcb.is_odd and tcb.reassembly is None and tcb.dsack is None:
        words = tcb.words + length
        head = _PACK(
            front, _FIRST_WORD + length, DONT_FRAGMENT, TTL_AND_TCP,
            0xFFFF - (words + _IP_SUM) % 0xFFFF, ends, seq & MASK, rcv_nxt & MASK,
            TIMESTAMPED_WORDS | control, window, (words + _PSEUDO_SUM) % 0xFFFF, 0,
            TIMESTAMPS_ONLY, (engine.now_ms + tcb.ts_offset) & MASK, tcb.ts_recent,
        )  # fmt: skip
        tcb.ack_due = ACK_NONE
        tcb.delack_at = 0
    else:
        secret = md5.secret_of(tcb) if tcb.settings.md5_keys else b""
        options = _odd_options(tcb, length, md5.BLANK if secret else b"")
        options = md5.ordered(options, engine.config) if secret else options
        tos = ecn.NOT_ECT
        notification = tcb.ecn
        if notification is not None:
            if notification.accurate is not None:
                control, tos = _accurate(
                    tcb, notification.accurate, control, length, notification.codepoint
                )
                if length > tcb.mss:
                    front = header.gso_front(
                        front, 20 + len(options), tcb.mss, len(ends) != ENDS_4_BYTES, False
                    )
            elif engine.config.ecn_of_control == ecn.EVERYTHING:
                tos = ecn.ECT0
            elif length:
                tos = notification.codepoint
        up = 0 if tcb.urgent is None else urgent.pointer(tcb, tcb.urgent, seq)
        if up:
            control |= URG
        head = header.plain(front, ends, seq, rcv_nxt, control, window, options, length, tos)
        if up:
            at = len(head) - len(options)
            head = head[: at - 2] + up.to_bytes(2, "big") + head[at:]
        if tcb.settings.path_discovery != PATH_WANT and tcb.settings.may_fragment:
            head = header.fragmentable(head, engine.new_identification())
        if secret:
            head = md5.sign(head, payload, secret)
        # A full segment has no room for SACK, and without SACK none counts as a duplicate: an ACK
        # follows.
        if (
            not length
            or (tcb.reassembly is None and tcb.dsack is None and tcb.rcv_nxt >= tcb.fin_at)
            or (tcb.has_sack and _block_room(tcb, length))
        ):
            tcb.ack_due = ACK_NONE
            tcb.delack_at = 0
    if not engine.has_checksum_offload:
        head = header.finish(head, payload)
    frame = (head, *payload) if payload else (head,)
    if tcb.is_loopback:
        engine.loopback.append(frame)
    else:
        out.append(frame)
    tcb.last_ack_sent = rcv_nxt
    if engine.segment_out.active:
        tell_segment_out(tcb, seq, control, window, length, now_ns)


def _super_front(tcb: Tcb, front: bytes, length: int) -> bytes:
    """What begins a segment that is to be cut; with accurate ECN that needs its options, too."""
    tcb.data_out += (length - 1) // tcb.mss  # `output` has counted one
    notification = tcb.ecn
    if notification is not None and notification.accurate is not None:
        return front
    return header.gso_front(
        front, 32 if tcb.has_timestamps else 20, tcb.mss, len(tcb.ends) != ENDS_4_BYTES,
        notification is not None and notification.is_cwr_set,
    )  # fmt: skip


def _accurate(
    tcb: Tcb, accurate: accecn.Accurate, control: int, length: int, codepoint: int
) -> tuple[int, int]:
    """Flags and mark of a segment. Deviation: everything is capable, as in Linux, bare ACKs only
    with SACK, without which an ACK of them could be taken for a duplicate; the other presets mark
    new data alone. [RFC 9768 3.1.5, 3.2.2.1, 3.2.2.5.1] [draft-ietf-tcpm-generalized-ecn]"""
    tos = ecn.NOT_ECT
    if not accurate.has_ect:
        pass
    elif not tcb.engine.config.has_capable_control:
        tos = codepoint if length else ecn.NOT_ECT
    elif length or tcb.has_sack:
        tos = ecn.ECT0
    answer = accurate.answer
    accurate.answer = accurate.pending = 0
    if answer and not length and not control & FIN and tcb.reassembly is None:
        return control | answer, tos
    return control | accurate.ace, tos


def _odd_options(tcb: Tcb, length: int, options: bytes) -> bytes:
    """The options of a segment with ``length`` bytes: behind ``options`` timestamps if there are
    any, the counters of accurate ECN, SACK blocks in a pure ACK."""
    engine = tcb.engine
    if tcb.has_timestamps:
        options += emit_timestamps((engine.now_ms + tcb.ts_offset) & MASK, tcb.ts_recent)
    accurate = None if tcb.ecn is None else tcb.ecn.accurate
    has_blocks = _has_blocks(tcb)
    if accurate is not None and (length or not has_blocks):
        options += accecn.option(tcb, accurate, len(options), 0, not length)[0]
    most = _block_room(tcb, length) if has_blocks else 0
    if most:
        blocks: list[tuple[int, int]] = []
        if tcb.dsack is not None:
            blocks.append(tcb.dsack)  # first, and once [RFC 2883 4]
            engine.counts["tcp_dsacks_sent"] += 1
        if tcb.reassembly is not None:
            blocks += tcb.reassembly.sack_blocks(most - len(blocks))
        if tcb.rcv_nxt < tcb.fin_at:
            blocks = _with_fin(blocks, tcb.fin_at)[:most]
        if accurate is None:
            options += emit_sack(blocks)
        else:
            text, left = accecn.option(tcb, accurate, len(options), len(blocks), True)
            options += text + emit_sack(blocks[:left])[2:]  # its NOPs are in the text
    if most or not length:
        tcb.dsack = None  # said, or beside a signature and timestamps there never is room
    return options


def _has_blocks(tcb: Tcb) -> bool:
    """Is there anything to report by SACK?"""
    if tcb.rcv_nxt < tcb.fin_at:
        return tcb.has_sack
    return (tcb.reassembly is not None or tcb.dsack is not None) and tcb.has_sack


def _with_fin(blocks: list[tuple[int, int]], fin_at: int) -> list[tuple[int, int]]:
    """The peer's FIN behind a gap has a number, too: that of the block in front of it, or alone.
    [RFC 2018 3]"""
    if any(end == fin_at for _, end in blocks):
        return [(start, end + (end == fin_at)) for start, end in blocks]
    return [*blocks, (fin_at, fin_at + 1)]


def _block_room(tcb: Tcb, length: int) -> int:
    """How many blocks of SACK a segment has room for: beside ``length`` bytes of payload what a
    full segment would carry more. [RFC 2018 4]"""
    most = _SACK_BLOCKS_WITH_TIMESTAMPS if tcb.has_timestamps else _SACK_BLOCKS
    if tcb.settings.md5_keys:
        most = md5.block_room(tcb, most)
    if not length:
        return most
    if tcb.ecn is not None and tcb.ecn.accurate is not None:
        return 0  # its option has the room
    return max(0, min(most, (tcb.mss - length - _SACK_BYTES) // _BLOCK_BYTES))


def emit_syn(tcb: Tcb, now_ns: int, out: list[Frame]) -> None:
    """The SYN of an active open, or the SYN-ACK of a simultaneous or fast one. [RFC 9293 3.5]"""
    engine = tcb.engine
    config = engine.config
    fast = tcb.fast_open
    option = b""
    length = 0
    if fast is not None:
        if fast_open_client.is_waiting(tcb):
            return
        option, length = fast_open_client.first_syn(tcb, fast)
    tcb.is_syn_due = False
    is_answer = tcb.state is SYN_RCVD
    control = SYN | ACK if is_answer else SYN
    if tcb.ecn is not None or config.ecn in ecn.ASKING:
        control |= _ecn_of_syn(tcb, is_answer)
    window = tcb.rcv_limit  # `apply_settings` has made whole segments of it
    if window > 0xFFFF:
        window = 0xFFFF
    if is_answer:
        tcb.rcv_adv = tcb.rcv_nxt + window
        tcb.last_ack_sent = tcb.rcv_nxt
        tcb.ack_due = ACK_NONE
    terms = terms_of_tcb(tcb)
    if terms.has_usual_syn and control == SYN and fast is None and not tcb.backoff:
        head = header.usual_syn(
            tcb.front or b"", tcb.ends, tcb.words, tcb.iss, 0, SYN, window, terms.own_mss,
            (engine.now_ms + tcb.ts_offset) & MASK, tcb.ts_recent, terms.wscale,
        )  # fmt: skip
    else:
        head = _odd_syn(tcb, terms, control, window, option, length)
    payload: Frame = ()
    if length and tcb.send_buffer is not None:
        payload = tcb.send_buffer.view(tcb.iss + 1, length)
    if tcb.settings.md5_keys and (secret := md5.secret_of(tcb)):
        head = md5.sign(head, payload, secret)
    if not engine.has_checksum_offload:
        head = header.finish(head, payload)
    frame: Frame = (head, *payload)
    if tcb.is_loopback:
        engine.loopback.append(frame)
    else:
        out.append(frame)
    if tcb.snd_nxt == tcb.iss:
        tcb.snd_nxt = tcb.snd_max = tcb.iss + 1 + length
        tcb.timed_at = now_ns
        tcb.timed_seq = tcb.snd_nxt
        if tcb.settings.connect_timeout_ns:
            tcb.life_at = now_ns + tcb.settings.connect_timeout_ns
            engine.timers.arm(tcb, tcb.life_at)
    else:
        tcb.timed_seq = 0
        tcb.retransmits += 1
    tcb.data_out += 1
    tcb.control_out += 1
    if length:
        tcb.data_out += 1  # acknowledged for itself
        tcb.bare_out -= 1
    if fast is not None and fast.is_passive:
        tcb.bare_out -= 1  # as in `listen.Listener.connect`
    tcb.last_send_ns = now_ns
    if not tcb.rto_at:
        tcb.rto_at = now_ns + backed_off(tcb)
        engine.timers.arm(tcb, tcb.rto_at)
    if engine.segment_out.active:
        tell_segment_out(tcb, tcb.iss, control, window, length, now_ns)


def _odd_syn(
    tcb: Tcb, terms: Terms, control: int, window: int, option: bytes, length: int
) -> bytes:
    """The headers of a SYN-ACK, or of a SYN with other options or marks than the usual one;
    ``option`` stands behind the others."""
    engine = tcb.engine
    config = engine.config
    is_answer = control & ACK != 0
    is_plain = tcb.backoff > 0 and 0 < config.plain_syn_retries <= tcb.backoff
    wscale = terms.wscale if config.has_window_scaling and not is_plain else -1
    if is_answer and not tcb.rcv_wscale:
        wscale = -1
    timestamps = None
    begin = b""
    has_timestamps = tcb.has_timestamps if is_answer else config.has_timestamps
    if tcb.settings.md5_keys:
        begin = md5.lead(tcb.settings.md5_keys, tcb.key)
        if not is_answer and md5.omits_timestamps(tcb.settings, config, tcb.peer):
            has_timestamps = False
    if not is_plain and has_timestamps:
        timestamps = ((engine.now_ms + tcb.ts_offset) & MASK, tcb.ts_recent)
    has_sack = (tcb.has_sack if is_answer else config.has_sack) and not is_plain
    options = syn_options(engine, tcb.settings, terms.own_mss, wscale, has_sack, timestamps)
    ack = tcb.rcv_nxt if is_answer else 0
    tos = ecn.NOT_ECT
    if tcb.ecn is not None and config.ecn_of_control >= (1 if is_answer else ecn.EVERYTHING):
        tos = ecn.ECT0
    if tcb.ecn is not None and tcb.ecn.accurate is not None:
        tcb.ecn.accurate.sent_mark = tos
        if is_answer and not tcb.backoff and config.ecn_option and not tcb.settings.is_bare:
            is_behind = timestamps is not None and not config.has_freebsd_syn
            options = accecn.with_option(options, is_behind, len(begin) + len(option))
    options = md5.joined(begin, options, option, config)
    return header.plain(
        tcb.front or b"", tcb.ends, tcb.iss, ack, control, window, options, length, tos
    )


def _ecn_of_syn(tcb: Tcb, is_answer: bool) -> int:
    """Flags that offer ECN, or agree to it. A SYN that was not answered may have been dropped for
    them: the next one does without, and so does the connection. [RFC 3168 6.1.1, 6.1.1.1]
    [RFC 9768 3.1.4.1]"""
    config = tcb.engine.config
    accurate = None if tcb.ecn is None else tcb.ecn.accurate
    if is_answer and accurate is None:
        return 0 if tcb.ecn is None else ECE
    if accurate is not None:
        # Once more with them; then without, but the answer to an earlier one may come.
        if tcb.backoff < _ACCURATE_TRIES or not config.has_ecn_fallback:
            return accecn.echo(accurate.last_mark) if is_answer else accecn.ASKS
        if is_answer:
            accurate.has_ect = False  # [RFC 9768 3.1.5]
        return 0
    if tcb.snd_nxt == tcb.iss and config.ecn in ecn.ASKING:
        tcb.ecn = ecn.Ecn(tcb.iss)
        if config.ecn == accecn.ASK:
            tcb.ecn.accurate = accecn.Accurate()
            return accecn.ASKS
    elif tcb.ecn is not None and config.has_ecn_fallback and tcb.backoff > config.ecn_retries:
        tcb.ecn = None
    return 0 if tcb.ecn is None else ecn.SETUP
