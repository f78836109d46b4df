"""Socket options: names, layouts and limits are Linux's. [Linux socket(7)] [Linux tcp(7)]

An option that is not kept is refused with ENOPROTOOPT, never taken in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

from leulo.tcp import congestion, counted_buffer, info, path_mtu
from leulo.tcp.errno import AF_INET6, EINVAL, ENOENT, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP
from leulo.tcp.fast_open import CLIENT
from leulo.tcp.fast_open_server import keys_of
from leulo.tcp.pacer import UNLIMITED, Pacer
from leulo.tcp.settings import PATH_DONT, PATH_OMIT
from leulo.tcp.siphash import KEY_BYTES
from leulo.tcp.state import CLOSED, TIME_WAIT
from leulo.tcp.tcb import ACK_NOW
from leulo.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.socket import TcpSocket

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
TCP_USER_TIMEOUT: Final = 18
TCP_FASTOPEN: Final = 23
TCP_NOTSENT_LOWAT: Final = 25
TCP_FASTOPEN_CONNECT: Final = 30
TCP_FASTOPEN_KEY: Final = 33
TCP_FASTOPEN_NO_COOKIE: Final = 34
# FreeBSD's, under numbers that Linux does not use [FreeBSD tcp(4)]
TCP_NOOPT: Final = 0x4008
TCP_KEEPINIT: Final = 0x4080

_INT: Final = Struct("<i")
_WORD: Final = Struct("<I")
_LONG: Final = Struct("<Q")
_LINGER: Final = Struct("<ii")
_CONGESTION_BYTES: Final = 16
_NO_RATE_WORD: Final = 0xFFFFFFFF
_NO_RATE_LONG: Final = 0xFFFFFFFFFFFFFFFF
_MOST_KEEP_S: Final = 32_767
_MOST_KEEP_PROBES: Final = 127
_LEAST_MSS: Final = 88
_MOST_MSS: Final = 32_767
_MOST_LINGER_S: Final = 0x7FFFFFFF
_QUICK_ACKS: Final = 16
_TTL: Final = 64
_MOST_OF_BYTE: Final = 255
_ECN_BITS: Final = 3
_MOST_SYN_RETRIES: Final = 127
_MOST_LINGER2_S: Final = 120
_MOST_DEFER_RETRIES: Final = 255
_LEAST_CLAMP: Final = 1_152

Getter = Callable[["TcpSocket"], int]
Setter = Callable[["TcpSocket", int], int]


def get(socket: TcpSocket, level: int, name: int) -> bytes | int:
    """The value's bytes, -ENOPROTOOPT, or for IPv6's of a socket of IPv4 -EOPNOTSUPP, as Linux."""
    if level == IPPROTO_IPV6 and socket.family != AF_INET6:
        return -EOPNOTSUPP
    if level == SOL_SOCKET and name == SO_LINGER:
        seconds = socket.settings.linger_s
        return _LINGER.pack(seconds >= 0, max(0, seconds))
    if level == IPPROTO_TCP and name == TCP_CONGESTION:
        tcb = socket.tcb
        text = socket.settings.congestion if tcb is None else tcb.congestion.name
        return text.encode().ljust(_CONGESTION_BYTES, b"\0")
    if level == IPPROTO_TCP and name == TCP_INFO:
        return info.tcp_info(socket)
    if level == IPPROTO_TCP and name == TCP_FASTOPEN_KEY:
        return b"".join(keys_of(socket.engine, socket.settings.fast_open_keys))
    getter = _GETTERS.get((level, name))
    if getter is None:
        return -ENOPROTOOPT
    number = getter(socket)
    return number if number in (-ENOPROTOOPT, -ENOTCONN) else _WORD.pack(number & 0xFFFFFFFF)


def set(socket: TcpSocket, level: int, name: int, value: bytes) -> int:
    """0, -EINVAL, -ENOPROTOOPT or -ENOENT."""
    if level == IPPROTO_TCP and name == TCP_CONGESTION:
        return _set_congestion(socket, value)
    if level == IPPROTO_TCP and name == TCP_FASTOPEN_KEY:
        if len(value) not in (KEY_BYTES, 2 * KEY_BYTES):
            return -EINVAL
        socket.change_settings(fast_open_keys=value)
        return 0
    if level == SOL_SOCKET and name == SO_LINGER:
        if len(value) < _LINGER.size:
            return -EINVAL
        is_on, seconds = _LINGER.unpack_from(value)
        seconds = seconds if 0 <= seconds <= _MOST_LINGER_S else _MOST_LINGER_S
        socket.change_settings(linger_s=seconds if is_on else -1)
        return 0
    if level == SOL_SOCKET and name == SO_MAX_PACING_RATE:
        return _set_max_pacing_rate(socket, value)
    setter = _SETTERS.get((level, name))
    if setter is None:
        return -ENOPROTOOPT
    if len(value) < _INT.size:
        return -EINVAL
    return setter(socket, _INT.unpack_from(value)[0])


def _get_maxseg(socket: TcpSocket) -> int:
    if socket.tcb is not None and socket.tcb.mss:
        path_mtu.refresh(socket.tcb)
        return socket.tcb.mss
    return socket.settings.max_segment or socket.engine.config.default_mss


def _get_quickack(socket: TcpSocket) -> int:
    return int(socket.tcb is not None and socket.tcb.quick_acks > 0)


def _get_rcvbuf(socket: TcpSocket) -> int:
    config = socket.engine.config
    limit = socket.settings.rcv_bytes or config.rcv_default
    if socket.tcb is not None:
        limit = counted_buffer.limit(socket.tcb, limit)
    return limit << config.is_buffer_doubled


def _get_sndbuf(socket: TcpSocket) -> int:
    config = socket.engine.config
    size = socket.settings.snd_bytes or config.snd_default
    if socket.tcb is not None:
        size = socket.tcb.snd_limit
    return size << config.is_buffer_doubled


def _set_reuseaddr(socket: TcpSocket, value: int) -> int:
    socket.change_settings(is_address_reused=value != 0)
    return 0


def _set_keepalive(socket: TcpSocket, value: int) -> int:
    socket.change_settings(has_keepalive=value != 0)
    _arm_keepalive(socket)
    return 0


def _set_oobinline(socket: TcpSocket, value: int) -> int:
    socket.change_settings(is_urgent_inline=value != 0)
    socket.engine.notify(socket)  # a byte more, or less, is to be read
    return 0


def _set_keepidle(socket: TcpSocket, value: int) -> int:
    if not 1 <= value <= _MOST_KEEP_S:
        return -EINVAL
    socket.change_settings(keep_idle_ns=value * NS_PER_S)
    _arm_keepalive(socket)
    return 0


def _set_keepintvl(socket: TcpSocket, value: int) -> int:
    if not 1 <= value <= _MOST_KEEP_S:
        return -EINVAL
    socket.change_settings(keep_interval_ns=value * NS_PER_S)
    return 0


def _set_keepcnt(socket: TcpSocket, value: int) -> int:
    if not 1 <= value <= _MOST_KEEP_PROBES:
        return -EINVAL
    socket.change_settings(keep_count=value)
    return 0


def _set_keepinit(socket: TcpSocket, value: int) -> int:
    """Seconds that an active open may take."""
    if not 1 <= value <= _MOST_KEEP_S:
        return -EINVAL
    socket.change_settings(connect_timeout_ns=value * NS_PER_S)
    return 0


def _set_noopt(socket: TcpSocket, value: int) -> int:
    socket.change_settings(is_bare=value != 0)
    return 0


def _arm_keepalive(socket: TcpSocket) -> None:
    tcb = socket.tcb
    if tcb is None or tcb.state in (CLOSED, TIME_WAIT):
        return
    tcb.keep_at = 0
    if socket.settings.has_keepalive:
        tcb.keep_at = socket.engine.now_ns + socket.settings.keep_idle_ns
        socket.engine.timers.arm(tcb, tcb.keep_at)


def _set_rcvbuf(socket: TcpSocket, value: int) -> int:
    """The kernel's double-the-value is kept in what is reported; the value is the payload."""
    config = socket.engine.config
    size = max(config.rcv_min, min(value if value >= 0 else config.rcv_max, config.rcv_max))
    socket.change_settings(rcv_bytes=size)
    if socket.tcb is not None:
        counted_buffer.resize(socket.tcb, size)
    return 0


