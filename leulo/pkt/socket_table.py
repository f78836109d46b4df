"""The sockets and connections of a stack in one list, as tools show them."""

from __future__ import annotations

from dataclasses import dataclass

from leulo.stack import Stack
from leulo.tcp.addresses import ends_of
from leulo.tcp.state import State


@dataclass(frozen=True, slots=True)
class Entry:
    """``is_held``: a process has it. The peer's port is 0 where there is none."""

    is_held: bool
    state: State
    local: bytes
    local_port: int
    peer: bytes
    peer_port: int


def entries(stack: Stack | None) -> list[Entry]:
    """Sockets, then what has none: connections, half-open ones, TIME_WAIT."""
    if stack is None:
        return []
    engine = stack.engine
    found: list[Entry] = []
    held = set()
    for socket in engine.sockets.values():
        if socket.tcb is None:
            address = socket.local[0] if socket.local is not None else bytes(4)
            found.append(Entry(True, socket.state, address, socket.bound_port, bytes(4), 0))
        else:
            held.add(socket.tcb.key)
            found.append(_connected(True, socket.tcb.key, socket.state))
    for key, tcb in engine.connections.items():
        if key not in held:
            found.append(_connected(tcb.is_accepting, key, tcb.state))
    found += [_connected(False, key, State.SYN_RCVD) for key in engine.half_open]
    found += [
        _connected(False, key, State.TIME_WAIT)
        for key, _ in engine.time_wait.held()
        if key not in held
    ]
    return found


def _connected(is_held: bool, key: bytes, state: State) -> Entry:
    return Entry(is_held, state, *ends_of(key))
