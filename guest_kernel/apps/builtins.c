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

static int list(const char *path, const char *separator) {
    DIR *directory = opendir(path);
    struct dirent *entry;

    if (!directory)
        return -1;
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.')
            printf("%s%s%s", entry->d_name, entry->d_type == DT_DIR ? "/" : "", separator);
    return closedir(directory);
}

static int list_lines(const char *path) {
    return list(path, "\n");
}

static int show(const char *path) {
    static char block[4096];
    int fd = strcmp(path, "-") ? open(path, O_RDONLY) : STDIN_FILENO;
    ssize_t got = -1;

    while (fd >= 0 && (got = read(fd, block, sizeof block)) > 0)
        for (ssize_t at = 0, sent; at < got; at += sent)
            if ((sent = write(STDOUT_FILENO, block + at, (size_t)(got - at))) < 0) {
                perror("output");
                exit(1); /* of a child: the shell itself writes to the console only */
            }
    if (fd > STDIN_FILENO)
        close(fd);
    return (int)got;
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
    char line[512] = " ";
    int length = 0;

    for (int i = 1; i < argc && length < (int)sizeof line; i++)
        length += snprintf(line + length, sizeof line - (size_t)length, " %s", argv[i]);
    printf("%s\n", line + 1);
}

static int directory_of(const char *path) {
    return mkdir(path, 0755);
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

/* What is done to each file or process that is named, or to `standard` where none is. */
static const struct {
    const char *name;
    int (*action)(const char *);
    const char *standard;
} actions[] = {{"ls", list_lines, "/"},        {"cat", show, "-"},
               {"ps", show, "/proc/processes"}, {"netstat", show, "/proc/sockets"},
               {"rm", unlink, NULL},            {"mkdir", directory_of, NULL},
               {"rmdir", rmdir, NULL},          {"kill", end_process, NULL}};

static int each(int argc, char **argv) {
    int status = 0, number = 0;

    while (strcmp(argv[0], actions[number].name))
        if (++number == (int)(sizeof actions / sizeof *actions))
            return -1;
    for (int i = 1; i < argc || i == 1; i++) {
        const char *standard = actions[number].standard;
        const char *argument = i < argc && !(standard && standard[1]) ? argv[i] : standard;
        if (argument && actions[number].action(argument) < 0) {
            perror(argument);
            status = 1;
        }
    }
    return status;
}

int builtin(int argc, char **argv) {
    if (!strcmp(*argv, "help"))
        help();
    else if (!strcmp(*argv, "echo")) /* the service of that name is /bin/echo */
        say(argc, argv);
    else if (!strcmp(*argv, "wc"))
        count();
    else if (!strcmp(*argv, "exit"))
        exit(argc > 1 ? atoi(argv[1]) : 0);
    else if (!strcmp(*argv, "poweroff"))
        reboot(RB_POWER_OFF);
    else if (!strcmp(*argv, "reboot"))
        reboot(RB_AUTOBOOT);
    else
        return each(argc, argv);
    return 0;
}
