"""The simulated wire without its ends: options, chance, one direction, and the response checker."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leulo.errors import ConfigError
from leulo.links.sim.chance import PER_BILLION, Chance
from leulo.links.sim.damage import mark_congestion, turn_bit
from leulo.links.sim.response import Response, expected_bytes
from leulo.links.sim.spec import SimSpec
from leulo.links.sim.wire import Wire
from leulo.links.sim.wire_spec import Change, WireSpec
from leulo.net.wire import ParseError
from leulo.net.wire.checksum import pseudo_header
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.udp import UdpRepr
from leulo.net.wire.vnet import F_NEEDS_CSUM, VnetRepr

FULL = bytes(10 + 1250)  # 10,000 bits on the wire: 1 ms at 10 Mbit/s


def wire(rate: int = 10_000_000, delay: int = 0, queue: int = 100, loss: int = 0) -> Wire:
    return Wire(rate, delay, queue, loss, Chance(1, 1))


# Options


def test_every_option_is_read() -> None:
    spec = SimSpec.parse(
        "rate=20mbit,delay=20ms,queue=100,loss=0.01,seed=1,requests=50,"
        "path=/bytes/10000,keepalive=1,connections=1,port=8080"
    )
    wire = WireSpec(rate=20_000_000, delay=20_000_000, queue=100, loss=10_000_000)
    assert spec == SimSpec(
        up=wire,
        down=wire,
        seed=1,
        requests=50,
        path="/bytes/10000",
        port=8080,
        keepalive=True,
        connections=1,
    )
    assert SimSpec.parse("") == SimSpec()


@pytest.mark.parametrize(("text", "parts"), [("0", 0), ("1", 10**9), ("1.000000000", 10**9),
                                             ("0.000000001", 1), ("0.1", 10**8)])  # fmt: skip
def test_loss_is_exact(text: str, parts: int) -> None:
    assert SimSpec.parse(f"loss={text}").up.loss == parts


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("speed=1", "'speed'"),
        ("rate", "rate needs a value"),
        ("rate=fast", "rate: 'fast'"),
        ("delay=1h", "delay"),
        ("delay=61s", "delay"),
        ("queue=0", "queue"),
        ("queue=-1", "queue"),
        ("loss=1.5", "loss"),
        ("loss=1%", "loss"),
        ("loss=0.0000000001", "loss"),
        ("seed=x", "seed"),
        ("requests=10000001", "requests"),
        ("path=index", "path"),
        ("path=/a b", "path"),
        ("keepalive=yes", "keepalive"),
        ("connections=0", "connections"),
        ("port=65536", "port"),
        ("queue=1,queue=2", "queue is given twice"),
        ("up.loss=2", "up.loss: '2'"),
        ("left.loss=0", "'left.loss'"),
        ("up.requests=1", "'up.requests'"),
        ("up.up.loss=0", "'up.up.loss'"),
        ("jitter=-1ms", "jitter"),
        ("reorder=x", "reorder: 'x'"),
        ("reorder-by=1h", "reorder-by"),
        ("corrupt=1.1", "corrupt"),
        ("duplicate=", "duplicate"),
        ("ecn=-1", "ecn"),
        ("at=x,loss=0", "at: 'x'"),
        ("at=5s", "at=5s: changes nothing"),
        ("at=5s,loss=7", "at=5s: loss: '7'"),
        ("at=5s,down.speed=7", "at=5s: .*'down.speed'"),
        ("at=5s,requests=7", "at=5s: requests: is not the wire's"),
        ("at=5s,loss=0,loss=0", "at=5s: loss is given twice"),
        ("at=5s,loss=0,at=5s,loss=1", "at=5s: comes after"),
        ("script=", "script: '' is not a file"),
        ("script=/nowhere/at.all", "script=/nowhere/at.all: cannot be read: No such file"),
    ],
)
def test_wrong_option_is_named(text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        SimSpec.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_options_or_a_configuration_error(text: str) -> None:
    try:
        SimSpec.parse(text)
    except ConfigError as error:
        assert "\n" not in str(error) or "\n" in text


def test_directions_may_differ_and_the_nearer_option_wins() -> None:
    spec = SimSpec.parse("up.rate=1mbit,down.loss=0.5,rate=8mbit,delay=3ms,up.reorder-by=2ms")
    assert spec.up == WireSpec(rate=1_000_000, delay=3_000_000, reorder_by=2_000_000)
    assert spec.down == WireSpec(rate=8_000_000, delay=3_000_000, loss=PER_BILLION // 2)


def test_changes_build_on_what_was_before() -> None:
    spec = SimSpec.parse("loss=0.1,requests=3,at=5s,loss=0,up.ecn=20,at=6.5s,delay=9ms")
    base = WireSpec(loss=PER_BILLION // 10)
    assert (spec.up, spec.down, spec.requests) == (base, base, 3)
    assert spec.changes == (
        Change(5 * 10**9, WireSpec(ecn=20), WireSpec()),
        Change(6_500_000_000, WireSpec(ecn=20, delay=9_000_000), WireSpec(delay=9_000_000)),
    )
    assert spec.delay == 9_000_000  # the longest that there will be


SCRIPT = """
[[change]]
at = "5s"
loss = 0
up.ecn = 20
[[change]]
at = 6.5
delay = "9ms"
down = { corrupt = 0.001, rate = "1mbit" }
"""


def test_script_says_what_the_options_would(tmp_path: Path) -> None:
    path = tmp_path / "wire.toml"
    path.write_text(SCRIPT)
    written = "loss=0.1,at=5s,loss=0,up.ecn=20,at=6.5s,delay=9ms,down.corrupt=0.001,down.rate=1mbit"
    assert SimSpec.parse(f"loss=0.1,script={path}") == SimSpec.parse(written)
    with pytest.raises(ConfigError, match="leave one of them out"):
        SimSpec.parse(f"script={path},at=1s,loss=0")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[change]]\nloss = 0.1", "change 1 has no time"),
        ('[[change]]\nat = "5s"\nspeed = 1', "at=5s: .*'speed'"),
        ('[[change]]\nat = "5s"\nup.loss = 2', "at=5s: up.loss: '2'"),
        ('[[change]]\nat = "5s"\nloss = 1e-12', "at=5s: loss: '1e-12'"),
        ('[[change]]\nat = "5s"\nloss = [1]', "at=5s: loss: is neither"),
        ('[[change]]\nat = "5s"\nup.up.loss = 1', "at=5s: up.up"),
        ("[change]\nat = 5", "two brackets"),
        ("change = [1]", "two brackets"),
        ("loss = 1", "there is no 'loss'"),
        ("what", "is not TOML"),
        ("a = " + "[" * 5000, "is nested too deeply"),
        ('[[change]]\nat = "5s"\nloss = ' + "9" * 5000, "is not TOML"),
        ('[[change]]\nat = "5s"\nloss = 0x' + "f" * 5000, "loss: is a number out of all range"),
    ],
)
def test_wrong_script_names_file_and_key(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "wire.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"(?s){path}.*({problem})"):
        SimSpec.parse(f"script={path}")


# Chance


def test_generator_is_the_published_one() -> None:
    """The first numbers of PCG32 with seed 42 and stream 54, from its authors' demo."""
    chance = Chance(42, 54)
    assert [chance.word() for _ in range(6)] == [
        0xA15C02B7, 0x7B47F409, 0xBA1D3330, 0x83D2F293, 0xBFA4784B, 0xCBED606E,
    ]  # fmt: skip


