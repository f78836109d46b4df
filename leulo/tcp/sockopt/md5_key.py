"""setsockopt() with TCP_MD5SIG and TCP_MD5SIG_EXT: a key comes, is another one, or goes.

The layout is Linux's ``struct tcp_md5sig``: a sockaddr_storage, flags, the length of the prefix,
the length of the key, an interface, eighty bytes of key. Keys are never told again.
[Linux tcp(7)] [RFC 2385 4.5]
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from leulo.tcp import md5, segment_size
from leulo.tcp.addresses import inside
from leulo.tcp.errno import AF_INET, EINVAL, ENOENT, ENOMEM
from leulo.tcp.state import CLOSED

if TYPE_CHECKING:
    from leulo.tcp.socket import TcpSocket

FLAG_PREFIX: Final = 1  # the prefix's length counts
FLAG_INTERFACE: Final = 2
MOST_KEY_BYTES: Final = 80
# Of one socket: each segment may ask all of them. So many had room in Linux's optmem_max of 20 KiB
# (128 since 6.7, and 963 keys).
MOST_KEYS: Final = 150

_KEY: Final = Struct("<H126sBBHI80s")
_ADDRESS_4: Final = Struct("2x4s")  # behind the family: port, address
_ADDRESS_6: Final = Struct("6x16s")  # port, flow label, address


def change(socket: TcpSocket, is_extended: bool, value: bytes) -> int:
    """Set the key in ``value``, or forget it if its length is 0. ``is_extended``: its flags count.
    0, -EINVAL, -ENOENT if there is none to forget, or -ENOMEM if there are `MOST_KEYS`."""
    if len(value) < _KEY.size:
        return -EINVAL
    family, place, flags, prefix, length, interface, secret = _KEY.unpack_from(value)
    if family != socket.family or length > MOST_KEY_BYTES:
        return -EINVAL
    form = _ADDRESS_4 if family == AF_INET else _ADDRESS_6
    address = inside(form.unpack_from(place)[0], family, False)
    if address is None:
        return -EINVAL
    bits = len(address) * 8
    if not is_extended:
        flags = 0
    if not flags & FLAG_PREFIX:
        prefix = bits
    if prefix > bits or (flags & FLAG_INTERFACE and interface):
        return -EINVAL  # no interface here is a routing domain of its own
    old = socket.settings.md5_keys
    new = md5.with_key(old, address, prefix, secret[:length])
    if not length and len(new) == len(old):
        return -ENOENT
    if len(new) > MOST_KEYS:
        return -ENOMEM
    tcb = socket.tcb
    before = md5.overhead(tcb) if tcb is not None else 0
    socket.change_settings(md5_keys=new)
    if tcb is not None and tcb.state is not CLOSED:
        growth = md5.overhead(tcb) - before
        if growth and tcb.mss_most:
            segment_size.headers_grow(tcb, growth)
        tcb.refresh_odd()
        tcb.refresh_ordinary()
    return 0
