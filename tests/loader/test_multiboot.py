"""The multiboot loader: what the kernel finds in RAM, and one sentence for every bad image."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_builder import ImageBuilder, Piece

from leulo.errors import ConfigError, ImageError, LeuloError
from leulo.loader.elf import Elf
from leulo.loader.multiboot import Boot, load
from leulo.memory import Memory
from leulo.units import KIB, MIB


def boot(
    image: bytes,
    ram: int = 4 * MIB,
    modules: list[tuple[bytes, str]] | None = None,
    words: str = "",
) -> tuple[Boot, Memory]:
    memory = Memory(ram)
    return load(memory, image, name="guest.img", command_line=words, modules=modules or []), memory


def string(memory: Memory, address: int) -> str:
    data = memory.read(address, 5000)
    return data[: data.index(0)].decode()


def test_kernel_gets_image_registers_and_information() -> None:
    image = ImageBuilder().build()
    outcome, memory = boot(image, words="net=paravirt init=/bin/sh")
    assert (outcome.entry, outcome.eax) == (0x100010, 0x2BADB002)
    assert memory.read(0x100000, 4) == struct.pack("<I", 0x1BADB002)
    info = struct.unpack("<22I", memory.read(outcome.ebx, 88))
    assert info[0] == 0b1001001101
    assert info[1:3] == (640, 3 * 1024)
    assert string(memory, info[4]) == "net=paravirt init=/bin/sh"
    assert info[5] == 0
    assert string(memory, info[16]) == "leulo"
    entries = [
        struct.unpack("<IQQI", memory.read(info[12] + at, 24)) for at in range(0, info[11], 24)
    ]
    assert entries == [
        (20, 0, 640 * KIB, 1),
        (20, 640 * KIB, 384 * KIB, 2),
        (20, MIB, 3 * MIB, 1),
    ]


def test_modules_lie_page_aligned_behind_the_image() -> None:
    modules = [(b"first" * 1000, "initrd"), (b"second", "b")]
    outcome, memory = boot(ImageBuilder().build(), modules=modules)
    info = struct.unpack("<22I", memory.read(outcome.ebx, 88))
    assert info[5] == 2
    found = []
    for i in range(2):
        start, end, name, _ = struct.unpack("<4I", memory.read(info[6] + 16 * i, 16))
        assert start % 4096 == 0 and start >= 0x102000
        found.append((memory.read(start, end - start), string(memory, name)))
    assert found == modules


def test_bss_is_cleared_even_in_used_ram() -> None:
    memory = Memory(4 * MIB)
    memory.write(0x100000, b"\xaa" * 0x3000)
    load(memory, ImageBuilder().build(), name="guest.img")
    assert memory.read(0x101000, 0x1000) == bytes(0x1000)
    assert memory.read(0x102000, 16) == b"\xaa" * 16


def test_entry_is_virtual_and_becomes_physical() -> None:
    builder = ImageBuilder(entry=0xC0000010)
    builder.pieces = [Piece(0x100000, builder.header() + bytes(64), 0, 0xC0000000)]
    assert boot(builder.build())[0].entry == 0x100010


def test_information_avoids_an_image_in_low_memory() -> None:
    builder = ImageBuilder(entry=0x1000)
    builder.pieces = [Piece(0x1000, builder.header(), 0x9F000), Piece(0x100000, b"x", 0x1000)]
    outcome, _ = boot(builder.build())
    assert outcome.ebx == 0x101000
    ranges = [(start, end) for start, end, _ in outcome.occupied]
    assert all(a[1] <= b[0] for a, b in pairwise(ranges))


def test_header_at_the_last_place_is_found() -> None:
    padding = 8192 - 12 - (52 + 32 + 12)
    assert boot(ImageBuilder(header_padding=padding).build())[0].ebx == 0x1000
    with pytest.raises(ImageError, match="no multiboot 1 header"):
        boot(ImageBuilder(header_padding=padding + 4).build())


WRONG = {
    "text": (b"#!/bin/sh\n", "is not an ELF file"),
    "empty": (b"", "is empty$"),
    "short": (ImageBuilder().build()[:30], "truncated inside the ELF header"),
    "64 bit": (b"\x7fELF\x02\x01\x01" + bytes(60), "not a 32-bit little-endian"),
    "machine": (ImageBuilder(machine=62).build(), "made for x86-64"),
    "odd machine": (ImageBuilder(machine=999).build(), "machine number 999"),
    "object": (ImageBuilder(kind=1).build(), "relocatable object"),
    "no header": (ImageBuilder(magic=0x1BADB003).build(), "no multiboot 1 header"),
    "checksum": (ImageBuilder(checksum_error=1).build(), "wrong checksum"),
    "video": (ImageBuilder(flags=7).build(), "video mode"),
    "addresses": (ImageBuilder(flags=0x10003).build(), "own address fields"),
    "unknown": (ImageBuilder(flags=0x23).build(), "not known .bits 0x20"),
    "cut": (ImageBuilder().build()[:-1], "truncated, segment 0 ends at"),
    "no table": (ImageBuilder().build()[:60], "truncated, its 1 program headers"),
    "table": (ImageBuilder(program_header_bytes=56).build(), "have 56 bytes each"),
    "entry": (ImageBuilder(entry=0x5000).build(), "entry 0x5000 lies in no"),
    "outside": (
        ImageBuilder(pieces=[Piece(0x3FF000, ImageBuilder().header(), 0x2000)]).build(),
        "outside the 4096 KiB of RAM",
    ),
    "wrap": (
        ImageBuilder(pieces=[Piece(0xFFFFF000, ImageBuilder().header(), 0x2000)]).build(),
        "passes the end of 4 GiB",
    ),
    "overlap": (
        ImageBuilder(
            pieces=[
                Piece(0x102000, b"b", 0x1000),
                Piece(0x100000, ImageBuilder().header() + bytes(64), 0x2001),
            ]
        ).build(),
        "segments at 0x100000 and 0x102000 overlap",
    ),
    "nothing": (
        ImageBuilder(pieces=[Piece(0x100000, b"")]).build(),
        "has no loadable segment",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_image_is_one_sentence_and_leaves_ram_alone(case: str) -> None:
    image, sentence = WRONG[case]
    memory = Memory(4 * MIB)
    with pytest.raises(ImageError, match=sentence) as caught:
        load(memory, image, name="dir/guest.img")
    assert str(caught.value).startswith("dir/guest.img: ")
    assert "\n" not in str(caught.value)
    assert not any(memory.view[0x100000:0x104000])


def test_module_too_large_names_the_module() -> None:
    with pytest.raises(ImageError, match=r"^web\.cpio: .* do not fit"):
        boot(ImageBuilder().build(), modules=[(bytes(4 * MIB), "web.cpio")])


@pytest.mark.parametrize("words", ["a\0b", "x" * 5000])
def test_command_line_that_cannot_be_passed_is_a_configuration_error(words: str) -> None:
    with pytest.raises(ConfigError, match="--append"):
        boot(ImageBuilder().build(), words=words)


GOOD = ImageBuilder(header_padding=8).build()


@given(st.data())
def test_mutated_images_load_or_are_refused(data: st.DataObject) -> None:
    """Whatever bytes an image has, the worst that happens is an error meant for a person."""
    image = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(image) - 1))
        image[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(image)), st.integers(0, len(image))))
    try:
        boot(bytes(image[:cut]), ram=2 * MIB)
        _ = Elf(bytes(image[:cut]), "guest.img").entry_address()
    except LeuloError as error:
        assert isinstance(error, ImageError)
