"""HTTP as the tests speak it: bodies of ``/bytes/N`` checked to the byte, many clients at once."""

from __future__ import annotations

import socket
from collections.abc import Iterable

LINE_BYTES = 16


def expected_bytes(offset: int, length: int) -> bytes:
    """``length`` bytes from ``offset`` of the body of /bytes/N: lines of their own offset."""
    first = offset // LINE_BYTES
    last = (offset + length + LINE_BYTES - 1) // LINE_BYTES
    text = b"".join(b"%015x\n" % (line * LINE_BYTES) for line in range(first, last))
    start = offset - first * LINE_BYTES
    return text[start : start + length]


def check_body(body: bytes, length: int) -> None:
    """Fail at the first byte that is not as /bytes/``length`` promises."""
    assert len(body) == length, f"{len(body)} bytes, not {length}"
    wanted = expected_bytes(0, length)
    if body != wanted:
        at = next(i for i, (a, b) in enumerate(zip(body, wanted, strict=True)) if a != b)
        raise AssertionError(
            f"byte {at}: {body[max(0, at - 16) : at + 32]!r}, "
            f"not {wanted[max(0, at - 16) : at + 32]!r}"
        )


class Checker:
    """Checks a stream that is too long to keep: feed it pieces in order."""

    def __init__(self) -> None:
        self.count = 0

    def feed(self, piece: bytes) -> None:
        wanted = expected_bytes(self.count, len(piece))
        assert piece == wanted, f"the stream differs within {len(piece)} bytes from {self.count}"
        self.count += len(piece)


def read_response(stream: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One response with a Content-Length: (status, headers in lower case, body)."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(65536)
        assert piece, f"the server closed after {data!r}"
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:])
    }
    pieces = [body]
    left = int(headers["content-length"]) - len(body)
    while left > 0:
        piece = stream.recv(min(left, 1 << 20))
        assert piece, f"the server closed with {left} bytes of the body to come"
        pieces.append(piece)
        left -= len(piece)
    return int(lines[0].split()[1]), headers, b"".join(pieces)


def get(address: tuple[str, int], path: str, headers: Iterable[str] = ()) -> bytes:
    """The body of one GET on a connection of its own. Fails unless the answer is 200."""
    with socket.create_connection(address, timeout=30) as stream:
        lines = [f"GET {path} HTTP/1.1", f"Host: {address[0]}", *headers, "", ""]
        stream.sendall("\r\n".join(lines).encode())
        status, _, body = read_response(stream)
        assert status == 200, f"{path}: {status}"
        return body
