"""Fixtures of the system tests: network namespaces that go away whatever happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from netns import Namespace


@pytest.fixture
def netns() -> Iterator[Namespace]:
    """A network namespace with only its loopback."""
    with Namespace() as namespace:
        yield namespace


@pytest.fixture
def netns_pair() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces joined by veth0: 10.78.0.1/24 in the first, 10.78.0.2/24 in the second."""
    with Namespace("a") as first, Namespace("b") as second:
        first.add_veth(second, ("10.78.0.1/24", "10.78.0.2/24"))
        yield first, second
