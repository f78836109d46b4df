"""Socket options answer what Linux answers on its loopback; where not, the reason is here.

The same setsockopt and getsockopt go to the host's kernel and, by hypercall, to the engine, on a
new socket, a listener and a connection.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from struct import pack

import pytest
from linux_options import STATES, GuestSockets, LinuxSockets

from leulo.hypercalls import abi

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux")

SO, TCP, IP, IP6 = abi.SocketOption, abi.TcpOption, abi.IpOption, abi.Ipv6Option
VALUES = (-1, 0, 1, 2, 5, 88, 127, 128, 1000, 5000, 40_000, 1 << 20, 0x7FFFFFFF, -5)
LINGERS = [pack("<ii", on, seconds) for on in (0, 1, 5) for seconds in (0, 1, 70_000)]

# What differs, by option: the states it differs in and the values after which it does ("default":
# before any), and why.
ANY = frozenset([*VALUES, "default"])
SMALL = frozenset([0, 1, 2, 5, 88, 127, 128, 1000, "default"])
HUGE = frozenset([-1, -5, 0x7FFFFFFF])
DIFFERENCES: dict[int, tuple[str, frozenset[int | str], str]] = {
    SO.SO_SNDBUF: ("*", SMALL | HUGE, "floor, ceiling and default are the stack's own bytes of "
                   "payload, where Linux counts its bookkeeping too"),
    SO.SO_RCVBUF: ("*", SMALL | HUGE, "as SO_SNDBUF"),
    SO.SO_RCVLOWAT: ("*", HUGE, "the most is the largest receive buffer, which is another"),
    TCP.TCP_MAXSEG: ("connected", ANY, "read, it is the segment of the path: of a loopback "
                     "there, of Ethernet here"),
    IP.IP_MTU: ("connected", ANY, "of a loopback there, of Ethernet here"),
    TCP.TCP_WINDOW_CLAMP: ("connected", frozenset(["default"]), "as SO_RCVBUF"),
    TCP.TCP_QUICKACK: ("*", ANY, "it is a state of a connection, not a wish kept for later, and "
                       "acknowledgements are delayed from the beginning on"),
}  # fmt: skip
# Not offered on a stream: -ENOPROTOOPT, although Linux takes it and does nothing with it.
NOT_OFFERED = {SO.SO_BROADCAST} if hasattr(SO, "SO_BROADCAST") else set()
# Of their own kind: tested below.
APART = {TCP.TCP_INFO, TCP.TCP_CONGESTION, TCP.TCP_FASTOPEN_KEY, SO.SO_LINGER}
OPTIONS = [(1, int(o)) for o in SO if o not in APART | NOT_OFFERED]
OPTIONS += [(6, int(o)) for o in TCP if o not in APART]
OPTIONS += [(0, int(o)) for o in IP]
OPTIONS += [(41, int(o)) for o in IP6]  # IPv4's streams: refused
KINDS = {0: IP, 1: SO, 6: TCP, 41: IP6}


def name_of(level: int, name: int) -> str:
    return KINDS[level](name).name


def is_excused(level: int, name: int, state: str, value: int | str) -> bool:
    option = KINDS[level](name)
    for excused, (states, values, _) in DIFFERENCES.items():
        if type(excused) is type(option) and excused == option:
            return states in ("*", state) and value in values
    return False


@pytest.fixture
def judges() -> Iterator[tuple[LinuxSockets, GuestSockets]]:
    with closing(LinuxSockets()) as linux:
        yield linux, GuestSockets()


@pytest.mark.parametrize(("level", "name"), OPTIONS, ids=[name_of(*o) for o in OPTIONS])
@pytest.mark.parametrize("state", STATES)
def test_option_is_as_on_linux(
    judges: tuple[LinuxSockets, GuestSockets], state: str, level: int, name: int
) -> None:
    found = []
    linux, guest = judges
    if linux.get(state, level, name, 4) != guest.get(state, level, name, 4):
        found.append("default")
    differing: list[int | str] = [*found]
    for value in VALUES:
        answers = [
            (j.set(state, level, name, pack("<i", value)), j.get(state, level, name, 4))
            for j in (linux, guest)
        ]
        if answers[0] != answers[1]:
            differing.append(value)
            assert answers[0][0] == answers[1][0], f"{value}: {answers}"  # the call itself agrees
    unexcused = [v for v in differing if not is_excused(level, name, state, v)]
    assert not unexcused, f"{name_of(level, name)} {state} differs after {unexcused}"


@pytest.mark.parametrize("state", STATES)
def test_linger_is_as_on_linux(judges: tuple[LinuxSockets, GuestSockets], state: str) -> None:
    for value in LINGERS:
        answers = [
            (j.set(state, 1, SO.SO_LINGER, value), j.get(state, 1, SO.SO_LINGER, 8)) for j in judges
        ]
        assert answers[0][0] == answers[1][0] == 0
        assert isinstance(answers[0][1], bytes) and isinstance(answers[1][1], bytes)
        assert answers[0][1][:4] == answers[1][1][:4]
        if answers[0][1][0]:  # Linux remembers the time of a linger that is off, too
            assert answers[0] == answers[1]


@pytest.mark.parametrize("state", STATES)
def test_path_mtu_options_are_as_on_linux(
    judges: tuple[LinuxSockets, GuestSockets], state: str
) -> None:
    level, discover, mtu = 0, int(abi.IpOption.IP_MTU_DISCOVER), int(abi.IpOption.IP_MTU)
    assert len({j.get(state, level, discover, 4) for j in judges}) == 1
    for value in (0, 1, 2, 3, 4, 5, 6, -1):
        answers = {
            (j.set(state, level, discover, pack("<i", value)), j.get(state, level, discover, 4))
            for j in judges
        }
        assert len(answers) == 1, value
    if state != "connected":  # else it is the path's: of a loopback there, of Ethernet here
        assert {j.get(state, level, mtu, 4) for j in judges} == {-abi.Errno.ENOTCONN}
    assert {j.set(state, level, mtu, pack("<i", 1000)) for j in judges} == {-abi.Errno.ENOPROTOOPT}


@pytest.mark.parametrize("state", STATES)
def test_fast_open_key_is_as_on_linux(
    judges: tuple[LinuxSockets, GuestSockets], state: str
) -> None:
    number = int(TCP.TCP_FASTOPEN_KEY)
    for value in (b"", b"k" * 15, b"k" * 16, b"k" * 17, bytes(range(32)), b"k" * 33):
        assert len({j.set(state, 6, number, value) for j in judges}) == 1, len(value)
    for length in (4, 16, 32, 40):  # the longest of them has stayed
        assert len({j.get(state, 6, number, length) for j in judges}) == 1, length


def test_lengths_are_treated_as_on_linux(judges: tuple[LinuxSockets, GuestSockets]) -> None:
    """Values longer or shorter than the option; results cut at the length given."""
    linux, guest = judges
    for level, name in ((1, int(SO.SO_KEEPALIVE)), (6, int(TCP.TCP_NODELAY)), (1, 13)):
        for value in (b"", b"\1", b"\1\0\0", b"\1\0\0\0", b"\1\0\0\0\2\0\0\0", bytes(64)):
            assert linux.set("new", level, name, value) == guest.set("new", level, name, value)
        for length in (1, 2, 4, 8, 64):
            ours, theirs = (j.get("new", level, name, length) for j in (guest, linux))
            if name == SO.SO_LINGER and isinstance(ours, bytes) and isinstance(theirs, bytes):
                assert len(ours) == len(theirs)
                ours, theirs = ours[:4], theirs[:4]  # off: the time is not compared
            assert ours == theirs, (level, name, length)


@pytest.mark.parametrize("what", ["get", "set"])
def test_unknown_options_are_refused(judges: tuple[LinuxSockets, GuestSockets], what: str) -> None:
    for level, name in ((1, 9999), (6, 9999), (6, 0)):
        answers = [
            j.set("new", level, name, b"\1\0\0\0")
            if what == "set"
            else j.get("new", level, name, 4)
            for j in judges
        ]
        assert answers == [-abi.Errno.ENOPROTOOPT] * 2, (level, name)
    for name in (SO.SO_ERROR, SO.SO_TYPE, SO.SO_ACCEPTCONN, SO.SO_DOMAIN, SO.SO_PROTOCOL):
        if what == "set":
            assert [j.set("new", 1, name, b"\1\0\0\0") for j in judges] == [-92, -92]


def test_what_is_not_there_is_refused_and_never_a_silent_success() -> None:
    """The limits of docs/how-to/write-a-guest-kernel.md."""
    guest = GuestSockets()
    assert guest.set("new", 1, 15, b"\1\0\0\0") == -abi.Errno.ENOPROTOOPT  # SO_REUSEPORT


@pytest.mark.parametrize("option", [TCP.TCP_MD5SIG, TCP.TCP_MD5SIG_EXT])
@pytest.mark.parametrize("state", STATES)
def test_md5_keys_are_as_on_linux(
    judges: tuple[LinuxSockets, GuestSockets], state: str, option: int
) -> None:
    """Set, changed, taken back, taken back once more; wrong families, lengths and prefixes."""
    if judges[0].set("new", 6, option, _md5_key(2, 1)) == -abi.Errno.ENOPROTOOPT:
        pytest.skip("this kernel has no TCP-MD5 (CONFIG_TCP_MD5SIG)")
    for value in (
        _md5_key(2, 5), _md5_key(2, 80), _md5_key(2, 81), _md5_key(2, 0), _md5_key(2, 0),
        _md5_key(10, 5), _md5_key(0, 5), _md5_key(2, 5)[:-1], _md5_key(2, 5) + b"more", b"",
        _md5_key(2, 5, 1, 24), _md5_key(2, 0, 1, 25), _md5_key(2, 0, 1, 24),
        _md5_key(2, 5, 1, 33), _md5_key(2, 5, 0, 33), _md5_key(2, 5, 1, 0), _md5_key(2, 0, 1, 0),
    ):  # fmt: skip
        linux, guest = (j.set(state, 6, option, value) for j in judges)
        assert linux == guest, value.hex()
    nowhere = _md5_key(2, 5, 2, 0, 9_999)  # an interface that is none
    assert len({j.set(state, 6, TCP.TCP_MD5SIG_EXT, nowhere) for j in judges}) == 1


def _md5_key(family: int, length: int, flags: int = 0, prefix: int = 0, device: int = 0) -> bytes:
    """A key for an address that nobody here has."""
    place = pack("<HH4s", family, 0, bytes((192, 0, 2, 77)))
    return place.ljust(128, b"\0") + pack("<BBHi80s", flags, prefix, length, device, b"k" * 80)


def test_timeouts_are_the_guest_kernels_own() -> None:
    """No call waits, so there is nothing to time: the hypervisor says so instead of yes."""
    guest = GuestSockets()
    for name in (20, 21, 66, 67):  # SO_RCVTIMEO, SO_SNDTIMEO, old and new
        assert guest.set("new", 1, name, bytes(16)) == -abi.Errno.ENOPROTOOPT


def test_congestion_is_named_as_on_linux(judges: tuple[LinuxSockets, GuestSockets]) -> None:
    linux, guest = judges
    number = int(TCP.TCP_CONGESTION)
    assert linux.set("new", 6, number, b"reno") == guest.set("new", 6, number, b"reno") == 0
    for length in (4, 16):
        assert linux.get("new", 6, number, length) == guest.get("new", 6, number, length)
    assert guest.set("connected", 6, number, b"reno\0rest") == 0
    for wrong in (b"nobody", b"\xff\xfe", b"x" * 64):
        assert linux.set("new", 6, number, wrong) == guest.set("new", 6, number, wrong) == -2
    assert linux.set("new", 6, number, b"") == guest.set("new", 6, number, b"") == -22
