"""The state machine of a connection, as data.

`TRANSITIONS` is the machine: every change of state of a connection goes through it, and the
diagram in docs/reference/tcp-states.md is drawn from it. It must not know what a segment or a
timer is; those who do name the event that happened. [RFC 9293 3.3.2]
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class State(IntEnum):
    """Connection states; the numbers are those of Linux's TCP_INFO. [RFC 9293 3.3.2]"""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RCVD = 3
    FIN_WAIT_1 = 4
    FIN_WAIT_2 = 5
    TIME_WAIT = 6
    CLOSED = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


class Event(IntEnum):
    """What moves a connection from one state to another."""

    PASSIVE_OPEN = 1
    ACTIVE_OPEN = 2
    CLOSE = 3  # the user has no more to send
    ABORT = 4  # the user, a reset, or a timer ends the connection at once
    SYN = 5  # a SYN without an acceptable ACK
    SYN_ACK = 6
    ACK_OF_SYN = 7
    FIN = 8
    ACK_OF_FIN = 9
    TIMEOUT = 10  # two maximum segment lifetimes have passed


ESTABLISHED: Final = State.ESTABLISHED
SYN_SENT: Final = State.SYN_SENT
SYN_RCVD: Final = State.SYN_RCVD
FIN_WAIT_1: Final = State.FIN_WAIT_1
FIN_WAIT_2: Final = State.FIN_WAIT_2
TIME_WAIT: Final = State.TIME_WAIT
CLOSED: Final = State.CLOSED
CLOSE_WAIT: Final = State.CLOSE_WAIT
LAST_ACK: Final = State.LAST_ACK
LISTEN: Final = State.LISTEN
CLOSING: Final = State.CLOSING

# A name of the module is found many times faster than a member of an enumeration.
ON_ACTIVE_OPEN: Final = Event.ACTIVE_OPEN
ON_CLOSE: Final = Event.CLOSE
ON_ABORT: Final = Event.ABORT
ON_SYN: Final = Event.SYN
ON_SYN_ACK: Final = Event.SYN_ACK
ON_ACK_OF_SYN: Final = Event.ACK_OF_SYN
ON_FIN: Final = Event.FIN
ON_ACK_OF_FIN: Final = Event.ACK_OF_FIN

# Deviation: no CLOSE from SYN_RCVD to FIN_WAIT_1. A close there waits for the handshake, which the
# RFC asks for when data is queued, so the FIN never leaves before the SYN is acknowledged.
# [RFC 9293 3.10.4]
TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    CLOSED: {
        Event.PASSIVE_OPEN: LISTEN,
        Event.ACTIVE_OPEN: SYN_SENT,
        Event.ABORT: CLOSED,
    },
    LISTEN: {
        Event.SYN: SYN_RCVD,
        Event.CLOSE: CLOSED,
        Event.ABORT: CLOSED,
    },
    SYN_SENT: {
        Event.SYN: SYN_RCVD,
        Event.SYN_ACK: ESTABLISHED,
        Event.CLOSE: CLOSED,
        Event.ABORT: CLOSED,
    },
    SYN_RCVD: {
        Event.ACK_OF_SYN: ESTABLISHED,
        Event.ABORT: CLOSED,
    },
    ESTABLISHED: {
        Event.CLOSE: FIN_WAIT_1,
        Event.FIN: CLOSE_WAIT,
        Event.ABORT: CLOSED,
    },
    FIN_WAIT_1: {
        Event.FIN: CLOSING,
        Event.ACK_OF_FIN: FIN_WAIT_2,
        Event.ABORT: CLOSED,
    },
    FIN_WAIT_2: {
        Event.FIN: TIME_WAIT,
        Event.ABORT: CLOSED,
    },
    CLOSE_WAIT: {
        Event.CLOSE: LAST_ACK,
        Event.ABORT: CLOSED,
    },
    CLOSING: {
        Event.ACK_OF_FIN: TIME_WAIT,
        Event.ABORT: CLOSED,
    },
    LAST_ACK: {
        Event.ACK_OF_FIN: CLOSED,
        Event.ABORT: CLOSED,
    },
    TIME_WAIT: {
        Event.TIMEOUT: CLOSED,
        Event.ABORT: CLOSED,
    },
}

# The same table as a list, for one look-up a change: ``NEXT[state << 4 | event]``.
NEXT: Final[list[State | None]] = [
    TRANSITIONS[State(at >> 4)].get(Event(at & 15))
    if at >> 4 and 0 < at & 15 <= len(Event)
    else None
    for at in range((len(State) + 1) << 4)
]

# States in which the user may still put data into the stream.
MAY_SEND: Final = (1 << ESTABLISHED) | (1 << CLOSE_WAIT)
# States in which the connection has data or a FIN to move towards the peer.
SENDS: Final = MAY_SEND | (1 << FIN_WAIT_1) | (1 << CLOSING) | (1 << LAST_ACK)
# States in which the peer may still send data.
RECEIVES: Final = (1 << ESTABLISHED) | (1 << FIN_WAIT_1) | (1 << FIN_WAIT_2)
# States in which a segment may be taken without the RFC's whole list.
PREDICTABLE: Final = SENDS | (1 << FIN_WAIT_2)
# States in which both sides know each other's sequence numbers.
SYNCHRONIZED: Final = SENDS | (1 << FIN_WAIT_2) | (1 << TIME_WAIT)
