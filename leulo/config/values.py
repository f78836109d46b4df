"""One value each: text that a person wrote to a checked value.

Every parser raises `ConfigError` whose message begins with the key (``--publish``) and the value
it got and says what would be right; what comes out needs no further check. Nothing here opens a
file or touches the network.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, get_args

from leulo.config.model import (
    DEFAULT_PUBLISH,
    LEAST_MEMORY_BYTES,
    MOST_MEMORY_BYTES,
    ClockKind,
    Deliverer,
    MachineConfig,
    Mode,
    NetKind,
    NetSpec,
    Protocol,
    Publish,
    RunConfig,
    SerialSpec,
)
from leulo.errors import ConfigError
from leulo.tcp.config import PRESETS
from leulo.units import GIB, KIB, parse_duration, parse_size

MOST_APPEND_BYTES: Final = 1024
IFNAME_BYTES: Final = 15  # IFNAMSIZ less the final zero [Linux netdevice(7)]
PAGE_BYTES: Final = 4096
LEAST_BUFFERS_BYTES: Final = 64 * KIB
MOST_BUFFERS_BYTES: Final = 64 * GIB

# net kind -> (address with prefix, gateway)
_SCRIPT: Final = re.compile(r"(?<=[:,])(\s*script=)([^,]+)")
_NETWORKS: Final[dict[NetKind, tuple[str, str]]] = {
    "user": ("10.0.2.15/24", "10.0.2.2"),
    "tap": ("10.77.0.2/24", "10.77.0.1"),
    "sim": ("10.0.2.15/24", "10.0.2.2"),
    "none": ("10.0.2.15/24", "10.0.2.2"),
}


def parse_mode(text: str) -> Mode:
    """The mode named ``text``. Raises ConfigError."""
    for mode in get_args(Mode):
        if text == mode:
            return mode  # type: ignore[no-any-return]
    raise ConfigError(f"--mode {text}: is not a mode: write paravirt")


def parse_tcp_preset(text: str) -> str:
    """The name of the preset of TCP's configuration. Raises ConfigError."""
    if text not in PRESETS:
        raise ConfigError(f"--tcp-preset {text}: is no preset: write {', '.join(PRESETS)}")
    return text


def parse_cpu(text: str) -> Deliverer:
    """The way in which exceptions reach the guest, named ``text``. Raises ConfigError."""
    for deliverer in get_args(Deliverer):
        if text == deliverer:
            return deliverer  # type: ignore[no-any-return]
    raise ConfigError(f"--cpu {text}: is no way to deliver exceptions: write native or portable")


def require_mode(mode: Mode) -> None:
    """Refuse the modes that this version has no machine for. Raises ConfigError."""
    if mode != "paravirt":
        raise ConfigError(f"--mode {mode}: this version runs paravirt only: leave --mode out")


def parse_clock(text: str) -> ClockKind:
    """The clock named ``text``. Raises ConfigError."""
    for kind in get_args(ClockKind):
        if text == kind:
            return kind  # type: ignore[no-any-return]
    raise ConfigError(f"--clock {text}: is not a clock: write real or virtual")


def parse_net(text: str) -> NetSpec:
    """``user``, ``none``, ``tap:NAME`` or ``sim:OPTIONS``. Raises ConfigError.

    The options of a simulated wire are read by the wire itself.
    """
    kind, _, argument = text.partition(":")
    match kind:
        case "user" | "none":
            if argument:
                raise ConfigError(f"--net {text}: {kind} takes no argument: write --net {kind}")
            return NetSpec(kind)
        case "tap":
            _check_interface(text, argument)
            return NetSpec("tap", argument)
        case "sim":
            return NetSpec("sim", argument)
    raise ConfigError(f"--net {text}: is not a network: write user, tap:NAME, sim:OPTIONS or none")


def parse_publish(text: str) -> Publish:
    """``[ADDR:]HOST:GUEST[/tcp|/udp]``, TCP on 127.0.0.1 unless told otherwise.

    Raises ConfigError.
    """
    key = f"--publish {text}"
    ports, slash, protocol = text.partition("/")
    if slash and protocol not in get_args(Protocol):
        raise ConfigError(f"{key}: {protocol!r} is not a protocol: write /tcp or /udp")
    parts = ports.split(":")
    if len(parts) not in (2, 3):
        raise ConfigError(f"{key}: write [ADDRESS:]HOST_PORT:GUEST_PORT[/udp], as in 8080:80")
    address = _parse_ipv4(key, parts[0]) if len(parts) == 3 else bytes((127, 0, 0, 1))
    return Publish(
        address,
        _parse_port(key, parts[-2]),
        _parse_port(key, parts[-1]),
        "udp" if protocol == "udp" else "tcp",
    )


