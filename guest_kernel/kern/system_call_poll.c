/* Waiting for many files at once: poll(2) looks at each descriptor it is given; epoll(7) is told once
 * which ones matter and keeps a list of those that became ready, so its cost does not grow with
 * the others. */
#include "kern/errno.h"
#include "kern/file.h"
#include "kern/mem.h"
#include "kern/process.h"
#include "kern/system_call.h"

#define CHUNK 64u /* entries that go over the border at once */

/* Sleepers in poll(2), by process id modulo their number. A file knows in which of these queues
 * somebody looked at it, so that an event does not wake every server; that two processes may share
 * a queue, or look at other files by now, costs a needless look and nothing else. */
#define POLL_QUEUES 32u
static struct wait_queue pollers[POLL_QUEUES];

struct link {
    struct link *next, *before; /* a ring that begins at its owner's link */
};

struct epoll {
    struct link watches, ready;
    unsigned ready_count;
    struct wait_queue waiters;
};

/* One descriptor of interest to one epoll. */
struct watch {
    struct link ready; /* first, so that a link there is its watch */
    struct link all;
    struct epoll *epoll;
    struct file *file;
    struct watch *next; /* who else watches the file */
    int descriptor;
    bool is_ready; /* on the list: perhaps it is ready; epoll_wait looks again */
    struct epoll_event wanted;
};

static void link_append(struct link *ring, struct link *link) {
    *link = (struct link){ring, ring->before};
    ring->before->next = link;
    ring->before = link;
}

static void link_remove(struct link *link) {
    link->before->next = link->next;
    link->next->before = link->before;
}

static void make_ready(struct watch *watch) {
    if (!watch->is_ready) {
        watch->is_ready = true;
        link_append(&watch->epoll->ready, &watch->ready);
        watch->epoll->ready_count++;
    }
    wake_all(&watch->epoll->waiters);
}

static void watch_end(struct watch *watch) {
    struct watch **link = &watch->file->watches;

    while (*link != watch)
        link = &(*link)->next;
    *link = watch->next;
    link_remove(&watch->all);
    if (watch->is_ready) {
        link_remove(&watch->ready);
        watch->epoll->ready_count--;
    }
    kfree(watch);
}

void poll_forget(struct file *file) {
    while (file->watches)
        watch_end(file->watches);
}

void poll_wake(struct file *file) {
    for (unsigned i = 0; file->pollers; i++, file->pollers >>= 1)
        if (file->pollers & 1)
            wake_all(&pollers[i]);
    for (struct watch *watch = file->watches; watch; watch = watch->next)
        make_ready(watch);
}

/* Look at every descriptor once and write the answers: how many are ready, or -EFAULT. */
static int poll_once(uintptr_t user, uint32_t count, unsigned queue) {
    struct pollfd chunk[CHUNK];
    int ready = 0;

    for (uint32_t done = 0; done < count; done += CHUNK) {
        uint32_t n = count - done < CHUNK ? count - done : CHUNK;
        uintptr_t at = user + done * sizeof *chunk;
        if (copyin(chunk, at, n * sizeof *chunk) < 0)
            return -EFAULT;
        for (struct pollfd *entry = chunk; entry < chunk + n; entry++) {
            struct file *file = entry->fd < 0 ? NULL : file_of(entry->fd);
            uint32_t mask = entry->fd < 0 ? 0 : POLLNVAL;
            if (file && (file->ops->poll || file->ops->mode)) { /* but for an epoll */
                mask = file->ops->poll ? file->ops->poll(file) : POLLIN | POLLOUT;
                mask &= entry->events | POLLERR | POLLHUP;
                file->pollers |= 1u << queue;
            }
            entry->revents = (short)mask;
            ready += mask != 0;
        }
        if (copyout(at, chunk, n * sizeof *chunk) < 0)
            return -EFAULT;
    }
    return ready;
}

/* When a wait of so many milliseconds from now ends; FOREVER for a negative number. */
static uint64_t end_of(int timeout_ms) {
    return timeout_ms < 0 ? FOREVER : timeout_ms ? time_now_ns() + timeout_ms * 1000000ull : 0;
}

/* Sleep until somebody wakes the queue: 0, -EINTR, or -ETIMEDOUT at `end`. */
static int sleep_until(struct wait_queue *queue, uint64_t end) {
    uint64_t now = end == FOREVER || !end ? 0 : time_now_ns();

    return now >= end ? -ETIMEDOUT : sleep_on(queue, end == FOREVER ? FOREVER : end - now);
}

int sys_poll(struct trap_frame *frame) {
    unsigned queue = (unsigned)process_current()->pid % POLL_QUEUES;
    uint64_t end = end_of((int)frame->edx);

    if (frame->ecx > MAX_FILES)
        return -EINVAL;
    for (;;) {
        int ready = poll_once(frame->ebx, frame->ecx, queue);
        if (ready || !end)
            return ready;
        int result = sleep_until(&pollers[queue], end);
        if (result == -EINTR)
            return result;
        if (result == -ETIMEDOUT)
            end = 0; /* a last look */
    }
}

