"""Paths narrower than the link: routers that tell, routers that do not, and none at all."""

from __future__ import annotations

from random import Random
from struct import pack

import pytest
from script_peer import HERE, HERE_MAC, THERE, THERE_MAC, Script
from tcp_world import MS, Receiver, S, Sender, Wire, address, connect, make_stack, pump
from test_saved import reborn

from leulo.net.wire.checksum import checksum
from leulo.net.wire.icmp import DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, IcmpRepr
from leulo.net.wire.ipv4 import PROTOCOL_ICMP, Ipv4Repr
from leulo.tcp import mtu_search
from leulo.tcp.config import PRESETS
from leulo.tcp.path_mtu import PathMtus
from leulo.tcp.scoreboard import Scoreboard
from leulo.tcp.socket import TcpSocket
from leulo.tcp.tcb import Tcb

IP, DISCOVER, MTU = 0, 10, 14
TCP, MAXSEG = 6, 2
DONT, INTERFACE = 0, 4


class NarrowWire(Wire):
    """Packets of more than ``mtu`` bytes vanish; with ``tells`` the sender hears of it."""

    mtu = 1500
    tells = False
    lost = 0

    def _post(self, to: int, frame: bytes) -> None:
        packet = frame[24:]
        if frame[22:24] != b"\x08\x00" or len(packet) <= self.mtu:
            super()._post(to, frame)
            return
        self.lost += 1
        if self.tells:
            error = IcmpRepr(DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, self.mtu, packet[:28])
            text = error.emit()
            ip = Ipv4Repr(packet[16:20], packet[12:16], PROTOCOL_ICMP, len(text))
            back = b"\x02" + bytes(9) + frame[16:22] + frame[10:16] + b"\x08\x00"
            super()._post(1 - to, back + ip.emit() + text)


def world(mtu: int, tells: bool, **knobs: object) -> tuple[NarrowWire, TcpSocket, TcpSocket]:
    """A connection over a path that is narrow from now on."""
    wire = NarrowWire(make_stack(1, **knobs), make_stack(2))
    client, server, _ = connect(wire)
    wire.mtu, wire.tells = mtu, tells
    return wire, client, server


def carry(wire: Wire, client: TcpSocket, server: TcpSocket, length: int) -> int:
    """Send ``length`` bytes; the nanoseconds it took."""
    data = Random(length).randbytes(length)
    receiver = Receiver(server)
    start = wire.now_ns
    assert pump(wire, [Sender(client, data), receiver], 300 * S)
    assert bytes(receiver.data) == data
    return wire.now_ns - start


def more(wire: Wire, client: TcpSocket, server: TcpSocket, length: int) -> None:
    """Send ``length`` bytes and leave the connection open."""
    data = Random(length).randbytes(length)
    assert client.send(data) == length
    got = b""
    for _ in range(1_000):
        wire.run(10 * MS)
        piece = server.recv(length)
        got += piece if isinstance(piece, bytes) else b""
        if got == data:
            return
    raise AssertionError(f"{len(got)} of {length} bytes came")


def too_big(s: Script, mtu: int, seq: int) -> None:
    """A router's report about a segment of the stack's, relative number ``seq``."""
    ports = s.port.to_bytes(2, "big") + s.peer_port.to_bytes(2, "big")
    quote = Ipv4Repr(HERE, THERE, 6, 1480, dont_fragment=True).emit() + ports
    quote += ((s.iss or 0) + seq & 0xFFFFFFFF).to_bytes(4, "big")
    text = IcmpRepr(DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED, mtu, quote).emit()
    frame = HERE_MAC + THERE_MAC + b"\x08\x00" + Ipv4Repr(THERE, HERE, 1, len(text)).emit() + text
    s.stack.input([b"\x02" + bytes(9) + frame], s.now_ns)


# ------------------------------------------------------------ what routers tell


@pytest.mark.parametrize("mtu", [576, 1000, 1400])
def test_told_path_carries_everything(mtu: int) -> None:
    wire, client, server = world(mtu, True)
    took = carry(wire, client, server, 100_000)
    assert took < 1 * S  # no timeout
    assert client.getsockopt(IP, MTU) == pack("<I", mtu)


def test_report_narrows_every_connection_to_the_peer_and_no_other() -> None:
    wire, client, server = world(1500, True)
    others = [connect(wire, port)[0] for port in (81, 82)]
    wire.mtu = 1000
    carry(wire, client, server, 50_000)
    lost = wire.lost
    for other in others:
        assert other.getsockopt(TCP, MAXSEG) == pack("<I", 1000 - 52)
    fourth, accepted, _ = connect(wire, 83)
    carry(wire, fourth, accepted, 50_000)
    assert wire.lost == lost


