"""The name server of the guest's network: hands each query to the host's resolvers.

A query is passed on as it is, from a socket of its own, and so is the answer; nothing is cached
and nobody waits. A resolver that says nothing gives way to the next; when all have failed, or
there is none, the guest is told SERVFAIL rather than left waiting. [RFC 1035 4.1.1] [RFC 5452 4]
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from leulo.links.poller import IN, Poller
from leulo.links.user.guests import Endpoint, GuestSide
from leulo.links.user.resolver import Resolvers, Server
from leulo.net.wire import Buffer
from leulo.units import NS_PER_MS

MOST_QUERIES: Final = 256  # at once
ATTEMPTS: Final = 3
ATTEMPT_NS: Final = 1500 * NS_PER_MS
_HEADER_BYTES: Final = 12
_ANSWER_BYTES: Final = 65_535
_RESPONSE: Final = 0x80  # QR, in the third byte
_KEPT: Final = 0x79  # opcode and "recursion desired"
_FAILED: Final = 0x82  # "recursion available", SERVFAIL


class _Query:
    __slots__ = ("attempt", "deadline_ns", "guest", "question", "servers", "socket")

    def __init__(self, guest: Endpoint, question: bytes, servers: list[Server]) -> None:
        self.guest = guest
        self.question = question
        self.servers = servers
        self.attempt = 0
        self.deadline_ns = 0
        self.socket: socket.socket | None = None


class NameRelay:
    """``own`` is the address and port that the guest asks."""

    def __init__(
        self,
        own: Endpoint,
        guests: GuestSide,
        poller: Poller,
        resolvers: Resolvers,
        now_ns: Callable[[], int],
        wants_output: Callable[[], None],
    ) -> None:
        self._own = own
        self._guests = guests
        self._poller = poller
        self._resolvers = resolvers
        self._now_ns = now_ns
        self._wants_output = wants_output
        self._queries: dict[_Query, None] = {}  # earliest deadline first
        self.counts = {"dns_queries": 0, "dns_answers": 0, "dns_failed": 0}

    def ask(self, guest: Endpoint, question: Buffer, now_ns: int) -> None:
        """A datagram for port 53; what is no query is dropped."""
        if len(question) < _HEADER_BYTES or question[2] & _RESPONSE:
            return
        self.counts["dns_queries"] += 1
        servers = self._resolvers.servers()
        query = _Query(guest, bytes(question), servers)
        if not servers or len(self._queries) >= MOST_QUERIES:
            self._fail(query, now_ns)
        else:
            self._try(query, now_ns)

    def next_deadline(self) -> int | None:
        for query in self._queries:
            return query.deadline_ns
        return None

    def advance(self, now_ns: int) -> None:
        while self._queries:
            query = next(iter(self._queries))
            if query.deadline_ns > now_ns:
                return
            self._again(query, now_ns)

    def close(self) -> None:
        for query in list(self._queries):
            self._end(query)

    # ------------------------------------------------------------ inside

    def _try(self, query: _Query, now_ns: int) -> None:
        """Ask the next resolver that can be asked."""
        while query.attempt < ATTEMPTS:
            family, address = query.servers[query.attempt % len(query.servers)]
            query.attempt += 1
            asking: socket.socket | None = None
            try:
                asking = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                asking.connect(address)
                asking.send(query.question)
            except OSError:
                if asking is not None:
                    asking.close()
                continue
            query.socket = asking
            query.deadline_ns = now_ns + ATTEMPT_NS
            self._queries[query] = None
            self._poller.add(asking.fileno(), IN, lambda mask: self._on_ready(query))
            return
        self._fail(query, now_ns)

    def _on_ready(self, query: _Query) -> None:
        assert query.socket is not None
        now_ns = self._now_ns()
        self._wants_output()
        try:
            answer = query.socket.recv(_ANSWER_BYTES)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            self._again(query, now_ns)
            return
        if len(answer) < _HEADER_BYTES or answer[:2] != query.question[:2]:
            return  # not the answer to this
        self._end(query)
        self.counts["dns_answers"] += 1
        self._guests.send_udp(self._own, query.guest, answer, now_ns)

    def _again(self, query: _Query, now_ns: int) -> None:
        self._end(query)
        self._try(query, now_ns)

    def _end(self, query: _Query) -> None:
        self._queries.pop(query, None)
        if query.socket is not None:
            self._poller.remove(query.socket.fileno())
            query.socket.close()
            query.socket = None

    def _fail(self, query: _Query, now_ns: int) -> None:
        self.counts["dns_failed"] += 1
        self._guests.send_udp(self._own, query.guest, servfail(query.question), now_ns)


def servfail(question: bytes) -> bytes:
    """The answer that there is none, with the question as it came and nothing else."""
    end = _end_of_question(question)
    flags = bytes((_RESPONSE | question[2] & _KEPT, _FAILED))
    if end is None:
        return question[:2] + flags + bytes(8)
    return question[:2] + flags + b"\x00\x01" + bytes(6) + question[_HEADER_BYTES:end]


def _end_of_question(question: bytes) -> int | None:
    """Where the only question ends; None if there is not one, or it is not whole."""
    if question[4:6] != b"\x00\x01":
        return None
    at = _HEADER_BYTES
    while at < len(question) and question[at]:
        if question[at] > 63:
            return None
        at += 1 + question[at]
    return at + 5 if at + 5 <= len(question) else None
