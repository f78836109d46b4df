/* The whole user space of the rival in tools/bench_slirp.py: process 1 of a Linux guest.
 *
 * Loads the network card's driver, takes 10.0.2.15/24 and serves echo (7), discard (9) and
 * chargen (19) with plain reads and writes, a process a connection. Says READY on the console.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static char buffer[1 << 18];

static void set_address(int fd, unsigned long request, const char *text)
{
    struct ifreq interface = {0};
    struct sockaddr_in *address = (struct sockaddr_in *)&interface.ifr_addr;
    strcpy(interface.ifr_name, "eth0");
    address->sin_family = AF_INET;
    inet_aton(text, &address->sin_addr);
    ioctl(fd, request, &interface);
}

static int bring_up(void)
{
    struct ifreq interface = {0};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    strcpy(interface.ifr_name, "eth0");
    interface.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(fd, SIOCSIFFLAGS, &interface) < 0)
        return -1;
    set_address(fd, SIOCSIFADDR, "10.0.2.15");
    set_address(fd, SIOCSIFNETMASK, "255.255.255.0");
    close(fd);
    return 0;
}

static void serve(int fd, int port)
{
    ssize_t count;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (port == 19)
        while (write(fd, buffer, sizeof buffer) > 0)
            ;
    else
        while ((count = read(fd, buffer, sizeof buffer)) > 0)
            if (port == 7 && write(fd, buffer, count) < 0)
                break;
}

int main(void)
{
    static const int ports[] = {7, 9, 19};
    struct pollfd listeners[3];
    int module = open("/e1000.ko", O_RDONLY);
    signal(SIGCHLD, SIG_IGN);
    if (module < 0 || syscall(SYS_finit_module, module, "", 0) < 0)
        perror("e1000.ko");
    for (int tries = 0; bring_up() < 0 && tries < 50; tries++)
        usleep(100000);
    for (int i = 0; i < 3; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(ports[i])};
        listeners[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        listeners[i].events = POLLIN;
        bind(listeners[i].fd, (struct sockaddr *)&address, sizeof address);
        listen(listeners[i].fd, 512);
    }
    puts("READY");
    fflush(stdout);
    for (;;) {
        poll(listeners, 3, -1);
        for (int i = 0; i < 3; i++) {
            int fd = listeners[i].revents & POLLIN ? accept(listeners[i].fd, 0, 0) : -1;
            if (fd < 0)
                continue;
            if (fork() == 0) {
                serve(fd, ports[i]);
                _exit(0);
            }
            close(fd);
        }
    }
}