def test_a_narrow_path_is_not_announced() -> None:
    """The way back may be wide, and nobody would find that out. [RFC 6691 5.1]"""
    s = Script()
    s.stack.engine.path_mtus.learn(THERE, 1000, s.now_ns + 100 * S)
    s.dial()
    assert s.expect("S").tcp.mss == 1460


def test_connection_that_hears_of_it_as_the_second_repeats_what_was_lost_at_once() -> None:
    wire, client, server = world(1500, True)
    other, accepted, _ = connect(wire, 81)
    wire.mtu = 1000
    data = Random(1).randbytes(14_480)
    assert client.send(data) == other.send(data) == len(data)
    wire.run(100 * MS)
    assert server.recv(len(data)) == accepted.recv(len(data)) == data
    counters = wire.stacks[0].counters()
    assert counters["tcp_tail_probes"] == counters["tcp_fast_recoveries"] == 0


def test_connection_that_heard_of_no_report_sends_what_fits() -> None:
    wire, client, server = world(1500, True)
    other, accepted, _ = connect(wire, 81)
    wire.mtu = 1000
    more(wire, client, server, 50_000)
    lost = wire.lost
    more(wire, other, accepted, 50_000)
    assert wire.lost == lost


@pytest.mark.parametrize("is_wide_again", [True, False])
def test_path_of_an_open_connection_ages(is_wide_again: bool) -> None:
    """After ten minutes full segments are tried again; if the path is as it was, one window goes
    twice and no more. [RFC 1191 6.3] [RFC 8201 5.3]"""
    wire, client, server = world(1000, True)
    more(wire, client, server, 50_000)
    assert client.tcb is not None and client.tcb.mss == 1000 - 52
    wire.run(599 * S)
    lost = wire.lost
    more(wire, client, server, 50_000)
    assert wire.lost == lost
    wire.run(2 * S)
    if is_wide_again:
        wire.mtu = 1500
    more(wire, client, server, 50_000)
    if is_wide_again:
        assert client.tcb.mss == 1500 - 52
        assert wire.lost == lost
    else:
        assert client.tcb.mss == 1000 - 52
        assert lost < wire.lost <= lost + 60


def test_window_of_one_small_segment_has_room_for_a_large_one() -> None:
    wire, client, server = world(1000, True, restarts_after_idle=False)
    more(wire, client, server, 50_000)
    wire.run(601 * S)
    wire.mtu = 1500
    assert client.tcb is not None
    client.tcb.cwnd = client.tcb.mss
    more(wire, client, server, 50_000)


@pytest.mark.parametrize("preset", ["linux", "freebsd"])
def test_connection_opened_on_a_narrow_path_grows_when_that_ages(preset: str) -> None:
    knobs = {name: getattr(PRESETS[preset], name) for name in PRESETS[preset].__slots__}
    wire, client, server = world(1000, True, **knobs)
    more(wire, client, server, 30_000)
    other, accepted, _ = connect(wire, 81)
    assert other.tcb is not None and other.tcb.mss == 1000 - 52
    wire.mtu = 1500
    wire.run(601 * S)
    more(wire, other, accepted, 30_000)
    assert other.tcb.mss == 1500 - 52


def test_path_ages_across_saving() -> None:
    wire, client, server = world(1000, True)
    more(wire, client, server, 50_000)
    wire.stacks = (reborn(wire.stacks[0]), wire.stacks[1])
    again = wire.stacks[0].socket_of(client.serial)
    assert isinstance(again, TcpSocket)
    wire.run(601 * S)
    wire.mtu = 1500
    more(wire, again, server, 50_000)
    assert again.tcb is not None and again.tcb.mss == 1500 - 52


def test_socket_that_no_longer_believes_reports_sends_what_the_link_carries() -> None:
    """[Linux ip(7)]"""
    wire, client, server = world(1000, True)
    more(wire, client, server, 50_000)
    assert client.setsockopt(IP, DISCOVER, pack("<i", INTERFACE)) == 0
    assert client.getsockopt(TCP, MAXSEG) == pack("<I", 1448)


def test_search_that_sleeps_lets_the_path_age() -> None:
    wire, client, server = world(1000, True, mtu_probing=1)
    more(wire, client, server, 50_000)
    wire.run(601 * S)
    wire.mtu = 1500
    more(wire, client, server, 50_000)
    tcb = client.tcb
    assert tcb is not None and tcb.mss == 1500 - 52
    assert tcb.search is not None and tcb.search.high == 1500


