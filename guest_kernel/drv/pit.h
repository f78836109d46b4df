/* The 8254 timer: a steady tick, and a stop watch for calibration. */
#pragma once

#include <stdint.h>

#include "kern/irq.h"

/* Call `tick` on IRQ 0, `hz` times a second. */
void pit_start(unsigned hz, irq_handler tick);
/* Time-stamp counter ticks in a second, measured against channel 2 for 10 ms. */
uint64_t pit_measure_tsc(void);
