"""What ``leulo boot`` tells the person: the banner, the ready line, the end.

Everything goes to stderr, each line whole: if the guest has left its cursor within a line, ours
begins on the next.
"""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from typing import Final, TextIO

from leulo.config import MachineConfig, Publish, RunConfig, format_address
from leulo.errors import ConfigError
from leulo.net.dhcp import Lease
from leulo.units import MIB, NS_PER_S

HTTP_PORT: Final = 80
_SCREEN_COLUMNS: Final = 80
_HTTP_PORTS: Final = (HTTP_PORT, 8000, 8080)


def banner(machine: MachineConfig, run: RunConfig) -> list[str]:
    """Mode, addresses and published ports, a line each."""
    net = f"{format_address(machine.address)}/{machine.prefix_length} on {machine.net}"
    if machine.is_dhcp:
        net = f"asks for an address on {machine.net}"
    elif machine.gateway is not None:
        net += f", gateway {format_address(machine.gateway)}"
    lines = [
        f"leulo: {machine.mode}: TCP runs in the hypervisor; {machine.memory_bytes // MIB} MiB, "
        f"{run.clock} clock",
        f"leulo: guest {net}",
    ]
    lines += [
        f"leulo: {publish} leads to the guest's {_kind(publish)}port {publish.guest_port}"
        for publish in machine.publish
    ]
    return lines


NO_LEASE_YET: Final = "leulo: dhcp: no server has answered yet; the guest goes on asking"


def leased(lease: Lease | None) -> str:
    """What DHCP has given, or that it is over."""
    if lease is None:
        return "leulo: dhcp: the guest has no address any more"
    text = f"leulo: dhcp: guest {format_address(lease.address)}/{lease.prefix_length}"
    return text + (f", gateway {format_address(lease.gateway)}" if lease.gateway else "")


def _kind(publish: Publish) -> str:
    return "" if publish.protocol == "tcp" else f"{publish.protocol.upper()} "


class Ready:
    """Says once that the guest listens where it can be reached.

    With published TCP ports that is when it listens on the first of them; otherwise when it listens
    on port 80, which the packaged guest does, or on any port if ``--append`` made it another
    guest. A guest that asks for its address cannot be reached before it has one. ``fd``, if given,
    gets the same line and is then closed (unless it is a standard one).
    """

    def __init__(self, machine: MachineConfig, fd: int | None) -> None:
        """Raises ConfigError if ``fd`` is not open for writing."""
        if fd is not None:
            try:
                os.write(fd, b"")
            except OSError as error:
                raise ConfigError(
                    f"--ready-fd {fd}: cannot be written to: {error.strerror}"
                ) from None
        self._machine = machine
        self._fd = fd
        self._address = None if machine.is_dhcp else machine.address
        self._port: int | None = None  # the guest listens on it, and has no address
        self.said = False

    def on_addressed(self, lease: Lease | None) -> str | None:
        """The guest has got an address, or lost it: the ready line if it was waited for."""
        self._address = None if lease is None else lease.address
        return None if self._port is None else self.on_listening(bytes(4), self._port)

    def on_listening(self, address: bytes, port: int) -> str | None:
        """The ready line if this is the moment for it."""
        if self.said:
            return None
        published = [publish for publish in self._machine.publish if publish.protocol == "tcp"]
        if published:
            if port != published[0].guest_port:
                return None
        elif port != HTTP_PORT and not self._machine.append and self._machine.image is None:
            return None
        if self._address is None:
            self._port = port if self._port is None else self._port
            return None
        self.said = True
        line = f"ready: {self._where(self._address, port, published[0] if published else None)}"
        if self._fd is not None:
            try:
                os.write(self._fd, line.encode() + b"\n")
                if self._fd > 2:
                    os.close(self._fd)
            except OSError:
                self._fd = None  # whoever waited has gone; that is no reason to end the run
        return line

    def _where(self, address: bytes, port: int, publish: Publish | None) -> str:
        if publish is not None:
            host = format_address(publish.host_address)
            host_port = publish.host_port
        else:
            host, host_port = format_address(address), port
        if host == "0.0.0.0":
            host = "127.0.0.1"
        if port not in _HTTP_PORTS:
            return f"{host}:{host_port}"
        return f"http://{host}/" if host_port == 80 else f"http://{host}:{host_port}/"


def farewell(counters: Mapping[str, int], took_ns: int) -> str:
    """One line of counters for the end of a run; those that are zero or unknown are left out."""
    parts = [f"{took_ns // NS_PER_S}.{took_ns % NS_PER_S // 10**7:02d} s"]
    for name, words in _FAREWELL.items():
        value = counters.get(name, 0)
        if value:
            number = f"{value:,}".replace(",", " ")
            parts.append(f"{number} {words.format(s='' if value == 1 else 's')}")
    return "leulo: " + ", ".join(parts)


_FAREWELL: Final = {
    "cpu.ticks": "tick{s}",
    "hypercalls.calls": "hypercall{s}",
    "hypercalls.irq.raises": "event interrupt{s}",
    "tcp.tcp_accepted": "connection{s} accepted",
    "tcp.tcp_connects": "connection{s} made",
    "tcp.segments_in": "segment{s} in",
    "tcp.segments_out": "segment{s} out",
    "tcp.tcp_retransmits": "retransmission{s}",
    "switch.converted": "frame{s} made plain",
}


def json_report(
    ending: str,
    status: int,
    guest_status: int | None,
    explanation: str,
    took_ns: int,
    counters: Mapping[str, int],
) -> str:
    """The end of a run as one line of JSON; ``ending`` is a word for programs."""
    import json  # here and in events.py: not on the way to a guest's first byte

    return json.dumps(
        {
            "ending": ending.lower(),
            "exit_code": status,
            "guest_status": guest_status,
            "explanation": explanation,
            "took_ns": took_ns,
            "counters": dict(counters),
        }
    )


def counters_table(counters: Mapping[str, int], now_ns: int) -> str:
    """All counters that are not zero, a group a paragraph, no line longer than a screen's."""
    groups: dict[str, list[str]] = {}
    for name, value in counters.items():
        if value:
            group, _, rest = name.rpartition(".")
            groups.setdefault(group, []).append(f"{rest} {value}")
    lines = [f"--- counters at {now_ns / NS_PER_S:.3f} s"]
    for group, words in groups.items():
        line = f"{group}:"
        for word in words:
            if len(line) + len(word) + 2 > _SCREEN_COLUMNS:
                lines.append(line)
                line = "   "
            line += f" {word},"
        lines.append(line.rstrip(","))
    return "\n".join([*lines, "---", ""])


def reason(why: str, explanation: str) -> str:
    """Why the run ended, and what there is to say about it."""
    return f"leulo: {why}: {explanation}" if explanation else f"leulo: {why}"


def has_room(file: TextIO) -> bool:
    """Whether a line (of at most 4 KiB) can be written without waiting for whoever reads it."""
    waiter = select.poll()
    waiter.register(file.fileno(), select.POLLOUT)
    return bool(waiter.poll(0))


def say(file: TextIO, line: str, *, at_line_start: bool = True) -> None:
    """Write one of our lines, on a line of its own."""
    print(line if at_line_start else f"\n{line}", file=file, flush=True)
