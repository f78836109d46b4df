"""The played peer of `script_peer` before a sender with full segments out: rules of recovery."""

from __future__ import annotations

from script_peer import MS, Script

from leulo.tcp.socket import TcpSocket

MSS = 1000


def opened(
    segments: int,
    *,
    sack: bool = False,
    rack: bool = False,
    timestamps: bool = False,
    **knobs: object,
) -> Script:
    """ESTABLISHED, ``segments`` full segments out, 100 ms of round trip."""
    knobs.setdefault("congestion", "reno")
    knobs.setdefault("has_rate_reduction", False)
    mss = MSS + 12 if timestamps else MSS
    s = Script(timestamps=timestamps, sack=sack, mss=mss, has_rack=rack, **knobs)
    s.window = 65_535
    s.listen()
    s.inject("S", 0)
    s.expect("SA", 0, 1)
    s.wait(100 * MS)
    s.inject("A", 1, 1)
    socket = s.accept()
    assert isinstance(socket, TcpSocket)
    assert s.tcb.mss == MSS
    if segments:
        write(s, segments)
    for i in range(segments):
        s.expect("A", 1 + i * MSS, length=MSS)
    return s


def write(s: Script, segments: int) -> None:
    assert s.socket is not None
    s.do("send", s.socket.send(bytes(segments * MSS)), segments * MSS)
    s.wait(0)  # what may go has gone


def end(number: int) -> int:
    """Behind segment ``number``, from 1."""
    return 1 + number * MSS
