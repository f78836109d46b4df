"""What is fuzzed: one function of bytes for each thing that reads what an enemy wrote.

A target returns if its input was taken or refused as it should be; whatever it raises is a
finding. Needs no fuzzer: the tests replay the corpus through the same functions.
"""

from __future__ import annotations

import builtins
import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).resolve().parent / "corpus"
HERE = Path(__file__).resolve().parent
for place in (ROOT, HERE.parent, HERE.parent / "tcp", HERE.parent / "hypercalls", HERE):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))


@dataclass(frozen=True)
class Target:
    """``sources`` are the files whose branches are counted, below the repository."""

    run: Callable[[bytes], None]
    sources: tuple[str, ...]
    most_bytes: int
    modules: tuple[str, ...]  # imported before a run is measured


def stack(data: bytes) -> None:
    """Frames, time and socket calls against a whole stack; see `stack_target`."""
    from stack_target import play

    play(data)


class Chosen(random.Random):
    """A source of chance that is the input: what a fuzzer changes in it is another choice."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self.data = data
        self.at = 0

    @property
    def is_over(self) -> bool:
        return self.at >= len(self.data)

    def getrandbits(self, bits: int) -> int:
        size = bits + 7 >> 3
        part = self.data[self.at : self.at + size].ljust(size, b"\0")
        self.at += size
        return int.from_bytes(part, "little") & (1 << bits) - 1

    def random(self) -> float:
        return self.getrandbits(16) / 65_536


def hypercalls(data: bytes) -> None:
    """A hostile guest on the real engine, whose every choice is the input's; what it wrote where
    it must not, or left behind, is found by its world."""
    from fuzz_world import FuzzWorld

    world = FuzzWorld(1)
    chosen = Chosen(data)
    world.chance = world.world.chance = world.fuzzer.chance = chosen
    for _ in range(400):
        if chosen.is_over:
            break
        world.step()
    world.finish()


def options(data: bytes) -> None:
    """Option lists: the engine's reader never raises, the codec's refuses or gives a list that
    survives its own writing, and of a list that both take they say the same."""
    from tcp_segments import TcpRepr, emit_options, parse_options

    from leulo.net.wire import ParseError
    from leulo.net.wire.ipv4 import has_source_route
    from leulo.net.wire.tcp import OPTION_NOP
    from leulo.tcp.options import MAX_WINDOW_SCALE, parse

    text = data[:40]
    frame = bytes(64) + text
    seen = parse(frame, 64, 64 + len(text))
    has_source_route(text)
    try:
        listed = parse_options(text)
    except ParseError as error:
        assert error.reason.startswith("tcp_")
        return
    repr_ = TcpRepr(1, 2, options=listed)
    again = parse_options(emit_options(listed))
    while again and again[-1][0] == OPTION_NOP and len(again) > len(listed):
        again.pop()  # padding
    assert again[: len(listed)] == listed
    kinds = [option[0] for option in listed if option[0] != OPTION_NOP]
    if len(set(kinds)) < len(kinds):
        return  # of an option that comes twice one reader may take either
    assert seen.mss == (repr_.mss or 0)
    scale = repr_.window_scale
    assert seen.wscale == (-1 if scale is None else min(scale, MAX_WINDOW_SCALE))
    assert seen.is_sack_permitted == repr_.is_sack_permitted
    if repr_.timestamps is not None:
        assert seen.has_timestamps and (seen.tsval, seen.tsecr) == repr_.timestamps


def dhcp(data: bytes) -> None:
    """A DHCP client, its server and time: what it says it has and when it is next due fit its
    state, and it is the same after it was saved."""
    from leulo.net import dhcp as client_of
    from leulo.net.wire import dhcp as wire
    from leulo.net.wire.dhcp import DhcpRepr

    seconds = (0, 1, 3, 5, 16, 60, 600, 3_600, 90_000, 1 << 31)
    mac, server = bytes((2, 0, 0, 0, 0, 1)), bytes((10, 0, 0, 1))
    chance = random.Random(1).getrandbits
    client = client_of.DhcpClient(mac, "fuzz", chance)
    now_ns = at = 0

    def some(count: int) -> bytes:
        nonlocal at
        at += count
        return data[at - count : at].ljust(count, b"\0")

    for _ in range(100):
        client.advance(now_ns)
        for message, to in client.take_output():
            asked = DhcpRepr.parse(message)
            assert asked.mac == mac and asked.transaction == client.transaction and len(to) == 4
        is_bound = client.state in (client_of.BOUND, client_of.RENEWING, client_of.REBINDING)
        assert (client.lease is not None) == is_bound
        due_ns = client.next_deadline()
        assert due_ns is None or due_ns > now_ns
        assert client.renew_ns <= client.rebind_ns <= client.expires_ns
        if at >= len(data):
            break
        action = some(1)[0] % 6
        if action == 0:
            now_ns += seconds[some(1)[0] % len(seconds)] * 1_000_000_000
        elif action == 4:
            client.input(some(some(1)[0]), now_ns)
        elif action == 5:
            saved = client.save()
            client = client_of.DhcpClient(mac, "fuzz", chance)
            client.load(saved)
            assert client.save() == saved
        else:
            has = some(1)[0]
            options = {wire.OPTION_SERVER_ID: some(4) if has & 16 else server}
            numbers = (wire.OPTION_REBINDING_TIME, wire.OPTION_RENEWAL_TIME,
                       wire.OPTION_SUBNET_MASK, wire.OPTION_LEASE_TIME)  # fmt: skip
            for bit in (3, 1, 0, 2):
                if has >> bit & 1:
                    options[numbers[bit]] = some(4)
            if has & 32:
                options[wire.OPTION_ROUTERS] = some(some(1)[0] % 9)
            kind = (wire.OFFER, wire.ACK, wire.NAK)[action - 1]
            given = some(4) if has & 64 else bytes((10, 0, 0, 9))
            reply = DhcpRepr(
                wire.BOOT_REPLY, kind, client.transaction, mac, 0, False, 0, bytes(4), given,
                options=options,
            )  # fmt: skip
            client.input(reply.emit(), now_ns)


def codecs(data: bytes) -> None:
    """Every header: parse raises ParseError or gives what survives its own writing."""
    from tcp_segments import TcpRepr

    from leulo.links.user.dns import servfail
    from leulo.net.icmp import may_report, parse_error
    from leulo.net.icmpv6 import may_report as may_report6
    from leulo.net.icmpv6 import parse_error as parse_error6
    from leulo.net.wire import ParseError, vnet
    from leulo.net.wire.arp import ArpRepr
    from leulo.net.wire.dhcp import DhcpRepr
    from leulo.net.wire.ethernet import EthernetRepr
    from leulo.net.wire.icmp import IcmpRepr
    from leulo.net.wire.icmpv6 import Icmpv6Repr
    from leulo.net.wire.ipv4 import Ipv4Repr
    from leulo.net.wire.ipv6 import FragmentRepr, Ipv6Repr, walk
    from leulo.net.wire.ndp import NeighbourRepr, RouterRepr
    from leulo.net.wire.udp import UdpRepr

    if not data:
        return
    kind, text = data[0] % 14, data[1:]
    a, b, a6, b6 = bytes(3) + b"\1", bytes(3) + b"\2", bytes(15) + b"\1", bytes(15) + b"\2"
    try:
        if kind == 0:
            assert EthernetRepr.parse(text).emit() == text[:14]
        elif kind == 1:
            assert ArpRepr.parse(ArpRepr.parse(text).emit()) == ArpRepr.parse(text)
        elif kind == 2:
            header = Ipv4Repr.parse_quoted(text, 0xFFFF, verify_checksum=False)
            rest = text[header.header_bytes :]
            assert Ipv4Repr.parse_quoted(header.emit() + rest, 0xFFFF) == header
            may_report(text, False)
        elif kind == 3:
            message = IcmpRepr.parse(text)
            assert IcmpRepr.parse(message.emit()) == message
        elif kind == 4:
            parse_error(IcmpRepr(text[0] if text else 3, 0, 1400, text[1:]))
        elif kind == 5:
            datagram = UdpRepr.parse(text, a, b, verify_checksum=False)
            assert datagram.payload_bytes <= len(text)
        elif kind == 6:
            segment = TcpRepr.parse(text, a, b, verify_checksum=False)
            assert TcpRepr.parse(segment.emit(a, b), a, b) == segment
        elif kind == 7:
            six = Ipv6Repr.parse(text)
            assert Ipv6Repr.parse(six.emit() + text[40:]) == six
            may_report6(text, True)
            walk(text, len(text))
        elif kind == 8:
            assert FragmentRepr.parse(FragmentRepr.parse(text).emit()) == FragmentRepr.parse(text)
        elif kind == 9:
            told = Icmpv6Repr.parse(text, a6, b6, verify_checksum=False)
            assert Icmpv6Repr.parse(told.emit(a6, b6), a6, b6) == told
            parse_error6(told)
        elif kind == 10:
            told = Icmpv6Repr.parse(text, a6, b6, verify_checksum=False)
            if told.kind == 134:
                RouterRepr.parse(told)
            else:
                NeighbourRepr.parse(told)
        elif kind == 11:
            lease = DhcpRepr.parse(text)
            assert DhcpRepr.parse(lease.emit()) == lease
            _ = lease.prefix_length, lease.lease_s, lease.server_id, lease.requested_address
        elif kind == 12:
            vnet.VnetRepr.parse(text, 60)
        elif len(text) >= 12:
            assert len(servfail(text)) <= max(12, len(text))
    except ParseError as error:
        assert error.reason


def image(data: bytes) -> None:
    """An ELF kernel is put into RAM whole, or refused in one sentence."""
    from leulo.errors import ImageError
    from leulo.loader.elf import Elf
    from leulo.loader.multiboot import load
    from leulo.memory import Memory

    memory = Memory(4 << 20)
    try:
        load(memory, data, name="x.img", command_line="quiet", modules=[(b"module", "m")])
    except ImageError as error:
        assert "\n" not in str(error) and str(error).startswith("x.img")
    try:
        Elf(data, "x.img").entry_address()
    except ImageError as error:
        assert "\n" not in str(error)


def archive(data: bytes) -> None:
    """A cpio archive, alone and in an image that tells where its files lie."""
    from leulo import image_files
    from leulo.errors import LeuloError

    try:
        files = image_files._unpack(data, "x.img")
    except LeuloError as error:
        assert "\n" not in str(error)
    else:
        assert sum(len(content) for content in files.values()) <= len(data) * (1 + len(files))
    for read in (
        lambda: image_files.read_files(data, "x.img"),
        lambda: image_files.with_files(data, "x.img", {"etc/motd": b"hello"}),
        lambda: image_files.check_program(data, "prog"),
    ):
        try:
            read()
        except LeuloError as error:
            assert "\n" not in str(error)


def lines(data: bytes) -> None:
    """DWARF's line programs of an ELF."""
    from leulo.errors import ImageError
    from leulo.line_table import read_lines

    try:
        rows = read_lines(data)
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert rows == sorted(rows, key=lambda row: row[0])


