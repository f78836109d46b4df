"""The state block of one connection, and nothing that acts on it.

Sequence numbers in it are plain growing integers (see `seq`); times are nanoseconds, 0 means
"off" for a deadline. Fields keep the names of RFC 9293 where it has one. Buffers, scoreboard and
reassembly exist only while they hold something, so an idle connection is this object alone.
Read `engine` for who owns it, `input` and `output` for who changes it. [RFC 9293 3.3.1]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.errors import LeuloBug
from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp import ecn
from leulo.tcp.congestion.base import CongestionControl
from leulo.tcp.counted_buffer import CountedBuffer
from leulo.tcp.ecn import Ecn
from leulo.tcp.episode import Episode, Reordering, TailProbe
from leulo.tcp.events import tell_state
from leulo.tcp.fast_open import FastOpen
from leulo.tcp.flight import Flight
from leulo.tcp.goodput import Goodput
from leulo.tcp.header import ENDS_4_BYTES
from leulo.tcp.hystart import HyStart
from leulo.tcp.limits import Limits
from leulo.tcp.mtu_search import MtuSearch
from leulo.tcp.pacer import Pacer
from leulo.tcp.reassembly import Reassembly
from leulo.tcp.receiver_rtt import ReceiverRtt
from leulo.tcp.recv_buffer import DeafBuffer, RecvBuffer
from leulo.tcp.scoreboard import Scoreboard
from leulo.tcp.send_buffer import SendBuffer
from leulo.tcp.settings import PATH_WANT, Settings
from leulo.tcp.state import CLOSED, NEXT, PREDICTABLE, Event, State
from leulo.tcp.timeouts import Timeouts
from leulo.tcp.timers import Timed
from leulo.tcp.urgent import Urgent

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine
    from leulo.tcp.handshake import Terms
    from leulo.tcp.socket import TcpSocket

NO_GROWTH_LIMIT: Final = 1 << 40

# Values of `Tcb.ack_due`
ACK_NONE: Final = 0
ACK_DELAYED: Final = 1
ACK_NOW: Final = 2
ACK_BARE: Final = 3  # now, and without a FIN

# Values of `Tcb.recovery`
RECOVERY_NONE: Final = 0
RECOVERY_FAST: Final = 1  # after duplicate acknowledgements [RFC 6582] [RFC 6675]
RECOVERY_TIMEOUT: Final = 2  # after a retransmission timeout [RFC 5681 3.1]
RECOVERY_CWR: Final = 3  # nothing was lost, but the window shrinks [RFC 3168 6.1.2]
RECOVERY_PACED: Final = 1  # the bit of those in which cwnd follows what arrives [RFC 9937]

# Values of `Tcb.probe_due`
PROBE_NONE: Final = 0
PROBE_WINDOW: Final = 1
PROBE_KEEPALIVE: Final = 2
PROBE_TAIL: Final = 3  # for a lost tail [RFC 8985 7]

# Values of `Tcb.more`
MORE_NONE: Final = 0
MORE_SENT: Final = 1  # it is not the end of a message, but nothing keeps it back
MORE_HELD: Final = 2  # a partial segment waits for what follows, until an acknowledgement

MORE_RECORDS: Final = 3  # it is the end of one, and there are ends of records before it

NO_FIN: Final = -1
LOOPBACK_MARK: Final = b"\x00"  # ends the keys of connections inside the stack: no frame has it


class Tcb(Timed):
    """Transmission control block."""

    __slots__ = (
        "ack_due", "again_end", "backoff", "bare_in", "bare_out", "busy_at", "busy_ns",
        "congestion", "control_out", "cwnd", "cwnd_credit", "data_in", "data_out", "delack_at",
        "dsack", "dupacks", "ecn", "ends", "engine", "episode", "error", "fast_open", "fin_at",
        "first_timeout_at", "flight", "front", "goodput", "growth_limit", "has_probed", "has_sack",
        "has_timestamps", "high_rxt", "hystart", "invalid_ack_at", "invalid_acks", "irs",
        "is_accepting", "is_counted", "is_cwnd_limited", "is_deaf", "is_fin_queued", "is_loopback",
        "is_odd", "is_ordinary", "is_orphan", "is_pending", "is_persisting", "is_pushing",
        "is_rexmit_due", "is_room_offered", "is_syn_due", "is_write_blocked", "iss", "keep_at",
        "keep_probes", "key", "last_ack_sent", "last_data_ns", "last_recv_ns", "last_send_ns",
        "lent_end", "life_at", "limits", "min_rtt_ns", "min_rtt_until", "more", "mss", "mss_most",
        "overtaking_in", "pacer", "path_era", "piece_end", "probe", "probe_at", "probe_due",
        "quick_acks", "quick_until", "rcv_adv", "rcv_limit", "rcv_mss", "rcv_nxt", "rcv_round_at",
        "rcv_round_bytes", "rcv_round_taken", "rcv_rounding", "rcv_wscale", "reassembly",
        "receive_buffer", "receiver_rtt", "record_ends", "recover", "recovery", "reorder_at",
        "reordering",
        "retransmits", "retransmitted_bytes", "rto_at", "rto_ns", "rttvar_ns", "scoreboard",
        "search", "send_buffer", "settings", "snd_end", "snd_limit", "snd_max", "snd_max_wnd",
        "snd_nxt", "snd_small", "snd_top", "snd_una", "snd_wl1", "snd_wl2", "snd_wnd", "snd_wscale",
        "socket", "soft_error", "spread_max_ns", "spread_ns", "spread_seq", "srtt_ns", "ssthresh",
        "state", "terms", "timed_at", "timed_seq", "timeouts", "ts_offset", "ts_recent",
        "ts_recent_at", "urgent", "window", "words",
    )  # fmt: skip

    def __init__(
        self,
        engine: Engine,
        serial: int,
        key: bytes,
        ends: bytes,
        words: int,
        settings: Settings,
        iss: int,
        una: int,
    ) -> None:
        """``words``: the sum of the addresses modulo 0xFFFF, see `addresses.words_of`. ``una``: the
        first sequence number that the peer has not acknowledged."""
        config = engine.config
        self.serial = serial
        self.timer_at = 0
        # -- who
        self.engine: Engine = engine
        self.socket: TcpSocket | None = None
        self.key: bytes = key  # peer, local, peer port, local port: as in a received frame
        self.ends: bytes = ends  # local, peer, local port, peer port: as in a frame of ours
        self.settings: Settings = settings
        self.terms: Terms | None = None  # of an active open, what its SYN says
        self.state: State = CLOSED
        self.error: int = 0  # errno for the user, told once
        self.soft_error: int = 0  # what to say if the connection fails by itself
        self.is_accepting: bool = False  # waits in a listener's queue
        self.is_orphan: bool = False  # the user has closed
        self.is_deaf: bool = False  # the user has closed, or shut the reading side
        self.is_counted: bool = False  # among the engine's orphans
        self.is_loopback: bool = False
        self.front: bytes | None = None  # up to the Ethernet header, None: not resolved
        # -- send sequence space [RFC 9293 3.3.1]
        self.iss: int = iss
        self.snd_una: int = una
        self.snd_nxt: int = una
        self.snd_max: int = una  # the highest ever sent
        self.snd_end: int = iss + 1  # behind the last byte the user has given
        self.snd_top: int = iss + 1  # snd_end, plus one if a FIN follows
        self.snd_wnd: int = 0
        self.snd_wl1: int = 0
        self.snd_wl2: int = 0
        self.snd_max_wnd: int = 0
        self.snd_wscale: int = 0
        self.snd_small: int = iss + 1  # behind the last segment sent that was not full
        self.mss: int = 0  # bytes of payload in a full segment, options subtracted
        self.mss_most: int = 0  # the same on a path as wide as the link
        self.path_era: int = engine.path_mtus.era  # of which `mss` is, see `path_mtu.refresh`
        self.send_buffer: SendBuffer | None = None
        self.snd_limit: int = config.snd_default
        self.lent_end: int = 0  # behind the last byte of lent memory ever given; 0: none was
        self.piece_end: int = 0  # a place where what is queued is cut into pieces
        self.is_fin_queued: bool = False
        self.is_write_blocked: bool = False  # tell the user when a third is free again
        self.more: int = MORE_NONE  # what the last write said of what follows
        self.record_ends: list[int] | None = None  # no segment reaches across one; None: none
        self.is_pushing: bool = False  # the override timer is due: send what there is
        self.is_syn_due: bool = False
        # -- receive sequence space
        self.irs: int = 0
        self.rcv_nxt: int = 0
        self.rcv_adv: int = 0  # right edge of the window that was offered
        self.rcv_wscale: int = 0
        self.rcv_rounding: int = 0  # added to a window before it is scaled
        self.window: int = 0  # as in the next header, while output is at work
        self.rcv_limit: int = config.rcv_default
        self.is_room_offered: bool = config.offers_all_room
        self.rcv_mss: int = 536  # largest payload seen in one segment, at most ours
        self.rcv_round_at: int = 0
        self.rcv_round_taken: int = 0
        self.rcv_round_bytes: int = 0  # read in the round before
        self.receive_buffer: RecvBuffer | None = None
        self.reassembly: Reassembly | None = None
        self.fin_at: int = NO_FIN  # where the peer's FIN stands
        # -- acknowledging
        self.ack_due: int = ACK_NONE
        self.quick_acks: int = config.quick_acks
        self.quick_until: int = 0  # data sent before is an answer to what came
        self.last_ack_sent: int = 0
        self.invalid_ack_at: int = 0  # until then `invalid_acks` counts, see `may_answer_invalid`
        self.invalid_acks: int = 0
        # -- options on the wire
        self.has_timestamps: bool = False
        self.has_sack: bool = False
        self.ts_offset: int = 0
        self.ts_recent: int = 0
        self.ts_recent_at: int = 0
        self.pacer: Pacer | None = None  # if it is paced
        self.ecn: Ecn | None = None  # if both sides have agreed on it [RFC 3168]
        # -- congestion control and loss recovery
        self.congestion: CongestionControl = engine.congestion
        self.cwnd: int = 0
        self.ssthresh: int = 1 << 40
        self.cwnd_credit: int = 0  # bytes acknowledged towards the next step of cwnd
        self.is_cwnd_limited: bool = False
        self.growth_limit: int = NO_GROWTH_LIMIT  # cwnd grows only while below
        self.recovery: int = RECOVERY_NONE
        self.recover: int = iss
        self.high_rxt: int = 0
        self.dupacks: int = 0
        self.is_rexmit_due: bool = False
        self.scoreboard: Scoreboard | None = None
        self.flight: Flight | None = None  # with SACK, while more than one segment is out
        self.episode: Episode | None = None
        self.probe: TailProbe | None = None
        self.reordering: Reordering | None = None
        self.hystart: HyStart | None = None  # while in the first slow start, if it is a long one
        self.limits: Limits | None = None  # from the first time that something limited sending
        self.busy_at: int = 0  # since when there is something to send or acknowledge, 0: nothing
        self.busy_ns: int = 0  # of the times before
        self.dsack: tuple[int, int] | None = None  # came twice, to be reported [RFC 2883]
        self.fast_open: FastOpen | None = None  # opened with data in the SYN, or meant to
        self.search: MtuSearch | None = None  # for the path's MTU, if the stack searches
        self.is_odd: bool = True  # segments need another than the usual header: see `refresh_odd`
        self.urgent: Urgent | None = None  # while there is a mark, of ours or the peer's
        # -- segments, for TCP_INFO; those out with numbers of their own, and all others
        self.data_in: int = 0
        self.bare_in: int = 0  # without payload
        self.overtaking_in: int = 0  # ahead of a gap
        self.data_out: int = 0  # payload, SYN or FIN
        self.control_out: int = 0  # of them without payload
        self.bare_out: int = 0
        self.goodput: Goodput | None = None  # once measured
        self.receiver_rtt: ReceiverRtt | None = None  # once full segments have come
        # -- round-trip time [RFC 6298]
        self.srtt_ns: int = 0
        self.rttvar_ns: int = 0
        self.spread_ns: int = 0  # what the timeout is longer than srtt by
        self.spread_max_ns: int = 0  # the most the variance asked for in this window
        self.spread_seq: int = 0  # acknowledging more than this ends the window
        self.rto_ns: int = config.rto_initial_ns
        self.min_rtt_ns: int = 0
        self.min_rtt_until: int = 0  # then it is too old to count
        self.backoff: int = 0
        self.timed_seq: int = 0  # acknowledging this ends the measurement; 0: none runs
        self.timed_at: int = 0
        self.retransmits: int = 0
        self.retransmitted_bytes: int = 0
        self.again_end: int = 0  # behind the highest byte sent again
        # -- deadlines
        self.rto_at: int = 0
        self.is_persisting: bool = False  # rto_at is the persist timer's
        self.probe_at: int = 0  # of a tail loss probe
        self.has_probed: bool = False  # since the last measurement of a round trip
        self.reorder_at: int = 0  # when what is overtaken counts as lost
        self.first_timeout_at: int = 0
        self.timeouts: Timeouts | None = None  # from the first one on
        self.delack_at: int = 0
        self.keep_at: int = 0
        self.keep_probes: int = 0  # probes, of either kind, without any answer
        self.probe_due: int = PROBE_NONE
        self.life_at: int = 0  # an orphan's end, or that of an open that takes too long
        self.last_recv_ns: int = 0  # any segment; of those on the fast path one without payload
        self.last_data_ns: int = 0  # one with payload
        self.last_send_ns: int = 0
        # -- for speed
        self.is_ordinary: bool = False  # see `refresh_ordinary`
        self.is_pending: bool = False  # in the engine's list of those with output
        self.words: int = words

    @property
    def local(self) -> bytes:
        """Our address, 4 or 16 bytes."""
        return self.ends[: len(self.ends) - 4 >> 1]

    @property
    def peer(self) -> bytes:
        return self.ends[len(self.ends) - 4 >> 1 : -4]

    @property
    def local_port(self) -> int:
        return int.from_bytes(self.ends[-4:-2], "big")

    @property
    def peer_port(self) -> int:
        return int.from_bytes(self.ends[-2:], "big")

    def change_state(self, event: Event) -> None:
        """Go where the transition table says. Whoever opens the connection by it has to call
        `refresh_ordinary`, who ends it `Engine.forget`. Raises LeuloBug if it does not say."""
        old = self.state
        new = NEXT[old << 4 | event]
        if new is None:
            raise LeuloBug(f"a connection in {old.name} was told of {event.name}")
        self.state = new
        if self.engine.state_changed.active:
            tell_state(self, old.name, new.name, event.name)

    def refresh_ordinary(self) -> None:
        """Header prediction may be tried: both sides know each other's numbers, there are
        timestamps, and neither side misses anything. Call it whenever that may have changed."""
        self.is_ordinary = (
            PREDICTABLE >> self.state & 1 == 1
            and self.has_timestamps
            and self.reassembly is None
            and self.scoreboard is None
            and self.recovery == RECOVERY_NONE
            and self.dupacks == 0
            and self.urgent is None
            and (self.ecn is None or ecn.is_ordinary(self.ecn, self.engine.config))
            and (self.search is None or not self.search.probe)
            and self.episode is None
            and self.probe is None
            and not (self.is_fin_queued and self.engine.config.repeats_fin)
            and (self.flight is None or self.flight.order is None)
            and (self.fin_at == NO_FIN or self.rcv_nxt > self.fin_at)
            and not self.settings.md5_keys
        )

    def open_ordinary(self, has_usual_packets: bool) -> None:
        """The same, and `refresh_odd`, when the handshake is complete: neither side has missed
        anything yet. ``has_usual_packets`` as of `handshake.Terms`."""
        if self.ecn is None and self.fast_open is None and not self.settings.md5_keys:
            self.is_ordinary = self.has_timestamps
            self.is_odd = not (self.has_timestamps and has_usual_packets)
        else:
            self.refresh_odd()
            self.refresh_ordinary()

    def refresh_odd(self) -> None:
        """The usual header of a segment is that of IPv4 with timestamps alone, see `emit`. Call it
        whenever something of this may have changed."""
        self.is_odd = (
            not self.has_timestamps
            or len(self.ends) != ENDS_4_BYTES
            or self.ecn is not None
            or self.urgent is not None
            or self.rcv_nxt < self.fin_at  # SACK tells of it
            or (self.settings.path_discovery != PATH_WANT and self.settings.may_fragment)
            or len(self.settings.md5_keys) > 0
        )

    def may_answer_invalid(self, now_ns: int) -> bool:
        """May one more segment be answered that is of no use and may be forged? Counts it if so."""
        config = self.engine.config
        if now_ns >= self.invalid_ack_at:
            self.invalid_ack_at = now_ns + config.invalid_ack_interval_ns
            self.invalid_acks = 0
        elif self.invalid_acks >= config.invalid_acks:
            return False
        self.invalid_acks += 1
        return True

    def pipe(self) -> int:
        """Bytes that are probably in the network. [RFC 6675 2]"""
        out = self.snd_max - self.snd_una
        if self.scoreboard is not None:
            out -= self.scoreboard.sacked
        if self.flight is not None:
            out -= self.flight.lost_bytes
        return out

    @property
    def heard_ns(self) -> int:
        """When the last valid segment came."""
        return max(self.last_recv_ns, self.last_data_ns)

    def received(self) -> int:
        """Bytes that wait for the user."""
        return 0 if self.receive_buffer is None else self.receive_buffer.length

    def drop_buffers(self) -> None:
        """Nothing more will be sent, and nothing out of order is wanted."""
        if self.send_buffer is not None:
            self.send_buffer.drop()
            self.send_buffer = None
        if self.reassembly is not None:
            self.reassembly.drop()
            self.reassembly = None

    def drop_received(self) -> None:
        """Nobody will read what has arrived."""
        buffer = self.receive_buffer
        if buffer is not None:
            self.receive_buffer = None
            if buffer.length:
                buffer.drop()

    def save(self) -> Saved:
        """Everything but the socket and the engine, as plain data."""
        out = save_fields(self, _VERSION, _FIELDS)
        out["state"] = int(self.state)
        out["congestion"] = self.congestion.save()
        out["settings"] = self.settings.save()
        for name in _PARTS:
            part = getattr(self, name)
            out[name] = None if part is None else part.save()
        return out

    def load(self, state: Saved, congestion: CongestionControl) -> None:
        """Take the saved fields. Raises ValueError on another version."""
        load_fields(self, _VERSION, _FIELDS, state)
        self.state = State(state["state"])
        self.congestion = congestion
        self.settings = Settings.loaded(state["settings"])
        if state["send_buffer"] is not None:
            self.send_buffer = SendBuffer.loaded(
                state["send_buffer"], self.engine.account, self.engine.lent
            )
        if state["receive_buffer"] is not None:
            saved = state["receive_buffer"]
            account = self.engine.account
            buffer = RecvBuffer(account)
            if "counted" in saved:
                buffer = CountedBuffer(account, self)
                self.is_room_offered = True
            elif self.is_deaf and self.engine.config.discards_after_shutdown:
                buffer = DeafBuffer(account)
            buffer.load(saved)
            self.receive_buffer = buffer
        if state["reassembly"] is not None:
            self.reassembly = Reassembly.loaded(state["reassembly"], self.engine.account)
        if state["scoreboard"] is not None:
            self.scoreboard = Scoreboard.loaded(state["scoreboard"])
        if state["flight"] is not None:
            self.flight = Flight.loaded(state["flight"])
        if state["episode"] is not None:
            self.episode = Episode.loaded(state["episode"])
        if state["probe"] is not None:
            self.probe = TailProbe.loaded(state["probe"])
        if state["reordering"] is not None:
            self.reordering = Reordering.loaded(state["reordering"])
        if state["limits"] is not None:
            self.limits = Limits.loaded(state["limits"])
        if state["hystart"] is not None:
            self.hystart = HyStart.loaded(state["hystart"])
        if state["pacer"] is not None:
            self.pacer = Pacer.loaded(state["pacer"], self)
        if state["ecn"] is not None:
            self.ecn = Ecn.loaded(state["ecn"])
        if state["search"] is not None:
            self.search = MtuSearch.loaded(state["search"])
        if state["urgent"] is not None:
            self.urgent = Urgent.loaded(state["urgent"])
        if state["fast_open"] is not None:
            self.fast_open = FastOpen.loaded(state["fast_open"])
        if state["goodput"] is not None:
            self.goodput = Goodput.loaded(state["goodput"])
        if state["receiver_rtt"] is not None:
            self.receiver_rtt = ReceiverRtt.loaded(state["receiver_rtt"])
        if state["timeouts"] is not None:
            self.timeouts = Timeouts.loaded(state["timeouts"])
        dsack = state["dsack"]
        self.dsack = None if dsack is None else (dsack[0], dsack[1])
        self.refresh_odd()
        self.refresh_ordinary()


_VERSION: Final = 12
_PARTS: Final = (
    "send_buffer", "receive_buffer", "reassembly", "scoreboard", "flight", "episode", "probe",
    "reordering", "hystart", "ecn", "pacer", "limits", "fast_open", "urgent", "search",
    "goodput", "timeouts", "receiver_rtt",
)  # fmt: skip
# What is saved as it is. Not here: links to other objects, places in
# the engine's lists (the engine saves those) and the heap's entry (armed again from deadlines).
_FIELDS: Final = (
    "serial", "key", "ends", "words", "is_odd", "error", "soft_error", "is_accepting", "is_counted",
    "is_orphan", "is_loopback", "front", "iss", "snd_una", "snd_nxt", "snd_max", "snd_end",
    "snd_top", "snd_wnd", "snd_wl1", "snd_wl2", "snd_max_wnd", "snd_wscale", "snd_small", "mss",
    "mss_most", "path_era", "snd_limit", "is_fin_queued", "is_write_blocked", "is_deaf", "busy_at",
    "busy_ns", "more", "record_ends", "growth_limit", "piece_end", "is_pushing", "is_syn_due",
    "probe_due", "irs", "rcv_nxt", "rcv_adv", "rcv_wscale", "rcv_rounding", "rcv_limit", "rcv_mss",
    "rcv_round_at", "rcv_round_bytes", "rcv_round_taken", "fin_at", "ack_due", "quick_acks",
    "quick_until", "last_ack_sent", "invalid_ack_at", "invalid_acks", "has_timestamps", "has_sack",
    "ts_offset", "ts_recent", "ts_recent_at", "window", "cwnd", "ssthresh", "cwnd_credit",
    "is_cwnd_limited", "recovery", "recover", "high_rxt", "dupacks", "is_rexmit_due", "srtt_ns",
    "rttvar_ns", "rto_ns", "backoff", "timed_seq", "timed_at", "spread_ns", "spread_max_ns",
    "spread_seq", "retransmits", "again_end", "retransmitted_bytes", "rto_at", "is_persisting",
    "first_timeout_at", "delack_at", "keep_at", "keep_probes", "life_at", "last_recv_ns",
    "last_data_ns", "last_send_ns", "data_in", "bare_in", "overtaking_in", "data_out",
    "control_out", "bare_out", "lent_end", "min_rtt_ns", "min_rtt_until", "probe_at", "has_probed",
    "reorder_at", "dsack",
)  # fmt: skip
