"""Active opens: from a socket's call to a connection whose SYN is due. [RFC 9293 3.10.1]

It chooses the local address and port, takes the place of a connection in TIME_WAIT where that is
safe, and decides whether the connection opens fast. Whether a socket may connect at all is decided
before, in `socket`. And the way back to a socket that has opened nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leulo.tcp import fast_open_client, handshake, md5
from leulo.tcp.addresses import NO_ADDRESSES, turned, words_of
from leulo.tcp.errno import EADDRNOTAVAIL, ECONNRESET, EINPROGRESS, EINVAL, ENETUNREACH, ENOBUFS
from leulo.tcp.fast_open import CLIENT
from leulo.tcp.seq import MASK, lt
from leulo.tcp.state import CLOSED, CLOSING, LAST_ACK, ON_ACTIVE_OPEN, TIME_WAIT
from leulo.tcp.tcb import LOOPBACK_MARK, Tcb

if TYPE_CHECKING:
    from leulo.tcp.socket import TcpSocket


def open_connection(socket: TcpSocket, address: bytes, port: int, has_data: bool) -> int:
    """Give ``socket`` a connection to be opened; ``has_data``: its first write follows at once.
    -EINPROGRESS; 0 if the SYN waits for the first write; -EINVAL, -EADDRNOTAVAIL, -ENETUNREACH,
    -ENOBUFS."""
    engine = socket.engine
    network = engine.network
    if not 0 <= port <= 0xFFFF:
        return -EINVAL
    if not port:
        return -EADDRNOTAVAIL
    if len(engine.connections) >= engine.config.connections_max:
        return -ENOBUFS
    if address in NO_ADDRESSES:
        address = network.source_for(address) or address
    local = socket.bound_address
    if local in NO_ADDRESSES:
        source = network.source_for(address)
        if source is None:
            return -ENETUNREACH
        local = source
    elif not network.may_bind(local):
        return -EADDRNOTAVAIL  # it was ours once [RFC 4862 5.5.4]
    if len(local) != len(address):
        return -ENETUNREACH
    is_loopback = network.is_local(address)
    mark = LOOPBACK_MARK if is_loopback else b""
    settings = socket.settings
    where = address + local + port.to_bytes(2, "big")
    if socket.bound_port:
        key = where + socket.bound_port.to_bytes(2, "big") + mark
        if key in engine.connections or key in engine.half_open:
            return -EADDRNOTAVAIL  # whether one in TIME_WAIT may be shared, binding has decided
    else:
        key = engine.ports.choose_to_connect(settings, where, mark)
        if not key:
            return -EADDRNOTAVAIL
    # Of the four-tuple alone, which is the same inside the stack.
    iss, ts_offset = engine.isn.make(key[:-1] if is_loopback else key, engine.now_ns)
    record = engine.time_wait.get(key)
    ts_recent = 0
    if record is not None:
        if not record.has_timestamps:
            # What is left of the old connection could be taken for the new one's. [RFC 6191 2]
            return -EADDRNOTAVAIL
        if not socket.bound_port:
            ts_recent = record.ts_recent
        if not lt(record.snd_nxt, iss):
            iss = (record.snd_nxt + 0x10000) & MASK
        engine.time_wait.remove(record)
    ends = turned(key)
    words = words_of(ends) % 0xFFFF
    tcb = Tcb(engine, engine.new_serial(), key, ends, words, settings, iss, iss)
    tcb.is_loopback = is_loopback
    tcb.ts_offset = ts_offset
    tcb.ts_recent = ts_recent
    terms = tcb.terms = handshake.terms_of(engine.terms, engine, settings, ends)
    handshake.apply_settings(tcb, terms, terms.limit)
    tcb.change_state(ON_ACTIVE_OPEN)
    tcb.is_syn_due = True
    tcb.socket = socket
    socket.tcb = tcb
    socket.is_connecting = True
    socket.is_read_shut = socket.is_write_shut = False
    engine.connections[key] = tcb
    engine.counts["tcp_connects"] += 1
    if (
        (has_data or settings.is_fast_open_connect)
        and engine.config.fast_open & CLIENT
        and not (settings.md5_keys and md5.secret_of(tcb))  # whose SYN has no room for a cookie
    ):
        fast_open_client.prepare(tcb)
        if fast_open_client.is_waiting(tcb):
            return 0
    engine.want_output(tcb)
    return -EINPROGRESS


def give_up(tcb: Tcb) -> bool:
    """End the connection at once: with a reset to the peer, but where all has been said on both
    sides, which is told by True. [RFC 9293 3.10.5]"""
    engine = tcb.engine
    state = tcb.state
    is_over = (state is CLOSING or state is LAST_ACK) and tcb.snd_nxt > tcb.snd_end
    if is_over and not engine.config.resets_when_over:
        engine.fail(tcb, 0)
        return True
    engine.abort(tcb)
    return False


def disconnect(socket: TcpSocket) -> int:
    """Take connection or listener from ``socket``, which may open another then: connect() to
    AF_UNSPEC. A connection that is not over ends with a reset. Returns 0. [Linux connect(2)]"""
    engine = socket.engine
    socket.stop_listening()
    tcb = socket.tcb
    if tcb is not None:
        socket.tcb = tcb.socket = None
        tcb.is_orphan = tcb.is_deaf = True
        state = tcb.state
        if state is CLOSED or state is TIME_WAIT:
            tcb.drop_received()
        elif not give_up(tcb):
            socket.error = ECONNRESET
    socket.is_connecting = socket.is_read_shut = socket.is_write_shut = False
    engine.notify(socket)
    return 0
