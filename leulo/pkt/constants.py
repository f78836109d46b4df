"""Names that scripts use for numbers: Linux's values, which are the engine's too."""

from __future__ import annotations

from typing import Final

from leulo.tcp import errno
from leulo.tcp.sockopt import names

LOCAL_OPTION: Final = 0x200000  # options from here on are taken and change nothing

ERRNO: Final[dict[str, int]] = {
    name: value for name, value in vars(errno).items() if name.startswith("E") and name.isupper()
}
ERRNO.update(EBADF=9, EFAULT=14, EACCES=13, EEXIST=17, EINTR=4, EDOM=33, ENOTSOCK=88, ENETDOWN=100,
             ENETRESET=102, ENOMEM=12, ESHUTDOWN=108, ENOSYS=38, EWOULDBLOCK=11, ENOTSUP=95,
             EPROTO=71, ENOMSG=42, EPROTOTYPE=91, EPFNOSUPPORT=96)  # fmt: skip

_GROUPS: Final = {
    "families": {"AF_INET": 2, "PF_INET": 2, "AF_INET6": 10, "PF_INET6": 10, "AF_UNSPEC": 0},
    "kinds": {"SOCK_STREAM": 1, "SOCK_DGRAM": 2, "SOCK_RAW": 3, "SOCK_SEQPACKET": 5,
              "SOCK_NONBLOCK": 0o4000, "SOCK_CLOEXEC": 0o2000000},
    "protocols": {"IPPROTO_IP": 0, "IPPROTO_ICMP": 1, "IPPROTO_TCP": 6, "IPPROTO_UDP": 17,
                  "IPPROTO_IPV6": 41, "IPPROTO_SCTP": 132, "IPPROTO_UDPLITE": 136,
                  "IPPROTO_MPTCP": 262},
    "levels": {"SOL_SOCKET": 1, "SOL_IP": 0, "SOL_TCP": 6, "SOL_UDP": 17, "SOL_IPV6": 41},
    "socket options": {
        "SO_REUSEADDR": 2, "SO_TYPE": 3, "SO_ERROR": 4, "SO_DONTROUTE": 5,
        "SO_BROADCAST": 6, "SO_SNDBUF": 7, "SO_RCVBUF": 8, "SO_KEEPALIVE": 9, "SO_OOBINLINE": 10,
        "SO_PRIORITY": 12, "SO_LINGER": 13, "SO_REUSEPORT": 15, "SO_RCVLOWAT": 18,
        "SO_SNDLOWAT": 19, "SO_RCVTIMEO": 20, "SO_SNDTIMEO": 21, "SO_ATTACH_FILTER": 26,
        "SO_TIMESTAMP": 29, "SO_ACCEPTCONN": 30, "SO_SNDBUFFORCE": 32, "SO_RCVBUFFORCE": 33,
        "SO_MARK": 36, "SO_TIMESTAMPING": 37, "SO_PROTOCOL": 38, "SO_DOMAIN": 39,
        "SO_BUSY_POLL": 46, "SO_MAX_PACING_RATE": 47, "SO_INCOMING_CPU": 49, "SO_ZEROCOPY": 60,
        "SO_TXTIME": 61, "SO_TXREHASH": 74, "SCM_TIMESTAMPING": 37,
        "SOF_TIMESTAMPING_TX_HARDWARE": 1, "SOF_TIMESTAMPING_TX_SOFTWARE": 2,
        "SOF_TIMESTAMPING_RX_HARDWARE": 4,
        "SOF_TIMESTAMPING_RX_SOFTWARE": 8, "SOF_TIMESTAMPING_SOFTWARE": 16,
        "SOF_TIMESTAMPING_RAW_HARDWARE": 64, "SOF_TIMESTAMPING_OPT_ID": 128,
        "SOF_TIMESTAMPING_TX_SCHED": 256, "SOF_TIMESTAMPING_TX_ACK": 512,
        "SOF_TIMESTAMPING_OPT_CMSG": 1024, "SOF_TIMESTAMPING_OPT_TSONLY": 2048,
        "SOF_TIMESTAMPING_OPT_STATS": 4096, "SCM_TSTAMP_SND": 0, "SCM_TSTAMP_SCHED": 1,
        "SCM_TSTAMP_ACK": 2, "SO_EE_ORIGIN_NONE": 0, "SO_EE_ORIGIN_LOCAL": 1,
        "SO_EE_ORIGIN_ICMP": 2, "SO_EE_ORIGIN_ICMP6": 3, "SO_EE_ORIGIN_TIMESTAMPING": 4,
        "SO_EE_ORIGIN_ZEROCOPY": 5, "SO_EE_CODE_ZEROCOPY_COPIED": 1,
    },
    "IP options": {"IP_TOS": 1, "IP_TTL": 2, "IP_MTU_DISCOVER": 10, "IP_RECVERR": 11,
                   "IP_RECVTTL": 12, "IP_RECVTOS": 13, "IP_MTU": 14, "IP_FREEBIND": 15,
                   "IP_BIND_ADDRESS_NO_PORT": 24, "IP_LOCAL_PORT_RANGE": 51,
                   "IP_PMTUDISC_DONT": 0, "IP_PMTUDISC_WANT": 1,
                   "IP_PMTUDISC_DO": 2, "IP_PMTUDISC_PROBE": 3, "IPV6_UNICAST_HOPS": 16,
                   "IPV6_MTU_DISCOVER": 23, "IPV6_MTU": 24, "IPV6_RECVERR": 25, "IPV6_V6ONLY": 26,
                   "IPV6_TCLASS": 67, "IPV6_FLOWINFO_SEND": 33, "IPV6_AUTOFLOWLABEL": 70,
                   **{f"IPTOS_DSCP_CS{n}": n << 5 for n in range(8)}},
    "TCP options": {
        "TCP_NODELAY": 1, "TCP_MAXSEG": 2, "TCP_CORK": 3, "TCP_NOPUSH": 3, "TCP_KEEPIDLE": 4,
        "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6, "TCP_SYNCNT": 7, "TCP_LINGER2": 8,
        "TCP_DEFER_ACCEPT": 9, "TCP_WINDOW_CLAMP": 10, "TCP_INFO": 11, "TCP_QUICKACK": 12,
        "TCP_CONGESTION": 13, "TCP_MD5SIG": 14, "TCP_THIN_LINEAR_TIMEOUTS": 16,
        "TCP_THIN_DUPACK": 17, "TCP_USER_TIMEOUT": 18, "TCP_REPAIR": 19, "TCP_FASTOPEN": 23,
        "TCP_TIMESTAMP": 24, "TCP_NOTSENT_LOWAT": 25, "TCP_CC_INFO": 26, "TCP_SAVE_SYN": 27,
        "TCP_SAVED_SYN": 28, "TCP_FASTOPEN_CONNECT": 30, "TCP_ULP": 31, "TCP_FASTOPEN_KEY": 33,
        "TCP_FASTOPEN_NO_COOKIE": 34, "TCP_ZEROCOPY_RECEIVE": 35, "TCP_INQ": 36, "TCP_CM_INQ": 36,
        "TCP_TX_DELAY": 37, "TCP_MD5SIG_EXT": 32, "TCP_MD5SIG_FLAG_PREFIX": 1,
        "TCP_MD5SIG_FLAG_IFINDEX": 2,
        "TCP_KEEPINIT": names.TCP_KEEPINIT, "TCP_NOOPT": names.TCP_NOOPT,
    },
    "socket options of FreeBSD that only a host's own side sees": {
        "SO_NOSIGPIPE": LOCAL_OPTION + 1, "SO_USELOOPBACK": LOCAL_OPTION + 2,
        "TCP_LOG": LOCAL_OPTION + 3, "TCP_LOGID": LOCAL_OPTION + 4, "SO_DEBUG": LOCAL_OPTION + 5,
    },
    "message flags": {
        "MSG_OOB": 1, "MSG_PEEK": 2, "MSG_DONTROUTE": 4, "MSG_CTRUNC": 8, "MSG_TRUNC": 0x20,
        "MSG_DONTWAIT": 0x40, "MSG_EOR": 0x80, "MSG_WAITALL": 0x100, "MSG_NOSIGNAL": 0x4000,
        "MSG_MORE": 0x8000, "MSG_ERRQUEUE": 0x2000, "MSG_ZEROCOPY": 0x4000000,
        "MSG_FASTOPEN": 0x20000000,
    },
    "shutdown": {"SHUT_RD": 0, "SHUT_WR": 1, "SHUT_RDWR": 2},
    "files": {"F_GETFD": 1, "F_SETFD": 2, "F_GETFL": 3, "F_SETFL": 4, "O_RDONLY": 0,
              "O_WRONLY": 1, "O_RDWR": 2, "O_NONBLOCK": 0o4000, "FD_CLOEXEC": 1,
              "SPLICE_F_MOVE": 1, "SPLICE_F_NONBLOCK": 2, "SPLICE_F_MORE": 4},
    "ioctl": {"FIONREAD": 0x541B, "SIOCINQ": 0x541B, "TIOCOUTQ": 0x5411, "SIOCOUTQ": 0x5411,
              "SIOCOUTQNSD": 0x894B, "FIONBIO": 0x5421, "FIONWRITE": 0x5411, "SIOCATMARK": 0x8905,
              "FIONSPACE": 0x100001},
    "poll": {"POLLIN": 1, "POLLPRI": 2, "POLLOUT": 4, "POLLERR": 8, "POLLHUP": 0x10,
             "POLLNVAL": 0x20, "POLLRDNORM": 0x40, "POLLRDBAND": 0x80, "POLLWRNORM": 0x100,
             "POLLWRBAND": 0x200, "POLLRDHUP": 0x2000},
    "epoll": {"EPOLLIN": 1, "EPOLLPRI": 2, "EPOLLOUT": 4, "EPOLLERR": 8, "EPOLLHUP": 0x10,
              "EPOLLRDNORM": 0x40, "EPOLLWRNORM": 0x100, "EPOLLRDHUP": 0x2000,
              "EPOLLEXCLUSIVE": 1 << 28, "EPOLLONESHOT": 1 << 30, "EPOLLET": 1 << 31,
              "EPOLL_CTL_ADD": 1, "EPOLL_CTL_DEL": 2, "EPOLL_CTL_MOD": 3,
              "EPOLL_CLOEXEC": 0o2000000},
    "states": {
        "TCP_ESTABLISHED": 1, "TCP_SYN_SENT": 2, "TCP_SYN_RECV": 3, "TCP_FIN_WAIT1": 4,
        "TCP_FIN_WAIT2": 5, "TCP_TIME_WAIT": 6, "TCP_CLOSE": 7, "TCP_CLOSE_WAIT": 8,
        "TCP_LAST_ACK": 9, "TCP_LISTEN": 10, "TCP_CLOSING": 11, "TCP_CA_Open": 0,
        "TCP_CA_Disorder": 1, "TCP_CA_CWR": 2, "TCP_CA_Recovery": 3, "TCP_CA_Loss": 4,
        "TCPI_OPT_TIMESTAMPS": 1, "TCPI_OPT_SACK": 2, "TCPI_OPT_WSCALE": 4, "TCPI_OPT_ECN": 8,
        "TCPI_OPT_ECN_SEEN": 16, "TCPI_OPT_SYN_DATA": 32, "TCPI_OPT_TFO_CHILD": 128,
        "TCP_INFINITE_SSTHRESH": 0x7FFFFFFF,
    },
    "states as FreeBSD's packetdrill calls them": {
        "TCPI_ESTABLISHED": 1, "TCPI_SYN_SENT": 2, "TCPI_SYN_RECEIVED": 3, "TCPI_FIN_WAIT_1": 4,
        "TCPI_FIN_WAIT_2": 5, "TCPI_TIME_WAIT": 6, "TCPI_CLOSED": 7, "TCPI_CLOSE_WAIT": 8,
        "TCPI_LAST_ACK": 9, "TCPI_LISTEN": 10, "TCPI_CLOSING": 11,
    },
    "others": {"INADDR_ANY": 0, "NULL": 0},
}  # fmt: skip

CONSTANTS: Final[dict[str, int]] = {
    name: value for group in _GROUPS.values() for name, value in group.items()
}
CONSTANTS.update(ERRNO)
ERRNO_NAMES: Final = {value: name for name, value in reversed(list(ERRNO.items()))}