def toml(data: bytes) -> None:
    """A machine file: a machine, or an error that names the file."""
    from leulo.config.machine_file import key_lines, read_machine_file
    from leulo.config.settings import configure
    from leulo.errors import ConfigError

    text = data.decode(errors="surrogateescape")
    try:
        settings = read_machine_file(text, Path("machine.toml"))
        assert set(settings) <= set(key_lines(text)) | set(settings)
        configure(settings)
    except ConfigError as error:
        assert str(error)


def wire(data: bytes) -> None:
    """The script of a simulated wire, and the same bytes as its options: a wire, or an error."""
    from leulo.errors import ConfigError
    from leulo.links.sim.script import changes_of
    from leulo.links.sim.spec import SimSpec

    for text in ("script=wire.toml", data.decode(errors="surrogateescape")):
        try:
            spec = SimSpec.parse(text, lambda name: changes_of(data, name))
            assert spec.delay >= 0
        except ConfigError as error:
            assert str(error).startswith(("--net sim: ", "wire.toml: "))


_RAISED = re.compile(r"(\w+): ")


def pkt(data: bytes) -> None:
    """A packetdrill script: an outcome, and never by an exception of Python's."""
    from leulo.pkt.outcome import Status
    from leulo.pkt.runner import run_text

    outcome = run_text(data.decode(errors="replace"))
    if outcome.status is Status.ERROR:
        name = _RAISED.match(outcome.actual)
        assert name is None or not (
            hasattr(builtins, name[1]) or name[1] in ("LeuloBug", "error", "ParseError")
        ), outcome.actual


