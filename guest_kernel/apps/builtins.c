/* What the shell does by itself. */
#include "sh.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
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
    static char block[1024];
    int fd = open(path, O_RDONLY);
    ssize_t got = -1;

    while (fd >= 0 && (got = read(fd, block, sizeof block)) > 0)
        write(STDOUT_FILENO, block, (size_t)got);
    if (got < 0)
        perror(path);
    if (fd >= 0)
        close(fd);
}

static void help(void) {
    printf("ls [FOLDER]   cat FILE...   help\n"
           "exit [N]      ends this shell (init starts another)\n"
           "poweroff      ends the machine      reboot   starts it again\n"
           "PROGRAM [ARGUMENT]... [&]           & does not wait for it; ^C ends it\n"
           "programs: ");
    list("/bin", " ");
    printf("\n");
}

int builtin(int argc, char **argv) {
    const char *name = argv[0];

    if (!strcmp(name, "help"))
        help();
    else if (!strcmp(name, "ls"))
        list(argc > 1 ? argv[1] : "/", "\n");
    else if (!strcmp(name, "cat"))
        for (int i = 1; i < argc; i++)
            show(argv[i]);
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
