"""Commands that look at a stack at work: FreeBSD's, ``nstat``, ``ss`` and grep in /proc/net/tcp.

``nstat`` says how often something has happened since it was last asked, by Linux's names; here
are those whose meaning a counter of the engine has exactly. A pipeline of greps behind it is
followed, nothing is executed. [Linux nstat(8)]
"""

from __future__ import annotations

import shlex
from typing import Final

from leulo.pkt import bsd_tools
from leulo.pkt.grep import filtered
from leulo.pkt.lexer import Refused
from leulo.pkt.settings import REDIRECTION
from leulo.pkt.socket_table import entries
from leulo.pkt.ss_tool import listed
from leulo.stack import Stack
from leulo.tcp.state import State

_COUNTERS: Final = {
    "TcpExtOutOfWindowIcmps": ("drop_icmp_sequence",),
    "TcpRetransSegs": ("tcp_retransmits",),
    "TcpExtSyncookiesSent": ("syn_cookies_sent",),
    "TcpExtSyncookiesRecv": ("syn_cookies_taken",),
    "TcpExtBeyondWindow": ("drop_tcp_outside_window", "drop_tcp_beyond_window"),
    "TcpExtTCPMD5Failure": ("drop_tcp_md5_failure",),
    "TcpExtTCPMD5NotFound": ("drop_tcp_md5_not_found",),
    "TcpExtTCPMD5Unexpected": ("drop_tcp_md5_unexpected",),
    "TcpExtTCPLossProbes": ("tcp_tail_probes",),
    "TcpExtTCPRcvQDrop": ("drop_tcp_buffers_full",),
    "TcpExtTCPOFODrop": ("drop_tcp_reassembly_full",),
    "TcpExtTCPTimeouts": ("tcp_timeouts",),
    "TcpExtTCPZeroWindowDrop": ("drop_tcp_zero_window",),
}  # fmt: skip


# The states of /proc/net/tcp by Linux's numbers.
_STATES: Final = {
    State.ESTABLISHED: 1, State.SYN_SENT: 2, State.SYN_RCVD: 3, State.FIN_WAIT_1: 4,
    State.FIN_WAIT_2: 5, State.TIME_WAIT: 6, State.CLOSED: 7, State.CLOSE_WAIT: 8,
    State.LAST_ACK: 9, State.LISTEN: 10, State.CLOSING: 11,
}  # fmt: skip
_PROC: Final = "/proc/net/tcp"


def is_tool(text: str) -> bool:
    """Is this command one that looks at a stack at work?"""
    words = text.split(maxsplit=1)
    return words[:1] in (["nstat"], ["ss"]) or _PROC in text or bsd_tools.is_tool(text)


class Tools:
    """All such commands, and what the last ``nstat`` has seen."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}

    def run(self, text: str, stack: Stack | None, line: int) -> str | None:
        """Do what the command says. Returns what a failing pipeline has printed, None if it does
        not fail. Raises Refused."""
        if bsd_tools.is_tool(text):
            return bsd_tools.run(text, stack, line)
        try:
            parts = [shlex.split(REDIRECTION.sub("", part)) for part in text.split("|")]
        except ValueError as error:
            raise Refused(line, f"command `{text}`") from error
        if parts[0][0] == "grep":
            return _grep_proc(parts, stack, line)
        if parts[0][0] == "ss":
            return filtered(listed(parts[0], stack, line), parts[1:], line)
        flags = parts[0][1:]
        if parts[0][0] != "nstat":
            raise Refused(line, f"command `{text}`")
        if not set(flags) <= {"-n", "-s", "-z"}:
            raise Refused(line, f"command `{text}`")
        now = _counts(stack)
        if parts[1:]:
            self._ask(parts[1][-1], line)
        output = [
            f"{name:<32}{now[name] - self._before.get(name, 0):<16}0.0"
            for name in now
            if now[name] != self._before.get(name, 0) or "-z" in flags
        ]
        if "-s" not in flags:
            self._before = now
        return filtered(output, parts[1:], line)

    def _ask(self, name: str, line: int) -> None:
        if name not in _COUNTERS:
            raise Refused(line, f"the counter {name} of nstat")


def _counts(stack: Stack | None) -> dict[str, int]:
    values = {} if stack is None else stack.counters()
    return {
        name: sum(values.get(each, 0) for each in members) for name, members in _COUNTERS.items()
    }


def _grep_proc(parts: list[list[str]], stack: Stack | None, line: int) -> str | None:
    """``grep WORD /proc/net/tcp /proc/net/tcp6 | grep ...``."""
    first = [word for word in parts[0] if not word.startswith(_PROC)]
    files = [word for word in parts[0] if word.startswith(_PROC)]
    lines: list[str] = []
    for name in files:
        size = {_PROC: 4, _PROC + "6": 16}.get(name)
        if size is None:
            raise Refused(line, f"the file {name}")
        lines += [
            f"{number:4}: {_end(entry.local, entry.local_port)} "
            f"{_end(entry.peer.rjust(size, bytes(1)), entry.peer_port)} {_STATES[entry.state]:02X} "
            for number, entry in enumerate(entries(stack))
            if len(entry.local) == size
        ]
    return filtered(lines, [first, *parts[1:]], line)


def _end(address: bytes, port: int) -> str:
    """Address and port as there: words of the address in the machine's order."""
    words = (address[at : at + 4][::-1].hex().upper() for at in range(0, len(address), 4))
    return f"{''.join(words)}:{port:04X}"
