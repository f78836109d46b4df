"""``--pcap`` and the guest's marks: what a guest says of itself stands beside what it sends.

The guest is four calls and a loop: it greets, says two texts and waits until a frame has come.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from struct import pack

from scapy.utils import RawPcapNgReader

from leulo.bench import guests
from leulo.hypercalls import abi

HELLO, GREETING, TEXT = (guests._DATA + at for at in (0x100, 0x200, 0x700))
MARKS = (guests._DATA + 0x300, guests._DATA + 0x400)
TEXTS = (b"first", b"last")


def image() -> bytes:
    data = bytearray(4096)

    def put(address: int, content: bytes) -> None:
        at = address - guests._DATA
        data[at : at + len(content)] = content

    put(GREETING, pack("<II", abi.HELLO.size, abi.VERSION))
    put(HELLO, pack("<HH", abi.Op.HELLO, abi.CALL_BYTES))
    put(HELLO + abi.ARGS_OFFSET, pack("<Q", GREETING))
    for place, at, text in zip(MARKS, (TEXT, TEXT + 16), TEXTS, strict=True):
        put(at, text)
        put(place, pack("<HH", abi.Op.TRACE_MARK, abi.CALL_BYTES))
        put(place + abi.ARGS_OFFSET, pack("<QQ", at, len(text)))
    calls = (b"\xb8" + pack("<I", at) + b"\xef" for at in (HELLO, *MARKS))  # mov eax, at; out
    code = (
        guests._PAGING
        + b"\x66\xba" + pack("<H", abi.GATE_PORT)  # mov dx, GATE_PORT
        + b"".join(calls)
        + b"\xb9" + pack("<I", 5_000_000) + b"\x49\x75\xfd"  # mov ecx, ...; dec ecx; jnz
        + guests._END
    )  # fmt: skip
    return guests._image(code, bytes(data))


def test_a_mark_is_a_comment_on_the_next_frame(tmp_path: Path) -> None:
    (tmp_path / "guest.img").write_bytes(image())
    capture = tmp_path / "run.pcapng"
    words = ["boot", str(tmp_path / "guest.img"), "--pcap", str(capture)]
    flags = ["--net", "sim:requests=1", "--clock", "virtual", "--timeout", "20"]
    run = subprocess.run(
        [sys.executable, "-m", "leulo", *words, *flags],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    with RawPcapNgReader(str(capture)) as reader:
        comments = [says.comments for _, says in reader]
    assert [found for found in comments if found] == [[b"first; last"]]
