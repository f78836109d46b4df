"""Whole streams between two stacks over a bad wire: every byte arrives once, both sides close,
nothing is left. Seeds are in the test's name, so a failure can be run again."""

from __future__ import annotations

from random import Random

import pytest
from tcp_world import MS, Receiver, Sender, Wire, close_all, connect, make_stack, pump, tables

BAD = {
    "clean": {},
    "loss": {"loss": 0.02},
    "heavy_loss": {"loss": 0.15},
    "reorder": {"jitter_ns": 4 * MS},
    "duplicate": {"duplicate": 0.2, "jitter_ns": MS},
    "corrupt": {"corrupt": 0.03},
    "all": {"loss": 0.05, "duplicate": 0.05, "jitter_ns": 6 * MS, "corrupt": 0.02},
}
KNOBS = {
    "linux": {},
    "no_sack": {"has_sack": False},
    "no_timestamps": {"has_timestamps": False},
    "bare": {"has_sack": False, "has_timestamps": False, "has_window_scaling": False},
    "counted": {"counts_memory": True},
}


@pytest.mark.parametrize("knobs", KNOBS)
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("seed", [1, 2])
def test_both_ways(bad: str, knobs: str, seed: int) -> None:
    random = Random(seed)
    has_checksum = bad not in ("corrupt", "all")
    stacks = [make_stack(n, seed=seed, checksum=has_checksum, **KNOBS[knobs]) for n in (1, 2)]
    wire = Wire(*stacks, seed=seed, **BAD[bad])
    client, server, listener = connect(wire)
    up = random.randbytes(120_000)
    down = random.randbytes(90_000)
    actors = [
        Sender(client, up, random.randrange(1, 20_000)),
        Sender(server, down, random.randrange(1, 20_000)),
        Receiver(client),
        Receiver(server),
    ]
    assert pump(wire, actors), [s.counters() for s in stacks]
    assert bytes(actors[2].data) == down
    assert bytes(actors[3].data) == up
    close_all(wire, client, server, listener)
    assert [tables(s) for s in stacks] == [{}, {}]


@pytest.mark.parametrize("seed", range(8))
def test_what_changes_under_way(seed: int) -> None:
    """The devices take nothing for a while, the links' MTU and the windows' bounds change, memory
    is taken away: the streams arrive all the same."""
    random = Random(seed)
    stacks = [
        make_stack(n, seed=seed, counts_memory=bool(seed & n), may_shrink_window=seed > 5)
        for n in (1, 2)
    ]
    wire = Wire(*stacks, seed=seed, loss=0.02, jitter_ns=2 * MS)
    client, server, listener = connect(wire)
    up, down = random.randbytes(200_000), random.randbytes(200_000)
    actors = [Sender(client, up), Sender(server, down), Receiver(client), Receiver(server)]

    def go_on(for_ns: int) -> None:
        until_ns = wire.now_ns + for_ns

        def is_time() -> bool:
            for actor in actors:
                actor.go()
            return wire.now_ns >= until_ns

        wire.run(2_000 * MS, is_time)

    for _ in range(20):
        go_on(random.randrange(100 * MS))
        stack, socket = random.choice(stacks), random.choice((client, server))
        change = random.randrange(4)
        if change == 0:
            stack.engine.stall(True)
            go_on(200 * MS)
            stack.engine.stall(False)
        elif change == 1:
            stack.change_mtu(random.choice((68, 300, 576, 1_000, 1_500, 9_000)))
        elif change == 2:  # SO_RCVBUF
            size = random.choice((2_304, 5_000, 20_000, 200_000))
            assert socket.setsockopt(1, 8, size.to_bytes(4, "little")) == 0
        else:  # TCP_WINDOW_CLAMP
            clamp = random.choice((2_000, 10_000, 50_000))
            assert socket.setsockopt(6, 10, clamp.to_bytes(4, "little")) == 0
    assert pump(wire, actors), [s.counters() for s in stacks]
    assert bytes(actors[2].data) == down
    assert bytes(actors[3].data) == up
    close_all(wire, client, server, listener)
    assert [tables(s) for s in stacks] == [{}, {}]


@pytest.mark.parametrize("seed", range(4))
def test_super_segments(seed: int) -> None:
    """64 KiB segments towards a link that cuts them, which this wire does not: they arrive as
    one, as from a link that joins."""
    stacks = [make_stack(n, seed=seed, tso=65535) for n in (1, 2)]
    wire = Wire(*stacks, seed=seed, loss=0.02 if seed else 0)
    client, server, listener = connect(wire)
    data = Random(seed).randbytes(1_500_000)
    actors = [Sender(client, data), Receiver(server), Sender(server, b""), Receiver(client)]
    assert pump(wire, actors)
    assert bytes(actors[1].data) == data
    close_all(wire, client, server, listener)
    assert [tables(s) for s in stacks] == [{}, {}]
