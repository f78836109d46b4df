"""The serial port as drivers use it: detection, polling, interrupts, loopback."""

from __future__ import annotations

from hand_clock import HandClock
from hypothesis import given
from hypothesis import strategies as st

from leulo.devices import uart as reg
from leulo.devices.uart import Uart
from leulo.irq import Line


class Bench:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.sent: list[bytes] = []
        self.edges = 0
        self.line = Line(self._changed)
        self.uart = Uart(self.clock, self.line, self.sent.append)
        self.uart.write(reg.MCR, 1, reg.MCR_OUT2)

    def _changed(self, level: bool) -> None:
        self.edges += level

    def write(self, offset: int, value: int) -> None:
        self.uart.write(offset, 1, value)

    def read(self, offset: int) -> int:
        return self.uart.read(offset, 1)


def test_sent_bytes_reach_the_sink_by_lines_and_after_a_millisecond() -> None:
    bench = Bench()
    for byte in b"one\ntwo":
        bench.clock.ns += 100
        bench.write(reg.THR, byte)
    assert bench.sent == [b"one\n"]
    assert bench.uart.next_deadline() == 500 + 1_000_000
    bench.uart.advance(1_000_499)
    assert bench.sent == [b"one\n"]
    bench.uart.advance(1_000_500)
    assert bench.sent == [b"one\n", b"two"]
    assert bench.uart.next_deadline() is None


def test_a_long_line_does_not_wait_for_its_end() -> None:
    bench = Bench()
    for _ in range(600):
        bench.write(reg.THR, 0x41)
    assert [len(piece) for piece in bench.sent] == [256, 256]


def test_driver_recognises_a_16550a() -> None:
    bench = Bench()
    bench.write(reg.FCR, 0xC7)
    assert bench.read(reg.IIR) == 0xC1
    bench.write(reg.SCR, 0x5A)
    assert bench.read(reg.SCR) == 0x5A
    bench.write(reg.FCR, 0)
    assert bench.read(reg.IIR) == 0x01


def test_divisor_hides_behind_dlab() -> None:
    bench = Bench()
    bench.write(reg.IER, 0x01)
    bench.write(reg.LCR, 0x83)
    bench.write(reg.DLL, 0x0C)
    bench.write(reg.DLM, 0x01)
    assert (bench.read(reg.DLL), bench.read(reg.DLM)) == (0x0C, 0x01)
    bench.write(reg.LCR, 0x03)
    assert bench.read(reg.IER) == 0x01
    assert bench.sent == []


def test_receiver_takes_what_fits_and_the_rest_later() -> None:
    bench = Bench()
    assert bench.uart.receive(b"ab") == 1
    assert bench.uart.room == 0
    assert bench.read(reg.RBR) == ord("a")
    bench.write(reg.FCR, 0x01)
    assert bench.uart.receive(b"x" * 20) == 16
    assert bench.read(reg.LSR) & reg.LSR_DR
    assert [bench.read(reg.RBR) for _ in range(16)] == [ord("x")] * 16
    assert not bench.read(reg.LSR) & reg.LSR_DR
    assert bench.read(reg.RBR) == 0


def test_data_interrupt_by_trigger_level_and_timeout() -> None:
    bench = Bench()
    bench.write(reg.FCR, 0x81)  # trigger at 8
    bench.write(reg.IER, 0x01)
    bench.uart.receive(b"1234567")
    assert bench.line.level
    assert bench.read(reg.IIR) == 0xCC  # character time-out
    bench.uart.receive(b"8")
    assert bench.read(reg.IIR) == 0xC4
    for _ in range(8):
        bench.read(reg.RBR)
    assert bench.read(reg.IIR) == 0xC1
    assert not bench.line.level


def test_thre_interrupt_comes_when_enabled_and_after_each_byte() -> None:
    bench = Bench()
    bench.write(reg.IER, 0x02)
    assert bench.line.level
    assert bench.read(reg.IIR) == 0x02
    assert not bench.line.level  # reading the indication cleared it
    bench.write(reg.THR, 0x41)
    assert bench.line.level
    edges = bench.edges
    bench.write(reg.THR, 0x42)  # a new edge for an edge-triggered controller
    assert bench.edges == edges + 1
    bench.write(reg.IER, 0x00)
    assert not bench.line.level


def test_out2_gates_the_line_but_not_the_register() -> None:
    """A driver that polls leaves OUT2 off and must get no interrupt; loopback takes the pin."""
    bench = Bench()
    bench.write(reg.MCR, 0x03)
    bench.write(reg.IER, 0x01)
    bench.uart.receive(b"k")
    assert bench.read(reg.IIR) == 0x04
    assert not bench.line.level
    bench.write(reg.MCR, 0x0B)
    assert bench.line.level
    bench.write(reg.MCR, 0x1B)
    assert not bench.line.level


