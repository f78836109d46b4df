/* Where a program begins.
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
        pushl   %eax
        call    exit

        .section .note.GNU-stack, "", @progbits
