"""The namespaces that other tests stand on: isolated, joined, and gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from netns import Namespace

pytestmark = pytest.mark.netns


def test_namespace_is_gone_after_a_failure() -> None:
    with pytest.raises(RuntimeError, match="in the middle"), Namespace() as namespace:
        sleeper = namespace.start("sleep", "60")
        name = namespace.name
        assert Path("/run/netns", name).exists()
        raise RuntimeError("in the middle")
    assert not Path("/run/netns", name).exists()
    assert sleeper.poll() is not None


def test_leftovers_of_a_killed_process_are_removed() -> None:
    program = (
        "import os, signal; from netns import Namespace; "
        "print(Namespace().name, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    here = os.path.dirname(__file__)
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=here, capture_output=True, text=True, check=False
    )
    left = Path("/run/netns", run.stdout.strip())
    assert left.exists()
    with Namespace():
        assert not left.exists()


def test_pair_reaches_each_other_and_nothing_else(
    netns_pair: tuple[Namespace, Namespace],
) -> None:
    first, second = netns_pair
    assert first.ping("10.78.0.2", count=2) == 2
    assert second.ping("10.78.0.1", size=1000) == 1
    with pytest.raises(OSError, match="unreachable"):
        first.ping("192.0.2.1")


def test_entered_changes_only_the_block(netns: Namespace) -> None:
    before = os.stat("/proc/thread-self/ns/net").st_ino
    with netns.entered():
        assert os.stat("/proc/thread-self/ns/net").st_ino != before
    assert os.stat("/proc/thread-self/ns/net").st_ino == before
