"""The conformance table: every exception and interrupt path, on both deliverers and on a judge.

``python tools/conformance.py`` builds the kernel of tests/cpu/conformance, runs the same image on
the deliverers ``native`` and ``portable`` (in virtual time) and on qemu-system-i386, and prints a
table of three columns, native, portable and QEMU. All rows are equal, or the exit code is 1: a row
that is not is `DIFFERS`.

QEMU 7.2 as it is shipped departs from the manual in some cases: known_limits.txt beside the kernel
names each with its section, and qemu-7.2.patch mends them. The judge is the mended QEMU, which
tools/mended_qemu.py builds; the cases that were mended stand below the table. A case that
is in the list and in which the shipped QEMU does what we do is `MOVES`, and an error.

--judge: mended (the default); qemu, as it is shipped, with a second table for the cases in which it
departs, which Bochs judges; bochs, an x86 without QEMU's code that knows more of the manual
(Debian: bochs-term), whose second table are the cases in which we do what QEMU does and Bochs
something else; kvm, QEMU on this computer's own processor, where its KVM can run a guest of 32 bits
with PAE. That one is unproven: no processor has been asked so far, only a stand-in in the tests,
and what is known to differ was learnt from Bochs.

Judges are versions, QEMU 7.2 and Bochs 2.7: other versions depart in other cases. One that is not
there is what it said when it was recorded (--record); of the mended QEMU only the rows in which it
is not the shipped one are a record. Where another version is installed, the record is the judge,
and what the other one says is told below the tables.

Examples:
  python tools/conformance.py                    the summary, and what QEMU as shipped departs in
  python tools/conformance.py --judge qemu       that QEMU, and Bochs where it departs
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
RECORDS: Final = {
    "qemu": SOURCES / "reference.txt",
    "mended": SOURCES / "mended.txt",  # the rows in which it is not the one above
    "bochs": SOURCES / "bochs.txt",
}
LIMITS: Final = SOURCES / "known_limits.txt"
# Who judges the rest; beside the mended QEMU, what is mended.
SECOND: Final = {"mended": "qemu", "qemu": "bochs", "bochs": "qemu", "kvm": "qemu"}
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


def run_stopped(image: Path, deliverer: Deliverer, words: str = "") -> tuple[str, int, int]:
    """The same while another thread stops the CPU some thousand times a second, and how often it
    did. (Without pauses it would hold the interpreter's lock, and the CPU get nowhere.)"""
    board = Board(image.read_bytes(), deliverer, words)
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


def ask(judge: str, image: Path, cases: Sequence[str] = ()) -> Rows:
    """What a judge that is there says: to everything, or to some cases."""
    if cases:
        names = dict.fromkeys(case.partition("@")[0] for case in cases)
        texts = [judges.run(judge, image, f"only={name}") for name in names]
        return {name: values for text in texts for name, values in parse(text).items()}
    alone = (*ENDINGS, *judges.WITHOUT_SEP) if judge == "bochs" else ENDINGS
    return collect(lambda words: judges.run(judge, image, words), alone)


def recorded(judge: str) -> Rows:
    """What it said once; of KVM there is no record."""
    shipped = recorded("qemu") if judge == "mended" else {}
    return shipped | parse(RECORDS[judge].read_text())


def recorded_version(judge: str) -> str:
    """Which version of it that was, as in "7.2"."""
    return RECORDS[judge].read_text().partition("\n")[0].split()[-1]


def record(judge: str, rows: Rows) -> None:
    """Keep what it says now."""
    shipped = recorded("qemu") if judge == "mended" else {}
    if judge == "mended" and (new := [name for name in rows if name not in shipped]):
        raise ConformanceError(
            f"QEMU as it is shipped comes first (--judge qemu --record): {' '.join(new)}"
        )
    lines = [f"# {judges.NAMES[judge]} {judges.version(judge)}"]
    lines += [f"{name} {said}" for name, said in rows.items() if shipped.get(name) != said]
    RECORDS[judge].write_text("\n".join(lines) + "\n")


@dataclass(frozen=True, slots=True)
class Voice:
    """A judge of one version, as in "QEMU 7.2", and what it says."""

    name: str
    rows: Rows
    recorded: str = ""  # as in ", recorded"


def installed(judge: str, image: Path, cases: Sequence[str] = ()) -> Voice:
    """The judge that is there, whatever its version."""
    if not judges.is_there(judge):
        raise ConformanceError(f"{judges.NAMES[judge]} is not here ({judges.WHENCE[judge]})")
    return Voice(f"{judges.NAMES[judge]} {judges.version(judge)}", ask(judge, image, cases))


def is_another(judge: str) -> bool:
    """Whether a version is installed that is not the one that was recorded."""
    return (
        judge in RECORDS
        and judges.is_there(judge)
        and judges.version(judge) != recorded_version(judge)
    )


def hear(judge: str, image: Path, cases: Sequence[str] = ()) -> Voice:
    """A judge: asked now if it is the version that was recorded (or there is no record)."""
    if judges.is_there(judge) and not is_another(judge):
        return installed(judge, image, cases)
    if judge not in RECORDS:
        missing = f"{judges.NAMES[judge]} is not here ({judges.WHENCE[judge]})"
        raise ConformanceError(f"{missing}, and there is no record of it")
    name = f"{judges.NAMES[judge]} {recorded_version(judge)}"
    if judge != "mended":
        return Voice(name, recorded(judge), ", recorded")
    shipped, mended = hear("qemu", image, cases), parse(RECORDS[judge].read_text())
    part = shipped.recorded or f", recorded in {len(mended)}"
    return Voice(name, shipped.rows | mended, part)


@dataclass(frozen=True, slots=True)
class Row:
    """One case: what the three said. In the second table the first judge, too, and why; beside the
    mended QEMU the shipped one where it departs."""

    name: str
    native: str
    portable: str
    judge: str
    beside: str = ""
    reason: str = ""

    @property
    def verdict(self) -> str:
        if not self.native == self.portable == self.judge:
            return "DIFFERS"
        return "MOVES" if self.reason and self.beside == self.judge else "equal"


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


def limits_of(judge: str) -> dict[str, str]:
    """The cases of the second table when ``judge`` has the first, or those that were mended."""
    return known_limits("qemu" if judge in ("mended", "qemu") else "both")


def compare(ours: dict[Deliverer, Rows], judge: str, first: Rows, second: Rows) -> list[Row]:
    """The tables: our rows beside what ``judge`` said, or who is asked in its place."""
    limits = limits_of(judge)
    names = dict.fromkeys([*first, *ours["native"], *ours["portable"], *limits])
    missing = "(no row)"

    def row(name: str) -> Row:
        said, instead = first.get(name, missing), second.get(name, missing)
        both = ours["native"].get(name, missing), ours["portable"].get(name, missing)
        if name not in limits:
            return Row(name, *both, said)
        if judge == "mended":
            return Row(name, *both, said, instead, limits[name])
        return Row(name, *both, instead, said, limits[name])

    return [row(name) for name in names]


def our_rows(image: Path) -> dict[Deliverer, Rows]:
    """What both deliverers say to everything."""
    return {
        name: collect(lambda words, name=name: run_leulo(image, name, words)[0])  # type: ignore[misc]
        for name in DELIVERERS
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 0 if every row is equal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--judge", choices=judges.NAMES, default="mended", help="of the (first) table"
    )
    parser.add_argument("--all", action="store_true", help="show equal rows too")
    parser.add_argument("--only", metavar="WORD", default="", help="rows whose name contains WORD")
    parser.add_argument("--json", action="store_true", help="all rows as JSON")
    parser.add_argument(
        "--record", action="store_true", help="keep what the judge that is installed says"
    )
    options = parser.parse_args(arguments)
    judge = options.judge
    if options.record and judge not in RECORDS:
        parser.error(f"of {judges.NAMES[judge]} there is no record")
    try:
        with tempfile.TemporaryDirectory() as folder:
            image = build(Path(folder) / "conformance.elf")
            if options.record:
                record(judge, installed(judge, image).rows)
            ours = our_rows(image)
            first = hear(judge, image)
            second = hear(SECOND[judge], image, tuple(limits_of(judge)))
            others = [
                (installed(name, image), voice)
                for name, voice in ((judge, first), (SECOND[judge], second))
                if is_another(name) and not options.json
            ]
    except (ConformanceError, judges.JudgeError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 5
    rows = compare(ours, judge, first.rows, second.rows)
    shown = [row for row in rows if options.only in row.name]
    if not shown:
        print(f"conformance: no case has {options.only!r} in its name", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([_plain(row, judge, first, second) for row in shown], indent=1))
    else:
        _print(shown, judge, first, second, options.all or bool(options.only))
        for other, voice in others:
            _print_another(other, voice)
    return 1 if any(row.verdict != "equal" for row in shown) else 0


def _voices(row: Row, judge: str, first: Voice, second: Voice) -> tuple[Voice, Voice]:
    """Whose word counts in a row, and who is beside it if there is a reason."""
    return (second, first) if row.reason and judge != "mended" else (first, second)


def _plain(row: Row, judge: str, first: Voice, second: Voice) -> dict[str, str]:
    voice, beside = _voices(row, judge, first, second)
    found = {"name": row.name, "native": row.native, "portable": row.portable}
    found |= {"judge": voice.name, "said": row.judge}
    if row.reason:
        found |= {"beside": beside.name, "beside_said": row.beside, "why": row.reason}
    return {**found, "verdict": row.verdict}


def _print(rows: Sequence[Row], judge: str, first: Voice, second: Voice, show_all: bool) -> None:
    for row in rows:
        if row.verdict == "equal" and (not row.reason or (judge == "mended" and not show_all)):
            if show_all:
                print(f"{row.name:36} equal        {row.judge}")
            continue
        print(f"{row.name:36} {row.verdict}")
        voice, beside = _voices(row, judge, first, second)
        values = [("native", row.native), ("portable", row.portable), (voice.name, row.judge)]
        if row.reason:
            values += [(f"({beside.name})", row.beside), ("why", row.reason)]
        for what, text in values:
            print(f"    {what:18} {text}")
    known = [row for row in rows if row.reason]
    if judge == "mended":
        _print_summary(rows, first, second, "")
        _print_departures(known, second)
        return
    _print_summary([row for row in rows if not row.reason], first, second, "")
    what = "departs from the manual" if judge == "qemu" else "does not do what we and QEMU do"
    _print_summary(known, second, first, f" in which {first.name} {what}")


def _print_summary(rows: Sequence[Row], voice: Voice, beside: Voice, which: str) -> None:
    if not rows:
        return
    bad = [row.verdict for row in rows if row.verdict != "equal"]
    result = f"NOT EQUAL: {len(bad)}" if bad else "all equal"
    who = f"native, portable, {voice.name}{voice.recorded}"
    print(f"{who}: {len(rows)} case{'s' * (len(rows) > 1)}{which}, {result}")
    if moves := bad.count("MOVES"):
        print(f"  MOVES: {moves} in which {beside.name} does what we do: known_limits.txt is wrong")


def _print_departures(rows: Sequence[Row], shipped: Voice) -> None:
    """What the mended QEMU has mended."""
    rows = [row for row in rows if row.beside != row.judge]
    if not rows:
        return
    part = f"{shipped.recorded}," if shipped.recorded else ""
    print(f"{shipped.name} as it is shipped{part} departs in {len(rows)} of them:")
    for reason in dict.fromkeys(row.reason for row in rows):
        print(f"    {' '.join(row.name for row in rows if row.reason == reason)}")
        print(f"        {reason}")


def _print_another(other: Voice, judge: Voice) -> None:
    """What an installed version that is not the judge says otherwise."""
    different = [name for name in judge.rows if other.rows.get(name) != judge.rows[name]]
    print(f"{other.name} is here, which is no judge: {len(different)} cases not as {judge.name}")
    for name in different:
        print(f"    {name:32} {other.rows.get(name, '(no row)')}")


if __name__ == "__main__":
    sys.exit(main())