def test_known_path_is_saved() -> None:
    wire, client, server = world(1000, True)
    carry(wire, client, server, 10_000)
    again = reborn(wire.stacks[0])
    assert again.engine.path_mtus.get(address(2), wire.now_ns) == 1000


def test_table_of_paths_is_bounded_and_ages() -> None:
    paths = PathMtus()
    for n in range(3000):
        paths.learn(n.to_bytes(4, "big"), 1000, 100)
    assert len(paths) == 1024
    assert paths.get((2999).to_bytes(4, "big"), 99) == 1000
    assert paths.get((2999).to_bytes(4, "big"), 100) == 0
    assert paths.get((0).to_bytes(4, "big"), 0) == 0


@pytest.mark.parametrize("discovery", [DONT, INTERFACE])
def test_socket_that_wants_no_reports(discovery: int) -> None:
    s = Script(timestamps=False)
    socket = s.passive()
    assert socket.setsockopt(IP, DISCOVER, pack("<i", discovery)) == 0
    socket.send(bytes(1460))
    s.expect("A", 1, length=1460)
    too_big(s, 1000, 1)
    s.expect_none()
    s.expect_drop("icmp_unwanted")
    assert not s.stack.engine.path_mtus


def test_packet_that_may_be_fragmented_has_another_number_when_sent_again() -> None:
    """[RFC 6864 4.2]"""
    wire, client, _ = world(1500, False)
    assert client.setsockopt(IP, DISCOVER, pack("<i", DONT)) == 0
    before = len(wire.log)
    wire.mtu = 100
    client.send(b"x" * 100)
    wire.run(3 * S)
    packets = [frame[24:44] for _, who, frame in wire.log[before:] if who == 0]
    assert len(packets) >= 3
    assert len({packet[4:6] for packet in packets}) == len(packets)


@pytest.mark.parametrize("discovery", [DONT, INTERFACE])
def test_packets_that_may_be_fragmented_have_no_df_and_differ(discovery: int) -> None:
    """[RFC 6864 4.1, 4.2] [Linux ip(7)]"""
    wire, client, server = world(1500, False)
    assert client.setsockopt(IP, DISCOVER, pack("<i", discovery)) == 0
    before = len(wire.log)
    for _ in range(3):
        client.send(b"x" * 100)
        wire.run(100 * MS)
    packets = [frame[24:44] for _, who, frame in wire.log[before:] if who == 0]
    assert len(packets) == 3
    assert all(not packet[6] & 0x40 for packet in packets)
    assert len({packet[4:6] for packet in packets}) == 3
    assert all(checksum(packet) == 0 for packet in packets)
    assert server.recv(1000) == b"x" * 300


# ------------------------------------------------------------ what has to be found out


@pytest.mark.parametrize("mtu", [576, 1100, 1280, 1400])
def test_black_hole_is_found_and_passed(mtu: int) -> None:
    """[RFC 4821 7.7] Without the search the connection would die."""
    wire, client, server = world(mtu, False, mtu_probing=1)
    carry(wire, client, server, 100_000)
    assert client.tcb is not None
    counts = wire.stacks[0].counters()
    assert counts["mtu_black_holes"] >= 1


def test_black_hole_kills_who_does_not_search() -> None:
    wire, client, server = world(1400, False)
    client.send(bytes(100_000))
    wire.run(100 * S)
    assert server.recv(10) == -11


@pytest.mark.parametrize("mtu", [1100, 1280, 1400, 1499, 1500])
def test_search_finds_the_path(mtu: int) -> None:
    """Within the threshold of 8 bytes, and segments grow meanwhile. [RFC 4821 7]"""
    wire = NarrowWire(make_stack(1, mtu_probing=2), make_stack(2))
    wire.mtu = mtu
    client, server, _ = connect(wire)
    assert client.tcb is not None
    assert client.tcb.mss == 1024
    timeouts = wire.stacks[0].counters()["tcp_timeouts"]
    carry(wire, client, server, 2_000_000)
    search = client.tcb.search
    assert search is not None
    assert mtu - 8 <= search.low <= mtu
    assert client.tcb.mss == search.low - 52
    assert wire.stacks[0].counters()["tcp_timeouts"] == timeouts


def test_lost_probe_is_no_congestion() -> None:
    """[RFC 4821 7.6.2]"""
    wire = NarrowWire(make_stack(1, mtu_probing=2, congestion="reno"), make_stack(2))
    wire.mtu = 1100
    client, server, _ = connect(wire)
    carry(wire, client, server, 2_000_000)
    assert client.tcb is not None
    assert wire.lost >= 3  # probes
    assert client.tcb.ssthresh == 1 << 40  # still in the first slow start


