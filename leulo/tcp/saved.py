"""The whole engine as plain data, and back. [see leulo.state]

Saved are the connections with the sockets that hold them, listeners with their queues, half-open
and TIME_WAIT records, the secret, counters, and frames that wait. Timers are armed again from the
deadlines. Loading goes into an engine of the same configuration.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from leulo.state import State as Saved
from leulo.state import load_fields, save_fields
from leulo.tcp import congestion, pacing
from leulo.tcp.deadlines import arm_next
from leulo.tcp.listen import HalfOpen, Listener
from leulo.tcp.settings import Settings
from leulo.tcp.socket import TcpSocket
from leulo.tcp.tcb import Tcb

if TYPE_CHECKING:
    from leulo.tcp.engine import Engine

_VERSION: Final = 2
_SOCKET_FIELDS: Final = (
    "serial", "family", "is_v6only", "bound_address", "bound_port", "error", "is_connecting",
    "is_read_shut",
    "is_write_shut", "is_ready",
)  # fmt: skip


def save_engine(engine: Engine) -> Saved:
    """Everything but configuration and trace."""
    tcbs: dict[int, Tcb] = {}
    for group in (
        engine.connections.values(),
        (s.tcb for s in engine.sockets.values() if s.tcb is not None),
        (t for lst in engine.listeners.values() for t in lst.accept_queue),
        engine.pending,
        engine.unresolved,
    ):
        for tcb in group:
            tcbs[tcb.serial] = tcb
    return {
        "version": _VERSION,
        "now_ns": engine.now_ns,
        "serial": engine.serial,
        "identification": engine.identification,
        "secret": engine.isn.secret,
        "port_steps": list(engine.ports.steps),
        "challenge": engine.challenge.save(),
        "cookies": engine.cookies.save(),
        "path_mtus": engine.path_mtus.save(),
        "counts": engine.totals(),
        "drops": dict(engine.drops),
        "tcbs": [tcb.save() for tcb in tcbs.values()],
        "fast_opens": [
            (tcb.serial, tcb.fast_open.listener.key)
            for tcb in tcbs.values()
            if tcb.fast_open is not None
            and tcb.fast_open.listener is not None
            and engine.listeners.get(tcb.fast_open.listener.key) is tcb.fast_open.listener
        ],
        "connections": [tcb.serial for tcb in engine.connections.values()],
        "pending": [tcb.serial for tcb in engine.pending],
        "unresolved": [tcb.serial for tcb in engine.unresolved],
        "held": [(at, t.serial) for at, t in engine.held if t.delack_at == at and t.serial in tcbs],
        "sockets": [_save_socket(socket) for socket in engine.sockets.values()],
        "ready": [socket.serial for socket in engine.ready],
        "half_open": [
            {"listener": half.listener.key, "record": half.save()}
            for half in engine.half_open.values()
        ],
        "time_wait": engine.time_wait.save(),
        "replies": [b"".join(frame) for frame in engine.replies],
        "loopback": [b"".join(frame) for frame in engine.loopback],
    }


def load_engine(engine: Engine, state: Saved) -> None:
    """Raises ValueError on another version; KeyError where something is lacking, of which the stack
    makes the same."""
    if state.get("version") != _VERSION:
        raise ValueError(f"Engine: saved state has version {state.get('version')}, not {_VERSION}")
    engine.set_time(state["now_ns"])
    engine.serial = state["serial"]
    engine.identification = state["identification"]
    engine.isn.use(state["secret"])
    engine.ports.clear()
    engine.ports.steps = list(state["port_steps"])
    engine.challenge.load(state["challenge"])
    engine.cookies.load(state["cookies"])
    engine.path_mtus.load(state["path_mtus"])
    engine.counts = counts = dict(state["counts"])
    engine.segments_in = counts.pop("segments_in")
    engine.segments_out = counts.pop("segments_out")
    engine.drops = dict(state["drops"])
    engine.timers.clear()
    engine.account.used = 0
    engine.lent = {}
    engine.orphans = 0
    tcbs: dict[int, Tcb] = {}
    for saved in state["tcbs"]:
        tcb = _load_tcb(engine, saved)
        tcbs[tcb.serial] = tcb
    engine.connections.clear()
    for serial in state["connections"]:
        tcb = tcbs[serial]
        engine.connections[tcb.key] = tcb
        engine.orphans += tcb.is_counted
        arm_next(tcb)
        if tcb.pacer is not None:
            pacing.arm(tcb.pacer)
    engine.pending = [tcbs[serial] for serial in state["pending"]]
    engine.unresolved = [tcbs[serial] for serial in state["unresolved"]]
    for tcb in engine.pending + engine.unresolved:
        tcb.is_pending = True
    engine.held = deque((at, tcbs[serial]) for at, serial in state["held"])
    engine.sockets = {}
    engine.listeners = {}
    for saved in state["sockets"]:
        socket = _load_socket(engine, saved, tcbs)
        engine.sockets[socket.serial] = socket
    for serial, key in state["fast_opens"]:
        fast = tcbs[serial].fast_open
        if fast is not None:
            fast.listener = engine.listeners[key]
            fast.listener.fast_opens += 1
    in_use = [s.settings for s in engine.sockets.values()] + [t.settings for t in tcbs.values()]
    engine.has_marks = any(settings.ttl or settings.tos for settings in in_use)
    engine.ready = [engine.sockets[s] for s in state["ready"] if s in engine.sockets]
    engine.half_open = {}
    engine.opening.clear()
    for saved in state["half_open"]:
        listener = engine.listeners[saved["listener"]]
        half = HalfOpen.loaded(saved["record"], listener)
        listener.half_open += 1
        engine.half_open[half.key] = half
        if half.due_at:
            engine.timers.arm(half, half.due_at)
    engine.time_wait.load(state["time_wait"])
    engine.ports.look()
    engine.replies = [(frame,) for frame in state["replies"]]
    engine.loopback = [(frame,) for frame in state["loopback"]]


def _save_socket(socket: TcpSocket) -> Saved:
    out = save_fields(socket, _VERSION, _SOCKET_FIELDS)
    out["settings"] = socket.settings.save()
    out["tcb"] = None if socket.tcb is None else socket.tcb.serial
    listener = socket.listener
    out["listener"] = None
    if listener is not None:
        out["listener"] = {
            "address": listener.address,
            "port": listener.port,
            "backlog": listener.backlog,
            "cookies_ns": listener.cookies_ns,
            "fast_open_resets": list(listener.fast_open_resets),
            "accept_queue": [tcb.serial for tcb in listener.accept_queue],
        }
    return out


def _load_socket(engine: Engine, state: Saved, tcbs: dict[int, Tcb]) -> TcpSocket:
    socket = TcpSocket(engine, 0, Settings.loaded(state["settings"]), state["family"])
    load_fields(socket, _VERSION, _SOCKET_FIELDS, state)
    if socket.bound_port:
        engine.ports.take_back(socket)
    if state["tcb"] is not None:
        tcb = tcbs[state["tcb"]]
        socket.tcb = tcb
        tcb.socket = socket
        tcb.settings = socket.settings
    saved = state["listener"]
    if saved is not None:
        listener = Listener(
            engine, saved["address"], saved["port"], saved["backlog"], socket.settings
        )
        listener.socket = socket
        listener.cookies_ns = saved["cookies_ns"]
        listener.fast_open_resets = list(saved["fast_open_resets"])
        listener.fast_opens = len(listener.fast_open_resets)
        listener.accept_queue = [tcbs[serial] for serial in saved["accept_queue"]]
        engine.listeners[listener.key] = listener
        socket.listener = listener
    return socket


def _load_tcb(engine: Engine, state: Saved) -> Tcb:
    tcb = Tcb(engine, 0, b"", bytes(12), 0, engine.settings, 0, 0)
    saved = state["congestion"]
    algorithm = congestion.make(saved["name"])
    if algorithm is None:
        raise ValueError(f"no congestion control is called {saved['name']!r}")
    algorithm.load(saved)
    tcb.load(state, algorithm)
    return tcb
