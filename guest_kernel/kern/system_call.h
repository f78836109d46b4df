/* System calls inside the kernel: one function each, from the registers to the answer. */
#pragma once

#include "kern/trap.h"

/* Arguments: frame->ebx, ecx, edx, esi, edi, ebp. The answer is put into EAX. */
typedef int system_call(struct trap_frame *frame);

system_call sys_read, sys_write, sys_open, sys_close, sys_lseek, sys_ioctl, sys_fcntl, sys_fstat;
system_call sys_getdents64, sys_sendfile, sys_poll, sys_dup2, sys_pipe2, sys_unlink, sys_mkdir;
system_call sys_rmdir;
system_call sys_epoll_create1, sys_epoll_ctl, sys_epoll_wait;
system_call sys_socket, sys_bind, sys_connect, sys_listen, sys_accept4, sys_getsockopt;
system_call sys_setsockopt, sys_getsockname, sys_getpeername, sys_sendto, sys_recvfrom;
system_call sys_shutdown;
