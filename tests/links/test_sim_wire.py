"""The simulated wire without its ends: options, chance, one direction, and the response checker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leulo.errors import ConfigError
from leulo.links.sim.chance import PER_BILLION, Chance
from leulo.links.sim.response import Response, expected_bytes
from leulo.links.sim.spec import SimSpec
from leulo.links.sim.wire import Wire

FULL = bytes(10 + 1250)  # 10,000 bits on the wire: 1 ms at 10 Mbit/s


def wire(rate: int = 10_000_000, delay: int = 0, queue: int = 100, loss: int = 0) -> Wire:
    return Wire(rate, delay, queue, loss, Chance(1, 1))


# Options


def test_every_option_is_read() -> None:
    spec = SimSpec.parse(
        "rate=20mbit,delay=20ms,queue=100,loss=0.01,seed=1,requests=50,"
        "path=/bytes/10000,keepalive=1,connections=1,port=8080"
    )
    assert spec == SimSpec(
        rate=20_000_000,
        delay=20_000_000,
        queue=100,
        loss=10_000_000,
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
    assert SimSpec.parse(f"loss={text}").loss == parts


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
