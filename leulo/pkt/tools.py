"""Commands that look at a stack at work: FreeBSD's, and ``nstat``.

``nstat`` says how often something has happened since it was last asked, by Linux's names; here
are those whose meaning a counter of the engine has exactly. A pipeline of greps behind it is
followed, nothing is executed. [Linux nstat(8)]
"""

from __future__ import annotations

import shlex
from typing import Final

from leulo.pkt import bsd_tools
from leulo.pkt.lexer import Refused
from leulo.pkt.settings import REDIRECTION
from leulo.stack import Stack

_COUNTERS: Final = {
    "TcpExtOutOfWindowIcmps": ("drop_icmp_sequence",),
    "TcpRetransSegs": ("tcp_retransmits",),
    "TcpExtSyncookiesSent": ("syn_cookies_sent",),
    "TcpExtSyncookiesRecv": ("syn_cookies_taken",),
    "TcpExtBeyondWindow": ("drop_tcp_outside_window", "drop_tcp_beyond_window"),
    "TcpExtTCPLossProbes": ("tcp_tail_probes",),
    "TcpExtTCPRcvQDrop": ("drop_tcp_buffers_full",),
    "TcpExtTCPTimeouts": ("tcp_timeouts",),
    "TcpExtTCPZeroWindowDrop": ("drop_tcp_zero_window",),
}  # fmt: skip


def is_tool(text: str) -> bool:
    """Is this command one that looks at a stack at work?"""
    return text.split(maxsplit=1)[:1] == ["nstat"] or bsd_tools.is_tool(text)


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
        flags = parts[0][1:]
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
        for words in parts[1:]:
            if words[0] != "grep" or len(words) != 2 + ("-q" in words[1:-1]):
                raise Refused(line, f"command `{' '.join(words)}`")
            found = [entry for entry in output if words[-1] in entry]
            if not found:
                return "; ".join(output) or "nothing"
            output = found
        return None

    def _ask(self, name: str, line: int) -> None:
        if name not in _COUNTERS:
            raise Refused(line, f"the counter {name} of nstat")


def _counts(stack: Stack | None) -> dict[str, int]:
    values = {} if stack is None else stack.counters()
    return {
        name: sum(values.get(each, 0) for each in members) for name, members in _COUNTERS.items()
    }
