"""Names in the guest's clients: what a name server says, true or not (`guest_kernel/apps/names.c`).

Protects: aliases and both kinds of address, words for what fails, and that no answer is read beyond
its end. That the guest's programs ask at all is `tests/system/test_guest_names.py`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from freestanding import KERNEL

A, AAAA, CNAME = 1, 28, 5
HERE = b"\xc0\x0c"  # the name of the question


def asked(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return labels + b"\0" + kind.to_bytes(2, "big") + b"\0\1"


def record(owner: bytes, kind: int, data: bytes, class_: int = 1) -> bytes:
    head = kind.to_bytes(2, "big") + class_.to_bytes(2, "big") + bytes(4)
    return owner + head + len(data).to_bytes(2, "big") + data


def answer(question: bytes, *records: bytes, code: int = 0, count: int | None = None) -> bytes:
    counts = (1, len(records) if count is None else count, 0, 0)
    head = bytes((0, 0, 0x81, 0x80 | code)) + b"".join(n.to_bytes(2, "big") for n in counts)
    return head + question + b"".join(records)


IPV4, IPV6 = bytes((10, 0, 2, 2)), bytes(15) + b"\1"
Q4, Q6 = asked("www.host.test", A), asked("www.host.test", AAAA)
ALIAS = record(HERE, CNAME, b"\5other\xc0\x10")
ANSWERS: dict[str, tuple[bytes, int, str]] = {
    "plain": (answer(Q4, record(HERE, A, IPV4)), A, "an address"),
    "alias": (answer(Q4, ALIAS, record(b"\5other\xc0\x10", A, IPV4)), A, "an address"),
    "six": (answer(Q6, record(HERE, AAAA, IPV6)), AAAA, "an address"),
    "nothing": (answer(Q4), A, "it has no address"),
    "other class": (answer(Q4, record(HERE, A, IPV4, class_=3)), A, "it has no address"),
    "five bytes": (answer(Q4, record(HERE, A, IPV4 + b"\0")), A, "it has no address"),
    "nobody": (answer(Q4, code=3), A, "there is no such host"),
    "failed": (answer(Q4, code=2), A, "the name server does not know"),
    "more than there is": (answer(Q4, ALIAS, count=65535), A, "it has no address"),
    "cut": (answer(Q4, record(HERE, A, IPV4))[:-1], A, "it has no address"),
    "a name without end": (answer(Q4, b"\x3f" * 70, count=1), A, "it has no address"),
    "a name of itself": (answer(Q4, b"\xc0\x2b" * 3, count=3), A, "it has no address"),
}


def test_no_answer_is_read_beyond_its_end(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    program = tmp_path / "name_answers"
    apps = KERNEL / "apps"
    sources = [Path(__file__).with_name("name_answers.c"), apps / "client.c"]
    flags = ["-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", *flags, *checks, f"-I{apps}", "-o", str(program), *map(str, sources)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find" in built.stderr:
        pytest.skip("needs gcc's sanitizers")
    assert built.returncode == 0, built.stderr
    arguments = []
    for number, (data, kind, _) in enumerate(ANSWERS.values()):
        file = tmp_path / str(number)
        file.write_bytes(data)
        arguments += [str(file), str(12 + len(Q4)), str(kind)]
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [words for _, _, words in ANSWERS.values()]
