"""This computer's own processor as a judge of SSE: executes what a test gives it, and says.

    python host_sse.py < QUESTIONS > ANSWERS

One JSON list of questions, one of answers, in hexadecimal where they are bytes. ``[code, data]``:
execute the code with RSI at the data and RCX as given in its first 8 bytes; the answer is the data
afterwards, or null where the processor refused. 128 KiB from the data's start memory ends. Each
question is executed in a process of its own.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import struct
import sys

# From Linux's headers; below 4 GiB an address is the same in code of 32 and of 64 bits.
MAP_32BIT = 0x40
CODE, DATA, STATE, END, BYTES = 0, 0x10000, 0xF000, 0x30000, 0x31000


def execute(low: int, code: bytes, data: bytes) -> bytes | None:
    """What the processor makes of ``data``; None if it is an exception that ends it."""
    # stmxcsr [rdi]; ...; ldmxcsr [rdi]; emms; ret
    code = bytes.fromhex("0fae1f") + code + bytes.fromhex("0fae170f77c3")
    count = struct.unpack_from("<Q", data)[0]
    ctypes.memmove(low + CODE, code, len(code))
    ctypes.memmove(low + DATA, data[8:], len(data) - 8)
    child = os.fork()
    if child == 0:
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_uint64] * 4)(low + CODE)
        function(low + STATE, low + DATA, 0, count)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return ctypes.string_at(low + DATA, len(data) - 8) if status == 0 else None


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    low = libc.mmap(None, BYTES, rights, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_32BIT, -1, 0)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if libc.mprotect(low + END, BYTES - END, 0):
        sys.exit("mprotect")
    answers = []
    for code, data in json.load(sys.stdin):
        answer = execute(low, bytes.fromhex(code), bytes.fromhex(data))
        answers.append(None if answer is None else answer.hex())
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
