"""What a script sets up by shell commands, as `leulo.tcp.config.Config`; nothing is executed.

Between back quotes a script calls sysctl, or a set-up script of its suite that does. The settings
that the engine has become changes of its configuration; those that cannot show in an exchange of
packets, or ask for what the engine does anyway, are taken as they are; every other command and
setting is refused by name. [Linux tcp(7)]
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Final

from leulo.pkt.file_calls import made_by_dd
from leulo.pkt.lexer import Refused
from leulo.tcp import congestion
from leulo.tcp.config import Config
from leulo.tcp.siphash import KEY_BYTES
from leulo.units import NS_PER_MS, NS_PER_S

Changes = dict[str, object]
Setting = Callable[[str], Changes | None]  # None: refused

_FIELDS: Final = {field.name for field in fields(Config)}
_SEPARATORS = re.compile(r"""('[^']*'|"[^"]*"|(?<!\S)\#[^\n]*)|\n|;|&&|\|\|""")  # or what is none
REDIRECTION: Final = re.compile(r"\s*(?:[12&]?>{1,2}\s*&?\s*[\w/.]+|2>&1|<\s*\S+)")
_BSD_WORDS = re.compile(
    r">\s*S[.EW]*\s+[^<\n]*<mss \d+,\s*nop,\s*wscale \d+,\s*sackOK"
    r"|//[^\n]*\b(?i:FreeBSD)\b|net\.inet\.|kern\.ipc\.|\bsockstat\b|\btcpdrop\b|\bTCP_(?:KEEPINIT|NOOPT)\b"
    r"|\bTCPI_(?:CLOS|LISTEN|SYN_SENT|SYN_RECEIVED|ESTAB|FIN_WAIT|LAST_ACK|TIME_WAIT)"
    r"|SO_RCVBUF, \[65536\]"
)
_DONE_NOTHING: Final = {"true", ":", "sleep", "echo", "kldload", "kldunload", "modprobe", "sync",
                        "rm", "exit", "fi", "done", "set", "#", "tcpdump", "pkill", "killall",
                        "dmesg", "kldstat", "cc", "if"}  # fmt: skip
_ROUTE_WORDS: Final = {"via", "dev", "src", "table", "proto", "scope", "metric"}
_ARITHMETIC = re.compile(r"\$\(\(\s*(\d{1,9}(?:\s*\*\s*\d{1,9}){0,4})\s*\)\)")
_RESTORE = re.compile(r"(?:^|/)sysctl_restore[\w${}.]*|restore\w*\.sh$")


def _whole(text: str) -> int:
    return int(text.strip().strip("\"'"), 0)


def _flag(*names: str) -> Setting:
    """Non-zero is true."""
    return lambda text: {name: _whole(text) != 0 for name in names}


def _count(name: str) -> Setting:
    return lambda text: {name: _whole(text)}


def _seconds(name: str) -> Setting:
    return lambda text: {name: _whole(text) * NS_PER_S}


def _milliseconds(name: str, times: int = 1) -> Setting:
    return lambda text: {name: _whole(text) * NS_PER_MS * times}


def _duration(name: str) -> Setting:
    """``200ms``, ``1s``, or milliseconds."""

    def change(text: str) -> Changes:
        if text.endswith("s") and not text.endswith("ms"):
            return {name: _whole(text[:-1]) * NS_PER_S}
        return {name: _whole(text.removesuffix("ms")) * NS_PER_MS}

    return change


def _any(text: str) -> Changes:
    """Cannot be seen from outside, or says what the engine does anyway."""
    return {}


def _only(*values: int) -> Setting:
    """Taken for these values, refused for others."""
    return lambda text: {} if _whole(text) in values else None


