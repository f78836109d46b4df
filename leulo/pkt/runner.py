"""Plays a script against a stack of its own in virtual time and says how it went.

The rules are packetdrill's. An event happens at its time; a relative time counts from when the
event before it happened. A packet of the stack is taken in the order of sending, may have left
since the last one was looked at, and must have left within the tolerance of its time. A blocking
call sleeps while the script goes on, and must return at the time given. What the stack sends
after the last line, nobody looks at. One line that stands for more than one segment (what a
segmenting device would carry) is filled by consecutive ones.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace
from typing import Final

from leulo.net.wire.tcp import ACK, FIN, PSH, SYN, URG
from leulo.pkt import signatures
from leulo.pkt.calls import Calls, Running, result_text
from leulo.pkt.connections import Connection, Stage
from leulo.pkt.differences import CallDiffers
from leulo.pkt.lexer import Refused, ScriptError
from leulo.pkt.matching import differs
from leulo.pkt.options import Options, read_options
from leulo.pkt.outcome import DEFINITIONS, DEFINITIONS_OF, SYMBOLS, Mode, Outcome, Status
from leulo.pkt.packets import Seen, describe, icmp_frame, is_echo_reply, tcp_frame, udp_frame
from leulo.pkt.parser import parse
from leulo.pkt.settings import Changes, Setup
from leulo.pkt.snippets import SnippetFailed, Snippets, decode_info
from leulo.pkt.syntax import (
    Call,
    Code,
    Command,
    Direction,
    Ellipsis_,
    Event,
    IcmpLine,
    Name,
    Script,
    TcpLine,
    Time,
    UdpLine,
    When,
)
from leulo.pkt.tools import Tools, is_tool
from leulo.pkt.world import MACS, START_NS, Stuck, World
from leulo.stack import Stack
from leulo.tcp import counted_buffer
from leulo.tcp.config import PRESETS, Config
from leulo.tcp.socket import TcpSocket
from leulo.udp.socket import UdpSocket

_AF_INET: Final = 2
_AF_INET6: Final = 10
_FIRST_PEER_PORT: Final = 49_152
_LAST_EVENTS: Final = 10
_MAX_STEPS: Final = 1_000_000
_RELAXED_TOLERANCE_NS: Final = 20_000_000
_INFO_OPTION: Final = (6, 11)
# What of SO_MEMINFO is not of the kernel's own memory
_BUFFERS: Final = (("SK_MEMINFO_RCVBUF", (1, 8)), ("SK_MEMINFO_SNDBUF", (1, 7)))


_VERSION: Final = re.compile(r"^--ip_version=(\S+)", re.MULTILINE)


class Mismatch(Exception):
    """The stack did not do what the line says."""

    def __init__(self, line: int, expected: str, actual: str) -> None:
        super().__init__(f"line {line}: expected {expected}, got {actual}")
        self.line: int = line
        self.expected: str = expected
        self.actual: str = actual


def run_text(text: str, mode: Mode | None = None, path: str = "") -> Outcome:
    """Parse and play ``text``, which was read from ``path``. Never raises for anything a script can
    say or a stack can do."""
    mode = mode or Mode()
    run: Run | None = None
    try:
        preset = mode.preset_for(text, path)
        said = _VERSION.search(text)
        version = said[1] if said is not None else dict(mode.options).get("ip_version", "")
        definitions = {**DEFINITIONS_OF.get(version, DEFINITIONS), **dict(mode.definitions)}
        script = parse(text, SYMBOLS.get(preset, ()), definitions)
        options = read_options([*mode.options, *script.options])
        options.commands[:0] = mode.commands
        run = Run(script, options, mode.is_relaxed, PRESETS[preset])
        run.play()
        return Outcome(Status.PASSED, duration_ns=run.elapsed_ns)
    except Mismatch as mismatch:
        outcome = Outcome(Status.FAILED, mismatch.line, mismatch.expected, mismatch.actual)
    except Refused as refused:
        outcome = Outcome(Status.REFUSED, refused.line, "", refused.what)
    except ScriptError as error:
        outcome = Outcome(Status.ERROR, error.line, "", error.sentence)
    except Stuck as stuck:
        line = run.line if run is not None else 1
        outcome = Outcome(Status.FAILED, line, "a stack that comes to rest", str(stuck))
    except Exception as error:
        line = run.line if run is not None else 1
        outcome = Outcome(Status.ERROR, line, "", f"{type(error).__name__}: {error}")
    if run is not None:
        outcome.history = tuple(run.history)
        outcome.duration_ns = run.elapsed_ns
    lines = text.split("\n")
    if outcome.line is not None and 0 < outcome.line <= len(lines):
        outcome.script_line = " ".join(lines[outcome.line - 1].split())
    return outcome


class Run:
    """One script under way; it is the `Surroundings` of its calls."""

    def __init__(self, script: Script, options: Options, is_relaxed: bool, base: Config) -> None:
        self.script: Script = script
        self.options: Options = options
        self.is_relaxed: bool = is_relaxed
        self.base: Config = base
        self.local: bytes = options.local6 if options.is_ipv6 else options.local
        self.peer: bytes = options.peer6 if options.is_ipv6 else options.peer
        is_six = options.is_ipv6 or options.is_mapped
        self.family: int = _AF_INET6 if is_six else _AF_INET
        self.bind_port: int = options.bind_port
        self.connect_port: int = options.connect_port
        self.setup: Setup = Setup(options.md5_secret)
        self.line: int = 1
        self.start_ns: int = START_NS
        self.tolerance_ns: int = options.tolerance_ns
        # A kernel's timers are as exact as this, says packetdrill; FreeBSD's does not.
        self.tolerance_per_mille: int = 0 if base.has_freebsd_syn else 125
        if options.tolerance_per_mille is not None:
            self.tolerance_per_mille = options.tolerance_per_mille
        self.history: deque[str] = deque(maxlen=_LAST_EVENTS)
        self.connections: list[Connection] = []
        self.next_peer_port: int = _FIRST_PEER_PORT
        self.under_test: Connection = self.new_connection(Stage.BEGUN)
        self.calls: Calls = Calls(self)
        self.snippets: Snippets = Snippets()
        self.sleeping: Running | None = None
        self.steps: int = 0
        self.pieces: list[Seen] = []
        self._world: World | None = None
        self.tools = Tools()
        self._anchor_ns: int = START_NS  # what relative times count from

    # ------------------------------------------------------------ surroundings of calls

    @property
    def world(self) -> World:
        """Made when it is first needed, when the set-up commands have been read."""
        if self._world is None:
            options = self.options
            changes: Changes = {"super_segment": options.segment, **self.setup.changes}
            # A script of Linux's counts on its device's buffers.
            changes["counts_memory"] = self.base is PRESETS["linux"]
            config = replace(self.base, **changes)  # type: ignore[arg-type]
            mtu = self.setup.mtu or options.mtu
            local6 = options.local6 if self.family == _AF_INET6 else None
            self._world = World(
                options.local, options.prefix_length, options.gateway, local6, mtu, config
            )
            self._world.now_ns = self._anchor_ns
        return self._world

    @property
    def stack(self) -> Stack:
        return self.world.stack

    @property
    def now_ns(self) -> int:
        return self._anchor_ns if self._world is None else self._world.now_ns

    @property
    def elapsed_ns(self) -> int:
        return self.now_ns - START_NS

    def new_connection(self, stage: Stage) -> Connection:
        connection = Connection(stage, self.local, self.peer, self.bind_port, self.next_peer_port)
        self.next_peer_port += 1
        self.connections.append(connection)
        self.under_test = connection
        return connection

    def refuse_family(self, family: int, line: int) -> None:
        if family == _AF_INET6 and self.family != _AF_INET6:
            raise Refused(line, "IPv6 sockets in a script without --ip_version=ipv6")
        if family not in (0, _AF_INET, _AF_INET6):
            raise Refused(line, f"sockets of family {family}")

    # ------------------------------------------------------------ the timeline

    def play(self) -> None:
        """Every event. Raises Mismatch, Refused, ScriptError, Stuck."""
        for command in self.options.commands:
            self.setup.command(command, 1)
        for event in self.script.events:
            self.line = event.line
            try:
                self._play(event)
            except Mismatch as mismatch:
                if not self._is_overlooked(event):
                    raise
                self._note(f"overlooked: {mismatch}")
        if self.sleeping is not None:
            self._wait_for_call()

    def _is_overlooked(self, event: Event) -> bool:
        """Does a script that says so go on when this one fails? [--non_fatal]"""
        action = event.action
        if isinstance(action, TcpLine | UdpLine | IcmpLine):
            return "packet" in self.options.non_fatal
        return isinstance(action, Call) and "syscall" in self.options.non_fatal

    def _play(self, event: Event) -> None:
        action = event.action
        time = event.time
        if isinstance(action, TcpLine | UdpLine | IcmpLine) and action.direction is Direction.OUT:
            self._expect(event, action)
            return
        if isinstance(action, Command) and self._world is None:
            # Set-up: its time passes without a stack.
            self._anchor_ns = max(self._anchor_ns, self._start_of(time))
            if is_tool(action.text):
                self._use_tool(action, event.line)
            else:
                self.setup.command(action.text, event.line)
            return
        self._move_to(self._start_of(time))
        if isinstance(action, Call):
            self._call(action, event)
        elif isinstance(action, Code):
            self._code(action, event.line)
        elif isinstance(action, Command):
            self._reconfigure(action, event.line)
        else:
            self._inject(action, event)

    def _start_of(self, time: Time) -> int:
        if time.kind in (When.ABSOLUTE, When.ABSOLUTE_RANGE):
            return START_NS + time.start_ns
        return self.now_ns + time.start_ns

    def _move_to(self, when_ns: int) -> None:
        """Let time pass up to ``when_ns``; what is due then is done."""
        world = self.world
        while True:
            self._retry()
            next_ns = self._next_ns()
            if next_ns is None or next_ns > when_ns:
                break
            self._step(next_ns)
        if when_ns > world.now_ns:
            world.move_to(when_ns)
            self._retry()

    def _next_ns(self) -> int | None:
        next_ns = self.world.next_ns()
        sleeping = self.sleeping
        if sleeping is not None and sleeping.wake_ns is not None:
            next_ns = sleeping.wake_ns if next_ns is None else min(next_ns, sleeping.wake_ns)
        return next_ns

    def _step(self, next_ns: int) -> None:
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise Stuck("the stack's timers never come to rest")
        self.world.move_to(next_ns)

    def _note(self, text: str, at_ns: int | None = None) -> None:
        elapsed_ns = self.elapsed_ns if at_ns is None else at_ns - START_NS
        self.history.append(f"{elapsed_ns / 1e9:10.6f} {text}")

    # ------------------------------------------------------------ packets of the peer

    def _inject(self, line: TcpLine | UdpLine | IcmpLine, event: Event) -> None:
        connection = self._connection_for(line)
        if isinstance(line, TcpLine):
            self._begin(line, connection)
            signatures.require(line.options or [], connection.peer, self.calls.secrets, event.line)
            frame = tcp_frame(MACS, line, connection, self.calls.secrets)
        elif isinstance(line, UdpLine):
            frame = udp_frame(MACS, line, connection)
        else:
            try:
                frame = icmp_frame(MACS, line, connection)
            except KeyError as error:
                raise Refused(event.line, f"the ICMP name {error.args[0]}") from error
        self._note(line.text)
        sleeping = self.sleeping
        if sleeping is not None and (sleeping.is_opening or sleeping.is_early):
            # Who waits to write the rest gets it into the handshake's last ACK.
            self.world.receive(frame)
            self._retry()
        else:
            self.world.give(frame)
            self._retry()

    def _begin(self, line: TcpLine, connection: Connection) -> None:
        """What an arriving segment says of the connection's numbers."""
        is_listening = connection.stage is Stage.LISTENING
        connection.stage = Stage.BEGUN
        if line.flags & URG:
            connection.has_odd_data = True
        if line.flags & SYN and line.seq is not None:
            if is_listening or (connection.is_iss_known and not connection.is_irs_known):
                connection.learn_irs(line.seq)
            elif not line.flags & ACK and connection.is_iss_known:
                connection.is_reopening = True
                connection.next_irs = line.seq

    def _connection_for(self, line: TcpLine | UdpLine | IcmpLine) -> Connection:
        if line.ports is None:
            return self.under_test
        if line.direction is Direction.IN:
            peer_port, local_port = line.ports
        else:
            local_port, peer_port = line.ports
        for connection in self.connections:
            if connection.knows(local_port, peer_port):
                self.under_test = connection
                return connection
        connection = self.new_connection(Stage.BEGUN)
        connection.local_port, connection.peer_port = local_port, peer_port
        return connection

    # ------------------------------------------------------------ packets of the stack

    def _expect(self, event: Event, line: TcpLine | UdpLine | IcmpLine) -> None:
        time = event.time
        base_ns = self.now_ns
        exact_ns = self._tolerance_ns(0)
        tolerance_ns = self._tolerance_ns(self._start_of(time) - base_ns)
        earliest_ns: int | None = None
        latest_ns: int | None = None
        if time.kind is not When.ANY:
            earliest_ns = self._start_of(time) - tolerance_ns
            latest_ns = self._start_of(time) + tolerance_ns
            if time.kind is When.RELATIVE_RANGE:
                latest_ns = base_ns + time.end_ns + tolerance_ns
            elif time.kind is When.ABSOLUTE_RANGE:
                latest_ns = START_NS + time.end_ns + tolerance_ns
        connection = self._connection_for(line)
        seen = self._next_packet(connection, line, latest_ns)
        if seen is None:
            raise Mismatch(event.line, line.text, f"nothing{self._until(latest_ns)}")
        is_full = False
        if isinstance(line, TcpLine) and line.length:
            segment_bytes = self._segment_bytes(connection)
            # Where the push flag of full segments stands tells how buffers are cut, no more.
            is_full = line.length >= segment_bytes
            if line.length > segment_bytes or self.is_relaxed:
                seen = self._whole(seen, line, connection, latest_ns)
        self._note(describe(seen, connection), seen.at_ns)
        difference = differs(
            line, seen, connection, self.is_relaxed, self.options.tick_ns, self.calls.secrets,
            is_full, exact_ns,
        )  # fmt: skip
        if difference is not None:
            actual = f"{describe(seen, connection)}  [differs: {difference}]"
            raise Mismatch(event.line, line.text, actual)
        if earliest_ns is not None and seen.at_ns < earliest_ns:
            raise Mismatch(event.line, f"{line.text} at {_seconds(earliest_ns + tolerance_ns)}",
                           f"the packet at {_seconds(seen.at_ns)}")  # fmt: skip
        if latest_ns is not None and seen.at_ns > latest_ns:
            raise Mismatch(event.line, f"{line.text} by {_seconds(latest_ns - tolerance_ns)}",
                           f"the packet at {_seconds(seen.at_ns)}")  # fmt: skip
        if isinstance(line, TcpLine) and connection.stage is Stage.CONNECTING:
            connection.stage = Stage.BEGUN

    def _tolerance_ns(self, since_ns: int) -> int:
        """Of what is due ``since_ns`` after the event before it."""
        tolerance_ns = max(self.options.tolerance_ns, since_ns * self.tolerance_per_mille // 1_000)
        return max(tolerance_ns, _RELAXED_TOLERANCE_NS) if self.is_relaxed else tolerance_ns

    def _until(self, latest_ns: int | None) -> str:
        text = f" until {_seconds(latest_ns)}" if latest_ns is not None else " at all"
        if self.world.nonsense:
            text += f" (but a packet that cannot be read: {self.world.nonsense})"
        return text

    def _next_packet(
        self, connection: Connection, line: TcpLine | UdpLine | IcmpLine, latest_ns: int | None
    ) -> Seen | None:
        """The next packet of the connection (or of none that is known), waited for if there is
        none; None if it does not come in time."""
        world = self.world
        while True:
            self._retry()
            for at, seen in enumerate(world.seen):
                if self._belongs(seen, connection, line):
                    return world.seen.pop(at)
            next_ns = self._next_ns()
            if next_ns is None or (latest_ns is not None and next_ns > latest_ns):
                if latest_ns is not None and latest_ns > world.now_ns:
                    world.move_to(latest_ns)
                return None
            self._step(next_ns)

    def _belongs(
        self, seen: Seen, connection: Connection, line: TcpLine | UdpLine | IcmpLine
    ) -> bool:
        if is_echo_reply(seen) and not isinstance(line, IcmpLine):
            return False  # a ping's answer, of no connection
        if not seen.source_port or not isinstance(line, TcpLine):
            return True
        if connection.knows(seen.source_port, seen.destination_port):
            return True
        others = (c for c in self.connections if c is not connection)
        if any(other.knows(seen.source_port, seen.destination_port) for other in others):
            return False
        return line.ports is None

    def _whole(
        self, seen: Seen, line: TcpLine, connection: Connection, latest_ns: int | None
    ) -> Seen:
        """Consecutive segments as one, while the line's data goes on behind the first."""
        if not seen.length or seen.length >= line.length or seen.flags & (SYN | FIN):
            return seen
        whole = replace(seen, joined=[])  # to be added to
        while whole.length < line.length:
            more = self._next_packet(connection, line, latest_ns)
            if more is None:
                break
            fits = (
                more.seq == (whole.seq + whole.length) & 0xFFFFFFFF
                and whole.length + more.length <= line.length
                and (more.length > 0 or more.flags & FIN)
                and more.traffic_class == whole.traffic_class
            )
            if not fits:
                self.world.seen.insert(0, more)
                break
            whole.payload += more.payload
            whole.joined.append(more.transport)
            whole.flags |= more.flags & (PSH | FIN)
            whole.ack, whole.window = more.ack, more.window
        return whole

    def _segment_bytes(self, connection: Connection) -> int:
        """What one segment of the connection can carry."""
        descriptor = self.calls.descriptor_of(connection)
        socket = descriptor.socket if descriptor is not None else None
        if isinstance(socket, TcpSocket) and socket.tcb is not None:
            return max(1, socket.tcb.mss)
        for tcb in self.stack.engine.connections.values():
            if connection.knows(tcb.local_port, tcb.peer_port):
                return max(1, tcb.mss)
        return 1460

    # ------------------------------------------------------------ calls

    def _call(self, call: Call, event: Event) -> None:
        if self.sleeping is not None:
            self._wait_for_call()
        running = Running(call, event.line, self.now_ns)
        result = self._attempt(running)
        if result is not None:
            self._finish(running, result)
        elif call.end_ns is None and running.wake_ns is None:
            raise Mismatch(event.line, call.text, "the call blocks")
        else:
            self._note(f"{call.name}() sleeps")
            self.sleeping = running

    def _attempt(self, running: Running) -> int | None:
        try:
            result = self.calls.attempt(running)
        except CallDiffers as difference:
            raise Mismatch(running.line, f"{running.call.text} with {difference.expected}",
                           difference.actual) from difference  # fmt: skip
        self.world.settle()
        return result

    def _retry(self) -> None:
        """Something may have happened: let the sleeping call look again."""
        self.calls.look_at_queues()
        running = self.sleeping
        if running is None:
            return
        result = self._attempt(running)
        if result is not None:
            self.sleeping = None
            self._finish(running, result)

    def _wait_for_call(self) -> None:
        """The next call can only be made when the one before has returned."""
        while self.sleeping is not None:
            running = self.sleeping
            next_ns = self._next_ns()
            if next_ns is None:
                raise Mismatch(running.line, running.call.text, "the call never returns")
            self._step(next_ns)
            self._retry()

    def _finish(self, running: Running, result: int) -> None:
        call = running.call
        self._note(f"{call.name}() = {result_text(result)}")
        expected = call.result
        if not isinstance(expected, Ellipsis_):
            wanted = self.calls.value(expected, running.line)
            actual = result if result >= 0 else -1
            is_right = wanted == actual
            if is_right and call.errno_name and result < 0:
                is_right = -result == self.calls.value(Name(call.errno_name), running.line)
            if not is_right:
                raise Mismatch(running.line, call.text, f"{call.name}() = {result_text(result)}")
        if call.end_ns is not None:
            self._check_end(running)

    def _check_end(self, running: Running) -> None:
        call = running.call
        end_ns = call.end_ns or 0
        event = next(e for e in self.script.events if e.action is call)
        if event.time.kind is When.RELATIVE:
            expected_ns = running.since_ns - event.time.start_ns + end_ns
        else:
            expected_ns = START_NS + end_ns
        tolerance_ns = self._tolerance_ns(expected_ns - running.since_ns)
        if abs(self.now_ns - expected_ns) > tolerance_ns:
            raise Mismatch(running.line, f"{call.text} returning at {_seconds(expected_ns)}",
                           f"it returns at {_seconds(self.now_ns)}")  # fmt: skip

    # ------------------------------------------------------------ snippets, commands

    def _code(self, code: Code, line: int) -> None:
        descriptor = self.calls.descriptor_of(self.under_test)
        if descriptor is None and self.calls.descriptors:
            descriptor = list(self.calls.descriptors.values())[-1]
        info: dict[str, object] = {}
        if descriptor is not None:
            data = descriptor.socket.getsockopt(*_INFO_OPTION)
            if isinstance(data, bytes):
                info = decode_info(data)
                info.update(_more_info(descriptor.socket))
                for name, option in _BUFFERS:
                    value = descriptor.socket.getsockopt(*option)
                    info[name] = int.from_bytes(value, "little") if isinstance(value, bytes) else 0
        try:
            self.snippets.run(code.text, info, line)
        except SnippetFailed as failure:
            raise Mismatch(line, failure.statement, failure.values) from failure

    def _use_tool(self, command: Command, line: int) -> None:
        stack = None if self._world is None else self._world.stack
        printed = self.tools.run(command.text.strip(), stack, line)
        if printed is not None:
            raise Mismatch(line, f"`{command.text.strip()}` to succeed", f"it prints {printed}")
        if stack is not None:
            self.world.settle()

    def _reconfigure(self, command: Command, line: int) -> None:
        """Settings that change while the stack runs hold for what comes."""
        if is_tool(command.text):
            self._use_tool(command, line)
            return
        changes = Setup()
        changes.command(command.text, line)
        if changes.mtu:
            self.stack.change_mtu(changes.mtu)
        if changes.is_stalled is not None and changes.is_stalled != self.stack.engine.is_stalled:
            self.stack.engine.stall(changes.is_stalled)
            self.world.settle()
        self.setup.files.update(changes.files)
        if "tcp_metrics flush" in command.text:
            self.stack.engine.cookies.clear()
        if "hostcache.purge" in command.text:
            self.stack.engine.path_mtus.clear()
        if changes.changes:
            engine = self.stack.engine
            engine.config = replace(engine.config, **changes.changes)  # type: ignore[arg-type]
            engine.settings = type(engine.settings).of(engine.config)


def _more_info(socket: TcpSocket | UdpSocket) -> dict[str, object]:
    """What FreeBSD's struct tcp_info has beside Linux's, and the memory that what has arrived
    takes, if it is counted. [FreeBSD tcp(4) TCP_INFO]"""
    tcb = socket.tcb if isinstance(socket, TcpSocket) else None
    if tcb is None:
        return {}
    values = {
        "snd_una": tcb.snd_una, "snd_nxt": tcb.snd_nxt, "snd_max": tcb.snd_max,
        "rcv_nxt": tcb.rcv_nxt, "rcv_adv": tcb.rcv_adv, "snd_rexmitpack": tcb.retransmits,
        "dupacks": tcb.dupacks, "snd_zerowin": int(tcb.is_persisting and not tcb.snd_wnd),
    }  # fmt: skip
    info: dict[str, object] = {"tcpi_" + name: value & 0xFFFFFFFF for name, value in values.items()}
    buffer = counted_buffer.of(tcb)
    if buffer is not None:
        info["SK_MEMINFO_RMEM_ALLOC"] = buffer.memory + buffer.queued
    return info


def _seconds(at_ns: int) -> str:
    return f"{(at_ns - START_NS) / 1e9:.6f} s"
