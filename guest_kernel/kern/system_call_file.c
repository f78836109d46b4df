/* System calls about files of any kind. */
#include "kern/errno.h"
#include "kern/file.h"
#include "kern/initrd.h"
#include "kern/mem.h"
#include "kern/process.h"
#include "kern/system_call.h"

#define MAX_PATH 256
#define MAX_COUNT 0x7FFFF000u

int sys_read(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);

    if (!file)
        return -EBADF;
    if (!file->ops->read)
        return file->ops->mode == S_IFDIR ? -EISDIR : -EINVAL;
    if (!is_user_range(frame->ecx, frame->edx))
        return -EFAULT;
    return file->ops->read(file, frame->ecx, frame->edx < MAX_COUNT ? frame->edx : MAX_COUNT);
}

int sys_write(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);

    if (!file || !file->ops->write)
        return -EBADF;
    if (!is_user_range(frame->ecx, frame->edx))
        return -EFAULT;
    return file->ops->write(file, frame->ecx, frame->edx < MAX_COUNT ? frame->edx : MAX_COUNT);
}

int sys_open(struct trap_frame *frame) {
    char path[MAX_PATH];
    struct file *file;
    int result = copyin_string(path, frame->ebx, sizeof path);

    if (result >= 0)
        result = initrd_open(path, frame->ecx, &file);
    return result < 0 ? result : file_install(file);
}

int sys_close(struct trap_frame *frame) {
    return file_close((int)frame->ebx);
}

int sys_lseek(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);
    const char *data;
    uint32_t bytes;
    int64_t target = (int32_t)frame->ecx;

    if (!file)
        return -EBADF;
    if (!initrd_content(file, &data, &bytes))
        return -ESPIPE;
    if (frame->edx > SEEK_END)
        return -EINVAL;
    target += frame->edx == SEEK_CUR ? file->offset : frame->edx == SEEK_END ? bytes : 0;
    if (target < 0 || target > INT32_MAX)
        return -EINVAL;
    file->offset = (uint32_t)target;
    return (int)target;
}

int sys_ioctl(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);

    if (!file)
        return -EBADF;
    return file->ops->ioctl ? file->ops->ioctl(file, frame->ecx, frame->edx) : -ENOTTY;
}

int sys_fcntl(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);

    if (!file)
        return -EBADF;
    if (frame->ecx == F_GETFL)
        return (int)file->flags;
    if (frame->ecx != F_SETFL)
        return -EINVAL;
    file->flags = (file->flags & ~(uint32_t)O_NONBLOCK) | (frame->edx & O_NONBLOCK);
    return 0;
}

int sys_fstat(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);
    const char *data;
    struct stat stat = {.st_nlink = 1, .st_blksize = PAGE_BYTES};

    if (!file)
        return -EBADF;
    stat.st_mode = file->ops->mode | (file->ops->mode == S_IFREG ? 0444 : 0555);
    initrd_content(file, &data, &stat.st_size);
    return copyout(frame->ecx, &stat, sizeof stat);
}

int sys_getdents64(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);

    return file ? initrd_entries(file, frame->ecx, frame->edx) : -EBADF;
}

/* sendfile(out, in, &offset or NULL, count): the file's pages go as they are, without a copy. */
int sys_sendfile(struct trap_frame *frame) {
    struct file *out = file_of((int)frame->ebx), *in = file_of((int)frame->ecx);
    const char *data;
    uint32_t bytes, offset;

    if (!out || !in)
        return -EBADF;
    if (!initrd_content(in, &data, &bytes) || !data || !out->ops->send_kernel)
        return -EINVAL;
    offset = in->offset;
    if (frame->edx && copyin(&offset, frame->edx, sizeof offset) < 0)
        return -EFAULT;
    if (offset >= bytes)
        return 0;
    bytes -= offset;
    if (bytes > frame->esi)
        bytes = frame->esi;
    int sent = out->ops->send_kernel(out, data + offset, bytes);
    if (sent <= 0)
        return sent;
    offset += (uint32_t)sent;
    if (!frame->edx)
        in->offset = offset;
    else if (copyout(frame->edx, &offset, sizeof offset) < 0)
        return -EFAULT;
    return sent;
}
