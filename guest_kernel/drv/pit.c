/* 8254: channel 0 ticks, channel 2 (its gate and output are bits of port 0x61) measures. */
#include "drv/pit.h"

#define INPUT_HZ 1193182u
#define CHANNEL_0 0x40
#define CHANNEL_2 0x42
#define CONTROL 0x43
#define SPEAKER 0x61
#define CHANNEL_0_MODE_2 0x34 /* both bytes, rate generator [8254 Control Word] */
#define CHANNEL_2_MODE_0 0xB0 /* both bytes, output rises at the end of the count */
#define GATE_2 0x01
#define SPEAKER_ON 0x02
#define OUTPUT_2 0x20

void pit_start(unsigned hz, irq_handler tick) {
    unsigned divisor = (INPUT_HZ + hz / 2) / hz;

    outb(CONTROL, CHANNEL_0_MODE_2);
    outb(CHANNEL_0, (uint8_t)divisor);
    outb(CHANNEL_0, (uint8_t)(divisor >> 8));
    irq_register(0, tick);
}

uint64_t pit_measure_tsc(void) {
    unsigned count = INPUT_HZ / 100;

    outb(SPEAKER, (inb(SPEAKER) & ~SPEAKER_ON) | GATE_2);
    outb(CONTROL, CHANNEL_2_MODE_0);
    outb(CHANNEL_2, (uint8_t)count);
    outb(CHANNEL_2, (uint8_t)(count >> 8));
    uint64_t start = rdtsc();
    while (!(inb(SPEAKER) & OUTPUT_2))
        ;
    return (rdtsc() - start) * 100;
}
