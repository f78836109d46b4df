"""The way of one hypercall: from a descriptor in guest memory to an operation and back.

It must not know what an operation does. The descriptor is fetched once (nothing is read twice),
checked, routed by a table, answered in place. Whatever the guest wrote, `call` neither raises nor
touches anything but its RAM: a call that was not understood ends in a transport status, one that
the socket refuses in a negative errno.
Read first: `abi` for the numbers, `handles` and `ring` for the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leulo.clock import Clock
from leulo.hypercalls import abi
from leulo.hypercalls.buffers import BufferCalls
from leulo.hypercalls.data import DataCalls
from leulo.hypercalls.datagrams import DatagramCalls
from leulo.hypercalls.engine import Engine
from leulo.hypercalls.events import (
    STATUS_NAMES,
    DescriptorRefused,
    HypercallEnter,
    HypercallReturn,
    errno_name,
    op_name,
)
from leulo.hypercalls.handles import Entry, Handles
from leulo.hypercalls.lab import LabCalls
from leulo.hypercalls.limits import Limits, MachineInfo
from leulo.hypercalls.operations import OPERATIONS
from leulo.hypercalls.options import OptionCalls
from leulo.hypercalls.readiness import Readiness
from leulo.hypercalls.refusal import Refused
from leulo.hypercalls.ring import EventRing
from leulo.hypercalls.session import SessionCalls
from leulo.hypercalls.sockets import SocketCalls
from leulo.irq import Line
from leulo.memory import BadAddress, Memory
from leulo.state import State
from leulo.trace import Channel, Trace

# entry, call, flags, events, cookie, args -> result; the answer names the same socket.
SocketOp = Callable[[Entry, int, int, int, int, int, int, int, int], int]
# call, handle, flags, events, cookie, args -> handle, result, events
OtherOp = Callable[[int, int, int, int, int, int, int, int, int], tuple[int, int, int]]

_NO_ROUTE: Final = (None, None)
_OK: Final = int(abi.Status.OK)
_BAD_ADDRESS: Final = int(abi.Status.BAD_ADDRESS)
_BAD_SIZE: Final = int(abi.Status.BAD_SIZE)
_NO_HELLO: Final = int(abi.Status.NO_HELLO)
_UNKNOWN_OP: Final = int(abi.Status.UNKNOWN_OP)
_RESERVED: Final = int(abi.Status.RESERVED)
_HELLO: Final = int(abi.Op.HELLO)
_EBADF: Final = int(abi.Errno.EBADF)
_NOT_NOW: Final = -int(abi.Errno.EAGAIN)
_NVAL: Final = int(abi.Poll.NVAL)
_NOT_IN: Final = ~int(abi.Poll.IN)
_WAITALL: Final = int(abi.Flag.MSG_WAITALL)
_CALL_BYTES: Final = abi.CALL_BYTES
_ANSWER: Final = abi.ANSWER_OFFSET
_fetch: Final = abi.CALL_FETCH.unpack_from
_answer: Final = abi.CALL_ANSWER.pack_into
_LINGER_NONE: Final = b"\x01\0\0\0\0\0\0\0"  # struct linger: on, 0 seconds
_SOL_SOCKET: Final = int(abi.Level.SOL_SOCKET)
_SO_LINGER: Final = int(abi.SocketOption.SO_LINGER)


class Hypercalls:
    """One machine's hypercalls. The gate calls `call`, the run loop `deliver`.

    ``listening`` is called with address and port when the guest begins to listen, ``breakpoint``
    with the guest's number at BREAK; both may be replaced.
    """

    def __init__(
        self,
        stack: Engine,
        memory: Memory,
        line: Line,
        clock: Clock,
        trace: Trace,
        limits: Limits,
        info: MachineInfo,
    ) -> None:
        self._stack: Engine = stack
        self._view = memory.view
        self._last_call = memory.size - _CALL_BYTES
        self._clock = clock
        self.handles = Handles(limits.max_sockets)
        self.ring = EventRing(memory, line, clock, trace, limits)
        self.readiness = Readiness(stack, memory, self.handles, self.ring, limits)
        self.sockets = SocketCalls(stack, memory, self.handles, self.readiness)
        self.session = SessionCalls(memory, clock, self.ring, self.readiness, limits, info)
        self.lab = LabCalls(memory, clock, trace)
        self._live = self.handles.live
        self._enter: Channel[HypercallEnter] = trace.channel(HypercallEnter)
        self._return: Channel[HypercallReturn] = trace.channel(HypercallReturn)
        self._refused: Channel[DescriptorRefused] = trace.channel(DescriptorRefused)
        self.said_hello = False
        self.calls = 0
        self.refusals = 0
        self.bad_descriptors = 0
        self.features = 0  # of the session
        data = DataCalls(memory, limits)
        self.buffers = BufferCalls(stack, memory, data, limits)
        # What may be called now, by the head of its descriptor; one of the two is there.
        self._routes: dict[int, tuple[SocketOp | None, OtherOp | None]] = {}
        self._all_socket_ops: dict[int, SocketOp] = {}
        self._all_other_ops: dict[int, OtherOp] = {}
        self._route(data, OptionCalls(memory, limits), memory)
        self._agree(abi.OFFERED)

    def _route(self, data: DataCalls, options: OptionCalls, memory: Memory) -> None:
        """The two tables of all there is: operations on an open socket, and the rest."""
        op = abi.Op
        sockets, readiness, lab = self.sockets, self.readiness, self.lab
        datagrams = DatagramCalls(memory, data, sockets)
        buffers = self.buffers
        on_socket: list[tuple[int, SocketOp]] = [
            (op.BIND, sockets.op_bind),
            (op.LISTEN, sockets.op_listen),
            (op.CONNECT, sockets.op_connect),
            (op.SHUTDOWN, sockets.op_shutdown),
            (op.SEND, data.op_send),
            (op.RECV, data.op_recv),
            (op.SENDTO, datagrams.op_sendto),
            (op.RECVFROM, datagrams.op_recvfrom),
            (op.GETSOCKNAME, sockets.op_getsockname),
            (op.GETPEERNAME, sockets.op_getpeername),
            (op.GETSOCKOPT, options.op_getsockopt),
            (op.SETSOCKOPT, options.op_setsockopt),
            (op.SUBSCRIBE, readiness.op_subscribe),
            (op.SENDFILE, buffers.op_sendfile),
        ]
        others: list[tuple[int, OtherOp]] = [
            (op.HELLO, self._op_hello),
            (op.EVENTS_SETUP, self.session.op_events_setup),
            (op.EVENTS_ACK, readiness.op_ack),
            (op.TIME, self.session.op_time),
            (op.SOCKET, sockets.op_socket),
            (op.ACCEPT, sockets.op_accept),
            (op.CLOSE, sockets.op_close),
            (op.POLL, readiness.op_poll),
            (op.BUFFER_REGISTER, buffers.op_register),
            (op.BUFFER_RELEASE, buffers.op_release),
            (op.TRACE_MARK, lab.op_trace_mark),
            (op.BREAK, lab.op_break),
        ]
        self._all_socket_ops = dict(on_socket)
        self._all_other_ops = dict(others)

    def _agree(self, features: int) -> None:
        """Have the operations of ``features``, and those that need none, and no others; before
        HELLO, that alone."""
        self.features = features
        self._routes = {}
        for operation in OPERATIONS:
            number = int(operation.op)
            needed = operation.feature
            if number != _HELLO and not self.said_hello:
                continue
            if needed is not None and not features & needed:
                continue
            route = self._all_socket_ops.get(number), self._all_other_ops.get(number)
            if any(route):
                self._routes[number | _CALL_BYTES << 16] = route
        self.readiness.is_offered = features & abi.Feature.EVENTS != 0
        self.sockets.has_datagrams = features & abi.Feature.UDP != 0
        self.sockets.has_ipv6 = features & abi.Feature.IPV6 != 0

    def call(self, address: int) -> None:
        """Carry out the descriptor at guest-physical ``address``. Never raises, never waits."""
        self.calls += 1
        if address < 0 or address > self._last_call:
            self._refuse_descriptor(address)
            return
        view = self._view
        head, handle, flags, events, cookie, a0, a1, a2, a3, r0, r1 = _fetch(view, address)
        if self.ring.awaits_look:
            self.ring.note_look()
        if self._enter.active:
            self._emit_enter(head & 0xFFFF, handle, flags, events, (a0, a1, a2, a3))
        status = _OK
        result = 0
        mask = 0
        try:
            method, other = self._routes.get(head, _NO_ROUTE)
            if r0 or r1 or address & 7:
                status = self._why_not(address, head, True)
            elif method is not None:
                entry = self._live.get(handle)
                if entry is None:
                    result = -_EBADF
                    mask = _NVAL
                else:
                    result = method(entry, address, flags, events, cookie, a0, a1, a2, a3)
                    mask = entry.socket.events
                    if result == _NOT_NOW and flags & _WAITALL:
                        mask &= _NOT_IN  # what is there is not enough: wait for more
                    entry.reported = mask
                    if entry.slot >= 0:
                        self.ring.refresh(entry, mask)
            elif other is not None:
                handle, result, mask = other(address, handle, flags, events, cookie, a0, a1, a2, a3)
            else:
                status = self._why_not(address, head, False)
        except BadAddress:
            status = _BAD_ADDRESS
        except Refused as refused:
            status = refused.status
        if status:
            self.refusals += 1
            result = 0
            mask = 0
        _answer(view, address + _ANSWER, handle, result, status, flags, mask)
        if self._return.active:
            self._emit_return(head & 0xFFFF, handle, status, result, mask)

    def deliver(self) -> None:
        """Bring what has become ready into the ring. The run loop calls it after the engine."""
        self.readiness.deliver()

    def next_deadline(self) -> int | None:
        """When `deliver` is needed although nothing happens (an interrupt held back), or None."""
        return self.ring.next_deadline()

    @property
    def listening(self) -> Callable[[bytes, int], None]:
        return self.sockets.listening

    @listening.setter
    def listening(self, hook: Callable[[bytes, int], None]) -> None:
        self.sockets.listening = hook

    @property
    def breakpoint(self) -> Callable[[int], None]:
        return self.lab.breakpoint

    @breakpoint.setter
    def breakpoint(self, hook: Callable[[int], None]) -> None:
        self.lab.breakpoint = hook

    def counters(self) -> dict[str, int]:
        return {
            "calls": self.calls,
            "refusals": self.refusals,
            "bad_descriptors": self.bad_descriptors,
            "sockets": len(self._live),
            "marks": self.lab.marks,
            "breaks": self.lab.breaks,
            **self.buffers.counters(),
            **self.ring.counters(),
        }

    def reset(self) -> None:
        """The machine starts again: every socket is aborted, the ring and the session end."""
        for entry in list(self._live.values()):
            entry.socket.setsockopt(_SOL_SOCKET, _SO_LINGER, _LINGER_NONE)
            self.sockets.close(entry)
        self.buffers.forget_all()
        self.ring.set_up(0, 0)
        self.said_hello = False
        self._agree(self.features)

    def save(self) -> State:
        """Handles, subscriptions and the ring, as plain data. The stack saves its own sockets."""
        return {
            "version": 1,
            "said_hello": self.said_hello,
            "features": self.features,
            "buffers": self.buffers.save(),
            "handles": self.handles.save(),
            "ring": self.ring.save(),
        }

    def load(self, state: State) -> None:
        """Take them back; the stack and the RAM have been loaded before.

        No wake-up is lost by it: the next `deliver` looks at every subscription. Raises
        ValueError on another version, or if the stack lacks a socket.
        """
        if state.get("version") != 1:
            raise ValueError(f"hypercalls: saved state has version {state.get('version')}, not 1")
        self.handles.load(state["handles"], self._stack.socket_of)
        self.ring.load(state["ring"], self._live)
        self.buffers.load(state["buffers"])
        self.said_hello = state["said_hello"]
        self._agree(state["features"])
        self.readiness.loaded()

    def _op_hello(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        self.session.check_hello(a0)
        self.reset()
        features = self.session.answer_hello(a0)
        self.said_hello = True
        self._agree(features)
        return handle, 0, 0

    def _why_not(self, address: int, head: int, is_reserved_set: bool) -> int:
        """What is wrong with a descriptor that did not pass at once."""
        if address & 7:
            return _BAD_ADDRESS
        if head >> 16 != _CALL_BYTES:
            return _BAD_SIZE
        if is_reserved_set:
            return _RESERVED
        return _UNKNOWN_OP if self.said_hello else _NO_HELLO

    def _refuse_descriptor(self, address: int) -> None:
        self.bad_descriptors += 1
        if self._refused.active:
            self._refused.emit(DescriptorRefused(self._clock.now_ns(), address))

    def _emit_enter(
        self, op: int, handle: int, flags: int, events: int, args: tuple[int, int, int, int]
    ) -> None:
        self._enter.emit(
            HypercallEnter(self._clock.now_ns(), op_name(op), handle, flags, events, args)
        )

    def _emit_return(self, op: int, handle: int, status: int, result: int, mask: int) -> None:
        self._return.emit(
            HypercallReturn(
                self._clock.now_ns(),
                op_name(op),
                handle,
                STATUS_NAMES[status],
                result,
                errno_name(result),
                mask,
            )
        )
