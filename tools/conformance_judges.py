"""Who judges the conformance kernel: QEMU, mended and as shipped or by KVM, and Bochs.

Each runs the image with some words for its command line and returns what it sent to the serial
port, with `` shutdown`` behind it if that was a triple fault; all is over after a minute at most.

QEMU 7.2 has errors that the kernel finds. qemu-7.2.patch beside the kernel mends them, and
tools/mended_qemu.py builds that QEMU, which takes its firmware from the one that is installed.

Bochs is a second opinion: an x86 of other people's, without QEMU's code and with what costs too
much there (limits of segments, #AC, RF, the EXT bit). It has no loader, so the kernel goes into the
BIOS's place: a ROM with the image and the few instructions that copy it and enter protected mode.
"""

from __future__ import annotations

import hashlib
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Final

SECONDS: Final = 60
_ROOT: Final = Path(__file__).resolve().parent.parent
PATCH: Final = _ROOT / "tests" / "cpu" / "conformance" / "qemu-7.2.patch"
QEMU: Final = "qemu-system-i386"
BOCHS: Final = "bochs-bin"  # Debian: bochs, and bochs-term for a display that is none
# Another patch is another program.
MENDED: Final = (
    _ROOT / "build" / "qemu" / f"{QEMU}-{hashlib.sha256(PATCH.read_bytes()).hexdigest()[:12]}"
)
NAMES: Final = {
    "mended": "mended QEMU",
    "qemu": "QEMU",
    "bochs": "Bochs",
    "kvm": "QEMU with KVM",
}
WHENCE: Final = {
    "mended": "python tools/mended_qemu.py builds it",
    "qemu": "Debian: qemu-system-x86",
    "bochs": "Debian: bochs-term",
    "kvm": "Debian: qemu-system-x86, and /dev/kvm",
}
_MEMORY_MIB: Final = 32

_ROM_BYTES: Final = 128 << 10
_ROM: Final = 0xE0000  # the same again below 4 GiB, where a processor begins
_KERNEL: Final = 0x100000
_HEAD: Final = 0xFF000  # in the ROM, behind the image: tables, words, code
_GDT, _INFO, _WORDS, _CODE, _START = 0x08, 0x80, 0x100, 0x800, 0x900
_MAGIC: Final = 0x2BADB002
_HAS_WORDS: Final = 4  # multiboot's flag

# Bochs gives NX only to a processor of 64 bits, and to that SYSENTER, too.
_BOCHS_CPU: Final = "level=6, x86_64=1, mmx=1, sep=1, simd=sse3, apic=xapic"
_BOCHS_WITHOUT_SEP: Final = (
    "level=6, x86_64=0, vmx=0, mmx=1, sep=0, simd=sse3, apic=xapic, xsave=0, aes=0, movbe=0"
)
WITHOUT_SEP: Final = ("sysenter_hidden", "sysexit_hidden")  # cases that ask for such a processor
_TRIPLE_FAULT: Final = "exception with no resolution"


class JudgeError(Exception):
    """The judge could not be run or did not come to the kernel's end."""


def is_there(judge: str) -> bool:
    """Whether it is installed, and, for KVM, whether the computer offers it."""
    if judge == "bochs":
        return shutil.which(BOCHS) is not None and _has_terminal()
    if shutil.which(QEMU) is None:
        return False
    if judge == "mended":  # one that does not start, as after an upgrade of libraries, is not there
        return "version" in _help(judge)
    return judge != "kvm" or os.access("/dev/kvm", os.W_OK)


@cache
def version(judge: str) -> str:
    """What is installed, as in "7.2"; judges differ between their versions."""
    found = re.search(r"(?:Emulator|version) (\d+\.\d+)", _help(judge))
    return found[1] if found else "of an unknown version"


