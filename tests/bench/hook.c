// SPDX-License-Identifier: GPL-2.0-or-later
//
// The part of libvirt's virHookCall() that takes time, in its order: pipes, fork, execve, feeding
// and draining until all pipes are at their end, wait.

#include "hook.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sample.h"

#define XML_MAX 65536
#define TEXT_MAX 512

static void run_child(const BenchHook *hook, const int in[2], const int out[2], const int log[2])
{
    char path[TEXT_MAX], socket[TEXT_MAX] = "";
    char *argv[] = {path, "web1", (char *)hook->operation, (char *)hook->phase, "-", NULL};
    char *envp[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL, NULL};

    snprintf(path, sizeof path, "%s", hook->path);
    if (hook->socket) {
        snprintf(socket, sizeof socket, "VIRTFN_SOCKET=%s", hook->socket);
        envp[2] = socket;
    }
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(log[1], STDERR_FILENO);
    signal(SIGPIPE, SIG_DFL);
    execve(path, argv, envp);
    _exit(127);
}

// Feeds stdin and drains both outputs until they end. What came last on stderr stays in `said`.
static void serve_child(int in, int out, int log, const BenchHook *hook, char *said)
{
    struct pollfd fds[] = {{in, POLLOUT, 0}, {out, POLLIN, 0}, {log, POLLIN, 0}};
    const char *xml = hook->xml;
    size_t length = hook->length;
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
            ssize_t n = fds[i].revents ? read(fds[i].fd, scratch, sizeof scratch) : -1;

            if (i == 2 && n > 0)
                snprintf(said, TEXT_MAX, "%.*s", (int)n, scratch);
            if (fds[i].revents && n <= 0) {
                close(fds[i].fd);
                fds[i].fd = -1;
            }
        }
    }
}

double bench_hook(const BenchHook *hook)
{
    double start = bench_now_ms();
    char said[TEXT_MAX] = "";
    int in[2], out[2], log[2], status;
    pid_t pid;

    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(log, O_CLOEXEC))
        err(1, "pipe");
    pid = fork();
    if (pid < 0)
        err(1, "fork");
    if (pid == 0)
        run_child(hook, in, out, log);
    close(in[0]);
    close(out[1]);
    close(log[1]);
    serve_child(in[1], out[0], log[0], hook, said);
    if (waitpid(pid, &status, 0) < 0)
        err(1, "waitpid");
    if (status != 0)
        errx(1, "%s %s: wait status %d: %s", hook->path, hook->operation, status, said);
    return bench_now_ms() - start;
}

char *bench_load(const char *path, size_t *length)
{
    char *text = malloc(XML_MAX);
    FILE *file = fopen(path, "r");

    if (!text || !file)
        err(1, "%s", path);
    *length = fread(text, 1, XML_MAX, file);
    if (ferror(file) || *length == XML_MAX)
        errx(1, "%s: cannot be read, or is %d bytes or more", path, XML_MAX);
    fclose(file);
    return text;
}
