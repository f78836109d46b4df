/* System calls about files of any kind. */
#include "kern/errno.h"
#include "kern/file.h"
#include "kern/filesystem.h"
#include "kern/mem.h"
#include "kern/process.h"
#include "kern/system_call.h"

#define MAX_COUNT 0x7FFFF000u

int sys_read(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);

    if (!file || (file->flags & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    if (!file->ops->read)
        return file->ops->mode == S_IFDIR ? -EISDIR : -EINVAL;
    if (!is_user_range(frame->ecx, frame->edx))
        return -EFAULT;
    return file->ops->read(file, frame->ecx, frame->edx < MAX_COUNT ? frame->edx : MAX_COUNT);
}

int sys_write(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);

    if (!file || !file->ops->write || (file->flags & O_ACCMODE) == O_RDONLY)
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
        result = filesystem_open(path, frame->ecx, &file);
    return result < 0 ? result : file_install(file);
}

int sys_close(struct trap_frame *frame) {
    return file_close((int)frame->ebx);
}

static int remove_or_make(uintptr_t path_address, int (*action)(const char *)) {
    char path[MAX_PATH];
    int result = copyin_string(path, path_address, sizeof path);

    if (result < 0)
        return result;
    name_of_path(path, path);
    if (strcmp(path, "tmp") != 0 && strncmp(path, "tmp/", 4) != 0)
        return -EROFS;
    return action(path);
}

static int remove_file(const char *name) {
    return tmpfs_remove(name, false);
}

static int remove_directory(const char *name) {
    return tmpfs_remove(name, true);
}

int sys_unlink(struct trap_frame *frame) {
    return remove_or_make(frame->ebx, remove_file);
}

int sys_mkdir(struct trap_frame *frame) {
    return remove_or_make(frame->ebx, tmpfs_mkdir);
}

int sys_rmdir(struct trap_frame *frame) {
    return remove_or_make(frame->ebx, remove_directory);
}

int sys_dup2(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);

    if (!file)
        return -EBADF;
    if (frame->ebx == frame->ecx)
        return (int)frame->ecx;
    file_get(file);
    return file_install_at(file, (int)frame->ecx);
}

int sys_lseek(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);
    int64_t target = (int32_t)frame->ecx;

    if (!file)
        return -EBADF;
    if (!file->ops->size)
        return -ESPIPE;
    if (frame->edx > SEEK_END)
        return -EINVAL;
    target += frame->edx == SEEK_CUR   ? file->offset
              : frame->edx == SEEK_END ? file->ops->size(file)
                                       : 0;
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
    struct stat stat = {.st_nlink = 1, .st_blksize = PAGE_BYTES};

    if (!file)
        return -EBADF;
    stat.st_mode = file->ops->mode | (file->ops->mode == S_IFREG ? 0444 : 0555);
    if (file->ops->size)
        stat.st_size = file->ops->size(file);
    return copyout(frame->ecx, &stat, sizeof stat);
}

int sys_getdents64(struct trap_frame *frame) {
    struct file *file = file_of((int)frame->ebx);

    if (!file)
        return -EBADF;
    return file->ops->entries ? file->ops->entries(file, frame->ecx, frame->edx) : -ENOTDIR;
}

/* sendfile(out, in, &offset or NULL, count): the file's pages go as they are, without a copy. A short
 * count where the file's pieces in memory end. */
int sys_sendfile(struct trap_frame *frame) {
    struct file *out = file_of((int)frame->ebx), *in = file_of((int)frame->ecx);
    const char *data;
    uint32_t bytes, offset;

    if (!out || !in)
        return -EBADF;
    if (!in->ops->content || !out->ops->send_kernel)
        return -EINVAL;
    offset = in->offset;
    if (frame->edx && copyin(&offset, frame->edx, sizeof offset) < 0)
        return -EFAULT;
    bytes = in->ops->content(in, offset, &data);
    if (!bytes)
        return 0;
    if (bytes > frame->esi)
        bytes = frame->esi;
    int sent = out->ops->send_kernel(out, data, bytes);
    if (sent <= 0)
        return sent;
    offset += (uint32_t)sent;
    if (!frame->edx)
        in->offset = offset;
    else if (copyout(frame->edx, &offset, sizeof offset) < 0)
        return -EFAULT;
    return sent;
}
