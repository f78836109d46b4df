/* Names that kernel.ld and the build give to places: arrays, so that the name is the address. */
#pragma once

extern char kernel_start[], kernel_text_end[], kernel_rodata_end[], kernel_end[];
extern const char initrd_start[], initrd_end[], symbols_start[], symbols_end[];