def parse_publishes(texts: Sequence[str], net: NetSpec) -> tuple[Publish, ...]:
    """All ``--publish`` of a machine, each one port or several with commas between them; none
    given means the default, ``none`` means nothing.

    Raises ConfigError where two want one host port, or where the network publishes nothing.
    """
    if list(texts) == ["none"]:
        return ()
    if net.kind != "user":
        if texts:
            raise ConfigError(
                f"--publish {texts[0]}: needs --net user; on --net {net} the guest has its own "
                "address: connect to that"
            )
        return ()
    if not texts:
        return DEFAULT_PUBLISH
    found: list[Publish] = []
    for text in (part for several in texts for part in several.split(",")):
        publish = parse_publish(text)
        for other in found:
            if (other.host_address, other.host_port, other.protocol) == (
                publish.host_address,
                publish.host_port,
                publish.protocol,
            ):
                raise ConfigError(
                    f"--publish {text}: {other} is already published to the guest's port "
                    f"{other.guest_port}: choose another host port"
                )
        found.append(publish)
    return tuple(found)


def parse_addresses(
    net: NetSpec, ip: str | None = None, gateway: str | None = None, dns: str | None = None
) -> tuple[bytes, int, bytes | None, bytes]:
    """(address, prefix length, gateway, DNS server) of a machine on ``net``.

    ``ip`` is ``ADDRESS/LENGTH`` (24 without a length), or ``dhcp``, which plans as if it were
    left out. Left out, the gateway and the DNS server
    are those of the network's own plan if ``ip`` is, else the first other address of the subnet;
    the gateway ``none`` is no gateway. Raises ConfigError.
    """
    default_ip, default_gateway = _NETWORKS[net.kind]
    if ip == "dhcp":
        ip = None
    interface = _parse_interface(f"--ip {ip}", ip if ip is not None else default_ip)
    network = interface.network
    chosen: ipaddress.IPv4Address | None
    if gateway == "none":
        chosen = None
    elif gateway is not None:
        key = f"--gateway {gateway}"
        chosen = ipaddress.IPv4Address(_parse_ipv4(key, gateway))
        if chosen not in network:
            raise ConfigError(f"{key}: is outside the guest's network {network}: write one inside")
        if chosen == interface.ip:
            raise ConfigError(f"{key}: is the guest's own address: write another of {network}")
    elif ipaddress.IPv4Address(default_gateway) in network and interface.ip != (
        ipaddress.IPv4Address(default_gateway)
    ):
        chosen = ipaddress.IPv4Address(default_gateway)
    else:
        chosen = _other_address(interface)
    if dns is not None:
        server = _parse_ipv4(f"--dns {dns}", dns)
    elif net.kind == "user" and chosen is not None and chosen + 1 in network:
        server = (chosen + 1).packed
    else:
        server = chosen.packed if chosen is not None else interface.ip.packed
    return (
        interface.ip.packed,
        network.prefixlen,
        chosen.packed if chosen is not None else None,
        server,
    )


