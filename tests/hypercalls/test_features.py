"""HELLO agrees on features: what a session has is what the guest named and the hypervisor has."""

from __future__ import annotations

import pytest
from hypercall_guest import CALL, HELLO, IN, RING, Answer, Guest

from leulo.hypercalls import abi
from leulo.hypercalls.operations import OPERATIONS

Op, Status, Feature = abi.Op, abi.Status, abi.Feature
FEATURES = abi.HELLO.offset("features")
NEEDS = [(o.op, o.feature) for o in OPERATIONS if o.feature is not None]


def hello(guest: Guest, wish: int) -> tuple[Answer, int]:
    """HELLO with a wish; its answer and the features agreed on."""
    guest.memory.write(HELLO, b"\x90\0\0\0\1\0\0\0" + wish.to_bytes(8, "little"))
    answer = guest.call(Op.HELLO, args=(HELLO,))
    return answer, int.from_bytes(guest.memory.read(HELLO + FEATURES, 8), "little")


def is_known(guest: Guest, op: int) -> bool:
    return guest.call(op, args=(RING, 0)).status != Status.UNKNOWN_OP


def test_no_wish_by_name_gets_all_there_is() -> None:
    guest = Guest(hello=False)
    assert hello(guest, 0)[1] == abi.OFFERED
    assert all(is_known(guest, op) for op, feature in NEEDS)


def test_unknown_bits_are_ignored() -> None:
    """A guest of the future runs on a hypervisor of today."""
    guest = Guest(hello=False)
    answer, features = hello(guest, 1 << 63 | Feature.SURVIVAL | Feature.IPV6 | Feature.EVENTS)
    assert answer.status == Status.OK and features == Feature.EVENTS


@pytest.mark.parametrize("wish", [f for f in Feature if f & abi.OFFERED])
def test_operations_outside_what_was_agreed_are_unknown(wish: Feature) -> None:
    guest = Guest(hello=False)
    assert hello(guest, wish)[1] == wish
    for op, feature in NEEDS:
        assert is_known(guest, op) == (feature == wish), op
    # What needs no feature is there in any session.
    assert guest.socket() and guest.call(Op.TIME).status == Status.OK


def test_a_new_hello_agrees_anew() -> None:
    guest = Guest(hello=False)
    hello(guest, Feature.SENDFILE)
    assert not is_known(guest, Op.EVENTS_SETUP)
    hello(guest, Feature.EVENTS)
    assert is_known(guest, Op.EVENTS_SETUP) and not is_known(guest, Op.SENDFILE)


def test_accept_cannot_subscribe_without_events() -> None:
    guest = Guest(hello=False)
    hello(guest, Feature.UDP)
    listener = guest.listen(80)
    assert guest.call(Op.ACCEPT, listener, events=IN).status == Status.BAD_ARGUMENT
    assert guest.call(Op.ACCEPT, listener).result == -abi.Errno.EAGAIN


def test_datagram_sockets_need_their_feature() -> None:
    guest = Guest(hello=False)
    hello(guest, Feature.EVENTS)
    assert guest.call(Op.SOCKET, args=(2, 2, 0)).result == -abi.Errno.ESOCKTNOSUPPORT


def test_features_survive_save_and_load() -> None:
    guest = Guest(hello=False)
    hello(guest, Feature.SENDFILE)
    other = Guest(guest.stack, hello=False)
    other.hypercalls.load(guest.hypercalls.save())
    assert not is_known(other, Op.EVENTS_SETUP) and is_known(other, Op.BUFFER_RELEASE)


def test_other_versions_are_refused_and_told_ours() -> None:
    guest = Guest(hello=False)
    for version in (0, 2, 0xFFFFFFFF):
        assert guest.hello(version=version).status == Status.BAD_VERSION
        assert guest.memory.read(HELLO + 4, 4) == b"\1\0\0\0"
        assert guest.call(Op.TIME).status == Status.NO_HELLO
    assert guest.hello().status == Status.OK and guest.read(CALL).result == 0
