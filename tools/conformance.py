"""The conformance table: every exception and interrupt path, on both deliverers and on a judge.

``python tools/conformance.py`` builds the kernel of tests/cpu/conformance, runs the same image on
the deliverers ``native`` and ``portable`` (in virtual time) and on qemu-system-i386, and prints one
row per case. A row where Leulo and the judge differ is `DIFFERS` and makes the exit code 1, unless
known_limits.txt beside the kernel says why, and another judge agrees:

  QEMU errs   ours is what the manual says, and what Bochs does; QEMU does something else
  as QEMU     with --judge bochs or kvm: we do what QEMU does, and a processor something else

A known row that no longer is one is an error too. Where a judge is not installed it is what it said
when it was recorded (--record).

Judges: qemu (the default); bochs, an x86 that knows more of the manual than QEMU, at a hundredth of
the speed (Debian: bochs-term); kvm, QEMU on this computer's own processor, where its KVM can run a
guest of 32 bits with PAE. That one is unproven: no processor has been asked so far, only a stand-in
in the tests, and what is known to differ was learnt from Bochs.

Examples:
  python tools/conformance.py                    the table's summary, and the rows that differ
  python tools/conformance.py --judge bochs      the same beside Bochs
  python tools/conformance.py --all              every row
  python tools/conformance.py --only nested      rows whose name contains a word, with all values
  python tools/conformance.py --json             for programs
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import conformance_judges as judges

from leulo.bus import Bus
from leulo.clock import VirtualClock
from leulo.cpu import Cpu, Exit
from leulo.cpu.delivery import Deliverer
from leulo.devices.debug_exit import DebugExit
from leulo.devices.pic import Pic
from leulo.devices.pit import Pit
from leulo.devices.uart import Uart
from leulo.loader.multiboot import load
from leulo.memory import Memory

SOURCES: Final = Path(__file__).parent.parent / "tests" / "cpu" / "conformance"
RECORDS: Final = {"qemu": SOURCES / "reference.txt", "bochs": SOURCES / "bochs.txt"}
LIMITS: Final = SOURCES / "known_limits.txt"
VERDICTS: Final = {"qemu": "QEMU errs", "both": "as QEMU"}
DELIVERERS: Final[tuple[Deliverer, ...]] = ("native", "portable")
ENDINGS: Final = (
    *("ends_triple_pf", "ends_triple_ud", "ends_triple_no_stack"),
    *("ends_user_stack_absent", "ends_user_int_stack_absent", "ends_tss_null_stack"),
    "ends_tss_too_short",
)
_MEMORY: Final = 32 << 20
_SECONDS: Final = 60
_LONGEST_PAUSE_S: Final = 0.0005  # between two stops from outside

Rows = dict[str, str]


class ConformanceError(Exception):
    """The kernel could not be built or did not come to its end."""


def build(output: Path) -> Path:
    """Compile the kernel with the pinned compiler."""
    command = [
        *(sys.executable, "-m", "ziglang", "cc", "-target", "x86-freestanding-none"),
        *("-mcpu=i686", "-O1", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib"),
        *("-static", "-fno-pic", "-mno-sse", "-mno-mmx", "-fno-sanitize=all", "-I", str(SOURCES)),
        *(f"-Wl,-T,{SOURCES / 'kernel.ld'}", "-Wl,--build-id=none", "-o", str(output)),
        *map(str, [*sorted(SOURCES.glob("*.S")), SOURCES / "kernel.c"]),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConformanceError(f"the kernel does not compile:\n{done.stderr}")
    return output


class Board:
    """CPU, interrupt controller, timer, serial port and debug exit: what the kernel needs."""

    def __init__(
        self,
        image: bytes,
        deliverer: Deliverer,
        words: str = "",
    ) -> None:
        self.printed = bytearray()
        self.status: int | None = None
        self.stops = 0
        self.clock = VirtualClock(1, 1)
        memory = Memory(_MEMORY)
        self.ports = Bus("port")
        self.cpu = Cpu(memory, self, Bus("mmio"), clock=self.clock, deliverer=deliverer)
        self.clock.drive(lambda: self.cpu.ticks)
        self.pic = Pic(self.cpu)
        self.pit = Pit(self.clock, self.pic.line(0))
        self.uart = Uart(self.clock, self.pic.line(4), self.printed.extend)
        self.ports.attach(0x20, 2, "PIC 1", self.pic.primary)
        self.ports.attach(0xA0, 2, "PIC 2", self.pic.secondary)
        self.ports.attach(0x40, 4, "PIT", self.pit)
        self.ports.attach(0x3F8, 8, "UART", self.uart)
        self.ports.attach(0xF4, 1, "debug exit", DebugExit(self._exit))
        boot = load(memory, image, name="conformance", command_line=words)
        self.cpu.reset(boot.entry, boot.eax, boot.ebx)

    def read(self, address: int, width: int) -> int:
        value = self.ports.read(address, width)
        self._after()
        return value

    def write(self, address: int, width: int, value: int) -> None:
        self.ports.write(address, width, value)
        self._after()

    def _after(self) -> None:
        self.cpu.limit(0)

    def _exit(self, status: int) -> None:
        self.status = status
        self.cpu.stop()

    def run(self, quantum: int = 1_000_000) -> str:
        """Until debug exit or shutdown; what the serial port sent."""
        chips = (self.pic, self.pit, self.uart)
        ends = time.monotonic() + _SECONDS
        while self.status is None:
            if time.monotonic() > ends:
                raise ConformanceError(f"it hangs after: {self.printed.decode()[-200:]}")
            dues = [due for chip in chips if (due := chip.next_deadline()) is not None]
            now = self.clock.now_ns()
            budget = quantum
            if dues:
                budget = max(1, min(quantum, self.clock.ticks_until(min(dues))))
            found = self.cpu.run(budget)
            self.stops += found is Exit.STOP
            if found is Exit.SHUTDOWN:
                self.uart.flush()
                return self.printed.decode() + " shutdown\n"
            if found is Exit.HALT:
                if not dues:
                    raise ConformanceError(f"halted after: {self.printed.decode()[-200:]}")
                self.clock.skip_to(min(dues))
            now = self.clock.now_ns()
            for chip in chips:
                due = chip.next_deadline()
                if due is not None and due <= now:
                    chip.advance(now)
        self.uart.flush()
        return self.printed.decode()

    def close(self) -> None:
        self.cpu.close()


def run_leulo(
    image: Path, deliverer: Deliverer, words: str = "", quantum: int = 1_000_000
) -> tuple[str, int]:
    """The kernel's output on our CPU, and the ticks that it took."""
    board = Board(image.read_bytes(), deliverer, words)
    try:
        return board.run(quantum), board.cpu.ticks
    finally:
        board.close()


