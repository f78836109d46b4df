"""What the host's network reports of datagrams that were sent: the socket's error queue.

An unconnected socket learns of ICMP errors only there. [Linux ip(7) IP_RECVERR]
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from struct import Struct
from typing import Final

from leulo.net.wire.icmp import (
    HOST_UNREACHABLE,
    NET_UNREACHABLE,
    PORT_UNREACHABLE,
)

MOST_AT_ONCE: Final = 16
ADMINISTRATIVELY_PROHIBITED: Final = 13  # code of DESTINATION_UNREACHABLE [RFC 1812 5.2.7.1]
_IP_RECVERR: Final = 11
_MSG_ERRQUEUE: Final = 0x2000
_ORIGIN_ICMP: Final = 2
_EXTENDED: Final = Struct("=IBBBxII")  # struct sock_extended_err
_MOST_BYTES: Final = 576
_ANCILLARY_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class Report:
    """An ICMP error about a datagram that went to ``address``, whose payload began so."""

    address: tuple[str, int]
    kind: int
    code: int
    payload: bytes


def watch_errors(of: socket.socket) -> None:
    """Have the host keep ICMP errors for `take_errors`."""
    of.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def take_errors(of: socket.socket) -> list[Report]:
    """What has been reported since; the socket's pending error is cleared too."""
    reports: list[Report] = []
    for _ in range(MOST_AT_ONCE):
        try:
            payload, ancillary, _, address = of.recvmsg(
                _MOST_BYTES, _ANCILLARY_BYTES, _MSG_ERRQUEUE
            )
        except OSError:
            break
        for level, kind, data in ancillary:
            if level == socket.IPPROTO_IP and kind == _IP_RECVERR and len(data) >= _EXTENDED.size:
                _, origin, icmp_kind, code, _, _ = _EXTENDED.unpack_from(data)
                if origin == _ORIGIN_ICMP and isinstance(address, tuple):
                    reports.append(Report(address[:2], icmp_kind, code, payload))
    of.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return reports


def code_of(error: OSError) -> int | None:
    """The code of "destination unreachable" that says what the host's errno does."""
    return _CODES.get(error.errno or 0)


_CODES: Final = {
    errno.ENETUNREACH: NET_UNREACHABLE,
    errno.EHOSTUNREACH: HOST_UNREACHABLE,
    errno.EHOSTDOWN: HOST_UNREACHABLE,
    errno.ECONNREFUSED: PORT_UNREACHABLE,
    errno.EACCES: ADMINISTRATIVELY_PROHIBITED,
    errno.EPERM: ADMINISTRATIVELY_PROHIBITED,
    errno.EADDRNOTAVAIL: HOST_UNREACHABLE,
}
