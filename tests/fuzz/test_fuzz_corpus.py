"""Everything that reads an enemy's bytes, over the corpus that fuzzing has left and over small
changes of it: always the same inputs. `make fuzz` looks for new ones for ten minutes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from targets import TARGETS, corpus_of  # noqa: E402

MUTATIONS = {"stack": 150, "hypercalls": 40, "pkt": 150}  # the others are faster
MOST_RUNS = {"stack": 60, "hypercalls": 20, "pkt": 150}
VALUES = (0, 1, 0x7F, 0x80, 0xFF)


def mutated(random: Random, data: bytes, other: bytes) -> bytes:
    """Bytes changed, cut out, repeated, or joined with another input."""
    text = bytearray(data)
    for _ in range(random.randrange(1, 5)):
        kind = random.randrange(5)
        at = random.randrange(len(text) + 1)
        if kind == 0 and at < len(text):
            text[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(text):
            text[at] = random.choice((*VALUES, random.randrange(256)))
        elif kind == 2:
            del text[at : at + random.randrange(1, 9)]
        elif kind == 3:
            text[at:at] = text[at : at + random.randrange(1, 9)]
        else:
            text[at:] = other[random.randrange(len(other) + 1) :]
    return bytes(text)


@pytest.mark.parametrize("name", TARGETS)
def test_corpus_and_its_mutations_find_nothing(name: str) -> None:
    inputs = [path.read_bytes() for path in corpus_of(name)]
    assert len(inputs) >= 2, "the corpus is not there"
    target = TARGETS[name]
    for data in inputs:
        target.run(data)
    random = Random(name)
    for number in range(MUTATIONS.get(name, 1500)):
        data = mutated(random, random.choice(inputs), random.choice(inputs))
        try:
            target.run(data[: target.most_bytes])
        except Exception as error:
            error.add_note(f"mutation {number} of {name}: bytes.fromhex({data.hex()!r})")
            raise


def test_damaged_line_table_is_one_sentence() -> None:
    """Cut anywhere, it is read or refused, never worse."""
    from leulo.errors import ImageError
    from leulo.line_table import read_lines

    refused = 0
    for path in corpus_of("lines"):
        whole = path.read_bytes()
        for size in range(len(whole)):
            try:
                read_lines(whole[:size])
            except ImageError:
                refused += 1
    assert refused > 100


def test_the_corpus_lets_acknowledgements_wait_for_the_guest() -> None:
    """As a machine does: held, then answered or let go by a guest that rests, or by time."""
    from stack_target import StackTarget

    seen = {"held": 0, "let go": 0}

    class Watched(StackTarget):
        def _drain(self) -> None:
            super()._drain()
            seen["held"] += self.stack.holds_acks

        def _wait(self) -> None:
            held = self.stack.holds_acks
            super()._wait()
            seen["let go"] += held and not self.stack.holds_acks

    for path in corpus_of("stack"):
        Watched(path.read_bytes()).run()
    assert seen["held"] >= 5 and seen["let go"] >= 2, seen


def test_the_corpus_counts_marks() -> None:
    """Accurate ECN in both directions: ours are told, and the peer's counters are believed."""
    from stack_target import StackTarget

    seen = {"marks": 0, "reductions": 0, "counters": 0}

    class Watched(StackTarget):
        believes = False

        def _drain(self) -> None:
            super()._drain()
            for tcb in self.stack.engine.connections.values():
                accurate = None if tcb.ecn is None else tcb.ecn.accurate
                self.believes |= accurate is not None and any(accurate.delivered)

    for path in corpus_of("stack"):
        target = Watched(path.read_bytes())
        target.run()
        counts = target.stack.engine.counts
        seen["marks"] += counts["tcp_ecn_marks"] > 0
        seen["reductions"] += counts["tcp_ecn_reductions"] > 0
        seen["counters"] += target.believes
    assert min(seen.values()) >= 3, seen


@pytest.mark.parametrize("name", TARGETS)
def test_corpus_is_small(name: str) -> None:
    sizes = [path.stat().st_size for path in corpus_of(name)]
    assert len(sizes) <= 160
    assert sum(sizes) <= 60_000
    assert max(sizes) <= TARGETS[name].most_bytes


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="needs atheris (PyPI; wheels for Linux on x86-64)",
)
@pytest.mark.timeout(600)  # seconds of work, but on a busy computer it may take minutes
@pytest.mark.parametrize("name", TARGETS)
def test_fuzzer_runs_and_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    """A fixed number of inputs with a fixed seed, guided by coverage; files only in its folder."""
    before = sorted(os.listdir(HERE)), sorted(os.listdir(HERE / "corpus" / name))
    runs = MOST_RUNS.get(name, 500) + len(corpus_of(name))
    command = [
        sys.executable, str(HERE / "fuzz_child.py"), name, str(tmp_path),
        str(HERE / "corpus" / name),
        f"-runs={runs}", "-seed=1",
    ]  # fmt: skip
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=570, check=False
    )
    said = run.stdout + run.stderr
    assert run.returncode == 0, said[-3000:]
    assert "Done" in said
    assert sorted(os.listdir(tmp_path)) == ["found"]
    assert (sorted(os.listdir(HERE)), sorted(os.listdir(HERE / "corpus" / name))) == before
