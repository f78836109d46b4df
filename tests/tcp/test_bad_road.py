"""What is sent again over a bad road must have been lost or overtaken: nothing more.

The roads of tests/system/test_linux_judge.py, in virtual time, where nobody keeps a stack waiting:
so nothing is allowed for, and a seed that fails does so everywhere.
"""

from __future__ import annotations

import pytest
from tcp_world import MS, Receiver, Road, Sender, connect, make_stack, pump

from leulo.links.sim.wire_spec import WireSpec

_MBIT = 1_000_000
_PERCENT = 10_000_000  # parts per billion
_BYTES = 1_000_000
_BUFFERS = {"snd_default": 4 << 20, "rcv_default": 4 << 20}

ROADS = {
    "queue": WireSpec(rate=20 * _MBIT, delay=10 * MS, queue=33),
    "lossy": WireSpec(rate=50 * _MBIT, delay=10 * MS, queue=1000, loss=_PERCENT),
    "jumbled": WireSpec(
        rate=50 * _MBIT, delay=10 * MS, queue=1000, reorder=2 * _PERCENT, reorder_by=5 * MS,
        duplicate=_PERCENT,
    ),
    "bad": WireSpec(
        rate=50 * _MBIT, delay=10 * MS, queue=1000, loss=_PERCENT, reorder=2 * _PERCENT,
        reorder_by=5 * MS, duplicate=_PERCENT, corrupt=_PERCENT // 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROADS)
@pytest.mark.parametrize("congestion", ["reno", "cubic", "bbr"])
def test_what_is_sent_again_was_lost_or_overtaken(congestion: str, name: str) -> None:
    for seed in range(12):
        knobs = {"congestion": congestion, **_BUFFERS}
        stacks = make_stack(1, seed=seed, **knobs), make_stack(2, seed=seed + 100, **knobs)
        road = Road(*stacks, ROADS[name], seed)
        client, server, _ = connect(road)
        before = stacks[0].counters()["tcp_retransmits"]  # a SYN whose answer was lost
        receiver = Receiver(server)
        data = bytes(_BYTES)
        assert pump(road, [Sender(client, data), receiver])
        assert receiver.data == data
        there, counts = road.there, stacks[0].counters()
        dropped = there.lost + there.overflowed + there.corrupted
        print(f"seed {seed}:", there.counters(), {k: v for k, v in counts.items() if v})
        assert counts["tcp_retransmits"] - before <= dropped + there.reordered
        if name == "jumbled":  # nothing is lost, so what began as a repair is taken back
            assert counts["tcp_fast_recoveries"] <= counts["tcp_undone"] + 1
            assert not counts["tcp_timeouts"]
