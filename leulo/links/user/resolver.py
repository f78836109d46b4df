"""The host's resolvers, from /etc/resolv.conf, read again when the file changes.

Nothing is looked up here: a name server's address is written as numbers. [Linux resolv.conf(5)]
"""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any, Final

RESOLV_CONF: Final = Path("/etc/resolv.conf")
MOST: Final = 3  # name servers that are used, as libc does
PORT: Final = 53
_MOST_BYTES: Final = 65_536

# An address family and what connect() takes.
Server = tuple[int, Any]


class Resolvers:
    """Name servers of the host."""

    def __init__(self, path: Path = RESOLV_CONF) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._servers: list[Server] = []

    def servers(self) -> list[Server]:
        """At most three, in the order of the file; none if there is no file."""
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                with self._path.open("rb") as file:
                    text = file.read(_MOST_BYTES).decode(errors="replace")
                self._servers = parse(text)
                self._stamp = stamp
        except OSError:
            self._stamp = None
            self._servers = []
        return self._servers


def parse(text: str) -> list[Server]:
    """The ``nameserver`` lines of a resolv.conf; what is no address is left out."""
    servers: list[Server] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver" or len(servers) == MOST:
            continue
        try:
            address = ipaddress.ip_address(words[1])
            if isinstance(address, ipaddress.IPv4Address):
                servers.append((socket.AF_INET, (str(address), PORT)))
            else:
                name, _, scope = str(address).partition("%")
                index = _interface_index(scope) if scope else 0
                servers.append((socket.AF_INET6, (name, PORT, 0, index)))
        except (ValueError, OSError):
            continue
    return servers


def _interface_index(scope: str) -> int:
    return int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
