"""DHCP messages for Ethernet and IPv4: the payload of UDP ports 67 and 68. [RFC 2131 2] [RFC 2132]

Client and server share this codec. Options are kept by number with their raw bytes, in the order
they came; the properties read the usual ones and give None where one is missing or has a wrong
length. An option that is split over several is joined, and those that overflow into the name
fields are found. [RFC 3396 5] [RFC 2132 9.3]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from leulo.net.wire import Buffer, ParseError

SERVER_PORT: Final = 67
CLIENT_PORT: Final = 68

BOOT_REQUEST: Final = 1
BOOT_REPLY: Final = 2

# Values of the message type [RFC 2132 9.6]
DISCOVER: Final = 1
OFFER: Final = 2
REQUEST: Final = 3
DECLINE: Final = 4
ACK: Final = 5
NAK: Final = 6
RELEASE: Final = 7
INFORM: Final = 8

# Options [RFC 2132]
OPTION_PAD: Final = 0
OPTION_SUBNET_MASK: Final = 1
OPTION_ROUTERS: Final = 3
OPTION_DNS: Final = 6
OPTION_HOST_NAME: Final = 12
OPTION_MTU: Final = 26
OPTION_BROADCAST: Final = 28
OPTION_REQUESTED_ADDRESS: Final = 50
OPTION_LEASE_TIME: Final = 51
OPTION_OVERLOAD: Final = 52
OPTION_MESSAGE_TYPE: Final = 53
OPTION_SERVER_ID: Final = 54
OPTION_PARAMETERS: Final = 55
OPTION_MESSAGE: Final = 56
OPTION_MAX_SIZE: Final = 57
OPTION_RENEWAL_TIME: Final = 58
OPTION_REBINDING_TIME: Final = 59
OPTION_CLIENT_ID: Final = 61
OPTION_END: Final = 255

INFINITE_S: Final = 0xFFFFFFFF  # a lease without end [RFC 2131 3.3]

_HEADER: Final = Struct("!BBBBIHH4s4s4s4s16s")
_NAME_AT: Final = _HEADER.size  # server name, 64 bytes, then boot file, 128
_FILE_AT: Final = _NAME_AT + 64
_MAGIC_AT: Final = _FILE_AT + 128
_OPTIONS_AT: Final = _MAGIC_AT + 4
_MAGIC: Final = b"\x63\x82\x53\x63"
_ETHERNET: Final = 1
_MAC_BYTES: Final = 6
_FLAG_BROADCAST: Final = 0x8000
_LEAST_BYTES: Final = 300  # what the oldest relays and servers expect [RFC 1542 2.1]
_MOST_OF_ONE: Final = 255
_NOWHERE: Final = bytes(4)


@dataclass
class DhcpRepr:
    """A valid message. ``operation`` is BOOT_REQUEST or BOOT_REPLY, ``kind`` the message type;
    ``options`` are all others. Addresses are 4 bytes, zero for none; ``mac`` is the client's."""

    operation: int
    kind: int
    transaction: int
    mac: bytes
    seconds: int = 0
    is_broadcast: bool = False  # the client cannot hear unicast yet
    hops: int = 0
    client_address: bytes = _NOWHERE  # ciaddr: one that the client has and answers to
    your_address: bytes = _NOWHERE  # yiaddr: one that the client gets
    next_server: bytes = _NOWHERE  # siaddr
    relay: bytes = _NOWHERE  # giaddr
    options: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: Buffer) -> DhcpRepr:
        """Raises ParseError: ``dhcp_short``, ``dhcp_operation``, ``dhcp_hardware``,
        ``dhcp_magic``, ``dhcp_options`` (run over the end), ``dhcp_kind`` (no message type, or
        an unknown one)."""
        if len(data) < _OPTIONS_AT:
            raise ParseError("dhcp_short")
        (operation, hardware, mac_bytes, hops, transaction, seconds, flags,
         client, your, server, relay, mac) = _HEADER.unpack_from(data)  # fmt: skip
        if operation not in (BOOT_REQUEST, BOOT_REPLY):
            raise ParseError("dhcp_operation")
        if hardware != _ETHERNET or mac_bytes != _MAC_BYTES:
            raise ParseError("dhcp_hardware")
        if data[_MAGIC_AT:_OPTIONS_AT] != _MAGIC:
            raise ParseError("dhcp_magic")
        options: dict[int, bytes] = {}
        _read_options(bytes(data[_OPTIONS_AT:]), options)
        overload = options.pop(OPTION_OVERLOAD, b"")
        where = overload[0] if len(overload) == 1 else 0
        if where & 1:
            _read_options(bytes(data[_FILE_AT:_MAGIC_AT]), options)
        if where & 2:
            _read_options(bytes(data[_NAME_AT:_FILE_AT]), options)
        options.pop(OPTION_OVERLOAD, None)
        kind = options.pop(OPTION_MESSAGE_TYPE, b"")
        if len(kind) != 1 or not DISCOVER <= kind[0] <= INFORM:
            raise ParseError("dhcp_kind")
        return cls(
            operation, kind[0], transaction, mac[:_MAC_BYTES], seconds,
            bool(flags & _FLAG_BROADCAST), hops, client, your, server, relay, options,
        )  # fmt: skip

    def emit(self) -> bytes:
        """The message, padded to 300 bytes. An option of more than 255 bytes is split."""
        parts = [
            _HEADER.pack(
                self.operation, _ETHERNET, _MAC_BYTES, self.hops, self.transaction, self.seconds,
                _FLAG_BROADCAST if self.is_broadcast else 0, self.client_address,
                self.your_address, self.next_server, self.relay, self.mac,
            ),
            bytes(_MAGIC_AT - _NAME_AT),
            _MAGIC,
            bytes((OPTION_MESSAGE_TYPE, 1, self.kind)),
        ]  # fmt: skip
        for number, value in self.options.items():
            for at in range(0, max(len(value), 1), _MOST_OF_ONE):
                piece = value[at : at + _MOST_OF_ONE]
                parts.append(bytes((number, len(piece))) + piece)
        parts.append(bytes((OPTION_END,)))
        return b"".join(parts).ljust(_LEAST_BYTES, b"\0")

    # ------------------------------------------------------------ options

    def address_option(self, number: int) -> bytes | None:
        """The first address of option ``number``."""
        value = self.options.get(number, b"")
        return value[:4] if value and len(value) % 4 == 0 else None

    def time_option(self, number: int) -> int | None:
        """Seconds in option ``number``."""
        value = self.options.get(number, b"")
        return int.from_bytes(value, "big") if len(value) == 4 else None

    @property
    def prefix_length(self) -> int | None:
        """From the subnet mask; None if its ones are not all on the left."""
        mask = self.address_option(OPTION_SUBNET_MASK)
        if mask is None:
            return None
        inverse = int.from_bytes(mask, "big") ^ 0xFFFFFFFF
        return None if inverse & (inverse + 1) else 32 - inverse.bit_length()

    @property
    def server_id(self) -> bytes | None:
        return self.address_option(OPTION_SERVER_ID)

    @property
    def requested_address(self) -> bytes | None:
        return self.address_option(OPTION_REQUESTED_ADDRESS)

    @property
    def lease_s(self) -> int | None:
        return self.time_option(OPTION_LEASE_TIME)


def mask_of(prefix_length: int) -> bytes:
    """The subnet mask of a prefix length from 0 to 32."""
    return (0xFFFFFFFF << (32 - prefix_length) & 0xFFFFFFFF).to_bytes(4, "big")


def _read_options(text: bytes, options: dict[int, bytes]) -> None:
    at = 0
    while at < len(text):
        number = text[at]
        if number == OPTION_END:
            return
        at += 1
        if number == OPTION_PAD:
            continue
        if at >= len(text) or at + 1 + text[at] > len(text):
            raise ParseError("dhcp_options")
        end = at + 1 + text[at]
        options[number] = options.get(number, b"") + text[at + 1 : end]
        at = end
