"""A receive buffer that counts memory instead of payload, as Linux does (`Config.counts_memory`).

SO_RCVBUF and net.ipv4.tcp_rmem bound what the kernel's buffers take, whatever is in them. How
much payload the rest of that memory can take in is known from the segments that came: the window
is that part of it, half of it to begin with, and grows towards it by what arrives. Here a segment
takes what it takes on a TUN device: memory for its head in powers of two, and pages.
What the window is for follows in `Tcb.rcv_limit`, which everybody else reads. [Linux socket(7)]
[Linux tcp(7) tcp_rmem]
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.tcp.account import Account
from leulo.tcp.recv_buffer import RecvBuffer

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb

FULL_BEHIND: Final = "tcp_reassembly_full"  # what fills the gap is taken all the same

_PAGE_BYTES: Final = 4_096
_RECORD_BYTES: Final = 256  # of every packet
_SPARE_BYTES: Final = 64 + 320  # before and behind the payload
_LEAST_HEAD_BYTES: Final = 704
_MOST_HEAD_BYTES: Final = _PAGE_BYTES - _SPARE_BYTES  # of a packet that has pages besides
_HALF: Final = 128  # of 256
_FIRST_SEGMENT_BYTES: Final = 536
_TELLING_BYTES: Final = 128  # a segment as long as this lets the window grow
_LEAST_CLAMP_BYTES: Final = 1_152


def cost_of(packet: int) -> tuple[int, int]:
    """What a packet of so many bytes takes, and how many bytes of payload fit in behind it."""
    if packet + 64 >= _PAGE_BYTES:
        pages = -(-(packet - _MOST_HEAD_BYTES) // _PAGE_BYTES)
        return _PAGE_BYTES + _RECORD_BYTES + pages * _PAGE_BYTES, 0
    head = packet + _SPARE_BYTES
    size = _LEAST_HEAD_BYTES if head <= _LEAST_HEAD_BYTES else 1 << (head - 1).bit_length()
    return size + _RECORD_BYTES, size - head


class CountedBuffer(RecvBuffer):
    """Bytes in order, which take ``memory`` of ``most``; ``queued`` is taken by what waits behind
    a gap. ``threshold`` bounds the window while it has not been seen to be of use, ``ratio`` is
    payload in 256 bytes of memory, ``top`` the right edge of all windows ever offered."""

    __slots__ = (
        "_charges", "_queued_length", "_spare", "clamp", "first", "memory", "most", "queued",
        "ratio", "segment", "segment_most", "tcb", "threshold", "top",
    )  # fmt: skip

    def __init__(self, account: Account, tcb: Tcb) -> None:
        super().__init__(account)
        self.tcb: Tcb = tcb
        self.most: int = 0
        self.memory: int = 0
        self.queued: int = 0
        self.ratio: int = _HALF
        self.clamp: int = 0
        self.threshold: int = 0
        self.top: int = 0
        self.first: int = 0  # the window of our SYN
        self.segment: int = _FIRST_SEGMENT_BYTES  # the largest payload of one
        self.segment_most: int = 0
        self._charges: deque[tuple[int, int]] = deque()  # where a packet ends, what it takes
        self._queued_length: int = 0
        self._spare: int = 0  # payload that fits in behind the last packet

    # ------------------------------------------------------------ what arrives, what is read

    def append(self, piece: bytes | memoryview) -> None:
        """Put ``piece`` at the end."""
        super().append(piece)
        length = len(piece)
        if self.queued:
            queue = self.tcb.reassembly
            left = 0 if queue is None else queue.length
            if left < self._queued_length:
                self.queued = self.queued * left // self._queued_length
                self._queued_length = left
        if length <= self._spare:
            cost = 0
            self._spare -= length
        else:
            cost, self._spare = cost_of(length + self._headers())
            self.memory += cost
            self._charges.append((self.taken + self.length, cost))
            self._measure(length, cost)
        if length >= _TELLING_BYTES:
            self._grow(length, cost)
        self.offer()

    def queue(self, length: int) -> None:
        """A segment of ``length`` waits behind a gap."""
        cost = cost_of(length + self._headers())[0]
        self._measure(length, cost)
        if self.tcb.has_sack:
            self._grow(length, cost)
        self.queued += cost
        queue = self.tcb.reassembly
        self._queued_length = 0 if queue is None else queue.length
        self.offer()

    def read_into(self, view: memoryview, is_peek: bool = False) -> int:
        done = super().read_into(view, is_peek)
        self._free()
        return done

    def read(self, limit: int, is_peek: bool = False) -> bytes:
        data = super().read(limit, is_peek)
        self._free()
        return data

    def drop(self) -> None:
        super().drop()
        self._charges.clear()
        self.memory = self._spare = 0

    def is_past(self, length: int) -> bool:
        """Would so much payload more, itself, be more than there is memory?"""
        return self.memory + self.queued + length > self.most

    def refusal(self, seq: int) -> str:
        """Why a segment whose new payload begins at ``seq`` cannot be kept; "": it can. A window
        that memory has shut stays shut until there is room, whatever was offered before. What is
        ahead of a gap shuts none: or what fills the gap could not come."""
        tcb = self.tcb
        if seq >= tcb.rcv_adv and (self.length or seq > tcb.rcv_nxt):
            return "tcp_zero_window" if seq == tcb.rcv_nxt else "tcp_beyond_window"
        if self.is_past(0) and seq > tcb.rcv_nxt:
            return FULL_BEHIND
        if self.is_past(0) and self.length:
            self.top = max(self.top, tcb.rcv_adv)
            tcb.rcv_adv = tcb.rcv_nxt
            self.offer()
            return "tcp_buffers_full"
        return ""

    # ------------------------------------------------------------ the window

    def begin(self, own_mss: int) -> None:
        """The first window is `Tcb.rcv_limit`."""
        tcb = self.tcb
        config = tcb.engine.config
        settings = tcb.settings
        self.most = 2 * (settings.rcv_bytes or config.rcv_default)
        self.segment_most = own_mss
        self.clamp = self._part(self.most)
        if self.clamp > 2 * own_mss:
            self.clamp = max(2 * own_mss, self.clamp - own_mss)  # room for one more is kept
        if settings.window_clamp:
            self.clamp = min(self.clamp, settings.window_clamp)
        self.first = min(tcb.rcv_limit, 0xFFFF)
        self.threshold = min(self.first, self.clamp)

    def set_clamp(self, clamp: int) -> None:
        """The window is at most this."""
        clamp = max(clamp, _LEAST_CLAMP_BYTES)
        if clamp < self.clamp:
            self.threshold = min(self.threshold, clamp)
        elif clamp > self.clamp:
            self.threshold = max(self.threshold, min(self._offered(), clamp))
        self.clamp = clamp

    def widen(self, wanted: int) -> None:
        """The user reads so fast that a window of ``wanted`` bytes would be of use."""
        tcb = self.tcb
        account = tcb.engine.account
        if tcb.settings.rcv_bytes or account.used > account.pressure:
            return
        if not tcb.engine.config.tunes_rcvbuf:
            return
        most = min(wanted * 256 // self.ratio, tcb.engine.config.rcv_max)
        if most > self.most:
            self.most = most
            self.clamp = tcb.settings.window_clamp or self._part(most)
            self.offer()

    def offer(self) -> None:
        """Say in `Tcb.rcv_limit` what the next window is to be."""
        tcb = self.tcb
        window = self._window()
        if not tcb.engine.config.may_shrink_window:
            window = max(window, tcb.rcv_adv - tcb.rcv_nxt)
        tcb.rcv_limit = window + self.length

    def is_news(self) -> bool:
        """Is the window worth an acknowledgement of its own? It has to be twice what it was, and
        what it was small. [RFC 9293 3.8.6.2.2]"""
        offered = max(0, self.tcb.rcv_adv - self.tcb.rcv_nxt)
        return 2 * offered <= min(self.clamp, self._window())

    def _window(self) -> int:
        tcb = self.tcb
        free = self._part(self.most - self.memory - self.queued)
        allowed = self._part(self.most)
        full = min(self.clamp, allowed)
        segment = min(self.segment, full)
        scale = tcb.rcv_wscale
        may_shrink = tcb.engine.config.may_shrink_window
        if may_shrink:
            free = free >> scale << scale
        is_tight = free < allowed >> 4 or free < segment or free < 1 << scale
        if segment <= 0 or (free < full >> 1 and is_tight):
            # What fills a gap is taken in any case while nothing waits to be read.
            return self.segment if self.queued and not self.length else 0
        if may_shrink:
            # The threshold, unlike memory, may be passed by what scaling cannot say.
            return min(free, -(-self.threshold >> scale) << scale)
        free = min(free, self.threshold)
        if scale:
            return free
        window = self._offered()
        if window <= free - segment or window > free:
            return free - free % segment
        if segment == full and free > window + (full >> 1):
            return free
        return window

    def _offered(self) -> int:
        """The last window that was offered, wherever it stands now."""
        tcb = self.tcb
        return self.first if tcb.last_ack_sent <= tcb.irs + 1 else tcb.window << tcb.rcv_wscale

    def _measure(self, length: int, cost: int) -> None:
        """A larger segment than before says how much memory payload takes."""
        segment = min(length, self.tcb.engine.config.super_segment or length)
        if segment < self.segment:
            return
        if segment != self.segment:
            ratio = max(1, length * 256 // cost)
            if ratio != self.ratio:
                self.ratio = ratio
                self.set_clamp(self._part(self.most))
        self.segment = min(segment, self.segment_most)

    def _grow(self, length: int, cost: int) -> None:
        """Let the threshold follow what has come, if segments like this would fit."""
        room = min(self.clamp, self._part(self.most - self.memory - self.queued)) - self.threshold
        if room <= 0:
            return
        step = 2 * self.segment_most
        if self._part(cost) > length:
            taken = self._part(cost) >> 1
            window = self._part(self.tcb.engine.config.rcv_max) >> 1
            while taken > length and self.threshold <= window:
                taken >>= 1
                window >>= 1
            step = 2 * self.segment if self.threshold <= window else 0
        if step:
            self.threshold += min(room, max(step, 2 * length))

    def _part(self, memory: int) -> int:
        """The payload that so much memory can take in."""
        return memory * self.ratio >> 8

    def _headers(self) -> int:
        tcb = self.tcb
        return (60 if len(tcb.local) == 16 else 40) + (12 if tcb.has_timestamps else 0)

    def _free(self) -> None:
        charges = self._charges
        while charges and charges[0][0] <= self.taken:
            self.memory -= charges.popleft()[1]
        if not charges:
            self._spare = 0
        self.offer()

    # ------------------------------------------------------------ state

    def save(self) -> Saved:
        state = super().save()
        state["counted"] = [
            self.most, self.memory, self.queued, self.ratio, self.clamp, self.threshold, self.top,
            self.segment, self.segment_most, self._queued_length, self._spare, self.first,
        ]  # fmt: skip
        state["charges"] = [list(charge) for charge in self._charges]
        return state

    def load(self, state: Saved) -> None:
        super().load(state)
        (
            self.most, self.memory, self.queued, self.ratio, self.clamp, self.threshold, self.top,
            self.segment, self.segment_most, self._queued_length, self._spare, self.first,
        ) = state["counted"]  # fmt: skip
        self._charges = deque((end, cost) for end, cost in state["charges"])


def begin(tcb: Tcb, own_mss: int) -> None:
    """The connection, which is opening, counts memory."""
    buffer = CountedBuffer(tcb.engine.account, tcb)
    buffer.begin(own_mss)
    tcb.receive_buffer = buffer
    tcb.is_room_offered = True


def of(tcb: Tcb) -> CountedBuffer | None:
    """The connection's buffer, if it counts memory."""
    buffer = tcb.receive_buffer
    return buffer if isinstance(buffer, CountedBuffer) else None


def limit(tcb: Tcb, asked: int) -> int:
    """What SO_RCVBUF says, as payload: half of the memory, or how the buffer has grown beyond what
    was ``asked`` for."""
    buffer = of(tcb)
    if buffer is not None:
        return buffer.most >> 1
    is_grown = not tcb.settings.rcv_bytes or tcb.engine.config.has_whole_segment_buffers
    return max(asked, tcb.rcv_limit) if is_grown else asked


def resize(tcb: Tcb, size: int) -> None:
    """SO_RCVBUF, for payload."""
    buffer = of(tcb)
    if buffer is None:
        tcb.rcv_limit = min(size, tcb.settings.window_clamp or size)
    else:
        buffer.most = 2 * size
        buffer.offer()


def clamp(tcb: Tcb) -> None:
    """TCP_WINDOW_CLAMP has changed."""
    buffer = of(tcb)
    if buffer is not None:
        buffer.set_clamp(tcb.settings.window_clamp)
        buffer.offer()
    tcb.rcv_limit = min(tcb.rcv_limit, tcb.settings.window_clamp)
