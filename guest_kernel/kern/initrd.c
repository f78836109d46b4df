/* cpio "newc" [cpio newc]: for each file a header of hexadecimal fields, its name, its content, each
 * padded to four bytes. Read once at boot into a table; names have no leading slash. */
#include "kern/initrd.h"
#include "boot/multiboot.h"
#include "kern/errno.h"
#include "kern/file.h"
#include "kern/filesystem.h"
#include "kern/layout.h"
#include "kern/mem.h"
#include "kern/panic.h"

#define HEADER_BYTES 110
#define FIELD_MODE 1
#define FIELD_BYTES 6
#define FIELD_NAME_BYTES 11

struct entry {
    const char *name, *data;
    uint32_t name_length, bytes, mode;
};

static struct entry *entries;
static uint32_t entry_count;
static struct entry root = {.name = "", .mode = S_IFDIR};

static const char *const made_here[] = {"tmp", "proc", "proc/processes", "proc/resolv.conf",
                                        "proc/sockets", NULL};

static uint32_t field(const char *header, unsigned n) {
    uint32_t value = 0;

    for (const char *digit = header + 6 + 8 * n, *end = digit + 8; digit < end; digit++) {
        unsigned low = *digit | 0x20; /* letters to lower case; digits have the bit already */
        value = value << 4 | (low >= 'a' ? low - 'a' + 10 : low - '0');
    }
    return value;
}

/* Fill `table` (NULL: only count) from the archive in [at, end). */
static uint32_t scan(const char *at, const char *end, struct entry *table) {
    uint32_t count = 0;

    while ((size_t)(end - at) > HEADER_BYTES && memcmp(at, "070701", 6) == 0) {
        uint32_t name_bytes = field(at, FIELD_NAME_BYTES), bytes = field(at, FIELD_BYTES);
        uint32_t to_data = (HEADER_BYTES + name_bytes + 3) & ~3u;
        if (!name_bytes || name_bytes > 4096 || bytes > 0x10000000
            || to_data + bytes > (size_t)(end - at) || at[HEADER_BYTES + name_bytes - 1])
            break;
        const char *name = at + HEADER_BYTES;
        if (strcmp(name, "TRAILER!!!") == 0)
            return count;
        if (table)
            table[count] = (struct entry){name, at + to_data, name_bytes - 1, bytes,
                                          field(at, FIELD_MODE)};
        count++;
        at += to_data + ((bytes + 3) & ~3u);
    }
    panic("the initrd is damaged after %u files", count);
}

/* `name` as name_of_path() gives it. */
static struct entry *find(const char *name) {
    uint32_t length = strlen(name);

    if (!length)
        return &root;
    for (struct entry *entry = entries; entry < entries + entry_count; entry++)
        if (entry->name_length == length && memcmp(entry->name, name, length) == 0)
            return entry;
    return NULL;
}

void initrd_init(void) {
    const char *start = (const char *)boot_info.initrd_start;
    const char *end = (const char *)boot_info.initrd_end;
    uint32_t count = scan(start, end, NULL);
    entries = kmalloc((count + sizeof made_here / sizeof *made_here) * sizeof *entries);
    if (!entries)
        panic("no memory for the table of %u files", count);
    entry_count = scan(start, end, entries);
    for (unsigned i = 0; made_here[i]; i++) /* so that ls shows them; filesystem_open does the rest */
        if (!find(made_here[i]))
            entries[entry_count++] = (struct entry){made_here[i], NULL, strlen(made_here[i]), 0,
                                                    i < 2 ? S_IFDIR : S_IFREG};
}

const char *initrd_pages(const char *path, size_t *bytes) {
    char name[MAX_PATH];

    if (strlen(path) >= sizeof name)
        return NULL;
    name_of_path(name, path);
    struct entry *entry = find(name);
    if (!entry || (entry->mode & S_IFMT) != S_IFREG || !entry->bytes)
        return NULL;
    if ((uintptr_t)entry->data % PAGE_BYTES) { /* cpio aligns to four: move it, once */
        void *pages = page_alloc((entry->bytes + PAGE_BYTES - 1) / PAGE_BYTES);
        if (!pages)
            return NULL;
        entry->data = memcpy(pages, entry->data, entry->bytes);
    }
    *bytes = entry->bytes;
    return entry->data;
}

static ssize_t initrd_read(struct file *file, uintptr_t user, size_t bytes) {
    const struct entry *entry = file->data;

    if (file->offset >= entry->bytes)
        return 0;
    if (bytes > entry->bytes - file->offset)
        bytes = entry->bytes - file->offset;
    if (copyout(user, entry->data + file->offset, bytes) < 0)
        return -EFAULT;
    file->offset += bytes;
    return (ssize_t)bytes;
}

static uint32_t initrd_size(struct file *file) {
    return ((const struct entry *)file->data)->bytes;
}

static uint32_t initrd_content(struct file *file, uint32_t offset, const char **data) {
    const struct entry *entry = file->data;

    *data = entry->data + offset;
    return offset < entry->bytes ? entry->bytes - offset : 0;
}

static int initrd_entries(struct file *file, uintptr_t user, size_t bytes) {
    const struct entry *directory = file->data;
    size_t done = 0;

    for (; file->offset < entry_count; file->offset++) {
        const struct entry *entry = &entries[file->offset];
        const char *name = name_inside(directory->name, entry->name);
        int result = !name ? 0
                           : put_entry(user + done, bytes - done, name, file->offset,
                                       (entry->mode & S_IFMT) == S_IFDIR);
        if (result < 0)
            return done ? (int)done : result;
        done += (size_t)result;
    }
    return (int)done;
}

static const struct file_ops file_ops = {.mode = S_IFREG, .read = initrd_read,
                                         .content = initrd_content, .size = initrd_size};
static const struct file_ops directory_ops = {.mode = S_IFDIR, .entries = initrd_entries};

int initrd_open(const char *name, uint32_t flags, struct file **made) {
    struct entry *entry = find(name);

    if (!entry)
        return flags & O_CREAT ? -EROFS : -ENOENT;
    bool is_directory = (entry->mode & S_IFMT) == S_IFDIR;
    if (flags & O_ACCMODE)
        return is_directory ? -EISDIR : -EROFS;
    if ((flags & O_DIRECTORY) && !is_directory)
        return -ENOTDIR;
    *made = file_new(is_directory ? &directory_ops : &file_ops, entry, flags & O_NONBLOCK);
    return *made ? 0 : -ENOMEM;
}
