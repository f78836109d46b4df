/* Open files and descriptors. */
#include "kern/file.h"
#include "kern/errno.h"
#include "kern/mem.h"
#include "kern/process.h"

struct file *file_new(const struct file_ops *ops, void *data, uint32_t flags) {
    struct file *file = kmalloc(sizeof *file);

    if (file)
        *file = (struct file){.ops = ops, .data = data, .flags = flags, .references = 1};
    return file;
}

void file_get(struct file *file) {
    file->references++;
}

void file_put(struct file *file) {
    if (--file->references)
        return;
    poll_forget(file);
    if (file->ops->close)
        file->ops->close(file);
    kfree(file);
}

struct file *file_of(int descriptor) {
    struct process *process = process_current();

    return (unsigned)descriptor < (unsigned)process->files_size ? process->files[descriptor] : NULL;
}

/* Room for that descriptor in the process's table: 0, or -EMFILE. */
static int grow(struct process *process, int descriptor) {
    int size = process->files_size;

    while (size <= descriptor)
        size *= 2;
    if (size == process->files_size)
        return 0;
    struct file **larger = size <= MAX_FILES ? kmalloc((size_t)size * sizeof *larger) : NULL;
    if (!larger)
        return -EMFILE;
    memcpy(larger, process->files, (size_t)process->files_size * sizeof *larger);
    kfree(process->files);
    process->files = larger;
    process->files_size = size;
    return 0;
}

int file_install(struct file *file) {
    struct process *process = process_current();
    int n = process->files_low;

    while (n < process->files_size && process->files[n])
        n++;
    if (grow(process, n) < 0) {
        file_put(file);
        return -EMFILE;
    }
    process->files[n] = file;
    process->files_low = n + 1;
    return n;
}

int file_install_at(struct file *file, int descriptor) {
    if (descriptor < 0 || descriptor >= MAX_FILES || grow(process_current(), descriptor) < 0) {
        file_put(file);
        return -EBADF;
    }
    file_close(descriptor);
    process_current()->files[descriptor] = file;
    return descriptor;
}

int file_close(int descriptor) {
    struct process *process = process_current();
    struct file *file = file_of(descriptor);

    if (!file)
        return -EBADF;
    process->files[descriptor] = NULL;
    if (descriptor < process->files_low)
        process->files_low = descriptor;
    file_put(file);
    return 0;
}
