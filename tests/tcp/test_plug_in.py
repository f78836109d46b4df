"""Protects: a congestion control from outside works, on the compiled engine too."""

from __future__ import annotations

from typing import ClassVar

from test_cubic import MSS, connection

from leulo.tcp.congestion.base import CongestionControl
from leulo.tcp.tcb import Tcb


class Eager(CongestionControl):
    """A segment for every acknowledgement."""

    name: ClassVar[str] = "eager"

    def on_ack(self, tcb: Tcb, acked: int, now_ns: int) -> None:
        tcb.cwnd += tcb.mss


def test_an_interpreted_algorithm_serves_a_connection() -> None:
    tcb = connection(10)
    tcb.congestion = Eager()
    tcb.congestion.on_ack(tcb, MSS, 0)
    assert tcb.cwnd == 11 * MSS
    tcb.congestion.on_loss(tcb, 11 * MSS, 0)  # the base's own verb
    assert tcb.ssthresh == 11 * MSS // 2
    assert tcb.congestion.save() == {"name": "eager"}
