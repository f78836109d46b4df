"""Writes the first inputs of the corpora: valid ones, from which a fuzzer finds its way.

    python tests/fuzz/seeds.py TARGET...

What `fuzz_all --keep` has made of them since is what the repository holds; this is for a target
that is new, or a corpus that has to be begun again.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "loader"):
    sys.path.insert(0, str(folder))

from targets import CORPUS, ROOT  # noqa: E402

# Actions of `stack_target`, by their numbers there.
SHAKE, SHAKE6, RELOAD = bytes((19, 0)), bytes((19, 8)), bytes((17,))
ACK, PSH_ACK, FIN_ACK, RST = 16, 24, 17, 4
NONE, HERE, BEHIND, FAR = 0, 8, 10, 12  # distances: of NEAR there
ALL, UNA = 0, 0x40  # what an acknowledgement is counted from
SMALL, MSS, LARGE = 4, 6, 10  # sizes
OPEN = 5  # of the windows there


def said(flags: int, seq: int, ack: int, kind: int, more: bytes = b"", window: int = OPEN) -> bytes:
    """A segment of the first connection."""
    return bytes((0, 0, flags, seq, ack, window, kind)) + more


def reports(left: int, size: int = MSS) -> bytes:
    """A duplicate ACK that reports a block behind snd_una."""
    return said(ACK, 0, 0, UNA | 0x0C, bytes((1, left >> 8, left & 255, size)))


def writes(size: int = LARGE, socket: int = 1) -> bytes:
    return bytes((8, socket, size, 0))


def waits(number: int) -> bytes:
    return bytes((6, number))


def tales() -> list[bytes]:
    """Lives of a connection, as they are and over IPv6."""
    acked = said(ACK, 0, 0, ALL)
    data = said(PSH_ACK, 0, 0, 3, bytes((MSS,)))
    ahead = said(PSH_ACK, HERE, 0, 3, bytes((MSS,)))
    further = said(PSH_ACK, BEHIND, 0, 3, bytes((SMALL,)))
    read = bytes((7, 1, 11, 0))
    duplicate = said(ACK, 0, 0, UNA)
    closed = bytes((9, 1, 1)) + acked + said(FIN_ACK, 0, 0, ALL)
    grow = (writes() + acked + waits(1)) * 4
    return [
        grow + closed + waits(7),
        writes() + reports(1448) + reports(2896) + reports(4344, LARGE) + acked + grow,
        writes() + duplicate * 5 + said(ACK, 0, HERE, UNA) + duplicate + acked,
        writes() + waits(4) + waits(5) + reports(1448) + waits(6) + said(ACK, 0, HERE, UNA) + acked,
        ahead
        + further
        + data
        + read
        + RELOAD
        + data
        + ahead
        + said(FIN_ACK, BEHIND, 0, ALL)
        + data,
        said(ACK, 0, 0, ALL, window=0) + writes() + waits(5) * 3 + duplicate + waits(5) + acked,
        grow
        + writes()
        + reports(1448, LARGE)
        + waits(3)
        + RELOAD
        + reports(9000)
        + waits(6)
        + acked,
        said(FIN_ACK, 0, 0, ALL) + writes(SMALL) + acked + closed + waits(7) + SHAKE,
        closed[:3] + said(FIN_ACK, 0, 0, UNA) + acked + said(FIN_ACK, 5, 0, ALL) + waits(7),
        writes() + bytes((10, 1)) + waits(6) * 2 + data + waits(8),
        writes() + said(RST, 0, 0, 0) + bytes((13, 1, 3, 0)),
        bytes((15, 0, 0, 4, 2, 88, 0)) + writes() + bytes((15, 0, 0, 4, 2, 88, 0)) + acked,
        b"".join(bytes((13, 1, n, 4, 2, 0, 0, 0)) for n in range(20)) + grow,
        (data + read) * 6 + bytes((7, 1, 11, 2)) + ahead * 3 + waits(2) + data,
    ]


def patient() -> list[bytes]:
    """A request whose acknowledgement waits for a guest that answers, rests, or does neither."""
    asks = said(PSH_ACK, 0, 0, 3, bytes((SMALL,)))
    read = bytes((7, 1, 11, 0))
    return [
        asks + read + writes(SMALL) + said(ACK, 0, 0, ALL) + asks + waits(0) + asks + waits(3),
        asks + waits(1) + RELOAD + waits(2) + asks + asks + waits(0) + writes(),
        asks + said(FIN_ACK, 0, 0, ALL) + waits(0) + writes(SMALL) + bytes((9, 1, 1)) + waits(7),
    ]


def counted(ace: int, kind: int, *counters: int, order: int = 0xAE) -> bytes:
    """An acknowledgement with three bits and an option of accurate ECN, of so many counters."""
    text = b"".join(value.to_bytes(3, "big") for value in counters)
    option = bytes((order, 2 + len(text))) + text
    option += b"\1" * (-len(option) % 4)
    return said(
        ACK | (ace & 3) << 6, 0, 0, kind | 0x20 | ace >> 2 & 1, bytes((len(option),)) + option
    )


def accurate() -> list[bytes]:
    """Marks that are told by counters: truly, by more than eight at once, zeroed, backwards."""
    shake = bytes((19, 0xC2))
    asks = said(PSH_ACK | 0x40, 0, 0, 3, bytes((MSS,)))  # with a CE mark
    sure = writes() + counted(5, ALL, 1, 0, 60_001) + writes() + counted(6, ALL, 1, 1448, 118_553)
    doubt = sure + writes() + waits(1) + counted(7, ALL) + writes() + waits(1)
    return [
        shake + doubt + counted(1, ALL, 1, 30_000, 150_001, order=0xAC) + RELOAD + sure,
        shake + (writes() + said(ACK | 0x40, 0, 0, ALL | 1) + waits(1)) * 3 + sure,
        shake + writes() + counted(5, ALL, 0, 0, 0) + writes() + counted(2, UNA) + asks * 4,
        shake + sure + counted(6, UNA, 1, 100, 50_000) + writes() + counted(6, ALL) + asks,
        bytes((19, 0xC6)) + asks * 3 + reports(1448) + sure + reports(2896, LARGE) + doubt,
        bytes((19, 0xC0)) + asks + sure + waits(4),
        bytes((19, 0xF3)) + asks + bytes((7, 1, 11, 0)) + doubt + waits(6) + sure,
    ]


def urgent() -> list[bytes]:
    """Urgent data ahead of what is there, within it, and behind it; read in and out of line."""
    points = [said(PSH_ACK | 32, 0, 0, 3, bytes((MSS, at))) for at in (1, 0, 200)]
    read = bytes((7, 1, 3, 0))
    inline = bytes((13, 1, 7, 4, 1, 0, 0, 0))
    return [
        points[0] + read + points[2] + read * 2 + points[1] + RELOAD + read,
        points[2] + inline + read + points[0] + said(FIN_ACK | 32, 0, 0, ALL, b"\1") + read,
    ]


def stack() -> list[bytes]:
    stories = [bytes((0, 0)) + SHAKE + tale for tale in tales()]
    stories += [bytes((0, 0)) + SHAKE6 + tale for tale in tales()[:6]]
    for bits in (1, 2, 3, 8, 16, 32, 128 + 4, 64):
        stories += [bytes((bits, 0)) + SHAKE + tale for tale in tales()[:7]]
    for more in (1, 4, 8, 0x10, 0x20, 0x30, 0x40, 0x84):
        stories += [bytes((0, more)) + SHAKE + tale for tale in tales()[:5]]
    stories += [bytes((0, 0x30)) + SHAKE + tale for tale in patient()]
    stories += [bytes((0, more)) + tale for tale in accurate() for more in (3, 0x13)]
    stories += [bytes((0, more)) + SHAKE + tale for tale in urgent() for more in (0, 0x10)]
    stories.append(bytes((0, 4, 12, 0, 0x10)) + bytes((0, 0, 18, 0, 0, OPEN, 0, 5, 180, 7)))
    syn_ack = bytes((0, 0, 18, 0, 0, OPEN, 0, 5, 180, 7))
    syn = bytes((0, 0, 2, 0, 0, OPEN, 0, 5, 180, 7))
    stories += [
        bytes((0, 0, 12, 0, 0)) + syn_ack + writes(socket=0) + said(ACK, 0, 0, ALL) + waits(6),
        bytes((0, 0, 12, 1, 0)) + syn_ack + writes(socket=0) + said(ACK, 0, 0, ALL) + waits(6),
        bytes((0, 0, 12, 0, 0)) + syn + said(ACK, 0, 0, ALL) + waits(6),
        bytes((0, 0, 12, 0, 3)) + waits(6) * 2,
        bytes((0, 0, 12, 0, 2)) + waits(6),
        bytes((0, 0, 16, 0, 5, 16, 1)) + bytes((4, 1, 8)) + bytes((0, 9, 0, 9, 0, 8, 0, 0)),
    ]
    parts = bytes((4, 0x11, 24, 3)) + bytes(24) + bytes((4, 0x11, 8, 6)) + bytes(8)
    stories.append(bytes((0, 0)) + parts + waits(7))
    random = Random(1)
    for bits in range(8):
        actions = b"".join(random.randbytes(random.randrange(4, 12)) for _ in range(20))
        stories.append(bytes((bits * 17, bits * 29)) + SHAKE + actions)
    return stories


def hypercalls() -> list[bytes]:
    return [Random(seed).randbytes(2_000) for seed in range(8)]


def options() -> list[bytes]:
    return [
        bytes.fromhex("020405b40402080a000000010000000001030307"),
        bytes.fromhex("0101080a0000000100000002"),
        bytes.fromhex("0101050a00000001000000020101080a0000000100000002"),
        bytes.fromhex("0101051200000001000000020000000300000004"),
        b"\0", b"\1" * 40, bytes.fromhex("fd06f989aabb1e04beef"),
    ]  # fmt: skip


def codecs() -> list[bytes]:
    from tcp_segments import TcpRepr

    from leulo.net.wire import dhcp
    from leulo.net.wire.arp import ArpRepr
    from leulo.net.wire.dhcp import DhcpRepr
    from leulo.net.wire.icmp import IcmpRepr
    from leulo.net.wire.icmpv6 import Icmpv6Repr
    from leulo.net.wire.ipv4 import Ipv4Repr
    from leulo.net.wire.ipv6 import FragmentRepr, Ipv6Repr
    from leulo.net.wire.ndp import NeighbourRepr, PrefixRepr, RouterRepr
    from leulo.net.wire.udp import UdpRepr

    a, b, a6, b6 = bytes(3) + b"\1", bytes(3) + b"\2", bytes(15) + b"\1", bytes(15) + b"\2"
    mac = bytes((2, 0, 0, 0, 0, 1))
    tcp = TcpRepr(1, 2, options=[(2, b"\x05\xb4")]).emit(a, b)
    ip = Ipv4Repr(a, b, 6, len(tcp)).emit() + tcp
    six = Ipv6Repr(a6, b6, 0, 8 + len(tcp)).emit() + bytes([6, 0, 1, 4, 0, 0, 0, 0]) + tcp
    lease = DhcpRepr(dhcp.BOOT_REPLY, dhcp.ACK, 1, mac, options={
        dhcp.OPTION_SUBNET_MASK: b"\xff\xff\xff\0", dhcp.OPTION_LEASE_TIME: bytes(4)})  # fmt: skip
    router = RouterRepr(64, 1800, 0, 0, 0, mac, 1500, [PrefixRepr(a6, 64, True, True, 9, 5)])
    texts = [
        mac + mac + b"\x08\x00", ArpRepr(1, mac, a, mac, b).emit(), ip,
        IcmpRepr(8, 0, 1, b"x").emit(), b"\3" + ip, UdpRepr(1, 2, 3).emit(a, b, b"abc"), tcp, six,
        FragmentRepr(6, 8, True, 1).emit(),
        Icmpv6Repr(1, 0, 0, six).emit(a6, b6),
        NeighbourRepr(135, a6, mac).emit().emit(a6, b6), lease.emit(), bytes(10),
        bytes.fromhex("12340100000100000000000001610000010001"),
    ]  # fmt: skip
    out = [bytes((n,)) + text for n, text in enumerate(texts)]
    return [*out, b"\x0a" + router.emit().emit(a6, b6)]


def image() -> list[bytes]:
    from image_builder import ImageBuilder, Piece

    head = struct.pack("<3I", 0x1BADB002, 3, -(0x1BADB002 + 3) & 0xFFFFFFFF)
    two = [Piece(0x100000, head + b"\x90" * 40), Piece(0x102000, b"data", 100)]
    return [
        ImageBuilder().build(),
        ImageBuilder(pieces=two).build(),
        ImageBuilder().build(),
        ImageBuilder(flags=7).build(),
    ]


def archive() -> list[bytes]:
    from image_builder import ImageBuilder, Piece

    from leulo.image import pack_cpio

    head = struct.pack("<3I", 0x1BADB002, 3, -(0x1BADB002 + 3) & 0xFFFFFFFF)
    small = pack_cpio({"etc/motd": b"hello\n", "www/index.html": b"<p>"})
    start = 0x100000 + 64
    text = (head + b"LULOCPIO" + struct.pack("<II", start, start + len(small))).ljust(64, b"\0")
    whole = ImageBuilder(pieces=[Piece(0x100000, text + small)]).build()
    return [small, pack_cpio({}), whole, b"070701" + b"0" * 104]


def dhcp() -> list[bytes]:
    """Actions of `targets.dhcp`: 0 waits, 1 to 3 an OFFER, ACK, NAK, 4 bytes as they are."""
    offer, ack, nak = bytes((1, 0)), bytes((2, 0)), bytes((3, 0))
    bound = offer + ack
    times = bytes((2, 15, 0, 0, 3, 232, 0, 0, 1, 44, 0, 0, 2, 188, 255, 255, 255, 0))
    return [
        bound + bytes((0, 6)) * 4 + ack + bytes((0, 7)) * 6,
        offer + nak + bytes((0, 3)) * 4 + bound + bytes((0, 5)) * 3 + nak,
        offer + bytes((0, 4)) * 8 + bytes((5,)) + bound,
        offer + times + bytes((0, 5, 5, 0, 5)) + ack,
        offer + bytes((2, 8, 255, 255, 255, 255)) + bytes((0, 9)),
        bytes((4, 20)) + bytes(20) + bytes((1, 16)) + bytes((2, 64)) + offer + bytes((2, 32)),
    ]


def lines() -> list[bytes]:
    return [line_image(version, program) for version, program in (
        (2, bytes((0, 5, 2, 0, 0, 16, 0, 3, 5, 1, 20, 30, 200, 2, 4, 8, 9, 1, 0, 0, 1, 1))),
        (4, bytes((0, 5, 2, 0, 0, 16, 0, 20, 4, 1, 6, 7, 10, 11, 12, 3, 0x7F, 1, 0, 1, 1))),
    )]  # fmt: skip


def line_image(version: int, program: bytes) -> bytes:
    """An ELF of nothing but a line program and the names of its sections."""
    operands = bytes((0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1))
    more = b"\1" if version == 4 else b""
    header = b"\1" + more + struct.pack("<BbBB", 1, -5, 14, 13) + operands
    header += b"src\0\0" + b"a.c\0\1\0\0" + b"b.c\0\0\0\0" + b"\0"
    body = struct.pack("<HI", version, len(header)) + header + program
    unit = struct.pack("<I", len(body)) + body
    names = b"\0.debug_line\0.shstrtab\0"
    at = 52
    table = at + len(unit) + len(names)
    sections = bytes(40)
    sections += struct.pack("<10I", 1, 1, 0, 0, at, len(unit), 0, 0, 1, 0)
    sections += struct.pack("<10I", 13, 3, 0, 0, at + len(unit), len(names), 0, 0, 1, 0)
    ident = b"\x7fELF\1\1\1" + bytes(9)
    head = ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0, 0, table, 0, 52, 32, 0, 40, 3, 2)
    return head + unit + names + sections


def toml() -> list[bytes]:
    return [
        b'net = "sim:loss=0.01"\npublish = ["8080:80", "2007:7"]\nmem = "32M"\n',
        b'name = "one"\nmode = "paravirt"\nip = "10.0.2.15/24"\ngateway = "10.0.2.2"\n',
        b'serial = "tcp:4444"\nclock = "virtual"\ncpu = "portable"\ntimeout = "10s"\n',
        b'append = """a\nb"""\n# note\n[table]\nx = 1\n',
        b"mem = 33554432\nkey = {a = [1, 2.5, 1979-05-27]}\n",
    ]


def wire() -> list[bytes]:
    return [
        b'[[change]]\nat = "1s"\nloss = 0.1\ndown.rate = "1mbit"\n\n[[change]]\nat = 3\nloss = 0\n',
        b'[[change]]\nat = "20ms"\nup.reorder = 0.5\nreorder-by = "2ms"\nqueue = 0x10\necn = 5\n',
        b"change = [{at = 1, jitter = 0.001, duplicate = 1e-3}, {at = 2, corrupt = true}]\n",
        b"rate=20mbit,delay=20ms,loss=0.01,requests=50,path=/bytes/10000,keepalive=0,seed=3",
        b"up.rate=1mbit,down.rate=20mbit,at=1s,loss=1,at=3s,loss=0,queue=9,connections=4,port=81",
    ]


def pkt() -> list[bytes]:
    scripts = sorted((ROOT / "tests/pkt").rglob("*.pkt"), key=lambda p: (p.stat().st_size, p.name))
    step = max(1, len(scripts) // 40)
    return [path.read_bytes() for path in scripts[::step]]


def main() -> None:
    for name in sys.argv[1:]:
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(globals()[name]()):
            (folder / f"seed-{number:02}").write_bytes(data)


if __name__ == "__main__":
    main()
