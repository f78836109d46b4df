/* The table of system calls, and those about processes, memory and time. */
#include "kern/system_call.h"
#include "kern/errno.h"
#include "kern/mem.h"
#include "kern/power.h"
#include "kern/process.h"
#include "kern/syscall.h"
#include "kern/uapi.h"

#define NS_PER_S 1000000000u

static int sys_exit(struct trap_frame *frame) {
    process_exit((int)(frame->ebx & 0xFF) << 8);
}

static int sys_fork(struct trap_frame *frame) {
    return process_fork(frame);
}

static int sys_waitpid(struct trap_frame *frame) {
    int status, pid = process_wait((int)frame->ebx, !(frame->edx & WNOHANG), &status);

    if (pid > 0 && frame->ecx && copyout(frame->ecx, &status, sizeof status) < 0)
        return -EFAULT;
    return pid;
}

static int sys_execve(struct trap_frame *frame) {
    char path[MAX_PATH];
    int length = copyin_string(path, frame->ebx, sizeof path);

    if (length < 0)
        return length;
    int result = process_exec(path, frame->ecx, frame->edx, frame);
    return result < 0 ? result : 0;
}

static int sys_getpid(struct trap_frame *frame) {
    (void)frame;
    return process_current()->pid;
}

static int sys_kill(struct trap_frame *frame) {
    return process_kill((int)frame->ebx, (int)frame->ecx);
}

/* signal(number, SIG_DFL or SIG_IGN): there are no handlers. */
static int sys_signal(struct trap_frame *frame) {
    uint32_t *ignored = &process_current()->ignored, bit = 1u << frame->ebx % 32;

    if (!frame->ebx || frame->ebx >= 32 || frame->ebx == SIGKILL || frame->ecx > SIG_IGN_VALUE)
        return -EINVAL;
    int before = *ignored & bit ? SIG_IGN_VALUE : 0;
    *ignored = frame->ecx ? *ignored | bit : *ignored & ~bit;
    return before;
}

static int sys_setpgid(struct trap_frame *frame) {
    return process_set_group((int)frame->ebx, (int)frame->ecx);
}

static int sys_brk(struct trap_frame *frame) {
    return (int)process_brk(frame->ebx);
}

static int sys_reboot(struct trap_frame *frame) {
    if (frame->ebx != REBOOT_MAGIC1 || frame->ecx != REBOOT_MAGIC2)
        return -EINVAL;
    if (frame->edx == REBOOT_POWER_OFF)
        power_off(frame->esi);
    if (frame->edx == REBOOT_RESTART)
        power_restart();
    return -EINVAL;
}

static int sys_nanosleep(struct trap_frame *frame) {
    static struct wait_queue nobody_wakes;
    struct timespec wanted;

    if (copyin(&wanted, frame->ebx, sizeof wanted) < 0)
        return -EFAULT;
    if (wanted.tv_sec < 0 || (unsigned)wanted.tv_nsec >= NS_PER_S)
        return -EINVAL;
    uint64_t ns = (uint64_t)wanted.tv_sec * NS_PER_S + (unsigned)wanted.tv_nsec;
    return ns && sleep_on(&nobody_wakes, ns) == -EINTR ? -EINTR : 0;
}

static int sys_clock_gettime(struct trap_frame *frame) {
    uint64_t now = frame->ebx == CLOCK_MONOTONIC ? time_now_ns() : time_calendar_ns();
    if (frame->ebx > CLOCK_MONOTONIC || (!now && frame->ebx == CLOCK_REALTIME))
        return -EINVAL; /* nobody has told the time of day */
    struct timespec time = {(time_t)(now / NS_PER_S), (int)(now % NS_PER_S)};
    return copyout(frame->ecx, &time, sizeof time);
}

static system_call *const table[] = {
    [SYS_exit] = sys_exit, [SYS_fork] = sys_fork, [SYS_execve] = sys_execve,
    [SYS_waitpid] = sys_waitpid, [SYS_getpid] = sys_getpid, [SYS_kill] = sys_kill,
    [SYS_brk] = sys_brk, [SYS_signal] = sys_signal, [SYS_setpgid] = sys_setpgid,
    [SYS_reboot] = sys_reboot, [SYS_nanosleep] = sys_nanosleep,
    [SYS_clock_gettime] = sys_clock_gettime,

    [SYS_open] = sys_open, [SYS_read] = sys_read, [SYS_write] = sys_write,
    [SYS_close] = sys_close, [SYS_lseek] = sys_lseek, [SYS_ioctl] = sys_ioctl,
    [SYS_fcntl] = sys_fcntl, [SYS_fstat] = sys_fstat, [SYS_getdents64] = sys_getdents64,
    [SYS_sendfile] = sys_sendfile, [SYS_dup2] = sys_dup2, [SYS_pipe2] = sys_pipe2,
    [SYS_unlink] = sys_unlink, [SYS_mkdir] = sys_mkdir, [SYS_rmdir] = sys_rmdir,
    [SYS_poll] = sys_poll,
    [SYS_epoll_create1] = sys_epoll_create1, [SYS_epoll_ctl] = sys_epoll_ctl,
    [SYS_epoll_wait] = sys_epoll_wait,

    [SYS_socket] = sys_socket, [SYS_bind] = sys_bind, [SYS_connect] = sys_connect,
    [SYS_listen] = sys_listen, [SYS_accept4] = sys_accept4, [SYS_shutdown] = sys_shutdown,
    [SYS_getsockopt] = sys_getsockopt, [SYS_setsockopt] = sys_setsockopt,
    [SYS_getsockname] = sys_getsockname, [SYS_getpeername] = sys_getpeername,
    [SYS_sendto] = sys_sendto, [SYS_recvfrom] = sys_recvfrom,
};

/* From syscall_entry (kern/trap_entry.S). */
void syscall_dispatch(struct trap_frame *frame) {
    uint32_t number = frame->eax;
    system_call *call = number < sizeof table / sizeof *table ? table[number] : NULL;

    frame->eax = (uint32_t)(call ? call(frame) : -ENOSYS);
    if (attention)
        trap_attend();
}