def test_higher_indication_hides_thre_without_losing_it() -> None:
    bench = Bench()
    bench.write(reg.IER, 0x03)
    bench.uart.receive(b"k")
    assert bench.read(reg.IIR) == 0x04
    bench.read(reg.RBR)
    assert bench.read(reg.IIR) == 0x02


def test_loopback_keeps_bytes_inside_and_reports_overrun() -> None:
    bench = Bench()
    bench.write(reg.IER, 0x04)
    bench.write(reg.MCR, 0x1A)
    assert bench.read(reg.MSR) & 0xF0 == 0x90  # RTS and OUT2 as CTS and DCD
    assert bench.uart.receive(b"z") == 0
    bench.write(reg.THR, 0x11)
    bench.write(reg.THR, 0x22)
    assert bench.read(reg.IIR) == 0x06
    assert bench.read(reg.LSR) & reg.LSR_OE
    assert not bench.read(reg.LSR) & reg.LSR_OE
    assert bench.read(reg.RBR) == 0x22
    assert bench.sent == []


def test_modem_status_tells_changes_once() -> None:
    bench = Bench()
    bench.write(reg.IER, 0x08)
    bench.write(reg.MCR, 0x10)
    assert bench.read(reg.IIR) == 0x00
    assert bench.read(reg.MSR) == 0x0B  # CTS, DSR and DCD fell
    assert bench.read(reg.MSR) == 0x00
    assert bench.read(reg.IIR) == 0x01


def test_fifo_switch_and_clear_drop_what_was_received() -> None:
    bench = Bench()
    bench.read(reg.RBR)
    bench.uart.receive(b"a")
    bench.write(reg.FCR, 0x01)
    assert not bench.read(reg.LSR) & reg.LSR_DR
    bench.uart.receive(b"abc")
    bench.write(reg.FCR, 0x03)
    assert not bench.read(reg.LSR) & reg.LSR_DR


def test_what_is_typed_before_a_driver_reads_waits_for_it() -> None:
    """A pipe is faster than a boot: `echo poweroff | leulo boot`."""
    bench = Bench()
    assert bench.uart.receive(b"ab") == 1
    bench.write(reg.MCR, 0x10)  # a driver's self-test by the loop finds its own byte
    bench.write(reg.FCR, 0x07)
    bench.write(reg.THR, 0x22)
    assert bench.read(reg.RBR) == 0x22
    bench.write(reg.THR, 0x33)
    bench.write(reg.MCR, 0)
    bench.write(reg.FCR, 0x07)
    assert bench.uart.receive(b"b") == 1
    again = Bench()
    again.uart.load(bench.uart.save())
    for each in (bench, again):
        each.write(reg.FCR, 0x07)
        each.write(reg.IER, 0x01)
        assert each.read(reg.IIR) == 0xC4
        assert [each.read(reg.RBR) for _ in range(3)] == [0x61, 0x62, 0]
        each.uart.receive(b"c")
        each.write(reg.FCR, 0x07)
        assert not each.read(reg.LSR) & reg.LSR_DR, "now it is for the driver to say"


def test_reset_lets_out_what_was_sent() -> None:
    bench = Bench()
    bench.write(reg.THR, 0x41)
    bench.write(reg.IER, 0x02)
    bench.uart.reset()
    assert bench.sent == [b"A"]
    assert not bench.line.level


accesses = st.tuples(
    st.sampled_from(["read", "write", "receive", "advance"]),
    st.integers(0, 8),
    st.integers(0, 0xFFFF),
    st.sampled_from([1, 2, 4]),
)


@given(st.lists(accesses, max_size=80))
def test_any_access_is_survived(script: list[tuple[str, int, int, int]]) -> None:
    """Nothing raises or grows, peek changes nothing and tells what read will, the line follows
    the interrupt register, and the state carries over."""
    bench = Bench()
    for action, offset, value, width in script:
        if action == "read":
            before = bench.uart.save()
            seen = bench.uart.peek(offset, 1)
            assert bench.uart.save() == before
            assert bench.uart.read(offset, 1) == seen
            bench.uart.read(offset, width)
        elif action == "write":
            bench.uart.write(offset, width, value)
        elif action == "receive":
            bench.uart.receive(bytes([value & 0xFF]) * (value >> 8))
        else:
            bench.clock.ns += value * 100
            bench.uart.advance(bench.clock.ns)
            due = bench.uart.next_deadline()
            assert due is None or due > bench.clock.ns
        is_through = bench.uart.peek(reg.MCR, 1) & 0x18 == 0x08
        assert bench.line.level == (is_through and not bench.uart.peek(reg.IIR, 1) & 1)
        state = bench.uart.save()
        assert len(state["received"]) <= 16
        assert len(state["sent"]) < 256
        assert (state["flush_at_ns"] is None) == (not state["sent"])
    copy = Bench()
    copy.uart.load(bench.uart.save())
    assert copy.uart.save() == bench.uart.save()
