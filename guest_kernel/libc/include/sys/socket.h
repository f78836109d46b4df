#pragma once

#include "kern/uapi.h"

#define SOMAXCONN 4096

int socket(int family, int type, int protocol);
int bind(int fd, const struct sockaddr *address, socklen_t length);
int connect(int fd, const struct sockaddr *address, socklen_t length);
int listen(int fd, int backlog);
int accept(int fd, struct sockaddr *address, socklen_t *length);
int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
int getsockopt(int fd, int level, int name, void *value, socklen_t *length);
int setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int getsockname(int fd, struct sockaddr *address, socklen_t *length);
int getpeername(int fd, struct sockaddr *address, socklen_t *length);
ssize_t send(int fd, const void *buffer, size_t count, int flags);
ssize_t sendto(int fd, const void *buffer, size_t count, int flags,
               const struct sockaddr *address, socklen_t length);
ssize_t recv(int fd, void *buffer, size_t count, int flags);
ssize_t recvfrom(int fd, void *buffer, size_t count, int flags,
                 struct sockaddr *address, socklen_t *length);
int shutdown(int fd, int how);
