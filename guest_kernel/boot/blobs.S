/* Two things the build links in: the initrd, a cpio archive, and the table of the kernel's functions
 * for backtraces (leulo/image.py writes both). The symbols come last of everything that is
 * read-only, so that no function moves when the table grows. */
        .section .rodata.archive, "a", @progbits
        .balign 8
        .globl  archive_place           /* `leulo image add` finds this and writes another place */
        .ascii  "LULOCPIO"
archive_place:
        .long   initrd_start, initrd_end
        .section .initrd, "a", @progbits
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
