"""Rules of the project that no linter knows: sizes, citations, words, generated files.

    python tools/check_project.py

Prints a line for each finding and exits 1 if there is any. tests/project runs the same functions.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REFERENCES = ROOT / "docs" / "references.md"

MOST_LINES_OF_A_FILE = 600
# Lines of code, so that nobody saves on comments (guest_kernel/README.md promises them).
MOST_LINES_OF_THE_GUEST = 5_000  # kernel, drivers, sockets, libc
GUEST_APPS = "guest_kernel/apps"  # what runs on it has a budget of its own
MOST_LINES_OF_THE_GUEST_APPS = 2_000
GUEST_STACK = "guest_kernel/net/stack"  # has a budget of its own
MOST_LINES_OF_THE_GUEST_STACK = 3_000
GUEST_SOURCES = {".c", ".h", ".S"}
GENERATED = {"guest_kernel/include/leulo/abi.h"}

FORBIDDEN_WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w")

# A citation is a bracket whose first word begins with a capital or a digit and which has a
# number or a section after its key: [RFC 9293 3.10.7.4], [8259A ICW4], [virtio 1.2 5.1.6].
BRACKET = re.compile(r"\[([^\[\]\n]+(?:\n\s*(?:\*|#|//)?\s*[^\[\]\n]+)?)\]")


def python_files(*folders: str) -> Iterator[Path]:
    """Every Python file of these folders, without what was generated or built."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "_image" not in path.parts:
                yield path


def guest_files() -> Iterator[Path]:
    for path in sorted((ROOT / "guest_kernel").rglob("*")):
        if path.suffix in GUEST_SOURCES and _name(path) not in GENERATED:
            yield path


def check_sizes() -> Iterator[str]:
    """A file is split before 600 lines; the guest keeps its promise."""
    for path in (*python_files("leulo", "tools", "tests"), *guest_files()):
        lines = _line_count(path)
        if lines >= MOST_LINES_OF_A_FILE:
            yield f"{_name(path)}: {lines} lines: split it before {MOST_LINES_OF_A_FILE}"
    stack = sum(_code_line_count(p) for p in guest_files() if _name(p).startswith(GUEST_STACK))
    apps = sum(_code_line_count(p) for p in guest_files() if _name(p).startswith(GUEST_APPS))
    rest = sum(_code_line_count(p) for p in guest_files()) - stack - apps
    if apps > MOST_LINES_OF_THE_GUEST_APPS:
        yield f"{GUEST_APPS}: {apps} lines, its promise is {MOST_LINES_OF_THE_GUEST_APPS}"
    if rest > MOST_LINES_OF_THE_GUEST:
        yield f"guest_kernel: {rest} lines, its promise is {MOST_LINES_OF_THE_GUEST}"
    if stack > MOST_LINES_OF_THE_GUEST_STACK:
        yield f"{GUEST_STACK}: {stack} lines, its promise is {MOST_LINES_OF_THE_GUEST_STACK}"


def citation_keys() -> list[str]:
    """The keys that docs/references.md defines: the first cell of each row of its tables."""
    found = []
    for line in REFERENCES.read_text(encoding="utf-8").splitlines():
        match = re.match(r"\| `([^`]+)` \|", line)
        if match:
            found.append(match[1])
    return found


def _key_pattern(key: str) -> re.Pattern[str]:
    """``RFC NNNN`` stands for every number, ``SDM 1|2|3`` for each of them."""
    parts = [re.escape(word).replace("NNNN", r"\d+") for word in key.split()]
    parts = [f"(?:{part.replace(chr(92) + '|', '|')})" for part in parts]
    return re.compile(r"^" + r"\s+".join(parts) + r"(?:[\s,;]|$)")


