/* Where a program begins, and the one door from it into the kernel.
 * The kernel leaves the stack as on Linux i386: argc, argv[0..], NULL, envp[0..], NULL. */
        .text
        .globl  _start
_start: xorl    %ebp, %ebp              /* the last frame of a backtrace */
        movl    (%esp), %eax            /* argc */
        leal    4(%esp), %edx           /* argv */
        leal    8(%esp,%eax,4), %ecx    /* envp, after argv's NULL */
        movl    %ecx, environ
        andl    $-16, %esp
        subl    $8, %esp
        pushl   %edx
        pushl   %eax
        call    main
        movl    %eax, (%esp)
        call    exit

/* long system_call(number, a, b, c, d, e, f): six arguments always, which costs a few needless
 * loads and saves six variants. The kernel keeps every register but EAX. */
        .globl  system_call
system_call:
        pushl   %ebp
        pushl   %edi
        pushl   %esi
        pushl   %ebx
        movl    20(%esp), %eax
        movl    24(%esp), %ebx
        movl    28(%esp), %ecx
        movl    32(%esp), %edx
        movl    36(%esp), %esi
        movl    40(%esp), %edi
        movl    44(%esp), %ebp
        int     $0x80
        popl    %ebx
        popl    %esi
        popl    %edi
        popl    %ebp
        ret

        .section .note.GNU-stack, "", @progbits
