/* Error numbers in words. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    short number;
    const char *words;
} errors[] = {
    {EPERM, "Operation not permitted"}, {ENOENT, "No such file or directory"},
    {ESRCH, "No such process"}, {EINTR, "Interrupted system call"}, {EIO, "Input/output error"},
    {E2BIG, "Argument list too long"}, {ENOEXEC, "Exec format error"},
    {EBADF, "Bad file descriptor"}, {ECHILD, "No child processes"},
    {EAGAIN, "Resource temporarily unavailable"}, {ENOMEM, "Cannot allocate memory"},
    {EACCES, "Permission denied"}, {EFAULT, "Bad address"}, {EBUSY, "Device or resource busy"},
    {EEXIST, "File exists"}, {ENOTDIR, "Not a directory"}, {EISDIR, "Is a directory"},
    {EINVAL, "Invalid argument"}, {EMFILE, "Too many open files"},
    {ENOTTY, "Inappropriate ioctl for device"}, {EFBIG, "File too large"},
    {ENOSPC, "No space left on device"}, {ESPIPE, "Illegal seek"},
    {EROFS, "Read-only file system"}, {EPIPE, "Broken pipe"},
    {ENAMETOOLONG, "File name too long"}, {ENOSYS, "Function not implemented"},
    {ENOTEMPTY, "Directory not empty"}, {ENOTSOCK, "Socket operation on non-socket"},
    {EDESTADDRREQ, "Destination address required"}, {EMSGSIZE, "Message too long"},
    {ENOPROTOOPT, "Protocol not available"}, {EPROTONOSUPPORT, "Protocol not supported"},
    {ESOCKTNOSUPPORT, "Socket type not supported"}, {EOPNOTSUPP, "Operation not supported"},
    {EAFNOSUPPORT, "Address family not supported by protocol"},
    {EADDRINUSE, "Address already in use"}, {EADDRNOTAVAIL, "Cannot assign requested address"},
    {ENETDOWN, "Network is down"}, {ENETUNREACH, "Network is unreachable"},
    {ECONNABORTED, "Software caused connection abort"}, {ECONNRESET, "Connection reset by peer"},
    {ENOBUFS, "No buffer space available"}, {EISCONN, "Transport endpoint is already connected"},
    {ENOTCONN, "Transport endpoint is not connected"}, {ETIMEDOUT, "Connection timed out"},
    {ECONNREFUSED, "Connection refused"}, {EHOSTUNREACH, "No route to host"},
    {EALREADY, "Operation already in progress"}, {EINPROGRESS, "Operation now in progress"},
};

char *strerror(int number) {
    static char unknown[24];

    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].number == number)
            return (char *)errors[i].words;
    snprintf(unknown, sizeof unknown, "Unknown error %d", number);
    return unknown;
}
