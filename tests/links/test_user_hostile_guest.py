"""A hostile guest behind the user gateway: any frames at all, half of them mutated from valid
ones. No exception, no growth beyond the stated bounds, and nothing of it leaves the process:
every flow ends at a dead end. `tests/fuzz/frames_run.py` does it for long.
"""

from __future__ import annotations

import socket
from pathlib import Path
from random import Random

from guest_frames import NowhereButHere, framed, mutated, valid
from raw_guest import RawGuest

from leulo.links.user import dns, udp
from leulo.links.user.resolver import Resolvers

FRAMES = 20_000


def test_any_frames_are_survived_within_bounds(tmp_path: Path) -> None:
    chance = Random(20)
    resolvers = tmp_path / "resolv.conf"
    resolvers.write_text("")  # names are answered SERVFAIL, nobody is asked
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))  # takes datagrams and never reads them
        port = probe.getsockname()[1]
        guest = RawGuest(resolvers=Resolvers(resolvers))
        for part in (guest.link._udp, guest.link._outbound, guest.link._pings):
            part._plan = NowhereButHere(part._plan)  # type: ignore[assignment]
        guest.link.attach(lambda frames: None)
        for number in range(FRAMES):
            frame = framed(chance, valid(chance, port))
            if number & 1:
                frame = mutated(chance, frame)
            guest.link.transmit([(frame,)], guest.now_ns())
            if number % 500 == 0:
                guest.turn()
        guest.turn()
        counters = guest.link.counters()
        assert counters["frames_in"] == FRAMES
        assert counters["udp_flows"] <= udp.MOST_FLOWS
        assert counters["dns_queries"] <= counters["dns_answers"] + counters["dns_failed"]
        assert len(guest.link._names._queries) <= dns.MOST_QUERIES
        assert len(guest.link._guests.frames) == 0
        assert counters["gateway.tcp_half_open"] <= 4096
        assert len(guest.poller._callbacks) <= udp.MOST_FLOWS + 4096
        guest.close()
