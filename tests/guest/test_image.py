"""The image: the same bytes everywhere, a multiboot header where loaders look, honest errors."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from leulo import image
from leulo.errors import EnvironmentProblem, ImageError
from leulo.packaged import packaged

MULTIBOOT_MAGIC = 0x1BADB002
pytestmark = pytest.mark.compiler


def test_another_directory_gives_the_same_bytes(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "another place" / "guest_kernel"
    shutil.copytree(image.SOURCES, copy)
    monkeypatch.setattr(image, "SOURCES", copy)
    monkeypatch.chdir(tmp_path)
    again = image.build(tmp_path / "output")
    for name in ("guest.img", "guest.elf", "guest.sym", "guest.lst", "httpd.elf"):
        assert (built / name).read_bytes() == (again.parent / name).read_bytes(), name
    assert str(tmp_path).encode() not in (built / "guest.elf").read_bytes()


def test_the_multiboot_header_is_in_the_first_8_kib(built: Path) -> None:
    start = (built / "guest.img").read_bytes()[:8192]
    words = struct.unpack(f"<{len(start) // 4}I", start)
    at = words.index(MULTIBOOT_MAGIC)
    assert sum(words[at : at + 3]) % (1 << 32) == 0


def test_the_digest_beside_the_image_is_its_own(built: Path) -> None:
    assert (built / "guest.sha256").read_text().split()[0] == image.sha256_of(built / "guest.img")


def test_this_build_is_the_reference(built: Path) -> None:
    assert image.is_reference(built / "guest.img"), (
        "the guest has changed: run `leulo image build --set-reference` and commit the new hash"
    )


def test_a_changed_image_is_not_the_reference(built: Path, tmp_path: Path) -> None:
    data = bytearray((built / "guest.img").read_bytes())
    data[-1] ^= 1
    (tmp_path / "guest.img").write_bytes(data)
    assert not image.is_reference(tmp_path / "guest.img")


def test_every_section_of_the_kernel_has_one_right(built: Path) -> None:
    """No segment may be written and executed: paging gives rights by these borders."""
    data = (built / "guest.img").read_bytes()
    (table,) = struct.unpack_from("<I", data, 28)
    entry_bytes, count = struct.unpack_from("<HH", data, 42)
    flags = [struct.unpack_from("<8I", data, table + n * entry_bytes)[6] for n in range(count)]
    assert sorted(flags) == [4, 5, 6]


def test_symbols_name_the_functions_of_the_kernel(built: Path) -> None:
    symbols = dict(
        reversed(line.split(" ")) for line in (built / "guest.sym").read_text().splitlines()
    )
    assert {"_start", "kernel_main", "syscall_dispatch", "panic", "memcpy"} <= set(symbols)
    assert int(symbols["_start"], 16) >= 0x100000


def test_the_listing_puts_source_lines_and_instructions_together(built: Path) -> None:
    listing = (built / "guest.lst").read_text()
    symbols = dict(line.split() for line in (built / "guest.sym").read_text().splitlines())
    headings = dict(re.findall(r"^([0-9a-f]{8}) <(\w+)>:$", listing, re.M))
    del symbols[max(symbols)]  # kernel_text_end has no code
    assert headings == symbols, "every function has its heading, at its address"
    about = re.search(
        r"^; kern/main\.c:\d+  .*\bpaging_init\(.*\n(?:[^;\n].*\n)*?.* call 0x\w+ <paging_init>$",
        listing,
        re.M,
    )
    assert about, "the line that calls, then the call"
    if shutil.which("objdump"):
        dumped = subprocess.run(
            ["objdump", "-d", "-M", "intel", str(built / "guest.elf")],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        theirs = set(re.findall(r"^ *([0-9a-f]+):\t", dumped, re.M))
        ours = {row.lstrip("0") for row in re.findall(r"^([0-9a-f]{8})  ", listing, re.M)}
        assert len(theirs & ours) > 0.98 * len(ours) > 5_000, "the same instructions"


def test_the_kernel_uses_no_floating_point_registers(built: Path) -> None:
    if shutil.which("objdump") is None:
        pytest.skip("needs objdump")
    for name in ("guest.elf", "httpd.elf"):
        listing = subprocess.run(
            ["objdump", "-d", str(built / name)], check=True, capture_output=True, text=True
        ).stdout
        assert not re.search(r"%(xmm|mm|st)\d?", listing), name


def test_the_archive_is_read_by_cpio(tmp_path: Path) -> None:
    if shutil.which("cpio") is None:
        pytest.skip("needs cpio")
    files = {"bin/init": b"program", "www/a/b.txt": b"text\n", "www/empty": b""}
    archive = image.pack_cpio(files)
    assert archive == image.pack_cpio(dict(reversed(files.items())))
    listed = subprocess.run(
        ["cpio", "-it", "--quiet"], input=archive, check=True, capture_output=True
    ).stdout.decode()
    assert listed.split() == ["bin", "bin/init", "www", "www/a", "www/a/b.txt", "www/empty"]


def test_a_compiler_error_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: Path
) -> None:
    wrong = tmp_path / "wrong.c"
    wrong.write_text("int main(void) { return nothing_of_this_name; }\n")
    with pytest.raises(ImageError, match="nothing_of_this_name"):
        image.build_program([wrong], tmp_path / "wrong")


def test_a_missing_compiler_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="no-such-compiler"):
        image.build(tmp_path, "no-such-compiler")


def test_missing_sources_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "SOURCES", tmp_path / "guest_kernel")
    with pytest.raises(EnvironmentProblem, match="checkout"):
        image.build(tmp_path / "out")


def test_no_image_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leulo.packaged.PACKAGED", tmp_path)
    with pytest.raises(ImageError, match="leulo image build"):
        packaged()


@pytest.mark.slow
def test_gcc_builds_it_too(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    probe = subprocess.run(["gcc", "-m32", "-E", "-"], input=b"", capture_output=True)
    if probe.returncode:
        pytest.skip("needs a gcc that knows -m32")
    made = image.build(tmp_path, "gcc")
    assert not image.is_reference(made)


def test_a_folder_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects: `leulo image build -o` somewhere odd is no bug in Leulo."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(image._Work, "image", lambda work: tmp_path / "file")  # nothing to wait for
    with pytest.raises(EnvironmentProblem, match="file/lab: cannot be written: Not a directory"):
        image.build(tmp_path / "file" / "lab")
