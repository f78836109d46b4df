"""SENDFILE: a guest's memory is sent by the engine alone, and is free exactly when it may be."""

from __future__ import annotations

import pytest
from engine_world import EngineWorld
from hypercall_guest import DATA, MAC, OUT, TABLE, Guest

from leulo.hypercalls import Limits, abi
from leulo.tcp.account import LEAST_BYTES
from leulo.tcp.config import Config
from leulo.tcp.send_buffer import VIEW_BYTES
from leulo.tcp.socket import TcpSocket
from leulo.units import KIB, MIB, NS_PER_MS, NS_PER_S

Op, Errno, Flag, Status = abi.Op, abi.Errno, abi.Flag, abi.Status
FILE = 0x100000
SENT = int(abi.Poll.SENT)
LINGER_NONE = b"\1\0\0\0\0\0\0\0"


def big_world(**fields: int) -> EngineWorld:
    return EngineWorld(memory_bytes=40 * MIB, limits=Limits(**fields))


def register(guest: Guest, *pieces: tuple[int, int]) -> int:
    for number, piece in enumerate(pieces):
        guest.memory.write(TABLE + 16 * number, abi.IOVEC_STRUCT.pack(*piece))
    answer = guest.call(Op.BUFFER_REGISTER, flags=Flag.IOVEC, args=(TABLE, len(pieces)))
    assert (answer.status, answer.result) == (0, 0)
    return answer.handle


def fill(world: EngineWorld, length: int) -> bytes:
    data = world.chance.randbytes(length)
    world.guest.memory.write(FILE, data)
    return data


def receive(world: EngineWorld, other: TcpSocket, length: int) -> bytes:
    """Read until ``length`` bytes have come; the guest does nothing meanwhile."""
    received = bytearray()
    for _ in range(100_000):
        chunk = other.recv(MIB)
        if isinstance(chunk, bytes):
            received += chunk
        if len(received) >= length:
            return bytes(received)
        if not world.turn():
            world.sleep(NS_PER_MS)
    raise AssertionError(f"stands still at {len(received)} of {length}")


def test_file_past_every_buffer_is_sent_without_the_guest() -> None:
    world = big_world()
    data = fill(world, 30 * MIB)
    handle, other = world.connected()
    buffer = register(world.guest, (FILE, len(data)))
    answer = world.guest.call(Op.SENDFILE, handle, args=(buffer, 0, len(data)))
    assert answer.result == len(data) and not answer.events & OUT and not answer.events & SENT
    calls = world.guest.hypercalls.calls
    assert receive(world, other, len(data)) == data
    assert world.guest.hypercalls.calls == calls


def test_nothing_of_it_is_copied_into_the_engine() -> None:
    """Only what refers to it is in the account of the engine's buffers, whatever is queued."""
    world = big_world()
    fill(world, 8 * MIB)
    handle, _ = world.connected()
    buffer = register(world.guest, (FILE, 8 * MIB))
    world.guest.call(Op.SENDFILE, handle, args=(buffer, 0, 8 * MIB))
    assert world.stack.counters()["tcp_buffered_bytes"] == VIEW_BYTES
    frames = world.stack.drain(world.clock.now_ns())
    payload = [part for frame in frames for part in frame[1:]]
    assert payload and all(isinstance(part, memoryview) for part in payload)
    assert all(part.obj is world.guest.memory.mapping for part in payload)  # type: ignore[union-attr]


