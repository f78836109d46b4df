/* Loading a program: static ELF32 executables for i386 [ELF 1.2 1, 2]. The file is as hostile as a
 * pointer from a program: every offset in it is checked.
 *
 * What a program cannot write (code, constants) is not copied: its pages in the initrd are mapped.
 * So code never moves into a page that held other code, which matters on emulated CPUs: they keep
 * translations of code, and Leulo's does not notice when code is replaced behind its back. */
#include "kern/exec.h"
#include "kern/console.h"
#include "kern/errno.h"
#include "kern/initrd.h"
#include "kern/mem.h"
#include "kern/process.h"
#include "kern/time.h"
#include "kern/trap.h"
#include "kern/uapi.h"

#define ELF_MAGIC 0x464C457Fu
#define ELF_32_LITTLE 0x0101
#define TYPE_EXECUTABLE 2
#define MACHINE_386 3
#define SEGMENT_LOAD 1
#define SEGMENT_EXECUTE 1u
#define SEGMENT_WRITE 2u
#define USER_EFLAGS 0x202 /* interrupts on */

struct elf_header {
    uint32_t magic;
    uint16_t class_and_data;
    uint8_t ident[10];
    uint16_t type, machine;
    uint32_t version, entry, segments, sections, flags;
    uint16_t header_bytes, segment_bytes, segment_count;
};
struct elf_segment {
    uint32_t type, offset, address, physical, file_bytes, memory_bytes, flags, align;
};

static int add_strings(struct arguments *arguments, uintptr_t vector) {
    for (; vector; vector += sizeof(uint32_t)) {
        uint32_t user;
        if (copyin(&user, vector, sizeof user) < 0)
            return -EFAULT;
        if (!user)
            break;
        if (arguments->count == MAX_STRINGS)
            return -E2BIG;
        int length = copyin_string(arguments->text + arguments->used, user,
                                   sizeof arguments->text - arguments->used);
        if (length < 0)
            return length == -EFAULT ? -EFAULT : -E2BIG;
        arguments->at[arguments->count++] = (uint16_t)arguments->used;
        arguments->used += (unsigned)length + 1;
    }
    return 0;
}

int exec_arguments(struct arguments *arguments, uintptr_t argv, uintptr_t envp) {
    int result = add_strings(arguments, argv);

    arguments->argument_count = arguments->count;
    return result < 0 ? result : add_strings(arguments, envp);
}

/* Map one segment; it ends at *end. */
static int load_segment(struct address_space *space, const char *file, size_t file_bytes,
                        const struct elf_segment *segment, uintptr_t *end) {
    uintptr_t user = segment->address;
    bool is_executable = segment->flags & SEGMENT_EXECUTE;

    if (segment->offset > file_bytes || segment->file_bytes > file_bytes - segment->offset
        || segment->memory_bytes < segment->file_bytes
        || !is_user_range(user, segment->memory_bytes)
        || segment->memory_bytes > USER_TOP - 4 * STACK_BYTES - user)
        return -ENOEXEC;
    *end = user + segment->memory_bytes;
    if (!(segment->flags & SEGMENT_WRITE) && segment->memory_bytes == segment->file_bytes
        && segment->offset % PAGE_BYTES == user % PAGE_BYTES)
        return space_share(space, user, *end, file + segment->offset, is_executable);
    if (is_executable)
        return -ENOEXEC;
    if (space_map(space, user, *end) < 0)
        return -ENOMEM;
    for (size_t done = 0, piece; done < segment->file_bytes; done += piece) {
        char *to = space_run(space, user + done, segment->file_bytes - done, true, &piece);
        if (!to) /* another segment, which may not be written, has this page */
            return -ENOEXEC;
        memcpy(to, file + segment->offset + done, piece);
    }
    return 0;
}

static int load_file(struct address_space *space, const char *file, size_t bytes, uint32_t *entry,
                     uintptr_t *end) {
    const struct elf_header *header = (const struct elf_header *)file;

    if (bytes < sizeof *header || header->magic != ELF_MAGIC
        || header->class_and_data != ELF_32_LITTLE || header->type != TYPE_EXECUTABLE
        || header->machine != MACHINE_386 || header->segment_bytes != sizeof(struct elf_segment)
        || header->segments > bytes || header->segments % sizeof(uint32_t)
        || header->segment_count > (bytes - header->segments) / sizeof(struct elf_segment))
        return -ENOEXEC;
    const struct elf_segment *segment = (const struct elf_segment *)(file + header->segments);
    for (*end = USER_BASE; segment < (const struct elf_segment *)(file + header->segments)
                                         + header->segment_count; segment++) {
        uintptr_t segment_end;
        if (segment->type != SEGMENT_LOAD || !segment->memory_bytes)
            continue;
        int result = load_segment(space, file, bytes, segment, &segment_end);
        if (result < 0)
            return result;
        if (segment_end > *end)
            *end = segment_end;
    }
    *entry = header->entry; /* a wrong one faults in user mode */
    return 0;
}

/* The top page of the stack as on Linux: argc, argv, 0, envp, 0, then the strings. */
static uintptr_t fill_stack(struct address_space *space, const struct arguments *arguments) {
    size_t room;
    uintptr_t strings = (USER_TOP - arguments->used) & ~15u;
    uintptr_t esp = (strings - (arguments->count + 3) * sizeof(uint32_t)) & ~15u;
    uint32_t *word = space_run(space, esp, USER_TOP - esp, false, &room);

    memcpy((char *)word + (strings - esp), arguments->text, arguments->used);
    *word++ = arguments->argument_count;
    for (unsigned i = 0; i < arguments->count; i++) {
        if (i == arguments->argument_count)
            *word++ = 0;
        *word++ = strings + arguments->at[i];
    }
    return esp; /* the zeros at the end are there: new pages are zero */
}

int exec_load(const char *path, struct arguments *arguments, struct process *process,
              struct trap_frame *frame) {
    struct address_space space;
    size_t bytes, length = strlen(path);
    uint32_t entry;
    uintptr_t end;
    const char *file = initrd_pages(path, &bytes), *name = path;

    if (!file)
        return -ENOENT;
    if (!arguments->argument_count) {
        if (arguments->count || length >= sizeof arguments->text)
            return -E2BIG;
        memcpy(arguments->text, path, length + 1);
        arguments->argument_count = arguments->count = 1;
        arguments->used = length + 1;
    }
    if (space_create(&space) < 0)
        return -ENOMEM;
    int result = load_file(&space, file, bytes, &entry, &end);
    if (result == 0)
        result = space_map(&space, USER_TOP - STACK_BYTES, USER_TOP);
    if (result == 0)
        result = space_share(&space, TIME_PAGE, TIME_PAGE + 1, time_page(), false);
    if (result < 0) {
        space_destroy(&space);
        return result;
    }
    uintptr_t esp = fill_stack(&space, arguments);
    if (process->space.pointers[1]) {
        paging_use_kernel();
        space_destroy(&process->space);
    }
    process->space = space;
    if (process == process_current())
        space_use(&process->space);
    process->brk_start = process->brk_end = (end + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    for (const char *at = path; *at; at++)
        if (*at == '/')
            name = at + 1;
    snprintf(process->name, sizeof process->name, "%s", name);
    *frame = (struct trap_frame){.eip = entry, .cs = SELECTOR_USER_CODE, .eflags = USER_EFLAGS,
                                 .esp = esp, .ss = SELECTOR_USER_DATA};
    return 0;
}
