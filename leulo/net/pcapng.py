"""The pcapng file format: blocks as bytes. [pcapng 4]

A pure writer: it gives bytes and knows no files. Little-endian, one section, time stamps in
nanoseconds, one interface description per link. Wireshark and tshark read the result.
"""

from __future__ import annotations

from struct import Struct
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


def _text(text: str, limit: int) -> bytes:
    """UTF-8 of at most ``limit`` bytes, cut between characters."""
    return text.encode()[:limit].decode(errors="ignore").encode()


def _options(options: list[tuple[int, bytes]]) -> bytes:
    parts = [_OPTION.pack(code, len(body)) + body + bytes(-len(body) & 3) for code, body in options]
    return b"".join(parts) + _OPTION.pack(_OPT_END, 0)


def _block(kind: int, body: bytes) -> bytes:
    total = 12 + len(body)
    return _HEAD.pack(kind, total) + body + _LENGTH.pack(total)