static void epoll_close(struct file *file) {
    struct epoll *epoll = file->data;

    while (epoll->watches.next != &epoll->watches)
        watch_end((struct watch *)((char *)epoll->watches.next - offsetof(struct watch, all)));
    kfree(epoll);
}

static const struct file_ops epoll_ops = {.close = epoll_close};

static struct epoll *epoll_of(uint32_t descriptor) {
    struct file *file = file_of((int)descriptor);

    return file && file->ops == &epoll_ops ? file->data : NULL;
}

int sys_epoll_create1(struct trap_frame *frame) {
    struct epoll *epoll = frame->ebx & ~(uint32_t)EPOLL_CLOEXEC ? NULL : kmalloc(sizeof *epoll);
    struct file *file = epoll ? file_new(&epoll_ops, epoll, O_RDWR) : NULL;

    if (!file) {
        kfree(epoll);
        return frame->ebx & ~(uint32_t)EPOLL_CLOEXEC ? -EINVAL : -ENOMEM;
    }
    epoll->watches = (struct link){&epoll->watches, &epoll->watches};
    epoll->ready = (struct link){&epoll->ready, &epoll->ready};
    return file_install(file);
}

/* epoll_ctl(epoll, operation, descriptor, event). Files and epolls have no poll: they can't be. */
int sys_epoll_ctl(struct trap_frame *frame) {
    struct epoll *epoll = epoll_of(frame->ebx);
    struct file *file = file_of((int)frame->edx);
    struct epoll_event wanted = {0};

    if (!file || !file_of((int)frame->ebx))
        return -EBADF;
    if (!epoll)
        return -EINVAL;
    if (!file->ops->poll)
        return -EPERM;
    if (frame->ecx != EPOLL_CTL_DEL && copyin(&wanted, frame->esi, sizeof wanted) < 0)
        return -EFAULT;
    struct watch *watch = file->watches;
    while (watch && (watch->epoll != epoll || watch->descriptor != (int)frame->edx))
        watch = watch->next;
    if (frame->ecx == EPOLL_CTL_ADD ? watch != NULL : !watch)
        return watch ? -EEXIST : -ENOENT;
    switch (frame->ecx) {
    case EPOLL_CTL_DEL:
        watch_end(watch);
        return 0;
    case EPOLL_CTL_ADD:
        if (!(watch = kmalloc(sizeof *watch)))
            return -ENOMEM;
        *watch = (struct watch){.epoll = epoll, .file = file, .next = file->watches,
                                .descriptor = (int)frame->edx};
        file->watches = watch;
        link_append(&epoll->watches, &watch->all);
        break;
    case EPOLL_CTL_MOD:
        break;
    default:
        return -EINVAL;
    }
    wanted.events |= EPOLLERR | EPOLLHUP;
    watch->wanted = wanted;
    if (file->ops->poll(file) & wanted.events)
        make_ready(watch);
    return 0;
}

/* Take what is ready off the list, and put it back at the end unless edges are wanted. */
static int epoll_collect(struct epoll *epoll, uintptr_t user, int most) {
    struct epoll_event chunk[CHUNK];
    int count = 0;

    for (unsigned look = epoll->ready_count, n = 0; look && count < most; look--) {
        struct watch *watch = (struct watch *)epoll->ready.next;
        uint32_t mask = watch->file->ops->poll(watch->file) & watch->wanted.events;
        link_remove(&watch->ready);
        if (mask && !(watch->wanted.events & EPOLLET)) {
            link_append(&epoll->ready, &watch->ready);
        } else {
            watch->is_ready = false;
            epoll->ready_count--;
        }
        if (mask) {
            chunk[n++] = (struct epoll_event){mask, watch->wanted.data};
            count++;
        }
        if (n == CHUNK || (n && (look == 1 || count == most))) {
            if (copyout(user, chunk, n * sizeof *chunk) < 0)
                return -EFAULT;
            user += n * sizeof *chunk;
            n = 0;
        }
    }
    return count;
}

int sys_epoll_wait(struct trap_frame *frame) {
    struct epoll *epoll = epoll_of(frame->ebx);
    uint64_t end = end_of((int)frame->esi);

    if (!epoll || (int)frame->edx <= 0)
        return file_of((int)frame->ebx) ? -EINVAL : -EBADF;
    for (;;) {
        int result = epoll_collect(epoll, frame->ecx, (int)frame->edx);
        if (!result && end && (result = sleep_until(&epoll->waiters, end)) == 0)
            continue;
        if (result != -ETIMEDOUT)
            return result;
        end = 0;
    }
}