def parse_addresses6(
    ip: str | None = None, gateway: str | None = None
) -> tuple[bool, bytes | None, int, bytes | None]:
    """(whether there is IPv6, address, prefix length, gateway) of a machine.

    ``ip`` is ``ADDRESS/LENGTH`` (64 without a length), ``auto`` for the link-local address and
    what a router advertises, which is the default, or ``none``. Raises ConfigError.
    """
    if ip == "none":
        if gateway not in (None, "none"):
            raise ConfigError(f"--gateway6 {gateway}: there is no IPv6 with --ip6 none")
        return False, None, 64, None
    address: ipaddress.IPv6Address | None = None
    length = 64
    if ip is not None and ip != "auto":
        key = f"--ip6 {ip}"
        text, slash, bits = ip.partition("/")
        address = _parse_ipv6(key, text)
        if slash:
            if not (bits.isascii() and bits.isdigit() and len(bits) <= 3 and 1 <= int(bits) <= 127):
                raise ConfigError(f"{key}: {bits!r} is not a prefix length: write /1 to /127")
            length = int(bits)
        if address.is_multicast or address.is_loopback or address.is_unspecified:
            raise ConfigError(f"{key}: is no address a machine can have: write one as fd00::2/64")
        if address.is_link_local or address.ipv4_mapped is not None:
            raise ConfigError(
                f"{key}: a link-local address comes by itself: write another, as fd00::2/64"
            )
    if gateway is None or gateway == "none":
        return True, None if address is None else address.packed, length, None
    router = _parse_ipv6(f"--gateway6 {gateway}", gateway)
    if router.is_multicast or router.is_unspecified or router.is_loopback or router == address:
        raise ConfigError(f"--gateway6 {gateway}: is no router's address: write one as fd00::1")
    if not router.is_link_local and (
        address is None or router not in ipaddress.IPv6Network((address, length), strict=False)
    ):
        raise ConfigError(
            f"--gateway6 {gateway}: is outside the guest's network: write --ip6 beside it, or the "
            "router's link-local address"
        )
    return True, None if address is None else address.packed, length, router.packed


def parse_memory(text: str) -> int:
    """Bytes of RAM in ``16M``: whole pages, 4 MiB to 1 GiB. Raises ConfigError."""
    key = f"--mem {text}"
    try:
        size = parse_size(text)
    except ValueError:
        raise ConfigError(f"{key}: is not a size: write a number with K, M or G") from None
    if not LEAST_MEMORY_BYTES <= size <= MOST_MEMORY_BYTES:
        raise ConfigError(f"{key}: is out of range: write 4M to 1G")
    if size % PAGE_BYTES:
        raise ConfigError(f"{key}: is not a whole number of {PAGE_BYTES}-byte pages")
    return size


def parse_buffers(text: str) -> int:
    """Bytes of buffers in ``128M``: 64 KiB to 64 GiB. Raises ConfigError."""
    key = f"--max-buffers {text}"
    try:
        size = parse_size(text)
    except ValueError:
        raise ConfigError(f"{key}: is not a size: write a number with K, M or G") from None
    if not LEAST_BUFFERS_BYTES <= size <= MOST_BUFFERS_BYTES:
        raise ConfigError(f"{key}: is out of range: write 64K to 64G")
    return size


def parse_events(number: int) -> int:
    """Entries of an event ring: a power of two. Raises ConfigError."""
    if number & (number - 1):
        below = 1 << number.bit_length() - 1
        raise ConfigError(
            f"--max-events {number}: is not a power of two: write {below} or {2 * below}"
        )
    return number


def parse_append(text: str) -> str:
    """Words for the kernel's command line: printable ASCII, at most 1 KiB. Raises ConfigError."""
    if not (text.isascii() and (text.isprintable() or not text)):
        raise ConfigError("--append: holds a character that is not printable ASCII: remove it")
    if len(text) > MOST_APPEND_BYTES:
        raise ConfigError(
            f"--append: is {len(text)} bytes long: the command line holds {MOST_APPEND_BYTES}"
        )
    return text


def parse_time(key: str, text: str) -> int:
    """Nanoseconds, more than none, of the flag ``key``. Raises ConfigError."""
    try:
        value = parse_duration(text)
    except ValueError:
        raise ConfigError(
            f"{key} {text}: is not a time: write a number with ns, us, ms, s or m"
        ) from None
    if value <= 0:
        raise ConfigError(f"{key} {text}: must be more than nothing")
    return value


def parse_serial(text: str) -> SerialSpec:
    """``stdio``, ``pty``, ``tcp:PORT`` or the name of a file. Raises ConfigError."""
    match text.partition(":"):
        case ("stdio" | "pty" as kind, "", ""):
            return SerialSpec("stdio" if kind == "stdio" else "pty")
        case ("tcp", ":", port):
            if port == "0":  # whichever is free; the run says which
                return SerialSpec("tcp")
            return SerialSpec("tcp", port=_parse_port(f"--serial {text}", port))
        case ("", _, _):
            raise ConfigError(f"--serial {text!r}: write stdio, pty, tcp:PORT or a file's name")
    if "\0" in text or text == "tcp":
        raise ConfigError(f"--serial {text!r}: write stdio, pty, tcp:PORT or a file's name")
    return SerialSpec("file", path=Path(text))


