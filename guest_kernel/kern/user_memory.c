/* The border to user memory. A pointer from a program is only ever used here. */
#include "kern/errno.h"
#include "kern/mem.h"
#include "kern/process.h"

int copy_user(void *to, const void *from, size_t bytes); /* kern/trap_entry.S */

int copyin(void *kernel, uintptr_t user, size_t bytes) {
    return is_user_range(user, bytes) ? copy_user(kernel, (const void *)user, bytes) : -EFAULT;
}

int copyout(uintptr_t user, const void *kernel, size_t bytes) {
    return is_user_range(user, bytes) ? copy_user((void *)user, kernel, bytes) : -EFAULT;
}

int copyin_string(char *kernel, uintptr_t user, size_t size) {
    size_t length = 0;

    while (length < size) { /* a page at a time: the string may end before one that is missing */
        size_t piece = PAGE_BYTES - (user + length) % PAGE_BYTES;
        if (piece > size - length)
            piece = size - length;
        if (copyin(kernel + length, user + length, piece) < 0)
            return -EFAULT;
        for (size_t end = length + piece; length < end; length++)
            if (!kernel[length])
                return (int)length;
    }
    return -ENAMETOOLONG;
}

int user_pieces(uintptr_t user, size_t bytes, bool write, struct piece *pieces, int max,
                size_t *covered) {
    int count = 0;
    size_t done = 0;

    if (!is_user_range(user, bytes))
        return -EFAULT;
    for (size_t length; done < bytes && count < max; done += length) {
        const void *run =
            space_run(&process_current()->space, user + done, bytes - done, write, &length);
        if (!run)
            return -EFAULT;
        pieces[count++] = (struct piece){(uintptr_t)run, length};
    }
    *covered = done;
    return count;
}