@cache
def _help(judge: str) -> str:
    command = [BOCHS, "--help"] if judge == "bochs" else [_program(judge), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except OSError:
        return ""
    return done.stdout + done.stderr if judge == "bochs" or not done.returncode else ""


def _program(judge: str) -> str:
    return str(MENDED) if judge == "mended" else QEMU


@cache
def _firmware() -> tuple[str, ...]:
    """The flags that name the folders of the installed QEMU's firmware."""
    said = subprocess.run([QEMU, "-L", "help"], capture_output=True, text=True, check=False).stdout
    return tuple(word for folder in said.split() for word in ("-L", folder))


def _has_terminal() -> bool:
    """Whether Bochs has the display that needs none: it says where its parts are."""
    found = re.search(r"compile time default '([^']+)'", _help("bochs"))
    return found is None or any(Path(found[1]).glob("libbx_term_gui.so*"))


def run(judge: str, image: Path, words: str = "") -> str:
    """The kernel's output. Raises `JudgeError`."""
    with tempfile.TemporaryDirectory() as folder:
        if judge == "bochs":
            return _run_bochs(Path(folder), image.read_bytes(), words)
        return _run_qemu(Path(folder), judge, image, words)


def _run_qemu(folder: Path, judge: str, image: Path, words: str) -> str:
    """QEMU ends at debug exit or, with -no-reboot, at a shutdown."""
    accelerator, model = ("kvm", "host") if judge == "kvm" else ("tcg", "qemu64,-sep")
    output = folder / "serial"
    firmware = _firmware() if judge == "mended" else ()
    command = [
        *(_program(judge), *firmware, "-machine", "pc", "-cpu", model, "-m", str(_MEMORY_MIB)),
        *("-accel", accelerator, "-display", "none", "-monitor", "none", "-no-reboot"),
        *("-serial", f"file:{output}", "-net", "none"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        *("-kernel", str(image), "-append", words),
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise JudgeError(f"QEMU hangs after: {output.read_text()[-200:]}") from None
    text = output.read_text() if output.exists() else ""
    if done.returncode == 0:
        if not text:
            raise JudgeError(f"{NAMES[judge]} shuts down before the kernel says anything")
        return text + " shutdown\n"
    if done.returncode != 1:
        raise JudgeError(f"{NAMES[judge]} failed ({done.returncode}): {done.stderr.decode()}")
    return text


# ---------------------------------------------------------------- Bochs


def _run_bochs(folder: Path, image: bytes, words: str) -> str:
    """It is ended when the kernel has said its last word; at a triple fault it gives up itself."""
    model = _BOCHS_WITHOUT_SEP if words.removeprefix("only=") in WITHOUT_SEP else _BOCHS_CPU
    output, log = folder / "serial", folder / "log"
    (folder / "rom").write_bytes(rom(image, words))
    (folder / "video").write_bytes(bytes(512))  # it wants one
    (folder / "commands").write_text("continue\nquit\n")
    (folder / "configuration").write_text(
        f"""plugin_ctrl: unmapped=1, biosdev=0, speaker=0, extfpuirq=1, parallel=0, serial=1
config_interface: textconfig
display_library: term
memory: guest={_MEMORY_MIB}, host={_MEMORY_MIB}
romimage: file={folder}/rom
vgaromimage: file={folder}/video
vga: extension=none
cpu: model=bx_generic, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
cpuid: {model}
clock: sync=none, time0=1
com1: enabled=1, mode=file, dev={output}
floppya: type=none
ata0: enabled=0
pci: enabled=0
log: {log}
panic: action=fatal
"""
    )
    command = [BOCHS, "-q", "-f", f"{folder}/configuration", "-rc", f"{folder}/commands"]
    terminal, its_end = pty.openpty()
    environment = {**os.environ, "TERM": "vt100"}
    process = subprocess.Popen(
        command, stdin=its_end, stdout=its_end, stderr=its_end, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(its_end)
    try:
        said = _watch(process, terminal, output)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    text = _read(output)
    if process.returncode > 0 and _TRIPLE_FAULT in _read(log):
        return text + " shutdown\n"
    if not text.endswith("end\n"):
        raise JudgeError(f"Bochs does not go on after: {text[-200:]!r}; it says: {said[-500:]}")
    return text


def _watch(process: subprocess.Popen[bytes], terminal: int, output: Path) -> str:
    """Wait for the kernel's end, the process's or the time's; what was on the terminal."""
    said = b""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends and process.poll() is None:
        if _read(output).endswith("end\n"):
            break
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                said += os.read(terminal, 65536)
            except OSError:  # nobody has the other end any more
                process.wait(SECONDS)
    return said.decode(errors="replace")


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def rom(image: bytes, words: str) -> bytes:
    """A ROM that puts the kernel where it belongs and starts it as a multiboot loader would."""
    entry, table = struct.unpack_from("<II", image, 24)
    (count,) = struct.unpack_from("<H", image, 44)
    flat = bytearray()
    for number in range(count):
        kind, offset, _, place, size = struct.unpack_from("<5I", image, table + 32 * number)
        if kind == 1 and size:
            at = place - _KERNEL
            flat.extend(bytes(max(0, at + size - len(flat))))
            flat[at : at + size] = image[offset : offset + size]
    flat.extend(bytes(-len(flat) % 4))
    if len(flat) > _HEAD - _ROM:
        raise JudgeError(f"the kernel has {len(flat)} bytes: too many for the ROM")

    found = bytearray(b"\xff" * _ROM_BYTES)

    def put(place: int, data: bytes) -> None:
        found[place - _ROM : place - _ROM + len(data)] = data

    put(_ROM, bytes(flat))
    put(_HEAD, struct.pack("<HI", 23, _HEAD + _GDT))
    put(_HEAD + _GDT, struct.pack("<QQQ", 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF))
    put(_HEAD + _INFO, struct.pack("<I12xI", _HAS_WORDS, _HEAD + _WORDS))
    put(_HEAD + _WORDS, words.encode() + b"\0")
    # mov ax, 16; mov ds, ax; mov es, ax; mov fs, ax; mov gs, ax; mov ss, ax; cld
    # mov esi, ROM; mov edi, kernel; mov ecx, size; rep movsd
    # mov eax, magic; mov ebx, information; mov ecx, entry; jmp ecx
    code = bytes.fromhex("66b810008ed88ec08ee08ee88ed0fc")
    code += struct.pack("<BIBIBI", 0xBE, _ROM, 0xBF, _KERNEL, 0xB9, len(flat) // 4) + b"\xf3\xa5"
    code += struct.pack("<BIBIBI", 0xB8, _MAGIC, 0xBB, _HEAD + _INFO, 0xB9, entry) + b"\xff\xe1"
    put(_HEAD + _CODE, code)
    # cli; lgdt cs:[head]; mov eax, cr0; or al, 1; mov cr0, eax; jmp 8:code
    start = b"\xfa\x2e\x66\x0f\x01\x16" + struct.pack("<H", _HEAD & 0xFFFF)
    start += bytes.fromhex("0f20c00c010f22c066ea") + struct.pack("<IH", _HEAD + _CODE, 8)
    put(_HEAD + _START, start)
    # Where a processor begins: jmp F000:start
    put(0xFFFF0, b"\xea" + struct.pack("<HH", (_HEAD + _START) & 0xFFFF, 0xF000))
    return bytes(found)
