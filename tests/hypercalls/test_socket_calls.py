"""Sockets, data and options as the guest sees them, over a socket that does what it is told."""

from __future__ import annotations

import pytest
from hypercall_guest import (
    ADDRESS,
    DATA,
    EAGAIN,
    GATEWAY,
    HUP,
    IN,
    OUT,
    TABLE,
    FakeSocket,
    Guest,
    endpoint,
)

from leulo.hypercalls import Limits, abi

Op, Status, Flag, Errno = abi.Op, abi.Status, abi.Flag, abi.Errno


def iovec(guest: Guest, *pieces: tuple[int, int]) -> tuple[int, int]:
    for number, piece in enumerate(pieces):
        guest.memory.write(TABLE + 16 * number, abi.IOVEC_STRUCT.pack(*piece))
    return TABLE, len(pieces)


def test_bind_to_port_0_tells_the_port_it_chose() -> None:
    """libkrun 818: the two sides must not choose different ports."""
    guest = Guest()
    handle = guest.socket()
    answer = guest.call(Op.BIND, handle, local=endpoint(bytes(4), 0))
    assert answer.local == (2, 49152, bytes(4))
    assert guest.call(Op.GETSOCKNAME, handle).local == (2, 49152, bytes(4))


@pytest.mark.parametrize(
    ("end", "status", "result"),
    [
        (endpoint(bytes(16), 80, family=10), 0, -Errno.EAFNOSUPPORT),
        (endpoint(b"", 80, family=0), 0, -Errno.EAFNOSUPPORT),
        (endpoint(ADDRESS + b"\1", 80), Status.RESERVED, 0),
        (endpoint(ADDRESS, 80, scope=1), Status.RESERVED, 0),
    ],
)
def test_endpoint_of_another_family_or_with_rubbish_is_refused(
    end: bytes, status: int, result: int
) -> None:
    guest = Guest()
    handle = guest.socket()
    for op, where in ((Op.BIND, "local"), (Op.CONNECT, "peer")):
        answer = guest.call(op, handle, **{where: end})
        assert (answer.status, answer.result) == (status, result)


def test_listen_tells_the_host() -> None:
    guest = Guest()
    heard: list[tuple[bytes, int]] = []
    guest.hypercalls.listening = lambda address, port: heard.append((address, port))
    guest.listen(80)
    assert heard == [(bytes(4), 80)]


def test_accept_subscribes_and_names_both_ends() -> None:
    guest = Guest()
    listener = guest.listen(80)
    listening = guest.stack.made[0]
    connection = FakeSocket(guest.stack)
    connection.local, connection.peer = (ADDRESS, 80), (GATEWAY, 1234)
    connection.events = OUT
    listening.queue.append(connection)
    listening.events = IN
    answer = guest.call(Op.ACCEPT, listener, events=IN, cookie=77)
    assert answer.result == 0 and answer.handle not in (0, listener)
    assert (answer.local, answer.peer) == ((2, 80, ADDRESS), (2, 1234, GATEWAY))
    assert answer.events == OUT
    assert answer.args[0] == 0  # the listener has no more
    connection.turn(IN | OUT)
    guest.hypercalls.deliver()
    assert guest.drain() == [(77, answer.handle, IN | OUT)]


def test_accept_on_an_empty_queue_does_not_wait() -> None:
    """libkrunfw 137: accept on a non-blocking listener blocked."""
    guest = Guest()
    listener = guest.listen(80)
    answer = guest.call(Op.ACCEPT, listener, events=IN)
    assert (answer.result, answer.handle, answer.events) == (-EAGAIN, listener, 0)


def test_accept_past_the_quota_leaves_the_connection_queued() -> None:
    guest = Guest(limits=Limits(max_sockets=1))
    listener = guest.listen(80)
    guest.stack.made[0].queue.append(FakeSocket(guest.stack))
    assert guest.call(Op.ACCEPT, listener).result == -Errno.EMFILE
    assert guest.stack.made[0].queue


def test_accept_with_two_modes_takes_no_connection() -> None:
    guest = Guest()
    listener = guest.listen(80)
    guest.stack.made[0].queue.append(FakeSocket(guest.stack))
    answer = guest.call(Op.ACCEPT, listener, events=IN, flags=Flag.EDGE | Flag.LEVEL)
    assert answer.status == Status.BAD_ARGUMENT
    assert guest.stack.made[0].queue


def test_connect_answers_at_once_with_both_names() -> None:
    """PVCalls: one slow connect stalls every call."""
    guest = Guest()
    handle = guest.socket()
    answer = guest.call(Op.CONNECT, handle, peer=endpoint(GATEWAY, 9))
    assert answer.result == -Errno.EINPROGRESS
    assert (answer.local, answer.peer) == ((2, 50000, ADDRESS), (2, 9, GATEWAY))


