"""Files in a finished image: what is put in comes out, the result boots here and on QEMU, and
hostile images, folders and names are one sentence.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from bare_machine import Outcome, run, run_qemu
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from leulo import image, image_files
from leulo.cli.image import command
from leulo.cli.images import read_image
from leulo.errors import ImageError

pytestmark = pytest.mark.compiler
TYPED = "ls /\ncat /www/new/a.txt\nhello\ncat /etc/motd | wc\npoweroff\n"
HELLO = """#include <stdio.h>
int main(void) { printf("hello from outside\\n"); return 0; }
"""


@pytest.fixture(scope="session")
def changed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image with a folder, a program and a file added by the command, in three steps."""
    folder = tmp_path_factory.mktemp("changed")
    made = folder / "mine.img"
    (folder / "hello.c").write_text(HELLO)
    image.build_program([folder / "hello.c"], folder / "hello")
    (folder / "site" / "new").mkdir(parents=True)
    (folder / "site" / "new" / "a.txt").write_text("a file of mine\n")
    (folder / "motd").write_bytes(b"line\n" * 20_000)
    for arguments in (
        [built / "guest.img", folder / "site", "-o", made],
        [made, folder / "hello"],
        [made, folder / "motd", "--to", "/etc/motd"],
    ):
        words = ["add", *map(str, arguments)]
        result = CliRunner().invoke(command, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return made


@pytest.mark.parametrize("machine", [run, pytest.param(run_qemu, marks=pytest.mark.qemu)])
def test_a_changed_image_boots(changed: Path, machine: Callable[..., Outcome]) -> None:
    outcome = machine(changed, append="init=/bin/sh", typed=TYPED)
    assert {"etc/", "a file of mine", "hello from outside", "20000 lines, 100000 bytes"} <= set(
        outcome.lines
    )
    assert outcome.status == 0


def test_what_is_put_in_comes_out(built: Path, changed: Path) -> None:
    before = image_files.read_files((built / "guest.img").read_bytes(), "guest.img")
    after = image_files.read_files(changed.read_bytes(), "mine.img")
    assert before.items() <= after.items()
    assert set(after) - set(before) == {"www/new/a.txt", "bin/hello", "etc/motd"}
    again = image_files.with_files(changed.read_bytes(), "mine.img", before)
    assert image_files.read_files(again, "again") == before
    assert len(again) < changed.stat().st_size  # the old archive is dropped, not kept


def test_ls_shows_paths_and_sizes(changed: Path) -> None:
    result = CliRunner().invoke(command, ["ls", str(changed)])
    assert "   100000  /etc/motd" in result.output.splitlines()


def test_www_takes_the_place_of_the_page(built: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("secret")
    data, name = read_image(built / "guest.img", tmp_path)
    files = image_files.read_files(data, name)
    assert files["www/index.html"] == b"mine"
    assert [path for path in files if path.startswith("www/")] == ["www/index.html"]
    assert "bin/httpd" in files


def _bad_folders(folder: Path) -> dict[str, tuple[Path, str]]:
    for name in ("outward", "loop", "deep", "control", "fifo", "large"):
        (folder / name).mkdir()
    (folder / "secret").write_text("secret")
    (folder / "outward" / "link").symlink_to(folder / "secret")
    (folder / "loop" / "link").symlink_to("link")
    deep = folder / "deep" / ("d" * 120)
    deep.mkdir()
    (deep / ("f" * 120)).write_text("")
    (folder / "control" / "line\nfeed").write_text("")
    import os

    os.mkfifo(folder / "fifo" / "pipe")
    (folder / "large" / "file").write_bytes(bytes(9 << 20))
    return {
        "outward": (folder / "outward", "leads out of the folder"),
        "loop": (folder / "loop", "cannot be read"),
        "deep": (folder / "deep", "longer than 230 bytes"),
        "control": (folder / "control", "cannot be printed"),
        "fifo": (folder / "fifo", "not a regular file"),
        "large": (folder / "large", "larger --mem"),
        "none": (folder / "none", "not a folder"),
        "file": (folder / "secret", "not a folder"),
    }


def test_hostile_folders_are_one_sentence(built: Path, tmp_path: Path) -> None:
    for name, (folder, words) in _bad_folders(tmp_path).items():
        with pytest.raises(ImageError, match=words) as caught:
            read_image(built / "guest.img", folder)
        assert "\n" not in str(caught.value), name
        assert str(caught.value).startswith("--www"), name


@pytest.mark.parametrize("to", ["/www", "/www/index.html/deep"])
def test_no_path_is_a_file_and_a_folder(built: Path, tmp_path: Path, to: str) -> None:
    made, added = tmp_path / "mine.img", tmp_path / "x"
    added.write_text("x")
    words = ["add", str(built / "guest.img"), str(added), "-o", str(made), "--to", to]
    result = CliRunner().invoke(command, words)
    assert isinstance(result.exception, ImageError)
    assert "in a folder of that name" in str(result.exception)
    assert not made.exists()
    words[-1] = "/www/"
    assert CliRunner().invoke(command, words, catch_exceptions=False).exit_code == 0


def test_only_files_are_replaced(built: Path, tmp_path: Path) -> None:
    """A pipe (or a device, for root) stays one, a link stays one, a mode stays."""
    added = tmp_path / "x"
    added.write_text("x")
    kept, link, pipe = tmp_path / "kept.img", tmp_path / "link.img", tmp_path / "pipe"
    kept.write_bytes(b"before")
    kept.chmod(0o640)
    link.symlink_to(kept)
    words = ["add", str(built / "guest.img"), str(added), "-o"]
    CliRunner().invoke(command, [*words, str(link)], catch_exceptions=False)
    assert link.is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o640
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    CliRunner().invoke(command, [*words, str(pipe)], catch_exceptions=False)
    assert pipe.is_fifo()
    reader.join(10)
    assert read == [kept.read_bytes()]


@pytest.mark.parametrize("path", ["", "/", "/www/../x", "a//b", "./a", "a\tb", "x" * 300])
def test_hostile_paths_are_refused(path: str) -> None:
    with pytest.raises(ImageError):
        image_files.check_path(path, "origin")


def test_programs_for_other_systems_are_refused(built: Path, tmp_path: Path) -> None:
    kernel = (built / "guest.img").read_bytes()
    with pytest.raises(ImageError, match=r"lie from 0x40000000 on"):
        image_files.check_program(kernel, "guest.img")
    with pytest.raises(ImageError, match="no image of Leulo's guest"):
        image_files.read_files((built / "sh.elf").read_bytes(), "sh.elf")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_damaged_images_are_sentences(built: Path, seed: int) -> None:
    """Whatever bytes are changed around headers, mark and archive: an ImageError, or files."""
    rng = random.Random(seed)
    data = bytearray((built / "guest.img").read_bytes())
    mark = data.find(b"LULOCPIO")
    places = (0, 52, mark, mark + 8, mark + 16, len(data) - 4000)
    for _ in range(rng.randrange(1, 5)):
        data[rng.choice(places) + rng.randrange(16)] = rng.randrange(256)
    try:
        files = image_files.read_files(bytes(data), "damaged")
        image_files.with_files(bytes(data), "damaged", {**files, "www/x": b"x"})
    except ImageError as error:
        assert "\n" not in str(error)


@settings(max_examples=200, deadline=None)
@given(archive=st.binary(max_size=400), at=st.integers(0, 300), text=st.binary(max_size=8))
def test_damaged_archives_are_sentences(archive: bytes, at: int, text: bytes) -> None:
    whole = bytearray(image.pack_cpio({"www/a": b"content", "www/b": archive}))
    whole[at : at + len(text)] = text
    for damaged in (bytes(whole), archive):
        try:
            image_files._unpack(damaged, "archive")
        except ImageError as error:
            assert "damaged" in str(error)


def test_what_was_added_is_told_as_json(built: Path, tmp_path: Path) -> None:
    made, page = tmp_path / "mine.img", tmp_path / "index.html"
    page.write_text("mine")
    (tmp_path / "new.txt").write_text("new one")
    words = ["add", str(built / "guest.img"), str(page), str(tmp_path / "new.txt")]
    result = CliRunner().invoke(command, [*words, "-o", str(made), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["path"], told["bytes"]) == (str(made), made.stat().st_size)
    assert told["added"] == {"/www/index.html": 4, "/www/new.txt": 7}
    before = image_files.read_files((built / "guest.img").read_bytes(), "guest.img")
    assert told["replaced"] == ["/www/index.html"] * ("www/index.html" in before)
    assert told["files"] == len(before.keys() | {"www/index.html", "www/new.txt"})


@pytest.mark.parametrize("to", ["/tmp", "/tmp/page.html", "/proc/"])
def test_where_the_guest_would_not_see_it_nothing_is_put(
    built: Path, tmp_path: Path, to: str
) -> None:
    page = tmp_path / "page.html"
    page.write_text("hello")
    arguments = ["add", str(built / "guest.img"), str(page), "--to", to]
    result = CliRunner().invoke(command, [*arguments, "-o", str(tmp_path / "mine.img")])
    assert isinstance(result.exception, ImageError)
    assert "the guest makes that folder itself" in str(result.exception)
    assert not (tmp_path / "mine.img").exists()


def test_a_pipe_that_nobody_writes_is_refused(built: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    arguments = ["add", str(built / "guest.img"), str(tmp_path / "pipe")]
    result = CliRunner().invoke(command, [*arguments, "-o", str(tmp_path / "mine.img")])
    assert isinstance(result.exception, ImageError)
    assert "is a pipe" in str(result.exception)
