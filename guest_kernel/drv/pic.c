/* 8259A pair. The chips start in automatic end-of-interrupt mode [8259A ICW4]: our handlers run with
 * interrupts off, so nothing nests, and a handler needs no port access of its own. */
#include "drv/pic.h"
#include "kern/irq.h"
#include "kern/trap.h"

#define MASTER 0x20
#define SLAVE 0xA0
#define ICW1_INIT_ICW4 0x11
#define ICW4_8086_AEOI 0x03
#define CASCADE 2

static uint16_t masked = 0xFFFF & ~(1u << CASCADE);

static void set_masks(void) {
    outb(MASTER + 1, (uint8_t)masked);
    outb(SLAVE + 1, (uint8_t)(masked >> 8));
}

void pic_init(void) {
    outb(MASTER, ICW1_INIT_ICW4);
    outb(SLAVE, ICW1_INIT_ICW4);
    outb(MASTER + 1, VECTOR_IRQ);       /* ICW2: vector of line 0 */
    outb(SLAVE + 1, VECTOR_IRQ + 8);
    outb(MASTER + 1, 1 << CASCADE);     /* ICW3: the slave's line, then its number */
    outb(SLAVE + 1, CASCADE);
    outb(MASTER + 1, ICW4_8086_AEOI);
    outb(SLAVE + 1, ICW4_8086_AEOI);
    set_masks();
}

void pic_unmask(unsigned n) {
    masked &= (uint16_t)~(1u << n);
    set_masks();
}
