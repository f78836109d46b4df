"""Many machines one after the other, and many runs that are ended at any moment.

Protects: memory, descriptors and mappings are given back at the end of every machine; SIGINT leaves
the terminal as it was and the exit code 130, whatever Leulo was doing. The short forms run always;
``LEULO_ENDURANCE=1`` runs 1,000 boots and 200 signals.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from leulo.clock import Clock, RealClock, VirtualClock
from leulo.config import MachineConfig
from leulo.host import Host
from leulo.links import LinkContext, open_link
from leulo.links.base import Offload
from leulo.links.poller import Poller
from leulo.machine import Machine
from leulo.outcome import Ending, Outcome
from leulo.packaged import packaged
from leulo.trace import Trace

IS_LONG = os.environ.get("LEULO_ENDURANCE") == "1"
BOOTS = 1000 if IS_LONG else 50
SIGNALS = 200 if IS_LONG else 20
WARM_UP = 10
MOST_GROWTH_BYTES = 4 << 20  # what is made once and kept: far less than a machine

pytestmark = [pytest.mark.compiler, pytest.mark.slow, pytest.mark.timeout(2400)]


def boot_once(image: bytes, number: int) -> None:
    """One machine until its web server listens: real and virtual time, both kinds of delivery."""
    clock: Clock = RealClock(time.monotonic_ns) if number % 2 else VirtualClock()
    config = MachineConfig(seed=number, publish=(), cpu="portable" if number % 5 == 0 else "native")
    rng = random.Random(number)
    poller, trace = Poller(), Trace()
    link = open_link(
        "user" if number % 2 else "none",
        LinkContext(
            clock=clock,
            poller=poller,
            trace=trace,
            random_bits=rng.getrandbits,
            guest_address=config.address,
            prefix_length=config.prefix_length,
            gateway=config.gateway,
            dns=config.dns,
            mtu=config.mtu,
            publish=(),
            host_loopback=False,
        ),
    )
    host = Host(clock, poller, timeout_ns=clock.now_ns() + 60_000_000_000)
    machine = Machine(
        config,
        clock,
        trace,
        offload=Offload(checksum=True, tso_bytes=65_535),
        console=lambda data: None,
        random_bits=rng.getrandbits,
        epoch_s=0,
    )
    try:
        host.add(machine)
        host.connect(link)
        machine.load(image, "guest")

        def listening(address: bytes, port: int) -> None:
            if port == 80:
                host.finish(Outcome(Ending.FINISHED))

        machine.hypercalls.listening = listening
        assert host.run().ending is Ending.FINISHED
    finally:
        machine.close()
        link.close()
        poller.close()


def held() -> tuple[int, int, int]:
    """Resident bytes, descriptors, mappings of this process."""
    gc.collect()
    with suppress(AttributeError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)  # or it keeps now nothing, now 5 MiB, of what is free
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with open("/proc/self/maps") as file:
        mappings = sum(1 for _ in file)
    return resident, len(os.listdir("/proc/self/fd")), mappings


def test_many_boots_in_one_process_leak_nothing() -> None:
    image = packaged().read_bytes()
    for number in range(WARM_UP):
        boot_once(image, number)
    resident, descriptors, mappings = held()
    began = time.monotonic()
    for number in range(BOOTS):
        boot_once(image, number)
    took_s = time.monotonic() - began
    after = held()
    print(
        f"{BOOTS} boots in {took_s:.1f} s: {(after[0] - resident) / 1024:+.0f} KiB resident, "
        f"{after[1] - descriptors:+d} descriptors, {after[2] - mappings:+d} mappings"
    )
    assert after[1] == descriptors
    assert after[2] <= mappings + 8, "mappings grow"
    assert after[0] - resident < MOST_GROWTH_BYTES


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A job that a script starts in the background ignores SIGINT, and so would its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# What Python itself says when it is interrupted before it has come to our code.
_BEFORE_OURS = (b"Could not import runpy module", b"Fatal Python error: init_")
BOOT = [sys.executable, "-m", "leulo", "boot", "--net", "user", "--publish", "none"]


def ended_in_pipe(delay_s: float) -> tuple[int, bytes]:
    process = subprocess.Popen(
        BOOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay_s)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        return process.returncode, errors
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def ended_on_terminal(delay_s: float, from_raw: bool) -> tuple[int, bytes, bool, bool]:
    """Exit code, what was printed, whether the terminal is as it was, and whether it was ever
    raw. It is the controlling terminal of the program: others are left alone. ``from_raw``: the
    delay begins when it is."""
    outer, inner = pty.openpty()
    before = termios.tcgetattr(outer)
    process = subprocess.Popen(
        BOOT, stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    printed = b""
    was_raw = False
    is_signalled = False
    due = None if from_raw else time.monotonic() + delay_s
    ends = time.monotonic() + 30
    try:
        while process.poll() is None and time.monotonic() < ends:
            if due is None and was_raw:
                due = time.monotonic() + delay_s
            if not is_signalled and due is not None and time.monotonic() >= due:
                process.send_signal(signal.SIGINT)
                is_signalled = True
            if select.select([outer], [], [], 0.01)[0]:
                printed += os.read(outer, 65536)
            was_raw = was_raw or not termios.tcgetattr(outer)[3] & termios.ICANON
        while select.select([outer], [], [], 0.05)[0]:
            printed += os.read(outer, 65536)
        after = termios.tcgetattr(outer)
        return process.wait(1), printed, after == before, was_raw
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(outer)
        os.close(inner)


def test_sigint_at_any_moment_restores_the_terminal_and_exits_130() -> None:
    rng = random.Random(2026)
    codes: dict[int, int] = {}
    early = raw = 0
    for number in range(SIGNALS):
        # From the first imports of Python to a guest that has been idle for a while.
        delay_s = rng.uniform(0.05, 1.2)
        if number % 2:
            code, printed = ended_in_pipe(delay_s)
        else:
            # However slow the machine, half of the terminals are to be restored.
            from_raw = number % 4 == 0
            code, printed, is_restored, was_raw = ended_on_terminal(
                delay_s / 4 if from_raw else delay_s, from_raw
            )
            assert is_restored, (delay_s, printed)
            raw += was_raw
        # A shell shows 130 for death by SIGINT too; that is Python's own way while it starts.
        if code == 1 and any(words in printed for words in _BEFORE_OURS):
            early += 1
            continue
        assert code in (130, -signal.SIGINT), (delay_s, code, printed)
        codes[code] = codes.get(code, 0) + 1
        if b"Traceback" in printed:  # before our own main had begun
            early += 1
            assert code == -signal.SIGINT, (delay_s, printed)
            assert b", in run\n" not in printed.replace(b"\r", b""), (delay_s, printed)
    print(f"{SIGNALS} signals: exit codes {codes}, {early} while Python was starting")
    assert raw >= SIGNALS // 4  # else there was nothing to restore
    assert codes.get(130, 0) >= SIGNALS // 4
