"""The conformance scenarios on every provider of sockets there is; Linux is one, as the judge."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from conformance.by_guest import GuestProvider
from conformance.by_hypercall import HypercallProvider
from conformance.by_linux import LinuxProvider
from conformance.datagrams import DATAGRAMS
from conformance.provider import Provider
from conformance.scenarios import SCENARIOS, Scenario

PROVIDERS: tuple[Callable[[], Provider], ...] = (HypercallProvider, GuestProvider, LinuxProvider)


@pytest.mark.parametrize(
    "scenario", (*SCENARIOS, *DATAGRAMS), ids=lambda s: s.name.replace(" ", "_")
)
@pytest.mark.parametrize("make", PROVIDERS, ids=lambda p: p.name)
def test_provider_conforms(make: Callable[[], Provider], scenario: Scenario) -> None:
    if make is LinuxProvider and sys.platform != "linux":
        pytest.skip("the judge is Linux")
    provider = make()
    try:
        scenario.run(provider)
    finally:
        provider.close_all()


def test_every_bug_that_others_had_is_a_test() -> None:
    """The rows of the table that are about what a provider answers; the rest are tests of their
    own: event storms, lost wake-ups after a restore, indexes and pointers from the guest."""
    seen = " ".join(scenario.seen_in for scenario in SCENARIOS)
    for bug in (
        "libkrunfw 137", "819", "818", "860", "772", "684", "806", "112", "116", "344",
        "PVCalls", "mTCP 135",
    ):  # fmt: skip
        assert bug in seen, bug
