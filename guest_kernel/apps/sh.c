/* sh: reads lines from the console and runs programs.
 *
 *     name argument "one argument" ...      waits until the program ends; ^C ends it
 *     name argument ... &                   goes on at once
 */
#include "sh.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_BYTES 256
#define WORDS_MOST 32

/* Splits the line in place at blanks, but not between quotes: the number of words. */
static int split(char *line, char **words) {
    int count = 0;

    while (count < WORDS_MOST - 1) {
        while (*line == ' ' || *line == '\t')
            *line++ = 0;
        if (!*line)
            break;
        char quote = *line == '"' || *line == '\'' ? *line++ : 0;
        words[count++] = line;
        while (*line && (quote ? *line != quote : *line != ' ' && *line != '\t'))
            line++;
        if (quote && *line)
            *line++ = 0;
    }
    words[count] = NULL;
    return count;
}

static void execute(char **argv) {
    char path[LINE_BYTES + 8];

    snprintf(path, sizeof path, strchr(argv[0], '/') ? "%s" : "/bin/%s", argv[0]);
    execv(path, argv);
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0],
            errno == ENOENT ? "no such program; help lists them" : strerror(errno));
    _exit(127);
}

static void say_end(pid_t pid, int status) {
    if (!WIFEXITED(status))
        printf("[%d] ended by signal %d\n", pid, WTERMSIG(status));
    else if (WEXITSTATUS(status) && WEXITSTATUS(status) != 127)
        printf("[%d] ended with status %d\n", pid, WEXITSTATUS(status));
}

static void run(char **argv, int background) {
    int status;
    pid_t pid = fork();

    if (pid == 0)
        execute(argv);
    if (pid < 0) {
        perror("fork");
        return;
    }
    if (background) {
        printf("[%d]\n", pid);
        return;
    }
    tcsetpgrp(STDIN_FILENO, pid);
    if (waitpid(pid, &status, 0) == pid)
        say_end(pid, status);
    tcsetpgrp(STDIN_FILENO, 0);
}

static void command(char *line) {
    char *argv[WORDS_MOST];
    int argc = split(line, argv), background = 0;

    if (argc && !strcmp(argv[argc - 1], "&")) {
        argv[--argc] = NULL;
        background = 1;
    }
    if (argc && !builtin(argc, argv))
        run(argv, background);
}

int main(void) {
    char line[LINE_BYTES];
    int status;
    pid_t pid;

    for (;;) {
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            say_end(pid, status);
        dprintf(STDOUT_FILENO, "leulo$ ");
        ssize_t got = read(STDIN_FILENO, line, sizeof line - 1);
        if (got <= 0)
            return 0;
        line[got] = 0;
        line[strcspn(line, "\r\n")] = 0;
        command(line);
    }
}
