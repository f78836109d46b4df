/* System calls: `int $0x80`, number in EAX, arguments in EBX ECX EDX ESI EDI EBP, answer in EAX, a
 * negative errno on failure; every other register is kept. Numbers of Linux on i386. Shared with
 * libc and usable from assembly. */
#pragma once

#define SYS_exit 1
#define SYS_fork 2
#define SYS_read 3
#define SYS_write 4
#define SYS_open 5
#define SYS_close 6
#define SYS_waitpid 7
#define SYS_unlink 10
#define SYS_execve 11
#define SYS_lseek 19
#define SYS_getpid 20
#define SYS_kill 37
#define SYS_mkdir 39
#define SYS_rmdir 40
#define SYS_brk 45
#define SYS_signal 48
#define SYS_ioctl 54
#define SYS_fcntl 55
#define SYS_setpgid 57
#define SYS_dup2 63
#define SYS_reboot 88
#define SYS_fstat 108
#define SYS_nanosleep 162
#define SYS_poll 168
#define SYS_sendfile 187
#define SYS_getdents64 220
#define SYS_epoll_ctl 255
#define SYS_epoll_wait 256
#define SYS_clock_gettime 265
#define SYS_epoll_create1 329
#define SYS_pipe2 331
#define SYS_socket 359
#define SYS_bind 361
#define SYS_connect 362
#define SYS_listen 363
#define SYS_accept4 364
#define SYS_getsockopt 365
#define SYS_setsockopt 366
#define SYS_getsockname 367
#define SYS_getpeername 368
#define SYS_sendto 369
#define SYS_recvfrom 371
#define SYS_shutdown 373
