"""A TAP device: Ethernet to the host's kernel, in super-segments where it grants them.

The device is made if it is absent and the host allows it, and is then gone with us; one that is
there already is used as it is, apart from an address and the state "up" if they are lacking. Each
frame carries a virtio_net_hdr, so that checksums and segmentation are left undone in both
directions: one 64 KiB frame costs Python about what a 1,500-byte one does.
[Linux tun] [Linux netdevice(7)] [virtio 1.2 5.1.6]
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from struct import Struct
from typing import Final

from leulo.errors import ConfigError, EnvironmentProblem
from leulo.links.base import VNET_HDR_BYTES, Offload, TxFrame
from leulo.links.context import LinkContext
from leulo.links.interface import Interface
from leulo.links.offload import EVERYTHING, NOTHING
from leulo.links.poller import IN, Poller

DEVICE: Final = "/dev/net/tun"
NAME_BYTES: Final = 15  # IFNAMSIZ less the final zero
READS_PER_READINESS: Final = 64
_FEW_FRAMES: Final = 4

# <linux/if_tun.h>
TUNSETIFF: Final = 0x400454CA
TUNSETOFFLOAD: Final = 0x400454D0
TUNSETVNETHDRSZ: Final = 0x400454D8
TUNSETVNETLE: Final = 0x400454DC
IFF_TUN: Final = 0x0001
IFF_TAP: Final = 0x0002
IFF_MULTI_QUEUE: Final = 0x0100
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
TUN_F_CSUM: Final = 0x01
TUN_F_TSO4: Final = 0x02
TUN_F_TSO6: Final = 0x04

_TUN_REQUEST: Final = Struct("16sH22x")
_INT: Final = Struct("i")

_MAX_FRAME_BYTES: Final = VNET_HDR_BYTES + 18 + 65_535
_MAX_PIECES: Final = 1024  # UIO_MAXIOV

_OFFLOADS: Final = (
    (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6, EVERYTHING),
    (TUN_F_CSUM, Offload(checksum=True, tso_bytes=0)),
    (0, NOTHING),
)

_DROP_REASONS: Final = {
    errno.EAGAIN: "dropped_full",
    errno.ENOBUFS: "dropped_full",
    errno.ENOMEM: "dropped_full",
    errno.EIO: "dropped_down",
    errno.EINVAL: "dropped_refused",
}


def open_tap(name: str, context: LinkContext) -> TapLink:
    """Open the TAP ``name``. Raises ConfigError for a name that cannot be one,
    EnvironmentProblem, with what to do, if the host does not let us."""
    if not name or len(name.encode()) > NAME_BYTES or "/" in name or name in (".", ".."):
        raise ConfigError(f"--net tap:{name}: is no interface name: write --net tap:leulo0")
    return TapLink(name, context.poller, context.gateway, context.prefix_length, mtu=context.mtu)


class TapLink:
    """One open TAP device.

    A write never waits: the kernel takes the frame through its whole receive path before it
    returns, so nothing is gained by waiting for room. What it refuses is dropped and counted.
    """

    def __init__(
        self,
        name: str,
        poller: Poller,
        address: bytes | None,
        prefix_length: int,
        mtu: int = 1500,
    ) -> None:
        """``address`` is the host's own on this link: the guest's gateway."""
        self.name = name
        self.mtu = mtu
        self._poller = poller
        self._deliver: Callable[[Sequence[bytes]], None] | None = None
        self._frames_in = self._bytes_in = 0
        self._frames_out = self._bytes_out = 0
        self._drops: dict[str, int] = {}
        self._are_few = True  # the frames that came last
        self._fd, self.is_ours = _open(name)
        self._is_readable = select.poll()
        self._is_readable.register(self._fd, select.POLLIN)
        try:
            self.offload = _set_offload(self._fd)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                interface = Interface(control, name)
                if self.is_ours:
                    interface.set_up_new(mtu)
                self.mtu = interface.mtu()
                interface.bring_up(address, prefix_length)
        except BaseException:
            os.close(self._fd)
            raise

    def attach(self, deliver: Callable[[Sequence[bytes]], None]) -> None:
        self._deliver = deliver
        self._poller.add(self._fd, IN, self._readable)

    def transmit(self, frames: Sequence[TxFrame], now_ns: int) -> None:
        fd = self._fd
        writev = os.writev
        sent = 0
        length = 0
        for frame in frames:
            try:
                length += writev(fd, frame)
                sent += 1
            except OSError as error:
                if error.errno == errno.EINVAL and len(frame) > _MAX_PIECES:
                    self.transmit([(b"".join(frame),)], now_ns)
                else:
                    self._failed(error)
        self._frames_out += sent
        self._bytes_out += length

    def next_deadline(self) -> int | None:
        return None

    def advance(self, now_ns: int) -> None:
        """Nothing here waits for time."""

    def counters(self) -> dict[str, int]:
        return {
            "frames_in": self._frames_in,
            "bytes_in": self._bytes_in,
            "frames_out": self._frames_out,
            "bytes_out": self._bytes_out,
            **self._drops,
        }

    def close(self) -> None:
        """Let the device go; one that we made is gone with it. A second call does nothing."""
        if self._fd < 0:
            return
        if self._deliver is not None:
            self._poller.remove(self._fd)
            self._deliver = None
        os.close(self._fd)
        self._fd = -1

    def _readable(self, mask: int) -> None:
        fd = self._fd
        read = os.read
        frames: list[bytes] = []
        # An exception says that there is no more; to ask costs a fifth of one, every time.
        ask = self._is_readable.poll if self._are_few else None
        try:
            for _ in range(READS_PER_READINESS):
                frames.append(read(fd, _MAX_FRAME_BYTES))
                if ask is not None and not ask(0):
                    break
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in (errno.EINTR, errno.EIO):
                raise self._gone() from error
        if frames:
            self._are_few = len(frames) <= _FEW_FRAMES
            self._frames_in += len(frames)
            self._bytes_in += sum(map(len, frames))
            if self._deliver is not None:
                self._deliver(frames)
        elif not mask & IN:
            raise self._gone()

    def _failed(self, error: OSError) -> None:
        if error.errno in (errno.EBADFD, errno.ENODEV):
            raise self._gone() from error
        reason = _DROP_REASONS.get(error.errno or 0, "dropped_other")
        self._drops[reason] = self._drops.get(reason, 0) + 1

    def _gone(self) -> EnvironmentProblem:
        return EnvironmentProblem(
            f"--net tap:{self.name}: the device {self.name} was removed while it was in use. "
            "Make it again and start anew."
        )


def _open(name: str) -> tuple[int, bool]:
    """The device's descriptor, and whether it was made by this."""
    is_there = _exists(name)
    if is_there:
        _check_existing(name)
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise EnvironmentProblem(
                f"--net tap:{name}: no right to open {DEVICE}: run `sudo chmod a+rw {DEVICE}` "
                "or take --net user, which needs no right"
            ) from error
        raise EnvironmentProblem(
            f"--net tap:{name}: this computer has no {DEVICE} ({error.strerror}): load it with "
            "`sudo modprobe tun` (in a container: start it with --device /dev/net/tun), or take "
            "--net user"
        ) from error
    try:
        request = _TUN_REQUEST.pack(name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
        fcntl.ioctl(fd, TUNSETIFF, request)
    except OSError as error:
        os.close(fd)
        raise _attach_problem(name, is_there, error) from error
    return fd, not is_there


def _check_existing(name: str) -> None:
    # Of a device that is there, the opener's flags win: virtio_net_hdr and the like may be set
    # by us. Its kind and its queues may not.
    directory = Path("/sys/class/net") / name
    if not directory.is_dir():
        return  # another network namespace's /sys: opening it will tell
    try:
        flags = int((directory / "tun_flags").read_text(), 16)
    except (OSError, ValueError):
        raise EnvironmentProblem(
            f"--net tap:{name}: {name} is there and is not a TAP: choose another name"
        ) from None
    if flags & IFF_TUN and not flags & IFF_TAP:
        raise _wrong_kind(name, "a TUN (it carries no Ethernet)")
    if flags & IFF_MULTI_QUEUE:
        raise _wrong_kind(name, "a multi-queue TAP")


def _attach_problem(name: str, is_there: bool, error: OSError) -> EnvironmentProblem:
    if error.errno == errno.EBUSY:
        return EnvironmentProblem(
            f"--net tap:{name}: another program has {name} open: end it or choose another name"
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        return EnvironmentProblem(
            f"--net tap:{name}: no right to {'use' if is_there else 'make'} {name}: run "
            f"`{_make_command(name)}` once, or take --net user, which needs no right"
        )
    if error.errno == errno.EINVAL and is_there:
        return _wrong_kind(name, "a TUN or a multi-queue TAP")
    return EnvironmentProblem(f"--net tap:{name}: cannot be opened: {error.strerror}")


def _wrong_kind(name: str, kind: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"--net tap:{name}: {name} is {kind}, which this program does not drive: choose another "
        f"name, or make it anew with `sudo ip link del {name} && {_make_command(name)}`"
    )


def _make_command(name: str) -> str:
    return f"sudo ip tuntap add {name} mode tap user $USER"


def _exists(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def _set_offload(fd: int) -> Offload:
    """Ask for all offloads, then for fewer. [Linux tun]"""
    fcntl.ioctl(fd, TUNSETVNETHDRSZ, _INT.pack(VNET_HDR_BYTES))
    if sys.byteorder == "big":
        fcntl.ioctl(fd, TUNSETVNETLE, _INT.pack(1))
    for wanted, offload in _OFFLOADS:
        try:
            fcntl.ioctl(fd, TUNSETOFFLOAD, wanted)
        except OSError:
            continue
        return offload
    return NOTHING