def _set_sndbuf(socket: TcpSocket, value: int) -> int:
    config = socket.engine.config
    size = max(config.snd_min, min(value if value >= 0 else config.snd_max, config.snd_max))
    socket.change_settings(snd_bytes=size)
    if socket.tcb is not None:
        socket.tcb.snd_limit = size
    return 0


def _set_nodelay(socket: TcpSocket, value: int) -> int:
    socket.change_settings(has_nodelay=value != 0)
    tcb = socket.tcb
    if value and tcb is not None:
        tcb.is_pushing = tcb.snd_nxt < tcb.snd_top  # even what a cork holds, once
        socket.engine.want_output(tcb)
    return 0


def _set_cork(socket: TcpSocket, value: int) -> int:
    socket.change_settings(is_corked=value != 0)
    tcb = socket.tcb
    if not value and tcb is not None:
        if socket.settings.has_nodelay:
            tcb.is_pushing = tcb.snd_nxt < tcb.snd_top  # what was held goes at once
        socket.engine.want_output(tcb)
    return 0


def _set_port_range(socket: TcpSocket, value: int) -> int:
    """The first port in the lower half, the last in the upper; 0: the stack's."""
    first, last = value & 0xFFFF, value >> 16 & 0xFFFF
    if first and last and first > last:
        return -EINVAL
    socket.change_settings(first_port=first, last_port=last)
    return 0


