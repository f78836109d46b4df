/* What the shell does by itself. */
#include "sh.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

static void list(const char *path, const char *separator) {
    DIR *directory = opendir(path);
    struct dirent *entry;

    if (!directory) {
        perror(path);
        return;
    }
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.')
            printf("%s%s%s", entry->d_name, entry->d_type == DT_DIR ? "/" : "", separator);
    closedir(directory);
}

static void show(const char *path) {
    static char block[4096];
    int fd = path ? open(path, O_RDONLY) : STDIN_FILENO;
    ssize_t got = -1;

    while (fd >= 0 && (got = read(fd, block, sizeof block)) > 0)
        for (ssize_t at = 0, sent; at < got; at += sent)
            if ((sent = write(STDOUT_FILENO, block + at, (size_t)(got - at))) < 0) {
                perror("output");
                exit(1); /* of a child: the shell itself writes to the console only */
            }
    if (got < 0)
        perror(path ? path : "input");
    if (fd > STDIN_FILENO)
        close(fd);
}

static void count(void) {
    static char block[4096];
    unsigned lines = 0, bytes = 0;
    ssize_t got;

    for (; (got = read(STDIN_FILENO, block, sizeof block)) > 0; bytes += (unsigned)got)
        for (ssize_t i = 0; i < got; i++)
            lines += block[i] == '\n';
    printf("%u lines, %u bytes\n", lines, bytes);
}

static void say(int argc, char **argv) {
    char line[512];
    int length = 0;

    for (int i = 1; i < argc && length < (int)sizeof line; i++)
        length += snprintf(line + length, sizeof line - (size_t)length, i > 1 ? " %s" : "%s",
                           argv[i]);
    printf("%s\n", line);
}

static int directory_of(const char *path) {
    return mkdir(path, 0755);
}

/* What is done to each path or process that is named. */
static void each(int argc, char **argv, int (*action)(const char *)) {
    for (int i = 1; i < argc; i++)
        if (action(argv[i]) < 0)
            perror(argv[i]);
}

static int end_process(const char *pid) {
    errno = ESRCH; /* 0 and less would be groups of them */
    return atoi(pid) > 0 ? kill(atoi(pid), SIGTERM) : -1;
}

static void help(void) {
    printf("ls [FOLDER]...  cat [FILE]...   echo WORD...   wc (of its input)   help\n"
           "rm FILE...    mkdir FOLDER    rmdir FOLDER   (only below /tmp can be written)\n"
           "ps            netstat         kill PID...\n"
           "exit [N]      ends this shell (init starts another)\n"
           "poweroff      ends the machine      reboot   starts it again\n"
           "PROGRAM [ARGUMENT]... [&]           & does not wait for it; ^C ends it\n"
           "PROGRAM ... | PROGRAM < FILE > FILE >> FILE     sh -c LINE   that line, in a shell\n"
           "programs: ");
    list("/bin", " ");
    printf("\n");
}

int builtin(int argc, char **argv) {
    const char *name = argv[0];

    if (!strcmp(name, "help"))
        help();
    else if (!strcmp(name, "ls"))
        for (int i = 1; i < argc || i == 1; i++)
            list(argc > 1 ? argv[i] : "/", "\n");
    else if (!strcmp(name, "cat"))
        for (int i = 1; i < argc || i == 1; i++)
            show(argv[i]);
    else if (!strcmp(name, "echo")) /* the service of that name is /bin/echo */
        say(argc, argv);
    else if (!strcmp(name, "wc"))
        count();
    else if (!strcmp(name, "ps"))
        show("/proc/processes");
    else if (!strcmp(name, "netstat"))
        show("/proc/sockets");
    else if (!strcmp(name, "rm"))
        each(argc, argv, unlink);
    else if (!strcmp(name, "mkdir"))
        each(argc, argv, directory_of);
    else if (!strcmp(name, "rmdir"))
        each(argc, argv, rmdir);
    else if (!strcmp(name, "kill"))
        each(argc, argv, end_process);
    else if (!strcmp(name, "exit"))
        exit(argc > 1 ? atoi(argv[1]) : 0);
    else if (!strcmp(name, "poweroff"))
        reboot(RB_POWER_OFF);
    else if (!strcmp(name, "reboot"))
        reboot(RB_AUTOBOOT);
    else
        return 0;
    return 1;
}
