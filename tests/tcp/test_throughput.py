"""How fast a sender goes over a path with a rate, a queue and losses: not too slow, not unfair.

The bounds are those that theory and other stacks give: 0.7 to 1.2 of MSS/RTT * sqrt(3/2p) under
random loss, a full link without loss, two equal flows with equal shares.
"""

from __future__ import annotations

import heapq
from collections import deque
from math import sqrt
from random import Random

import pytest
from tcp_world import S, dial, listen, make_stack

from leulo.tcp.socket import TcpSocket

MSS = 1448
DELAY_NS = 20_000_000


class Path:
    """Rate, one-way delay and a drop-tail queue towards the receiver; the way back is clear."""

    def __init__(self, rate_bit_s: int, queue: int, loss: float, seed: int) -> None:
        self.rate = rate_bit_s
        self.queue = queue
        self.loss = loss
        self.random = Random(seed)
        self.free_ns = 0
        self.leaving: deque[int] = deque()
        self.drops = 0

    def arrival_ns(self, size: int, now_ns: int) -> int | None:
        """When a frame sent now arrives; None if it does not."""
        if self.loss and self.random.random() < self.loss:
            self.drops += 1
            return None
        while self.leaving and self.leaving[0] <= now_ns:
            self.leaving.popleft()
        if len(self.leaving) >= self.queue:
            self.drops += 1
            return None
        self.free_ns = max(now_ns, self.free_ns) + size * 8 * S // self.rate
        self.leaving.append(self.free_ns)
        return self.free_ns + DELAY_NS


def run(
    flows: int, path: Path, seconds: int, begin: int = 0, congestion: str = "cubic"
) -> tuple[list[float], dict[str, int]]:
    """Payload bit/s of each flow from second ``begin`` on, and the sender's counters."""
    a, b = make_stack(1, congestion=congestion), make_stack(2)
    listeners = [listen(b, 80 + i) for i in range(flows)]
    clients = [dial(a, b.address, 80 + i) for i in range(flows)]
    servers: list[TcpSocket] = []
    received = [0] * flows
    before = [0] * flows
    view = memoryview(bytearray(1 << 20))
    chunk = bytes(65_536)
    flying: list[tuple[int, int, int, bytes]] = []
    now = serial = 0
    while now < seconds * S:
        for client in clients:
            while client.send_room() >= len(chunk):
                client.send(chunk)
        for i, listener in enumerate(listeners):
            if len(servers) == i and isinstance(got := listener.accept(), TcpSocket):
                servers.append(got)
        for i, server in enumerate(servers):
            while (count := server.recv_into(view)) > 0:
                received[i] += count
        if now < begin * S:
            before = list(received)
        for sender, stack in enumerate((a, b)):
            for parts in stack.drain(now, 10_000):
                frame = b"".join(parts)
                at: int | None = now + DELAY_NS
                if sender == 0 and len(frame) > 200:
                    at = path.arrival_ns(len(frame) - 10, now)
                if at is not None:
                    serial += 1
                    heapq.heappush(flying, (at, serial, 1 - sender, frame))
        times = [at for at in (a.next_deadline(), b.next_deadline()) if at is not None]
        if flying:
            times.append(flying[0][0])
        now = max(now, min(times))
        while flying and flying[0][0] <= now:
            _, _, to, frame = heapq.heappop(flying)
            (a, b)[to].input([frame], now)
        a.advance(now)
        b.advance(now)
    span = seconds - begin
    return [(x - y) * 8 / span for x, y in zip(received, before, strict=True)], a.counters()


@pytest.mark.parametrize("loss", [0.003, 0.01])
def test_random_loss(loss: float) -> None:
    model = MSS * 8 / 0.04 * sqrt(1.5 / loss)
    rates = []
    for seed in range(3):
        path = Path(100_000_000, 2000, loss, seed)
        (rate,), counters = run(1, path, 20, congestion="reno")  # the model's
        rates.append(rate / model)
        # Every loss is repaired by recovery, but for the last ones; what was lost twice may need
        # the timer.
        assert path.drops - 20 <= counters["tcp_retransmits"] <= path.drops * 1.2 + 2
        assert counters["tcp_timeouts"] <= 2 + path.drops // 10
    assert 0.7 <= sum(rates) / len(rates) <= 1.2, rates


def test_clean_link_is_full() -> None:
    path = Path(20_000_000, 66, 0, 1)
    (rate,), counters = run(1, path, 15)
    assert rate >= 0.93 * 20_000_000 * MSS / (MSS + 66), rate
    assert counters["tcp_timeouts"] == 0


@pytest.mark.slow
def test_two_flows_share() -> None:
    path = Path(20_000_000, 66, 0, 1)
    rates, _ = run(2, path, 60, begin=10)
    assert sum(rates) ** 2 / (2 * sum(rate * rate for rate in rates)) >= 0.95, rates


def test_slow_start_doubles() -> None:
    """10, 20, 40 segments: one round trip each. [RFC 5681 3.1] [RFC 6928 2]"""
    a, b = make_stack(1), make_stack(2)
    listener = listen(b)
    client = dial(a, b.address)
    server: TcpSocket | int = -11
    now = 0
    flying: list[tuple[int, int, int, bytes]] = []
    sent: dict[int, int] = {}
    serial = 0
    while now < 5 * 2 * DELAY_NS - 1:
        if isinstance(server, int):
            server = listener.accept()
        else:
            server.recv(1 << 20)
        while client.send_room() >= 65_536:
            client.send(bytes(65_536))
        for sender, stack in enumerate((a, b)):
            for parts in stack.drain(now, 10_000):
                serial += 1
                frame = b"".join(parts)
                if sender == 0 and len(frame) > 200:
                    sent[now // (2 * DELAY_NS)] = sent.get(now // (2 * DELAY_NS), 0) + 1
                heapq.heappush(flying, (now + DELAY_NS, serial, 1 - sender, frame))
        now = flying[0][0]
        while flying and flying[0][0] <= now:
            _, _, to, frame = heapq.heappop(flying)
            (a, b)[to].input([frame], now)
    rounds = [sent[k] for k in sorted(sent)]
    assert rounds[0] == 10
    assert 18 <= rounds[1] <= 21 and 34 <= rounds[2] <= 42, rounds
