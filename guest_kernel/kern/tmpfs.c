/* /tmp: files in pages of memory, until the machine ends. A directory is only a name: what lies in it
 * has a longer one. */
#include "kern/errno.h"
#include "kern/console.h"
#include "kern/file.h"
#include "kern/filesystem.h"
#include "kern/mem.h"

#define PAGES_KEPT 256u      /* /tmp may not take the last MiB */
#define BYTES_MOST 0x10000000u /* of one file */

struct node {
    struct node *next;
    char name[MAX_PATH];
    bool is_directory;
    int users; /* open files, and one for the name */
    uint32_t bytes;
    unsigned page_count, page_room;
    char **pages;
};

static struct node top = {.name = "tmp", .is_directory = true, .users = 1};
static struct node *nodes = &top; /* in the order of their making; `top` stays first */

static struct node **find(const char *name) {
    struct node **link = &nodes;

    while (*link && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    return link;
}

static void truncate(struct node *node) {
    while (node->page_count)
        page_free(node->pages[--node->page_count], 1);
    kfree(node->pages);
    node->pages = NULL;
    node->page_room = node->bytes = 0;
}

static void node_put(struct node *node) {
    if (--node->users)
        return;
    truncate(node);
    kfree(node);
}

/* A new node at the end of the list, in a directory that is there. */
static int create(const char *name, bool is_directory, struct node **made) {
    char parent[MAX_PATH];
    size_t length = strlen(name);

    memcpy(parent, name, length + 1);
    while (length && parent[length] != '/')
        length--;
    parent[length] = 0;
    struct node *directory = *find(parent);
    if (!directory)
        return -ENOENT;
    if (!directory->is_directory)
        return -ENOTDIR;
    struct node *node = pages_free() > PAGES_KEPT ? kmalloc(sizeof *node) : NULL;
    if (!node)
        return -ENOSPC;
    *node = (struct node){.is_directory = is_directory, .users = 1};
    memcpy(node->name, name, strlen(name) + 1);
    *find(name) = *made = node;
    return 0;
}

/* Pages for `bytes` in all: 0, or -ENOSPC. */
static int reserve(struct node *node, uint32_t bytes) {
    while (node->page_count * PAGE_BYTES < bytes) {
        if (node->page_count == node->page_room) {
            unsigned room = node->page_room ? 2 * node->page_room : 16;
            char **pages = kmalloc(room * sizeof *pages);
            if (!pages)
                return -ENOSPC;
            if (node->pages)
                memcpy(pages, node->pages, node->page_count * sizeof *pages);
            kfree(node->pages);
            node->pages = pages;
            node->page_room = room;
        }
        char *page = pages_free() > PAGES_KEPT ? page_alloc(1) : NULL;
        if (!page)
            return -ENOSPC;
        node->pages[node->page_count++] = page;
    }
    return 0;
}

static uint32_t tmpfs_content(struct file *file, uint32_t offset, const char **data) {
    struct node *node = file->data;
    uint32_t within = offset % PAGE_BYTES;

    if (offset >= node->bytes)
        return 0;
    *data = node->pages[offset / PAGE_BYTES] + within;
    return node->bytes - offset < PAGE_BYTES - within ? node->bytes - offset : PAGE_BYTES - within;
}

static ssize_t tmpfs_read(struct file *file, uintptr_t user, size_t bytes) {
    const char *data;
    uint32_t there;
    size_t done = 0;

    for (; done < bytes && (there = tmpfs_content(file, file->offset, &data)); done += there) {
        if (there > bytes - done)
            there = bytes - done;
        if (copyout(user + done, data, there) < 0)
            return done ? (ssize_t)done : -EFAULT;
        file->offset += there;
    }
    return (ssize_t)done;
}

static ssize_t write(struct file *file, uintptr_t from, bool is_user, size_t bytes) {
    struct node *node = file->data;
    size_t done = 0;

    if (file->flags & O_APPEND)
        file->offset = node->bytes;
    if (bytes && (file->offset >= BYTES_MOST || bytes > BYTES_MOST - file->offset))
        return -EFBIG;
    while (done < bytes) {
        uint32_t within = file->offset % PAGE_BYTES, length = PAGE_BYTES - within;
        if (length > bytes - done)
            length = bytes - done;
        int result = reserve(node, file->offset + length);
        if (result < 0)
            return done ? (ssize_t)done : result;
        char *to = node->pages[file->offset / PAGE_BYTES] + within;
        if (!is_user)
            memcpy(to, (const char *)from + done, length);
        else if (copyin(to, from + done, length) < 0)
            return done ? (ssize_t)done : -EFAULT;
        done += length;
        file->offset += length;
        if (node->bytes < file->offset)
            node->bytes = file->offset;
    }
    return (ssize_t)done;
}

static ssize_t tmpfs_write(struct file *file, uintptr_t user, size_t bytes) {
    return write(file, user, true, bytes);
}

static uint32_t tmpfs_size(struct file *file) {
    return ((struct node *)file->data)->bytes;
}

static void tmpfs_close(struct file *file) {
    node_put(file->data);
}

static int tmpfs_entries(struct file *file, uintptr_t user, size_t bytes) {
    const struct node *directory = file->data;
    uint32_t index = 0;
    size_t done = 0;

    for (const struct node *node = nodes; node; node = node->next, index++) {
        const char *name = name_inside(directory->name, node->name);
        if (index < file->offset || !name)
            continue;
        int result = put_entry(user + done, bytes - done, name, index, node->is_directory);
        if (result < 0)
            return done ? (int)done : result;
        done += (size_t)result;
        file->offset = index + 1;
    }
    return (int)done;
}

static const struct file_ops file_ops = {.mode = S_IFREG, .read = tmpfs_read, .write = tmpfs_write,
                                         .content = tmpfs_content, .size = tmpfs_size,
                                         .close = tmpfs_close};
static const struct file_ops directory_ops = {
    .mode = S_IFDIR, .entries = tmpfs_entries, .close = tmpfs_close};

static int open_node(struct node *node, uint32_t flags, struct file **made) {
    *made = file_new(node->is_directory ? &directory_ops : &file_ops, node,
                     flags & (O_ACCMODE | O_NONBLOCK | O_APPEND));
    if (!*made)
        return -ENOMEM;
    node->users++;
    return 0;
}

int tmpfs_open(const char *name, uint32_t flags, struct file **made) {
    struct node *node = *find(name);
    bool is_new = !node;

    if (is_new) {
        int result = flags & O_CREAT ? create(name, false, &node) : -ENOENT;
        if (result < 0)
            return result;
    }
    if (!is_new && (flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (node->is_directory && flags & O_ACCMODE)
        return -EISDIR;
    if (!node->is_directory && flags & O_DIRECTORY)
        return -ENOTDIR;
    if (flags & O_TRUNC && flags & O_ACCMODE)
        truncate(node);
    return open_node(node, flags, made);
}

int tmpfs_mkdir(const char *name) {
    struct node *made;

    return *find(name) ? -EEXIST : create(name, true, &made);
}

int tmpfs_remove(const char *name, bool is_directory) {
    struct node **link = find(name), *node = *link;

    if (!node)
        return -ENOENT;
    if (node->is_directory != is_directory)
        return is_directory ? -ENOTDIR : -EISDIR;
    if (node == &top)
        return -EBUSY;
    for (const struct node *other = nodes; is_directory && other; other = other->next)
        if (name_inside(name, other->name))
            return -ENOTEMPTY;
    *link = node->next;
    node_put(node);
    return 0;
}

struct file *tmpfs_text(void) {
    struct node *node = kmalloc(sizeof *node);
    struct file *file = NULL;

    if (node && open_node(node, O_RDONLY, &file) < 0)
        kfree(node);
    return file;
}

void tmpfs_print(struct file *file, const char *format, ...) {
    char line[192]; /* what is longer is cut */
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    uint32_t kept = file->offset; /* where it is read from */
    file->offset = ((struct node *)file->data)->bytes;
    write(file, (uintptr_t)line, false, length < (int)sizeof line ? (size_t)length : sizeof line - 1);
    file->offset = kept;
}
