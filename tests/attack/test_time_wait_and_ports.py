"""Tables that a peer, or a program gone wrong, tries to fill: TIME_WAIT, ports, connections, the
keys of the tables themselves."""

from __future__ import annotations

from random import Random

from enemy import ACK, FIN, MOST_LINES, RST, SYN, S, answers, held_by, lines_of, segment
from script_peer import PEER_ISN, Script
from tcp_world import ANY, address, dial

from leulo.tcp.socket import TcpSocket


def life(s: Script, port: int, now_ns: int) -> None:
    """A whole short connection that ends in TIME_WAIT on our side."""
    s.stack.input([segment(SYN, 0, source_port=port)], now_ns)
    [answer] = answers(s.stack, now_ns)
    iss = answer.sequence
    s.stack.input([segment(ACK, 1, iss + 1, source_port=port)], now_ns)
    assert s.listener is not None
    socket = s.listener.accept()
    assert isinstance(socket, TcpSocket)
    socket.close()
    answers(s.stack, now_ns)
    s.stack.input([segment(ACK | FIN, 1, iss + 2, source_port=port)], now_ns)
    answers(s.stack, now_ns)


def test_time_wait_flood_is_capped_and_service_goes_on() -> None:
    s = Script(time_wait_limit=500)
    s.listen()

    def flood(first: int, count: int) -> None:
        for port in range(first, first + count):
            life(s, port, s.now_ns)

    flood(1024, 600)
    assert held_by(lambda: flood(2000, 2000)) < 500 * 600 + 256 * 1024
    counters = s.stack.counters()
    assert counters["tcp_time_wait"] == 500
    assert counters["tcp_time_wait_evicted"] == 2100
    assert counters["tcp_connections"] == 0
    s.wait(61 * S)
    assert s.stack.counters()["tcp_time_wait"] == 0


def test_ended_connections_leave_no_timers_for_hours() -> None:
    """Keepalive's deadline is two hours away when a connection ends: its entry must not stay."""
    s = Script(timestamps=False, sack=False, wscale=-1)
    s.listen()
    assert s.listener is not None
    assert s.listener.setsockopt(1, 9, b"\1\0\0\0") == 0  # SO_KEEPALIVE
    for port in range(1024, 5024):
        s.stack.input([segment(SYN, 0, source_port=port)], s.now_ns)
        [answer] = answers(s.stack, s.now_ns)
        s.stack.input([segment(ACK, 1, answer.sequence + 1, source_port=port)], s.now_ns)
        socket = s.listener.accept()
        assert isinstance(socket, TcpSocket)
        s.now_ns += 2 * S
        s.stack.advance(s.now_ns)
        s.stack.input([segment(RST, 1, source_port=port)], s.now_ns)
        socket.close()
    assert s.stack.counters()["tcp_connections"] == 0
    assert s.stack.counters()["tcp_timers"] <= 1024 + 2


def test_completed_handshakes_leave_no_records_behind_one_that_waits() -> None:
    """A SYN whose answer is never acknowledged is first in the queue; the records of those behind
    it, all within the same second, must not wait for it."""
    s = Script()
    s.listen()
    s.stack.input([segment(SYN, 0, source_port=999)], s.now_ns)
    answers(s.stack, s.now_ns)
    for port in range(1024, 3024):
        life(s, port, s.now_ns)
    engine = s.stack.engine
    assert len(engine.half_open) == 1
    assert len(engine.opening) <= 2 + 256
    deadline_ns = s.now_ns + engine.config.rto_initial_ns
    assert (s.stack.next_deadline() or 0) <= deadline_ns
    s.stack.advance(deadline_ns)
    [again] = answers(s.stack, deadline_ns)
    assert again.destination_port == 999 and again.flags & SYN
    assert len(engine.opening) == 0


def test_records_kept_alive_by_repeated_fins_stay_within_the_cap() -> None:
    """A peer repeats its FINs for ever: each restarts its record and none is added."""
    s = Script(time_wait_limit=100)
    s.listen()
    for port in range(1024, 1124):
        life(s, port, s.now_ns)
    for _ in range(50):
        s.now_ns += 30 * S
        s.stack.input(
            [segment(ACK | FIN, 1, 5, source_port=p) for p in range(1024, 1124)], s.now_ns
        )
        s.stack.drain(s.now_ns, 1000)
        s.stack.advance(s.now_ns)
        assert len(s.stack.engine.time_wait) <= 100
        assert s.stack.engine.time_wait.bytes < 100 * 300
    life(s, 5000, s.now_ns)
    assert len(s.stack.engine.time_wait) == 100


