"""The 16550A serial port: a terminal at the end of eight registers and an interrupt line.

It knows neither the terminal nor the baud rate. Sent bytes go to the sink, received bytes come by
`receive`. Characters take no time: THR is empty as soon as it was written, and the receiver's
time-out of four character times is over at once, so fewer bytes than the trigger level are
indicated as a time-out. Nothing is lost: `receive` takes only what there is room for.
Sent bytes are collected and reach the sink at a newline, at 256 bytes, or 1 ms after the first of
them, so that a terminal costs no system call for every byte.
As on a PC, OUT2 (MCR bit 3) lets the interrupt through to the line, and the loopback mode, which
takes the pin back, does not [IBM AT]. Break and parity are not modelled: nothing at the other end
makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leulo.clock import Clock
from leulo.devices.byte_ports import BytePorts
from leulo.devices.register import BOTH, READ, WRITE, Register
from leulo.irq import Line
from leulo.state import State, load_fields, save_fields
from leulo.units import NS_PER_MS

RBR = THR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR = 3
MCR = 4
LSR = 5
MSR = 6
SCR = 7

IER_ERBFI: Final = 0x01  # received data available
IER_ETBEI: Final = 0x02  # THR empty
IER_ELSI: Final = 0x04  # receiver line status
IER_EDSSI: Final = 0x08  # modem status
IIR_NONE: Final = 0x01
IIR_MODEM: Final = 0x00
IIR_THRE: Final = 0x02
IIR_DATA: Final = 0x04
IIR_LINE: Final = 0x06
IIR_TIMEOUT: Final = 0x0C
IIR_FIFOS: Final = 0xC0  # by these a driver tells a 16550A
FCR_ENABLE: Final = 0x01
FCR_CLEAR_RX: Final = 0x02
LCR_DLAB: Final = 0x80
MCR_DTR: Final = 0x01
MCR_RTS: Final = 0x02
MCR_OUT1: Final = 0x04
MCR_OUT2: Final = 0x08
MCR_LOOP: Final = 0x10
LSR_DR: Final = 0x01
LSR_OE: Final = 0x02
LSR_THRE: Final = 0x20
LSR_TEMT: Final = 0x40
MSR_CTS: Final = 0x10
MSR_DSR: Final = 0x20
MSR_RI: Final = 0x40
MSR_DCD: Final = 0x80

FIFO_BYTES: Final = 16
TRIGGERS: Final = (1, 4, 8, 14)
BATCH_BYTES: Final = 256
BATCH_NS: Final = NS_PER_MS
NEWLINE: Final = 0x0A
TERMINAL_READY: Final = MSR_CTS | MSR_DSR | MSR_DCD  # what a connected terminal asserts
IER_WRITABLE: Final = 0x0F
FCR_TRIGGER: Final = 0xC0
FCR_KEPT: Final = 0xC9
MCR_WRITABLE: Final = 0x1F
MSR_DELTAS: Final = 0x0F

_DLAB: Final = ((LCR, LCR_DLAB),)
_NO_DLAB: Final = ((LCR, 0),)
REGISTERS: Final = (
    Register("RBR", RBR, READ, "receiver buffer, or the head of its FIFO", 0, when="DLAB = 0",
             select=_NO_DLAB),
    Register("THR", THR, WRITE, "transmitter holding", when="DLAB = 0", select=_NO_DLAB),
    Register("DLL", DLL, BOTH, "divisor latch, low: only kept", 0, 0xFF, when="DLAB = 1",
             select=_DLAB),
    Register("IER", IER, BOTH, "interrupt enable", 0, IER_WRITABLE, (
        (IER_ERBFI, "ERBFI: received data available"),
        (IER_ETBEI, "ETBEI: THR empty"),
        (IER_ELSI, "ELSI: receiver line status"),
        (IER_EDSSI, "EDSSI: modem status"),
    ), when="DLAB = 0", select=_NO_DLAB),
    Register("DLM", DLM, BOTH, "divisor latch, high: only kept", 0, 0xFF, when="DLAB = 1",
             select=_DLAB),
    Register("IIR", IIR, READ, "interrupt identification", IIR_NONE, 0, (
        (IIR_NONE, "0: an interrupt waits"),
        (IIR_TIMEOUT | IIR_LINE, f"which: {IIR_LINE >> 1} line status, {IIR_DATA >> 1} data, "
         f"{IIR_TIMEOUT >> 1} time-out, {IIR_THRE >> 1} THR empty, {IIR_MODEM} modem status"),
        (IIR_FIFOS, "the FIFOs are on"),
    )),
    Register("FCR", FCR, WRITE, "FIFO control", bits=(
        (FCR_ENABLE, "FIFO enable"),
        (FCR_CLEAR_RX, "receiver FIFO reset"),
        (FCR_TRIGGER, f"receiver trigger: {', '.join(map(str, TRIGGERS))} bytes"),
    )),
    Register("LCR", LCR, BOTH, "line control; the format is only kept", 0, 0xFF, (
        (LCR_DLAB, "DLAB: divisor latch access"),
    )),
    Register("MCR", MCR, BOTH, "modem control", 0, MCR_WRITABLE, (
        (MCR_DTR, "DTR"),
        (MCR_RTS, "RTS"),
        (MCR_OUT1, "OUT1"),
        (MCR_OUT2, "OUT2: lets the interrupt out"),
        (MCR_LOOP, "LOOP: outputs lead to inputs"),
    )),
    Register("LSR", LSR, READ, "line status", LSR_THRE | LSR_TEMT, 0, (
        (LSR_DR, "DR: data ready"),
        (LSR_OE, "OE: overrun, cleared by reading"),
        (LSR_THRE, "THRE: THR empty, always"),
        (LSR_TEMT, "TEMT: transmitter empty, always"),
    )),
    Register("MSR", MSR, READ, "modem status", TERMINAL_READY, 0, (
        (MSR_DELTAS, "DCTS, DDSR, TERI, DDCD: changes, cleared by reading"),
        (MSR_CTS, "CTS"),
        (MSR_DSR, "DSR"),
        (MSR_RI, "RI"),
        (MSR_DCD, "DCD"),
    )),
    Register("SCR", SCR, BOTH, "scratch", 0, 0xFF),
)  # fmt: skip


class Uart(BytePorts):
    """Eight ports; ``line`` is the INTR pin, ``sink`` takes the bytes sent."""

    LENGTH = 8
    REGISTERS: Final = REGISTERS
    FIELDS: Final = (
        "ier",
        "fcr",
        "lcr",
        "mcr",
        "msr",
        "scr",
        "divisor",
        "overrun",
        "thre_pending",
        "flush_at_ns",
        "has_been_read",
    )

    def __init__(self, clock: Clock, line: Line, sink: Callable[[bytes], None]) -> None:
        self._clock = clock
        self._line = line
        self._sink = sink
        self._sent = bytearray()
        self._received = bytearray()  # RBR, or the receiver FIFO
        self._early = bytearray()  # of it, what the terminal sent before RBR was ever read
        self.has_been_read = False
        self.flush_at_ns: int | None = None
        self.reset()

    def reset(self) -> None:
        """Master reset; bytes already sent still go to the sink. [16550A Reset]"""
        self.flush()
        self._received.clear()
        self._early.clear()
        self.has_been_read = False
        self.ier = 0
        self.fcr = 0
        self.lcr = 0
        self.mcr = 0
        self.msr = TERMINAL_READY
        self.scr = 0
        self.divisor = 0
        self.overrun = False
        self.thre_pending = False
        self._update()

    @property
    def room(self) -> int:
        """How many bytes `receive` would take now."""
        if self.mcr & MCR_LOOP:
            return 0  # the pin is cut off
        return self._depth() - len(self._received)

    def receive(self, data: bytes) -> int:
        """Bytes from the terminal. Returns how many were taken; offer the rest again later."""
        count = min(len(data), self.room)
        if count > 0:
            self._received += data[:count]
            if not self.has_been_read:
                self._early += data[:count]
            self._update()
            return count
        return 0

    def flush(self) -> None:
        """Give the sink what was sent since the last time."""
        self.flush_at_ns = None
        if self._sent:
            data = bytes(self._sent)
            self._sent.clear()
            self._sink(data)

    def next_deadline(self) -> int | None:
        """When sent bytes have waited long enough, in the host's nanoseconds."""
        return self.flush_at_ns

    def advance(self, now_ns: int) -> None:
        """Let the sent bytes out if they are due."""
        if self.flush_at_ns is not None and now_ns >= self.flush_at_ns:
            self.flush()

    def read_byte(self, offset: int) -> int:
        value = self.peek_byte(offset)
        if offset == RBR and not self.lcr & LCR_DLAB:
            if not self.mcr & MCR_LOOP:
                self.has_been_read = True
                self._early.clear()
            if self._received:
                del self._received[0]
                self._update()
        elif offset == IIR:
            if value & 0x0F == IIR_THRE:
                self.thre_pending = False  # reading its indication clears it
                self._update()
        elif offset == LSR:
            self.overrun = False
            self._update()
        elif offset == MSR:
            self.msr &= ~MSR_DELTAS
            self._update()
        return value

    def peek_byte(self, offset: int) -> int:
        if offset == RBR:
            if self.lcr & LCR_DLAB:
                return self.divisor & 0xFF
            return self._received[0] if self._received else 0
        if offset == IER:
            return self.divisor >> 8 if self.lcr & LCR_DLAB else self.ier
        if offset == IIR:
            return self._indication() | (IIR_FIFOS if self.fcr & FCR_ENABLE else 0)
        if offset == LCR:
            return self.lcr
        if offset == MCR:
            return self.mcr
        if offset == LSR:
            return (
                LSR_THRE
                | LSR_TEMT
                | (LSR_DR if self._received else 0)
                | (LSR_OE if self.overrun else 0)
            )
        return self.msr if offset == MSR else self.scr

    def write_byte(self, offset: int, value: int) -> None:
        if offset == THR:
            if self.lcr & LCR_DLAB:
                self.divisor = self.divisor & 0xFF00 | value
            else:
                self._transmit(value)
        elif offset == IER:
            if self.lcr & LCR_DLAB:
                self.divisor = self.divisor & 0xFF | value << 8
            else:
                self._set_ier(value & IER_WRITABLE)
        elif offset == FCR:
            self._set_fcr(value)
        elif offset == LCR:
            self.lcr = value
        elif offset == MCR:
            self._set_mcr(value & MCR_WRITABLE)
        elif offset == SCR:
            self.scr = value

    def save(self) -> State:
        """Bytes sent but not yet flushed are part of it."""
        state = save_fields(self, 2, self.FIELDS)
        state["early"] = bytes(self._early)
        state["received"] = bytes(self._received)
        state["sent"] = bytes(self._sent)
        return state

    def load(self, state: State) -> None:
        load_fields(self, 2, self.FIELDS, state)
        self._early[:] = state["early"]
        self._received[:] = state["received"]
        self._sent[:] = state["sent"]

    def _depth(self) -> int:
        return FIFO_BYTES if self.fcr & FCR_ENABLE else 1

    def _transmit(self, value: int) -> None:
        if self.mcr & MCR_LOOP:
            if len(self._received) < self._depth():
                self._received.append(value)
            else:
                self.overrun = True
                if not self.fcr & FCR_ENABLE:
                    self._received[0] = value  # RBR is overwritten, a FIFO is not
        else:
            self._sent.append(value)
            if value == NEWLINE or len(self._sent) >= BATCH_BYTES:
                self.flush()
            elif self.flush_at_ns is None:
                self.flush_at_ns = self._clock.now_ns() + BATCH_NS
        # Writing clears the THRE interrupt; THR is empty again at once, which is a new one.
        self.thre_pending = False
        self._update()
        self.thre_pending = True
        self._update()

    def _set_ier(self, value: int) -> None:
        if value & IER_ETBEI and not self.ier & IER_ETBEI:
            self.thre_pending = True  # enabled while THR is empty: an interrupt at once
        self.ier = value
        self._update()

    def _set_fcr(self, value: int) -> None:
        """[16550A FIFO Control Register]; the transmitter FIFO is always empty."""
        if (value ^ self.fcr) & FCR_ENABLE or value & FCR_CLEAR_RX:
            # Deviation: what is typed before a driver reads is as if typed after this, because a
            # terminal is slower than a boot, but a pipe is not. [16550A FIFO Control Register]
            self._received[:] = b"" if self.mcr & MCR_LOOP else self._early
        self.fcr = value & FCR_KEPT if value & FCR_ENABLE else 0
        self._update()

    def _set_mcr(self, value: int) -> None:
        if self._early and (value ^ self.mcr) & MCR_LOOP:  # what was typed waits for the loop's end
            self._received[:] = b"" if value & MCR_LOOP else self._early
        self.mcr = value
        if value & MCR_LOOP:  # the outputs are led back to the inputs [16550A Loopback]
            inputs = (
                (MSR_DSR if value & MCR_DTR else 0)
                | (MSR_CTS if value & MCR_RTS else 0)
                | (MSR_RI if value & MCR_OUT1 else 0)
                | (MSR_DCD if value & MCR_OUT2 else 0)
            )
        else:
            inputs = TERMINAL_READY
        changed = (inputs ^ self.msr) >> 4
        if inputs & MSR_RI:
            changed &= ~0x04  # only the trailing edge of RI counts
        self.msr = inputs | self.msr & MSR_DELTAS | changed & MSR_DELTAS
        self._update()

    def _indication(self) -> int:
        """The low four bits of IIR, by priority. [16550A Interrupt Identification Register]"""
        if self.ier & IER_ELSI and self.overrun:
            return IIR_LINE
        if self.ier & IER_ERBFI and self._received:
            if not self.fcr & FCR_ENABLE or len(self._received) >= TRIGGERS[self.fcr >> 6]:
                return IIR_DATA
            return IIR_TIMEOUT
        if self.ier & IER_ETBEI and self.thre_pending:
            return IIR_THRE
        if self.ier & IER_EDSSI and self.msr & MSR_DELTAS:
            return IIR_MODEM
        return IIR_NONE

    def _update(self) -> None:
        is_gated = self.mcr & (MCR_OUT2 | MCR_LOOP) != MCR_OUT2
        self._line.set(not is_gated and self._indication() != IIR_NONE)