def test_scattered_pieces_and_any_stretch_of_them() -> None:
    """Pages of a file lie anywhere; a request asks for any range. Small ones are copied."""
    world = big_world()
    fill(world, MIB)
    guest = world.guest
    chance = world.chance
    pieces = [(FILE + chance.randrange(MIB - 9000), chance.choice([1, 7, 4095, 4096, 4097, 9000]))
              for _ in range(60)]  # fmt: skip
    whole = b"".join(guest.memory.read(*piece) for piece in pieces)
    buffer = register(guest, *pieces)
    handle, other = world.connected()
    expected = received = b""
    for _ in range(100):
        offset = chance.randrange(len(whole))
        length = chance.choice([0, 1, 100, 5000, 50_000])
        length = min(length, len(whole) - offset)
        answer = guest.call(Op.SENDFILE, handle, args=(buffer, offset, length))
        assert answer.result == length
        expected += whole[offset : offset + length]
        if chance.random() < 0.5 and guest.send(handle, b"between").result == 7:
            expected += b"between"
        received += receive(world, other, len(expected) - len(received))
    assert received == expected
    world.sleep(NS_PER_S)
    assert guest.call(Op.BUFFER_RELEASE, buffer).result == 0


def test_release_waits_for_the_last_acknowledgement() -> None:
    world = big_world()
    data = fill(world, 300_000)
    guest = world.guest
    handle, other = world.connected()
    guest.call(Op.SUBSCRIBE, handle, events=SENT, cookie=5)
    buffer = register(guest, (FILE, len(data)))
    guest.call(Op.SENDFILE, handle, args=(buffer, 0, len(data)))
    assert guest.call(Op.BUFFER_RELEASE, buffer).result == -Errno.EBUSY
    world.settle()
    assert guest.call(Op.BUFFER_RELEASE, buffer).result == -Errno.EBUSY  # the window is full
    assert receive(world, other, len(data)) == data
    world.sleep(NS_PER_S)
    events = guest.drain()
    assert events and events[-1][0] == 5 and events[-1][2] & SENT
    assert guest.call(Op.BUFFER_RELEASE, buffer).result == 0
    assert guest.call(Op.BUFFER_RELEASE, buffer).result == -Errno.EBADF
    assert guest.call(Op.SENDFILE, handle, args=(buffer, 0, 1)).result == -Errno.EBADF


def test_sent_is_told_although_other_data_fills_the_buffer() -> None:
    """The rise of SENT is an event of its own, not a by-product of room to send."""
    world = big_world()
    guest = world.guest
    fill(world, 40_000)
    handle, other = world.connected()
    guest.call(Op.SUBSCRIBE, handle, events=SENT, cookie=5)
    buffer = register(guest, (FILE, 40_000))
    assert guest.call(Op.SENDFILE, handle, args=(buffer, 0, 40_000)).result == 40_000
    while guest.send(handle, bytes(60_000)).result > 0:
        pass
    for _ in range(400):
        other.recv(4_000)
        world.sleep(NS_PER_MS)
        if any(mask & SENT for _, _, mask in guest.drain()):
            break
    else:
        raise AssertionError("SENT was never told")
    assert guest.call(Op.BUFFER_RELEASE, buffer).result == 0


@pytest.mark.parametrize("how", ["reset by other", "reset by guest", "closed, then cut off"])
def test_end_of_the_connection_frees_the_buffer(how: str) -> None:
    world = big_world()
    guest = world.guest
    fill(world, MIB)
    handle, other = world.connected()
    buffer = register(guest, (FILE, MIB))
    guest.call(Op.SENDFILE, handle, args=(buffer, 0, MIB))
    world.settle()
    if how == "reset by other":
        other.setsockopt(1, 13, LINGER_NONE)
        other.close()
        world.settle()
        assert world.guest.call(Op.GETSOCKNAME, handle).events & SENT
    elif how == "reset by guest":
        guest.memory.write(DATA, LINGER_NONE)
        guest.call(Op.SETSOCKOPT, handle, args=(1, 13, DATA, 8))
        guest.call(Op.CLOSE, handle)
    else:
        guest.call(Op.CLOSE, handle)
        assert guest.call(Op.BUFFER_RELEASE, buffer).result == -Errno.EBUSY  # it still goes out
        world.is_cut = True
        world.sleep(2000 * NS_PER_S)
    assert guest.call(Op.BUFFER_RELEASE, buffer).result == 0
    assert world.stack.counters()["tcp_buffered_bytes"] == 0


