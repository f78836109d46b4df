/* Power off through the debug exit port, as QEMU's isa-debug-exit has it; restart by the keyboard
 * controller's pulse on the reset line. */
#include "kern/power.h"
#include "kern/console.h"
#include "kern/cpu.h"
#include "leulo/abi.h"

#define DEBUG_EXIT 0xF4
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_PULSE_RESET 0xFE

static _Noreturn void stand_still(void) {
    for (;;)
        __asm__ volatile("cli; hlt");
}

_Noreturn void power_off(uint32_t status) {
    outl(DEBUG_EXIT, status);
    kprintf("the machine does not switch itself off; end it from outside\n");
    stand_still();
}

_Noreturn void power_restart(void) {
    outb(KEYBOARD_COMMAND, KEYBOARD_PULSE_RESET);
    kprintf("the machine does not restart itself; end it from outside\n");
    stand_still();
}

bool power_is_leulo(void) {
    return inl(LEULO_GATE_PORT) == LEULO_GATE_MAGIC;
}
