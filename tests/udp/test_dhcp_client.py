"""The DHCP client on a stack, against a server in Python: leases, renewals, refusals, silence."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leulo.net.dhcp import BOUND, REBINDING, RENEWING, REQUESTING, SELECTING, DhcpClient
from leulo.net.wire import dhcp
from leulo.net.wire.dhcp import DhcpRepr
from leulo.stack import Stack, StackConfig
from leulo.tcp.socket import TcpSocket
from leulo.trace import Trace
from leulo.udp.socket import UdpSocket

S = 1_000_000_000
MAC = bytes((2, 0, 0, 0, 0, 1))
SERVER, GIVEN = bytes((10, 9, 0, 1)), bytes((10, 9, 0, 77))
EVERYBODY = b"\xff\xff\xff\xff"


def make_client(seed: int = 1) -> DhcpClient:
    return DhcpClient(MAC, "test", Random(seed).getrandbits)


def reply(question: DhcpRepr, kind: int, lease_s: int = 1000, **fields: object) -> DhcpRepr:
    options = {
        dhcp.OPTION_SERVER_ID: SERVER,
        dhcp.OPTION_LEASE_TIME: lease_s.to_bytes(4, "big"),
        dhcp.OPTION_SUBNET_MASK: dhcp.mask_of(24),
        dhcp.OPTION_ROUTERS: SERVER,
        dhcp.OPTION_DNS: SERVER,
    }
    return DhcpRepr(
        dhcp.BOOT_REPLY, kind, question.transaction, MAC, your_address=GIVEN, options=options,
        **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def ask(client: DhcpClient, now_ns: int) -> tuple[DhcpRepr, bytes]:
    """The only message that the client sends now, and where to."""
    client.advance(now_ns)
    [(message, to)] = client.take_output()
    return DhcpRepr.parse(message), to


def bound_client(lease_s: int = 1000, now_ns: int = 0) -> DhcpClient:
    client = make_client()
    discover, _ = ask(client, now_ns)
    client.input(reply(discover, dhcp.OFFER).emit(), now_ns)
    request, _ = ask(client, now_ns)
    client.input(reply(request, dhcp.ACK, lease_s).emit(), now_ns)
    assert client.state == BOUND
    return client


def test_discover_offer_request_ack() -> None:
    client = make_client()
    assert client.next_deadline() == 0
    discover, to = ask(client, 0)
    assert (discover.kind, to, discover.is_broadcast) == (dhcp.DISCOVER, EVERYBODY, True)
    client.input(reply(discover, dhcp.OFFER).emit(), S)
    assert client.state == REQUESTING and client.lease is None
    request, to = ask(client, S)
    assert (request.kind, to, request.transaction) == (
        dhcp.REQUEST,
        EVERYBODY,
        discover.transaction,
    )
    assert request.requested_address == GIVEN and request.server_id == SERVER
    client.input(reply(request, dhcp.ACK).emit(), 2 * S)
    assert client.lease is not None
    assert (client.lease.address, client.lease.prefix_length) == (GIVEN, 24)
    assert client.next_deadline() == S + 500 * S  # counted from the request


def test_silence_is_told_once_when_it_asks_again_and_never_after_a_lease() -> None:
    told: list[int] = []
    client = make_client()
    client.on_silence = lambda: told.append(now)
    now = 0
    ask(client, now)
    assert not told
    for _ in range(5):
        now = client.next_deadline() or 0
        ask(client, now)
    assert len(told) == 1 and 3 * S <= told[0] <= 5 * S
    leased = bound_client()
    leased.on_silence = lambda: told.append(-1)
    for _ in range(20):
        leased.advance(leased.next_deadline() or 0)
    assert leased.lease is None and len(told) == 1


def test_an_offer_that_nobody_acknowledges_is_silence_too() -> None:
    told: list[int] = []
    client = make_client()
    client.on_silence = lambda: told.append(1)
    discover, _ = ask(client, 0)
    client.input(reply(discover, dhcp.OFFER).emit(), 0)
    ask(client, 0)
    ask(client, client.next_deadline() or 0)
    assert told


def test_silence_is_asked_again_ever_more_slowly_for_ever() -> None:
    client = make_client()
    waits = []
    now = 0
    for _ in range(9):
        ask(client, now)
        deadline = client.next_deadline()
        assert deadline is not None
        waits.append((deadline - now) / S)
        client.advance(deadline - 1)
        assert client.take_output() == []
        now = deadline
    for wait, expected in zip(waits, (4, 8, 16, 32, 64, 64, 64, 64, 64), strict=True):
        assert expected - 1 <= wait <= expected + 1
    assert len(set(waits)) > 5  # by chance


def test_offer_whose_server_falls_silent_is_given_up() -> None:
    client = make_client()
    discover, _ = ask(client, 0)
    client.input(reply(discover, dhcp.OFFER).emit(), 0)
    now = 0
    for _ in range(4):
        assert ask(client, now)[0].kind == dhcp.REQUEST
        now = client.next_deadline() or 0
    again, _ = ask(client, now)
    assert again.kind == dhcp.DISCOVER and again.transaction != discover.transaction


def test_renewal_from_the_server_itself_extends_the_lease() -> None:
    client = bound_client()
    request, to = ask(client, 500 * S)
    assert client.state == RENEWING
    assert (request.kind, to, request.client_address) == (dhcp.REQUEST, SERVER, GIVEN)
    assert request.server_id is None and request.requested_address is None
    client.input(reply(request, dhcp.ACK).emit(), 501 * S)
    assert client.state == BOUND and client.next_deadline() == 1000 * S


def test_no_renewal_then_rebinding_then_the_end() -> None:
    client = bound_client()
    now, kinds = 500 * S, []
    while client.lease is not None:
        client.advance(now)
        kinds += [(client.state, to) for _, to in client.take_output()]
        deadline = client.next_deadline()
        assert deadline is not None and deadline > now
        now = deadline
        if client.state == SELECTING:
            break
    assert now >= 1000 * S
    assert (RENEWING, SERVER) in kinds and (REBINDING, EVERYBODY) in kinds
    assert kinds[-1] == (SELECTING, EVERYBODY) and len(kinds) < 15


def test_refusal_begins_again_after_a_while() -> None:
    client = bound_client()
    request, _ = ask(client, 500 * S)
    client.input(reply(request, dhcp.NAK).emit(), 501 * S)
    assert client.state == SELECTING and client.lease is None
    assert client.next_deadline() == 505 * S


@pytest.mark.parametrize("lease_s", [0, 1, 10, dhcp.INFINITE_S])
def test_absurd_and_infinite_leases(lease_s: int) -> None:
    client = bound_client(lease_s)
    deadline = client.next_deadline()
    assert (deadline is None) if lease_s == dhcp.INFINITE_S else (deadline or 0) >= 5 * S


def test_answers_to_others_and_nonsense_are_ignored() -> None:
    client = make_client()
    discover, _ = ask(client, 0)
    good = reply(discover, dhcp.OFFER)
    wrong = [b"", good.emit()[:200]]
    for name, value in (("transaction", 1), ("mac", bytes(6)), ("operation", 1)):
        other = reply(discover, dhcp.OFFER)
        setattr(other, name, value)
        wrong.append(other.emit())
    for address in (bytes(4), EVERYBODY, bytes((224, 0, 0, 1))):
        other = reply(discover, dhcp.OFFER)
        other.your_address = address
        wrong.append(other.emit())
    for text in wrong:
        client.input(text, 0)
    assert client.state == SELECTING
    client.input(good.emit(), 0)
    assert client.state == REQUESTING


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 600), st.binary(max_size=40)), max_size=20)
)
def test_any_order_of_answers_never_fails(steps: list[tuple[int, int, bytes]]) -> None:
    client = make_client()
    now, question = 0, None
    kinds = (dhcp.OFFER, dhcp.ACK, dhcp.NAK, dhcp.INFORM)
    for kind, wait_s, noise in steps:
        client.advance(now)
        for message, _ in client.take_output():
            question = DhcpRepr.parse(message)
        assert question is not None
        text = bytearray(reply(question, kinds[kind], wait_s).emit())
        if noise:
            at = len(noise) * 7 % 280
            text[at : at + len(noise) % 5] = noise[: len(noise) % 5]
        client.input(bytes(text), now)
        deadline = client.next_deadline()
        assert deadline is None or deadline >= 0
        now += wait_s * S


class Network:
    """A stack that asks, and one that has a server at port 67."""

    def __init__(self) -> None:
        self.asker = Stack(
            StackConfig("asker", MAC, bytes(4), 24, is_dhcp=True), Random(1).getrandbits, Trace()
        )
        self.host = Stack(
            StackConfig("host", bytes((2, 0, 0, 0, 0, 2)), SERVER, 24),
            Random(2).getrandbits, Trace(),
        )  # fmt: skip
        box = self.host.socket(2, 2)
        assert isinstance(box, UdpSocket)
        box.setsockopt(1, 6, b"\1\0\0\0")
        assert box.bind(bytes(4), 67) == 0
        self.box = box
        self.now_ns = 0
        self.is_silent = False

    def run(self, seconds: float) -> None:
        end = self.now_ns + int(seconds * S)
        while self.now_ns < end:
            for _ in range(6):
                for here, there in ((self.asker, self.host), (self.host, self.asker)):
                    here.advance(self.now_ns)
                    frames = [b"".join(frame) for frame in here.drain(self.now_ns)]
                    there.input(frames, self.now_ns)
                self.answer()
            dues = [s.next_deadline() for s in (self.asker, self.host)]
            self.now_ns = min([end, *(max(d, self.now_ns + 1) for d in dues if d is not None)])

    def answer(self) -> None:
        while not isinstance(got := self.box.recvfrom(2000), int):
            if self.is_silent:
                continue
            question = DhcpRepr.parse(got[0])
            kind = dhcp.OFFER if question.kind == dhcp.DISCOVER else dhcp.ACK
            to = got[1][0] if any(got[1][0]) else EVERYBODY
            self.box.sendto(reply(question, kind, 100).emit(), to, 68)


def test_stack_gets_keeps_and_loses_its_address() -> None:
    network = Network()
    asker = network.asker
    seen: list[bytes | None] = []
    asker.on_address = lambda lease: seen.append(None if lease is None else lease.address)
    assert asker.source_for(SERVER) is None
    network.run(1)
    assert seen == [GIVEN] and asker.address == GIVEN
    client = asker.socket(2, 2)
    assert isinstance(client, UdpSocket)
    assert client.connect(SERVER, 9) == 0
    assert client.send(b"hello") == 5
    network.run(1)
    assert client.recv(1) == -111  # it can speak, and is answered
    network.run(400)  # renewed eight times or so
    assert seen == [GIVEN]
    assert asker.counters()["dhcp_leases"] > 5
    state = asker.save()
    again = Stack(asker.config, Random(3).getrandbits, Trace())
    again.load(state)
    again.on_address = asker.on_address
    network.asker = again
    network.run(100)
    assert seen == [GIVEN] and again.address == GIVEN
    network.is_silent = True
    network.run(200)
    assert seen == [GIVEN, None] and again.address == bytes(4)


def test_the_request_tells_the_same_time_as_the_discover() -> None:
    """So that relays send it to the same servers. [RFC 2131 3.1]"""
    client = make_client()
    ask(client, 0)
    now = client.next_deadline() or 0
    discover, _ = ask(client, now)
    assert discover.seconds in (3, 4, 5)
    client.input(reply(discover, dhcp.OFFER).emit(), now + 2 * S)
    first, _ = ask(client, now + 2 * S)
    second, _ = ask(client, client.next_deadline() or 0)
    assert first.seconds == second.seconds == discover.seconds
    assert first.client_address == bytes(4)


def test_what_is_wanted_is_the_same_in_every_message() -> None:
    """[RFC 2131 3.5, 4.4.1, 4.4.3]"""
    client = make_client()
    discover, _ = ask(client, 0)
    client.input(reply(discover, dhcp.OFFER).emit(), 0)
    request, _ = ask(client, 0)
    client.input(reply(request, dhcp.ACK).emit(), 0)
    renewal, _ = ask(client, 500 * S)
    for option in (dhcp.OPTION_PARAMETERS, dhcp.OPTION_CLIENT_ID, dhcp.OPTION_MAX_SIZE):
        values = {message.options[option] for message in (discover, request, renewal)}
        assert len(values) == 1
    assert int.from_bytes(discover.options[dhcp.OPTION_MAX_SIZE], "big") >= 576


def test_a_client_with_an_address_wants_no_broadcast() -> None:
    """[RFC 2131 4.1]"""
    client = bound_client()
    renewal, _ = ask(client, 500 * S)
    assert not renewal.is_broadcast


def test_times_of_the_server_count_if_they_are_in_order() -> None:
    """[RFC 2131 4.4.5]"""
    for t1, t2, due in ((100, 200, 100), (300, 200, 500), (100, 2000, 500)):
        client = make_client()
        discover, _ = ask(client, 0)
        client.input(reply(discover, dhcp.OFFER).emit(), 0)
        request, _ = ask(client, 0)
        ack = reply(request, dhcp.ACK)
        ack.options[dhcp.OPTION_RENEWAL_TIME] = t1.to_bytes(4, "big")
        ack.options[dhcp.OPTION_REBINDING_TIME] = t2.to_bytes(4, "big")
        client.input(ack.emit(), 0)
        assert client.next_deadline() == due * S


@pytest.mark.parametrize(
    ("option", "seconds", "renew", "rebind"),
    [
        (dhcp.OPTION_RENEWAL_TIME, 100, 100, 875),
        (dhcp.OPTION_REBINDING_TIME, 700, 500, 700),
        (dhcp.OPTION_REBINDING_TIME, 400, 500, 875),  # it would come before the default of T1
    ],
)
def test_one_time_of_the_server_counts_without_the_other(
    option: int, seconds: int, renew: int, rebind: int
) -> None:
    """[RFC 2131 4.4.5]"""
    client = make_client()
    discover, _ = ask(client, 0)
    client.input(reply(discover, dhcp.OFFER).emit(), 0)
    request, _ = ask(client, 0)
    ack = reply(request, dhcp.ACK)
    ack.options[option] = seconds.to_bytes(4, "big")
    client.input(ack.emit(), 0)
    assert (client.renew_ns, client.rebind_ns) == (renew * S, rebind * S)


def test_renewals_wait_half_of_what_is_left_and_a_minute_at_least() -> None:
    """[RFC 2131 4.4.5]"""
    client = bound_client(8000)
    for end in (7000 * S, 8000 * S):
        now = client.next_deadline() or 0
        while now < end:
            ask(client, now)
            again = client.next_deadline() or 0
            assert again == min(now + max((end - now) // 2, 60 * S), end)
            now = again


def test_an_ack_that_nobody_asked_for_is_ignored() -> None:
    """[RFC 2131 4.4.1]"""
    client = make_client()
    discover, _ = ask(client, 0)
    client.input(reply(discover, dhcp.ACK).emit(), 0)
    assert client.state == SELECTING and client.lease is None


def test_only_the_server_that_was_chosen_may_refuse() -> None:
    """[RFC 2131 3.1]"""
    client = make_client()
    discover, _ = ask(client, 0)
    client.input(reply(discover, dhcp.OFFER).emit(), 0)
    request, _ = ask(client, 0)
    other = reply(request, dhcp.NAK)
    other.options[dhcp.OPTION_SERVER_ID] = bytes((10, 9, 0, 2))
    client.input(other.emit(), 0)
    assert client.state == REQUESTING


def test_a_reply_without_the_cookie_is_ignored() -> None:
    """[RFC 2131 3]"""
    client = make_client()
    discover, _ = ask(client, 0)
    text = bytearray(reply(discover, dhcp.OFFER).emit())
    text[236] ^= 1
    client.input(bytes(text), 0)
    assert client.state == SELECTING


def test_questions_come_from_nowhere_until_there_is_an_address() -> None:
    """[RFC 2131 4.1]"""
    network = Network()
    network.asker.advance(0)
    [frame] = [b"".join(parts) for parts in network.asker.drain(network.now_ns)]
    assert (frame[36:40], frame[40:44]) == (bytes(4), EVERYBODY)
    assert frame[44:48] == bytes((0, 68, 0, 67))


def test_an_answer_from_another_port_is_not_heard() -> None:
    """[RFC 2131 4.1]"""
    network = Network()
    other = network.host.socket(2, 2)
    assert isinstance(other, UdpSocket)
    other.setsockopt(1, 6, b"\1\0\0\0")
    assert other.bind(bytes(4), 66) == 0
    answering, network.is_silent = network.box, True
    network.run(0.001)
    network.asker.advance(0)
    question = DhcpRepr(
        dhcp.BOOT_REQUEST, dhcp.DISCOVER, network.asker.dhcp.client.transaction, MAC
    )  # type: ignore[union-attr]
    other.sendto(reply(question, dhcp.OFFER).emit(), EVERYBODY, 68)
    network.run(1)
    client = network.asker.dhcp.client  # type: ignore[union-attr]
    assert client.state == SELECTING
    answering.sendto(reply(question, dhcp.OFFER).emit(), EVERYBODY, 68)
    network.run(1)
    assert client.state == REQUESTING


def test_the_link_is_told_of_a_new_address() -> None:
    """[RFC 2131 4.4.1]"""
    network = Network()
    network.run(1)
    assert network.asker.address == GIVEN
    assert network.asker.arp.counters()["arp_out"] >= 1


def test_who_was_answered_before_is_not_at_an_address_that_is_gone() -> None:
    network = Network()
    network.run(1)
    asker = network.asker
    caller = network.host.socket(2, 1)
    assert isinstance(caller, TcpSocket)
    caller.connect(GIVEN, 9)
    asker.input(
        [b"".join(frame) for frame in network.host.drain(network.now_ns)], network.now_ns
    )  # who has it?
    network.host.input([b"".join(frame) for frame in asker.drain(network.now_ns)], network.now_ns)
    [syn] = [b"".join(frame) for frame in network.host.drain(network.now_ns)]
    for _ in range(2):
        asker.input([syn], network.now_ns)
        assert len(asker.drain(network.now_ns)) == 1  # refused
    network.is_silent = True
    network.run(200)  # twice as long as the address was given for
    assert not any(asker.address)
    asker.drain(network.now_ns)
    asker.input([syn], network.now_ns)
    assert asker.drain(network.now_ns) == []
    assert asker.counters()["drop_ipv4_destination"] == 1


def test_a_stack_that_is_loaded_has_the_address_of_then() -> None:
    """Even if it has another by now, or one where there was none."""
    network = Network()
    asker = network.asker
    before = asker.save()
    network.run(1)
    assert asker.address == GIVEN and asker.link_header(SERVER, network.now_ns) != b""
    asker.load(before)
    assert asker.address == bytes(4) and asker.source_for(SERVER) is None
    assert asker.link_header(SERVER, network.now_ns) == b""  # no way there
    network.run(60)
    assert asker.address == GIVEN


def test_a_handshake_with_an_address_that_is_gone_is_over() -> None:
    network = Network()
    network.run(1)
    asker, host = network.asker, network.host
    server, caller = asker.socket(2, 1), host.socket(2, 1)
    assert isinstance(server, TcpSocket) and isinstance(caller, TcpSocket)
    assert server.bind(bytes(4), 80) == 0 and server.listen(5) == 0
    network.is_silent = True
    network.run(95)  # five seconds more
    caller.connect(GIVEN, 80)
    now = network.now_ns
    while not asker.counters()["tcp_half_open"]:
        asker.input([b"".join(frame) for frame in host.drain(now)], now)
        host.input([b"".join(frame) for frame in asker.drain(now)], now)
    acknowledgement = [b"".join(frame) for frame in host.drain(now)]
    assert acknowledgement
    for _ in range(10):
        now += S
        asker.advance(now)
        asker.drain(now)
    assert asker.address == bytes(4) and asker.counters()["tcp_half_open"] == 0
    asker.input(acknowledgement, now)
    assert server.events == 0