def run_stopped(image: Path, deliverer: Deliverer) -> tuple[str, int, int]:
    """The same while another thread stops the CPU some thousand times a second, and how often it
    did. (Without pauses it would hold the interpreter's lock, and the CPU get nowhere.)"""
    board = Board(image.read_bytes(), deliverer)
    over = threading.Event()

    def stop() -> None:
        pause = random.Random(1).random
        while not over.wait(pause() * _LONGEST_PAUSE_S):
            board.cpu.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    try:
        return board.run(), board.cpu.ticks, board.stops
    finally:
        over.set()
        stopper.join()
        board.close()


def parse(text: str) -> Rows:
    """Name to values, of what the kernel printed or of a record."""
    rows = {}
    for line in text.splitlines():
        name, _, values = line.partition(" ")
        if name not in ("end", "#"):
            rows[name] = values.strip()
    return rows


def collect(run: Callable[[str], str], alone: Sequence[str] = ENDINGS) -> Rows:
    """All rows: those of the one long run, and those that want a machine of their own."""
    text = run("")
    if not text.endswith("end\n"):
        raise ConformanceError(f"it did not come to its end: {text[-200:]!r}")
    rows = parse(text)
    for name in alone:
        rows |= parse(run(f"only={name}"))
    return rows


def ask(judge: str, image: Path) -> Rows:
    """What a judge that is there says."""
    alone = (*ENDINGS, judges.WITHOUT_SEP) if judge == "bochs" else ENDINGS
    return collect(lambda words: judges.run(judge, image, words), alone)


def recorded(judge: str) -> Rows:
    """What it said once; of KVM there is no record."""
    return parse(RECORDS[judge].read_text())


def recorded_version(judge: str) -> str:
    """Which version of it that was, as in "7.2"."""
    return RECORDS[judge].read_text().partition("\n")[0].split()[-1]


def record(judge: str, rows: Rows) -> None:
    """Keep what it says now."""
    lines = [f"# {judges.NAMES[judge]} {judges.version(judge)}"]
    lines += [f"{name} {values}" for name, values in rows.items()]
    RECORDS[judge].write_text("\n".join(lines) + "\n")


@dataclass(frozen=True, slots=True)
class Row:
    """One case: what the three said, what another judge says, and why a difference is known."""

    name: str
    native: str
    portable: str
    judge: str
    witness: str  # Bochs's where QEMU is the judge, QEMU's where something else is
    known_as: str  # the verdict if the three are not equal
    reason: str

    @property
    def verdict(self) -> str:
        is_equal = self.native == self.portable == self.judge
        if self.known_as:
            is_known = self.native == self.portable == self.witness != self.judge
            return self.known_as if is_known else "LIMIT GONE"
        return "equal" if is_equal else "DIFFERS"


