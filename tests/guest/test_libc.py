"""The guest's libc against Python: numbers, text and the heap, in a program run on the host."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from freestanding import build, sources_of

PRELUDE = """
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char b[4096];
#define SHOW(...) (snprintf(b, sizeof b, __VA_ARGS__), write(1, b, strlen(b)), write(1, "\\n", 1))
"""


def run(folder: Path, body: str, functions: str = "") -> list[str]:
    """The lines that a program with this body prints."""
    source = folder / "check.c"
    source.write_text(f"{PRELUDE}\n{functions}\nint main(void) {{\n{body}\nreturn 0;\n}}\n")
    build([source], folder / "check")
    result = subprocess.run([folder / "check"], capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, result.stdout[-500:]
    return result.stdout.splitlines()


def test_printf_formats_as_c_does(tmp_path: Path) -> None:
    cases: list[tuple[str, str, str]] = []  # format, C arguments, expected
    for width in ("", "3", "12", "-12", "012", ".5", "8.3", "-8.3", ".0"):
        for value in (0, 1, -1, 4711, 2147483647, -2147483648):
            argument = f"(int){value}LL"
            cases.append((f"%{width}d|", argument, f"%{width}d|" % value))
            if not width.endswith(".0") or value:
                cases.append((f"%{width}x|", argument, f"%{width}x|" % (value & 0xFFFFFFFF)))
        for wide in (0, 10**15, (1 << 64) - 1):
            if wide or width != ".0":
                cases.append((f"%{width}llu|", f"{wide}ULL", f"%{width}d|" % wide))
                cases.append((f"%{width}llx|", f"{wide}ULL", f"%{width}x|" % wide))
        for text in ("", "a", "quite long text"):
            if not width.startswith("0"):
                cases.append((f"%{width}s|", f'"{text}"', f"%{width}s|" % text))
    cases += [
        ("%lld", "(-9223372036854775807LL - 1)", str(-(1 << 63))),
        ("%%|%5%|%", "0", "%|%|"),
        ("%zu %lu %hd %hhd %c%%", "(size_t)7, 8ul, 9, 10, 'z'", "7 8 9 10 z%"),
        ("%*d|%-*d|%.*s", '5, 42, 5, 42, 2, "abc"', "   42|42   |ab"),
        ("%p", "(void *)0x4000", "0x00004000"),
        ("%s", "(char *)0", "(null)"),
    ]
    # C: with precision 0 the number 0 has no digits; Python writes one.
    expected = [
        "|" if form == "%.0d|" and argument.startswith("(int)0L") else text
        for form, argument, text in cases
    ]
    body = "\n".join(f'SHOW("{form}", {argument});' for form, argument, _ in cases)
    lines = run(tmp_path, body)
    for case, line, text in zip(cases, lines, expected, strict=True):
        assert line == text, case


def test_printf_never_writes_past_its_buffer(tmp_path: Path) -> None:
    body = """
    char small[8] = "1234567";
    SHOW("%d", snprintf(small, 4, "%s", "abcdef"));
    SHOW("%s %c", small, small[4]);
    SHOW("%d", snprintf(NULL, 0, "%d", 12345));
    """
    assert run(tmp_path, body) == ["6", "abc 5", "5"]


def test_division_of_64_bits_is_exact(tmp_path: Path) -> None:
    """The compiler calls these functions, so a wrong digit would be anywhere."""
    rng = random.Random(64)
    edges = [1, 2, 3, 10, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, 1 << 63]
    edges.append((1 << 64) - 1)
    pairs = [(n, d) for n in (0, *edges) for d in edges]
    pairs += [(rng.getrandbits(rng.randint(1, 64)), 1 + rng.getrandbits(rng.randint(1, 63)))
              for _ in range(600)]  # fmt: skip
    table = ",".join(f"{{{n}ULL,{d}ULL}}" for n, d in pairs)
    body = f"""
    static volatile uint64_t t[][2] = {{{table}}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {{
        uint64_t n = t[i][0], d = t[i][1];
        int64_t s = (int64_t)n, e = (int64_t)d;
        SHOW("%llx %llx %lld %lld", n / d, n % d, e == -1 ? 0 : s / e, e == -1 ? 0 : s % e);
    }}"""
    for (n, d), line in zip(pairs, run(tmp_path, body), strict=True):
        s, e = (x - (1 << 64) if x >> 63 else x for x in (n, d))
        quotient = abs(s) // abs(e) * (1 if (s < 0) == (e < 0) else -1)
        signed = (0, 0) if e == -1 else (quotient, s - quotient * e)
        assert line == f"{n // d:x} {n % d:x} {signed[0]} {signed[1]}", (n, d)


def test_numbers_from_text(tmp_path: Path) -> None:
    cases = [
        ("42", 10, "42", 2, 0), (" \t-17x", 10, str(2**64 - 17), 5, 0), ("0x1F", 16, "31", 4, 0),
        ("0x1F", 0, "31", 4, 0), ("0755", 0, "493", 4, 0), ("zz", 36, "1295", 2, 0),
        ("", 10, "0", 0, 0), ("-", 10, "0", 0, 0), ("x", 10, "0", 0, 0), ("0xg", 16, "0", 1, 0),
        ("18446744073709551615", 10, "18446744073709551615", 20, 0),
        ("18446744073709551616", 10, "18446744073709551615", 20, 34),
        ("99999999999999999999999x", 10, "18446744073709551615", 23, 34),
    ]  # fmt: skip
    body = "char *e; unsigned long long n;\n" + "\n".join(
        f'errno = 0; n = strtoull("{text.encode("unicode_escape").decode()}", &e, {base}); '
        f'SHOW("%llu %d %d", n, (int)strlen(e), errno);'
        for text, base, *_ in cases
    )
    expected = [f"{value} {len(text) - used} {error}" for text, _, value, used, error in cases]
    assert run(tmp_path, body) == expected


def test_strings_and_memory(tmp_path: Path) -> None:
    """Every length and distance up to some words, also overlapping."""
    body = r"""
    static unsigned char a[96], c[96];
    int bad = 0;
    for (int n = 0; n < 40; n++)
        for (int from = 0; from < 9; from++)
            for (int to = 0; to < 50; to++) {
                for (int i = 0; i < 96; i++) a[i] = c[i] = (unsigned char)(i * 7 + 1);
                memmove(a + to, a + from, (size_t)n);
                for (int i = 0; i < 96; i++) {
                    int s = i >= to && i < to + n ? from + i - to : i;
                    bad += a[i] != c[s];
                }
                memset(c + to, from, (size_t)n);
                for (int i = 0; i < 96; i++)
                    bad += c[i] != (i >= to && i < to + n ? from : (unsigned char)(i * 7 + 1));
            }
    SHOW("%d", bad);
    SHOW("%d %d %d", memcmp("abc", "abd", 3) < 0, memcmp("\xff", "a", 1) > 0, memcmp("a", "b", 0));
    SHOW("%d %d %d", strcmp("a", "ab") < 0, strcmp("\xff", "a") > 0, strncmp("abc", "abd", 2));
    SHOW("%s %s %s %d", strchr("a/b/c", '/'), strrchr("a/b/c", '/'), strstr("xx/../y", "/.."),
         strstr("abc", "abd") == NULL);
    SHOW("%d %d", strchr("abc", 0) != NULL, (int)strcspn("abc\r\n", "\r\n"));
    SHOW("%s|%s", strerror(ECONNRESET), strerror(999));
    """
    assert run(tmp_path, body) == [
        "0", "1 1 0", "1 1 0", "/b/c /c /../y 1", "1 3",
        "Connection reset by peer|Unknown error 999",
    ]  # fmt: skip


BYTE_BY_BYTE = """
static unsigned char *end; /* of all memory there is: one byte more would be a fault */
static unsigned wrong;

static void check(unsigned from, unsigned to, unsigned count) {
    unsigned char *source = end - 200 - from - count, *target = end - to - count;
    unsigned char before = target[-1];

    for (unsigned i = 0; i < count; i++)
        source[i] = (unsigned char)(i * 7 + count);
    wrong += memcpy(target, source, count) != target || target[-1] != before;
    for (unsigned i = 0; i < count; i++)
        wrong += target[i] != source[i];
    wrong += memcmp(target, source, count) != 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned char kept = target[i];
        target[i] = 0x80;
        wrong += (memcmp(target, source, count) > 0) != (0x80 > source[i]) && source[i] != 0x80;
        target[i] = kept;
    }
    wrong += memset(target, 0x1FF, count) != target || target[-1] != before;
    for (unsigned i = 0; i < count; i++)
        wrong += target[i] != 0xFF;
    wrong += memchr(target, 1, count) != NULL;
    for (unsigned i = count; i--;) { /* the first of several is the one */
        target[i] = 1;
        wrong += memchr(target, 0x101, count) != target + i;
        target[i] = i % 2 ? 0x80 : 1; /* what a carry could take for a hit */
    }
    for (unsigned i = 0; i < count; i++)
        target[i] = i % 3 ? 0x80 : 1;
    if (count)
        target[count - 1] = 0;
    wrong += count && strlen((char *)target) != count - 1;
}
"""


def test_memory_functions_agree_with_loops_and_read_nothing_behind_the_end(tmp_path: Path) -> None:
    body = """
    end = (unsigned char *)sbrk(8192);
    end += 4096 - (uintptr_t)end % 4096;
    brk(end);
    for (unsigned count = 0; count < 100; count++)
        for (unsigned at = 0; at < 9; at++)
            check(at, 8 - at, count), check(at, 0, count);
    SHOW("%u", wrong);
    """
    assert run(tmp_path, body, BYTE_BY_BYTE) == ["0"]


def test_heap_keeps_blocks_apart_and_reuses_memory(tmp_path: Path) -> None:
    functions = r"""
    static struct { unsigned char *p; unsigned n, tag; } held[200];
    static unsigned seed = 1;
    static unsigned draw(void) { return (seed = seed * 1103515245u + 12345u) >> 8; }
    static int intact(int i) {
        for (unsigned k = 0; k < held[i].n; k++)
            if (held[i].p[k] != (unsigned char)held[i].tag) return 0;
        return 1;
    }
    """
    body = r"""
    char *top = sbrk(0);
    int bad = 0;
    for (int round = 0; round < 20000; round++) {
        int i = (int)(draw() % 200);
        unsigned n = draw() % (draw() % 20 ? 300 : 20000);
        bad += !intact(i);
        if (draw() % 3 == 0) {
            free(held[i].p);
            held[i].p = NULL;
            held[i].n = 0;
            continue;
        }
        unsigned kept = n < held[i].n ? n : held[i].n;
        held[i].p = realloc(held[i].p, n);
        bad += ((uintptr_t)held[i].p & 15) != 0;
        held[i].n = kept;
        bad += !intact(i);
        held[i].n = n;
        held[i].tag = draw();
        memset(held[i].p, (int)held[i].tag, n);
    }
    SHOW("%d", bad);
    SHOW("%d", (char *)sbrk(0) - top < 2000000);
    for (int i = 0; i < 200; i++) free(held[i].p);
    char *full = sbrk(0);
    free(malloc((size_t)(full - top) - 100000)); /* all joined again */
    SHOW("%d %d", (char *)sbrk(0) == full, malloc(3000000000u) == NULL);
    SHOW("%d", *(int *)calloc(3, 4) == 0 && calloc(1u << 20, 1u << 20) == NULL);
    """
    assert run(tmp_path, body, functions) == ["0", "1", "1 1", "1"]


@pytest.mark.parametrize("name", ["sh", "init"])
def test_program_links_with_this_libc_alone(tmp_path: Path, name: str) -> None:
    build(sources_of(name), tmp_path / name)


def test_shell_splits_words_and_runs_programs(tmp_path: Path) -> None:
    build(sources_of("sh"), tmp_path / "sh")
    shell = subprocess.Popen(
        [tmp_path / "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert shell.stdin is not None and shell.stdout is not None

    def type_line(line: str) -> str:
        assert shell.stdin is not None and shell.stdout is not None
        shell.stdin.write(line.encode() + b"\n")
        shell.stdin.flush()
        return read_prompt()

    def read_prompt() -> str:
        assert shell.stdout is not None
        text = b""
        while not text.endswith(b"leulo$ "):
            byte = shell.stdout.read(1)
            assert byte, text
            text += byte
        return text[: -len(b"leulo$ ")].decode()

    (tmp_path / "a file").write_text("its text\n")
    try:
        read_prompt()
        assert type_line("") == ""
        assert type_line(f"cat '{tmp_path}/a file'") == "its text\n"
        assert "a file\n" in type_line(f'ls  {tmp_path}  "ignored')
        assert type_line("cat /nowhere") == "/nowhere: No such file or directory\n"
        assert type_line("no-such-thing") == "no-such-thing: no such program; help lists them\n"
        assert type_line('/bin/sh -c "exit 3"').endswith("ended with status 3\n")
        assert type_line("/bin/sh -c 'kill -9 $$'").endswith("ended by signal 9\n")
        shell.stdin.write(b"exit 5\n")
        shell.stdin.flush()
        assert shell.wait(10) == 5
    finally:
        shell.kill()
        shell.communicate()
