"""Linux's ``ss``: the sockets of a stack, by state, port and address. [Linux ss(8)]

Of its filters there are states, ``sport`` and ``dport`` with one port, ``src`` and ``dst`` with an
address and a prefix, all of them to hold at once.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Final

from leulo.pkt.lexer import Refused
from leulo.pkt.socket_table import Entry, entries
from leulo.stack import Stack
from leulo.tcp.addresses import MAPPED
from leulo.tcp.state import State

_NAMES: Final = {
    State.ESTABLISHED: "ESTAB", State.SYN_SENT: "SYN-SENT", State.SYN_RCVD: "SYN-RECV",
    State.FIN_WAIT_1: "FIN-WAIT-1", State.FIN_WAIT_2: "FIN-WAIT-2", State.TIME_WAIT: "TIME-WAIT",
    State.CLOSED: "UNCONN", State.CLOSE_WAIT: "CLOSE-WAIT", State.LAST_ACK: "LAST-ACK",
    State.LISTEN: "LISTEN", State.CLOSING: "CLOSING",
}  # fmt: skip
_STATES: Final = {
    **{name: {state} for state, name in _NAMES.items()},
    "ESTABLISHED": {State.ESTABLISHED}, "LISTENING": {State.LISTEN}, "CLOSED": {State.CLOSED},
    "ALL": set(State), "CONNECTED": set(State) - {State.LISTEN, State.CLOSED},
    "SYNCHRONIZED": set(State) - {State.LISTEN, State.CLOSED, State.SYN_SENT},
}  # fmt: skip
_QUIET: Final = {"--options", "--extended", "--info", "--numeric", "--tcp", "--memory"}
_LETTERS: Final = set("natloeimpH46")

Filter = Callable[[Entry], bool]


def listed(words: list[str], stack: Stack | None, line: int) -> list[str]:
    """The lines that ``ss`` with these ``words`` prints. Raises Refused."""
    states = _STATES["CONNECTED"]
    size = 0  # bytes of an address, 0: any
    filters: list[Filter] = []
    rest = iter(" ".join(words[1:]).replace("(", " ").replace(")", " ").split())
    for word in rest:
        if word.startswith("--") and word in _QUIET:
            continue
        if word.startswith("-") and set(word[1:]) <= _LETTERS:
            size = 4 if "4" in word else 16 if "6" in word else size
            states = _STATES["ALL"] if "a" in word else states
            states = _STATES["LISTEN"] if "l" in word else states
        elif word == "state":
            states = _STATES.get(next(rest, "").upper(), set())
            if not states:
                raise _refused(words, line)
        elif word in ("sport", "dport"):
            filters.append(_by_port(word, next(rest, ""), next(rest, ""), words, line))
        elif word in ("src", "dst"):
            filters.append(_by_address(word, next(rest, ""), words, line))
        elif word != "and":
            raise _refused(words, line)
    return [
        f"{_NAMES[entry.state]:<11}0      0      "
        f"{_end(entry.local, entry.local_port)} {_end(entry.peer, entry.peer_port)}"
        for entry in entries(stack)
        if entry.state in states
        and size in (0, len(entry.local))
        and all(passes(entry) for passes in filters)
    ]


def _by_port(name: str, operator: str, value: str, words: list[str], line: int) -> Filter:
    port = value.rpartition(":")[2]
    if operator not in ("=", "==", "eq") or not port.isdigit():
        raise _refused(words, line)
    number = int(port)
    if name == "sport":
        return lambda entry: entry.local_port == number
    return lambda entry: entry.peer_port == number


def _by_address(name: str, value: str, words: list[str], line: int) -> Filter:
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise _refused(words, line) from None
    if name == "src":
        return lambda entry: ip_address(entry.local) in network
    return lambda entry: ip_address(entry.peer) in network


def _end(address: bytes, port: int) -> str:
    if address[:12] == MAPPED and len(address) == 16:
        address = address[12:]
    text = str(ip_address(address))
    return f"[{text}]:{port or '*'}" if ":" in text else f"{text}:{port or '*'}"


def _refused(words: list[str], line: int) -> Refused:
    return Refused(line, f"command `{' '.join(words)}`")
