/* What user programs and the kernel both know: structures and constants with the values that Linux
 * on i386 gives them. libc's headers include this file and add only prototypes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef int ssize_t;
typedef int pid_t;
typedef int off_t;
typedef unsigned int nfds_t;
typedef unsigned int socklen_t;
typedef unsigned short sa_family_t;
typedef int time_t;

/* open, fcntl, lseek, fstat, getdents64 */
#define O_RDONLY 0
#define O_WRONLY 1
#define O_RDWR 2
#define O_ACCMODE 3
#define O_CREAT 0100
#define O_EXCL 0200
#define O_TRUNC 01000
#define O_APPEND 02000
#define O_NONBLOCK 04000
#define O_DIRECTORY 0200000
#define F_GETFL 3
#define F_SETFL 4
#define SEEK_SET 0
#define SEEK_CUR 1
#define SEEK_END 2
#define S_IFMT 0170000
#define MAX_PATH 256 /* with its zero byte */
#define S_IFIFO 0010000
#define S_IFCHR 0020000
#define S_IFDIR 0040000
#define S_IFREG 0100000
#define S_IFSOCK 0140000
#define DT_DIR 4
#define DT_REG 8

struct stat {
    uint32_t st_dev, st_ino;
    uint16_t st_mode, st_nlink, st_uid, st_gid;
    uint32_t st_rdev, st_size, st_blksize, st_blocks;
    uint32_t st_times[6]; /* always zero: the initrd has no times */
    uint32_t st_unused[2];
};

struct dirent {
    uint64_t d_ino;
    int64_t d_off;
    uint16_t d_reclen;
    uint8_t d_type;
    char d_name[];
};

/* time */
#define CLOCK_REALTIME 0
#define CLOCK_MONOTONIC 1
#define TIME_PAGE 0xBFFE0000u /* there the kernel keeps a time_t: see time() */
struct timespec {
    time_t tv_sec;
    int tv_nsec;
};

/* processes: a status is (code << 8) after exit, the signal's number after a kill */
#define WNOHANG 1
#define SIGINT 2
#define SIGILL 4
#define SIGTRAP 5
#define SIGFPE 8
#define SIGKILL 9
#define SIGSEGV 11
#define SIGPIPE 13
#define SIGTERM 15
#define SIG_IGN_VALUE 1 /* signal(2) takes this, or 0 for the default */

/* the console: TIOCSPGRP names the group of processes that ^C kills; 0: none. A
 * process outside of that group may name another only if it ignores SIGINT itself, as a shell does */
#define TIOCSPGRP 0x5410

/* poll */
#define POLLIN 0x001
#define POLLOUT 0x004
#define POLLERR 0x008
#define POLLHUP 0x010
#define POLLNVAL 0x020
#define POLLRDHUP 0x2000
struct pollfd {
    int fd;
    short events, revents;
};

/* epoll: the bits are poll's; EPOLLET: once for each time they rise */
#define EPOLLIN 0x001u
#define EPOLLOUT 0x004u
#define EPOLLERR 0x008u
#define EPOLLHUP 0x010u
#define EPOLLRDHUP 0x2000u
#define EPOLLET (1u << 31)
#define EPOLL_CLOEXEC 02000000
#define EPOLL_CTL_ADD 1
#define EPOLL_CTL_DEL 2
#define EPOLL_CTL_MOD 3
typedef union epoll_data {
    void *ptr;
    int fd;
    uint32_t u32;
    uint64_t u64;
} epoll_data_t;
struct epoll_event {
    uint32_t events;
    epoll_data_t data;
} __attribute__((packed, aligned(4)));

/* reboot(2): with POWER_OFF the fourth argument is the exit status of the machine */
#define REBOOT_MAGIC1 0xFEE1DEAD
#define REBOOT_MAGIC2 672274793
#define REBOOT_RESTART 0x01234567
#define REBOOT_POWER_OFF 0x4321FEDC

/* sockets */
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_NONBLOCK O_NONBLOCK
#define SOCK_CLOEXEC 02000000
#define SHUT_RD 0
#define SHUT_WR 1
#define SHUT_RDWR 2
#define MSG_PEEK 0x2
#define MSG_DONTWAIT 0x40
#define MSG_WAITALL 0x100
#define MSG_NOSIGNAL 0x4000
#define MSG_MORE 0x8000
#define SOL_SOCKET 1
#define SO_REUSEADDR 2
#define SO_ERROR 4
#define SO_LINGER 13
#define SO_PROTOCOL 38
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_ICMPV6 58
#define TCP_NODELAY 1
#define TCP_INFO 11

struct sockaddr {
    sa_family_t sa_family;
    char sa_data[14];
};
struct in_addr {
    uint32_t s_addr; /* network byte order */
};
struct sockaddr_in {
    sa_family_t sin_family;
    uint16_t sin_port; /* network byte order */
    struct in_addr sin_addr;
    char sin_zero[8];
};
struct in6_addr {
    uint8_t s6_addr[16];
};
struct sockaddr_in6 {
    sa_family_t sin6_family;
    uint16_t sin6_port;
    uint32_t sin6_flowinfo;
    struct in6_addr sin6_addr;
    uint32_t sin6_scope_id;
};
struct sockaddr_storage {
    sa_family_t ss_family;
    char ss_data[26]; /* room for sockaddr_in6 */
};
struct linger {
    int l_onoff, l_linger;
};