def _set_maxseg(socket: TcpSocket, value: int) -> int:
    if value and not _LEAST_MSS <= value <= _MOST_MSS:
        return -EINVAL
    socket.change_settings(max_segment=value)
    return 0


def _set_quickack(socket: TcpSocket, value: int) -> int:
    tcb = socket.tcb
    if tcb is not None:
        tcb.quick_acks = _QUICK_ACKS if value else 0
        if value and tcb.ack_due:
            tcb.ack_due = ACK_NOW
            socket.engine.want_output(tcb)
    return 0


def _set_user_timeout(socket: TcpSocket, value: int) -> int:
    if value < 0:
        return -EINVAL
    socket.change_settings(user_timeout_ns=value * NS_PER_MS)
    return 0


def _get_ttl(socket: TcpSocket) -> int:
    return socket.settings.ttl or _TTL


def _set_ttl(socket: TcpSocket, value: int) -> int:
    """-1 is the stack's own. [Linux ip(7)] [Linux ipv6(7)]"""
    if value != -1 and not 1 <= value <= _MOST_OF_BYTE:
        return -EINVAL
    socket.engine.has_marks = True
    socket.change_settings(ttl=max(0, value))
    return 0


def _set_tos(socket: TcpSocket, value: int) -> int:
    """The low byte counts; the bits of ECN are TCP's own and stay. [Linux ip(7)]"""
    socket.engine.has_marks = True
    socket.change_settings(tos=value & _MOST_OF_BYTE & ~_ECN_BITS)
    return 0


def _set_hops(socket: TcpSocket, value: int) -> int:
    return _set_ttl(socket, value) if socket.family == AF_INET6 else -ENOPROTOOPT


def _set_tclass(socket: TcpSocket, value: int) -> int:
    """As `_set_tos`; -1 is the stack's own. [Linux ipv6(7)]"""
    if socket.family != AF_INET6:
        return -ENOPROTOOPT
    if not -1 <= value <= _MOST_OF_BYTE:
        return -EINVAL
    return _set_tos(socket, max(0, value))


def _set_v6only(socket: TcpSocket, value: int) -> int:
    """Before the socket is bound only. [RFC 3493 5.3]"""
    if socket.family != AF_INET6:
        return -ENOPROTOOPT
    if socket.bound_port or socket.tcb is not None:
        return -EINVAL
    socket.is_v6only = value != 0
    return 0


def _set_mtu_discover(socket: TcpSocket, value: int) -> int:
    if not PATH_DONT <= value <= PATH_OMIT:
        return -EINVAL
    socket.change_settings(path_discovery=value)
    tcb = socket.tcb
    if tcb is not None:
        tcb.refresh_odd()
        path_mtu.refresh(tcb)
    return 0


def _get_mtu(socket: TcpSocket) -> int:
    """Of the path of a connection. [Linux ip(7)]"""
    tcb = socket.tcb
    if tcb is None or tcb.state in (CLOSED, TIME_WAIT):
        return -ENOTCONN
    return path_mtu.of_tcb(tcb)


