"""Checks one HTTP response byte by byte while it arrives. Sans-IO.

The body of ``/bytes/N`` is known: lines of 16 bytes, each its own offset as 15 hexadecimal digits
and a newline, cut at N. Of any other path only status and length are checked. The server is
hostile: headers have a bound and nothing of a body is kept. [RFC 9112 6.3]
"""

from __future__ import annotations

import re
from typing import Final

from leulo.state import State, load_fields, save_fields

MAX_HEADER_BYTES: Final = 16_384
LINE_BYTES: Final = 16


def expected_length(path: str) -> int | None:
    """N of ``/bytes/N``; None for another path."""
    match = re.fullmatch(r"/bytes/([0-9]{1,15})", path)
    return int(match[1]) if match else None


def expected_bytes(offset: int, length: int) -> bytes:
    """The bytes of an endless ``/bytes`` body from ``offset`` on."""
    first = offset // LINE_BYTES
    last = -(-(offset + length) // LINE_BYTES)
    lines = b"".join(b"%015x\n" % (line * LINE_BYTES) for line in range(first, last))
    begin = offset - first * LINE_BYTES
    return lines[begin : begin + length]


class Response:
    """Feed it what arrives; then ask ``is_complete``, ``error`` and the rest."""

    FIELDS: Final = (
        "status",
        "body_bytes",
        "error",
        "is_complete",
        "keeps_connection",
        "is_in_body",
        "left",
    )

    def __init__(self, path: str) -> None:
        self.status = 0
        self.body_bytes = 0
        self.error = ""  # what was wrong, in a few words
        self.is_complete = False
        self.keeps_connection = True
        self._known = expected_length(path)
        self._head = bytearray()
        self.is_in_body = False
        self.left: int | None = None  # bytes of the body to come; None: until the end

    def feed(self, data: bytes) -> None:
        """The next bytes. After an error or the end everything is ignored or an error."""
        if self.error or not data:
            return
        if self.is_complete:
            self.error = "bytes after the response"
            return
        if self.is_in_body:
            self._check(data)
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > MAX_HEADER_BYTES:
                self.error = "endless headers"
            return
        head, body = bytes(self._head[:end]), bytes(self._head[end + 4 :])
        self._head.clear()
        self.is_in_body = True
        self._parse(head)
        if not self.error:
            self.is_complete = self.left == 0
            if body:
                self.feed(body)

    def finish(self) -> None:
        """The connection has ended: is that the end of the response?"""
        if self.is_complete or self.error:
            return
        if self.is_in_body and self.left is None:
            self.is_complete = True
            self.keeps_connection = False
            if self._known is not None and self.body_bytes != self._known:
                self.error = f"{self.body_bytes} bytes of body, not {self._known}"
        else:
            self.error = "the connection ended inside the response"

    def save(self) -> State:
        return {**save_fields(self, 1, self.FIELDS), "head": bytes(self._head)}

    def load(self, state: State) -> None:
        load_fields(self, 1, self.FIELDS, state)
        self._head[:] = state["head"]

    def _parse(self, head: bytes) -> None:
        status_line, *lines = head.split(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: .*)?", status_line)
        if match is None:
            self.error = "no HTTP status line"
            return
        self.keeps_connection = match[1] == b"1"
        self.status = int(match[2])
        for line in lines:
            name, colon, value = line.partition(b":")
            value = value.strip()
            if not colon:
                self.error = "a header without a colon"
            elif name.lower() == b"content-length":
                if not re.fullmatch(rb"[0-9]{1,15}", value):
                    self.error = "no number in Content-Length"
                    return
                self.left = int(value)
            elif name.lower() == b"connection":
                self.keeps_connection = value.lower() == b"keep-alive" or (
                    self.keeps_connection and value.lower() != b"close"
                )
            elif name.lower() == b"transfer-encoding":
                self.error = "a transfer encoding, which nobody asked for"
        if self.error:
            return
        if self.status != 200:
            self.error = f"status {self.status}"
        elif self._known is not None and self.left not in (None, self._known):
            self.error = f"Content-Length {self.left}, not {self._known}"

    def _check(self, data: bytes) -> None:
        if self.left is not None:
            if len(data) > self.left:
                self.error = "bytes after the response"
                return
            self.left -= len(data)
        if self._known is not None and data != expected_bytes(self.body_bytes, len(data)):
            self.error = f"a wrong byte after {self.body_bytes} of body"
            return
        self.body_bytes += len(data)
        self.is_complete = self.left == 0