TARGETS: dict[str, Target] = {
    "stack": Target(
        stack, ("leulo/stack.py", "leulo/stack_ipv6.py", "leulo/tcp/", "leulo/net/"), 2048,
        ("stack_target",),
    ),
    "hypercalls": Target(hypercalls, ("leulo/hypercalls/",), 4096, ("fuzz_world",)),
    "dhcp": Target(
        dhcp, ("leulo/net/dhcp.py", "leulo/net/wire/dhcp.py"), 1024, ("leulo.net.dhcp",)
    ),
    "options": Target(
        options, ("leulo/tcp/options.py",), 40,
        ("leulo.tcp.options", "tcp_segments"),
    ),
    "codecs": Target(
        codecs, ("leulo/net/wire/",), 700,
        ("leulo.links.user.dns", "leulo.net.icmpv6", "leulo.net.wire.ndp", "leulo.net.wire.dhcp",
         "leulo.net.wire.arp"),
    ),
    "image": Target(image, ("leulo/loader/",), 4096, ("leulo.loader.multiboot",)),
    "archive": Target(
        archive, ("leulo/image_files.py", "leulo/loader/elf.py"), 4096, ("leulo.image_files",)
    ),
    "lines": Target(lines, ("leulo/line_table.py",), 4096, ("leulo.line_table",)),
    "toml": Target(toml, ("leulo/config/",), 2048, ("leulo.config.machine_file",)),
    "wire": Target(wire, ("leulo/links/sim/script.py", "leulo/links/sim/spec.py"), 2048,
                   ("leulo.links.sim.spec",)),
    "pkt": Target(pkt, ("leulo/pkt/",), 4096, ("leulo.pkt.runner",)),
}  # fmt: skip


def corpus_of(name: str) -> list[Path]:
    """The target's inputs, in a fixed order."""
    folder = CORPUS / name
    return sorted(folder.iterdir()) if folder.is_dir() else []
