"""Error and readiness numbers of the socket interface, Linux i386 values.

They are the engine's own, so that it needs nothing above it; a test holds them equal to those
the hypercall interface publishes. Calls return them negated.
"""

from __future__ import annotations

from typing import Final

EPERM: Final = 1
ENOENT: Final = 2
EAGAIN: Final = 11
ENOMEM: Final = 12
EACCES: Final = 13
EINVAL: Final = 22
EMFILE: Final = 24
EPIPE: Final = 32
EDESTADDRREQ: Final = 89
EMSGSIZE: Final = 90
ENOPROTOOPT: Final = 92
EPROTONOSUPPORT: Final = 93
ESOCKTNOSUPPORT: Final = 94
EOPNOTSUPP: Final = 95
EAFNOSUPPORT: Final = 97
EADDRINUSE: Final = 98
EADDRNOTAVAIL: Final = 99
ENETUNREACH: Final = 101
ECONNABORTED: Final = 103
ECONNRESET: Final = 104
ENOBUFS: Final = 105
EISCONN: Final = 106
ENOTCONN: Final = 107
ETIMEDOUT: Final = 110
ECONNREFUSED: Final = 111
EHOSTUNREACH: Final = 113
EALREADY: Final = 114
EINPROGRESS: Final = 115

POLL_IN: Final = 0x1
POLL_PRI: Final = 0x2
POLL_OUT: Final = 0x4
POLL_ERR: Final = 0x8
POLL_HUP: Final = 0x10
POLL_RDHUP: Final = 0x2000
POLL_SENT: Final = 0x10000  # not Linux's: no lent memory is in flight any more

AF_INET: Final = 2
AF_INET6: Final = 10
SOCK_STREAM: Final = 1
SOCK_DGRAM: Final = 2
SHUT_RD: Final = 0
SHUT_WR: Final = 1
SHUT_RDWR: Final = 2
MSG_PEEK: Final = 0x2
