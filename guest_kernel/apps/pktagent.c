/* pktagent: makes libc's calls for somebody outside, who sees this program's memory: a test that
 * drives the guest's own sockets, or a script of packets.
 *
 * It says where its mailbox is. For each line that it reads it makes the call that the mailbox names,
 * writes there what came of it, and answers with a line. Nothing else is ever printed, and every
 * call is made as it is asked for, blocking ones too. tests/hypercalls has the other side. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DATA_BYTES (128 << 10)

static struct {
    uint32_t call; /* of `calls` */
    uint32_t arguments[6];
    int32_t result, error; /* errno, if the result is -1 */
    uint32_t unused[7];
    uint8_t data[DATA_BYTES]; /* for what arguments point to */
} mailbox __attribute__((aligned(4096)));

typedef void (*any)(void);
typedef int (*call)(uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t);

/* Arguments are words on the stack, and who is called takes as many of them as it wants. */
static const any calls[] = {
    (any)socket,      (any)bind,       (any)listen,     (any)connect, (any)accept4, (any)shutdown,
    (any)close,       (any)send,       (any)recv,       (any)sendto,  (any)recvfrom, (any)getsockname,
    (any)getpeername, (any)getsockopt, (any)setsockopt, (any)poll,    (any)fcntl,
};

int main(void) {
    char line[16];

    for (volatile uint8_t *page = mailbox.data; page < mailbox.data + DATA_BYTES; page += 4096)
        *page = 0; /* so that every page is there to be looked at from outside */
    printf("mailbox %x, %u bytes of data at %u\n", (unsigned)(uintptr_t)&mailbox, DATA_BYTES,
           (unsigned)(mailbox.data - (uint8_t *)&mailbox));
    while (read(STDIN_FILENO, line, sizeof line) > 0) {
        const uint32_t *a = mailbox.arguments;
        mailbox.result = -1;
        errno = ENOSYS;
        if (mailbox.call < sizeof calls / sizeof *calls)
            mailbox.result = ((call)calls[mailbox.call])(a[0], a[1], a[2], a[3], a[4], a[5]);
        mailbox.error = errno;
        printf("done\n");
    }
    return 0;
}
