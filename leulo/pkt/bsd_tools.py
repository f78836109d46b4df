"""FreeBSD's tools that a script uses to look at connections and to end them.

``sockstat | grep ...`` asks which sockets there are: the list is made from the stack, and a
pipeline of greps is followed, nothing is executed. ``tcpdrop`` ends connections.
[FreeBSD sockstat(1)] [FreeBSD tcpdrop(8)]
"""

from __future__ import annotations

import shlex
from typing import Final

from leulo.pkt.grep import filtered
from leulo.pkt.lexer import Refused
from leulo.pkt.socket_table import entries
from leulo.stack import Stack
from leulo.tcp.errno import ECONNABORTED
from leulo.tcp.state import State

_NAMES: Final = {
    State.CLOSED: "CLOSED", State.LISTEN: "LISTEN", State.SYN_SENT: "SYN_SENT",
    State.SYN_RCVD: "SYN_RCVD", State.ESTABLISHED: "ESTABLISHED",
    State.CLOSE_WAIT: "CLOSE_WAIT", State.FIN_WAIT_1: "FIN_WAIT_1", State.CLOSING: "CLOSING",
    State.LAST_ACK: "LAST_ACK", State.FIN_WAIT_2: "FIN_WAIT_2", State.TIME_WAIT: "TIME_WAIT",
}  # fmt: skip


def is_tool(text: str) -> bool:
    """Is this command one of those here?"""
    return text.split(maxsplit=1)[:1] in (["sockstat"], ["tcpdrop"])


def run(text: str, stack: Stack | None, line: int) -> str | None:
    """Do what the command says; without a stack there is no socket. Returns what a failing
    pipeline has printed, None if it does not fail. Raises Refused."""
    try:
        parts = [shlex.split(part) for part in text.split("|")]
    except ValueError as error:
        raise Refused(line, f"command `{text}`") from error
    if parts[0][0] == "tcpdrop":
        _drop(parts, stack, line)
        return None
    return filtered(_sockets(parts[0], stack, line), parts[1:], line)


def _sockets(words: list[str], stack: Stack | None, line: int) -> list[str]:
    """One line a socket, as ``sockstat -s`` has it."""
    port = ""
    rest = iter(words[1:])
    for word in rest:
        if word == "-p":
            port = next(rest, "")
        elif word == "-P":
            if next(rest, "") != "tcp":
                raise Refused(line, f"command `{' '.join(words)}`")
        elif word not in ("-4", "-6", "-s", "-c", "-l", "-n", "-46s", "-4s", "-6s"):
            raise Refused(line, f"command `{' '.join(words)}`")
    return [
        f"{'packetdrill' if entry.is_held else '?'} tcp {entry.local_port}:{entry.peer_port} "
        f"{_NAMES[entry.state]}"
        for entry in entries(stack)
        if not port or port in (str(entry.local_port), str(entry.peer_port))
    ]


def _drop(parts: list[list[str]], stack: Stack | None, line: int) -> None:
    words = parts[0]
    state = words[2] if len(words) == 3 and words[1] == "-s" else ""
    if len(parts) > 1 or (state not in _NAMES.values() and words[1:] != ["-a"]):
        raise Refused(line, f"command `{' '.join(words)}`")
    if stack is None:
        return
    engine = stack.engine
    for tcb in list(engine.connections.values()):
        if state in ("", _NAMES[tcb.state]):
            engine.abort(tcb, ECONNABORTED)
    if state in ("", "TIME_WAIT"):
        for record in engine.time_wait.values():
            engine.time_wait.remove(record)