def known_limits(kind: str) -> dict[str, str]:
    """Case to reason: ``name@ring name@ring: reason`` a line, below ``[qemu]`` or ``[both]``."""
    limits: dict[str, str] = {}
    section = ""
    for line in LIMITS.read_text().splitlines():
        if line.startswith("["):
            section = line[1:].partition("]")[0]
        elif line and not line.startswith("#") and section == kind:
            names, _, reason = line.partition(": ")
            limits |= dict.fromkeys(names.split(), reason)
    return limits


def compare(ours: dict[Deliverer, Rows], judge: str, said: Rows) -> list[Row]:
    """The table: our rows beside what ``judge`` said."""
    kind, other = ("qemu", "bochs") if judge == "qemu" else ("both", "qemu")
    limits, witness = known_limits(kind), recorded(other)
    names = list(dict.fromkeys([*said, *ours["native"], *ours["portable"], *limits]))
    missing = "(no row)"
    return [
        Row(
            name,
            ours["native"].get(name, missing),
            ours["portable"].get(name, missing),
            said.get(name, missing),
            witness.get(name, missing),
            VERDICTS[kind] if name in limits else "",
            limits.get(name, ""),
        )
        for name in names
    ]


def table(image: Path, judge: str) -> tuple[list[Row], str]:
    """Every row, and who the judge was."""
    ours: dict[Deliverer, Rows] = {
        name: collect(lambda words, name=name: run_leulo(image, name, words)[0])  # type: ignore[misc]
        for name in DELIVERERS
    }
    name = judges.NAMES[judge]
    if judges.is_there(judge):
        return compare(ours, judge, ask(judge, image)), f"{name} {judges.version(judge)}"
    if judge not in RECORDS:
        raise ConformanceError(f"{name} is not here, and there is no record of it")
    return compare(ours, judge, recorded(judge)), f"{name} {recorded_version(judge)}, recorded"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 if every row is equal or known to differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--judge", choices=judges.NAMES, default="qemu", help="beside whom")
    parser.add_argument("--all", action="store_true", help="show equal rows too")
    parser.add_argument("--only", metavar="WORD", default="", help="rows whose name contains WORD")
    parser.add_argument("--json", action="store_true", help="all rows as JSON")
    parser.add_argument("--record", action="store_true", help="keep what the judge says")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            image = build(Path(folder) / "conformance.elf")
            rows, who = table(image, options.judge)
    except (ConformanceError, judges.JudgeError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 5
    if options.record and judges.is_there(options.judge) and options.judge in RECORDS:
        record(options.judge, {row.name: row.judge for row in rows})
    shown = [row for row in rows if options.only in row.name]
    if not shown:
        print(f"conformance: no case has {options.only!r} in its name", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([{**_plain(row), "verdict": row.verdict} for row in shown], indent=1))
    else:
        witness = "Bochs" if options.judge == "qemu" else "QEMU"
        _print(shown, options.judge, who, witness, options.all or bool(options.only))
    bad = sum(row.verdict not in ("equal", *VERDICTS.values()) for row in rows)
    return 1 if bad else 0


def _plain(row: Row) -> dict[str, str]:
    return {"name": row.name, "native": row.native, "portable": row.portable, "judge": row.judge,
            "witness": row.witness, "limit": row.reason}  # fmt: skip


def _print(rows: Sequence[Row], judge: str, who: str, witness: str, show_all: bool) -> None:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.verdict] = counts.get(row.verdict, 0) + 1
        if row.verdict == "equal":
            if show_all:
                print(f"{row.name:36} equal        {row.judge}")
            continue
        print(f"{row.name:36} {row.verdict}")
        values = [("native", row.native), ("portable", row.portable), (who, row.judge)]
        for what, text in (*values, (f"{witness}, recorded", row.witness)):
            print(f"    {what:18} {text}")
        if row.reason:
            print(f"    {'why':18} {row.reason}")
    summary = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    print(f"{len(rows)} cases on native, portable and {who}: {summary}")
    if errs := counts.get(VERDICTS["qemu"]):
        print(f"  QEMU errs: {errs} in which ours is what the manual says and what Bochs does")
    if alike := counts.get(VERDICTS["both"]):
        print(f"  as QEMU:   {alike} in which QEMU and we do the same, and {who} does not")
    if (differ := counts.get("DIFFERS", 0) + counts.get("LIMIT GONE", 0)) and judge in RECORDS:
        print(f"  {differ} in which known_limits.txt is wrong: it knows {recorded_version(judge)}")


if __name__ == "__main__":
    sys.exit(main())
