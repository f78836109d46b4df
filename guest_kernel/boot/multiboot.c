/* The multiboot 1 information structure [multiboot 1 3.3]. */
#include "boot/multiboot.h"
#include "kern/layout.h"
#include "kern/mem.h"
#include "kern/panic.h"

#define LOADED_BY_MULTIBOOT 0x2BADB002u
#define HAS_MEMORY 0x1u
#define HAS_COMMAND_LINE 0x4u
#define HAS_MODULES 0x8u
#define MAX_RAM 0x40000000u

struct multiboot {
    uint32_t flags, mem_lower_kib, mem_upper_kib, boot_device;
    const char *command_line;
    uint32_t modules;
    const struct {
        uint32_t start, end, name, reserved;
    } *module;
};

struct boot_info boot_info;

void multiboot_parse(uint32_t magic, uint32_t info) {
    const struct multiboot *multiboot = (const struct multiboot *)info;

    if (magic != LOADED_BY_MULTIBOOT || !(multiboot->flags & HAS_MEMORY))
        panic("the boot loader does not speak multiboot 1 (EAX = %x)", magic);
    uint32_t upper_limit = (MAX_RAM - 0x100000u) / 1024;
    uint32_t upper = multiboot->mem_upper_kib;
    boot_info.ram_end = (0x100000u + (upper < upper_limit ? upper : upper_limit) * 1024)
                        & ~(PAGE_BYTES - 1);
    if (multiboot->flags & HAS_COMMAND_LINE)
        for (size_t i = 0; i + 1 < sizeof boot_info.command_line && multiboot->command_line[i]; i++)
            boot_info.command_line[i] = multiboot->command_line[i];
    boot_info.initrd_start = archive_place[0];
    boot_info.initrd_end = archive_place[1];
    if ((multiboot->flags & HAS_MODULES) && multiboot->modules) {
        boot_info.initrd_start = multiboot->module[0].start;
        boot_info.initrd_end = multiboot->module[0].end;
    }
}

void command_line_value(const char *key, char *value, size_t size) {
    size_t key_length = strlen(key), length = 0;

    for (const char *at = boot_info.command_line; *at; at++) {
        if ((at != boot_info.command_line && at[-1] != ' ') || strncmp(at, key, key_length) != 0)
            continue;
        for (at += key_length; *at && *at != ' ' && length + 1 < size; at++)
            value[length++] = *at;
        break;
    }
    value[length] = 0;
}