def test_work_for_a_segment_in_time_wait_does_not_grow() -> None:
    s = Script()
    s.listen()
    for port in range(1024, 1524):
        life(s, port, s.now_ns)
    random = Random(1)

    def flood(count: int) -> int:
        frames = [segment(random.choice([ACK, ACK | FIN, 4, SYN | ACK]), random.getrandbits(32),
                          random.getrandbits(32), source_port=random.randrange(1024, 1524))
                  for _ in range(count)]  # fmt: skip

        def run() -> None:
            for at in range(0, count, 64):
                s.stack.input(frames[at : at + 64], s.now_ns)
                s.stack.drain(s.now_ns)

        return lines_of(run)

    flood(64)
    few, many = flood(320), flood(3200)
    assert many <= 10.5 * few
    assert many <= 3200 * MOST_LINES
    assert s.stack.counters()["tcp_time_wait"] == 500


def test_all_ports_in_use_is_an_error_and_not_a_search_for_ever() -> None:
    """[RFC 6056]: EADDRNOTAVAIL, and the port that is given back is found."""
    s = Script(first_ephemeral=40_000, last_ephemeral=40_999)
    stack = s.stack
    sockets = [dial(stack, address(2)) for _ in range(1000)]
    late = s.new_socket()
    assert lines_of(lambda: late.connect(address(2), 80)) < 1000 * 20
    assert late.connect(address(2), 80) == -99
    assert late.connect(address(2), 81) == -115  # another destination has ports of its own
    sockets[123].close()
    again = s.new_socket()
    assert again.connect(address(2), 80) == -115
    bound = s.new_socket()
    assert bound.bind(ANY, 0) == -98


def test_ports_of_active_opens_are_hard_to_guess() -> None:
    """Whoever is connected to learns a port; where others are connected to he does not, though all
    counters stood at the same. [RFC 6056 3.3.4]"""
    s = Script()
    s.stack.engine.ports.steps = [0] * len(s.stack.engine.ports.steps)
    sockets = [dial(s.stack, address(2), port) for port in range(1, 41)]
    ports = [socket.local[1] for socket in sockets]
    assert len(set(ports)) >= 38
    assert max(ports) - min(ports) > 10_000


def test_connections_past_the_quota_are_refused_and_the_rest_lives() -> None:
    s = Script(connections_max=50, timestamps=False, sack=False, wscale=-1)
    s.listen(1000)
    for port in range(5000, 5200):
        s.stack.input([segment(SYN, 0, source_port=port)], s.now_ns)
        for answer in answers(s.stack, s.now_ns):
            s.stack.input([segment(ACK, 1, answer.sequence + 1, source_port=port)], s.now_ns)
    assert s.stack.counters()["tcp_connections"] == 50
    assert s.new_socket().connect(address(2), 80) == -105
    socket = s.accept()
    s.stack.input([segment(ACK, 1, socket.tcb.snd_nxt, b"served", source_port=5000)], s.now_ns)
    assert socket.recv(10) == b"served"


def test_connections_whose_keys_differ_little_cost_no_more() -> None:
    """Peers that differ in one byte only, in sequence or by powers of two, as somebody would
    choose them who knew the hash of the table: the time for a segment does not follow."""
    s = Script(timestamps=False, sack=False, wscale=-1)
    s.listen(4096)
    costs = []
    for ports in (range(1024, 1124), range(2048, 3048)):
        for port in ports:
            s.stack.input([segment(SYN, PEER_ISN, source_port=port)], s.now_ns)
            [answer] = answers(s.stack, s.now_ns)
            s.stack.input([segment(ACK, PEER_ISN + 1, answer.sequence + 1, source_port=port)],
                          s.now_ns)  # fmt: skip
        port = ports[-1]
        frame = segment(ACK, PEER_ISN + 1, answer.sequence + 1, source_port=port)
        costs.append(lines_of(lambda frame=frame: s.stack.input([frame] * 50, s.now_ns)))  # type: ignore[misc]
    assert costs[1] <= 1.1 * costs[0]
