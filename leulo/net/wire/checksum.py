"""The Internet checksum, whole, in parts and incrementally. [RFC 1071] [RFC 1624]

A *sum* is a folded ones' complement sum, 0..0xFFFF, not yet inverted; a *checksum* is the
inverted one that goes into a header. Sums of parts may be added if each part but the last has
an even length. 2**16 = 1 (mod 65535), so a whole buffer read as one big integer has the sum of
its 16-bit words as its remainder: that is the fastest way in pure Python for headers, and NumPy
beats it from about 900 bytes.
"""

from __future__ import annotations

from typing import Any, Final

from leulo.net.wire import Buffer

_NUMPY_FROM_BYTES: Final = 900
_PATIENCE_BYTES: Final = 1 << 20  # of large sums, before NumPy is loaded unasked

_numpy: Any = None
_summed: int = 0  # bytes of large sums without it


def prepare() -> None:
    """Load what large sums need, a tenth of a second or more. Whoever knows that sums will be
    wanted (a capture, a link without offload) calls it before the first frame."""
    _load_numpy()


def _load_numpy() -> None:
    # Not at start-up: with checksum offload and without a capture there is no large sum.
    global _numpy
    if _numpy is None:
        import numpy

        _numpy = numpy


def _is_unprepared(length: int) -> bool:
    """No NumPy, and not yet so many large sums that it is worth the time to load. A large ping or
    a few fragments are not: nobody wants to wait a tenth of a second for the first of them."""
    global _summed
    _summed += length
    if _summed < _PATIENCE_BYTES:
        return True
    _load_numpy()
    return False


def fold(total: int) -> int:
    """Bring any non-negative sum of 16-bit words into 0..0xFFFF; only 0 gives 0."""
    return total % 0xFFFF or (0xFFFF if total else 0)


def sum_words(data: Buffer, start: int = 0) -> int:
    """The folded sum of ``data``'s big-endian words (an odd last byte padded with zero) and
    of ``start``. [RFC 1071 2]"""
    length = len(data)
    if length < _NUMPY_FROM_BYTES or (_numpy is None and _is_unprepared(length)):
        total = int.from_bytes(data, "big")
        if length & 1:
            total <<= 8
        return fold(start + total)
    numpy = _numpy
    even = length & ~3
    # The ones' complement sum does not depend on the byte order, so the machine's own words
    # are added and only the result is turned round. [RFC 1071 2 B]
    total = int(numpy.frombuffer(data, numpy.dtype("<u4"), even >> 2).sum(dtype=numpy.uint64))
    total = fold(total)
    total = (total & 0xFF) << 8 | total >> 8
    if even != length:
        total += sum_words(data[even:])
    return fold(start + total)


def sum_parts(parts: tuple[Buffer, ...] | list[Buffer], start: int = 0) -> int:
    """The folded sum of the concatenation of ``parts``, whatever their lengths."""
    total = start
    is_odd = False
    for part in parts:
        value = sum_words(part)
        if is_odd:  # this part's bytes sit in the other halves of the words
            value = (value & 0xFF) << 8 | value >> 8
        total += value
        if len(part) & 1:
            is_odd = not is_odd
    return fold(total)


def checksum(data: Buffer, start: int = 0) -> int:
    """The checksum of ``data``, to be put into a header; 0 when ``data`` holds a right one."""
    return ~sum_words(data, start) & 0xFFFF


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """The sum of the pseudo header of TCP or UDP over IPv4 or IPv6; ``length`` in bytes.

    [RFC 9293 3.1] [RFC 8200 8.1]
    """
    return fold(
        int.from_bytes(source, "big")
        + int.from_bytes(destination, "big")
        + protocol
        + (length >> 16)
        + (length & 0xFFFF)
    )


def update(old_checksum: int, old: Buffer, new: Buffer) -> int:
    """The checksum after a field changed from ``old`` to ``new`` (same even length and an even
    place in the header). HC' = ~(~HC + ~m + m'). [RFC 1624 3]"""
    words = len(old) >> 1
    taken_away = words * 0xFFFF - _plain_sum(old)
    return ~fold((~old_checksum & 0xFFFF) + taken_away + _plain_sum(new)) & 0xFFFF


def _plain_sum(data: Buffer) -> int:
    return sum(data[i] << 8 | data[i + 1] for i in range(0, len(data) - 1, 2))
