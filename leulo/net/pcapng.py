"""The pcapng file format: blocks as bytes, and a reader for what we write. [pcapng 4]

A pure writer: it gives bytes and knows no files. Little-endian, one section, time stamps in
nanoseconds, one interface description per link. Wireshark and tshark read the result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from struct import error as struct_error
from typing import Final

from leulo.net.wire import Buffer

LINKTYPE_ETHERNET: Final = 1

INBOUND: Final = 1  # towards the interface's owner
OUTBOUND: Final = 2

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_STATISTICS: Final = 5
_PACKET: Final = 6
_BYTE_ORDER: Final = 0x1A2B3C4D

_OPT_END: Final = 0
_OPT_COMMENT: Final = 1
_SHB_USERAPPL: Final = 4
_IF_NAME: Final = 2
_IF_DESCRIPTION: Final = 3
_IF_TSRESOL: Final = 9
_EPB_FLAGS: Final = 2
_ISB_ENDTIME: Final = 3
_ISB_IFRECV: Final = 4
_ISB_IFDROP: Final = 5

_HEAD: Final = Struct("<II")
_LENGTH: Final = Struct("<I")
_OPTION: Final = Struct("<HH")
_SHB: Final = Struct("<IHHq")
_IDB: Final = Struct("<HHI")
_EPB: Final = Struct("<IIIII")
_ISB: Final = Struct("<III")

MAX_COMMENT_BYTES: Final = 1024


def section_header(application: str) -> bytes:
    """The block that begins a file. [pcapng 4.1]"""
    body = _SHB.pack(_BYTE_ORDER, 1, 0, -1)
    return _block(_SECTION, body + _options([(_SHB_USERAPPL, _text(application, 256))]))


def interface(name: str, description: str = "") -> bytes:
    """Describes the next interface; the first one has the number 0. [pcapng 4.2]"""
    options = [(_IF_NAME, _text(name, 256)), (_IF_TSRESOL, b"\x09")]
    if description:
        options.append((_IF_DESCRIPTION, _text(description, 256)))
    return _block(_INTERFACE, _IDB.pack(LINKTYPE_ETHERNET, 0, 0) + _options(options))


def packet(
    number: int,
    time_ns: int,
    parts: tuple[Buffer, ...],
    length: int,
    direction: int,
    comment: str = "",
) -> bytes:
    """One frame, whole, on interface ``number``. ``parts`` are ``length`` bytes together;
    ``direction`` is INBOUND or OUTBOUND. [pcapng 4.3]"""
    options = [(_EPB_FLAGS, _LENGTH.pack(direction))]
    if comment:
        options.append((_OPT_COMMENT, _text(comment, MAX_COMMENT_BYTES)))
    tail = bytes(-length & 3) + _options(options)
    total = 12 + _EPB.size + length + len(tail)
    return b"".join(
        (
            _HEAD.pack(_PACKET, total),
            _EPB.pack(number, time_ns >> 32, time_ns & 0xFFFFFFFF, length, length),
            *parts,
            tail,
            _LENGTH.pack(total),
        )
    )


def statistics(number: int, time_ns: int, received: int, dropped: int) -> bytes:
    """The block that ends an interface: frames captured and frames missed. [pcapng 4.6]"""
    options = [
        (_ISB_ENDTIME, _HEAD.pack(time_ns >> 32, time_ns & 0xFFFFFFFF)),
        (_ISB_IFRECV, received.to_bytes(8, "little")),
        (_ISB_IFDROP, dropped.to_bytes(8, "little")),
    ]
    body = _ISB.pack(number, time_ns >> 32, time_ns & 0xFFFFFFFF)
    return _block(_STATISTICS, body + _options(options))


@dataclass
class Packet:
    """One frame as read back."""

    interface: int
    time_ns: int
    data: bytes
    direction: int
    comment: str


@dataclass
class Capture:
    """A file as read back."""

    interfaces: list[str] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    received: dict[int, int] = field(default_factory=dict)  # by interface, from its end block


def read(data: bytes) -> Capture:
    """Read a file of this writer's dialect. Raises ValueError with the place of what is wrong."""
    capture = Capture()
    at = 0
    while at < len(data):
        if at + 12 > len(data):
            raise ValueError(f"pcapng: a block is cut off at byte {at}")
        kind, total = _HEAD.unpack_from(data, at)
        if total < 12 or total & 3 or at + total > len(data):
            raise ValueError(f"pcapng: the block at byte {at} has the length {total}")
        if _LENGTH.unpack_from(data, at + total - 4)[0] != total:
            raise ValueError(f"pcapng: the lengths of the block at byte {at} differ")
        if at == 0 and kind != _SECTION:
            raise ValueError("pcapng: the file does not begin with a section header")
        try:
            _read_block(capture, kind, data[at + 8 : at + total - 4])
        except (IndexError, struct_error) as error:
            raise ValueError(f"pcapng: the block at byte {at} is too short: {error}") from error
        at += total
    return capture


def _read_block(capture: Capture, kind: int, body: bytes) -> None:
    if kind == _SECTION:
        if _SHB.unpack_from(body)[0] != _BYTE_ORDER:
            raise ValueError("pcapng: only little-endian sections are read")
    elif kind == _INTERFACE:
        options = _read_options(body[_IDB.size :])
        if options.get(_IF_TSRESOL) != b"\x09":
            raise ValueError("pcapng: only time stamps in nanoseconds are read")
        capture.interfaces.append(options.get(_IF_NAME, b"").decode(errors="replace"))
    elif kind == _PACKET:
        number, high, low, length, _ = _EPB.unpack_from(body)
        start = _EPB.size
        options = _read_options(body[start + length + (-length & 3) :])
        flags = int.from_bytes(options.get(_EPB_FLAGS, b"")[:4], "little")
        comment = options.get(_OPT_COMMENT, b"").decode(errors="replace")
        frame = body[start : start + length]
        if len(frame) != length:
            raise IndexError("the frame is cut off")
        capture.packets.append(Packet(number, high << 32 | low, frame, flags & 3, comment))
    elif kind == _STATISTICS:
        number = _ISB.unpack_from(body)[0]
        options = _read_options(body[_ISB.size :])
        capture.received[number] = int.from_bytes(options.get(_ISB_IFRECV, b""), "little")


def _read_options(data: bytes) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        code, length = _OPTION.unpack_from(data, at)
        if code == _OPT_END:
            break
        options[code] = data[at + 4 : at + 4 + length]
        at += 4 + length + (-length & 3)
    return options


def _text(text: str, limit: int) -> bytes:
    """UTF-8 of at most ``limit`` bytes, cut between characters."""
    return text.encode()[:limit].decode(errors="ignore").encode()


def _options(options: list[tuple[int, bytes]]) -> bytes:
    parts = [_OPTION.pack(code, len(body)) + body + bytes(-len(body) & 3) for code, body in options]
    return b"".join(parts) + _OPTION.pack(_OPT_END, 0)


def _block(kind: int, body: bytes) -> bytes:
    total = 12 + len(body)
    return _HEAD.pack(kind, total) + body + _LENGTH.pack(total)
