/* init: the first process. Starts the services, then a shell, and a new shell when one ends.
 *
 * Arguments name other services to start; "none" starts none. On the kernel's command line:
 * init=/bin/init,httpd,echo */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SERVICES_MOST 16
#define PATH_BYTES 64

static struct {
    const char *name;
    pid_t pid;
} services[SERVICES_MOST];
static int service_count;

/* Starts /bin/NAME: its process id, or -1. */
static pid_t start(const char *name) {
    char path[PATH_BYTES];
    char *const arguments[] = {(char *)name, NULL};
    pid_t pid = fork();

    if (pid)
        return pid;
    snprintf(path, sizeof path, "/bin/%s", name);
    execv(path, arguments);
    perror(path);
    _exit(127);
}

static void start_service(const char *name) {
    if (service_count == SERVICES_MOST)
        return;
    services[service_count].name = name;
    services[service_count++].pid = start(name);
}

static void report(pid_t pid, int status) {
    for (int i = 0; i < service_count; i++)
        if (services[i].pid == pid)
            printf("init: %s ended, %s %d\n", services[i].name,
                   WIFEXITED(status) ? "status" : "signal",
                   WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/* Until all services sleep, so that their lines come before the shell's prompt; half a second at
 * most. The columns are those of /proc/processes. */
static void let_them_settle(void) {
    static char text[4096];
    struct timespec pause = {0, 5000000};

    for (int tries = 0, is_busy = service_count > 0; is_busy && tries < 100; tries++) {
        nanosleep(&pause, NULL);
        int fd = open("/proc/processes", O_RDONLY);
        ssize_t got = read(fd, text, sizeof text - 1);
        close(fd);
        text[got > 0 ? got : 0] = 0;
        is_busy = 0;
        for (const char *line = text; (line = strchr(line, '\n')) && *++line;)
            is_busy |= strlen(line) > 20 && line[19] == 'R' && atoi(line + 6) == getpid();
    }
}

int main(int argc, char **argv) {
    static const char *const usual[] = {"httpd", "echo", "discard", "chargen"};

    if (argc == 1)
        for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
            start_service(usual[i]);
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "none"))
            start_service(argv[i]);

    let_them_settle();
    pid_t shell = start("sh");
    for (;;) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, 0);

        if (pid < 0) { /* no child is left, not even a shell: fork failed */
            sleep(1);
            pid = shell;
        }
        if (pid != shell) {
            report(pid, status);
            continue;
        }
        if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127)
            sleep(1); /* there is no shell; do not spin */
        shell = start("sh");
    }
}
