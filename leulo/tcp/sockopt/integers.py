"""Options whose value is one integer, by tables of a level: the name, and what reads or sets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import TYPE_CHECKING, Final

from leulo.tcp.errno import EINVAL, ENOPROTOOPT, ENOTCONN

if TYPE_CHECKING:
    from leulo.tcp.socket import TcpSocket

Getter = Callable[["TcpSocket"], int]
Setter = Callable[["TcpSocket", int], int]

_INT: Final = Struct("<i")
_WORD: Final = Struct("<I")


def read(table: Mapping[int, Getter], socket: TcpSocket, name: int) -> bytes | int:
    """The value's four bytes, -ENOPROTOOPT or -ENOTCONN."""
    getter = table.get(name)
    if getter is None:
        return -ENOPROTOOPT
    number = getter(socket)
    return number if number in (-ENOPROTOOPT, -ENOTCONN) else _WORD.pack(number & 0xFFFFFFFF)


def change(table: Mapping[int, Setter], socket: TcpSocket, name: int, value: bytes) -> int:
    """Set it from the first four bytes of ``value``: 0 or a negative errno."""
    setter = table.get(name)
    if setter is None:
        return -ENOPROTOOPT
    if len(value) < _INT.size:
        return -EINVAL
    return setter(socket, _INT.unpack_from(value)[0])
