/* The pair of 8259A interrupt controllers, IRQ 0-15 at vectors 0x20-0x2F. */
#pragma once

#define PIC_LINES 16

void pic_init(void);
void pic_unmask(unsigned n);