def _set_mtu_discover6(socket: TcpSocket, value: int) -> int:
    return _set_mtu_discover(socket, value) if socket.family == AF_INET6 else -ENOPROTOOPT


def _set_rcvlowat(socket: TcpSocket, value: int) -> int:
    most = socket.engine.config.rcv_max  # more could never be there
    socket.change_settings(rcv_lowat=most if value < 0 else max(1, min(value, most)))
    socket.engine.notify(socket)  # what is there may be enough now
    return 0


def _set_syncnt(socket: TcpSocket, value: int) -> int:
    if not 1 <= value <= _MOST_SYN_RETRIES:
        return -EINVAL
    socket.change_settings(syn_retries=value)
    return 0


def _get_linger2(socket: TcpSocket) -> int:
    linger2_ns = socket.settings.linger2_ns
    if linger2_ns < 0:
        return -1
    return (linger2_ns or socket.engine.config.fin_timeout_ns) // NS_PER_S


def _set_linger2(socket: TcpSocket, value: int) -> int:
    socket.change_settings(linger2_ns=-1 if value < 0 else min(value, _MOST_LINGER2_S) * NS_PER_S)
    return 0


def _get_defer_accept(socket: TcpSocket) -> int:
    config = socket.engine.config
    wait_ns = 0
    for count in range(socket.settings.defer_retries):
        wait_ns += min(config.rto_initial_ns << count, config.rto_max_ns)
    return wait_ns // NS_PER_S


def _set_defer_accept(socket: TcpSocket, value: int) -> int:
    """Seconds become a number of SYN-ACKs, whose intervals double; read back, they are what
    those intervals add up to."""
    config = socket.engine.config
    wait_ns = count = 0
    while wait_ns < value * NS_PER_S and count < _MOST_DEFER_RETRIES:
        wait_ns += min(config.rto_initial_ns << count, config.rto_max_ns)
        count += 1
    socket.change_settings(defer_retries=count)
    return 0


def _get_window_clamp(socket: TcpSocket) -> int:
    tcb = socket.tcb
    return socket.settings.window_clamp or (0 if tcb is None else tcb.rcv_limit)


def _set_window_clamp(socket: TcpSocket, value: int) -> int:
    tcb = socket.tcb
    if not value:
        if tcb is not None or socket.listener is not None:
            return -EINVAL
        socket.change_settings(window_clamp=0)
        return 0
    socket.change_settings(window_clamp=max(value, _LEAST_CLAMP))
    if tcb is not None:
        counted_buffer.clamp(tcb)
    return 0


def _set_notsent_lowat(socket: TcpSocket, value: int) -> int:
    own = value & 0xFFFFFFFF
    lowat = own or socket.engine.config.notsent_lowat
    socket.change_settings(own_notsent_lowat=own, notsent_lowat=lowat)
    socket.engine.notify(socket)
    return 0


def _get_max_pacing_rate(socket: TcpSocket) -> int:
    most = socket.settings.max_pacing_rate
    return most if 0 < most < _NO_RATE_WORD else _NO_RATE_WORD


def _set_max_pacing_rate(socket: TcpSocket, value: bytes) -> int:
    """In four or eight bytes; all ones: no bound, which ends no pacing. [Linux socket(7)]"""
    if len(value) < _WORD.size:
        return -EINVAL
    is_long = len(value) >= _LONG.size
    most: int = (_LONG if is_long else _WORD).unpack_from(value)[0]
    is_unbounded = most == (_NO_RATE_LONG if is_long else _NO_RATE_WORD)
    socket.change_settings(max_pacing_rate=0 if is_unbounded else max(1, most))
    tcb = socket.tcb
    if tcb is not None and tcb.pacer is None and not is_unbounded and tcb.state is not CLOSED:
        tcb.pacer = Pacer()
    return 0


def _get_fastopen(socket: TcpSocket) -> int:
    listener = socket.listener
    return socket.settings.fast_open_queue if listener is None else listener.fast_open_limit


def _set_fastopen(socket: TcpSocket, value: int) -> int:
    if value < 0 or not _is_unconnected(socket):
        return -EINVAL
    socket.change_settings(fast_open_queue=min(value, socket.engine.config.max_backlog))
    return 0


