"""The lines of a script that begin with ``--``: addresses, ports, sizes, tolerances."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Final

from leulo.net.wire.ipv4 import parse_ipv4
from leulo.pkt.lexer import Refused, ScriptError
from leulo.tcp.config import PRESETS

_IGNORED: Final = {
    "verbose", "debug", "dry_run", "is_anyip", "persistent_tun_dev", "speed", "v", "send_omit_free",
    "netmask_ip", "code_command", "code_format", "code_sockopt",
    "strict_segments", "tcp_ts_ecr_scaled",
    "wire_client_dev", "wire_server_dev", "local_linklocal_ip", "gateway_linklocal_ip",
}  # fmt: skip
_US: Final = 1_000
_MAX_TOLERANCE_US: Final = 10**9
_NAME = re.compile(r"[A-Za-z_]\w*$")


@dataclass(slots=True)
class Options:
    """What the lines say; the defaults are packetdrill's. Times in nanoseconds."""

    is_ipv6: bool = False
    is_mapped: bool = False  # IPv4 on the wire, sockets of AF_INET6
    local: bytes = b"\xc0\xa8\x00\x01"  # 192.168.0.1
    gateway: bytes = b"\xc0\xa8\x00\x02"
    peer: bytes = b"\xc0\x00\x02\x01"  # 192.0.2.1
    local6: bytes = IPv6Address("fd3d:a0b:17d6::1").packed
    peer6: bytes = IPv6Address("fd3d:fa7b:d17d::1").packed
    prefix_length: int = 16
    bind_port: int = 8080
    connect_port: int = 8080
    mtu: int = 1500
    segment: int = 0  # payload of the segments that larger ones which arrive are of; 0: the MSS
    tolerance_ns: int = 4_000 * _US
    # Of the time since the event before, if that is more; None: the suite's own, see `Run`
    tolerance_per_mille: int | None = None
    non_fatal: set[str] = field(default_factory=set)  # what is told, but fails no script
    tick_ns: int = 0  # of timestamps, 0: their values are not compared
    commands: list[str] = field(default_factory=list)  # --init_scripts
    md5_secret: bytes = b""  # of TCP-MD5, for the peer


def read_options(pairs: list[tuple[str, str]]) -> Options:
    """Raises Refused for an option that asks for what this runner does not do, ScriptError for a
    value that cannot be read."""
    options = Options()
    for name, value in pairs:
        try:
            _read(options, name, value)
        except ValueError as error:
            raise ScriptError(1, f"--{name}={value}: {error}") from error
    if not options.is_ipv6 and options.gateway[:2] != options.local[:2]:
        options.gateway = options.local[:3] + bytes((options.local[3] ^ 3,))
    return options


def _read(options: Options, name: str, value: str) -> None:
    if name == "preset":  # read by the runner, before the script is parsed
        if value not in PRESETS:
            raise ValueError(f"there are {', '.join(PRESETS)}")
    elif name == "ip_version":
        if value not in ("ipv4", "ipv6", "ipv4-mapped-ipv6"):
            raise ValueError("write ipv4, ipv6 or ipv4-mapped-ipv6")
        options.is_ipv6 = value == "ipv6"
        options.is_mapped = value == "ipv4-mapped-ipv6"
    elif name in ("local_ip", "remote_ip", "gateway_ip", "wire_server_ip"):
        if ":" in value:
            options.is_ipv6 = True
            address = IPv6Address(value.split("/")[0]).packed
            if name == "local_ip":
                options.local6 = address
            elif name == "remote_ip":
                options.peer6 = address
        elif name == "local_ip":
            options.local = parse_ipv4(value)
        elif name == "remote_ip":
            options.peer = parse_ipv4(value.split("/")[0])
        elif name == "gateway_ip" and parse_ipv4(value) != options.local:
            options.gateway = parse_ipv4(value)
    elif name in ("bind_port", "connect_port"):
        port = int(value)
        if not 0 < port < 65_536:
            raise ValueError("a port is between 1 and 65535")
        setattr(options, name, port)
    elif name == "mss":
        options.segment = int(value)
        if not 0 <= options.segment <= 65_535:
            raise ValueError("not 0 to 65535")
    elif name == "mtu":
        options.mtu = int(value)
        if not 68 <= options.mtu <= 65_535:
            raise ValueError("an MTU is between 68 and 65535")
    elif name == "tolerance_usecs":
        options.tolerance_ns = min(max(int(value), 0), _MAX_TOLERANCE_US) * _US
    elif name == "tolerance_percent":
        options.tolerance_per_mille = round(float(value) * 10)
        if not 0 <= options.tolerance_per_mille <= 1_000:
            raise ValueError("a tolerance is between 0 and 100 percent")
    elif name == "non_fatal":
        options.non_fatal = {part.strip() for part in value.split(",")}
        if not options.non_fatal <= {"packet", "syscall"}:
            raise ValueError("write packet, syscall or both")
    elif name == "tcp_ts_tick_usecs":
        options.tick_ns = min(max(int(value), 0), _MAX_TOLERANCE_US) * _US
    elif name == "tcp_md5_secret":
        options.md5_secret = value.encode()
    elif name in ("init_scripts", "init_script"):
        options.commands += [part for part in value.split(",") if part]
    elif name in ("define", "D"):
        symbol, equals, _ = value.partition("=")
        if not equals or not _NAME.match(symbol):
            raise ValueError("write NAME=value")
    elif name not in _IGNORED:
        raise Refused(1, f"the option --{name}")
