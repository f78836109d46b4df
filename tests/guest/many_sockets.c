/* Two thousand connections of one process, waited for by poll, select and epoll: each of them names
 * those that are ready, all of them and no others. Runs in the guest and on Linux alike. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS 2000
#define FEW(i) ((i) % 97 == 5)
#define BATCH 64

static int near[PAIRS], far[PAIRS];
static struct pollfd polled[PAIRS];
static struct epoll_event events[BATCH];
static char seen[PAIRS];

static void stop_unless(bool is_right, const char *what) {
    if (!is_right) {
        printf("%s: failed: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void open_all(void) {
    struct sockaddr_in place = {.sin_family = AF_INET}; /* any port that is free */
    socklen_t length = sizeof place;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    place.sin_addr.s_addr = htonl(0x7F000001);
    stop_unless(bind(listener, (struct sockaddr *)&place, sizeof place) == 0, "bind");
    stop_unless(listen(listener, 16) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&place, &length);
    for (int i = 0; i < PAIRS; i++) {
        near[i] = socket(AF_INET, SOCK_STREAM, 0);
        stop_unless(near[i] >= 0, "socket");
        stop_unless(connect(near[i], (struct sockaddr *)&place, sizeof place) == 0, "connect");
        far[i] = accept(listener, NULL, NULL);
        stop_unless(far[i] >= 0, "accept");
        polled[i] = (struct pollfd){far[i], POLLIN, 0};
    }
    close(listener);
    printf("open: %d\n", PAIRS);
}

/* How many poll finds readable, when it is `wanted` or after five seconds. */
static int poll_for(int wanted) {
    int count = 0;

    for (int tries = 0; tries < 500; tries++) {
        count = poll(polled, PAIRS, wanted ? 10 : 0);
        if (count == wanted)
            break;
    }
    return count;
}

static int wrong_in_poll(void) {
    int wrong = 0;

    for (int i = 0; i < PAIRS; i++)
        wrong += (polled[i].revents == POLLIN) != FEW(i);
    return wrong;
}

static void by_select(void) {
    fd_set *readable = calloc(1, sizeof *readable);
    int top = 0, wrong = 0;

    for (int i = 0; i < PAIRS; i++) {
        FD_SET(far[i], readable);
        top = far[i] > top ? far[i] : top;
    }
    printf("select: %d\n", select(top + 1, readable, NULL, NULL, NULL));
    for (int i = 0; i < PAIRS; i++)
        wrong += !!FD_ISSET(far[i], readable) != FEW(i);
    printf("wrong in select: %d\n", wrong);
    free(readable);
}

/* Read a byte of each that epoll names, until it names none: how many, each once. */
static int read_by_epoll(int epoll, int wanted) {
    char bytes[8];
    int done = 0, count;

    memset(seen, 0, sizeof seen);
    while (done < wanted && (count = epoll_wait(epoll, events, BATCH, 5000)) > 0) {
        for (int i = 0; i < count; i++) {
            unsigned number = events[i].data.u32;
            stop_unless(number < PAIRS && !seen[number], "epoll names one twice");
            stop_unless(read(far[number], bytes, sizeof bytes) == 1, "read");
            seen[number] = 1;
        }
        done += count;
    }
    return done;
}

int main(void) {
    int epoll = epoll_create1(0), few = 0, wrong = 0;

    open_all();
    printf("idle: %d\n", poll_for(0));
    for (int i = 0; i < PAIRS; i++) {
        struct epoll_event event = {EPOLLIN, {.u32 = (unsigned)i}};
        stop_unless(epoll_ctl(epoll, EPOLL_CTL_ADD, far[i], &event) == 0, "epoll_ctl");
        if (FEW(i)) {
            stop_unless(write(near[i], "x", 1) == 1, "write");
            few++;
        }
    }
    printf("poll: %d\n", poll_for(few));
    printf("wrong in poll: %d\n", wrong_in_poll());
    by_select();
    printf("epoll: %d\n", read_by_epoll(epoll, few));
    for (int i = 0; i < PAIRS; i++)
        wrong += seen[i] != FEW(i);
    printf("wrong in epoll: %d\n", wrong);
    for (int i = 0; i < PAIRS; i++)
        stop_unless(write(near[i], "y", 1) == 1, "write to all");
    printf("epoll of all: %d\n", read_by_epoll(epoll, PAIRS));
    printf("idle again: %d\n", poll_for(0));
    for (int i = 0; i < PAIRS; i += 2)
        close(near[i]);
    printf("ended: %d\n", poll_for(PAIRS / 2));
    printf("done\n");
    return 0;
}