def parse_name(text: str) -> str:
    """A machine's name: letters, digits, ``-`` and ``_``, at most 32. Raises ConfigError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", text):
        raise ConfigError(f"--name {text!r}: write 1 to 32 letters, digits, hyphens or underscores")
    return text


def check_together(machine: MachineConfig, run: RunConfig) -> None:
    """What is right alone and wrong together. Raises ConfigError."""
    require_mode(machine.mode)
    if run.clock == "virtual" and machine.net.kind in ("user", "tap"):
        raise ConfigError(
            f"--clock virtual: cannot be kept with --net {machine.net}, whose packets come in "
            "real time: write --net sim:OPTIONS or --net none"
        )
    if run.clock == "virtual" and run.serial.kind in ("tcp", "pty"):
        raise ConfigError(
            f"--serial {run.serial}: cannot be kept with the virtual clock, since what is typed "
            "comes in real time: write --serial stdio or a file's name"
        )
    if machine.host_loopback and machine.net.kind != "user":
        raise ConfigError(
            f"--host-loopback: needs --net user, whose gateway leads there; --net {machine.net} "
            "has none: leave it out"
        )
    written: dict[Path, str] = {}
    for key, path in (("pcap", run.pcap), ("trace", run.trace), ("counters", run.counters),
                      ("serial", run.serial.path)):  # fmt: skip
        if path is not None:
            other = written.setdefault(path, key)
            if other != key:
                raise ConfigError(f"--{key} {path}: is the file of --{other} too: choose another")


def _check_interface(text: str, name: str) -> None:
    if not name:
        raise ConfigError(f"--net {text}: the TAP has no name: write --net tap:leulo0")
    if len(name) > IFNAME_BYTES or not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ConfigError(
            f"--net {text}: {name!r} is no interface name: write at most {IFNAME_BYTES} "
            "letters, digits, dots, hyphens or underscores"
        )
    if name in (".", ".."):
        raise ConfigError(f"--net {text}: {name!r} is no interface name: write tap:leulo0")


def _parse_port(key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535 and len(text) <= 5):
        raise ConfigError(f"{key}: {text!r} is not a port: write a number from 1 to 65535")
    return int(text)


def _parse_ipv4(key: str, text: str) -> bytes:
    try:
        return ipaddress.IPv4Address(text).packed
    except ValueError:
        raise ConfigError(f"{key}: {text!r} is not an IPv4 address, as 10.0.2.15 is") from None


def _parse_ipv6(key: str, text: str) -> ipaddress.IPv6Address:
    address: ipaddress.IPv6Address | None
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        address = None
    if address is None or address.scope_id is not None:
        raise ConfigError(f"{key}: {text!r} is not an IPv6 address, as fd00::2 is")
    return address


def _parse_interface(key: str, text: str) -> ipaddress.IPv4Interface:
    address, slash, length = text.partition("/")
    packed = _parse_ipv4(key, address)
    if not slash:
        length = "24"
    if not (length.isascii() and length.isdigit() and len(length) <= 2 and 8 <= int(length) <= 30):
        raise ConfigError(f"{key}: {length!r} is not a prefix length: write /8 to /30, as in /24")
    interface = ipaddress.IPv4Interface((packed, int(length)))
    ip, network = interface.ip, interface.network
    if ip in (network.network_address, network.broadcast_address):
        raise ConfigError(f"{key}: is the address of the network itself or its broadcast address")
    if ip.is_multicast or ip.is_loopback or ip.is_unspecified or ip.packed[0] in (0, 255):
        raise ConfigError(f"{key}: is no address a machine can have: write one as 10.0.2.15/24")
    return interface


def _other_address(interface: ipaddress.IPv4Interface) -> ipaddress.IPv4Address:
    first = interface.network.network_address + 1
    return first if first != interface.ip else first + 1


def with_script(net: str, place: Callable[[str], Path]) -> str:
    """A link's specification with its script, if it has one, where ``place`` says. A name with a
    comma cannot stand there, and stays as it is."""

    def placed(found: re.Match[str]) -> str:
        name = str(place(found[2].strip()))
        return found[0] if "," in name else f"{found[1]}{name}"

    return _SCRIPT.sub(placed, net) if net.startswith("sim:") else net