def _receive_sizes(text: str) -> Changes:
    """Linux counts memory, of which half is payload, and begins with what a SYN can say of it."""
    least, default, most = (int(part, 0) for part in text.strip("\"' ").split())
    default = max(1, default // 2)
    return {
        "rcv_min": max(1, least // 2),
        "rcv_default": default,
        "rcv_max": max(most, default),
        "first_window_most": 0xFFFF,
    }


def _send_sizes(text: str) -> Changes:
    """Linux counts memory; the least does not bound SO_SNDBUF."""
    _, default, most = (int(part, 0) for part in text.strip("\"' ").split())
    return {"snd_default": max(1, default // 2), "snd_max": max(1, most // 2)}


def _ports(text: str) -> Changes:
    first, last = (int(part, 0) for part in text.strip("\"' ").split())
    return {"first_ephemeral": first, "last_ephemeral": last}


def _congestion(text: str) -> Changes | None:
    name = text.strip("\"' ")
    name = {"newreno": "reno"}.get(name, name)
    return {"congestion": name} if congestion.make(name) is not None else None


def _ecn_of_freebsd(text: str) -> Changes | None:
    """3 is accurate ECN on both sides, 4 if the peer asks; there is no option of it."""
    value = _whole(text)
    if 0 <= value <= 2:
        return {"ecn": value}
    return {"ecn": {3: 3, 4: 5}[value], "ecn_option": 0} if value in (3, 4) else None


def _ecn_of_linux(text: str) -> Changes | None:
    value = _whole(text)
    return {"ecn": value} if 0 <= value <= 5 else None


def _ecn_option(text: str) -> Changes | None:
    value = _whole(text)
    return {"ecn_option": value} if 0 <= value <= 2 else None


def _ecn_of_control(text: str) -> Changes | None:
    value = _whole(text)
    return {"ecn_of_control": value} if 0 <= value <= 2 else None


def _keys(text: str) -> Changes | None:
    """One or two keys of four hexadecimal words, which Linux keeps lowest byte first."""
    keys = [part.split("-") for part in text.strip("\"' ").split(",")]
    if len(keys) > 2 or any(len(words) != 4 for words in keys):
        return None
    words = [int(word, 16) for key in keys for word in key]
    return {"fast_open_keys": b"".join(word.to_bytes(4, "little") for word in words)}


def _syn_cookies(text: str) -> Changes:
    value = _whole(text)
    return {"has_syn_cookies": value != 0, "has_cookies_always": value == 2}


def _rfc1323(text: str) -> Changes:
    value = _whole(text)  # 1: both, 2: window scaling only, 3: timestamps only
    return {"has_window_scaling": value in (1, 2), "has_timestamps": value in (1, 3)}


def _socket_buffer(text: str) -> Changes:
    return {"rcv_max": _whole(text), "snd_max": _whole(text)}


_LINUX: Final[dict[str, Setting]] = {
    "tcp_timestamps": _flag("has_timestamps"),
    "tcp_window_scaling": _flag("has_window_scaling"),
    "tcp_sack": _flag("has_sack"),
    "tcp_rmem": _receive_sizes,
    "tcp_wmem": _send_sizes,
    "tcp_syn_retries": _count("syn_retries"),
    "tcp_synack_retries": _count("synack_retries"),
    "tcp_retries2": _count("retries"),
    "tcp_orphan_retries": _count("orphan_retries"),
    "tcp_keepalive_time": _seconds("keep_idle_ns"),
    "tcp_keepalive_intvl": _seconds("keep_interval_ns"),
    "tcp_keepalive_probes": _count("keep_count"),
    "tcp_fin_timeout": _seconds("fin_timeout_ns"),
    "tcp_syncookies": _syn_cookies,
    "tcp_congestion_control": _congestion,
    "tcp_allowed_congestion_control": _any,
    "tcp_slow_start_after_idle": _flag("restarts_after_idle"),
    "tcp_reordering": _count("duplicate_threshold"),
    "tcp_max_syn_backlog": _count("half_open_limit"),
    "tcp_max_tw_buckets": _count("time_wait_limit"),
    "tcp_tw_reuse": _flag("has_time_wait_reuse"),
    "tcp_tw_reuse_delay": _milliseconds("time_wait_reuse_ns"),
    "tcp_invalid_ratelimit": _milliseconds("invalid_ack_interval_ns"),
    "tcp_challenge_ack_limit": _count("challenge_acks_per_s"),
    "tcp_min_snd_mss": _count("min_mss"),
    "tcp_rto_min_us": lambda text: {"rto_min_ns": _whole(text) * 1000},
    "tcp_rto_max_ms": _milliseconds("rto_max_ns"),
    "ip_local_port_range": _ports,
    "somaxconn": _count("max_backlog"),
    "tcp_ecn": _ecn_of_linux,
    "tcp_ecn_option": _ecn_option,
    "tcp_ecn_option_beacon": _count("ecn_option_beacon"),
    "tcp_ecn_fallback": _flag("has_ecn_fallback"),
    "tcp_fack": _any,
    "tcp_early_retrans": lambda text: {"has_tail_probe": _whole(text) >= 3},
    "tcp_frto": lambda text: {"has_frto": _whole(text) > 0},
    "tcp_dsack": lambda text: {"has_dsack": _whole(text) > 0},
    "tcp_recovery": lambda text: {"has_rack": _whole(text) & 1 == 1},
    "tcp_tso_win_divisor": _any,
    "tcp_tso_rtt_log": _any,
    "tcp_min_tso_segs": _any,
    "tcp_pacing_ss_ratio": _count("pacing_slow_start_percent"),
    "tcp_pacing_ca_ratio": _count("pacing_avoidance_percent"),
    "tcp_notsent_lowat": lambda text: {
        "notsent_lowat": _whole(text) if _whole(text) < 1 << 31 else 0
    },
    "tcp_limit_output_bytes": _any,
    "tcp_no_metrics_save": _any,
    "tcp_autocorking": _any,
    "tcp_moderate_rcvbuf": _flag("tunes_rcvbuf"),
    "tcp_adv_win_scale": _any,
    "tcp_workaround_signed_windows": _any,
    "tcp_retries1": _count("retries1"),
    "tcp_thin_linear_timeouts": _only(0),
    "tcp_mtu_probing": _count("mtu_probing"),
    "tcp_base_mss": _count("base_mss"),
    "tcp_mtu_probe_floor": _count("mtu_probe_floor"),
    "tcp_probe_threshold": _count("mtu_probe_threshold"),
    "tcp_probe_interval": _seconds("mtu_probe_interval_ns"),
    "tcp_fastopen": _count("fast_open"),
    "tcp_fastopen_key": _keys,
    "tcp_fastopen_blackhole_timeout_sec": _seconds("fast_open_pause_ns"),
    "tcp_stdurg": _flag("has_old_urgent_pointer"),
    "tcp_rfc1337": lambda text: {"rst_ends_time_wait": _whole(text) == 0},
    "tcp_abort_on_overflow": _flag("resets_on_overflow"),
    "tcp_migrate_req": _any,
    "tcp_plb_enabled": _only(0),
    "tcp_shrink_window": _flag("may_shrink_window"),
    "tcp_syn_linear_timeouts": _count("syn_linear_timeouts"),
    "tcp_comp_sack_nr": _any,
    "tcp_comp_sack_delay_ns": _any,
    "tcp_comp_sack_slack_ns": _any,
    "tcp_backlog_ack_defer": _any,
    "tcp_reflect_tos": _only(0),
    "tcp_max_orphans": _count("orphans_max"),
    "tcp_pingpong_thresh": _only(1),
    "tcp_thin_dupack": _only(0),
    "tcp_max_reordering": _count("max_reordering"),
    "tcp_mem": _any,
    "tcp_early_demux": _any,
    "tcp_no_ssthresh_metrics_save": _any,
    "tcp_l3mdev_accept": _any,
    "tcp_fwmark_accept": _any,
    "tcp_rcvbuf_low_rtt": _any,
    "tcp_collapse_max_bytes": _any,
    "ip_default_ttl": _only(64),
    "ip_forward": _any,
    "ip_nonlocal_bind": _any,
    "icmp_echo_ignore_all": _only(0),
    "flush": _any,  # of routes, of which none is kept
    "rmem_max": _any,
    "wmem_max": _any,
    "rmem_default": _any,
    "wmem_default": _any,
    "default_qdisc": _any,
    "optmem_max": _any,
    "ip_no_pmtu_disc": _only(0),
    "ip_early_demux": _any,
    "rp_filter": _any,
    "icmp_ratelimit": _any,
    "icmp_ratemask": _any,
    "auto_flowlabels": _any,
    "disable_ipv6": _any,
    "dad_transmits": _any,
    "accept_dad": _any,
}

_BSD: Final[dict[str, Setting]] = {
    "net.inet.tcp.rfc1323": _rfc1323,
    "net.inet.tcp.sack.enable": _flag("has_sack"),
    "net.inet.tcp.ecn.enable": _ecn_of_freebsd,
    "net.inet.tcp.syncookies": _flag("has_syn_cookies"),
    "net.inet.tcp.syncookies_only": _only(0),
    "net.inet.tcp.recvspace": _count("rcv_default"),
    "net.inet.tcp.sendspace": _count("snd_default"),
    "kern.ipc.maxsockbuf": _socket_buffer,
    "net.inet.tcp.recvbuf_max": _any,
    "net.inet.tcp.sendbuf_max": _any,
    "net.inet.tcp.recvbuf_auto": _flag("tunes_rcvbuf"),
    "net.inet.tcp.sendbuf_auto": _any,
    "net.inet.tcp.fastopen.client_enable": lambda text: {"fast_open": _whole(text)},
    "net.inet.tcp.fastopen.server_enable": lambda text: {"fast_open": 1 | _whole(text) << 1},
    "net.inet.tcp.mssdflt": _count("default_mss"),
    "net.inet.tcp.v6mssdflt": _count("default_mss6"),
    "net.inet.tcp.minmss": _count("min_mss"),
    "net.inet.tcp.msl": _milliseconds("time_wait_ns", 2),
    "net.inet.tcp.finwait2_timeout": _milliseconds("fin_timeout_ns"),
    "net.inet.tcp.delacktime": _milliseconds("delayed_ack_ns"),
    "net.inet.tcp.delayed_ack": _only(1),
    "net.inet.tcp.rexmit_min": _milliseconds("rto_min_ns"),
    "net.inet.tcp.rexmit_initial": _milliseconds("rto_initial_ns"),
    "net.inet.tcp.rexmit_slop": _milliseconds("rto_slop_ns"),
    "net.inet.tcp.rexmit_drop_options": lambda text: {"plain_syn_retries": 3 * (_whole(text) > 0)},
    "net.inet.tcp.persmin": _milliseconds("persist_min_ns"),
    "net.inet.tcp.persmax": _milliseconds("persist_max_ns"),
    "net.inet.tcp.keepinit": _milliseconds("connect_timeout_ns"),
    "net.inet.tcp.syncache.rexmtlimit": _count("synack_retries"),
    "net.inet.tcp.keepidle": _milliseconds("keep_idle_ns"),
    "net.inet.tcp.keepintvl": _milliseconds("keep_interval_ns"),
    "net.inet.tcp.keepcnt": _count("keep_count"),
    "net.inet.tcp.initcwnd_segments": _count("initial_window_segments"),
    "net.inet.tcp.cc.algorithm": _congestion,
    "kern.ipc.somaxconn": _count("max_backlog"),
    "kern.ipc.soacceptqueue": _count("max_backlog"),
    "net.inet.tcp.insecure_rst": lambda text: {"has_exact_rst": _whole(text) == 0},
    "net.inet.tcp.insecure_syn": lambda text: {"has_syn_challenge": _whole(text) == 0},
    "net.inet.tcp.insecure_ack": _only(0),
    "net.inet.tcp.drop_synfin": _flag("drops_syn_fin", "drops_every_syn_fin"),
    "net.inet.tcp.blackhole": lambda text: {"answers_closed_port": _whole(text) == 0},
    "net.inet.tcp.ack_war_cnt": _count("invalid_acks"),
    "net.inet.tcp.ack_war_timewindow": _milliseconds("invalid_ack_interval_ns"),
    "net.inet.tcp.maxtcptw": _count("time_wait_limit"),
    "net.inet.ip.portrange.first": _count("first_ephemeral"),
    "net.inet.ip.portrange.last": _count("last_ephemeral"),
    "net.inet.ip.portrange.randomized": _any,
    "net.inet.tcp.cc.abe": _only(0),
    "net.inet.tcp.cc.available": _any,
    "net.inet.tcp.abc_l_var": _any,
    "net.inet.tcp.do_tcpdrain": _any,
    "net.inet.tcp.per_cpu_timers": _any,
    "net.inet.tcp.isn_reseed_interval": _any,
    "net.inet.tcp.maxunacktime": _only(0),
    "net.inet.tcp.fastopen.acceptany": _only(0),
    "net.inet.tcp.fastopen.psk_enable": _only(0),
    "net.inet.tcp.rfc3042": _flag("has_limited_transmit"),
    "net.inet.tcp.rfc3390": _any,
    "net.inet.tcp.rfc3465": _any,
    "net.inet.tcp.rfc6675_pipe": _any,
    "net.inet.tcp.newsack": _any,
    "net.inet.tcp.sack.revised": _any,
    "net.inet.tcp.sack.lrd": _any,
    "net.inet.tcp.sack.tso": _any,
    "net.inet.tcp.do_prr": lambda text: {"has_rate_reduction": _whole(text) != 0},
    "net.inet.tcp.do_prr_conservative": _any,
    "net.inet.tcp.tso": _any,
    "net.inet.tcp.path_mtu_discovery": _any,
    "net.inet.tcp.pmtud_blackhole_detection": _only(0),
    "net.inet.tcp.always_keepalive": _flag("always_keepalive"),
    "net.inet.tcp.icmp_may_rst": _flag("believes_icmp"),
    "net.inet.tcp.ts_offset_per_conn": _any,
    "net.inet.tcp.tolerate_missing_ts": lambda text: {
        "drops_missing_timestamps": _whole(text) == 0
    },
    "net.inet.tcp.nolocaltimewait": _any,
    "net.inet.tcp.fast_finwait2_recycle": _only(0),
    "net.inet.tcp.log_in_vain": _any,
    "net.inet.tcp.log_debug": _any,
    "net.inet.tcp.bb.log_auto_all": _any,
    "net.inet.tcp.functions_default": _any,
    "net.inet.tcp.functions_inherit_listen_socket_stack": _any,
    "net.inet.tcp.hostcache.purgenow": _any,
    "net.inet.tcp.hostcache.purge": _any,
    "net.inet.tcp.hostcache.enable": _any,
    "net.inet.tcp.udp_tunneling_port": _only(0),
    "net.inet.tcp.ecn.maxretries": _count("ecn_retries"),
    "net.inet.tcp.ecn.plusplus": _ecn_of_control,
    "net.inet.tcp.ecn.generalized": _ecn_of_control,
    "net.inet.icmp.icmplim": _any,
}

# [Linux ip-route(8)]
_LEAST_MTU: Final = 68  # [RFC 791 3.2]
_MOST_MTU: Final = 65_535
_ROUTE: Final[dict[str, Setting]] = {
    "advmss": _count("route_mss"),
    "congctl": _congestion,
    "features": lambda text: {"ecn": 1} if text == "ecn" else None,
    "initcwnd": _count("initial_window_segments"),
    "initrwnd": _count("first_window_segments"),
    "reordering": _count("duplicate_threshold"),
    "rto_min": _duration("rto_min_ns"),
}

_DEFAULTS: Final = (
    ("tcp_rmem", "4096 540000 15728640"), ("tcp_wmem", "4096 262144 4194304"),
    ("tcp_timestamps", "1"), ("tcp_syn_retries", "5"), ("tcp_synack_retries", "5"),
    ("tcp_sack", "1"), ("tcp_reordering", "3"), ("tcp_congestion_control", "cubic"),
    ("tcp_slow_start_after_idle", "0"), ("tcp_ecn", "0"), ("tcp_syncookies", "1"),
    ("tcp_fastopen_key", "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4"),
)  # fmt: skip


class Setup:
    """Gathers changes of the configuration from commands."""

    def __init__(self, md5_secret: bytes = b"") -> None:
        self.md5_secret: bytes = md5_secret  # of TCP-MD5, for the peer
        self.changes: Changes = {}
        self.mtu: int = 0  # 0: not set
        self.is_stalled: bool | None = None  # takes the device packets? None: as before
        self.files: dict[str, int] = {}  # length by path

    def command(self, text: str, line: int) -> None:
        """Take one piece of shell. Raises Refused with the name of what is not known."""
        text = text.replace("\\\n", " ")
        for part in _pieces(text):
            part = REDIRECTION.sub("", part).strip()
            if part and not part.startswith("#"):
                self._one(part, line)

    def _one(self, text: str, line: int) -> None:
        try:
            words = shlex.split(_ARITHMETIC.sub(_product_text, text), comments=True)
        except ValueError as error:
            raise Refused(line, f"command `{text}`") from error
        if not words:
            return
        program = words[0].rsplit("/", 1)[-1]
        if program == "sudo" and len(words) > 1:
            words = words[1:]
            program = words[0].rsplit("/", 1)[-1]
        if program == "ip":
            words = _in_full(words)
        if program == "then" and words[1:2] == ["cc"]:
            words = words[1:]  # a suite makes a program of its own
            program = "cc"
        if program in _DONE_NOTHING or _RESTORE.search(words[0]):
            return
        if program == "defaults.sh":
            for name, value in _DEFAULTS:
                self._linux(name, value, line)
            # Of the suite whose scripts share theirs, every listener opens fast.
            self._linux("tcp_fastopen", "0x403" if "/common/" in words[0] else "0x3", line)
            if "/common/" in words[0]:
                self._linux("tcp_syn_linear_timeouts", "0", line)  # and SYNs back off at once
        elif program in ("set_sysctls.py", "set_sysctls.sh", "sysctl"):
            for word in words[1:]:
                if not word.startswith("-"):
                    self._assignment(word, line)
        elif words[:2] == ["ip", "tcp_metrics"] or program in ("tc", "ethtool"):
            if words[:2] == ["tc", "qdisc"] and "root" in words:
                self.is_stalled = words[-2:] == ["limit", "0"]
                self.changes["has_pacing"] = "fq" in words  # [Linux tc-fq(8)]
            return
        elif words[:2] == ["ip", "route"] and words[2:3] in (["add"], ["change"], ["replace"]):
            self._route(words[3:], line)
        elif program == "setkey":
            if len(words) == 1:  # FreeBSD's suite's, for Fast Open; the system's has options
                self.changes["fast_open_keys"] = bytes(KEY_BYTES)
        elif program == "dd":
            path, length = made_by_dd(words, line)
            self.files[path] = length
        elif "mtu" in words and (program == "ifconfig" or words[:3] == ["ip", "link", "set"]):
            self.mtu = self._mtu(words, line)
        else:
            raise Refused(line, f"command `{' '.join(words[:4])}`")

    def _route(self, words: list[str], line: int) -> None:
        """What a route says of the connections over it holds for all: there is one route."""
        words = [word for word in words[1:] if word not in ("lock", "onlink")]
        for name, value in zip(words[::2], [*words[1::2], ""], strict=False):
            if name in _ROUTE:
                self._set(_ROUTE[name], f"of the route {name}", value, line)
            elif name == "mtu":
                self.mtu = self._mtu([name, value], line)
            elif name not in _ROUTE_WORDS:
                raise Refused(line, f"the route's {name}")

    def _mtu(self, words: list[str], line: int) -> int:
        at = words.index("mtu") + 1
        if at >= len(words) or not words[at].isdigit():
            raise Refused(line, f"command `{' '.join(words)}`")
        mtu = int(words[at])
        if not _LEAST_MTU <= mtu <= _MOST_MTU:
            raise Refused(line, f"an MTU of {mtu}")
        return mtu

    def _assignment(self, text: str, line: int) -> None:
        name, equals, value = text.partition("=")
        if not equals:
            return  # shows a value
        name = name.strip().removeprefix("/proc/sys/")
        if "/" in name:
            name = name.replace("/", ".")  # sysctl takes either
        if name in _BSD:
            self._set(_BSD[name], name, value, line)
        elif name.startswith(("net.ipv4.", "net.core.", "net.ipv6.")):
            self._linux(name.rsplit(".", 1)[-1], value, line)
        else:
            raise Refused(line, f"sysctl {name}={value}")

    def _linux(self, short: str, value: str, line: int) -> None:
        setting = _LINUX.get(short)
        if setting is None:
            raise Refused(line, f"sysctl {short}={value}")
        self._set(setting, short, value, line)

    def _set(self, setting: Setting, name: str, value: str, line: int) -> None:
        try:
            changes = setting(value)
        except (ValueError, OverflowError) as error:
            raise Refused(line, f"sysctl {name}={value}") from error
        if changes is None or not set(changes) <= _FIELDS:
            raise Refused(line, f"sysctl {name}={value}")
        self.changes.update(changes)


def _pieces(text: str) -> Iterator[str]:
    """The commands of a piece of shell."""
    begin = 0
    for found in _SEPARATORS.finditer(text):
        if found[1] is None:
            yield text[begin : found.start()]
            begin = found.end()
    yield text[begin:]


def _in_full(words: list[str]) -> list[str]:
    """A command of ``ip`` without the family, its object and the verb unabridged. [Linux ip(8)]"""
    words = [word for word in words[:2] if word not in ("-4", "-6")] + words[2:]
    for at, choices in ((1, ("route", "link", "tcp_metrics")), (2, ("add", "change", "replace"))):
        if len(words) > at and words[at]:
            words[at] = next((c for c in choices if c.startswith(words[at])), words[at])
    return words


def _product_text(match: re.Match[str]) -> str:
    """``$((15*1024*1024))`` of the shell."""
    product = 1
    for factor in match[1].split("*"):
        product *= int(factor)
    return str(product)


def looks_like_bsd(text: str) -> bool:
    """Does the script set a BSD's variables, use its tools, expect its SYN or its buffers, or say
    in a comment what FreeBSD does?"""
    return _BSD_WORDS.search(text) is not None