def test_send_is_cut_to_the_room_and_the_cap() -> None:
    guest = Guest(limits=Limits(max_transfer=50))
    handle = guest.socket()
    socket = guest.stack.made[0]
    assert guest.send(handle, b"a" * 100).result == 50
    socket.room = 7
    assert guest.send(handle, b"b" * 100).result == 7
    socket.room = 0
    assert guest.send(handle, b"c").result == -EAGAIN
    assert guest.send(handle, b"").result == 0
    socket.room = -Errno.EPIPE
    assert guest.send(handle, b"c").result == -Errno.EPIPE
    assert socket.sent == b"a" * 50 + b"b" * 7


def test_send_keeps_the_bytes_as_they_were() -> None:
    """The engine keeps what it is given: later writes of the guest must not change it."""
    guest = Guest()
    handle = guest.socket()
    guest.send(handle, b"before", Flag.MSG_MORE)
    guest.memory.write(DATA, b"after!")
    assert guest.stack.made[0].sent == b"before"
    assert guest.stack.made[0].more == [True]


def test_flags_that_mean_nothing_here_are_refused() -> None:
    guest = Guest()
    handle = guest.socket()
    for op in (Op.SEND, Op.RECV):
        assert guest.call(op, handle, flags=0x8, args=(DATA, 4)).result == -Errno.EOPNOTSUPP
    easy = Flag.MSG_DONTWAIT | Flag.MSG_NOSIGNAL
    assert guest.send(handle, b"ok", easy).result == 2


def test_iovec_gathers_and_scatters() -> None:
    guest = Guest()
    handle = guest.socket()
    guest.memory.write(DATA, b"0123456789")
    args = iovec(guest, (DATA + 5, 5), (DATA, 0), (DATA, 3))
    assert guest.call(Op.SEND, handle, flags=Flag.IOVEC, args=args).result == 8
    assert guest.stack.made[0].sent == b"56789012"
    guest.stack.made[0].incoming += b"abcdefg"
    args = iovec(guest, (DATA, 2), (DATA + 100, 3), (DATA + 200, 50))
    assert guest.call(Op.RECV, handle, flags=Flag.IOVEC, args=args).result == 7
    assert guest.memory.read(DATA, 2) == b"ab"
    assert guest.memory.read(DATA + 100, 3) == b"cde"
    assert guest.memory.read(DATA + 200, 3) == b"fg\0"


def test_iovec_is_capped_and_checked_as_a_whole() -> None:
    guest = Guest(limits=Limits(max_iovec=4, max_transfer=6))
    handle = guest.socket()
    args = iovec(guest, *[(DATA, 1)] * 5)
    for op in (Op.SEND, Op.RECV):
        refused = guest.call(op, handle, flags=Flag.IOVEC, args=args)
        assert refused.status == Status.BAD_ARGUMENT
        refused = guest.call(op, handle, flags=Flag.IOVEC, args=(TABLE, 1 << 60))
        assert refused.status == Status.BAD_ARGUMENT
    guest.stack.made[0].incoming += b"secret"
    args = iovec(guest, (DATA, 3), ((1 << 64) - 1, 2))  # the second is no RAM: nothing moves
    for op in (Op.SEND, Op.RECV):
        refused = guest.call(op, handle, flags=Flag.IOVEC, args=args)
        assert refused.status == Status.BAD_ADDRESS
    assert guest.stack.made[0].incoming == b"secret" and not guest.stack.made[0].sent
    args = iovec(guest, (DATA, 4), (DATA, 4))
    assert guest.call(Op.SEND, handle, flags=Flag.IOVEC, args=args).result == 6


def test_recv_with_peek_leaves_the_bytes() -> None:
    guest = Guest()
    handle = guest.socket()
    guest.stack.made[0].incoming += b"hello"
    assert guest.recv(handle, 3, Flag.MSG_PEEK) == b"hel"
    args = iovec(guest, (DATA, 1), (DATA + 10, 10))
    flags = Flag.MSG_PEEK | Flag.IOVEC
    assert guest.call(Op.RECV, handle, flags=flags, args=args).result == 5
    assert guest.memory.read(DATA + 10, 4) == b"ello"
    assert guest.recv(handle, 10) == b"hello"


