/* 16550A at COM1. Speed is not set: no line here has one. */
#include "drv/uart.h"
#include "kern/console.h"
#include "kern/irq.h"

#define COM1 0x3F8
#define COM1_IRQ 4
#define RBR_THR (COM1 + 0)
#define IER (COM1 + 1)
#define FCR (COM1 + 2)
#define LCR (COM1 + 3)
#define MCR (COM1 + 4)
#define LSR (COM1 + 5)
#define IER_RECEIVED 0x01
#define FCR_ENABLE_CLEAR 0x07 /* FIFOs on and empty, interrupt at one byte */
#define LCR_8N1 0x03
#define MCR_DTR_RTS_OUT2 0x0B /* OUT2 lets the interrupt through on a PC */
#define LSR_DATA_READY 0x01
#define LSR_THR_EMPTY 0x20
#define FIFO_BYTES 16

static unsigned fifo_bytes = 1;
static unsigned room; /* bytes that the transmit FIFO surely takes */

void uart_put(char c) {
    if (!room) {
        while (!(inb(LSR) & LSR_THR_EMPTY))
            ;
        room = fifo_bytes;
    }
    room--;
    outb(RBR_THR, (uint8_t)c);
}

static void uart_interrupt(void) {
    while (inb(LSR) & LSR_DATA_READY)
        console_input((char)inb(RBR_THR));
}

void uart_start(void) {
    outb(FCR, FCR_ENABLE_CLEAR);
    fifo_bytes = FIFO_BYTES;
    room = 0;
    outb(LCR, LCR_8N1);
    outb(MCR, MCR_DTR_RTS_OUT2);
    irq_register(COM1_IRQ, uart_interrupt);
    outb(IER, IER_RECEIVED);
}
