"""User networking beside QEMU's slirp with an e1000, in one run: bulk each way, new connections.

    python tools/bench_slirp.py [--linux DIR] [--megabytes 100] [--rounds 3]

The rival is a Linux guest on QEMU's own translator (no KVM: Leulo's CPU is emulated too) with
``-nic user,model=e1000`` and forwarded ports, reached from this computer as Leulo's published
ports are. Its kernel and its e1000 driver are those of a distribution; DIR holds an unpacked
kernel package, as from

    apt-get download linux-image-6.1.0-56-amd64 && dpkg-deb -x linux-image-*.deb DIR

and without it this computer's own /boot and /lib/modules are looked at. The rounds alternate and
the medians count. Exit codes: 0 bulk each way is at least four times slirp's, or something is
lacking, which is said; 1 it is not; 2 a flag is wrong.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
ECHO, DISCARD, CHARGEN = 7, 9, 19
BUFFER_BYTES: Final = 1 << 18
BOOT_SECONDS: Final = 120
STALL_SECONDS: Final = 60
FROM_GUEST: Final = "from the guest, MB/s"
TO_GUEST: Final = "to the guest, MB/s"
GOALS: Final = {FROM_GUEST: 4.0, TO_GUEST: 4.0}  # of the ratio to slirp

Ports = dict[int, int]  # the guest's -> this computer's


def receive(port: int, size: int) -> float:
    """MB/s read from chargen."""
    buffer = bytearray(BUFFER_BYTES)
    with socket.create_connection(("127.0.0.1", port), STALL_SECONDS) as connection:
        began = time.perf_counter()
        left = size
        while left > 0:
            count = connection.recv_into(buffer)
            if not count:
                raise SystemExit(f"port {port}: the stream ended {left} bytes early")
            left -= count
        return size / (time.perf_counter() - began) / 1e6


def send(port: int, size: int) -> float:
    """MB/s written to discard, until it has taken and closed."""
    data = bytes(BUFFER_BYTES)
    with socket.create_connection(("127.0.0.1", port), STALL_SECONDS) as connection:
        began = time.perf_counter()
        left = size
        while left > 0:
            left -= connection.send(data[:left])
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(BUFFER_BYTES):
            pass
        return size / (time.perf_counter() - began) / 1e6


def connect(port: int, count: int) -> float:
    """New connections a second, one after another, each with 100 bytes there and back."""
    text = b"x" * 100
    began = time.perf_counter()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), STALL_SECONDS) as connection:
            connection.sendall(text)
            got = 0
            while got < len(text):
                got += len(connection.recv(100))
    return count / (time.perf_counter() - began)


def free_ports() -> Ports:
    with socket.socket() as a, socket.socket() as b, socket.socket() as c:
        for probe in (a, b, c):
            probe.bind(("127.0.0.1", 0))
        numbers = [int(probe.getsockname()[1]) for probe in (a, b, c)]
    return dict(zip((ECHO, DISCARD, CHARGEN), numbers, strict=True))


def wait_for(ports: Ports) -> None:
    """Until each service of the guest lets us in: the ready line speaks of the first only."""
    end = time.monotonic() + 30
    for port in ports.values():
        while True:
            with socket.create_connection(("127.0.0.1", port), STALL_SECONDS) as connection:
                connection.settimeout(0.3)
                try:
                    if port != ports[CHARGEN]:
                        connection.sendall(b"x")
                    if connection.recv(1):
                        break
                except TimeoutError:  # discard says nothing
                    break
                except OSError as error:
                    if time.monotonic() > end:
                        raise SystemExit(f"port {port}: {error}") from None
            time.sleep(0.05)


@contextmanager
def leulo() -> Iterator[Ports]:
    """A guest of ours on user networking."""
    ports = free_ports()
    publish = ",".join(f"{host}:{guest}" for guest, host in ports.items())
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "leulo", "boot", "--publish", publish, "--ready-fd", str(writing)],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        pass_fds=(writing,),
    )  # fmt: skip
    os.close(writing)
    try:
        if not select.select([reading], [], [], 30)[0] or not os.read(reading, 100):
            raise SystemExit("leulo boot did not become ready: run it by hand to see why")
        wait_for(ports)
        yield ports
    finally:
        os.close(reading)
        process.terminate()
        process.wait()


@contextmanager
def slirp(qemu: str, kernel: Path, initrd: Path) -> Iterator[Ports]:
    """The Linux guest behind slirp."""
    ports = free_ports()
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for guest, host in ports.items())
    process = subprocess.Popen(
        [qemu, "-accel", "tcg", "-m", "256", "-nographic", "-no-reboot", "-nodefaults",
         "-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initrd),
         "-append", "console=ttyS0 quiet mitigations=off panic=-1 rdinit=/init",
         "-nic", f"user,model=e1000{forwards}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = b""
        end = time.monotonic() + BOOT_SECONDS
        while b"READY" not in said:
            left = end - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise SystemExit(f"QEMU's guest did not become ready: {said[-400:]!r}")
            text = os.read(process.stdout.fileno(), 4096)
            if not text:
                raise SystemExit(f"QEMU ended: {said[-400:]!r}")
            said += text
        yield ports
    finally:
        process.kill()
        process.wait()


def newest(folder: Path, pattern: str) -> Path | None:
    """The last of what matches, by name."""
    found = sorted(folder.glob(pattern))
    return found[-1] if found else None


def build_initrd(folder: Path, module: Path) -> Path:
    """A cpio archive with our init and the driver. [cpio]"""
    init = folder / "init"
    source = Path(__file__).with_name("slirp_guest.c")
    subprocess.run(["gcc", "-O2", "-static", "-o", str(init), str(source)], check=True, timeout=60)
    archive = b""
    entries = (
        ("dev", 0o040755, b"", (0, 0)),
        ("dev/console", 0o020600, b"", (5, 1)),
        ("init", 0o100755, init.read_bytes(), (0, 0)),
        ("e1000.ko", 0o100644, module.read_bytes(), (0, 0)),
        ("TRAILER!!!", 0, b"", (0, 0)),
    )
    for number, (name, mode, data, device) in enumerate(entries, 1):
        text = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(text), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + text
        archive += head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
    initrd = folder / "initrd"
    initrd.write_bytes(archive)
    return initrd


def judge(ratios: dict[str, float]) -> int:
    """The exit code; ratios below their goal are said in a sentence."""
    missed = [
        f"{what.split(',')[0]} {ratios[what]:.2f} times slirp instead of {goal:.0f}"
        for what, goal in GOALS.items()
        if ratios[what] < goal
    ]
    if missed:
        print(f"missed: {'; '.join(missed)}")
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--linux", type=Path, default=Path("/"), metavar="DIR")
    parser.add_argument("--megabytes", type=int, default=100, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--connections", type=int, default=200, metavar="N")
    options = parser.parse_args()
    qemu = shutil.which("qemu-system-x86_64")
    kernel = newest(options.linux, "boot/vmlinuz-*")
    module = newest(options.linux, "lib/modules/*/kernel/drivers/net/ethernet/intel/e1000/e1000.ko")
    lacking = [
        name
        for name, found in (
            ("qemu-system-x86_64", qemu),
            ("gcc", shutil.which("gcc")),
            (f"kernel in {options.linux / 'boot'}", kernel),
            ("e1000.ko of it", module),
        )
        if not found
    ]
    if lacking or qemu is None or kernel is None or module is None:
        print(f"skipped: there is no {' and no '.join(lacking)} (--help says where from)")
        return 0
    size = options.megabytes * 10**6
    measures: dict[str, Callable[[Ports], float]] = {
        FROM_GUEST: lambda ports: receive(ports[CHARGEN], size),
        TO_GUEST: lambda ports: send(ports[DISCARD], size),
        "connections/s": lambda ports: connect(ports[ECHO], options.connections),
    }
    results: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        initrd = build_initrd(Path(name), module)
        with slirp(qemu, kernel, initrd) as theirs, leulo() as ours:
            for _ in range(options.rounds):
                for what, measure in measures.items():
                    for who, ports in (("leulo", ours), ("slirp", theirs)):
                        results.setdefault((what, who), []).append(measure(ports))
    print(f"{options.megabytes} MB, medians of {options.rounds} rounds (least to most)")
    print(f"{'':24}{'leulo --net user':>28}{'QEMU slirp, e1000':>28}{'ratio':>8}")
    ratios = {}
    for what in measures:
        cells = ""
        medians = []
        for who in ("leulo", "slirp"):
            values = sorted(results[what, who])
            medians.append(statistics.median(values))
            cells += f"{medians[-1]:12.0f} ({values[0]:.0f} to {values[-1]:.0f})".rjust(28)
        ratios[what] = medians[0] / medians[1]
        print(f"{what:24}{cells}{ratios[what]:8.1f}")
    return judge(ratios)


if __name__ == "__main__":
    sys.exit(main())
