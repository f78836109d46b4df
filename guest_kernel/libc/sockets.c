/* BSD sockets: each function is one system call. */
#include "syscall.h"
#include <sys/sendfile.h>
#include <sys/socket.h>

int socket(int family, int type, int protocol) {
    return (int)CALL(socket, family, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t length) {
    return (int)CALL(bind, fd, address, length);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    return (int)CALL(connect, fd, address, length);
}

int listen(int fd, int backlog) {
    return (int)CALL(listen, fd, backlog);
}

int accept(int fd, struct sockaddr *address, socklen_t *length) {
    return (int)CALL(accept4, fd, address, length, 0);
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    return (int)CALL(accept4, fd, address, length, flags);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *length) {
    return (int)CALL(getsockopt, fd, level, name, value, length);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    return (int)CALL(setsockopt, fd, level, name, value, length);
}

int getsockname(int fd, struct sockaddr *address, socklen_t *length) {
    return (int)CALL(getsockname, fd, address, length);
}

int getpeername(int fd, struct sockaddr *address, socklen_t *length) {
    return (int)CALL(getpeername, fd, address, length);
}

ssize_t sendto(int fd, const void *buffer, size_t count, int flags,
               const struct sockaddr *address, socklen_t length) {
    return CALL(sendto, fd, buffer, count, flags, address, length);
}

ssize_t send(int fd, const void *buffer, size_t count, int flags) {
    return CALL(sendto, fd, buffer, count, flags, 0, 0);
}

ssize_t recvfrom(int fd, void *buffer, size_t count, int flags,
                 struct sockaddr *address, socklen_t *length) {
    return CALL(recvfrom, fd, buffer, count, flags, address, length);
}

ssize_t recv(int fd, void *buffer, size_t count, int flags) {
    return CALL(recvfrom, fd, buffer, count, flags, 0, 0);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t count) {
    return CALL(sendfile, to, from, offset, count);
}

int shutdown(int fd, int how) {
    return (int)CALL(shutdown, fd, how);
}