def test_file_of_a_closed_socket_is_delivered() -> None:
    world = big_world()
    data = fill(world, 2 * MIB)
    handle, other = world.connected()
    buffer = register(world.guest, (FILE, len(data)))
    world.guest.call(Op.SENDFILE, handle, args=(buffer, 0, len(data)))
    world.guest.call(Op.CLOSE, handle)
    assert receive(world, other, len(data)) == data


def test_new_guest_sends_nothing_of_the_old_ones_memory() -> None:
    """The memory belongs to somebody else after HELLO or a reset: the old streams are reset."""
    world = big_world()
    guest = world.guest
    fill(world, MIB)
    handle, other = world.connected()
    buffer = register(guest, (FILE, MIB))
    guest.call(Op.SENDFILE, handle, args=(buffer, 0, MIB))
    guest.call(Op.CLOSE, handle)  # an orphan goes on sending
    world.settle()
    guest.hello()
    world.settle()
    while isinstance(chunk := other.recv(MIB), bytes):
        assert chunk  # no clean end: the file is not whole
    assert chunk == -Errno.ECONNRESET
    assert guest.call(Op.BUFFER_RELEASE, buffer).result == -Errno.EBADF


def test_registration_is_checked() -> None:
    world = EngineWorld(limits=Limits(max_buffers=2, max_buffer_pieces=4, max_pieces=5))
    guest = world.guest
    size = guest.memory.size

    def status(*args: int, flags: int = 0) -> int:
        return guest.call(Op.BUFFER_REGISTER, flags=flags, args=args).status

    assert status(0, size + 1) == status(size, 1) == status(1 << 63, 1 << 63) == 1
    assert status((1 << 64) - 1, 2) == Status.BAD_ADDRESS
    assert status(0, 0) == Status.BAD_ARGUMENT
    assert status(TABLE, 5, flags=Flag.IOVEC) == Status.BAD_ARGUMENT
    assert status(TABLE, 0, flags=Flag.IOVEC) == Status.BAD_ARGUMENT
    assert guest.call(Op.BUFFER_REGISTER, flags=1, args=(0, 1)).result == -Errno.EOPNOTSUPP
    # The table may lie in the buffer itself: it is read once.
    first = register(guest, (TABLE, 32), (TABLE + 64, 1), (TABLE + 65, 1), (DATA, 1))
    table = TABLE + 0x1000
    for number in range(4):
        guest.memory.write(table + 16 * number, abi.IOVEC_STRUCT.pack(DATA + 2 * number, 1))
    answer = guest.call(Op.BUFFER_REGISTER, flags=Flag.IOVEC, args=(table, 4))
    assert answer.result == -Errno.ENOBUFS  # 3 (two of them adjacent) and 4 are more than 5
    second = register(guest, (0, size))
    assert guest.call(Op.BUFFER_REGISTER, args=(0, 1)).result == -Errno.ENOBUFS
    assert guest.call(Op.BUFFER_RELEASE, first).result == 0
    third = register(guest, (0, 1))
    assert len({first, second, third, 0}) == 4


def test_sendfile_is_checked() -> None:
    world = EngineWorld()
    guest = world.guest
    handle, _ = world.connected()
    buffer = register(guest, (DATA, 1000))

    def result(*args: int, flags: int = 0, socket: int = handle) -> int:
        return guest.call(Op.SENDFILE, socket, flags=flags, args=args).result

    assert result(buffer, 0, 1001) == result(buffer, 1000, 1) == -Errno.EINVAL
    assert result(buffer, (1 << 64) - 1, 2) == result(buffer, 0, 1 << 63) == -Errno.EINVAL
    assert result(buffer, 1000, 0) == 0
    assert result(buffer + 1, 0, 1) == result(handle, 0, 1) == result(1 << 40, 0, 1)
    assert result(0, 0, 1) == -Errno.EBADF
    assert result(buffer, 0, 1, flags=Flag.MSG_PEEK) == -Errno.EOPNOTSUPP
    assert result(buffer, 0, 1, flags=Flag.IOVEC) == -Errno.EOPNOTSUPP
    assert result(buffer, 0, 1, socket=guest.socket()) == -Errno.EPIPE
    assert result(buffer, 0, 1, socket=buffer) == -Errno.EBADF
    datagram = guest.call(Op.SOCKET, args=(2, 2, 0)).handle
    assert result(buffer, 0, 1, socket=datagram) == -Errno.EOPNOTSUPP
    assert result(buffer, 5, 995, flags=Flag.MSG_MORE) == 995


