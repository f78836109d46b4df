/* Two things the build links in: the initrd, a cpio archive, and the table of the kernel's functions
 * for backtraces (leulo/image.py writes both). The symbols come last of everything that is
 * read-only, so that no function moves when the table grows. */
        .section .initrd, "a", @progbits
        .globl  initrd_start, initrd_end
initrd_start:
        .incbin "initrd.cpio"
initrd_end:
        .section .symbols, "a", @progbits
        .balign 4
        .globl  symbols_start, symbols_end
symbols_start:
        .incbin "symbols.bin"
symbols_end:
        .section .note.GNU-stack, "", @progbits
