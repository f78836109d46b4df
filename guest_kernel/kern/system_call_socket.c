/* Socket system calls: descriptors, addresses and options between user memory and net/socket.h. */
#include "kern/errno.h"
#include "kern/file.h"
#include "kern/mem.h"
#include "kern/system_call.h"
#include "net/socket.h"

#define MAX_OPTION 256

/* The socket behind a descriptor: 0, -EBADF or -ENOTSOCK. */
static int socket_of(uint32_t descriptor, struct file **file) {
    *file = file_of((int)descriptor);
    if (!*file)
        return -EBADF;
    return (*file)->ops == &socket_ops ? 0 : -ENOTSOCK;
}

static int address_in(struct sockaddr_storage *address, uintptr_t user, uint32_t bytes) {
    if (bytes < sizeof(sa_family_t) || bytes > 128)
        return -EINVAL;
    *address = (struct sockaddr_storage){0};
    return copyin(address, user, bytes < sizeof *address ? bytes : sizeof *address);
}

/* As accept(2) has it: cut to the caller's room, but tell the whole length. */
static int address_out(uintptr_t user, uintptr_t user_bytes, const void *address, socklen_t bytes) {
    socklen_t room;

    if (copyin(&room, user_bytes, sizeof room) < 0)
        return -EFAULT;
    if (room > INT32_MAX)
        return -EINVAL;
    if (copyout(user, address, room < bytes ? room : bytes) < 0)
        return -EFAULT;
    return copyout(user_bytes, &bytes, sizeof bytes);
}

int sys_socket(struct trap_frame *frame) {
    struct file *made;
    int result = sock_socket((int)frame->ebx, (int)frame->ecx, (int)frame->edx, &made);

    return result < 0 ? result : file_install(made);
}

static int with_address(struct trap_frame *frame,
                        int (*call)(struct file *, const struct sockaddr_storage *, socklen_t)) {
    struct file *file;
    struct sockaddr_storage address;
    int result = socket_of(frame->ebx, &file);

    if (result == 0)
        result = address_in(&address, frame->ecx, frame->edx);
    return result < 0 ? result : call(file, &address, frame->edx);
}

int sys_bind(struct trap_frame *frame) {
    return with_address(frame, sock_bind);
}

int sys_connect(struct trap_frame *frame) {
    return with_address(frame, sock_connect);
}

int sys_listen(struct trap_frame *frame) {
    struct file *file;
    int result = socket_of(frame->ebx, &file);

    return result < 0 ? result : sock_listen(file, (int)frame->ecx);
}

int sys_accept4(struct trap_frame *frame) {
    struct file *file, *made;
    struct sockaddr_storage peer;
    socklen_t bytes = sizeof peer;
    int result = socket_of(frame->ebx, &file);

    if (result == 0)
        result = sock_accept(file, (int)frame->esi, &made, &peer, &bytes);
    if (result < 0)
        return result;
    if (frame->ecx && address_out(frame->ecx, frame->edx, &peer, bytes) < 0) {
        file_put(made);
        return -EFAULT;
    }
    return file_install(made);
}

static int name(struct trap_frame *frame, bool of_peer) {
    struct file *file;
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    int result = socket_of(frame->ebx, &file);

    if (result == 0)
        result = sock_name(file, of_peer, &address, &bytes);
    return result < 0 ? result : address_out(frame->ecx, frame->edx, &address, bytes);
}

int sys_getsockname(struct trap_frame *frame) {
    return name(frame, false);
}

int sys_getpeername(struct trap_frame *frame) {
    return name(frame, true);
}

int sys_getsockopt(struct trap_frame *frame) {
    struct file *file;
    char value[MAX_OPTION];
    socklen_t bytes;
    int result = socket_of(frame->ebx, &file);

    if (result == 0)
        result = copyin(&bytes, frame->edi, sizeof bytes);
    if (result < 0)
        return result;
    if (bytes > sizeof value)
        bytes = sizeof value;
    result = sock_getsockopt(file, (int)frame->ecx, (int)frame->edx, value, &bytes);
    return result < 0 ? result : address_out(frame->esi, frame->edi, value, bytes);
}

int sys_setsockopt(struct trap_frame *frame) {
    struct file *file;
    char value[MAX_OPTION];
    int result = socket_of(frame->ebx, &file);

    if (result == 0)
        result = frame->edi > sizeof value ? -EINVAL : copyin(value, frame->esi, frame->edi);
    if (result < 0)
        return result;
    return sock_setsockopt(file, (int)frame->ecx, (int)frame->edx, value, frame->edi);
}

int sys_sendto(struct trap_frame *frame) {
    struct file *file;
    struct sockaddr_storage to;
    int result = socket_of(frame->ebx, &file);

    if (result == 0 && !is_user_range(frame->ecx, frame->edx))
        result = -EFAULT;
    if (result == 0 && frame->edi)
        result = address_in(&to, frame->edi, frame->ebp);
    if (result < 0)
        return result;
    return sock_sendto(file, frame->ecx, frame->edx, (int)frame->esi, frame->edi ? &to : NULL,
                       frame->ebp);
}

int sys_recvfrom(struct trap_frame *frame) {
    struct file *file;
    struct sockaddr_storage from;
    socklen_t bytes = 0;
    int result = socket_of(frame->ebx, &file);

    if (result == 0 && !is_user_range(frame->ecx, frame->edx))
        result = -EFAULT;
    if (result < 0)
        return result;
    ssize_t got = sock_recvfrom(file, frame->ecx, frame->edx, (int)frame->esi,
                                frame->edi ? &from : NULL, &bytes);
    if (got >= 0 && frame->edi && address_out(frame->edi, frame->ebp, &from, bytes) < 0)
        return -EFAULT;
    return got;
}

int sys_shutdown(struct trap_frame *frame) {
    struct file *file;
    int result = socket_of(frame->ebx, &file);

    return result < 0 ? result : sock_shutdown(file, (int)frame->ecx);
}
