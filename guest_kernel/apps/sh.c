/* sh: reads lines from the console and runs programs.
 *
 *     name argument "one argument" ...      waits until the program ends; ^C ends it
 *     name argument ... &                   goes on at once
 *     name ... | name ...                   the first one's output is the second one's input
 *     name ... < FILE > FILE                input from, output to a file; >> writes at its end
 *
 * `sh -c LINE` runs that line, and ends with the status of its last program.
 */
#include "sh.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
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

/* Makes `path` the descriptor `fd`. */
static void redirect(int fd, const char *path, int flags) {
    int file = open(path, flags);

    if (file < 0) {
        perror(path);
        _exit(1);
    }
    dup2(file, fd);
    close(file);
}

/* Takes the redirections out of the words and carries them out: the words that are left. */
static int redirect_words(int argc, char **argv) {
    int kept = 0;

    for (int i = 0; i < argc; i++)
        if (i + 1 < argc && !strcmp(argv[i], "<"))
            redirect(STDIN_FILENO, argv[++i], O_RDONLY);
        else if (i + 1 < argc && !strcmp(argv[i], ">"))
            redirect(STDOUT_FILENO, argv[++i], O_WRONLY | O_CREAT | O_TRUNC);
        else if (i + 1 < argc && !strcmp(argv[i], ">>"))
            redirect(STDOUT_FILENO, argv[++i], O_WRONLY | O_CREAT | O_APPEND);
        else
            argv[kept++] = argv[i];
    argv[kept] = NULL;
    return kept;
}

static void execute(int argc, char **argv) {
    char path[LINE_BYTES + 8];

    argc = redirect_words(argc, argv);
    int status = argc ? builtin(argc, argv) : 0;
    if (status >= 0)
        _exit(status);
    snprintf(path, sizeof path, strchr(argv[0], '/') ? "%s" : "/bin/%s", argv[0]);
    execv(path, argv);
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0],
            errno == ENOENT ? "no such program; help lists them" : strerror(errno));
    _exit(127);
}

static int is_one_line; /* sh -c: the status is for who started it */

static void say_end(pid_t pid, int status) {
    if (is_one_line)
        return;
    if (!WIFEXITED(status))
        printf("[%d] ended by signal %d\n", pid, WTERMSIG(status));
    else if (WEXITSTATUS(status) && WEXITSTATUS(status) != 127)
        printf("[%d] ended with status %d\n", pid, WEXITSTATUS(status));
}

static int is_background; /* of the line that is being started */

/* Runs the words up to the end or a "|", and what follows that with this one's output as input.
 * All of them are one group, which ^C ends: its number, or -1. */
static pid_t start(int argc, char **argv, int input, pid_t group) {
    int words = 0, ends[2] = {-1, -1};

    while (words < argc && strcmp(argv[words], "|"))
        words++;
    if (words < argc && pipe2(ends, 0) < 0)
        perror("pipe");
    pid_t pid = fork();
    if (pid < 0)
        perror("fork");
    else { /* both do it: nobody knows who comes first */
        if (!group && !is_background) /* from here on ^C is theirs, however long the rest takes */
            tcsetpgrp(STDIN_FILENO, pid ? pid : getpid());
        setpgid(pid, group);
    }
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        if (input >= 0)
            dup2(input, STDIN_FILENO);
        if (ends[1] >= 0)
            dup2(ends[1], STDOUT_FILENO);
        for (int fd = STDERR_FILENO + 1; fd < 16; fd++)
            close(fd);
        execute(words, argv);
    }
    if (input >= 0)
        close(input);
    if (ends[1] < 0)
        return group ? group : pid;
    close(ends[1]);
    return start(argc - words - 1, argv + words + 1, ends[0], group ? group : pid);
}

/* May the shell do it itself? What reads the console may not: ^C ends its group. */
static int is_plain(int argc, char **argv) {
    if (!strcmp(argv[0], "wc") || (argc == 1 && !strcmp(argv[0], "cat")))
        return 0;
    for (int i = 0; i < argc; i++)
        if ((strchr("|<>", argv[i][0]) && argv[i][0]) || !strcmp(argv[i], "-"))
            return 0;
    return 1;
}

/* Its status, as `sh -c` ends with it. */
static int command(char *line) {
    char *argv[WORDS_MOST];
    int argc = split(line, argv), status, last = 0;

    is_background = argc && !strcmp(argv[argc - 1], "&");
    if (is_background)
        argv[--argc] = NULL;
    if (!argc || (is_plain(argc, argv) && (last = builtin(argc, argv)) >= 0))
        return last;
    pid_t group = start(argc, argv, -1, 0), newest = group, pid;
    if (group < 0)
        return 1;
    if (is_background) {
        printf("[%d]\n", group);
        return 0;
    }
    while ((pid = waitpid(-group, &status, 0)) > 0) {
        say_end(pid, status);
        if (pid < newest)
            continue;
        newest = pid; /* of a pipeline that is the last one */
        last = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    tcsetpgrp(STDIN_FILENO, getpid());
    return last;
}

int main(int argc, char **argv) {
    char line[LINE_BYTES];
    int pid, status;

    if (argc > 1) {
        if ((is_one_line = argc == 3 && !strcmp(argv[1], "-c")))
            return command(argv[2]);
        dprintf(STDERR_FILENO, "sh: write: sh [-c LINE]\n");
        return 2;
    }
    signal(SIGINT, SIG_IGN); /* who outlives ^C may take the terminal back from others, too */
    if (tcsetpgrp(STDIN_FILENO, getpid()) < 0 || setpgid(0, 0) < 0)
        signal(SIGINT, SIG_DFL); /* it reads a file or a pipe */
    for (;;) {
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            say_end(pid, status);
        dprintf(STDOUT_FILENO, "leulo$ ");
        ssize_t got = read(STDIN_FILENO, line, sizeof line - 1);
        if (got <= 0)
            return 0;
        if (got == sizeof line - 1 && line[got - 1] != '\n') {
            while ((got = read(STDIN_FILENO, line, sizeof line - 1)) > 0 && line[got - 1] != '\n')
                ;
            dprintf(STDERR_FILENO, "sh: the line has more than %u characters\n", LINE_BYTES - 2);
            continue;
        }
        line[got] = 0;
        line[strcspn(line, "\r\n")] = 0;
        command(line);
    }
}
