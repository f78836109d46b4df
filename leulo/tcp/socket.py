"""The socket interface: never blocks, needs no clock, answers a count or a negative errno.

A `TcpSocket` is what the user holds; it has no connection, a `Listener` or a `Tcb`. It outlives
its connection (a reset is still to be read from it) and a connection outlives it (data and FIN
still go out after close). What a call makes possible to send goes out in the next drain.
Behaviour where POSIX leaves a choice is Linux's. [RFC 9293 3.9.1] [POSIX]
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from leulo.tcp import active_open, fast_open_client, send_room, sockopt, urgent
from leulo.tcp.account import LEAST_BYTES, Lent
from leulo.tcp.addresses import ANY, ANY_4, ANY_6, inside
from leulo.tcp.deadlines import await_fin
from leulo.tcp.errno import (
    AF_INET,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EALREADY,
    ECONNABORTED,
    EINPROGRESS,
    EINVAL,
    EISCONN,
    ENOBUFS,
    ENOTCONN,
    EOPNOTSUPP,
    EPIPE,
    MSG_PEEK,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
)
from leulo.tcp.fast_open import CLIENT
from leulo.tcp.listen import Listener
from leulo.tcp.reading import after_reading, stop_reading
from leulo.tcp.send_buffer import SendBuffer, affordable
from leulo.tcp.socket_state import SocketState
from leulo.tcp.state import (
    CLOSE_WAIT,
    CLOSED,
    ESTABLISHED,
    FIN_WAIT_2,
    MAY_SEND,
    ON_CLOSE,
    SYN_RCVD,
    SYN_SENT,
    TIME_WAIT,
)
from leulo.tcp.tcb import ACK_NOW, MORE_HELD, MORE_NONE, NO_FIN, Tcb
from leulo.tcp.urgent import Urgent


class TcpSocket(SocketState):
    """One TCP socket and its calls."""

    __slots__ = ()

    is_datagram: Final = False

    # ------------------------------------------------------------ opening

    def bind(self, address: bytes, port: int) -> int:
        """Take a local address and port. Port 0 chooses one, except on a stack that accepts
        any address: there it stays open, and listening takes every port. 0, -EINVAL (bound
        already, bad port), -EADDRNOTAVAIL, -EADDRINUSE, -EAFNOSUPPORT."""
        where = inside(address, self.family, self.is_v6only)
        if where is None:
            return -EAFNOSUPPORT
        if self.bound_port or self.tcb is not None or self.listener is not None:
            return -EINVAL
        if not 0 <= port <= 0xFFFF:
            return -EINVAL
        engine = self.engine
        if any(where) and not engine.network.may_bind(where):
            return -EADDRNOTAVAIL
        if where == ANY_6 and not self.is_v6only:
            where = ANY
        if port:
            if not engine.ports.bind(self, where, port):
                return -EADDRINUSE
        elif not engine.accepts_any:
            port = engine.ports.choose_to_bind(self)
            if not port:
                return -EADDRINUSE
        self.bound_address = where
        self.bound_port = port
        return 0

    def listen(self, backlog: int) -> int:
        """Accept connections; asked again: change the backlog. 0, -EINVAL (connected),
        -EADDRINUSE."""
        if self.tcb is not None and self.tcb.state is not CLOSED:
            return -EINVAL
        engine = self.engine
        backlog = max(0, min(backlog, engine.config.max_backlog))
        if self.listener is not None:
            self.listener.backlog = backlog
            return 0
        if not self.bound_port and not engine.accepts_any:
            status = self.bind(ANY_4 if self.family == AF_INET else ANY_6, 0)
            if status < 0:
                return status
        elif self.bound_port and engine.ports.has_listener_conflict(self):
            return -EADDRINUSE
        return self._listen(backlog)

    def _listen(self, backlog: int) -> int:
        engine = self.engine
        address = self.bound_address or (ANY_4 if self.family == AF_INET else ANY)
        listener = Listener(engine, address, self.bound_port, backlog, self.settings)
        if listener.key in engine.listeners:
            return -EADDRINUSE
        if self.tcb is not None:
            self.tcb.drop_received()
            self.tcb = None
        listener.socket = self
        engine.ports.listens(self.bound_port)
        engine.listeners[listener.key] = listener
        self.listener = listener
        return 0

    def accept(self) -> TcpSocket | int:
        """The next connection, -EAGAIN or -EINVAL (not listening)."""
        listener = self.listener
        if listener is None:
            return -EINVAL
        if not listener.accept_queue:
            return -EAGAIN
        tcb = listener.accept_queue.pop(0)
        tcb.is_accepting = False
        engine = self.engine
        socket = TcpSocket(engine, engine.new_serial(), tcb.settings, self.family)
        engine.sockets[socket.serial] = socket
        socket.tcb = tcb
        tcb.socket = socket
        return socket

    def connect(self, address: bytes, port: int, has_data: bool = False) -> int:
        """Begin to open a connection: -EINPROGRESS. Asked again: -EALREADY, 0 once when it is
        open, then -EISCONN, even when it is over, or what it failed with, -ECONNABORTED if that
        has been asked for. Also -EADDRNOTAVAIL, -ENETUNREACH,
        -EAFNOSUPPORT. 0 at once if it opens fast and waits for the first write, which comes with
        this call if it ``has_data``. [RFC 7413]"""
        to = inside(address, self.family, self.is_v6only)
        if to is None:
            return -EAFNOSUPPORT
        if self.listener is not None:
            return -EISCONN
        tcb = self.tcb
        if tcb is not None:
            if tcb.state is SYN_SENT or tcb.state is SYN_RCVD:
                return -EISCONN if fast_open_client.is_waiting(tcb) else -EALREADY
            if not self.is_connecting:
                return -EISCONN  # or was: `disconnect` comes first
            self.is_connecting = False
            error = self.take_error()
            if not error and tcb.state is not CLOSED:
                return 0
            tcb.socket = self.tcb = None
            tcb.drop_received()
            return -(error or ECONNABORTED)  # whoever has asked for the error has taken it
        return active_open.open_connection(self, to, port, has_data)

    def connect_with(self, data: bytes, address: bytes, port: int) -> int:
        """Connect and write at once (MSG_FASTOPEN): how much the SYN carries, or -EINPROGRESS if
        it carries nothing and ``data`` is to be written when the connection is open. An open one
        is only written to. Else as `connect` and `send`, and -EOPNOTSUPP. [Linux tcp(7)]"""
        if not self.engine.config.fast_open & CLIENT:
            return -EOPNOTSUPP
        tcb = self.tcb
        if tcb is None or not fast_open_client.is_waiting(tcb):
            status = self.connect(address, port, True)
            is_queueing = status == -EINPROGRESS and self.engine.config.has_freebsd_fast_open
            if status and not is_queueing:
                return status
        return self.send(data)

    # ------------------------------------------------------------ data

    def send_room(self, wanted: int = 0) -> int:
        """Bytes that `send` would surely take now, or what it would fail with. More may fit if
        that is less than ``wanted``: ask for so many."""
        tcb = self.tcb
        if tcb is None:
            return -EPIPE
        state = tcb.state
        if not MAY_SEND >> state & 1 or self.is_write_shut or tcb.error:
            error = self.take_error()
            if error:
                return -error
            if self.is_write_shut or not (state is SYN_SENT or state is SYN_RCVD):
                return -EPIPE
            fast = tcb.fast_open
            if fast is None:
                return -EAGAIN
            if not fast.is_passive and not fast.is_queueing:
                return fast.room if fast_open_client.is_waiting(tcb) else -EAGAIN
        limit = tcb.snd_limit
        room = limit - tcb.snd_end + tcb.snd_una
        lowat = self.settings.notsent_lowat
        if lowat or room < limit >> 1 or room < wanted:
            room = send_room.room(tcb)
            if room <= 0 or (lowat and send_room.is_lowat_reached(tcb)):
                return 0
        account = self.engine.account
        spare = account.limit - account.used
        if spare < room:
            if spare < LEAST_BYTES and tcb.snd_una >= tcb.snd_end:
                spare = min(room, LEAST_BYTES)
            return spare if spare > 0 else -ENOBUFS
        return room

    def send(self, data: bytes, more: bool = False, ends_record: bool = False) -> int:
        """Take as much of ``data`` as there is room for, without copying if all of it.

        ``more``: the user will go on at once, so a partial segment may wait (MSG_MORE).
        ``ends_record``: what is written later begins a segment of its own (MSG_EOR). Returns the
        count, -EAGAIN, -EPIPE or the connection's error.
        """
        length = len(data)
        room = self.send_room(length)
        if room < 0:
            return room
        tcb = self.tcb
        if tcb is None or not length:
            return 0 if tcb is None else fast_open_client.write_nothing(tcb)
        if length > room:
            tcb.is_write_blocked = True
            if not room:
                return -EAGAIN
            data = data[:room]
            length = room
            ends_record = False
        elif (room - length) * 3 < tcb.snd_limit:
            tcb.is_write_blocked = True
        buffer = tcb.send_buffer
        if buffer is None:
            buffer = tcb.send_buffer = SendBuffer(tcb.snd_end, self.engine.account)
        buffer.append(data)
        if not tcb.busy_at:
            tcb.busy_at = self.engine.now_ns
        tcb.snd_end = tcb.snd_top = buffer.end
        tcb.more = MORE_HELD if more else MORE_NONE
        if ends_record or tcb.record_ends is not None:
            send_room.end_record(tcb, ends_record)
        if not tcb.is_pending:
            tcb.is_pending = True
            self.engine.pending.append(tcb)
        return length

    def send_urgent(self, data: bytes) -> int:
        """As `send`, and what it takes ends in an urgent byte (MSG_OOB)."""
        count = self.send(data)
        tcb = self.tcb
        if count > 0 and tcb is not None and urgent.sends(tcb):
            tcb.ack_due = ACK_NOW  # the mark goes through a closed window [RFC 9293 3.8.5]
        return count

    def send_lent(self, views: list[memoryview], lent: Lent, more: bool = False) -> int:
        """Take all of ``views``, however long, by reference: the engine sends from them as the
        windows open, and counts ``lent.in_flight`` down when all of it is acknowledged or the
        connection is over. Until then they must not change. Returns the count, which is short
        where copies of short views and what refers to the others would be past the account's
        limit, or as `send`."""
        room = self.send_room()
        if room < 0:
            return room
        tcb = self.tcb
        if tcb is None or not views:
            return 0
        tcb.is_write_blocked = True
        if not room:
            return -EAGAIN
        buffer = tcb.send_buffer
        if buffer is None:
            buffer = tcb.send_buffer = SendBuffer(tcb.snd_end, self.engine.account)
        before = buffer.end
        account = self.engine.account
        least = LEAST_BYTES if tcb.snd_una >= before else 0
        buffer.append_lent(affordable(views, max(account.limit - account.used, least)), lent)
        if not tcb.busy_at:
            tcb.busy_at = self.engine.now_ns
        tcb.snd_end = tcb.snd_top = tcb.lent_end = buffer.end
        tcb.more = MORE_HELD if more else MORE_NONE
        self.engine.want_output(tcb)
        return buffer.end - before

    def recv_into(self, view: memoryview, flags: int = 0) -> int:
        """Fill ``view`` from the stream: the count, 0 at its end, -EAGAIN, -ENOTCONN or the
        connection's error."""
        tcb = self.tcb
        if tcb is None:
            return -ENOTCONN
        buffer = tcb.receive_buffer
        if buffer is None or not buffer.length:
            return self._nothing_to_read(tcb)
        if tcb.urgent is not None:
            data = self._read_urgent(tcb, tcb.urgent, len(view), flags)
            if isinstance(data, int):
                return data
            view[: len(data)] = data
            return len(data)
        if flags & MSG_PEEK:
            return buffer.read_into(view, True)
        count = buffer.read_into(view)
        after_reading(tcb, buffer)
        return count

    def recv(self, limit: int, flags: int = 0) -> bytes | int:
        """Up to ``limit`` bytes of the stream, b"" at its end, or as `recv_into`."""
        tcb = self.tcb
        if tcb is None:
            return -ENOTCONN
        buffer = tcb.receive_buffer
        if buffer is None or not buffer.length:
            return self._nothing_to_read(tcb) or b""
        if limit <= 0:
            return b""
        if tcb.urgent is not None:
            return self._read_urgent(tcb, tcb.urgent, limit, flags)
        data = buffer.read(limit, flags & MSG_PEEK != 0)
        if not flags & MSG_PEEK:
            after_reading(tcb, buffer)
        return data

    def recv_urgent(self, flags: int = 0) -> bytes | int:
        """The byte out of band: see `leulo.tcp.urgent.read_byte`."""
        return urgent.read_byte(self, flags & MSG_PEEK != 0)

    @property
    def is_at_mark(self) -> bool:
        """Does the urgent byte come next? [POSIX sockatmark]"""
        return self.tcb is not None and urgent.is_at_mark(self.tcb)

    @property
    def readable(self) -> int:
        """Bytes in the buffer, up to the urgent mark. [Linux tcp(7) SIOCINQ]"""
        tcb = self.tcb
        if tcb is None:
            return 0
        return tcb.received() if tcb.urgent is None else urgent.before_mark(self, tcb, tcb.urgent)

    def _read_urgent(self, tcb: Tcb, marks: Urgent, limit: int, flags: int) -> bytes | int:
        data = urgent.read(self, tcb, marks, limit, flags & MSG_PEEK != 0)
        if not flags & MSG_PEEK and tcb.receive_buffer is not None:
            after_reading(tcb, tcb.receive_buffer)
        return data if data or not limit else self._nothing_to_read(tcb) or b""

    def _nothing_to_read(self, tcb: Tcb) -> int:
        if tcb.rcv_nxt > tcb.fin_at != NO_FIN and not tcb.error:
            return 0
        error = self.take_error()
        if error:
            return -error
        if self.is_read_shut or tcb.state is CLOSED or tcb.state is TIME_WAIT:
            return 0
        return -EAGAIN

    # ------------------------------------------------------------ closing

    def shutdown(self, how: int) -> int:
        """No more reading, no more sending, or both. 0, -EINVAL, -ENOTCONN."""
        if how not in (SHUT_RD, SHUT_WR, SHUT_RDWR):
            return -EINVAL
        if self.listener is not None:
            if how == SHUT_WR:
                return -ENOTCONN
            self.stop_listening()
            return 0
        tcb = self.tcb
        if tcb is None or tcb.state is CLOSED or tcb.state is TIME_WAIT:
            return -ENOTCONN
        if tcb.state is SYN_SENT:
            self.engine.fail(tcb, 0)
            return 0
        if how != SHUT_WR:
            self.is_read_shut = True
            stop_reading(tcb)
        if how != SHUT_RD and not self.is_write_shut:
            self.is_write_shut = True
            self._finish(tcb)
        self.is_connecting = self.is_connecting and tcb.state is SYN_RCVD
        self.engine.notify(self)
        return 0

    def close(self) -> int:
        """Give the socket up. What was sent is still delivered, unless unread data or SO_LINGER
        with zero turns the end into a reset. [RFC 2525 2.17] Returns 0."""
        engine = self.engine
        engine.sockets.pop(self.serial, None)
        self.owner = None
        if self.listener is not None:
            self.stop_listening()
        if self.bound_port:
            engine.ports.release(self, self.bound_port)
        tcb = self.tcb
        if tcb is None:
            return 0
        self.tcb = None
        tcb.socket = None
        tcb.is_orphan = tcb.is_deaf = True
        state = tcb.state
        buffer = tcb.receive_buffer
        if state is CLOSED or state is TIME_WAIT:
            tcb.drop_received()
            return 0
        tcb.is_counted = True
        engine.orphans += 1
        is_unread = buffer is not None and buffer.length > 0 and engine.config.resets_unread
        if state is SYN_SENT:
            engine.fail(tcb, 0)
        elif self.settings.linger_s == 0 and not is_unread:
            active_open.give_up(tcb)
        elif is_unread or engine.orphans > engine.config.orphans_max:
            engine.abort(tcb)
        else:
            tcb.drop_received()
            self._finish(tcb)
            tcb.keep_at = 0
            if tcb.state is FIN_WAIT_2:
                await_fin(tcb, engine.now_ns)
        return 0

    def _finish(self, tcb: Tcb) -> None:
        """Queue the FIN behind the data. [RFC 9293 3.10.4]"""
        if tcb.is_fin_queued:
            return
        tcb.is_fin_queued = True
        tcb.snd_top = tcb.snd_end + 1
        if self.engine.config.repeats_fin:
            tcb.is_ordinary = False
        if tcb.state is ESTABLISHED or tcb.state is CLOSE_WAIT:
            tcb.change_state(ON_CLOSE)
        if not tcb.is_pending:
            self.engine.want_output(tcb)

    def stop_listening(self) -> None:
        """Give up the listener, if there is one, with all that wait in its queues."""
        listener, self.listener = self.listener, None
        if listener is not None:
            self.engine.listeners.pop(listener.key, None)
            listener.close()

    # ------------------------------------------------------------ options

    def change_settings(self, **changes: object) -> None:
        """Replace the settings by a copy with ``changes``, here and where they are in use."""
        self.settings = settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        if self.tcb is not None:
            self.tcb.settings = settings
        if self.listener is not None:
            self.listener.settings = settings

    def getsockopt(self, level: int, name: int) -> bytes | int:
        """The option's value as Linux lays it out, or -ENOPROTOOPT."""
        return sockopt.get(self, level, name)

    def setsockopt(self, level: int, name: int, value: bytes) -> int:
        """0, -EINVAL, -ENOPROTOOPT, -ENOENT, -ENOMEM, -EOPNOTSUPP."""
        return sockopt.set(self, level, name, value)
