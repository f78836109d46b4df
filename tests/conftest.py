"""What all tests share: hypothesis without deadlines, and marks that skip where they must."""

from __future__ import annotations

import os
import shutil

import hypothesis
import pytest

from leulo import compiled

# A machine that has much else to do is slow to make examples, too: that is no fault.
hypothesis.settings.register_profile(
    "leulo",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("leulo")


def _why_no_netns() -> str:
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun"
    if shutil.which("ip") is None:
        return "needs ip (Debian: iproute2)"
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("netns") and (why := _why_no_netns()):
        pytest.skip(why)
    if item.get_closest_marker("qemu") and shutil.which("qemu-system-i386") is None:
        pytest.skip("needs qemu-system-i386 (Debian: qemu-system-x86)")
    if item.get_closest_marker("sources") and compiled.running() is not None:
        pytest.skip("a compiled build runs, and this is about the sources")
