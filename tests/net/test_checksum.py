"""The Internet checksum: every way of computing it gives what scapy's plain loop gives."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import checksum as judge

from leulo.net.wire.checksum import checksum, fold, pseudo_header, sum_parts, update


@pytest.mark.parametrize("size", [0, 1, 2, 3, 899, 900, 901, 902, 903, 1500, 65535, 65536])
@pytest.mark.parametrize("filler", ["random", "zeros", "ones"])
def test_checksum_equals_scapys(size: int, filler: str) -> None:
    rng = random.Random(size)
    data = {"random": rng.randbytes(size), "zeros": bytes(size), "ones": b"\xff" * size}[filler]
    assert checksum(data) == judge(data)
    assert checksum(memoryview(data)) == judge(data)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_parts_of_any_length_sum_like_the_whole(parts: list[bytes]) -> None:
    assert ~sum_parts(parts) & 0xFFFF == judge(b"".join(parts))


def test_parts_with_large_odd_ones() -> None:
    rng = random.Random(1)
    parts = [rng.randbytes(n) for n in (54, 1449, 3, 901, 65001)]
    assert ~sum_parts(parts) & 0xFFFF == judge(b"".join(parts))


@given(st.binary(min_size=20, max_size=20), st.integers(0, 9), st.binary(min_size=2, max_size=2))
def test_update_equals_a_new_checksum(header: bytes, word: int, new: bytes) -> None:
    at = word * 2
    changed = header[:at] + new + header[at + 2 :]
    updated = update(checksum(header), header[at : at + 2], new)
    assert updated in (checksum(changed), checksum(changed) ^ 0xFFFF if not any(changed) else -1)


def test_fold_keeps_zero_apart_from_minus_zero() -> None:
    """RFC 1624's trap: only a sum of nothing but zeros is zero."""
    assert fold(0) == 0
    assert fold(0xFFFF) == 0xFFFF
    assert fold(0x1FFFE) == 0xFFFF


def test_pseudo_header_of_both_families() -> None:
    source, destination = bytes(range(16)), bytes(range(16, 32))
    for size in (4, 16):
        words = source[:size] + destination[:size] + (70000).to_bytes(4, "big") + b"\0\0\0\x06"
        assert pseudo_header(source[:size], destination[:size], 6, 70000) == ~judge(words) & 0xFFFF


def test_a_few_large_sums_do_not_load_numpy_and_many_do() -> None:
    """Loading it stops the whole machine for a tenth of a second: not for one large ping."""
    program = (
        "import sys\n"
        "from leulo.net.wire.checksum import sum_words\n"
        "data = bytes(n * n >> 3 & 255 for n in range(65536))\n"
        "sizes = (899, 900, 901, 902, 903, 1500, 65535, 65536)\n"
        "first = [sum_words(data[:size], size) for size in sizes]\n"
        "assert 'numpy' not in sys.modules\n"
        "for _ in range(10):\n"
        "    assert [sum_words(data[:size], size) for size in sizes] == first\n"
        "assert 'numpy' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
