# Page faults with their error codes, rights, accessed and dirty bits, page sizes.
    .include "case.inc"
    .text

    .macro ENTRY page, reg
    mov pages_table+(\page-PAGES)/4096*8, \reg
    and $0xfff, \reg
    .endm
    .macro REMAP page, rights
    movl $\rights, pages_table+(\page-PAGES)/4096*8
    invlpg \page
    .endm
    .macro NO_WP
    mov %cr0, %eax
    and $~0x10000, %eax
    mov %eax, %cr0
    xor %eax, %eax
    .endm

    CASE read_absent, 0, 3
    mov P_ABSENT+8, %eax
    CASE write_absent, 0, 3
    movl $1, P_ABSENT+8
    CASE modify_absent, 0, 3
    incl P_ABSENT+8
    CASE execute_absent, 0, 3
    mov $P_ABSENT+8, %eax
    jmp *%eax
    CASE read_kernel, 0, 3
    mov P_KERNEL, %eax
    DONE
    CASE write_kernel, 0, 3
    movl $1, P_KERNEL
    DONE
    CASE execute_kernel, 3
    mov $P_KERNEL, %eax
    jmp *%eax
    CASE read_readonly, 0, 3
    mov P_READONLY, %eax
    DONE
    CASE write_readonly, 0, 3
    movl $1, P_READONLY
    CASE write_readonly_kernel, 0, 3
    movl $1, P_KREADONLY
    CASE write_readonly_without_wp, 0
    NO_WP
    movl $7, P_READONLY
    mov P_READONLY, %eax
    ENTRY P_READONLY, %ebx
    DONE
    CASE write_readonly_without_wp_user, 0
    NO_WP
    call to_user
    movl $1, P_READONLY
    CASE execute_nx, 0, 3
    mov $P_NX+4, %eax
    jmp *%eax
    CASE execute_nx_off, 0
    movl $0xc3c3c3c3, P_NX
    mov $0xc0000080, %ecx
    rdmsr
    and $~0x800, %eax
    wrmsr
    mov %cr3, %eax
    mov %eax, %cr3
    mov P_NX, %eax
    CASE reserved_bit, 0, 3
    mov P_RESERVED, %eax
    CASE reserved_bit_write, 0, 3
    movl $1, P_RESERVED
    CASE accessed_by_read, 0
    mov P_USER, %eax
    ENTRY P_USER, %eax
    DONE
    CASE dirty_by_write, 0
    mov P_USER, %eax
    movl $1, P_USER
    ENTRY P_USER, %eax
    DONE
    CASE accessed_by_execute, 0
    movb $0xc3, P_CODE
    andl $~0x60, pages_table+10*8
    invlpg P_CODE
    mov $P_CODE, %eax
    call *%eax
    ENTRY P_CODE, %eax
    DONE
    CASE accessed_not_by_fault, 0, 3
    mov pages_table+2*8, %ebx
    and $0xfff, %ebx
    movl $1, P_READONLY
    CASE accessed_of_directory, 0
    andl $~0x20, directory+(PAGES>>21)*8
    mov %cr3, %eax
    mov %eax, %cr3
    mov P_USER, %eax
    mov directory+(PAGES>>21)*8, %eax
    and $0xfff, %eax
    DONE
    CASE alias_shares, 0, 3
    movl $0x1234, P_USER
    mov P_ALIAS, %eax
    DONE
    CASE remap_with_invlpg, 0
    movl $1, P_USER
    movl $2, P_CODE
    mov P_USER, %ebx
    mov pages_table+10*8, %eax
    mov %eax, pages_table
    invlpg P_USER
    mov P_USER, %ecx
    xor %eax, %eax
    DONE
    CASE remap_with_cr3, 0
    movl $1, P_USER
    movl $2, P_CODE
    mov P_USER, %ebx
    mov pages_table+10*8, %eax
    mov %eax, pages_table
    mov %cr3, %eax
    mov %eax, %cr3
    mov P_USER, %ecx
    xor %eax, %eax
    DONE
    CASE global_survives_cr3, 0
    mov %cr4, %eax
    or $0x80, %eax
    mov %eax, %cr4
    orl $0x100, pages_table
    invlpg P_USER
    movl $5, P_USER
    xor %eax, %eax
    mov P_USER, %ebx
    DONE
    CASE large_page, 0, 3
    movl $0x77, P_LARGE+0x123400
    mov P_LARGE+0x123400, %eax
    mov 0x923400, %ebx
    mov directory+8*8, %ecx
    and $0xfff, %ecx
    DONE
    CASE large_page_reserved, 0
    orl $0x2000, directory+8*8
    mov %cr3, %eax
    mov %eax, %cr3
    xor %eax, %eax
    mov P_LARGE, %eax
    CASE large_page_readonly, 0, 3
    andl $~2, directory+8*8
    call flush_if_kernel
    movl $1, P_LARGE+4
    CASE pointer_absent, 0, 3
    mov 0x40000000, %eax
    CASE directory_absent, 0
    movl $0, directory+9*8
    mov %cr3, %eax
    mov %eax, %cr3
    xor %eax, %eax
    mov 9*0x200000+4, %eax
    CASE across_pages_read, 0, 3
    mov P_LAST+0xffe, %eax
    CASE across_pages_write, 0, 3       # nothing is written
    movl $-1, P_LAST2+0xffd
    CASE across_pages_write_left, 0
    movw $0x1234, P_LAST+0xffe
    mov $1f, %eax
    mov %ax, idt+14*8
    shr $16, %eax
    mov %ax, idt+14*8+6
    movl $-1, P_LAST+0xffe
