"""What one machine may ask of the hypervisor. Past a limit it gets an errno, never more memory."""

from __future__ import annotations

from dataclasses import dataclass

from leulo.units import MIB, NS_PER_MS


@dataclass(frozen=True, slots=True)
class Limits:
    """Quotas of one machine; HELLO tells them to the guest."""

    max_sockets: int = 4096  # handles at once; EMFILE past it
    max_iovec: int = 64  # pieces; BAD_ARGUMENT past it
    max_transfer: int = MIB  # bytes of one SEND or RECV; short counts past it
    max_events: int = 4096  # entries of the event ring; BAD_ARGUMENT past it
    max_buffers: int = 1024  # registered at once; ENOBUFS past it
    max_buffer_pieces: int = 4096  # of one BUFFER_REGISTER; BAD_ARGUMENT past it
    max_pieces: int = 65_536  # of all registered buffers; ENOBUFS past it
    max_option: int = 256  # bytes of an option's value; EINVAL past it
    # An event storm is capped: so many interrupts in a window, the next one at the window's end.
    storm_raises: int = 512
    storm_window_ns: int = 10 * NS_PER_MS

    def __post_init__(self) -> None:
        if not 0 < self.max_sockets <= 0xFFFF:
            raise ValueError(f"max_sockets must be 1 to 65535, not {self.max_sockets}")
        if min(self.max_buffers, self.max_buffer_pieces, self.max_pieces) <= 0:
            raise ValueError("limits of buffers must be positive")
        if self.max_iovec <= 0 or self.max_transfer <= 0 or self.storm_raises <= 0:
            raise ValueError("limits must be positive")
        if self.max_events < 2 or self.max_events & (self.max_events - 1):
            raise ValueError(f"max_events must be a power of two, not {self.max_events}")


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """What HELLO tells a guest about its machine. Addresses are network byte order."""

    address: bytes
    prefix_length: int
    gateway: bytes | None
    dns: bytes | None
    mac: bytes
    mtu: int = 1500
    tsc_hz: int = 0
    epoch_ns: int = 0  # Unix time at the clock's zero; 0: the machine has no calendar
    has_ipv6: bool = False
