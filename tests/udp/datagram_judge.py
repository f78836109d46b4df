"""The judge of datagram sockets' options: this computer's own sockets, call by call."""

from __future__ import annotations

import socket as host_socket
from collections.abc import Iterable
from struct import pack

from test_udp_sockets import DGRAM, make_stack

from leulo.udp.socket import UdpSocket


def check_as_linux(
    family: int,
    options: Iterable[tuple[int, int]],
    numbers: Iterable[int],
    only_read: Iterable[tuple[int, int]] = (),
) -> None:
    """Each option (level, name) is read and set as Linux's: to the numbers, and to other sizes."""
    with host_socket.socket(family, DGRAM) as theirs:
        ours = make_stack(1, has_ipv6=True).socket(family, DGRAM)
        assert isinstance(ours, UdpSocket)

        def asked(level: int, name: int) -> bytes | int:
            try:
                return theirs.getsockopt(level, name, 4)
            except OSError as error:
                return -(error.errno or 0)

        def done(level: int, name: int, value: bytes) -> int:
            try:
                theirs.setsockopt(level, name, value)
            except OSError as error:
                return -(error.errno or 0)
            return 0

        values = [pack("<i", number) for number in numbers]
        for level, name in options:
            assert ours.getsockopt(level, name) == asked(level, name), (level, name)
            for value in [*values, b"", b"\1", b"\7", b"\2\0", b"\3\0", pack("<ii", 3, 9)]:
                case = level, name, value
                assert ours.setsockopt(level, name, value) == done(level, name, value), case
                assert ours.getsockopt(level, name) == asked(level, name), case
        for level, name in only_read:
            assert ours.getsockopt(level, name) == asked(level, name), (level, name)