def test_recv_with_waitall_waits_for_all_that_can_come() -> None:
    guest = Guest()
    handle = guest.socket()
    socket = guest.stack.made[0]
    socket.incoming += b"abc"
    socket.events = IN | OUT
    answer = guest.call(Op.RECV, handle, flags=Flag.MSG_WAITALL, args=(DATA, 6))
    assert (answer.result, answer.events) == (-EAGAIN, OUT)  # not ready for what was asked
    assert socket.incoming == b"abc"
    socket.incoming += b"defgh"
    assert guest.recv(handle, 6, Flag.MSG_WAITALL) == b"abcdef"
    socket.rcvbuf = 8  # of which two bytes can be waited for
    assert guest.recv(handle, 6, Flag.MSG_WAITALL) == b"gh"
    socket.rcvbuf = 65536
    socket.incoming += b"end"
    socket.events |= HUP
    assert guest.recv(handle, 6, Flag.MSG_WAITALL) == b"end"


def test_more_data_after_a_waitall_that_had_to_wait_is_an_event() -> None:
    """Else a guest that sleeps after the -EAGAIN would sleep for ever."""
    guest = Guest()
    handle = guest.socket()
    socket = guest.stack.made[0]
    guest.call(Op.SUBSCRIBE, handle, events=IN, cookie=5)
    socket.incoming += b"abc"
    socket.turn(IN)
    guest.hypercalls.deliver()
    guest.drain()
    assert guest.recv(handle, 6, Flag.MSG_WAITALL) == -EAGAIN
    socket.incoming += b"d"
    socket.turn(IN)
    guest.hypercalls.deliver()
    assert guest.drain() == [(5, handle, IN)]


def test_recv_gives_the_end_of_the_stream_as_0() -> None:
    guest = Guest()
    handle = guest.socket()
    assert guest.recv(handle, 4) == -EAGAIN
    guest.stack.made[0].is_ended = True
    assert guest.recv(handle, 4) == b""
    assert guest.recv(handle, 0) == b""


def test_hot_answers_leave_the_rest_of_the_descriptor_alone() -> None:
    guest = Guest()
    handle = guest.socket()
    guest.memory.write(DATA, b"x" * 4)
    fields = {"args": (DATA, 4, 11, 12), "cookie": 13, "flags": Flag.MSG_MORE}
    ends = {"local": b"l" * 24, "peer": b"p" * 24}
    answer = guest.call(Op.SEND, handle, **fields, **ends)  # type: ignore[arg-type]
    assert (answer.args, answer.cookie, answer.flags) == ((DATA, 4, 11, 12), 13, Flag.MSG_MORE)
    assert guest.memory.read(0x1000 + abi.LOCAL_OFFSET, 48) == b"l" * 24 + b"p" * 24


def test_options_go_both_ways_and_unknown_ones_are_refused() -> None:
    """mTCP 135: setsockopt was a stub that said yes."""
    guest = Guest()
    handle = guest.socket()
    guest.memory.write(DATA, b"\1\0\0\0")
    assert guest.call(Op.SETSOCKOPT, handle, args=(1, 9, DATA, 4)).result == 0
    assert guest.stack.made[0].options[1, 9] == b"\1\0\0\0"
    assert guest.call(Op.GETSOCKOPT, handle, args=(1, 9, DATA + 8, 2)).result == 2
    assert guest.memory.read(DATA + 8, 3) == b"\1\0\0"
    assert guest.call(Op.GETSOCKOPT, handle, args=(1, 9, DATA + 8, 100)).result == 4
    unknown = guest.call(Op.GETSOCKOPT, handle, args=(1, 999, DATA, 4))
    assert unknown.result == -Errno.ENOPROTOOPT
    assert guest.call(Op.SETSOCKOPT, handle, args=(1, 9, DATA, 257)).result == -Errno.EINVAL
    assert guest.call(Op.SETSOCKOPT, handle, args=(1 << 40, 9, DATA, 4)).result == -Errno.EINVAL


def test_shutdown_and_peer_name_of_an_unconnected_socket() -> None:
    guest = Guest()
    handle = guest.socket()
    assert guest.call(Op.SHUTDOWN, handle, args=(3,)).result == -Errno.EINVAL
    assert guest.call(Op.GETPEERNAME, handle).result == -Errno.ENOTCONN
    refused = guest.call(Op.SOCKET, args=(10, 1, 0))
    assert (refused.result, refused.handle) == (-Errno.EAFNOSUPPORT, 0)


def test_close_lets_go_of_everything() -> None:
    """libkrun 112, 116: connections leaked."""
    guest = Guest()
    for _ in range(300):
        handle = guest.socket()
        guest.call(Op.SUBSCRIBE, handle, events=IN, flags=Flag.LEVEL)
        guest.stack.made[-1].turn(IN)
        guest.hypercalls.deliver()
        assert guest.call(Op.CLOSE, handle).result == 0
    assert all(socket.is_closed and socket.owner is None for socket in guest.stack.made)
    counters = guest.hypercalls.counters()
    assert counters["sockets"] == counters["ring.waiting"] == 0
    assert not guest.hypercalls.readiness.level
