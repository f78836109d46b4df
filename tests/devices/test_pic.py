"""The interrupt controllers: what the CPU is offered, and what a driver reads back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leulo.devices.pic import Pic


class FakePin:
    """A CPU that takes an offer when told to."""

    def __init__(self) -> None:
        self.vector: int | None = None
        self.was_taken = False

    def post(self, vector: int | None) -> None:
        self.vector = vector

    def taken(self) -> bool:
        taken, self.was_taken = self.was_taken, False
        return taken

    def take(self) -> int | None:
        vector, self.vector = self.vector, None
        self.was_taken = self.was_taken or vector is not None
        return vector


def start(pin: FakePin, icw4: int = 0x01, icw1: int = 0x11) -> Pic:
    pic = Pic(pin)
    for chip, base, icw3 in ((pic.primary, 0x20, 4), (pic.secondary, 0x28, 2)):
        chip.write(0, 1, icw1)
        for word in (base, icw3, icw4):
            chip.write(1, 1, word)
    return pic


def in_service(pic: Pic) -> tuple[int, int]:
    values = []
    for chip in (pic.primary, pic.secondary):
        chip.write(0, 1, 0x0B)
        values.append(chip.read(0, 1))
        chip.write(0, 1, 0x0A)
    return values[0], values[1]


def test_nothing_is_offered_before_initialisation() -> None:
    pin = FakePin()
    Pic(pin).line(0).set(True)
    assert pin.vector is None


def test_edge_is_offered_and_acknowledged_once() -> None:
    pin = FakePin()
    pic = start(pin)
    pic.line(4).set(True)
    assert pin.vector == 0x24
    assert pic.primary.read(0, 1) == 0x10  # IRR
    assert pin.take() == 0x24
    assert pic.primary.read(0, 1) == 0  # the edge is used up though the line is still high
    assert in_service(pic) == (0x10, 0)
    pic.primary.write(0, 1, 0x20)
    assert in_service(pic) == (0, 0)
    assert pin.vector is None


def test_pulse_is_remembered_while_masked() -> None:
    pin = FakePin()
    pic = start(pin)
    pic.secondary.write(1, 1, 0x04)
    pic.line(10).pulse()
    assert pin.vector is None
    pic.secondary.write(1, 1, 0)
    assert pin.vector == 0x2A


def test_higher_priority_replaces_the_offer_and_lower_waits_for_eoi() -> None:
    pin = FakePin()
    pic = start(pin)
    pic.line(5).set(True)
    pic.line(1).set(True)
    assert pin.take() == 0x21
    pic.line(6).set(True)
    assert pin.vector is None  # 1 is in service
    pic.line(0).set(True)
    assert pin.take() == 0x20  # nests
    pic.primary.write(0, 1, 0x20)  # non-specific: ends 0
    assert in_service(pic) == (2, 0)
    pic.primary.write(0, 1, 0x61)  # specific: ends 1
    assert pin.vector == 0x25


def test_secondary_needs_both_ends() -> None:
    pin = FakePin()
    pic = start(pin)
    pic.line(10).set(True)
    assert pin.take() == 0x2A
    assert in_service(pic) == (4, 4)
    pic.line(8).set(True)
    assert pin.vector is None  # input 2 of the primary is in service
    pic.secondary.write(0, 1, 0x20)
    assert pin.vector is None
    pic.primary.write(0, 1, 0x20)
    assert pin.vector == 0x28


def test_interrupts_are_counted_by_line_and_spurious_ones_apart() -> None:
    pin = FakePin()
    pic = start(pin, icw4=0x03)  # automatic end of interrupt
    for irq, times in ((0, 3), (4, 1), (10, 2)):
        for _ in range(times):
            pic.line(irq).pulse()
            pin.take()
            pic.catch_up()
    found = {irq: count for irq, count in enumerate(pic.by_line) if count}
    assert found == {0: 3, 4: 1, 10: 2}
    assert pic.interrupts == 6 + pic.spurious
    copy = Pic(FakePin())
    copy.load(pic.save())
    assert copy.by_line == pic.by_line
    copy.reset()
    assert not any(copy.by_line)
    assert any(pic.by_line), "the copy is not the original"


def test_secondary_request_again_right_after_its_own_eoi() -> None:
    """Drivers end the secondary first: the next edge on input 2 must not get lost."""
    pin = FakePin()
    pic = start(pin)
    pic.line(12).set(True)
    pic.line(14).set(True)
    assert pin.take() == 0x2C
    pic.secondary.write(0, 1, 0x20)
    pic.primary.write(0, 1, 0x20)
    assert pin.take() == 0x2E


def test_special_fully_nested_mode_lets_a_higher_secondary_input_through() -> None:
    pin = FakePin()
    pic = start(pin, icw4=0x11)
    pic.line(12).set(True)
    assert pin.take() == 0x2C
    pic.line(9).set(True)
    assert pin.vector == 0x29


def test_automatic_eoi_offers_what_waits_behind() -> None:
    pin = FakePin()
    pic = start(pin, icw4=0x03)
    assert pic.next_deadline() is None
    pic.line(0).set(True)
    assert pic.next_deadline() is None
    pic.line(10).pulse()
    pic.line(11).pulse()
    assert pic.next_deadline() == 0
    order = []
    for _ in range(3):
        order.append(pin.take())
        pic.advance(0)
    assert order == [0x20, 0x2A, 0x2B]
    assert pic.next_deadline() is None
    assert in_service(pic) == (0, 0)


def test_level_request_stays_until_the_line_falls() -> None:
    pin = FakePin()
    pic = start(pin)
    pic.elcr.write(0, 2, 0xFFFF)
    assert pic.elcr.read(0, 2) == 0xDEF8  # the inputs of timer, keyboard, RTC are always edges
    pic.line(11).set(True)
    assert pin.take() == 0x2B
    for chip in (pic.secondary, pic.primary):
        chip.write(0, 1, 0x20)
    assert pin.vector == 0x2B
    pic.line(11).set(False)
    # The cascade is an edge that has been latched: what is left of it is a spurious IRQ 15.
    assert pin.take() == 0x2F
    assert in_service(pic) == (4, 0)
    assert pic.spurious == 1


def test_chip_without_a_request_says_so_when_polled_and_sets_nothing() -> None:
    pic = start(FakePin())
    pic.primary.write(0, 1, 0x0C)  # OCW3 with the poll bit
    assert pic.primary.read(0, 1) == 0
    assert in_service(pic) == (0, 0)


def test_ltim_makes_every_input_level_triggered() -> None:
    pin = FakePin()
    pic = start(pin, icw1=0x19)
    pic.line(3).set(True)
    assert pin.vector == 0x23
    pic.line(3).set(False)
    assert pin.vector is None


def test_poll_acknowledges_without_the_cpu() -> None:
    pin = FakePin()
    pic = start(pin)
    pic.line(6).set(True)
    pic.primary.write(0, 1, 0x0C)
    assert pic.primary.peek(0, 1) == 0x86
    assert pic.primary.read(0, 1) == 0x86
    assert pin.vector is None
    assert in_service(pic) == (0x40, 0)
    pic.primary.write(0, 1, 0x0C)
    assert pic.primary.read(0, 1) == 0


def test_special_mask_lets_lower_levels_through_and_protects_from_plain_eoi() -> None:
    pin = FakePin()
    pic = start(pin)
    pic.line(3).set(True)
    assert pin.take() == 0x23
    pic.line(5).set(True)
    assert pin.vector is None
    pic.primary.write(1, 1, 0x08)
    pic.primary.write(0, 1, 0x68)
    assert pin.take() == 0x25
    pic.primary.write(0, 1, 0x20)
    pic.primary.write(0, 1, 0x20)
    assert in_service(pic) == (0x08, 0)


def test_rotations_change_who_is_lowest() -> None:
    pin = FakePin()
    pic = start(pin)
    pic.line(4).set(True)
    pic.line(6).set(True)
    assert pin.take() == 0x24
    pic.primary.write(0, 1, 0xA0)  # rotate on non-specific EOI: 4 is lowest now, 5 highest
    pic.line(0).set(True)
    assert pin.take() == 0x26
    pic.primary.write(0, 1, 0xE6)  # rotate on specific EOI
    pic.primary.write(0, 1, 0xC7)  # back to the usual order
    assert pin.vector == 0x20


def test_initialisation_forgets_edges_but_not_levels_of_lines() -> None:
    pin = FakePin()
    pic = start(pin)
    pic.line(4).set(True)
    pic.primary.write(0, 1, 0x13)
    pic.primary.write(1, 1, 0x40)
    pic.primary.write(1, 1, 0x01)  # single: no ICW3
    assert pin.vector is None
    pic.line(4).pulse()
    assert pin.vector == 0x44


def test_cascade_has_no_line() -> None:
    with pytest.raises(ValueError, match="IRQ 2"):
        Pic(FakePin()).line(2)


def test_an_offer_taken_late_is_settled_before_the_line_changes() -> None:
    """Between offer and acknowledge nothing may have changed, however late it is noticed."""
    pin = FakePin()
    pic = start(pin)
    pic.line(5).set(True)
    pin.take()
    pic.line(1).set(True)
    assert pin.vector == 0x21
    assert in_service(pic) == (0x20, 0)


def test_state_goes_over_to_another_pair_with_the_offer() -> None:
    pin = FakePin()
    pic = start(pin)
    pic.line(5).set(True)
    pic.line(9).set(True)
    pin.take()
    other_pin = FakePin()
    other = Pic(other_pin)
    other.load(pic.save())
    assert other.save() == pic.save()
    assert other_pin.vector == pin.vector
    other.line(9).set(True)  # the level went over too: this is no edge
    for chip in (other.secondary, other.primary):
        chip.write(0, 1, 0x20)
    assert other_pin.vector == 0x25


Step = tuple[Any, ...]
steps = st.one_of(
    st.tuples(st.just("line"), st.integers(0, 15).filter(lambda n: n != 2), st.booleans()),
    st.tuples(st.just("write"), st.integers(0, 2), st.integers(0, 3), st.integers(0, 0xFFFF)),
    st.tuples(st.just("read"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("take")),
    st.tuples(st.just("advance")),
)


@given(st.booleans(), st.lists(steps, max_size=60))
def test_any_access_keeps_the_offer_true(automatic: bool, script: list[Step]) -> None:
    """Nothing raises, peek changes nothing and tells what read will, and the pin shows exactly
    what the chips ask for."""
    pin = FakePin()
    pic = start(pin, icw4=3 if automatic else 1)
    ports = (pic.primary, pic.secondary, pic.elcr)
    for step in script:
        if step[0] == "line":
            pic.line(step[1]).set(step[2])
        elif step[0] == "write":
            ports[step[1]].write(step[2], 1 + step[3] % 2, step[3])
        elif step[0] == "read":
            before = pic.save()
            seen = ports[step[1]].peek(step[2], 1)
            assert pic.save() == before
            assert ports[step[1]].read(step[2], 1) == seen
        elif step[0] == "take":
            pin.take()
        else:
            pic.advance(0)
        if not pin.was_taken:
            assert pin.vector == pic.offered
    copy = Pic(FakePin())
    copy.load(pic.save())
    assert copy.save() == pic.save()


usual = st.one_of(
    st.tuples(st.just("pulse"), st.sampled_from([0, 1, 4, 8, 10, 15])),
    st.tuples(st.just("set"), st.sampled_from([0, 4, 10]), st.booleans()),
    st.tuples(st.just("take")),
    st.tuples(st.just("advance")),
    st.tuples(st.just("mask"), st.integers(0, 1), st.sampled_from([0, 0, 0x10, 0x04, 0xFF])),
    st.tuples(st.just("level"), st.sampled_from([0, 0x10, 0x0400])),
)


@given(st.lists(usual, max_size=60))
def test_the_short_way_of_a_pair_at_rest_leads_to_the_same(script: list[Step]) -> None:
    """A lone request of a simple pair is offered without a question of priority."""
    pins = FakePin(), FakePin()
    short, long = start(pins[0], icw4=3), start(pins[1], icw4=3)
    for step in script:
        for pic, pin in zip((short, long), pins, strict=True):
            if pic is long:
                pic._is_simple = False
            if step[0] == "pulse":
                pic.line(step[1]).pulse()
            elif step[0] == "set":
                pic.line(step[1]).set(step[2])
            elif step[0] == "take":
                pin.take()
            elif step[0] == "advance":
                pic.advance(0)
            elif step[0] == "mask":
                (pic.primary, pic.secondary)[step[1]].write(1, 1, step[2])
            else:
                pic.elcr.write(0, 2, step[1])
        assert pins[0].vector == pins[1].vector
        assert short.waits_behind == long.waits_behind
    assert short.save() == long.save()
