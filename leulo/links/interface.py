"""The kernel's side of a TAP: its address, MTU and state, by the socket ioctls.

No other program is run for it. [Linux netdevice(7)]
"""

from __future__ import annotations

import errno
import fcntl
import socket
from pathlib import Path
from struct import Struct
from typing import Final

from leulo.errors import EnvironmentProblem

QUEUE_FRAMES: Final = 5000  # of the kernel's queue towards us, for devices we make

# <linux/sockios.h> and <linux/if.h>
SIOCGIFFLAGS: Final = 0x8913
SIOCSIFFLAGS: Final = 0x8914
SIOCGIFADDR: Final = 0x8915
SIOCSIFADDR: Final = 0x8916
SIOCSIFNETMASK: Final = 0x891C
SIOCGIFMTU: Final = 0x8921
SIOCSIFMTU: Final = 0x8922
SIOCSIFTXQLEN: Final = 0x8943
IFF_UP: Final = 0x0001
IFF_RUNNING: Final = 0x0040

_FLAGS_REQUEST: Final = Struct("16sh22x")
_NUMBER_REQUEST: Final = Struct("16si20x")
_ADDRESS_REQUEST: Final = Struct("16sHH4s16x")  # a struct sockaddr_in inside


class Interface:
    """One interface, by its name. ``control`` is any socket; the caller closes it."""

    def __init__(self, control: socket.socket, name: str) -> None:
        self._control = control
        self._name = name
        self._key = name.encode()

    def set_up_new(self, mtu: int) -> None:
        """What only a device of ours needs."""
        self._ioctl(SIOCSIFMTU, _NUMBER_REQUEST.pack(self._key, mtu))
        self._ioctl(SIOCSIFTXQLEN, _NUMBER_REQUEST.pack(self._key, QUEUE_FRAMES))

    def mtu(self) -> int:
        """Bytes of an IP packet."""
        answer = self._ioctl(SIOCGIFMTU, _NUMBER_REQUEST.pack(self._key, 0))
        return int(_NUMBER_REQUEST.unpack(answer)[1])

    def bring_up(self, address: bytes | None, prefix_length: int) -> None:
        """Give it the address and set it up, as far as that is lacking.

        A port of a bridge gets none. Raises EnvironmentProblem with the commands to run.
        """
        is_bridged = Path(f"/sys/class/net/{self._name}/master").exists()
        try:
            if address is not None and not is_bridged:
                self._set_address(address, prefix_length)
            answer = self._ioctl(SIOCGIFFLAGS, _FLAGS_REQUEST.pack(self._key, 0))
            flags = _FLAGS_REQUEST.unpack(answer)[1]
            if not flags & IFF_UP:
                request = _FLAGS_REQUEST.pack(self._key, flags | IFF_UP | IFF_RUNNING)
                self._ioctl(SIOCSIFFLAGS, request)
        except OSError as error:
            commands = f"sudo ip link set {self._name} up"
            if address is not None and not is_bridged:
                text = socket.inet_ntoa(address)
                commands = f"sudo ip addr add {text}/{prefix_length} dev {self._name} && {commands}"
            raise EnvironmentProblem(
                f"--net tap:{self._name}: cannot set {self._name} up ({error.strerror}): run "
                f"`{commands}`"
            ) from error

    def _set_address(self, address: bytes, prefix_length: int) -> None:
        present = self._address()
        if present == address:
            return
        text = socket.inet_ntoa(address)
        is_on_host = _is_local(address)
        if present is not None:
            if is_on_host:  # a further address of this interface
                return
            other = socket.inet_ntoa(present)
            raise EnvironmentProblem(
                f"--net tap:{self._name}: {self._name} has the address {other}, but the guest's "
                f"gateway is {text}: write --gateway {other} and an --ip beside it, or run "
                f"`sudo ip addr add {text}/{prefix_length} dev {self._name}`"
            )
        if is_on_host:
            raise EnvironmentProblem(
                f"--net tap:{self._name}: another interface of this computer has the guest's "
                f"gateway address {text}: choose another network with --ip and --gateway"
            )
        mask = (0xFFFFFFFF << (32 - prefix_length) & 0xFFFFFFFF).to_bytes(4, "big")
        for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, mask)):
            self._ioctl(request, _ADDRESS_REQUEST.pack(self._key, socket.AF_INET, 0, value))

    def _address(self) -> bytes | None:
        try:
            request = _ADDRESS_REQUEST.pack(self._key, socket.AF_INET, 0, bytes(4))
            answer = self._ioctl(SIOCGIFADDR, request)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return None
            raise
        return bytes(_ADDRESS_REQUEST.unpack(answer)[3])

    def _ioctl(self, request: int, data: bytes) -> bytes:
        return fcntl.ioctl(self._control.fileno(), request, data)


def _is_local(address: bytes) -> bool:
    """Does this computer have the address on some interface? Its own address is the one from
    which it would talk to itself; nothing is sent."""
    text = socket.inet_ntoa(address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((text, 9))
        except OSError:
            return False
        return bool(probe.getsockname()[0] == text)