def _set_fastopen_connect(socket: TcpSocket, value: int) -> int:
    if not 0 <= value <= 1:
        return -EINVAL
    if not socket.engine.config.fast_open & CLIENT:
        return -EOPNOTSUPP
    if socket.state is not CLOSED:
        return -EINVAL
    socket.change_settings(is_fast_open_connect=value != 0)
    return 0


def _set_fastopen_no_cookie(socket: TcpSocket, value: int) -> int:
    if not 0 <= value <= 1 or not _is_unconnected(socket):
        return -EINVAL
    socket.change_settings(is_fast_open_without_cookie=value != 0)
    return 0


def _is_unconnected(socket: TcpSocket) -> bool:
    return socket.state is CLOSED or socket.listener is not None


def _set_congestion(socket: TcpSocket, value: bytes) -> int:
    if not value:
        return -EINVAL
    name = value[: _CONGESTION_BYTES - 1].split(b"\0")[0].decode("ascii", "replace")
    algorithm = congestion.make(name)
    if algorithm is None:
        return -ENOENT
    socket.change_settings(congestion=name)
    tcb = socket.tcb
    if tcb is not None and tcb.congestion.name != name:
        tcb.congestion = algorithm
        tcb.cwnd_credit = 0
        if tcb.pacer is not None:
            tcb.pacer.model_rate = UNLIMITED  # the old algorithm's wish
        algorithm.begin(tcb, socket.engine.now_ns)
    return 0


