/* Names that kernel.ld and the build give to places: arrays, so that the name is the address. */
#pragma once

#include <stdint.h>

extern char kernel_start[], kernel_text_end[], kernel_rodata_end[], kernel_end[];
extern const uint32_t archive_place[2]; /* first byte of the initrd, and its end */
extern const char symbols_start[], symbols_end[];