def looks_like_citation(text: str) -> bool:
    """Whether a bracket in prose means to cite a document."""
    if not re.match(r"^[A-Za-z0-9][\w.+()-]*( |$)", text) or re.search(r"[=<>|`'\"]", text):
        return False
    first, _, rest = text.partition(" ")
    if not rest:  # a bare word is an index or an option, unless it is a document's number
        return bool(re.fullmatch(r"(RFC\d+|\d{4,5}[A-Z]+)", first))
    return bool(
        re.match(r"^([A-Z]{2,}\d*|[A-Z]\d{4}|\d{4,5}[A-Z]?|MC\d+|IEEE|POSIX|Linux)$", first)
    ) or bool(re.match(r"^(virtio|multiboot|pcapng|cpio|ELF)$", first))


def prose_of_python(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every docstring and comment."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text:
                first = node.body[0]
                yield first.lineno, text
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def prose_of_c(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every comment."""
    source = path.read_text(encoding="utf-8")
    for match in re.finditer(r"/\*.*?\*/|//[^\n]*", source, re.DOTALL):
        yield source.count("\n", 0, match.start()) + 1, match[0]


def citations(path: Path) -> Iterator[tuple[int, str]]:
    """(line, citation) of everything a file cites in brackets."""
    prose = prose_of_python(path) if path.suffix == ".py" else prose_of_c(path)
    for line, text in prose:
        for match in BRACKET.finditer(text):
            for piece in re.split(r";\s*", re.sub(r"\n\s*(?:\*|#|//)?\s*", " ", match[1])):
                if looks_like_citation(piece):
                    yield line + text.count("\n", 0, match.start()), piece


def check_citations() -> Iterator[str]:
    """Every bracket resolves in docs/references.md, and every key there is used or a family."""
    patterns = [_key_pattern(key) for key in citation_keys()]
    for path in (*python_files("leulo", "tools", "tests"), *guest_files()):
        for line, text in citations(path):
            if not any(pattern.match(text) for pattern in patterns):
                yield f"{_name(path)}:{line}: [{text}] is not in docs/references.md"


def check_words() -> Iterator[str]:
    """No promises for later, no drawers without a label, no path of one person's machine."""
    for path in (*python_files("leulo", "tools"), *guest_files()):
        if path == Path(__file__).resolve():
            continue
        if path.stem in FORBIDDEN_NAMES or path.parent.name in FORBIDDEN_NAMES:
            yield f"{_name(path)}: call a file by what is in it"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if match := FORBIDDEN_WORDS.search(line):
                yield f"{_name(path)}:{number}: {match[0]}: do it, or write it into an issue"
            if MACHINE_PATH.search(line):
                yield f"{_name(path)}:{number}: a path of one machine: {line.strip()}"


def check_docstrings() -> Iterator[str]:
    """A module begins with its contract."""
    for path in python_files("leulo", "tools"):
        source = path.read_text(encoding="utf-8")
        if source.strip() and ast.get_docstring(ast.parse(source)) is None:
            yield f"{_name(path)}:1: a module begins with its contract"


def check_test_names() -> Iterator[str]:
    """pytest takes two files of one name for the same module, and then runs no test at all."""
    seen: dict[str, Path] = {}
    for path in python_files("tests"):
        if path.name != "conftest.py" and seen.setdefault(path.name, path) != path:
            yield f"{_name(path)}: {_name(seen[path.name])} has the same name: choose another"


def check_generated() -> Iterator[str]:
    """What is generated from the code is what would be generated now."""
    for tool in ("generate_abi.py", "generate_conformance.py", "generate_reference.py"):
        result = subprocess.run(
            [sys.executable, str(ROOT / "tools" / tool), "--check"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if result.returncode != 0:
            said = (result.stdout + result.stderr).strip() or f"exit code {result.returncode}"
            yield f"tools/{tool} --check: {said}"


CHECKS = (
    check_sizes,
    check_citations,
    check_words,
    check_docstrings,
    check_test_names,
    check_generated,
)


def _line_count(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def _code_line_count(path: Path) -> int:
    """Lines of C or assembly, as cloc counts: neither blank nor only a comment."""
    source = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return sum(1 for line in source.splitlines() if line.strip())


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def main() -> int:
    findings = [finding for check in CHECKS for finding in check()]
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
