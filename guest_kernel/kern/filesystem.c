/* Paths, and directory entries. */
#include "kern/filesystem.h"
#include "kern/errno.h"
#include "kern/file.h"
#include "kern/initrd.h"
#include "kern/mem.h"

void name_of_path(char *name, const char *path) {
    size_t length;

    while (*path == '/' || (*path == '.' && (path[1] == '/' || !path[1])))
        path++;
    length = strlen(path);
    while (length && path[length - 1] == '/')
        length--;
    memmove(name, path, length);
    name[length] = 0;
}

const char *name_inside(const char *in, const char *name) {
    size_t length = strlen(in);

    if (strncmp(name, in, length) != 0 || (length && name[length] != '/'))
        return NULL;
    name += length ? length + 1 : 0;
    for (const char *at = name; *at; at++)
        if (*at == '/')
            return NULL;
    return *name ? name : NULL;
}

int put_entry(uintptr_t user, size_t room, const char *name, uint32_t index, bool is_directory) {
    char buffer[offsetof(struct dirent, d_name) + 256 + 8];
    struct dirent *out = (struct dirent *)buffer;
    size_t name_bytes = strlen(name) + 1;

    if (name_bytes > 256)
        return 0; /* no open could name it */
    *out = (struct dirent){
        .d_ino = index + 1, .d_off = index + 1,
        .d_reclen = (offsetof(struct dirent, d_name) + name_bytes + 7) & ~7u,
        .d_type = is_directory ? DT_DIR : DT_REG};
    memcpy(out->d_name, name, name_bytes);
    if (out->d_reclen > room)
        return -EINVAL;
    return copyout(user, out, out->d_reclen) < 0 ? -EFAULT : out->d_reclen;
}

int filesystem_open(const char *path, uint32_t flags, struct file **made) {
    char name[MAX_PATH];

    name_of_path(name, path);
    if (strcmp(name, "tmp") == 0 || strncmp(name, "tmp/", 4) == 0)
        return tmpfs_open(name, flags, made);
    if (strncmp(name, "proc/", 5) == 0)
        return flags & O_ACCMODE ? -EROFS : proc_open(name, made);
    return initrd_open(name, flags, made);
}
