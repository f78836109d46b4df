"""A capture of the host's switch as a pcapng file. [pcapng 4]

Every frame that enters the switch is written once, with the clock's time: what a machine sends
as outbound, what a link delivers as inbound. Checksums that were left to the link are filled, so
that Wireshark does not complain of them; super-segments are written as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from leulo.clock import Clock
from leulo.errors import EnvironmentProblem
from leulo.links.base import VNET_HDR_BYTES
from leulo.links.offload import complete
from leulo.links.switch import Frame
from leulo.net import pcapng
from leulo.net.wire import checksum

_BUFFER_BYTES: Final = 1 << 18


class Capture:
    """Give `record` to `Switch.watch`. ``epoch_ns`` is the wall time of the clock's zero, so
    that Wireshark shows real dates; 0 keeps a virtual run's file the same every time."""

    def __init__(
        self, path: Path, clock: Clock, epoch_ns: int = 0, application: str = "Leulo"
    ) -> None:
        """Raises EnvironmentProblem if the file cannot be made."""
        self.path = path
        self.frames = 0
        self._clock = clock
        self._epoch_ns = epoch_ns
        self._comment = ""
        checksum.prepare()
        try:
            self._file: BinaryIO | None = open(path, "wb", _BUFFER_BYTES)  # noqa: SIM115
        except OSError as error:
            raise self._problem(error) from error
        self._write(pcapng.section_header(application) + pcapng.interface("leulo"))

    def record(self, frames: Sequence[Frame], from_link: bool, now_ns: int) -> None:
        """Write frames. Raises EnvironmentProblem if the file cannot take them."""
        direction = pcapng.INBOUND if from_link else pcapng.OUTBOUND
        time_ns = self._epoch_ns + now_ns
        for frame in frames:
            parts = complete((frame,) if isinstance(frame, bytes) else frame)
            parts = (parts[0][VNET_HDR_BYTES:], *parts[1:])
            length = sum(len(part) for part in parts)
            comment, self._comment = self._comment, ""
            self._write(pcapng.packet(0, time_ns, parts, length, direction, comment))
            self.frames += 1

    def comment(self, text: str) -> None:
        """Attach a comment to the next frame, behind those that wait for it as far as there is
        room."""
        comment = f"{self._comment}; {text}" if self._comment else text
        self._comment = comment[: pcapng.MAX_COMMENT_BYTES]

    def flush(self) -> None:
        """Bring everything recorded so far into the file. Raises EnvironmentProblem."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                raise self._abandon(error) from error

    def close(self) -> None:
        """Write the end and close; a second call does nothing. Raises EnvironmentProblem."""
        if self._file is None:
            return
        self._write(pcapng.statistics(0, self._epoch_ns + self._clock.now_ns(), self.frames, 0))
        self.flush()
        self._file.close()
        self._file = None

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        if self._file is None:
            return
        try:
            self._file.write(data)
        except OSError as error:
            raise self._abandon(error) from error

    def _abandon(self, error: OSError) -> EnvironmentProblem:
        """Give the file up, so that the error is reported once."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # its buffer cannot be written either: the same problem
                file.close()
        return self._problem(error)

    def _problem(self, error: OSError) -> EnvironmentProblem:
        return EnvironmentProblem(
            f"--pcap {self.path}: cannot be written: {error.strerror}. "
            "Name a file in a directory of yours, on a disk with room."
        )
