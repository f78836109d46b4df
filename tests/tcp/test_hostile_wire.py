"""Two engines and a wire that hypothesis holds in its hands: it loses, repeats, reorders, corrupts
and delays single frames, reports narrower paths, lets time pass, makes both users write, urgently
and in records, read, stop reading, change options and algorithms, half-close, close and abort, and
puts an engine by way of its saved state into another object, in any order.

After every step the invariants of both engines hold (`tcb_invariants`). What a user reads is at
every moment a beginning of what the other has written: no byte lost, twice, or another. At the end
the wire becomes good: either both streams arrive whole and both sides see their ends, or one side
has aborted and the other is told so; and nothing is left in any table.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tcb_invariants import Invariants
from tcp_world import INET, MS, STREAM, S, address, dial, listen, make_stack
from test_saved import reborn

from leulo.stack import Stack
from leulo.tcp.config import PRESETS
from leulo.tcp.path_mtu import too_big
from leulo.tcp.socket import TcpSocket
from leulo.tcp.state import State

EAGAIN, ENOBUFS = -11, -105
MOST_FLYING = 400
SIZES = (1, 10, 536, 1448, 1449, 5_000, 20_000, 60_000)
PROFILES: dict[str, dict[str, object]] = {
    "linux": {},
    "no_sack": {"has_sack": False},
    "no_timestamps": {"has_timestamps": False},
    "bare": {"has_sack": False, "has_timestamps": False, "has_window_scaling": False},
    "no_rack": {"has_rack": False},
    "cubic": {"congestion": "cubic"},
    "bbr": {"congestion": "bbr", "has_pacing": True},
    "ecn": {"ecn": 1},
    "accurate_ecn": {"ecn": 3},
    "accurate_ecn_sparing": {"ecn": 3, "ecn_option": 1, "has_sack": False},
    "freebsd": {f.name: getattr(PRESETS["freebsd"], f.name) for f in fields(PRESETS["freebsd"])},
    "rfc": {f.name: getattr(PRESETS["rfc"], f.name) for f in fields(PRESETS["rfc"])},
    "small": {"rcv_default": 6_000, "rcv_max": 6_000, "snd_default": 8_000},
    "quota": {"buffers_max": 60_000},
    "counted": {"counts_memory": True},
    "counted_small": {"counts_memory": True, "rcv_default": 6_000, "rcv_max": 24_000},
    "counted_shrinking": {"counts_memory": True, "rcv_max": 40_000, "may_shrink_window": True},
    "shrinking": {"may_shrink_window": True, "rcv_max": 40_000},
    "paced": {"has_pacing": True},
    "reno": {"congestion": "reno"},
    "bbr_no_sack": {"congestion": "bbr", "has_pacing": True, "has_sack": False},
    "mtu_search": {"mtu_probing": 2, "base_mss": 512},
    "accurate_mtu_search": {"ecn": 3, "ecn_of_control": 2, "mtu_probing": 2, "base_mss": 512},
    "ecn_everything": {"ecn": 1, "ecn_of_control": 2},
    "fast_open": {"fast_open": 0x607},
    "patient": {"ack_patience_ns": 10 * MS},
}
OPTIONS = (
    (6, 1, 0), (6, 1, 1),  # TCP_NODELAY
    (6, 3, 0), (6, 3, 1),  # TCP_CORK
    (6, 12, 0), (6, 12, 1),  # TCP_QUICKACK
    (1, 9, 1),  # SO_KEEPALIVE
    (1, 8, 3_000), (1, 8, 100_000),  # SO_RCVBUF
    (1, 7, 5_000), (1, 7, 200_000),  # SO_SNDBUF
    (6, 10, 2_000), (6, 10, 100_000),  # TCP_WINDOW_CLAMP
    (6, 25, 3_000),  # TCP_NOTSENT_LOWAT
    (1, 47, 30_000), (1, 47, 1_000_000),  # SO_MAX_PACING_RATE
    (1, 18, 3_000),  # SO_RCVLOWAT
)  # fmt: skip


@dataclass
class Side:
    """One user with its stack."""

    stack: Stack
    socket: TcpSocket | None = None
    sent: bytearray = field(default_factory=bytearray)  # what the stack has taken
    got: bytearray = field(default_factory=bytearray)
    has_shut: bool = False  # no more will be written
    has_end: bool = False  # the peer's end was read
    error: int = 0
    is_gone: bool = False  # closed or aborted by the user
    has_aborted: bool = False


class HostileWire(RuleBasedStateMachine):
    """The rules are what the wire and the users may do."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self.flying: list[tuple[int, bytes]] = []  # (to whom, frame), in the order of sending
        self.content = Random(7)
        self.lossy = 0  # frames that were lost or damaged

    # ------------------------------------------------------------ set-up

    @initialize(
        profiles=st.tuples(st.sampled_from(sorted(PROFILES)), st.sampled_from(sorted(PROFILES))),
        seed=st.integers(0, 3),
        is_open=st.sampled_from((True, True, True, False)),
        tso=st.sampled_from((0, 0, 65_535)),
    )
    def open(self, profiles: tuple[str, str], seed: int, is_open: bool, tso: int) -> None:
        stacks = [
            make_stack(n + 1, seed=seed, checksum=False, tso=tso, **PROFILES[name])
            for n, name in enumerate(profiles)
        ]
        self.sides = [Side(stack) for stack in stacks]
        self.checks = [Invariants(stack) for stack in stacks]
        self.listener: TcpSocket | None = listen(stacks[1])
        if all(stack.config.tcp.fast_open & 0x200 for stack in stacks):
            self._open_fast(stacks[0])
        else:
            self.sides[0].socket = dial(stacks[0], address(2))
        self._collect()
        # Who has which address is not what this is about.
        for _ in range(4):
            if self.flying and self.flying[0][1][22:24] == b"\x08\x06":
                self._arrive(0)
        if is_open:
            self.carry(3)
            assert self.sides[1].socket is not None

    def _open_fast(self, stack: Stack) -> None:
        """Without cookies on either side: the first SYN has data."""
        socket = stack.socket(INET, STREAM)
        assert isinstance(socket, TcpSocket)
        data = self.content.randbytes(3_000)
        taken = socket.connect_with(data, address(2), 80)
        assert taken > 0
        self.sides[0].socket = socket
        self.sides[0].sent += data[:taken]

    # ------------------------------------------------------------ the wire

    def _collect(self) -> None:
        for number, side in enumerate(self.sides):
            while side.stack.has_output:
                frames = side.stack.drain(self.now_ns)
                if not frames and not side.stack.engine.pending:
                    break
                self.flying += [(1 - number, b"".join(frame)) for frame in frames]
        del self.flying[MOST_FLYING:]
        if self.listener is not None and self.sides[1].socket is None:
            got = self.listener.accept()
            if isinstance(got, TcpSocket):
                self.sides[1].socket = got

    def _arrive(self, at: int, count: int = 1) -> None:
        batches: tuple[list[bytes], list[bytes]] = ([], [])
        for to, frame in self.flying[at : at + count]:
            batches[to].append(frame)
        del self.flying[at : at + count]
        for side, frames in zip(self.sides, batches, strict=True):
            if frames:
                side.stack.input(frames, self.now_ns)
        self._collect()

    has_frames = precondition(lambda self: self.flying)

    @has_frames
    @rule(count=st.integers(1, 40))
    def deliver(self, count: int) -> None:
        self._arrive(0, count)

    @rule(rounds=st.integers(1, 8))
    def carry(self, rounds: int) -> None:
        """The wire is good for some round trips."""
        for _ in range(rounds):
            self._arrive(0, len(self.flying))
            self.now_ns += 5 * MS

    @rule(
        number=st.integers(0, 1),
        size=st.sampled_from((0, *SIZES)),
        fates=st.lists(st.sampled_from("......lrch"), min_size=1, max_size=60),
        limit=st.sampled_from((0, 1, 3_000, 1 << 20)),
    )
    def transfer(self, number: int, size: int, fates: list[str], limit: int) -> None:
        """A user writes, each frame has its fate (arrives, is lost, repeated, corrupted, held
        back), and the other user reads."""
        if size:
            self.write(number, size, False)
        for fate in fates:
            if not self.flying:
                self.delay(5 * MS)
                if not self.flying:
                    break
            if fate == "l":
                del self.flying[0]
                self.lossy += 1
            elif fate == "h":
                self.flying.append(self.flying.pop(0))
            else:
                to, frame = self.flying[0]
                if fate == "r":
                    self.flying.append((to, frame))
                elif fate == "c":
                    at = 24 + len(frame) // 3 % (len(frame) - 24)
                    self.flying[0] = (to, frame[:at] + bytes((frame[at] ^ 4,)) + frame[at + 1 :])
                    self.lossy += 1
                self._arrive(0)
        self.now_ns += 5 * MS
        if limit:
            self.read(1 - number, limit)

    @has_frames
    @rule(data=st.data())
    def overtake(self, data: st.DataObject) -> None:
        self._arrive(data.draw(st.integers(0, len(self.flying) - 1)))

    @has_frames
    @rule(data=st.data(), count=st.integers(1, 6))
    def lose(self, data: st.DataObject, count: int) -> None:
        at = data.draw(st.integers(0, len(self.flying) - 1))
        del self.flying[at : at + count]
        self.lossy += 1

    @has_frames
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.flying) - 1))
        self.flying.insert(data.draw(st.integers(0, len(self.flying))), self.flying[at])
        self._arrive(0)

    @has_frames
    @rule(data=st.data())
    def corrupt(self, data: st.DataObject) -> None:
        """A bit of the packet; the checksum finds it."""
        at = data.draw(st.integers(0, len(self.flying) - 1))
        to, frame = self.flying[at]
        place = data.draw(st.integers(24, len(frame) - 1))
        bad = bytearray(frame)
        bad[place] ^= 1 << data.draw(st.integers(0, 7))
        self.flying[at] = (to, bytes(bad))
        self._arrive(at)
        self.lossy += 1

    @rule(wait_ns=st.sampled_from((MS, 5 * MS, 45 * MS, 210 * MS, S, 5 * S)))
    def delay(self, wait_ns: int) -> None:
        """Time passes; what is under way stays so."""
        end = self.now_ns + wait_ns
        for _ in range(2_000):
            times = [side.stack.next_deadline() for side in self.sides]
            due = min((at for at in times if at is not None), default=None)
            if due is None or due > end:
                break
            self.now_ns = max(self.now_ns, due)
            for side in self.sides:
                side.stack.advance(self.now_ns)
            self._collect()
        else:
            raise AssertionError("the timers never come to rest")
        self.now_ns = end

    # ------------------------------------------------------------ the users

    who = st.integers(0, 1)

    def _user(self, number: int) -> Side | None:
        side = self.sides[number]
        return None if side.socket is None or side.is_gone else side

    @rule(number=who, size=st.sampled_from(SIZES), more=st.booleans())
    def write(self, number: int, size: int, more: bool) -> None:
        side = self._user(number)
        if side is None or side.has_shut:
            return
        assert side.socket is not None
        data = self.content.randbytes(size)
        self._taken(side, data, side.socket.send(data, more))

    def _taken(self, side: Side, data: bytes, taken: int) -> None:
        if taken > 0:
            side.sent += data[:taken]
        elif taken not in (0, EAGAIN, ENOBUFS):
            side.error = side.error or -taken
        self._collect()

    @rule(number=who, size=st.sampled_from((1, 700, 3_000)), is_urgent=st.booleans())
    def write_marked(self, number: int, size: int, is_urgent: bool) -> None:
        """An urgent byte at the end, which the other reads in line, or the end of a record."""
        side, other = self._user(number), self._user(1 - number)
        if side is None or side.has_shut or other is None:
            return
        assert side.socket is not None and other.socket is not None
        data = self.content.randbytes(size)
        if is_urgent:
            other.socket.setsockopt(1, 10, b"\1\0\0\0")  # SO_OOBINLINE
            self._taken(side, data, side.socket.send_urgent(data))
        else:
            self._taken(side, data, side.socket.send(data, False, True))

    @rule(number=who, limit=st.sampled_from((1, 100, 3_000, 1 << 20)))
    def read(self, number: int, limit: int) -> None:
        side = self._user(number)
        if side is not None:
            self._read(side, limit)
            self._collect()

    def _read(self, side: Side, limit: int) -> bool:
        """False: there is nothing now."""
        assert side.socket is not None
        got = side.socket.recv(limit)
        if isinstance(got, int):
            if got != EAGAIN:
                side.error = side.error or -got
            return False
        side.got += got
        side.has_end = side.has_end or (not got and not side.error)
        return bool(got)

    @rule(number=who)
    def half_close(self, number: int) -> None:
        side = self._user(number)
        if side is not None and side.socket is not None:
            is_opening = side.socket.state is State.SYN_SENT  # where it gives the opening up
            if side.socket.shutdown(1) == 0:
                side.has_shut = True
                side.has_aborted = side.has_aborted or is_opening
            self._collect()

    @rule(number=who)
    def rest(self, number: int) -> None:
        """The user does nothing for a while: ACKs no longer wait for an answer."""
        self.sides[number].stack.release_acks(self.now_ns)
        self._collect()

    @rule(number=who, choice=st.sampled_from(OPTIONS))
    def set_option(self, number: int, choice: tuple[int, int, int]) -> None:
        side = self._user(number)
        if side is not None and side.socket is not None:
            level, name, value = choice
            side.socket.setsockopt(level, name, value.to_bytes(4, "little"))
            self._collect()

    @rule(number=who, name=st.sampled_from(("reno", "cubic", "bbr")))
    def choose_algorithm(self, number: int, name: str) -> None:
        side = self._user(number)
        if side is not None and side.socket is not None:
            assert side.socket.setsockopt(6, 13, name.encode()) == 0
            self._collect()

    @rule(number=who, mtu=st.sampled_from((576, 900, 1280, 1499)))
    def report_path(self, number: int, mtu: int) -> None:
        """A router says that what is outstanding was too big."""
        side = self._user(number)
        tcb = None if side is None or side.socket is None else side.socket.tcb
        if side is not None and tcb is not None and tcb.snd_una < tcb.snd_max:
            side.stack.engine.set_time(self.now_ns)
            too_big(tcb, mtu)
            self._collect()

    @rule(number=who)
    def load_what_was_saved(self, number: int) -> None:
        side = self.sides[number]
        side.stack = reborn(side.stack)
        self.checks[number] = Invariants(side.stack)
        if side.socket is not None and not side.is_gone:
            side.socket = self._again(side.stack, side.socket)
        if number == 1 and self.listener is not None:
            self.listener = self._again(side.stack, self.listener)
        self._collect()

    def _again(self, stack: Stack, socket: TcpSocket) -> TcpSocket:
        other = stack.socket_of(socket.serial)
        assert isinstance(other, TcpSocket)
        return other

    @precondition(lambda self: self.lossy > 3)
    @rule(number=who, aborts=st.booleans())
    def close(self, number: int, aborts: bool) -> None:
        side = self._user(number)
        if side is not None and side.socket is not None:
            if aborts:
                side.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER, no time
            # Closing is an abort, too, if something is left unread.
            side.has_aborted = side.has_aborted or aborts or not side.has_end
            side.socket.close()
            side.is_gone = side.has_shut = True
            self._collect()

    # ------------------------------------------------------------ what must hold

    @invariant()
    def engines_are_sound(self) -> None:
        for check in getattr(self, "checks", ()):
            check.check(is_drained=True)

    @invariant()
    def what_is_read_was_written(self) -> None:
        if hasattr(self, "sides"):
            for side, other in ((self.sides[0], self.sides[1]), (self.sides[1], self.sides[0])):
                assert other.sent.startswith(side.got), "bytes that nobody has written"

    def teardown(self) -> None:
        if hasattr(self, "sides"):
            self._finish()

    def _finish(self) -> None:
        """The wire is good from now on; both read to the end, and end."""
        for side in self.sides:
            if side.socket is not None and not side.is_gone:
                # Corks and small buffers must not decide about what arrives.
                side.socket.setsockopt(6, 3, bytes(4))
        for _ in range(6_000):
            self._arrive(0, len(self.flying))
            for side in self.sides:
                if side.socket is not None and not side.is_gone:
                    while self._read(side, 1 << 20):
                        pass
                    if (
                        not side.has_shut
                        and side.socket.state is not State.SYN_SENT
                        and side.socket.shutdown(1) == 0
                    ):
                        side.has_shut = True
            self._collect()
            self.what_is_read_was_written()
            if all(
                s.is_gone or s.has_end or s.error for s in self.sides if s.socket is not None
            ) and (self.sides[1].socket is not None or self.sides[0].error):
                break
            if not self.flying:
                times = [side.stack.next_deadline() for side in self.sides]
                due = min((at for at in times if at is not None), default=self.now_ns + S)
                self.now_ns = max(self.now_ns + MS, due)
                for side in self.sides:
                    side.stack.advance(self.now_ns)
                self._collect()
                self.engines_are_sound()
        left, right = self.sides
        is_clean = not any(s.has_aborted or s.error for s in self.sides)
        if is_clean:
            assert left.has_end and right.has_end, "a stream has no end"
            assert left.got == right.sent and right.got == left.sent, "a stream is not whole"
        elif not any(s.has_aborted for s in self.sides):
            # Nobody meant it: only time may have ended a connection that heard nothing for long.
            assert {s.error for s in self.sides} <= {0, 104, 110, 32}, [s.error for s in self.sides]
        for side in self.sides:
            if side.socket is not None and not side.is_gone:
                side.socket.close()
                side.is_gone = True
        if self.listener is not None:
            self.listener.close()
            self.listener = None
        for _ in range(3_000):
            self._collect()
            self._arrive(0, len(self.flying))
            times = [side.stack.next_deadline() for side in self.sides]
            due = min((at for at in times if at is not None), default=None)
            if due is None and not self.flying:
                break
            self.now_ns = max(self.now_ns, due or 0)
            for side in self.sides:
                side.stack.advance(self.now_ns)
        for side in self.sides:
            counters = side.stack.counters()
            left_over = {
                name: counters[name]
                for name in ("tcp_connections", "tcp_half_open", "tcp_time_wait", "tcp_orphans",
                             "tcp_buffered_bytes", "tcp_sockets", "tcp_bound_ports")
                if counters[name]
            }  # fmt: skip
            assert not left_over, left_over
            assert side.stack.engine.account.used == 0


EXAMPLES = int(os.environ.get("LEULO_WIRE_EXAMPLES", "0"))


@pytest.mark.timeout(0 if EXAMPLES else 110)
def test_hostile_wire() -> None:
    """Always the same stories; LEULO_WIRE_EXAMPLES asks for so many new ones."""
    run_state_machine_as_test(
        HostileWire,
        settings=settings(
            max_examples=EXAMPLES or 120,
            stateful_step_count=40,
            derandomize=not EXAMPLES,
            phases=[Phase.generate],  # shrinking a story takes minutes
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_states_are_named() -> None:
    """The invariants know every state that a connection in the tables may have."""
    assert {s.name for s in State} >= {"SYN_SENT", "SYN_RCVD", "ESTABLISHED", "LAST_ACK"}
