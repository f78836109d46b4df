"""A checked configuration as frozen dataclasses: what the rest of the program is given.

A `MachineConfig` is one virtual machine, a `RunConfig` is how the host runs it. How they come out
of text is in values.py (one value) and settings.py (flags, ``--set`` and a machine file).
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from leulo.units import GIB, MIB, NS_PER_US

Mode = Literal["paravirt", "emulated", "native"]
Deliverer = Literal["native", "portable"]
ClockKind = Literal["real", "virtual"]
NetKind = Literal["user", "tap", "sim", "none"]
Protocol = Literal["tcp", "udp"]
SerialKind = Literal["stdio", "file", "tcp", "pty"]

DEFAULT_MEMORY_BYTES: Final = 16 * MIB
LEAST_MEMORY_BYTES: Final = 4 * MIB
MOST_MEMORY_BYTES: Final = 1 * GIB  # the guest kernel maps RAM below its user space at 1 GiB
DEFAULT_QUANTUM_NS: Final = 200 * NS_PER_US


@dataclass(frozen=True, slots=True)
class Publish:
    """A port of the host that leads to a port of the guest."""

    host_address: bytes
    host_port: int
    guest_port: int
    protocol: Protocol = "tcp"

    def __str__(self) -> str:
        suffix = "" if self.protocol == "tcp" else f"/{self.protocol}"
        return f"{format_address(self.host_address)}:{self.host_port}{suffix}"


DEFAULT_PUBLISH: Final = (Publish(bytes((127, 0, 0, 1)), 8080, 80),)


@dataclass(frozen=True, slots=True)
class NetSpec:
    """The link a machine hangs on. ``argument`` is a TAP's name or a wire's options."""

    kind: NetKind
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.argument}" if self.argument else self.kind


@dataclass(frozen=True, slots=True)
class SerialSpec:
    """The other end of the serial port; ``port`` is of 127.0.0.1, 0 for any that is free."""

    kind: SerialKind
    path: Path | None = None
    port: int = 0

    def __str__(self) -> str:
        if self.kind == "tcp":
            return f"tcp:{self.port}"
        return str(self.path) if self.path is not None else self.kind


@dataclass(frozen=True, slots=True)
class Quotas:
    """What one machine may take of the hypervisor; past each it gets an errno, never more.

    ``buffers_bytes`` bounds what all connections hold, and apart from that what all datagrams
    that wait to be received do (these at most 64 MiB).
    """

    sockets: int = 4_096  # handles at once: EMFILE
    connections: int = 65_536  # also those that the guest has closed: ENOBUFS, SYNs are dropped
    half_open: int = 65_536  # of all listeners: SYN cookies
    buffers_bytes: int = 128 * MIB  # ENOBUFS, and what peers send is dropped
    events: int = 4_096  # entries of the event ring, a power of two


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """One virtual machine. Addresses are 4 bytes; ``seed`` None takes the host's randomness."""

    name: str = "leulo"
    mode: Mode = "paravirt"
    image: Path | None = None  # None: the packaged one
    www: Path | None = None  # a folder in place of the guest's /www
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    append: str = ""
    seed: int | None = None
    net: NetSpec = NetSpec("user")
    address: bytes = bytes((10, 0, 2, 15))
    prefix_length: int = 24
    gateway: bytes | None = bytes((10, 0, 2, 2))
    dns: bytes = bytes((10, 0, 2, 3))
    is_dhcp: bool = False  # the address is asked for; those above are what the link expects
    has_ipv6: bool = True
    address6: bytes | None = None  # 16 bytes, beside the link-local address
    prefix_length6: int = 64
    gateway6: bytes | None = None
    mtu: int = 1500
    publish: tuple[Publish, ...] = DEFAULT_PUBLISH
    host_loopback: bool = False
    cpu: Deliverer = "native"
    tcp_preset: str = "linux"  # a name of `leulo.tcp.config.PRESETS`
    quotas: Quotas = Quotas()

    @property
    def mac(self) -> bytes:
        """The machine's Ethernet address, from its name."""
        return mac_of(self.name)


@dataclass(frozen=True, slots=True)
class RunConfig:
    """How a host runs: its clock, its budgets and what it writes down."""

    clock: ClockKind = "real"
    quantum_ns: int = DEFAULT_QUANTUM_NS
    pcap: Path | None = None
    trace: Path | None = None
    log: tuple[str, ...] = ()
    timeout_ns: int | None = None
    max_ticks: int | None = None
    ready_fd: int | None = None
    counters: Path | None = None
    serial: SerialSpec = SerialSpec("stdio")
    accounting: bool = False  # count exits and time; the others below turn it on as well
    json: bool = False

    @property
    def is_accounting(self) -> bool:
        """Whether anybody will look at counters that cost something to keep."""
        return self.accounting or self.json or self.counters is not None


def mac_of(name: str) -> bytes:
    """52:54:00 and three bytes of the name's SHA-256: the same name, the same address."""
    return b"\x52\x54\x00" + hashlib.sha256(name.encode()).digest()[:3]


def format_address(address: bytes) -> str:
    """``10.0.2.15`` from its 4 bytes, or an IPv6 address from its 16."""
    return str(ipaddress.ip_address(address))
