"""What a socket is and tells of itself: its connection, its two ends, its readiness.

`leulo.tcp.socket` has the calls that change it. Readiness is asked for after every batch in which
something happened to the socket, so what is usual comes first and costs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.tcp import fast_open_client, send_room, urgent
from leulo.tcp.addresses import ANY, ends_of, shown
from leulo.tcp.errno import AF_INET, POLL_ERR, POLL_HUP, POLL_IN, POLL_OUT, POLL_RDHUP, POLL_SENT
from leulo.tcp.listen import Listener
from leulo.tcp.settings import Settings
from leulo.tcp.state import (
    CLOSED,
    ESTABLISHED,
    LISTEN,
    MAY_SEND,
    SYN_RCVD,
    SYN_SENT,
    TIME_WAIT,
    State,
)
from leulo.tcp.tcb import NO_FIN, Tcb

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine

_NOWHERE: Final = (b"", 0)


class SocketState:
    """What a socket holds. ``owner`` is whoever wants to hear of it by ``Stack.take_ready``."""

    __slots__ = (
        "bound_address", "bound_port", "engine", "error", "family", "is_connecting",
        "is_read_shut", "is_ready", "is_v6only", "is_write_shut", "listener", "owner", "serial",
        "settings", "tcb", "wants_every_byte",
    )  # fmt: skip

    def __init__(
        self, engine: Engine, serial: int, settings: Settings, family: int = AF_INET
    ) -> None:
        self.engine: Engine = engine
        self.serial: int = serial
        self.settings: Settings = settings
        self.owner: object | None = None
        self.tcb: Tcb | None = None
        self.listener: Listener | None = None
        self.family: int = family
        self.is_v6only: bool = False
        self.bound_address: bytes = ANY
        self.bound_port: int = 0
        self.error: int = 0
        self.is_ready: bool = False
        self.is_connecting: bool = False
        self.is_read_shut: bool = False
        self.is_write_shut: bool = False
        # The user waits for more than is there: every arrival counts as a change of `events`.
        self.wants_every_byte: bool = False

    @property
    def state(self) -> State:
        if self.listener is not None:
            return LISTEN
        return CLOSED if self.tcb is None else self.tcb.state

    @property
    def local(self) -> tuple[bytes, int] | None:
        """Address and port, None if not bound."""
        if self.tcb is not None:
            address, port, _, _ = ends_of(self.tcb.key)
            return shown(address, self.family), port
        if self.bound_port or self.listener is not None:
            return shown(self.bound_address, self.family), self.bound_port
        return None

    @property
    def peer(self) -> tuple[bytes, int] | None:
        """The other side's address and port, None if not connected."""
        tcb = self.tcb
        if tcb is None or tcb.state in (CLOSED, SYN_SENT, TIME_WAIT):
            return None
        _, _, address, port = ends_of(tcb.key)
        return shown(address, self.family), port

    @property
    def ends(self) -> tuple[bytes, int, bytes, int]:
        """`local` and `peer` of a connection; of what is not there an empty address, port 0."""
        tcb = self.tcb
        if tcb is not None and MAY_SEND >> tcb.state & 1:
            ends = ends_of(tcb.key)
            if self.family == AF_INET:  # there is nothing to translate
                return ends
            address, port, peer, peer_port = ends
            return shown(address, self.family), port, shown(peer, self.family), peer_port
        return *(self.local or _NOWHERE), *(self.peer or _NOWHERE)

    @property
    def events(self) -> int:
        """Readiness now, as poll() tells it. [POSIX poll] [Linux poll(2)]"""
        listener = self.listener
        if listener is not None:
            return POLL_IN if listener.accept_queue else 0
        tcb = self.tcb
        if tcb is None:
            return POLL_OUT | POLL_HUP | (POLL_ERR if self.error else 0)
        state = tcb.state
        mask = POLL_ERR if tcb.error or self.error else 0
        is_over = False
        is_read_shut = self.is_read_shut
        is_write_shut = self.is_write_shut
        if state is not ESTABLISHED:
            if (state is SYN_SENT or state is SYN_RCVD) and (
                tcb.fast_open is None or not tcb.fast_open.is_passive
            ):
                return mask | POLL_OUT if fast_open_client.is_waiting(tcb) else mask
            is_over = state is CLOSED or state is TIME_WAIT
            is_read_shut = is_read_shut or is_over or tcb.rcv_nxt > tcb.fin_at != NO_FIN
            is_write_shut = is_write_shut or is_over
        if is_read_shut:
            mask |= POLL_IN | POLL_RDHUP
            if is_write_shut:
                mask |= POLL_HUP
        elif (
            (buffer := tcb.receive_buffer) is not None
            and buffer.length
            and (self.settings.rcv_lowat == 1 or self._has_enough(tcb, buffer.length))
        ):
            mask |= POLL_IN
        if tcb.urgent is not None:
            mask = urgent.with_mark(self, tcb, tcb.urgent, mask, is_read_shut)
        if is_write_shut or (
            (tcb.snd_una >= tcb.snd_end or send_room.is_roomy(tcb))
            and not (self.settings.notsent_lowat and send_room.is_lowat_reached(tcb, 2))
        ):
            mask |= POLL_OUT
        else:
            tcb.is_write_blocked = True
        if tcb.lent_end and (is_over or tcb.snd_una >= tcb.lent_end):
            mask |= POLL_SENT
        return mask

    def _has_enough(self, tcb: Tcb, length: int) -> bool:
        """Is ``length`` what SO_RCVLOWAT asks for, or as much as can surely come?"""
        return length >= self.settings.rcv_lowat or length >= tcb.rcv_limit >> 1

    def take_error(self) -> int:
        """The pending error as a positive errno, once. [POSIX SO_ERROR]"""
        error, self.error = self.error, 0
        tcb = self.tcb
        if not error and tcb is not None:
            error, tcb.error = tcb.error, 0
        return error
