"""Levels and names of socket options: Linux's numbers. [Linux socket(7)] [Linux tcp(7)]"""

from __future__ import annotations

from typing import Final

SOL_SOCKET: Final = 1
IPPROTO_TCP: Final = 6

IPPROTO_IP: Final = 0
IPPROTO_IPV6: Final = 41

SO_REUSEADDR: Final = 2
SO_TYPE: Final = 3
SO_ERROR: Final = 4
SO_SNDBUF: Final = 7
SO_RCVBUF: Final = 8
SO_KEEPALIVE: Final = 9
SO_OOBINLINE: Final = 10
SO_LINGER: Final = 13
SO_RCVLOWAT: Final = 18
SO_SNDLOWAT: Final = 19
SO_ACCEPTCONN: Final = 30
SO_PROTOCOL: Final = 38
SO_DOMAIN: Final = 39
SO_MAX_PACING_RATE: Final = 47

IP_TOS: Final = 1
IP_TTL: Final = 2
IP_MTU_DISCOVER: Final = 10
IP_MTU: Final = 14
IPV6_UNICAST_HOPS: Final = 16
IPV6_MTU_DISCOVER: Final = 23
IPV6_MTU: Final = 24
IPV6_V6ONLY: Final = 26
IPV6_TCLASS: Final = 67
IP_LOCAL_PORT_RANGE: Final = 51

TCP_NODELAY: Final = 1
TCP_MAXSEG: Final = 2
TCP_CORK: Final = 3
TCP_KEEPIDLE: Final = 4
TCP_KEEPINTVL: Final = 5
TCP_KEEPCNT: Final = 6
TCP_SYNCNT: Final = 7
TCP_LINGER2: Final = 8
TCP_DEFER_ACCEPT: Final = 9
TCP_WINDOW_CLAMP: Final = 10
TCP_INFO: Final = 11
TCP_QUICKACK: Final = 12
TCP_CONGESTION: Final = 13
TCP_MD5SIG: Final = 14
TCP_USER_TIMEOUT: Final = 18
TCP_FASTOPEN: Final = 23
TCP_NOTSENT_LOWAT: Final = 25
TCP_FASTOPEN_CONNECT: Final = 30
TCP_MD5SIG_EXT: Final = 32
TCP_FASTOPEN_KEY: Final = 33
TCP_FASTOPEN_NO_COOKIE: Final = 34
# FreeBSD's, under numbers that Linux does not use [FreeBSD tcp(4)]
TCP_NOOPT: Final = 0x4008
TCP_KEEPINIT: Final = 0x4080
