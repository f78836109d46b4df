"""UDP of a host without UDP sockets: every datagram finds its port closed. [RFC 768]

The datagram is checked before anybody is told anything about it. [RFC 1122 4.1.3.1]
"""

from __future__ import annotations

from leulo.net.wire import Buffer
from leulo.net.wire.icmp import DESTINATION_UNREACHABLE, PORT_UNREACHABLE
from leulo.net.wire.ipv4 import Ipv4Repr
from leulo.net.wire.udp import UdpRepr

CLOSED = (DESTINATION_UNREACHABLE, PORT_UNREACHABLE)


def refuse(ip: Ipv4Repr, datagram: Buffer, is_checksum_trusted: bool = False) -> tuple[int, int]:
    """The ICMP type and code that answer a datagram to a closed port.

    ``is_checksum_trusted``: the link has verified the checksum, or left it to be filled. Raises
    ParseError with the reason of a drop if the datagram is not valid.
    """
    UdpRepr.parse(datagram, ip.source, ip.destination, verify_checksum=not is_checksum_trusted)
    return CLOSED
