"""TCP_INFO has Linux's layout and tells the truth: field by field beside Linux's own."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterator
from contextlib import closing
from struct import Struct

import pytest
from linux_options import STATES, GuestSockets, LinuxSockets

from leulo.hypercalls import abi
from leulo.units import NS_PER_MS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux")

TCP_INFO = int(abi.TcpOption.TCP_INFO)
LAYOUT = Struct("<8B24I4Q6I4Q2I2Q6I2HI")  # linux/tcp.h, struct tcp_info, up to tcpi_total_rto_time
NAMES = (
    "state ca_state retransmits probes backoff options wscale app_limited "
    "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets "
    "last_data_sent last_ack_sent last_data_recv last_ack_recv "
    "pmtu rcv_ssthresh rtt rttvar snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space "
    "total_retrans pacing_rate max_pacing_rate bytes_acked bytes_received "
    "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out delivery_rate busy_time "
    "rwnd_limited sndbuf_limited delivered delivered_ce bytes_sent bytes_retrans dsack_dups "
    "reord_seen rcv_ooopack snd_wnd rcv_wnd rehash total_rto total_rto_recoveries total_rto_time"
)
FIELDS = NAMES.split()
# A path of Ethernet instead of a loopback, other buffers, and another clock.
OF_THE_PATH = {
    "wscale", "rto", "ato", "snd_mss", "rcv_mss", "pmtu", "rcv_ssthresh", "rtt", "rttvar",
    "snd_cwnd", "advmss", "reordering", "rcv_rtt", "rcv_space", "snd_wnd", "last_data_sent",
    "last_data_recv", "last_ack_recv", "pacing_rate", "busy_time", "rwnd_limited",
    "sndbuf_limited", "min_rtt", "delivery_rate", "rcv_wnd",
}  # fmt: skip


def info(judge: LinuxSockets | GuestSockets, state: str) -> dict[str, int]:
    raw = judge.get(state, 6, TCP_INFO, 256)
    assert isinstance(raw, bytes) and len(raw) >= 232
    return dict(zip(FIELDS, LAYOUT.unpack_from(raw.ljust(LAYOUT.size, b"\0")), strict=True))


@pytest.fixture
def judges() -> Iterator[tuple[LinuxSockets, GuestSockets]]:
    with closing(LinuxSockets()) as linux:
        yield linux, GuestSockets()


def test_every_field_is_in_its_place() -> None:
    """The structure's own offsets, as a C compiler lays them out."""
    assert LAYOUT.size == 248
    offset = dict(zip(FIELDS, _offsets(), strict=True))
    assert (offset["rto"], offset["pmtu"], offset["total_retrans"]) == (8, 60, 100)
    assert (offset["pacing_rate"], offset["segs_out"], offset["delivery_rate"]) == (104, 136, 160)
    assert (offset["delivered"], offset["bytes_sent"], offset["snd_wnd"]) == (192, 200, 228)
    assert (offset["total_rto"], offset["total_rto_time"]) == (240, 244)


def _offsets() -> Iterator[int]:
    at = 0
    for count, width in (
        (8, 1),
        (24, 4),
        (4, 8),
        (6, 4),
        (4, 8),
        (2, 4),
        (2, 8),
        (6, 4),
        (2, 2),
        (1, 4),
    ):
        for _ in range(count):
            yield at
            at += width


@pytest.mark.parametrize("state", STATES)
def test_fields_are_as_on_linux(judges: tuple[LinuxSockets, GuestSockets], state: str) -> None:
    linux, guest = judges
    if state == "connected":
        _talk(linux, guest)
    theirs, ours = info(linux, state), info(guest, state)
    excused = OF_THE_PATH if state == "connected" else set()
    if state == "new":
        excused = excused | {"last_data_sent", "last_data_recv", "last_ack_recv", "rttvar"}
    if state == "listening":
        assert (theirs["sacked"], ours["sacked"]) == (8, 128)  # the backlogs that were asked for
        excused = excused | {"sacked"}
    differing = {n: (theirs[n], ours[n]) for n in FIELDS if theirs[n] != ours[n]}
    assert {n: v for n, v in differing.items() if n not in excused} == {}
    if state == "connected":
        for seen in (theirs, ours):  # both measure
            assert seen["delivery_rate"] > 0 and seen["min_rtt"] > 0


def _talk(linux: LinuxSockets, guest: GuestSockets) -> None:
    """1,000 bytes there, 500 back, one byte there that nobody has read."""
    linux.connected.send(bytes(1000))
    linux.other.recv(1000, 0x100)
    linux.other.send(bytes(500))
    linux.connected.recv(500, 0x100)
    linux.connected.send(b"x")
    linux.other.recv(1, 2)
    for _ in range(1000):  # until its delayed acknowledgement has come
        if not info(linux, "connected")["unacked"]:
            break
        select.select([], [], [], 0.005)
    world, handle = guest.world, guest.handles["connected"]
    world.guest.send(handle, bytes(1000))
    world.sleep(100 * NS_PER_MS)
    guest.other.recv(5000)
    guest.other.send(bytes(500))
    world.sleep(100 * NS_PER_MS)
    world.guest.recv(handle, 1000)
    world.guest.send(handle, b"x")
    world.sleep(100 * NS_PER_MS)


def test_it_follows_the_connection() -> None:
    """What is said about time, path and data is so."""
    guest = GuestSockets()
    world, handle = guest.world, guest.handles["connected"]
    before = info(guest, "connected")
    assert (before["snd_mss"], before["pmtu"], before["advmss"]) == (1448, 1500, 1460)
    assert before["options"] == 7 and before["snd_cwnd"] == 10
    world.guest.send(handle, bytes(20_000))
    queued = info(guest, "connected")
    assert (queued["notsent_bytes"], queued["unacked"], queued["bytes_sent"]) == (20_000, 0, 0)
    world.is_cut = True
    world.turn()
    flying = info(guest, "connected")
    assert flying["unacked"] == 10 and flying["bytes_sent"] == 14_480
    assert flying["notsent_bytes"] == 5_520 and flying["bytes_acked"] == 1
    world.sleep(3000 * NS_PER_MS)
    lost = info(guest, "connected")
    assert lost["ca_state"] == 4 and lost["total_retrans"] > 1 and lost["backoff"] > 1
    assert lost["bytes_retrans"] > 0 and lost["last_data_sent"] < 3000
    world.is_cut = False
    world.sleep(5000 * NS_PER_MS)
    after = info(guest, "connected")
    assert after["bytes_acked"] == 20_001 and after["unacked"] == after["backoff"] == 0
    assert after["bytes_sent"] == 20_000 + after["bytes_retrans"]
    assert guest.other.send(bytes(300)) == 300
    world.sleep(1000 * NS_PER_MS)
    assert info(guest, "connected")["bytes_received"] == 300
    guest.other.recv(50_000)
    guest.other.close()
    world.settle()
    assert info(guest, "connected")["state"] == 8  # TCP_CLOSE_WAIT
