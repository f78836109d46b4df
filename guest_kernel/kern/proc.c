/* /proc/processes, /proc/sockets and /proc/resolv.conf: what the kernel knows, as text, made when they
 * are opened. The programs ps and netstat show the first two, names.c of the clients reads the last. */
#include "kern/console.h"
#include "kern/errno.h"
#include "kern/file.h"
#include "kern/filesystem.h"
#include "kern/mem.h"
#include "kern/process.h"
#include "net/socket.h"

#define ADDRESS_ROOM 56

static void print_processes(struct file *out) {
    const struct process *process;

    tmpfs_print(out, "%5s %5s %5s  %s %8s %8s %5s  %s\n", "PID", "PPID", "GROUP", "S", "CPU", "KIB",
                "FILES", "NAME");
    for (unsigned i = 0; (process = process_in_slot(i)); i++) {
        int files = 0;
        if (!process->pid)
            continue;
        for (int n = 0; n < process->files_size; n++)
            files += process->files[n] != NULL;
        unsigned ms = process->ticks * (1000 / TICKS_PER_S);
        tmpfs_print(out, "%5d %5d %5d  %c %4u.%02us %8u %5d  %s\n", process->pid,
                    process->parent ? process->parent->pid : 0, process->group,
                    process->is_zombie                                   ? 'Z'
                    : process->thread->state == THREAD_SLEEPING ? 'S' : 'R',
                    ms / 1000, ms / 10 % 100, 
                    process->is_zombie ? 0 : 4 * space_pages(&process->space), files, process->name);
    }
}

static void address_text(char *text, int result, const struct sockaddr_storage *address) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    const uint8_t *byte = (const uint8_t *)&in->sin_addr;
    int length = 0;

    if (result < 0) {
        snprintf(text, ADDRESS_ROOM, "-");
    } else if (address->ss_family == AF_INET) {
        snprintf(text, ADDRESS_ROOM, "%u.%u.%u.%u:%u", byte[0], byte[1], byte[2], byte[3],
                 __builtin_bswap16(in->sin_port));
    } else if (!memcmp(&in6->sin6_addr, &(struct in6_addr){0}, sizeof in6->sin6_addr)) {
        snprintf(text, ADDRESS_ROOM, "[::]:%u", __builtin_bswap16(in6->sin6_port));
    } else {
        for (int i = 0; i < 16; i += 2)
            length += snprintf(text + length, ADDRESS_ROOM - (size_t)length, "%c%x", i ? ':' : '[',
                               in6->sin6_addr.s6_addr[i] << 8 | in6->sin6_addr.s6_addr[i + 1]);
        snprintf(text + length, ADDRESS_ROOM - (size_t)length, "]:%u",
                 __builtin_bswap16(in6->sin6_port));
    }
}

static void print_socket(struct file *out, const struct process *process, int descriptor) {
    static const char *const states[] = {
        "-", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT",
        "CLOSED", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"};
    struct file *file = process->files[descriptor];
    struct sockaddr_storage local, peer;
    char here[ADDRESS_ROOM], there[ADDRESS_ROOM];
    uint8_t info[8] = {0}; /* of struct tcp_info: its first byte is the state */
    socklen_t bytes = sizeof info;
    int protocol = 0;

    sock_getsockopt(file, IPPROTO_TCP, TCP_INFO, info, &bytes);
    bytes = sizeof protocol;
    sock_getsockopt(file, SOL_SOCKET, SO_PROTOCOL, &protocol, &bytes);

    address_text(here, sock_name(file, false, &local, &bytes), &local);
    address_text(there, sock_name(file, true, &peer, &bytes), &peer);
    tmpfs_print(out, "%-5s %-24s %-24s %-12s %d/%s\n", 
                protocol == IPPROTO_TCP                                        ? "tcp"
                : protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6 ? "icmp" : "udp", here, there,
                states[info[0] < sizeof states / sizeof *states ? info[0] : 0], process->pid,
                process->name);
}

static void print_sockets(struct file *out) {
    const struct process *process;

    tmpfs_print(out, "%-5s %-24s %-24s %-12s %s\n", "PROTO", "LOCAL", "PEER", "STATE", "PROCESS");
    for (unsigned i = 0; (process = process_in_slot(i)); i++)
        for (int n = 0; process->pid && n < process->files_size; n++)
            if (process->files[n] && process->files[n]->ops == &socket_ops)
                print_socket(out, process, n);
}

static void print_name_server(struct file *out) {
    const uint8_t *byte = net_name_server;

    if (byte[0])
        tmpfs_print(out, "nameserver %u.%u.%u.%u\n", byte[0], byte[1], byte[2], byte[3]);
}

int proc_open(const char *name, struct file **made) {
    void (*print)(struct file *) = !strcmp(name, "proc/processes")     ? print_processes
                                   : !strcmp(name, "proc/sockets")     ? print_sockets
                                   : !strcmp(name, "proc/resolv.conf") ? print_name_server : NULL;

    *made = print ? tmpfs_text() : NULL;
    if (!*made)
        return print ? -ENOMEM : -ENOENT;
    print(*made);
    return 0;
}
