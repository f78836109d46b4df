/* The one socket interface of the kernel. A provider (net/paravirt; later net/stack) implements it;
 * kern/ calls it and knows no provider.
 *
 * A socket is a `struct file` whose ops are `socket_ops`; the system call layer checks that before
 * it calls (ENOTSOCK), copies addresses in and out, and installs new files. Data buffers stay user
 * addresses, so that a provider can hand their physical pages on without a copy. All functions
 * return 0 or a count, or a negative errno, and block as POSIX says unless O_NONBLOCK
 * (file->flags) or MSG_DONTWAIT. Interrupts are off; sleep with sleep_on(). */
#pragma once

#include <stdbool.h>

#include "kern/file.h"

extern const struct file_ops socket_ops;
/* IPv4, of the network that net_init() found; zero: none. */
extern uint8_t net_name_server[4];

/* Called once at boot with the value of net= from the command line ("" if absent). Says in one
 * line what network there is; with none, sock_socket answers -ENETDOWN. */
void net_init(const char *wanted);

/* `type` carries SOCK_NONBLOCK; *made gets a file with one reference. */
int sock_socket(int family, int type, int protocol, struct file **made);
int sock_bind(struct file *file, const struct sockaddr_storage *address, socklen_t bytes);
int sock_listen(struct file *file, int backlog);
int sock_connect(struct file *file, const struct sockaddr_storage *address, socklen_t bytes);
/* `flags`: SOCK_NONBLOCK. `peer` and `bytes` are always given and filled. */
int sock_accept(struct file *file, int flags, struct file **made, struct sockaddr_storage *peer,
                socklen_t *bytes);
/* getsockname, or getpeername. */
int sock_name(struct file *file, bool of_peer, struct sockaddr_storage *address, socklen_t *bytes);
/* `value` is kernel memory; *bytes: its size in, the option's size out. */
int sock_getsockopt(struct file *file, int level, int name, void *value, socklen_t *bytes);
int sock_setsockopt(struct file *file, int level, int name, const void *value, socklen_t bytes);
int sock_shutdown(struct file *file, int how);
/* `to` may be NULL. */
ssize_t sock_sendto(struct file *file, uintptr_t user, size_t bytes, int flags,
                    const struct sockaddr_storage *to, socklen_t to_bytes);
/* `from` may be NULL. */
ssize_t sock_recvfrom(struct file *file, uintptr_t user, size_t bytes, int flags,
                      struct sockaddr_storage *from, socklen_t *from_bytes);
