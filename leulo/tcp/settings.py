"""The options a user has set on a socket; immutable, shared until one is changed.

A connection inherits its listener's settings by reference, so ten thousand connections of one
server share one object; ``setsockopt`` replaces it by a changed copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from leulo.state import State as Saved
from leulo.tcp.config import Config

# Values of IP_MTU_DISCOVER and IPV6_MTU_DISCOVER [Linux ip(7)]
PATH_DONT: Final = 0  # packets may be fragmented, and no report is believed
PATH_WANT: Final = 1
PATH_DO: Final = 2
PATH_PROBE: Final = 3
PATH_INTERFACE: Final = 4  # the link's MTU, whatever is reported
PATH_OMIT: Final = 5  # the same, and packets may be fragmented


@dataclass(frozen=True, slots=True)
class Settings:
    """Values of socket options. Times in nanoseconds, sizes in bytes of payload."""

    congestion: str
    keep_idle_ns: int
    keep_interval_ns: int
    keep_count: int
    is_address_reused: bool = False  # SO_REUSEADDR
    has_keepalive: bool = False
    linger_s: int = -1  # -1: SO_LINGER is off
    rcv_bytes: int = 0  # 0: tunes itself
    snd_bytes: int = 0
    has_nodelay: bool = False
    is_corked: bool = False
    max_segment: int = 0  # TCP_MAXSEG, 0: from the MTU
    user_timeout_ns: int = 0
    rcv_lowat: int = 1  # bytes that make a socket readable
    syn_retries: int = 0  # TCP_SYNCNT, 0: the stack's
    linger2_ns: int = 0  # TCP_LINGER2, 0: the stack's; -1: no FIN_WAIT_2 without a user
    defer_retries: int = 0  # TCP_DEFER_ACCEPT, as so many SYN-ACKs
    window_clamp: int = 0  # bytes, 0: none
    max_pacing_rate: int = 0  # SO_MAX_PACING_RATE, bytes/s, 0: not paced for it
    notsent_lowat: int = 0  # unsent bytes from which the socket is not writable, 0: none
    own_notsent_lowat: int = 0  # TCP_NOTSENT_LOWAT, 0: the stack's
    connect_timeout_ns: int = 0  # of an active open, 0: only the retries end it
    ttl: int = 0  # IP_TTL, IPV6_UNICAST_HOPS; 0: the stack's
    tos: int = 0  # IP_TOS, IPV6_TCLASS, without the bits of ECN
    first_port: int = 0  # IP_LOCAL_PORT_RANGE, of active opens; 0: the stack's bounds
    last_port: int = 0
    is_bare: bool = False  # TCP_NOOPT: no options in SYNs, none of the peer's taken
    path_discovery: int = PATH_WANT  # IP_MTU_DISCOVER
    is_urgent_inline: bool = False  # SO_OOBINLINE
    fast_open_queue: int = 0  # TCP_FASTOPEN: connections in SYN_RCVD with data
    fast_open_keys: bytes = b""  # TCP_FASTOPEN_KEY, empty: the stack's
    is_fast_open_connect: bool = False  # TCP_FASTOPEN_CONNECT
    is_fast_open_without_cookie: bool = False  # TCP_FASTOPEN_NO_COOKIE
    md5_keys: tuple[tuple[bytes, int, bytes], ...] = ()  # TCP_MD5SIG, see `leulo.tcp.md5`

    @property
    def may_fragment(self) -> bool:
        """May packets be fragmented on their way?"""
        return self.path_discovery not in (PATH_WANT, PATH_DO)

    @property
    def believes_reports(self) -> bool:
        """Does what routers say of the path count?"""
        return self.path_discovery not in (PATH_DONT, PATH_INTERFACE, PATH_OMIT)

    @classmethod
    def of(cls, config: Config) -> Settings:
        """What a new socket has."""
        return cls(
            config.congestion,
            config.keep_idle_ns,
            config.keep_interval_ns,
            config.keep_count,
            connect_timeout_ns=config.connect_timeout_ns,
            notsent_lowat=config.notsent_lowat,
        )

    def save(self) -> Saved:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def loaded(cls, state: Saved) -> Settings:
        """The settings saved as ``state``."""
        keys = tuple((key[0], key[1], key[2]) for key in state.get("md5_keys", ()))
        return cls(**{**state, "md5_keys": keys})
