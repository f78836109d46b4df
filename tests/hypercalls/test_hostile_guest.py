"""Nothing a guest writes raises, writes where it must not, or makes a table grow."""

from __future__ import annotations

import random

from hypercall_fuzz import RAM, Fuzzer
from hypercall_guest import ADDRESS, GATEWAY, IN, OUT, FakeSocket, Guest

from leulo.hypercalls import Limits, abi

SEED = 20_000


def test_random_descriptors_on_a_small_engine() -> None:
    chance = random.Random(SEED)
    guest = Guest(memory_bytes=RAM, limits=Limits(max_sockets=32), ring_entries=0)

    def turn() -> None:
        for socket in guest.stack.made[-40:]:
            if chance.random() < 0.3:
                socket.incoming += b"more"
                socket.queue = [FakeSocket(guest.stack)]
                socket.queue[0].local = (ADDRESS, 80)
                socket.queue[0].peer = (GATEWAY, 81)
                socket.turn(chance.choice([IN, IN | OUT, 0x2019]))
        guest.hypercalls.deliver()

    fuzzer = Fuzzer(guest, SEED, turn)
    for _ in range(5_000):
        fuzzer.step()
    counters = guest.hypercalls.counters()
    assert counters["sockets"] <= 32
    assert counters["ring.waiting"] <= 32
    # The calls reached what is behind the checks, and every check was met.
    for op in (abi.Op.SEND, abi.Op.RECV, abi.Op.ACCEPT, abi.Op.POLL, abi.Op.SUBSCRIBE):
        assert fuzzer.results[op] > 10, (op, fuzzer.results)
    for status in (0, 1, 2, 5, 6, 7):
        assert fuzzer.statuses[status] > 10, (status, fuzzer.statuses)
