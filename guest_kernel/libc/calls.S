/* The door into the kernel. Every function here is one system call: its arguments are words on the
 * stack, and the kernel takes up to six of them in registers and keeps every register but EAX. */
#include "kern/syscall.h"

        .text
enter:  pushl   %ebp
        pushl   %edi
        pushl   %esi
        pushl   %ebx
        movl    20(%esp), %ebx          /* six always: needless loads, but no variants */
        movl    24(%esp), %ecx
        movl    28(%esp), %edx
        movl    32(%esp), %esi
        movl    36(%esp), %edi
        movl    40(%esp), %ebp
        int     $0x80
        popl    %ebx
        popl    %esi
        popl    %edi
        popl    %ebp
        cmpl    $-4095, %eax            /* from -4095 to -1: an error number */
        jae     failed
        ret
failed: negl    %eax
        movl    %eax, errno
        movl    $-1, %eax
        ret

        .macro  CALL name, number
        .globl  \name
\name:  movl    $\number, %eax
        jmp     enter
        .endm

        CALL    _exit, SYS_exit
        CALL    accept4, SYS_accept4
        CALL    bind, SYS_bind
        CALL    brk, SYS_brk
        CALL    clock_gettime, SYS_clock_gettime
        CALL    close, SYS_close
        CALL    connect, SYS_connect
        CALL    dup2, SYS_dup2
        CALL    epoll_create1, SYS_epoll_create1
        CALL    epoll_ctl, SYS_epoll_ctl
        CALL    epoll_wait, SYS_epoll_wait
        CALL    execve, SYS_execve
        CALL    fcntl, SYS_fcntl
        CALL    fork, SYS_fork
        CALL    fstat, SYS_fstat
        CALL    getdents64, SYS_getdents64
        CALL    getpeername, SYS_getpeername
        CALL    getpid, SYS_getpid
        CALL    getsockname, SYS_getsockname
        CALL    getsockopt, SYS_getsockopt
        CALL    ioctl, SYS_ioctl
        CALL    listen, SYS_listen
        CALL    kill, SYS_kill
        CALL    lseek, SYS_lseek
        CALL    mkdir, SYS_mkdir
        CALL    nanosleep, SYS_nanosleep
        CALL    open, SYS_open
        CALL    pipe2, SYS_pipe2
        CALL    poll, SYS_poll
        CALL    read, SYS_read
        CALL    reboot4, SYS_reboot
        CALL    recvfrom, SYS_recvfrom
        CALL    rmdir, SYS_rmdir
        CALL    sendfile, SYS_sendfile
        CALL    sendto, SYS_sendto
        CALL    setpgid, SYS_setpgid
        CALL    setsockopt, SYS_setsockopt
        CALL    shutdown, SYS_shutdown
        CALL    signal, SYS_signal
        CALL    socket, SYS_socket
        CALL    unlink, SYS_unlink
        CALL    waitpid, SYS_waitpid
        CALL    write, SYS_write

        .section .note.GNU-stack, "", @progbits
