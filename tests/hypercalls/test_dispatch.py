"""Transport: what is understood, what is refused, and that nothing a guest writes is harmful."""

from __future__ import annotations

import pytest
from hypercall_guest import ADDRESS, CALL, DATA, DNS, GATEWAY, HELLO, MAC, NVAL, Guest

from leulo.hypercalls import Limits, abi
from leulo.hypercalls.operations import OPERATIONS

Op, Status = abi.Op, abi.Status


def test_hello_tells_limits_and_addresses() -> None:
    guest = Guest(hello=False)
    assert guest.hello().status == Status.OK
    hello = guest.memory.read(HELLO, abi.HELLO.size)

    def word(name: str, width: int = 4) -> int:
        at = abi.HELLO.offset(name)
        return int.from_bytes(hello[at : at + width], "little")

    assert word("version") == abi.VERSION
    assert word("features", 8) == abi.OFFERED
    assert (word("max_sockets"), word("max_iovec")) == (Limits().max_sockets, Limits().max_iovec)
    assert word("max_transfer") == Limits().max_transfer
    assert word("max_events") == Limits().max_events
    assert (word("prefix_length"), word("mtu")) == (24, 1500)
    for name, address in (("address", ADDRESS), ("gateway", GATEWAY), ("dns", DNS)):
        at = abi.HELLO.offset(name)
        assert abi.ENDPOINT_STRUCT.unpack_from(hello, at) == (2, 0, 0, address + bytes(12))
    at = abi.HELLO.offset("mac")
    assert hello[at : at + 8] == MAC + bytes(2)
    assert word("tsc_hz", 8) == 1_000_000_000


def test_everything_before_hello_is_refused() -> None:
    guest = Guest(hello=False)
    for op in abi.Op:
        if op is not Op.HELLO:
            assert guest.call(op).status == Status.NO_HELLO
    assert not guest.stack.made


def test_hello_of_another_version_is_told_the_right_one() -> None:
    guest = Guest(hello=False)
    assert guest.hello(version=7).status == Status.BAD_VERSION
    at = HELLO + abi.HELLO.offset("version")
    assert int.from_bytes(guest.memory.read(at, 4), "little") == abi.VERSION
    assert guest.call(Op.TIME).status == Status.NO_HELLO
    assert guest.hello(size=abi.HELLO.size - 1).status == Status.BAD_SIZE
    assert guest.call(Op.HELLO, args=(guest.memory.size - 8,)).status == Status.BAD_SIZE
    guest.memory.write(guest.memory.size - 8, b"\xff\0\0\0\x01\0\0\0")
    assert guest.call(Op.HELLO, args=(guest.memory.size - 8,)).status == Status.BAD_ADDRESS


def test_second_hello_aborts_what_an_earlier_guest_left() -> None:
    """A guest that restarts without a machine reset must not leave its old sockets behind."""
    guest = Guest()
    old = guest.socket()
    guest.call(Op.SUBSCRIBE, old, events=1)
    assert guest.hello().status == Status.OK
    assert guest.call(Op.CLOSE, old).result == -abi.Errno.EBADF
    assert guest.stack.made[0].is_closed
    assert guest.stack.made[0].options[1, 13] == b"\x01\0\0\0\0\0\0\0"  # by RST
    guest.stack.made[0].turn(1)
    guest.hypercalls.deliver()
    assert guest.hypercalls.counters()["sockets"] == 0


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"size": 127}, Status.BAD_SIZE),
        ({"size": 0}, Status.BAD_SIZE),
        ({"reserved": (1, 0)}, Status.RESERVED),
        ({"reserved": (0, 1 << 63)}, Status.RESERVED),
        ({"at": CALL + 4}, Status.BAD_ADDRESS),
    ],
)
def test_bad_descriptor_is_refused(fields: dict[str, object], status: int) -> None:
    guest = Guest()
    answer = guest.call(Op.SOCKET, args=(2, 1, 0), **fields)
    assert (answer.status, answer.result) == (status, 0)
    assert not guest.stack.made


@pytest.mark.parametrize("op", [0, 5, 15, 36, 127, 128, 4000, 0xFFFF])
def test_unknown_operation_is_refused(op: int) -> None:
    assert Guest().call(op).status == Status.UNKNOWN_OP


def test_operations_not_offered_say_so() -> None:
    guest = Guest()
    for operation in OPERATIONS:
        refused = guest.call(operation.op).status == Status.UNKNOWN_OP
        assert refused is not operation.offered, operation.op.name


def test_descriptor_outside_ram_touches_nothing() -> None:
    guest = Guest()
    before = guest.memory.read(0, guest.memory.size)
    refused = guest.record("hypercall.refused")
    addresses = (guest.memory.size, guest.memory.size - 120, 0xFFFFFFF8, -8, 1 << 40)
    for address in addresses:
        guest.hypercalls.call(address)
    assert guest.memory.read(0, guest.memory.size) == before
    assert [event.address for event in refused] == list(addresses)
    assert guest.hypercalls.counters()["bad_descriptors"] == len(addresses)


def test_descriptor_at_the_very_end_of_ram_works() -> None:
    guest = Guest()
    answer = guest.call(Op.TIME, at=guest.memory.size - abi.CALL_BYTES)
    assert answer.status == Status.OK