def test_full_send_buffer_takes_no_file() -> None:
    """So what a guest can queue is bounded: one buffer's length over the send buffer's."""
    world = big_world()
    guest = world.guest
    handle, _ = world.connected()
    buffer = register(guest, (FILE, MIB))
    assert guest.call(Op.SENDFILE, handle, args=(buffer, 0, MIB)).result == MIB
    for _ in range(3):
        answer = guest.call(Op.SENDFILE, handle, args=(buffer, 0, MIB))
        assert answer.result == -Errno.EAGAIN and not answer.events & OUT
    assert guest.hypercalls.counters()["sendfile.bytes"] == MIB


@pytest.mark.parametrize("piece", [1, 4095, 4096])
def test_pieces_count_and_what_fits_is_queued(piece: int) -> None:
    """Thousands of pieces, on every connection: neither their copies nor what refers to them goes
    past the quota, and a connection without anything always gets on."""
    quota = 200 * KIB
    world = EngineWorld(memory_bytes=4 * MIB, tcp=Config(buffers_max=quota))
    guest = world.guest
    rows = b"".join(
        abi.IOVEC_STRUCT.pack(FILE + 8192 * (number % 2), piece) for number in range(4096)
    )
    guest.memory.write(3 * MIB, rows)
    buffer = guest.call(Op.BUFFER_REGISTER, flags=Flag.IOVEC, args=(3 * MIB, 4096)).handle
    data = fill(world, 8192 + piece)
    whole = (data[:piece] + data[8192:]) * 2048
    pairs = [world.connected() for _ in range(60)]
    world.is_cut = True
    taken = [
        guest.call(Op.SENDFILE, handle, args=(buffer, 0, len(whole))).result for handle, _ in pairs
    ]
    assert world.stack.counters()["tcp_buffered_bytes"] <= quota + 60 * LEAST_BYTES
    assert min(taken) > 0
    if piece > 1:
        assert taken[0] > taken[-1]
        assert 0 < LEAST_BYTES // piece <= taken[-1] <= 16 * piece
        answer = guest.call(Op.SENDFILE, pairs[-1][0], args=(buffer, 0, len(whole)))
        assert answer.result == -Errno.ENOBUFS
    world.is_cut = False
    for (_, other), length in zip(pairs, taken, strict=True):
        assert receive(world, other, length) == whole[:length]
    world.sleep(NS_PER_S)
    assert world.stack.counters()["tcp_buffered_bytes"] == 0
    assert guest.call(Op.BUFFER_RELEASE, buffer).result == 0


def test_files_in_flight_survive_save_and_load() -> None:
    world = big_world()
    guest = world.guest
    data = fill(world, 2 * MIB)
    handle, other = world.connected()
    buffer = register(guest, (FILE, len(data)))
    guest.call(Op.SENDFILE, handle, args=(buffer, 0, len(data)))
    world.settle()
    engine, calls = world.stack.save(), guest.hypercalls.save()
    fresh = EngineWorld(memory_bytes=40 * MIB)
    fresh.clock.time_ns = world.clock.time_ns
    fresh.stack.load(engine)
    fresh.guest.hypercalls.load(calls)
    fresh.other = world.other
    assert fresh.stack.mac == MAC
    assert fresh.guest.call(Op.BUFFER_RELEASE, buffer).result == -Errno.EBUSY
    assert receive(fresh, other, len(data)) == data
    fresh.sleep(NS_PER_S)
    assert fresh.guest.call(Op.BUFFER_RELEASE, buffer).result == 0
