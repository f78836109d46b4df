"""The host's epoll set: whose event is whose, when descriptors come and go while it is served."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from leulo.links.poller import IN, OUT, Poller


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller()
    yield poller
    poller.close()


def test_event_of_a_removed_descriptor_is_nobodys(poller: Poller) -> None:
    """Two are ready at once; whoever is served first closes the other and opens something new,
    which gets the number. The news of the closed one must not reach it."""
    pipes = [os.pipe(), os.pipe()]
    told: list[str] = []

    def serve(own: int, other: int) -> None:
        told.append("old")
        poller.remove(pipes[other][0])
        os.close(pipes[other][0])
        reading, writing = os.pipe()
        assert reading == pipes[other][0], "the number was not used again"
        poller.add(reading, IN, lambda mask: told.append("new"))
        pipes.append((writing, -1))

    for own, other in ((0, 1), (1, 0)):
        poller.add(pipes[own][0], IN, lambda mask, own=own, other=other: serve(own, other))  # type: ignore[misc]
        os.write(pipes[own][1], b"x")
    assert poller.wait(0) == 1
    assert told == ["old"]
    for pair in pipes:
        for fd in pair:
            if fd >= 0:
                os.close(fd)


def test_wake_ends_the_wait_and_serves_nobody(poller: Poller) -> None:
    poller.wake()
    assert poller.wait(None) == 0
    assert poller.wait(0) == 0


def test_mask_can_be_changed(poller: Poller) -> None:
    reading, writing = os.pipe()
    masks: list[int] = []
    poller.add(writing, 0, masks.append)
    assert poller.wait(0) == 0
    poller.modify(writing, OUT)
    assert poller.wait(0) == 1
    assert masks == [OUT]
    os.close(reading)
    os.close(writing)
