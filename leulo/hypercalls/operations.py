"""Each operation of the hypercall ABI: what it does, takes and gives, and the feature it needs.

The reference page and the table of `dispatch` are made from it; the numbers are those of `abi`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from leulo.hypercalls.abi import Feature, Op


@dataclass(frozen=True, slots=True)
class Operation:
    """What one operation takes and gives, for the reference page and for those who call it."""

    op: Op
    doc: str
    takes: str = ""  # beside ``handle``
    gives: str = ""  # beside ``status``, ``result`` and, for a socket, ``events``
    offered: bool = True  # False: answers UNKNOWN_OP in this version
    feature: Feature | None = None  # that must have been agreed on


OPERATIONS: Final = (
    Operation(
        Op.HELLO,
        "Agrees on a version and on features, and tells limits and addresses. Everything else is "
        "refused before it. A second HELLO closes every socket and the event ring and releases "
        "every buffer: a guest that begins anew.",
        "args[0]: address of a `hello` with ``size``, ``version`` and ``features`` set; bits of "
        "features nobody knows are ignored",
        "the `hello`, filled; BAD_VERSION fills ``version`` with what is spoken",
    ),
    Operation(
        Op.EVENTS_SETUP,
        "Gives the event ring a place; the hypervisor zeroes it. Subscriptions stay. With no "
        "entries there is no ring any more.",
        "args[0]: address of a `ring`, 8-byte aligned; args[1]: entries, a power of two up to "
        "``max_events``, or 0",
        feature=Feature.EVENTS,
    ),
    Operation(
        Op.EVENTS_ACK,
        "The guest has drained the ring: what waited outside it is put in, and LEVEL "
        "subscriptions are looked at again. Needed when ``overflow`` is not zero or LEVEL is used.",
        gives="result: events put in",
        feature=Feature.EVENTS,
    ),
    Operation(
        Op.TIME,
        "The hypervisor's clock.",
        gives="args[0]: nanoseconds since the machine's host began; args[1]: nanoseconds since "
        "1970, or 0 if the machine has no calendar",
    ),
    Operation(
        Op.SOCKET,
        "Makes a socket.",
        "args[0]: family; args[1]: type (DGRAM only with the feature UDP); args[2]: protocol, 0 "
        "for the usual; DGRAM with IPPROTO_ICMP or IPPROTO_ICMPV6 is a ping socket: its datagrams "
        "are ICMP messages, echo requests out and echo replies in; its port is the identifier, "
        "filled in as the checksum is",
        "handle: the socket",
    ),
    Operation(
        Op.BIND,
        "Gives the socket its own address. Port 0 chooses one.",
        "local",
        "local: the address and port it really has",
    ),
    Operation(Op.LISTEN, "Accepts connections from now on.", "args[0]: backlog", "local"),
    Operation(
        Op.CONNECT,
        "Begins a connection: -EINPROGRESS, and OUT or ERR when it is decided.",
        "peer",
        "local, peer",
    ),
    Operation(
        Op.ACCEPT,
        "Takes one finished connection, or -EAGAIN. A mask in ``events`` subscribes the new "
        "socket in the same call, as SUBSCRIBE does.",
        "handle: the listener; events, cookie, flags: as in SUBSCRIBE",
        "handle: the new socket; events: its mask; args[0]: the listener's mask now; local, peer. "
        "On -EAGAIN handle and events stay the listener's",
    ),
    Operation(Op.SHUTDOWN, "Ends one direction or both.", "args[0]: SHUT_RD, SHUT_WR or SHUT_RDWR"),
    Operation(
        Op.CLOSE,
        "Lets go of the socket; the connection ends by itself. Its events still in the ring get "
        "handle 0.",
    ),
    Operation(
        Op.SEND,
        "Puts bytes into the socket's send buffer; short counts are usual. -EPIPE, -ECONNRESET "
        "and the like; -EAGAIN when the buffer is full.",
        "args[0], args[1]: address and length, or with IOVEC an `iovec` array and its count; "
        "flags: MSG_MORE, MSG_OOB, MSG_DONTWAIT, MSG_NOSIGNAL",
        "result: bytes taken",
    ),
    Operation(
        Op.RECV,
        "Takes bytes from the socket's receive buffer: 0 at the end of the stream, -EAGAIN when "
        "there is nothing. MSG_PEEK leaves them there. MSG_WAITALL answers -EAGAIN, without IN in "
        "``events``, until all that was asked for is there, or half a receive buffer, or nothing "
        "more can come.",
        "args[0], args[1]: address and length, or with IOVEC an `iovec` array and its count; "
        "flags: MSG_PEEK, MSG_WAITALL, MSG_OOB (one byte, PRI tells of it), MSG_DONTWAIT",
        "result: bytes written",
    ),
    Operation(
        Op.SENDTO,
        "Sends one datagram, whole or not at all: -EMSGSIZE, -EAGAIN. A ``peer`` of all zeros "
        "means the connected one. On a stream it is SEND, and ``peer`` is ignored; with "
        "MSG_FASTOPEN it is CONNECT to ``peer`` and SEND at once: the bytes that the SYN carries, "
        "or -EINPROGRESS if it carries none.",
        "args[0], args[1], flags: as in SEND; peer: where to",
        "result: bytes sent; local: the address and port it is sent from, once there is one",
        feature=Feature.UDP,
    ),
    Operation(
        Op.RECVFROM,
        "Takes one datagram; what does not fit is lost. -EAGAIN when there is none; -ECONNREFUSED "
        "and the like tell a connected socket what became of an earlier one. On a stream it is "
        "RECV.",
        "args[0], args[1]: as in RECV; flags: MSG_PEEK, MSG_DONTWAIT",
        "result: bytes written; args[0]: length of the whole datagram; peer: who sent it",
        feature=Feature.UDP,
    ),
    Operation(Op.GETSOCKNAME, "The socket's own address.", gives="local"),
    Operation(Op.GETPEERNAME, "The other side's address, or -ENOTCONN.", gives="local, peer"),
    Operation(
        Op.GETSOCKOPT,
        "Reads an option; one that does not exist is -ENOPROTOOPT.",
        "args[0]: level; args[1]: name; args[2], args[3]: address and length for the value",
        "result: bytes of the value, cut at the length given",
    ),
    Operation(
        Op.SETSOCKOPT,
        "Sets an option; one that does not exist is -ENOPROTOOPT, never a silent success.",
        "args[0]: level; args[1]: name; args[2], args[3]: address and length of the value",
    ),
    Operation(
        Op.POLL,
        "Looks at many sockets at once, without waiting.",
        "args[0]: address of a `pollfd` array; args[1]: its count",
        "the array; result: entries whose mask is not zero",
    ),
    Operation(
        Op.SUBSCRIBE,
        "Puts the socket's events into the ring from now on. The answer holds the present mask, "
        "so nothing is lost between looking and sleeping. ERR, HUP and RDHUP count as wanted. A "
        "mask of 0 ends the subscription.",
        "events: wanted mask; cookie; flags: EDGE, LEVEL or ONESHOT",
        feature=Feature.EVENTS,
    ),
    Operation(
        Op.SENDFILE,
        "Queues a stretch of a registered buffer behind what was sent before, all of it at once: "
        "the engine sends from guest memory as the peer takes it, without the guest. -EAGAIN when "
        "the send buffer is full, -EINVAL beyond the buffer's end, -EBADF without such a buffer. "
        "Once the last byte is acknowledged the socket's mask has SENT. Streams only.",
        "args[0]: buffer; args[1]: offset; args[2]: length; flags: MSG_MORE, MSG_DONTWAIT, "
        "MSG_NOSIGNAL",
        "result: bytes queued: all, up to 0x7ffff000; fewer at the machine's quota of buffers",
        feature=Feature.SENDFILE,
    ),
    Operation(
        Op.BUFFER_REGISTER,
        "Makes a buffer of up to 4,096 pieces of RAM, none of them empty. The guest must not "
        "change them until it has released the buffer: what it writes there meanwhile may or may "
        "not be sent. -ENOBUFS past the machine's quota.",
        "args[0], args[1]: address and length, or with IOVEC an `iovec` array and its count",
        "handle: the buffer; buffers are not sockets, and have their own numbers",
        feature=Feature.SENDFILE,
    ),
    Operation(
        Op.BUFFER_RELEASE,
        "Forgets a buffer. -EBUSY while a connection, be its socket closed or not, has to send "
        "from it.",
        "handle: the buffer",
        feature=Feature.SENDFILE,
    ),
    Operation(Op.LIST, "The sockets that outlived a guest.", offered=False),
    Operation(Op.ADOPT, "Takes over such a socket.", offered=False),
    Operation(Op.ORPHAN_POLICY, "What becomes of sockets without a guest.", offered=False),
    Operation(
        Op.TRACE_MARK,
        "Puts a text into the event stream; in a capture it is a comment on the next frame.",
        "args[0], args[1]: address and length of UTF-8 text, at most 256 bytes",
    ),
    Operation(
        Op.BREAK,
        "Stops in the debugger, if there is one.",
        "args[0]: a number to tell the places apart",
    ),
)
