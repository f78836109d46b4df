"""Options at IPPROTO_TCP. [Linux tcp(7)] [FreeBSD tcp(4)]"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from leulo.tcp import congestion, counted_buffer, info, path_mtu
from leulo.tcp.errno import EINVAL, ENOENT, EOPNOTSUPP
from leulo.tcp.fast_open import CLIENT
from leulo.tcp.fast_open_server import keys_of
from leulo.tcp.pacer import UNLIMITED
from leulo.tcp.siphash import KEY_BYTES
from leulo.tcp.sockopt import integers, md5_key
from leulo.tcp.sockopt.integers import Getter, Setter
from leulo.tcp.sockopt.names import (
    TCP_CONGESTION,
    TCP_CORK,
    TCP_DEFER_ACCEPT,
    TCP_FASTOPEN,
    TCP_FASTOPEN_CONNECT,
    TCP_FASTOPEN_KEY,
    TCP_FASTOPEN_NO_COOKIE,
    TCP_INFO,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINIT,
    TCP_KEEPINTVL,
    TCP_LINGER2,
    TCP_MAXSEG,
    TCP_MD5SIG,
    TCP_MD5SIG_EXT,
    TCP_NODELAY,
    TCP_NOOPT,
    TCP_NOTSENT_LOWAT,
    TCP_QUICKACK,
    TCP_SYNCNT,
    TCP_USER_TIMEOUT,
    TCP_WINDOW_CLAMP,
)
from leulo.tcp.state import CLOSED, TIME_WAIT
from leulo.tcp.tcb import ACK_NOW
from leulo.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from leulo.tcp.socket import TcpSocket

_CONGESTION_BYTES: Final = 16
_FREEBSD_FLAG: Final = -(1 << 31)  # what TCP_FASTOPEN reads as there: the flag in its place
_MOST_KEEP_S: Final = 32_767
_MOST_KEEP_PROBES: Final = 127
_LEAST_MSS: Final = 88
_MOST_MSS: Final = 32_767
_QUICK_ACKS: Final = 16
_MOST_SYN_RETRIES: Final = 127
_MOST_LINGER2_S: Final = 120
_MOST_DEFER_RETRIES: Final = 255
_LEAST_CLAMP: Final = 1_152


def get(socket: TcpSocket, name: int) -> bytes | int:
    """The value's bytes or -ENOPROTOOPT."""
    if name == TCP_INFO:
        return info.tcp_info(socket)
    if name == TCP_CONGESTION:
        tcb = socket.tcb
        text = socket.settings.congestion if tcb is None else tcb.congestion.name
        return text.encode().ljust(_CONGESTION_BYTES, b"\0")
    if name == TCP_FASTOPEN_KEY:
        return b"".join(keys_of(socket.engine, socket.settings.fast_open_keys))
    return integers.read(_GETTERS, socket, name)


def set(socket: TcpSocket, name: int, value: bytes) -> int:
    """0, -EINVAL, -EOPNOTSUPP, -ENOPROTOOPT, -ENOENT or -ENOMEM."""
    if name == TCP_CONGESTION:
        return _set_congestion(socket, value)
    if name == TCP_FASTOPEN_KEY:
        if len(value) not in (KEY_BYTES, 2 * KEY_BYTES):
            return -EINVAL
        socket.change_settings(fast_open_keys=value)
        return 0
    if name in (TCP_MD5SIG, TCP_MD5SIG_EXT):
        return md5_key.change(socket, name == TCP_MD5SIG_EXT, value)
    return integers.change(_SETTERS, socket, name, value)


def _get_maxseg(socket: TcpSocket) -> int:
    if socket.tcb is not None and socket.tcb.mss:
        path_mtu.refresh(socket.tcb)
        return socket.tcb.mss
    return socket.settings.max_segment or socket.engine.config.default_mss


def _get_quickack(socket: TcpSocket) -> int:
    return int(socket.tcb is not None and socket.tcb.quick_acks > 0)


def _set_keepidle(socket: TcpSocket, value: int) -> int:
    if not 1 <= value <= _MOST_KEEP_S:
        return -EINVAL
    socket.change_settings(keep_idle_ns=value * NS_PER_S)
    arm_keepalive(socket)
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


def arm_keepalive(socket: TcpSocket) -> None:
    tcb = socket.tcb
    if tcb is None or tcb.state in (CLOSED, TIME_WAIT):
        return
    tcb.keep_at = 0
    if socket.settings.has_keepalive or socket.engine.config.always_keepalive:
        tcb.keep_at = socket.engine.now_ns + socket.settings.keep_idle_ns
        socket.engine.timers.arm(tcb, tcb.keep_at)


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


def _get_fastopen(socket: TcpSocket) -> int:
    listener = socket.listener
    queue = socket.settings.fast_open_queue if listener is None else listener.fast_open_limit
    if queue and socket.engine.config.has_freebsd_fast_open:
        return _FREEBSD_FLAG
    return queue


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


_GETTERS: Final[dict[int, Getter]] = {
    TCP_NODELAY: lambda s: int(s.settings.has_nodelay),
    TCP_MAXSEG: _get_maxseg,
    TCP_CORK: lambda s: int(s.settings.is_corked),
    TCP_KEEPIDLE: lambda s: s.settings.keep_idle_ns // NS_PER_S,
    TCP_KEEPINTVL: lambda s: s.settings.keep_interval_ns // NS_PER_S,
    TCP_KEEPCNT: lambda s: s.settings.keep_count,
    TCP_SYNCNT: lambda s: s.settings.syn_retries or s.engine.config.syn_retries,
    TCP_LINGER2: _get_linger2,
    TCP_DEFER_ACCEPT: _get_defer_accept,
    TCP_WINDOW_CLAMP: _get_window_clamp,
    TCP_NOTSENT_LOWAT: lambda s: s.settings.own_notsent_lowat,
    TCP_FASTOPEN: _get_fastopen,
    TCP_FASTOPEN_CONNECT: lambda s: int(s.settings.is_fast_open_connect),
    TCP_FASTOPEN_NO_COOKIE: lambda s: int(s.settings.is_fast_open_without_cookie),
    TCP_QUICKACK: _get_quickack,
    TCP_NOOPT: lambda s: int(s.settings.is_bare),
    TCP_KEEPINIT: lambda s: s.settings.connect_timeout_ns // NS_PER_S,
    TCP_USER_TIMEOUT: lambda s: s.settings.user_timeout_ns // NS_PER_MS,
}
_SETTERS: Final[dict[int, Setter]] = {
    TCP_NODELAY: _set_nodelay,
    TCP_MAXSEG: _set_maxseg,
    TCP_CORK: _set_cork,
    TCP_KEEPIDLE: _set_keepidle,
    TCP_KEEPINTVL: _set_keepintvl,
    TCP_KEEPCNT: _set_keepcnt,
    TCP_SYNCNT: _set_syncnt,
    TCP_LINGER2: _set_linger2,
    TCP_DEFER_ACCEPT: _set_defer_accept,
    TCP_WINDOW_CLAMP: _set_window_clamp,
    TCP_NOTSENT_LOWAT: _set_notsent_lowat,
    TCP_FASTOPEN: _set_fastopen,
    TCP_FASTOPEN_CONNECT: _set_fastopen_connect,
    TCP_FASTOPEN_NO_COOKIE: _set_fastopen_no_cookie,
    TCP_QUICKACK: _set_quickack,
    TCP_NOOPT: _set_noopt,
    TCP_KEEPINIT: _set_keepinit,
    TCP_USER_TIMEOUT: _set_user_timeout,
}