1:  movzwl P_LAST+0xffe, %eax
    pop %ebx
    DONE
    CASE across_pages_both_there, 0, 3
    movl $0x11223344, P_CODE+0xffe
    mov P_CODE+0xffe, %eax
    movzwl P_CODE2, %ebx
    DONE
    CASE execute_across_pages, 0, 3
    movw $0x34b8, P_CODE+0xffd
    movb $0x12, P_CODE+0xfff            # mov eax, imm32, the immediate in two pages
    movl $0xcd000000, P_CODE2
    movl $0xcd000000|0x42, P_CODE2+1
    movb $0, P_CODE2
    movb $0, P_CODE2+1
    movb $0xcd, P_CODE2+2
    movb $0x42, P_CODE2+3
    mov $P_CODE+0xffd, %ecx
    jmp *%ecx
    CASE execute_into_absent, 0, 3
    movw $0x34b8, P_LAST2+0xffe
    mov $P_LAST2+0xffe, %ecx
    jmp *%ecx
    CASE execute_up_to_absent, 0, 3
    movb $0x40, P_LAST2+0xfff
    mov $P_LAST2+0xfff, %ecx
    jmp *%ecx
    CASE data_behind_the_codes_page, 0, 3    # not a fetch, though it looks like one
    movl $0x00a14040, P_LAST2+0xf00         # inc eax, inc eax, mov eax, [P_LAST2+0x1000]
    movl $P_LAST2+0x1000, P_LAST2+0xf03
    mov $P_LAST2+0xf00, %ecx
    jmp *%ecx
    CASE push_readonly_user, 3
    mov $P_READONLY+8, %esp
    push $1
    CASE push_absent_user, 3
    mov $P_ABSENT+64, %esp
    push $1
    CASE pop_to_absent, 0, 3
    popl P_ABSENT
    CASE call_absent_stack, 3
    mov $P_ABSENT+64, %esp
    call 1f
1:  nop
    CASE cr2_kept_by_success, 0
    mov $0x12345, %eax
    mov %eax, %cr2
    mov P_USER, %eax
    mov %cr2, %eax
    DONE
    CASE paging_32, 0
    call to_paging_32
    movl $9, P_USER
    mov P_USER, %eax
    mov directory32+(P_USER>>22)*4, %ebx
    and $0xfff, %ebx
    DONE
    CASE paging_32_absent, 0
    movl $0, directory32+(P_USER>>22)*4
    call to_paging_32
    movl $9, P_USER+12
    CASE paging_32_readonly, 0
    andl $~2, directory32+(P_USER>>22)*4
    call to_paging_32
    movl $9, P_USER+12
    CASE paging_32_supervisor, 0
    andl $~4, directory32+(P_USER>>22)*4
    call to_paging_32
    call to_user
    movl $9, P_USER+12
    CASE paging_32_reserved, 0
    orl $0x200000, directory32+(P_USER>>22)*4
    call to_paging_32
    mov P_USER, %eax
    CASE paging_off, 0
    mov %cr0, %eax
    and $0x7fffffff, %eax
    mov %eax, %cr0
    movl $3, 0x700000
    mov 0x700000, %eax
    DONE
    CASE efer_reserved, 0
    mov $0xc0000080, %ecx
    mov $0x40000000, %eax
    xor %edx, %edx
    wrmsr
    DONE

to_paging_32:
    mov %cr0, %eax
    and $0x7fffffff, %eax
    mov %eax, %cr0
    mov $0x610, %ecx                    # PSE, no PAE
    mov %ecx, %cr4
    mov $directory32, %ecx
    mov %ecx, %cr3
    or $0x80000000, %eax
    mov %eax, %cr0
    xor %eax, %eax
    xor %ecx, %ecx
    ret
flush_if_kernel:
    mov %cs, %eax
    test $3, %eax
    jnz 1f
    mov %cr3, %eax
    mov %eax, %cr3
1:  xor %eax, %eax
    ret
