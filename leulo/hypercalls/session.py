"""HELLO, EVENTS_SETUP and TIME: what a guest and its hypervisor agree on."""

from __future__ import annotations

from struct import Struct
from typing import Final

from leulo.clock import Clock
from leulo.hypercalls import abi
from leulo.hypercalls.limits import Limits, MachineInfo
from leulo.hypercalls.readiness import Readiness
from leulo.hypercalls.refusal import Refused
from leulo.hypercalls.ring import EventRing
from leulo.memory import Memory

_HELLO: Final = Struct("<IIQ6I24s24s24s8sQ16x")
_HELLO_HEAD: Final = Struct("<II")
_U32: Final = Struct("<I")
_U64: Final = Struct("<Q")
_VERSION_OFFSET: Final = abi.HELLO.offset("version")
_FEATURES_OFFSET: Final = abi.HELLO.offset("features")
_BAD_SIZE: Final = int(abi.Status.BAD_SIZE)
_BAD_VERSION: Final = int(abi.Status.BAD_VERSION)
_BAD_ARGUMENT: Final = int(abi.Status.BAD_ARGUMENT)
_TIMES: Final = Struct("<QQ16x")
_FAMILIES: dict[int, int] = {4: int(abi.Family.INET), 16: int(abi.Family.INET6)}
assert _HELLO.size == abi.HELLO.size


def _endpoint(address: bytes | None) -> bytes:
    """An endpoint without a port; all zero for no address."""
    if address is None:
        return bytes(abi.ENDPOINT_BYTES)
    return abi.ENDPOINT_STRUCT.pack(_FAMILIES[len(address)], 0, 0, address)


class SessionCalls:
    """One machine's session. That nothing comes before HELLO is `dispatch`'s business."""

    def __init__(
        self, memory: Memory, clock: Clock, ring: EventRing, readiness: Readiness,
        limits: Limits, info: MachineInfo,
    ) -> None:  # fmt: skip
        self._memory = memory
        self._clock = clock
        self._ring = ring
        self._readiness = readiness
        self._limits = limits
        self.info = info  # may be replaced when an address is given

    def check_hello(self, address: int) -> None:
        """Raise what is wrong with a `hello`; on a bad version, tell the right one in it."""
        size, version = _HELLO_HEAD.unpack(self._memory.read(address, _HELLO_HEAD.size))
        if size < abi.HELLO.size:
            raise Refused(_BAD_SIZE)
        self._memory.check(address, abi.HELLO.size)
        if version != abi.VERSION:
            self._memory.write(address + _VERSION_OFFSET, _U32.pack(abi.VERSION))
            raise Refused(_BAD_VERSION)

    def answer_hello(self, address: int) -> int:
        """Fill the `hello`; returns the features of the session: those of the guest's wish that
        there are, or all if it wished for none by name."""
        wish = _U64.unpack(self._memory.read(address + _FEATURES_OFFSET, _U64.size))[0]
        limits, info = self._limits, self.info
        offered = abi.OFFERED | (int(abi.Feature.IPV6) if info.has_ipv6 else 0)
        features = offered & wish if wish else offered
        answer = _HELLO.pack(
            abi.HELLO.size, abi.VERSION, features,
            limits.max_sockets, limits.max_iovec, limits.max_transfer, limits.max_events,
            info.prefix_length, info.mtu,
            _endpoint(info.address), _endpoint(info.gateway), _endpoint(info.dns),
            info.mac, info.tsc_hz,
        )  # fmt: skip
        self._memory.write(address, answer)
        return features

    def op_events_setup(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        is_power = a1 >= 2 and not a1 & (a1 - 1)
        if a1 and (not is_power or a1 > self._limits.max_events or a0 & 7):
            raise Refused(_BAD_ARGUMENT)
        self._ring.set_up(a0, a1)
        self._readiness.ring_moved()
        return handle, 0, 0

    def op_time(
        self, call: int, handle: int, flags: int, events: int, cookie: int,
        a0: int, a1: int, a2: int, a3: int,
    ) -> tuple[int, int, int]:  # fmt: skip
        now_ns = self._clock.now_ns()
        epoch_ns = self.info.epoch_ns
        calendar_ns = epoch_ns + now_ns if epoch_ns else 0
        _TIMES.pack_into(self._memory.view, call + abi.ARGS_OFFSET, now_ns, calendar_ns)
        return handle, 0, 0
