"""One connection of the guest joined to one socket of the host, bytes both ways.

It must not know which side began. Each direction holds at most one piece that the other side has
not taken; while it does, nothing more is read, so a slow reader slows its own writer and nobody
else. An end of stream is passed on as one (half-close), a reset as a reset.

The guest's side is a socket of the gateway's stack, the host's side a non-blocking one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from struct import Struct
from typing import Final

from leulo.links.poller import ERR, HUP, IN, OUT, Poller
from leulo.tcp.socket import TcpSocket
from leulo.units import NS_PER_MS

PIECE_BYTES: Final = 256 * 1024  # read from a side at once
TURNS: Final = 4  # pieces to the host at one readiness; the rest waits for the next

_EAGAIN: Final = 11
_ENOBUFS: Final = 105
_SHORTAGE_NS: Final = 10 * NS_PER_MS  # until those that found no room look again
_POLL_IN: Final = 0x1
_POLL_OUT: Final = 0x4
_POLL_ERR: Final = 0x8
_SHUT_WR: Final = 1
_SOL_SOCKET: Final = 1
_SO_LINGER: Final = 13
_LINGER_NONE: Final = Struct("<ii").pack(1, 0)
_UNREGISTERED: Final = -1


class Splice:
    """Both sides and what is on its way between them.

    ``done`` is called once, when both sides are let go of. ``wants_output`` is called when the
    gateway's stack may have something to send because of the host, ``keep_time`` before the host's
    side is served. ``piece_bytes`` says how much may be held for the host at present, ``shortage``
    takes who finds the stack's buffers full.
    """

    __slots__ = (
        "_done", "_guest", "_guest_ended", "_host", "_host_ended", "_is_closed", "_is_joined",
        "_is_short", "_keep_time", "_mask", "_pending", "_piece_bytes", "_poller", "_shortage",
        "_wants_output", "bytes_from_guest", "bytes_to_guest", "was_reset",
    )  # fmt: skip

    def __init__(
        self,
        guest: TcpSocket,
        host: socket.socket,
        poller: Poller,
        *,
        done: Callable[[Splice], None],
        wants_output: Callable[[], None],
        keep_time: Callable[[], None],
        piece_bytes: Callable[[], int],
        shortage: Shortage,
    ) -> None:
        """The host's side is connected; the guest's may still be on its way. Until it has
        arrived nothing is asked of the host's: what it sends waits in the host's kernel."""
        self._guest = guest
        self._host = host
        self._poller = poller
        self._done = done
        self._wants_output = wants_output
        self._keep_time = keep_time
        self._piece_bytes = piece_bytes
        self._shortage = shortage
        self._is_short = False  # the stack's buffers were full
        self._pending: memoryview | None = None  # from the guest, not yet taken by the host
        self._guest_ended = False
        self._host_ended = False
        self._is_closed = False
        self._is_joined = False
        self._mask = _UNREGISTERED
        self.bytes_from_guest = 0
        self.bytes_to_guest = 0
        self.was_reset = False
        guest.owner = self

    def on_guest(self) -> None:
        """The guest's side may have changed."""
        if self._is_closed:
            return
        events = self._guest.events
        if not self._is_joined:
            if events & _POLL_ERR:
                self.reset()
                return
            if not events & _POLL_OUT:
                return
            self._is_joined = True
            self._from_host()  # what was sent with the connection is there already
        self._from_guest()
        if not self._is_closed and events & _POLL_ERR:
            self.reset()
        self._settle()

    def retry(self) -> None:
        """The stack's buffers may have room again."""
        self._is_short = False
        self._settle()

    def reset(self) -> None:
        """End both sides at once, by RST."""
        if self._is_closed:
            return
        self.was_reset = True
        self._guest.setsockopt(_SOL_SOCKET, _SO_LINGER, _LINGER_NONE)
        with suppress(OSError):  # it may be gone already
            self._host.setsockopt(_SOL_SOCKET, _SO_LINGER, _LINGER_NONE)
        self._close()

    # ------------------------------------------------------------ the host's side

    def _on_host(self, mask: int) -> None:
        if self._is_closed:
            return
        self._keep_time()
        if mask & ERR:
            self.reset()
        else:
            if mask & OUT:
                if self._pending is not None:
                    self._flush()
                if self._is_joined:
                    self._from_guest()
            if mask & (IN | HUP) and self._mask & IN and not self._is_closed:
                self._from_host()
            elif mask & HUP and not self._mask and not self._is_closed:
                # Both directions of the host's side have ended, but the guest has not taken
                # what is left. epoll would say so again and again: look when it has.
                self._watch(_UNREGISTERED)
                self._wants_output()
                return
        self._settle()
        self._wants_output()

    def _from_host(self) -> None:
        room = self._guest.send_room()
        if room <= 0:
            if room == -_ENOBUFS:
                self._is_short = True
                self._shortage.add(self)
            elif room < 0 and room != -_EAGAIN:
                self.reset()
            return
        try:
            data = self._host.recv(min(room, PIECE_BYTES))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.reset()
            return
        if not data:
            self._host_ended = True
            self._guest.shutdown(_SHUT_WR)
            return
        if self._guest.send(data) != len(data):
            self.reset()  # the room it told was no room: the connection has just ended
            return
        self.bytes_to_guest += len(data)

    def _from_guest(self) -> None:
        """Move what the guest has sent to the host, as long as the host takes it."""
        for _ in range(TURNS):
            if self._pending is not None or self._guest_ended or self._is_closed:
                return
            data = self._guest.recv(self._piece_bytes())
            if isinstance(data, int):
                if data != -_EAGAIN:
                    self.reset()
                return
            if not data:
                self._guest_ended = True
                self._end_host()
                return
            self.bytes_from_guest += len(data)
            self._pending = memoryview(data)
            self._flush()

    def _flush(self) -> None:
        pending = self._pending
        assert pending is not None
        try:
            sent = self._host.send(pending)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.reset()
            return
        self._pending = pending[sent:] if sent < len(pending) else None

    def _end_host(self) -> None:
        try:
            self._host.shutdown(socket.SHUT_WR)
        except OSError:
            self.reset()

    # ------------------------------------------------------------ both

    def _settle(self) -> None:
        """Close what is finished, else watch for what is wanted of the host's side."""
        if self._is_closed:
            return
        if self._guest_ended and self._host_ended and self._pending is None:
            self._close()
            return
        mask = 0
        guest_events = self._guest.events
        if (
            self._is_joined
            and not self._host_ended
            and not self._is_short
            and guest_events & _POLL_OUT
        ):
            mask |= IN
        if self._pending is not None or (
            # Not moved yet because its turns were over: the host's side is writable, so epoll
            # brings us back after the others have had theirs.
            self._is_joined and not self._guest_ended and guest_events & _POLL_IN
        ):
            mask |= OUT
        self._watch(mask)

    def _watch(self, mask: int) -> None:
        if mask == self._mask:
            return
        fd = self._host.fileno()
        if mask == _UNREGISTERED:
            self._poller.remove(fd)
        elif self._mask == _UNREGISTERED:
            self._poller.add(fd, mask, self._on_host)
        else:
            self._poller.modify(fd, mask)
        self._mask = mask

    def _close(self) -> None:
        self._is_closed = True
        self._pending = None
        self._watch(_UNREGISTERED)
        self._guest.owner = None
        self._guest.close()
        self._host.close()
        self._done(self)


class Shortage:
    """Connections that found the buffers of the gateway's stack full; they look again by and by,
    because nothing tells when others have made room."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._waiting: dict[Splice, None] = {}
        self._due: int | None = None

    def add(self, splice: Splice) -> None:
        self._waiting[splice] = None
        if self._due is None:
            self._due = self._now_ns() + _SHORTAGE_NS

    def next_deadline(self) -> int | None:
        return self._due

    def advance(self, now_ns: int) -> None:
        waiting, self._waiting, self._due = self._waiting, {}, None
        for splice in waiting:
            splice.retry()