_GETTERS: Final[dict[tuple[int, int], Getter]] = {
    (SOL_SOCKET, SO_REUSEADDR): lambda s: int(s.settings.is_address_reused),
    (SOL_SOCKET, SO_TYPE): lambda s: 1,
    (SOL_SOCKET, SO_ERROR): lambda s: s.take_error(),
    (SOL_SOCKET, SO_SNDBUF): _get_sndbuf,
    (SOL_SOCKET, SO_RCVBUF): _get_rcvbuf,
    (SOL_SOCKET, SO_KEEPALIVE): lambda s: int(s.settings.has_keepalive),
    (SOL_SOCKET, SO_OOBINLINE): lambda s: int(s.settings.is_urgent_inline),
    (SOL_SOCKET, SO_ACCEPTCONN): lambda s: int(s.listener is not None),
    (SOL_SOCKET, SO_RCVLOWAT): lambda s: s.settings.rcv_lowat,
    (SOL_SOCKET, SO_SNDLOWAT): lambda s: 1,
    (SOL_SOCKET, SO_MAX_PACING_RATE): _get_max_pacing_rate,
    (SOL_SOCKET, SO_PROTOCOL): lambda s: IPPROTO_TCP,
    (SOL_SOCKET, SO_DOMAIN): lambda s: s.family,
    (IPPROTO_IP, IP_TOS): lambda s: s.settings.tos,
    (IPPROTO_IP, IP_TTL): _get_ttl,
    (IPPROTO_IP, IP_MTU_DISCOVER): lambda s: s.settings.path_discovery,
    (IPPROTO_IP, IP_MTU): _get_mtu,
    (IPPROTO_IP, IP_LOCAL_PORT_RANGE): lambda s: s.settings.last_port << 16 | s.settings.first_port,
    (IPPROTO_IPV6, IPV6_UNICAST_HOPS): _get_ttl,
    (IPPROTO_IPV6, IPV6_MTU_DISCOVER): lambda s: s.settings.path_discovery,
    (IPPROTO_IPV6, IPV6_MTU): _get_mtu,
    (IPPROTO_IPV6, IPV6_V6ONLY): lambda s: int(s.is_v6only),
    (IPPROTO_IPV6, IPV6_TCLASS): lambda s: s.settings.tos,
    (IPPROTO_TCP, TCP_NODELAY): lambda s: int(s.settings.has_nodelay),
    (IPPROTO_TCP, TCP_MAXSEG): _get_maxseg,
    (IPPROTO_TCP, TCP_CORK): lambda s: int(s.settings.is_corked),
    (IPPROTO_TCP, TCP_KEEPIDLE): lambda s: s.settings.keep_idle_ns // NS_PER_S,
    (IPPROTO_TCP, TCP_KEEPINTVL): lambda s: s.settings.keep_interval_ns // NS_PER_S,
    (IPPROTO_TCP, TCP_KEEPCNT): lambda s: s.settings.keep_count,
    (IPPROTO_TCP, TCP_SYNCNT): lambda s: s.settings.syn_retries or s.engine.config.syn_retries,
    (IPPROTO_TCP, TCP_LINGER2): _get_linger2,
    (IPPROTO_TCP, TCP_DEFER_ACCEPT): _get_defer_accept,
    (IPPROTO_TCP, TCP_WINDOW_CLAMP): _get_window_clamp,
    (IPPROTO_TCP, TCP_NOTSENT_LOWAT): lambda s: s.settings.own_notsent_lowat,
    (IPPROTO_TCP, TCP_FASTOPEN): _get_fastopen,
    (IPPROTO_TCP, TCP_FASTOPEN_CONNECT): lambda s: int(s.settings.is_fast_open_connect),
    (IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE): lambda s: int(s.settings.is_fast_open_without_cookie),
    (IPPROTO_TCP, TCP_QUICKACK): _get_quickack,
    (IPPROTO_TCP, TCP_NOOPT): lambda s: int(s.settings.is_bare),
    (IPPROTO_TCP, TCP_KEEPINIT): lambda s: s.settings.connect_timeout_ns // NS_PER_S,
    (IPPROTO_TCP, TCP_USER_TIMEOUT): lambda s: s.settings.user_timeout_ns // NS_PER_MS,
}
_SETTERS: Final[dict[tuple[int, int], Setter]] = {
    (SOL_SOCKET, SO_REUSEADDR): _set_reuseaddr,
    (SOL_SOCKET, SO_SNDBUF): _set_sndbuf,
    (SOL_SOCKET, SO_RCVBUF): _set_rcvbuf,
    (SOL_SOCKET, SO_KEEPALIVE): _set_keepalive,
    (SOL_SOCKET, SO_OOBINLINE): _set_oobinline,
    (IPPROTO_IP, IP_TOS): _set_tos,
    (IPPROTO_IP, IP_TTL): _set_ttl,
    (IPPROTO_IP, IP_MTU_DISCOVER): _set_mtu_discover,
    (IPPROTO_IPV6, IPV6_UNICAST_HOPS): _set_hops,
    (IPPROTO_IPV6, IPV6_MTU_DISCOVER): _set_mtu_discover6,
    (IPPROTO_IPV6, IPV6_V6ONLY): _set_v6only,
    (IPPROTO_IPV6, IPV6_TCLASS): _set_tclass,
    (IPPROTO_IP, IP_LOCAL_PORT_RANGE): _set_port_range,
    (IPPROTO_TCP, TCP_NODELAY): _set_nodelay,
    (IPPROTO_TCP, TCP_MAXSEG): _set_maxseg,
    (IPPROTO_TCP, TCP_CORK): _set_cork,
    (IPPROTO_TCP, TCP_KEEPIDLE): _set_keepidle,
    (IPPROTO_TCP, TCP_KEEPINTVL): _set_keepintvl,
    (IPPROTO_TCP, TCP_KEEPCNT): _set_keepcnt,
    (SOL_SOCKET, SO_RCVLOWAT): _set_rcvlowat,
    (IPPROTO_TCP, TCP_SYNCNT): _set_syncnt,
    (IPPROTO_TCP, TCP_LINGER2): _set_linger2,
    (IPPROTO_TCP, TCP_DEFER_ACCEPT): _set_defer_accept,
    (IPPROTO_TCP, TCP_WINDOW_CLAMP): _set_window_clamp,
    (IPPROTO_TCP, TCP_NOTSENT_LOWAT): _set_notsent_lowat,
    (IPPROTO_TCP, TCP_FASTOPEN): _set_fastopen,
    (IPPROTO_TCP, TCP_FASTOPEN_CONNECT): _set_fastopen_connect,
    (IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE): _set_fastopen_no_cookie,
    (IPPROTO_TCP, TCP_QUICKACK): _set_quickack,
    (IPPROTO_TCP, TCP_NOOPT): _set_noopt,
    (IPPROTO_TCP, TCP_KEEPINIT): _set_keepinit,
    (IPPROTO_TCP, TCP_USER_TIMEOUT): _set_user_timeout,
}
