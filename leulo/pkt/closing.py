"""close() of a script: of whatever a descriptor is, and with SO_LINGER until the end is known.

A function is as those of `option_calls`. [Linux close(2)] [Linux socket(7) SO_LINGER]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.pkt.connections import Stage
from leulo.pkt.constants import ERRNO
from leulo.tcp.socket import TcpSocket
from leulo.tcp.state import State
from leulo.units import NS_PER_S

if TYPE_CHECKING:
    from leulo.pkt.calls import Calls, Running
    from leulo.tcp.tcb import Tcb

_CLOSING: Final = (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)


def close(calls: Calls, running: Running) -> int | None:
    if running.closing is not None:
        return _lingers(calls, running, running.closing)
    number = calls.number(running, 0)
    if calls.epolls.pop(number, None) is not None or calls.files.pop(number, None) is not None:
        return 0
    end = calls.pipe_ends.pop(number, None)
    if end is not None:
        end.close()
        return 0
    descriptor = calls.descriptors.pop(number, None)
    for epoll in calls.epolls.values():
        epoll.interests.pop(number, None)
    if descriptor is None:
        return -ERRNO["EBADF"]
    if descriptor.connection.stage is Stage.LISTENING:
        descriptor.connection.stage = Stage.BEGUN
    socket = descriptor.socket
    tcb = socket.tcb if isinstance(socket, TcpSocket) else None
    result = socket.close()
    if tcb is None or tcb.settings.linger_s <= 0:
        return result
    running.closing = tcb
    running.wake_ns = calls.world.now_ns + tcb.settings.linger_s * NS_PER_S
    return _lingers(calls, running, tcb)


def _lingers(calls: Calls, running: Running, tcb: Tcb) -> int | None:
    """Not back before everything has arrived, or so much time has passed."""
    is_over = running.wake_ns is not None and calls.world.now_ns >= running.wake_ns
    return 0 if is_over or tcb.state not in _CLOSING else None
