"""What the engine asks of a congestion control: five verbs, integers only.

An algorithm reads and writes ``cwnd``, ``ssthresh`` and ``cwnd_credit`` of the connection, in
bytes; anything more it keeps in its own object, one per connection, which ``save`` gives out as
plain data. One without own state may be one object for all. Recovery from loss is not its
business: it is told when a loss episode begins and how much was acknowledged. [RFC 5681 3]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mypy_extensions import mypyc_attr

from leulo.state import State as Saved

if TYPE_CHECKING:
    from leulo.tcp.tcb import Tcb


@mypyc_attr(allow_interpreted_subclasses=True)
class CongestionControl:
    """Base of all; by itself it never grows the window."""

    __slots__ = ()

    name: ClassVar[str] = ""
    is_model: ClassVar[bool] = False  # it rules window and rate alone, by what was delivered

    def begin(self, tcb: Tcb, now_ns: int) -> None:
        """The connection is open; cwnd is the initial window. Nothing is in flight."""

    def on_ack(self, tcb: Tcb, acked: int, now_ns: int) -> None:
        """``acked`` new bytes were acknowledged while the window was what limited sending,
        outside of fast recovery."""

    def on_loss(self, tcb: Tcb, in_flight: int, now_ns: int) -> None:
        """A loss episode begins by duplicate ACKs: set ssthresh. [RFC 5681 3.2]"""
        tcb.ssthresh = max(in_flight // 2, 2 * tcb.mss)

    def on_timeout(self, tcb: Tcb, in_flight: int, now_ns: int) -> None:
        """The retransmission timer expired: set ssthresh. [RFC 5681 3.1 (4)]"""
        tcb.ssthresh = max(in_flight // 2, 2 * tcb.mss)

    def on_recovered(self, tcb: Tcb, now_ns: int) -> None:
        """The loss episode is over; cwnd is what recovery has left."""

    def on_undo(self, tcb: Tcb, now_ns: int) -> None:
        """The last loss episode was none; cwnd and ssthresh are restored. [RFC 4015 3.2]"""

    # A model is told more, and decides more: nobody else reduces cwnd for it, in recovery either,
    # or when the connection was idle. Its connection is paced, `on_ack` comes for every ACK.

    def on_sending(self, tcb: Tcb, now_ns: int) -> None:
        """Nothing is in flight, and something is about to be sent."""

    def on_sent(self, tcb: Tcb, begin: int, now_ns: int) -> None:
        """Something was sent just now, new data from ``begin`` on."""

    def on_delivered(self, tcb: Tcb, lost: int, now_ns: int) -> None:
        """An acknowledgement with SACK was looked at, ``lost`` more bytes turned out as lost."""

    def save(self) -> Saved:
        """The algorithm's name and its own state."""
        return {"name": self.name}

    def load(self, state: Saved) -> None:
        """Take what `save` gave."""
