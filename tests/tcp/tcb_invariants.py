"""What must hold of an engine between any two calls, whatever happened before.

`Invariants` remembers what may only move one way, so it must see the same engine from the start
(`restart` after a load). A violation is an AssertionError that names the state of the connection.
"""

from __future__ import annotations

import itertools

from leulo.stack import Stack
from leulo.tcp import counted_buffer
from leulo.tcp.flight import END, LOST, SACKED, START, STATE
from leulo.tcp.state import SENDS, State
from leulo.tcp.tcb import ACK_DELAYED, NO_FIN, Tcb

_KIND = 3
_NOWHERE = 1 << 60
_OPENING = (State.SYN_SENT, State.SYN_RCVD)


def _edge(tcb: Tcb) -> int:
    """The right edge of all windows so far; memory that is taken away shuts the last."""
    buffer = counted_buffer.of(tcb)
    if buffer is not None:
        return max(tcb.rcv_adv, buffer.top)
    return _NOWHERE if tcb.engine.config.counts_memory else tcb.rcv_adv  # nobody reads on


class Invariants:
    """Checks one stack again and again."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.edges: dict[int, tuple[int, int, int]] = {}  # by serial: rcv_adv, rcv_nxt, snd_una
        self.limits: dict[int, int] = {}  # by serial: the largest rcv_limit
        self.checks = 0

    def restart(self, stack: Stack) -> None:
        """Another stack goes on for the old one, with the same connections."""
        self.stack = stack

    def check(self, is_drained: bool = False) -> None:
        """``is_drained``: nothing has happened since the last frame was taken."""
        self.checks += 1
        engine = self.stack.engine
        edges: dict[int, tuple[int, int, int]] = {}
        for key, tcb in engine.connections.items():
            assert tcb.key == key
            assert tcb.state is not State.CLOSED and tcb.state is not State.TIME_WAIT
            self._numbers(tcb)
            self._buffers(tcb)
            self._sender(tcb)
            self._timers(tcb, is_drained)
            now = _edge(tcb), tcb.rcv_nxt, tcb.snd_una
            before = self.edges.get(tcb.serial)
            if before is not None and tcb.state not in _OPENING and before[1]:
                assert now[0] >= before[0], (
                    f"the window's right edge moved back in {tcb.state.name}"
                )
                assert now[1] >= before[1] and now[2] >= before[2]
            edges[tcb.serial] = now
        self.edges = edges
        self._engine()

    # -- one connection

    def _numbers(self, tcb: Tcb) -> None:
        where = tcb.state.name
        assert tcb.snd_una <= tcb.snd_nxt <= tcb.snd_max, where
        assert tcb.snd_max <= tcb.snd_top, where
        assert tcb.snd_top == tcb.snd_end + tcb.is_fin_queued, where
        # More than was offered may have been taken, until the next header says so.
        assert tcb.rcv_nxt <= tcb.rcv_adv + (65_536 if tcb.is_pending else 1), where
        assert tcb.fin_at == NO_FIN or tcb.rcv_nxt <= tcb.fin_at + 1, where
        # A listener's fast opening counts the number of its SYN-ACK in.
        most = tcb.snd_max_wnd + (tcb.state is State.SYN_RCVD)
        assert 0 <= tcb.snd_wnd <= most, where
        if tcb.state not in _OPENING:
            assert tcb.mss >= 1 and tcb.cwnd >= 1, where

    def _buffers(self, tcb: Tcb) -> None:
        config = tcb.engine.config
        # A user may have made the buffer smaller than what it holds.
        limit = self.limits[tcb.serial] = max(self.limits.get(tcb.serial, 0), tcb.rcv_limit)
        assert tcb.received() <= limit + 65_536
        assert tcb.snd_end - tcb.snd_una <= max(tcb.snd_limit, config.snd_max) + 1
        buffer = tcb.send_buffer
        if buffer is not None:
            assert buffer.end == tcb.snd_end
            assert not buffer._starts or buffer._starts[0] <= max(tcb.snd_una, tcb.iss + 1)
        queue = tcb.reassembly
        if queue is not None:
            blocks = queue._blocks
            # What came with the SYN waits there until the handshake is over.
            assert blocks and blocks[0].start > tcb.rcv_nxt - (tcb.state is State.SYN_RCVD)
            assert len(blocks) <= queue.max_blocks
            assert all(x.end < y.start for x, y in itertools.pairwise(blocks))
            assert queue.length == sum(b.end - b.start for b in blocks)
            assert all(b.end - b.start == sum(map(len, b.pieces)) for b in blocks)
            assert sorted(map(id, queue._recent)) == sorted(map(id, blocks))
            assert queue.cost <= 2 * max(limit, config.rcv_default)

    def _sender(self, tcb: Tcb) -> None:
        board = tcb.scoreboard
        if board is not None:
            ranges = board.ranges()
            assert ranges and len(ranges) <= board.max_blocks
            assert tcb.snd_una < ranges[0][1] and ranges[-1][1] <= tcb.snd_max
            assert sum(b - a for a, b in ranges) == board.sacked
            assert all(a < b for a, b in ranges)
            assert all(x[1] < y[0] for x, y in itertools.pairwise(ranges))
        flight = tcb.flight
        if flight is not None:
            records = flight.records
            if records:
                assert records[0][START] <= tcb.snd_una < records[0][END]
                assert records[-1][END] == tcb.snd_max
                assert all(x[END] == y[START] for x, y in itertools.pairwise(records))
            lost = sum(r[END] - r[START] for r in records if r[STATE] & _KIND == LOST)
            assert lost == flight.lost_bytes
            held = [r for r in records if r[STATE] & _KIND == SACKED]
            assert (
                sum(-(-(r[END] - r[START]) // flight.mss) for r in held) == flight.sacked_segments
            )
            assert sum(r[END] - r[START] for r in held) == (board.sacked if board else 0)
        else:
            assert board is None or not tcb.engine.config.has_rack or not tcb.has_sack

    def _timers(self, tcb: Tcb, is_drained: bool) -> None:
        where = tcb.state.name
        engine = tcb.engine
        paced_at = 0 if tcb.pacer is None else tcb.pacer.at
        is_held = (tcb.delack_at, tcb) in engine.held
        deadlines = [
            at
            for at in (tcb.rto_at, 0 if is_held else tcb.delack_at, tcb.probe_at, tcb.reorder_at,
                       tcb.keep_at, tcb.life_at)
            if at
        ]  # fmt: skip
        if deadlines:
            assert tcb.timer_at and tcb.timer_at <= min(deadlines), (where, "a timer is lost")
        if tcb.pacer is not None and paced_at:
            assert 0 < tcb.pacer.timer_at <= paced_at, (where, "a pacer's timer is lost")
        waits = tcb.is_pending
        if tcb.snd_una < tcb.snd_max and tcb.state not in _OPENING:
            assert tcb.rto_at or waits, (where, "outstanding without a timer")
        if tcb.state in _OPENING:
            # On FreeBSD the SYN-ACK of a fast open waits as an acknowledgement does.
            is_held = tcb.fast_open is not None and tcb.fast_open.is_deferred
            at = tcb.rto_at or (is_held and tcb.delack_at)
            assert at or waits, (where, "opening without a timer")
        if SENDS >> tcb.state & 1 and tcb.snd_nxt < tcb.snd_top:
            assert tcb.rto_at or paced_at or waits, (where, "unsent without a timer")
        if tcb.ack_due == ACK_DELAYED:
            assert tcb.delack_at or waits, (where, "a delayed ACK without a timer")
        if tcb.state is State.FIN_WAIT_2 and tcb.is_orphan:
            assert tcb.life_at, "an orphan that would wait for ever"
        if is_drained and waits:
            assert tcb in engine.unresolved, (where, "pending after drain")

    # -- all of them

    def _engine(self) -> None:
        engine = self.stack.engine
        config = engine.config
        assert all(a[0] <= b[0] for a, b in itertools.pairwise(engine.held)), "held out of order"
        assert all(a.due_at <= b.due_at for a, b in itertools.pairwise(
            half for half in engine.opening if half.due_at
        )), "half-open records out of order"  # fmt: skip
        everybody: dict[int, Tcb] = {t.serial: t for t in engine.connections.values()}
        for socket in engine.sockets.values():
            if socket.tcb is not None:
                everybody[socket.tcb.serial] = socket.tcb
        for listener in engine.listeners.values():
            for tcb in listener.accept_queue:
                everybody[tcb.serial] = tcb
        used = 0
        for tcb in everybody.values():
            if tcb.send_buffer is not None:
                used += tcb.send_buffer._held
            if tcb.receive_buffer is not None:
                used += tcb.receive_buffer.length
            if tcb.reassembly is not None:
                used += tcb.reassembly.cost
        assert used == engine.account.used, "the account is wrong"
        assert engine.orphans == sum(t.is_counted for t in engine.connections.values())
        assert engine.orphans <= config.orphans_max
        for tcb in itertools.chain(engine.pending, engine.unresolved):
            assert tcb.is_pending
        waiting = [t.serial for t in itertools.chain(engine.pending, engine.unresolved)]
        assert len(set(waiting)) == len(waiting), "pending twice"
        for tcb in engine.connections.values():
            assert not tcb.is_pending or tcb.serial in waiting, "pending, and in no list"
        halves: dict[bytes, int] = {}
        for half in engine.half_open.values():
            halves[half.listener.key] = halves.get(half.listener.key, 0) + 1
        for listener in engine.listeners.values():
            assert listener.half_open == halves.get(listener.key, 0)
            assert len(listener.accept_queue) <= listener.backlog + 1 or config.max_backlog
        assert len(engine.half_open) <= config.half_open_max + 1
        assert len(engine.replies) <= 4096
        assert len(engine.time_wait) <= config.time_wait_limit
        armed = [t.timer_at for t in engine.connections.values() if t.timer_at]
        armed += [h.timer_at for h in engine.half_open.values() if h.timer_at]
        if armed:
            earliest = engine.next_deadline()
            assert earliest is not None and earliest <= min(armed), "a deadline is forgotten"
