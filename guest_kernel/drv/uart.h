/* The serial port COM1, a 16550A: polled output, input by interrupt. */
#pragma once

/* Usable before uart_start(). */
void uart_put(char c);
/* Hand every received byte to console_input() from now on. */
void uart_start(void);
