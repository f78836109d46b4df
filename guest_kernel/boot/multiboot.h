/* What the boot loader tells: how much RAM, the command line, perhaps an initrd as a module. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct boot_info {
    uint32_t ram_end;                   /* bytes of RAM, counted from address 0; at most 1 GiB */
    uint32_t initrd_start, initrd_end;  /* the image's own, or a module that replaces it */
    char command_line[512];
};
extern struct boot_info boot_info;

/* Fill boot_info. Paging must still be off: the loader's structure may lie anywhere. */
void multiboot_parse(uint32_t magic, uint32_t info);
/* Value of the word `key` ("init=") on the command line, copied to `value`; "" if there is none. */
void command_line_value(const char *key, char *value, size_t size);