def test_search_begins_anew_after_its_interval() -> None:
    wire = NarrowWire(make_stack(1, mtu_probing=2, mtu_probe_interval_ns=20 * S), make_stack(2))
    wire.mtu = 1200
    client, server, _ = connect(wire)
    data = bytes(1_000_000)
    for mtu in (1200, 1500):
        wire.mtu = mtu
        sent = got = 0
        while got < len(data):
            sent += max(client.send(data[sent:]), 0) if sent < len(data) else 0
            wire.run(10 * MS)
            piece = server.recv(1 << 20)
            got += len(piece) if isinstance(piece, bytes) else 0
        assert client.tcb is not None and client.tcb.search is not None
        assert mtu - 16 <= client.tcb.search.low <= mtu
        wire.run(30 * S)


def test_search_that_took_long_rests_when_it_has_ended() -> None:
    """[RFC 4821 7.3] It does not begin anew at once."""
    wire = NarrowWire(make_stack(1, mtu_probing=2, mtu_probe_interval_ns=20 * S), make_stack(2))
    wire.mtu = 1078  # every probe is lost
    client, server, _ = connect(wire)
    wire.run(25 * S)
    for _ in range(10):
        more(wire, client, server, 80_000)
    assert client.tcb is not None and client.tcb.search is not None
    assert client.tcb.search.high - client.tcb.search.low < 8
    assert wire.stacks[0].counters()["mtu_probes"] <= 6


def test_searches_are_ten_minutes_apart_unless_the_user_says_otherwise() -> None:
    """[RFC 4821 7.3] Five at least."""
    assert make_stack(1).config.tcp.mtu_probe_interval_ns == 600 * S


def test_search_survives_saving() -> None:
    wire = NarrowWire(make_stack(1, mtu_probing=2), make_stack(2))
    wire.mtu = 1300
    client, server, _ = connect(wire)
    sent = client.send(bytes(200_000))
    wire.run(30 * MS)
    wire.stacks = (reborn(wire.stacks[0]), wire.stacks[1])
    again = wire.stacks[0].socket_of(client.serial)
    assert isinstance(again, TcpSocket)
    got = 0
    while got < sent:
        assert wire.run(10 * S, lambda: server.events & 1 == 1)
        piece = server.recv(1 << 20)
        assert isinstance(piece, bytes)
        got += len(piece)


def test_stack_that_does_not_search_keeps_nothing_of_it() -> None:
    _, client, _ = world(1500, False)
    assert client.tcb is not None and client.tcb.search is None


def ready_to_probe() -> tuple[Tcb, mtu_search.MtuSearch]:
    """A connection that would send a probe now."""
    wire = NarrowWire(make_stack(1, mtu_probing=2), make_stack(2))
    client, _, _ = connect(wire)
    tcb = client.tcb
    assert tcb is not None and tcb.search is not None
    tcb.cwnd = 1 << 20
    tcb.snd_wnd = 1 << 20
    client.send(bytes(30_000))
    assert mtu_search.size(tcb, tcb.search, 0) > tcb.mss
    return tcb, tcb.search


def test_no_probe_without_room_for_it() -> None:
    """[RFC 4821 7.4] In the peer's window, for the probe and for what shows its loss."""
    tcb, search = ready_to_probe()
    tcb.snd_wnd = tcb.snd_nxt - tcb.snd_una + 4 * tcb.mss
    assert mtu_search.size(tcb, search, 0) == 0


def test_no_probe_while_a_loss_is_open() -> None:
    """[RFC 4821 7.4]"""
    tcb, search = ready_to_probe()
    tcb.scoreboard = Scoreboard(4)
    assert mtu_search.size(tcb, search, 0) == 0


def test_timeout_tells_nothing_of_a_probe() -> None:
    """[RFC 4821 6.1, 7.6.3]"""
    tcb, search = ready_to_probe()
    before = search.low, search.high
    mtu_search.sent(tcb, search, tcb.snd_nxt, 1300)
    mtu_search.timed_out(tcb, search)
    assert (search.low, search.high, search.probe) == (*before, 0)


def test_one_probe_at_a_time_within_what_routers_tell() -> None:
    """[RFC 4821 7.1, 7.4]"""
    tcb, _ = ready_to_probe()
    assert tcb.search is not None
    mtu_search.told(tcb, tcb.search, 1200)
    assert tcb.mss < mtu_search.size(tcb, tcb.search, 0) < 1200
    tcb.search.probe = 1300
    assert mtu_search.size(tcb, tcb.search, 0) == 0
