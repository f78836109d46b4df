"""Payload on its way from guest memory to `writev`: copied once by SEND, never by SENDFILE.

Counted by identity: every payload buffer that a link is handed is a view, and the object behind
the view is either the one copy that SEND made or guest memory itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine_world import EngineWorld
from hypercall_guest import DATA
from test_sendfile import big_world, fill, register

from leulo.hypercalls import abi
from leulo.links.base import Offload, TxFrame
from leulo.links.switch import EVERYTHING, Switch

Op = abi.Op


class LinkDouble:
    """Keeps the frames it is given, as a link that only wrote them would see them."""

    name = "double"
    mtu = 1500
    offload = Offload(checksum=True, tso_bytes=65_535)

    def __init__(self) -> None:
        self.frames: list[TxFrame] = []

    def attach(self, deliver: object) -> None:
        pass

    def transmit(self, frames: Sequence[TxFrame], now_ns: int) -> None:
        self.frames += frames


def behind(part: bytes | memoryview) -> object:
    """The object that holds the bytes."""
    return part.obj if isinstance(part, memoryview) else part


def sent(world: EngineWorld) -> list[bytes | memoryview]:
    """Every payload buffer that comes to a link behind the machine's switch, until all has
    arrived at the other end."""
    switch = Switch()
    link = LinkDouble()
    port = switch.add_stack("guest", EVERYTHING, lambda frames, now_ns: None)
    switch.add_link(link, world.clock)  # type: ignore[arg-type]
    payload: list[bytes | memoryview] = []
    for _ in range(1_000):
        now = world.clock.now_ns()
        frames = world.stack.drain(now)
        port.send(frames, now)
        passed, link.frames = link.frames, []
        payload += [part for frame in passed for part in frame[1:]]
        if passed:
            world.other.input([b"".join(frame) for frame in passed], now)
        back = [b"".join(frame) for frame in world.other.drain(now)]
        if back:
            world.stack.input(back, now)
        if not passed and not back:
            return payload
    raise AssertionError("the two stacks never stop talking")


def test_send_copies_once_and_every_segment_is_a_view_of_that_copy() -> None:
    world = EngineWorld(memory_bytes=4 << 20)
    handle, other = world.connected()
    text = world.chance.randbytes(30_000)
    world.guest.memory.write(DATA, text)
    copies: list[bytes] = []
    (tcb,) = world.stack.engine.connections.values()
    for _ in range(3):
        answer = world.guest.call(Op.SEND, handle, args=(DATA, len(text)))
        assert answer.result == len(text)
        assert tcb.send_buffer is not None
        copies.append(tcb.send_buffer.view(tcb.snd_end - 1, 1)[0].obj)  # type: ignore[union-attr]
        payload = sent(world)
        assert b"".join(payload) == text == other.recv(1 << 20)
        # Guest memory may change now, and nothing but this one object has the bytes.
        assert all(behind(part) is copies[-1] for part in payload)
    assert len({id(copy) for copy in copies}) == 3


def test_sendfile_hands_guest_memory_itself_to_the_link() -> None:
    world = big_world()
    text = fill(world, 1 << 20)
    handle, other = world.connected()
    buffer = register(world.guest, (0x100000, len(text)))
    world.guest.call(Op.SENDFILE, handle, args=(buffer, 0, len(text)))
    received = bytearray()
    memory = world.guest.memory.mapping
    while len(received) < len(text):
        payload = sent(world)
        assert payload
        assert all(behind(part) is memory for part in payload)
        while isinstance(chunk := other.recv(1 << 20), bytes) and chunk:
            received += chunk
    assert received == text
