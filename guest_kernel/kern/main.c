/* From the first line of C to the first process: read this file first. */
#include "boot/multiboot.h"
#include "drv/pic.h"
#include "drv/uart.h"
#include "kern/console.h"
#include "kern/initrd.h"
#include "kern/mem.h"
#include "kern/paging.h"
#include "kern/power.h"
#include "kern/process.h"
#include "kern/thread.h"
#include "kern/time.h"
#include "kern/trap.h"
#include "net/socket.h"

_Noreturn void kernel_main(uint32_t magic, uint32_t info);
void provoke(const char *name);

_Noreturn void kernel_main(uint32_t magic, uint32_t info) {
    char init[128], net[32], fault[32];

    thread_init();
    multiboot_parse(magic, info);
    page_init();
    paging_init();
    segments_init(); /* from here on a fault is a readable page */
    pic_init();
    uart_start();
    kprintf("Leulo guest: 32-bit PAE, %u MiB RAM, %s, %s\n", (boot_info.ram_end + 0xFFFFF) >> 20,
            paging_has_nx() ? "NX on data and stacks" : "no NX in this CPU: data can be executed",
            power_is_leulo() ? "hypercall gate found" : "no hypercall gate: not on Leulo");
    time_init();
    initrd_init();
    command_line_value("provoke=", fault, sizeof fault);
    provoke(fault);
    command_line_value("net=", net, sizeof net);
    net_init(net);
    command_line_value("init=", init, sizeof init);
    process_start_init(*init ? init : "/bin/init");
    thread_idle();
}
