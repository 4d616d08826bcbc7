// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a hook costs: starts each program the way libvirt starts a hook (fork, execve with a clean
// environment, the domain's XML through a pipe to stdin, stdout and stderr drained, wait) and
// prints one JSON line of milliseconds for each. The programs take turns within a round, so that
// whatever else the machine does falls on all of them. In its turn each runs twice and the second
// run counts, so that none pays for the caches that its predecessor left. The ratio is that of the
// first program to the second, round by round.
//
//     spawn ROUNDS XML RATIO-NAME NAME=PROGRAM NAME=PROGRAM...

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 10000
#define PROGRAMS_MAX 8
#define XML_MAX 65536

typedef struct {
    const char *name;
    char *path;
    double ms[ROUNDS_MAX];
} Program;

static Program programs[PROGRAMS_MAX];

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void run_child(char *path, const int in[2], const int out[2], const int log[2])
{
    char *argv[] = {path, "web1", "prepare", "begin", "-", NULL};
    char *envp[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};

    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(log[1], STDERR_FILENO);
    signal(SIGPIPE, SIG_DFL);
    execve(path, argv, envp);
    _exit(127);
}

// Feeds stdin and drains both outputs until they end.
static void serve_child(int in, int out, int log, const char *xml, size_t length)
{
    struct pollfd fds[] = {{in, POLLOUT, 0}, {out, POLLIN, 0}, {log, POLLIN, 0}};
    char scratch[4096];

    while (fds[0].fd >= 0 || fds[1].fd >= 0 || fds[2].fd >= 0) {
        if (poll(fds, 3, -1) < 0)
            err(1, "poll");
        if (fds[0].revents) {
            ssize_t n = write(in, xml, length);

            xml += n > 0 ? n : 0;
            length -= n > 0 ? n : 0;
            if (n < 0 || length == 0) {
                close(in);
                fds[0].fd = -1;
            }
        }
        for (int i = 1; i < 3; i++) {
            if (fds[i].revents && read(fds[i].fd, scratch, sizeof scratch) <= 0) {
                close(fds[i].fd);
                fds[i].fd = -1;
            }
        }
    }
}

static double run(const Program *program, const char *xml, size_t length)
{
    double start = now_ms();
    int in[2], out[2], log[2], status;
    pid_t pid;

    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(log, O_CLOEXEC))
        err(1, "pipe");
    pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0)
        run_child(program->path, in, out, log);
    close(in[0]);
    close(out[1]);
    close(log[1]);
    serve_child(in[1], out[0], log[0], xml, length);
    if (waitpid(pid, &status, 0) < 0)
        err(1, "waitpid");
    if (status != 0)
        errx(1, "%s: wait status %d", program->path, status);
    return now_ms() - start;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print(const char *name, const char *unit, double *values, int n)
{
    qsort(values, n, sizeof *values, compare);
    printf("{\"name\": \"%s\", \"unit\": \"%s\", \"median\": %.4f, \"min\": %.4f, \"max\": %.4f, "
           "\"n\": %d}\n",
           name, unit, (values[(n - 1) / 2] + values[n / 2]) / 2, values[0], values[n - 1], n);
}

static size_t load(const char *path, char *xml)
{
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(xml, 1, XML_MAX, file) : 0;

    if (!file || ferror(file))
        err(1, "%s", path);
    fclose(file);
    return length;
}

int main(int argc, char **argv)
{
    static char xml[XML_MAX];
    static double ratios[ROUNDS_MAX];
    int rounds = argc > 1 ? atoi(argv[1]) : 0, n = argc - 4;
    size_t length;

    if (n < 2 || n > PROGRAMS_MAX || rounds < 1 || rounds > ROUNDS_MAX)
        errx(2, "usage: spawn ROUNDS XML RATIO-NAME NAME=PROGRAM NAME=PROGRAM...");
    for (int i = 0; i < n; i++) {
        programs[i].name = argv[4 + i];
        programs[i].path = strchr(argv[4 + i], '=');
        if (!programs[i].path)
            errx(2, "%s: not NAME=PROGRAM", argv[4 + i]);
        *programs[i].path++ = '\0';
    }
    signal(SIGPIPE, SIG_IGN);
    length = load(argv[2], xml);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < n; i++) {
            run(&programs[i], xml, length);
            programs[i].ms[round] = run(&programs[i], xml, length);
        }
        ratios[round] = programs[0].ms[round] / programs[1].ms[round];
    }
    for (int i = 0; i < n; i++)
        print(programs[i].name, "ms", programs[i].ms, rounds);
    print(argv[3], "ratio", ratios, rounds);
    return 0;
}