def test_losses_come_as_often_as_asked() -> None:
    chance = Chance(7, 1)
    hits = sum(chance.happens(PER_BILLION // 100) for _ in range(100_000))
    assert 900 < hits < 1100
    assert not any(chance.happens(0) for _ in range(1000))
    assert all(chance.happens(PER_BILLION) for _ in range(1000))


@given(st.integers(1, 200))
def test_bits_are_as_many_as_asked(count: int) -> None:
    chance = Chance(3, 3)
    assert all(chance.bits(count) < 1 << count for _ in range(20))


# One direction


def test_rate_and_delay_make_the_arrival() -> None:
    line = wire(delay=20_000_000)
    line.send(FULL, 5)
    line.send(FULL, 6)
    assert line.next_arrival() == 5 + 1_000_000 + 20_000_000
    assert line.arrived(21_000_004) == []
    assert line.arrived(21_000_005) == [FULL]
    assert line.next_arrival() == 22_000_005  # behind the first at the bottleneck


def test_queue_drops_its_tail_and_drains_with_time() -> None:
    line = wire(queue=2)
    for _ in range(4):
        line.send(FULL, 0)
    assert (line.overflowed, len(line.arrived(10**9))) == (2, 2)
    line.send(FULL, 2_000_000)
    assert line.overflowed == 2


def test_unlimited_rate_has_no_queue() -> None:
    line = wire(rate=0, delay=7, queue=1)
    for _ in range(50):
        line.send(FULL, 3)
    assert len(line.arrived(10)) == 50


def test_lost_frame_takes_its_time_at_the_bottleneck() -> None:
    line = wire(loss=PER_BILLION)
    line.send(FULL, 0)
    assert line.next_arrival() is None
    assert line.free_at_ns == 1_000_000
    assert line.lost == 1


def test_same_seed_loses_the_same_frames_and_state_carries_over() -> None:
    def lost(seed: int, move_at: int | None) -> list[int]:
        line = Wire(0, 0, 1, PER_BILLION // 5, Chance(seed, 1))
        arrived = []
        for number in range(300):
            if number == move_at:
                other = Wire(0, 0, 1, PER_BILLION // 5, Chance(99, 1))
                other.load(line.save())
                assert other.save() == line.save()
                line = other
            line.send(bytes(10) + number.to_bytes(2, "big"), number)
            arrived += [int.from_bytes(frame[10:], "big") for frame in line.arrived(number)]
        return arrived

    assert lost(1, None) == lost(1, 150)
    assert lost(1, None) != lost(2, None)


@given(st.lists(st.tuples(st.integers(0, 5_000_000), st.integers(0, 1500)), max_size=40))
def test_frames_arrive_once_in_order_and_never_early(sent: list[tuple[int, int]]) -> None:
    line = wire(delay=1000, queue=5)
    now, expected = 0, []
    for number, (step, length) in enumerate(sent):
        now += step
        before = line.overflowed
        frame = bytes(10) + number.to_bytes(2, "big") + bytes(length)
        line.send(frame, now)
        if line.overflowed == before:
            expected.append(frame)
    assert line.arrived(10**12) == expected


# What may go wrong on it


def numbered(number: int) -> bytes:
    return bytes(10) + number.to_bytes(2, "big")


def numbers(frames: list[bytes]) -> list[int]:
    return [int.from_bytes(frame[10:], "big") for frame in frames]


def made(seed: int = 1, changes: tuple[tuple[int, WireSpec], ...] = (), **options: int) -> Wire:
    return Wire.of(WireSpec(**{"rate": 0, "delay": 1000, **options}), Chance(seed, 1), changes)


def test_jitter_varies_the_delay_and_keeps_the_order() -> None:
    line = made(jitter=500)
    for number in range(200):
        line.send(numbered(number), number * 10_000)
    times = []
    while (due := line.next_arrival()) is not None:
        (frame,) = line.arrived(due)
        times.append(due - len(times) * 10_000)
        assert numbers([frame]) == [len(times) - 1]
    assert min(times) >= 1000 and max(times) <= 1500 and len(set(times)) > 50


def test_jitter_never_reorders_a_burst() -> None:
    line = made(jitter=1_000_000)
    for number in range(300):
        line.send(numbered(number), number)
    assert numbers(line.arrived(10**9)) == list(range(300))


def test_held_back_frames_are_overtaken_and_arrive() -> None:
    line = made(reorder=PER_BILLION // 10, reorder_by=55)
    for number in range(1000):
        line.send(numbered(number), number * 10)
    found = numbers(line.arrived(10**9))
    assert sorted(found) == list(range(1000))
    late = [n for i, n in enumerate(found) if any(m > n for m in found[:i])]
    assert 60 < line.reordered < 140
    assert len(late) == line.reordered
    assert all(found.index(n) - n <= 6 for n in range(900))  # by five frames of 10 ns at most


def test_doubled_frames_come_twice() -> None:
    line = made(duplicate=PER_BILLION // 4)
    for number in range(400):
        line.send(numbered(number), number)
    found = numbers(line.arrived(10**9))
    assert len(found) == 400 + line.duplicated and 60 < line.duplicated < 140
    assert sorted(set(found)) == list(range(400)) and found == sorted(found)


def test_changes_hold_from_their_moment_on() -> None:
    lossy = WireSpec(rate=0, delay=1000, loss=PER_BILLION)
    line = made(changes=((50, lossy), (80, WireSpec(rate=0, delay=5))))
    for number in range(100):
        line.send(numbered(number), number)
    assert numbers(line.arrived(10**9)) == [*range(50), *range(80, 100)]
    assert line.lost == 30
    assert line.changes_done == 2


def test_option_left_out_draws_no_chance() -> None:
    """An old run with only losses stays the same to the frame."""
    plain, other = wire(rate=0, loss=PER_BILLION // 3), made(delay=0, loss=PER_BILLION // 3)
    for number in range(300):
        plain.send(numbered(number), number)
        other.send(numbered(number), number)
    assert plain.arrived(10**9) == other.arrived(10**9)


def test_frames_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leulo.links.sim.wire.MOST_UNDER_WAY", 100)
    line = made()
    for number in range(150):
        line.send(numbered(number), 0)
    assert (len(line.arrived(10**9)), line.overflowed) == (100, 50)


def test_frames_that_are_held_back_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leulo.links.sim.wire.MOST_UNDER_WAY", 100)
    line = made(reorder=PER_BILLION // 2, reorder_by=10**6, jitter=50)
    for number in range(300):
        line.send(numbered(number), 0)
    assert (len(line.arrived(10**9)), line.overflowed) == (100, 200)
    assert line.frames == 300


EVENTFUL = {
    "rate": 10**9, "queue": 20, "loss": 10**8, "jitter": 3000, "reorder": 10**8,
    "reorder_by": 5000, "duplicate": 10**8, "corrupt": 10**8, "ecn": 5,
}  # fmt: skip


@given(
    st.integers(0, 2**64 - 1),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 1400)), max_size=60),
    st.integers(0, 60),
)
def test_same_seed_same_frames_and_saved_wires_go_on(
    seed: int, sent: list[tuple[int, int]], move_at: int
) -> None:
    """Every frame given is lost, refused or arrives (once or twice), never early; and a run
    that is saved and loaded in the middle is the same to the byte."""
    changes = ((20_000, WireSpec(**{**EVENTFUL, "delay": 10, "loss": 0})),)

    def run(is_moved: bool) -> tuple[list[tuple[int, bytes]], dict[str, int]]:
        line = made(seed, changes, **EVENTFUL)
        arrived: list[tuple[int, bytes]] = []
        now = 0
        for number, (step, length) in enumerate(sent):
            if is_moved and number == move_at:
                other = made(99, changes, **EVENTFUL)
                other.load(line.save())
                assert other.save() == line.save()
                line = other
            now += step
            line.send(ip_frame(number, length), now)
            arrived += [(now, frame) for frame in line.arrived(now)]
        arrived += [(10**12, frame) for frame in line.arrived(10**12)]
        return arrived, line.counters()

    arrived, counters = run(False)
    assert (arrived, counters) == run(True)
    assert len(arrived) == (
        len(sent) - counters["lost"] - counters["dropped_queue"] + counters["duplicated"]
    )


# Damage


def ip_frame(number: int, length: int, traffic_class: int = 0) -> bytes:
    """A UDP datagram in a frame, with right checksums."""
    source, target = bytes((10, 0, 2, 15)), bytes((10, 0, 2, 2))
    datagram = UdpRepr(1, 2, length).emit(source, target, bytes(length))
    ip = Ipv4Repr(source, target, 17, len(datagram), 64, traffic_class, number)
    return bytes(10) + bytes(12) + b"\x08\x00" + ip.emit() + datagram


def is_right(frame: bytes) -> bool:
    try:
        ip = Ipv4Repr.parse(frame[24:])
        UdpRepr.parse(frame[24 + ip.header_bytes :], ip.source, ip.destination)
    except ParseError:
        return False
    return ip.protocol == 17


@given(st.integers(0, 2**32), st.integers(0, 1400), st.booleans())
def test_one_turned_bit_is_always_found_by_a_checksum(
    seed: int, length: int, is_partial: bool
) -> None:
    """Whichever bit of the packet it is, and whether or not the checksum was left to be filled."""
    frame = ip_frame(1, length)
    if is_partial:
        start = pseudo_header(frame[36:40], frame[40:44], 17, 8 + length)
        vnet = VnetRepr(F_NEEDS_CSUM, csum_start=34, csum_offset=6).emit()
        frame = vnet + frame[10:50] + start.to_bytes(2, "big") + frame[52:]
    else:
        assert is_right(frame)
    damaged = turn_bit(frame, Chance(seed, 1))
    assert damaged is not None
    assert damaged[:24] == bytes(10) + frame[10:24]
    whole = frame if not is_partial else ip_frame(1, length)
    changed = [(a, b) for a, b in zip(whole, damaged, strict=True) if a != b]
    assert len(changed) == 1 and (changed[0][0] ^ changed[0][1]).bit_count() == 1
    assert not is_right(damaged)


def test_what_has_no_checksum_is_not_damaged() -> None:
    arp = bytes(22) + b"\x08\x06" + bytes(28)
    assert turn_bit(arp, Chance(1, 1)) is None
    assert turn_bit(b"", Chance(1, 1)) is None
    line = made(corrupt=PER_BILLION)
    line.send(arp, 0)
    assert line.arrived(10**9) == [arp] and line.corrupted == 0


@pytest.mark.parametrize(("before", "after"), [(0, None), (1, 3), (2, 3), (3, None), (0xB9, 0xBB)])
def test_mark_is_set_where_the_sender_allows_it(before: int, after: int | None) -> None:
    """[RFC 3168 5] The header's checksum stays right."""
    marked = mark_congestion(ip_frame(7, 100, before))
    if after is None:
        assert marked is None
        return
    assert marked is not None and is_right(marked)
    assert Ipv4Repr.parse(marked[24:]).traffic_class == after
    assert marked == ip_frame(7, 100, after)


@pytest.mark.parametrize(("before", "after"), [(0x40, None), (0x20, 0x30), (0x10, 0x30)])
def test_mark_in_ipv6(before: int, after: int | None) -> None:
    frame = bytes(22) + b"\x86\xdd" + bytes((0x65, before)) + bytes(50)
    marked = mark_congestion(frame)
    expected = None if after is None else frame[:25] + bytes((after,)) + frame[26:]
    assert marked == expected


def test_queue_marks_from_its_threshold_on() -> None:
    line = made(rate=10_000_000, queue=100, ecn=10)
    for number in range(30):
        line.send(ip_frame(number, 1000, 2), 0)
    for number in range(30, 60):
        line.send(ip_frame(number, 1000, 0), 0)  # these do not allow it
    classes = [Ipv4Repr.parse(f[24:]).traffic_class for f in line.arrived(10**10)]
    assert classes == [2] * 10 + [3] * 20 + [0] * 30
    assert line.marked == 20


# Responses


def reply(body: bytes, extra: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


def test_known_body_is_sixteen_byte_lines() -> None:
    assert expected_bytes(0, 33) == b"000000000000000\n000000000000010\n0"
    assert expected_bytes(15, 3) == b"\n00"


@given(st.integers(0, 3000), st.lists(st.integers(1, 700), max_size=20))
def test_right_response_in_any_pieces_is_complete(length: int, cuts: list[int]) -> None:
    response = Response(f"/bytes/{length}")
    data = reply(expected_bytes(0, length))
    while data:
        size = cuts.pop() if cuts else len(data)
        assert not response.is_complete
        response.feed(data[:size])
        data = data[size:]
    assert response.is_complete
    assert (response.error, response.status, response.body_bytes) == ("", 200, length)
    assert response.keeps_connection


@given(st.integers(0, 999), st.integers(1, 255))
def test_one_wrong_byte_is_found(place: int, change: int) -> None:
    body = bytearray(expected_bytes(0, 1000))
    body[place] ^= change
    response = Response("/bytes/1000")
    response.feed(reply(bytes(body)))
    assert "wrong byte" in response.error


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"SSH-2.0\r\n\r\n", "no HTTP status line"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "Content-Length 99, not 10"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no number"),
        (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "without a colon"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer encoding"),
        (b"x" * 20_000, "endless headers"),
        (reply(expected_bytes(0, 10)) + b"!", "bytes after"),
        (reply(expected_bytes(0, 10))[:-1], "ended inside"),
        (b"HTTP/1.1 200 OK\r\n\r\nshort", "wrong byte"),
        (b"HTTP/1.1 200 OK\r\n\r\n00000", "5 bytes of body, not 10"),
    ],
)
def test_wrong_response_says_what_is_wrong(data: bytes, error: str) -> None:
    response = Response("/bytes/10")
    response.feed(data)
    response.finish()
    assert error in response.error


def test_server_that_closes_is_believed() -> None:
    response = Response("/page")
    response.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    assert response.is_complete and not response.keeps_connection
    until_end = Response("/page")
    until_end.feed(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    until_end.finish()
    assert until_end.is_complete and until_end.body_bytes == 9


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_any_bytes_are_survived(first: bytes, second: bytes) -> None:
    response = Response("/bytes/10")
    response.feed(first)
    response.feed(b"HTTP/1.1 200 OK\r\n" + second)
    response.feed(b"\r\n\r\n" + first)
    response.finish()
    assert response.is_complete or response.error