@pytest.mark.parametrize(
    ("op", "args"),
    [
        (Op.SEND, (1 << 20, 1)),
        (Op.SEND, ((1 << 64) - 1, 2)),
        (Op.SEND, (8, (1 << 64) - 4)),
        (Op.RECV, ((1 << 20) - 1, 2)),
        (Op.RECV, ((1 << 64) - 1, 1)),
        (Op.GETSOCKOPT, (1, 4, 1 << 20, 4)),
        (Op.SETSOCKOPT, (1, 2, (1 << 64) - 2, 4)),
        (Op.POLL, ((1 << 20) - 8, 1)),
        (Op.TRACE_MARK, ((1 << 20) - 8, 9)),
        (Op.EVENTS_SETUP, ((1 << 20) - 64, 2)),
        (Op.EVENTS_SETUP, ((1 << 64) - 64, 2)),
        (Op.HELLO, (1 << 20,)),
    ],
)
def test_memory_that_is_not_ram_is_a_bad_address(op: int, args: tuple[int, ...]) -> None:
    """Also where address plus length wraps around 64 bits."""
    guest = Guest()
    handle = guest.socket()
    guest.stack.made[0].incoming += b"xyz"
    before = guest.memory.read(CALL + 128, guest.memory.size - CALL - 128)
    assert guest.call(op, handle, args=args).status == Status.BAD_ADDRESS
    assert guest.memory.read(CALL + 128, guest.memory.size - CALL - 128) == before
    assert not guest.stack.made[0].sent


def test_old_and_foreign_handles_are_bad() -> None:
    """PVCalls used guest pointers as handles: here an old number never fits a new socket."""
    guest, other = Guest(), Guest()
    first = guest.socket()
    guest.call(Op.CLOSE, first)
    second = guest.socket()  # the same index
    assert first != second and first & 0xFFFF == second & 0xFFFF
    for number in (first, 0, 1, second ^ 0x10000, second + 1, 0xFFFFFFFF):
        for op in (Op.SEND, Op.RECV, Op.CLOSE, Op.ACCEPT, Op.GETSOCKNAME, Op.SUBSCRIBE):
            answer = guest.call(op, number, args=(DATA, 4))
            assert (answer.result, answer.events) == (-abi.Errno.EBADF, NVAL), (op, number)
    other.socket()
    assert other.call(Op.SEND, second, args=(DATA, 4)).result == -abi.Errno.EBADF


def test_handles_stay_positive_and_wrap() -> None:
    guest = Guest(limits=Limits(max_sockets=1))
    seen = set()
    for _ in range(33_000):
        answer = guest.call(Op.SOCKET, args=(2, 1, 0))
        assert 0 < answer.handle < 1 << 31
        seen.add(answer.handle)
        guest.call(Op.CLOSE, answer.handle)
    assert len(seen) == 0x7FFF
    guest.stack.made.clear()


def test_sockets_past_the_quota_are_emfile() -> None:
    guest = Guest(limits=Limits(max_sockets=2))
    handles = [guest.socket(), guest.socket()]
    answer = guest.call(Op.SOCKET, args=(2, 1, 0))
    assert (answer.status, answer.result, answer.handle) == (0, -abi.Errno.EMFILE, 0)
    assert len(guest.stack.made) == 2
    guest.call(Op.CLOSE, handles[0])
    guest.socket()


def test_time_is_the_clock() -> None:
    guest = Guest()
    guest.clock.time_ns = 123_456_789  # type: ignore[attr-defined]
    answer = guest.call(Op.TIME)
    assert answer.args == (123_456_789, 0, 0, 0)


def test_watchers_see_the_question_and_the_answer() -> None:
    guest = Guest()
    handle = guest.socket()
    events = guest.record("hypercall.*")
    guest.call(Op.RECV, handle, args=(DATA, 10))
    enter, answer = events
    assert (enter.op, enter.handle, enter.args) == ("RECV", handle, (DATA, 10, 0, 0))
    assert (answer.op, answer.status, answer.result, answer.errno) == ("RECV", "OK", -11, "EAGAIN")
    guest.call(200)
    assert (events[-1].op, events[-1].status) == ("200", "UNKNOWN_OP")


def test_marks_and_breaks_reach_whoever_watches() -> None:
    guest = Guest()
    marks, stops = guest.record("guest.mark"), []
    guest.hypercalls.breakpoint = stops.append
    guest.memory.write(DATA, b"here \x1b[2J\xff")
    assert guest.call(Op.TRACE_MARK, args=(DATA, 10)).status == Status.OK
    assert "\x1b" not in marks[0].text and marks[0].text.startswith("here ")
    assert guest.call(Op.TRACE_MARK, args=(DATA, 257)).status == Status.BAD_ARGUMENT
    guest.call(Op.BREAK, args=(7,))
    assert stops == [7]


def test_reset_ends_the_session() -> None:
    guest = Guest()
    handle = guest.socket()
    guest.hypercalls.reset()
    assert guest.stack.made[0].is_closed
    assert guest.call(Op.CLOSE, handle).status == Status.NO_HELLO
    guest.hypercalls.deliver()
