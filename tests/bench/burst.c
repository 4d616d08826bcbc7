// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests in a burst, on epoll in one thread.

#include "burst.h"

#include <err.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sample.h"

#define REPLY_MAX 2048
#define BIG_REPLY_MAX (1024 * 1024)

typedef struct {
    int fd;
    char *reply;
    size_t size, got;
} Connection;

static Connection connections[BURST_MOST];
static char *requests[BURST_MOST];
static int poller;

// The first processor; the others are the daemon's (daemon.bash).
static void stay_apart(void)
{
    cpu_set_t first;

    CPU_ZERO(&first);
    CPU_SET(0, &first);
    if (sched_setaffinity(0, sizeof first, &first) < 0)
        err(1, "no processor for the client");
}

void burst_connect(const char *path)
{
    struct rlimit files = {4096, 4096};
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    stay_apart();
    setrlimit(RLIMIT_NOFILE, &files);
    if (strlen(path) >= sizeof address.sun_path)
        errx(2, "%s: too long", path);
    strcpy(address.sun_path, path);
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < BURST_MOST; i++) {
        Connection *c = &connections[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

        c->size = i == 0 ? BIG_REPLY_MAX : REPLY_MAX;
        c->reply = malloc(c->size);
        c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (!c->reply || c->fd < 0 || connect(c->fd, (void *)&address, sizeof address) < 0 ||
            epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) < 0)
            err(1, "%s", path);
    }
}

clockid_t burst_daemon_clock(void)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    clockid_t daemon_clock;

    if (getsockopt(connections[0].fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 ||
        clock_getcpuclockid(peer.pid, &daemon_clock) != 0)
        errx(1, "no clock for the daemon's processor time");
    return daemon_clock;
}

static void transmit(Connection *c, const char *request)
{
    size_t length = strlen(request);

    c->got = 0;
    while (length > 0) {
        ssize_t n = send(c->fd, request, length, MSG_NOSIGNAL);

        if (n < 0)
            err(1, "send");
        request += n;
        length -= n;
    }
}

// Takes what has come; true when the reply is complete, and then it is one of success.
static int receive(Connection *c)
{
    ssize_t n = recv(c->fd, c->reply + c->got, c->size - 1 - c->got, MSG_DONTWAIT);
    const char *end, *field;

    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n <= 0)
        errx(1, "the daemon hung up, or its reply is larger than %zu bytes", c->size);
    c->got += n;
    c->reply[c->got] = '\0';
    end = strstr(c->reply, "\r\n\r\n");
    if (!end)
        return 0;
    if (strncmp(c->reply, "HTTP/1.1 2", 10))
        errx(1, "refused: %s", c->reply);
    field = strcasestr(c->reply, "\r\nContent-Length:");
    return c->got >= (field && field < end ? strtoul(field + 17, NULL, 10) : 0) +
                         (size_t)(end + 4 - c->reply);
}

// Sends requests[0..n) at once, each on its own connection; milliseconds until the last reply.
double burst_exchange(int n)
{
    struct epoll_event events[256];
    double start = bench_now_ms();
    int left = n;

    for (int i = 0; i < n; i++)
        transmit(&connections[i], requests[i]);
    while (left > 0) {
        int ready = epoll_wait(poller, events, 256, -1);

        for (int i = 0; i < ready; i++)
            left -= receive(events[i].data.ptr);
    }
    return bench_now_ms() - start;
}

void burst_set(int i, const char *format, ...)
{
    va_list args;

    free(requests[i]);
    va_start(args, format);
    if (vasprintf(&requests[i], format, args) < 0)
        err(1, "request");
    va_end(args);
}

void burst_set_post(int i, const char *path, const char *type, const char *body)
{
    burst_set(i,
              "POST %s HTTP/1.1\r\nHost: localhost\r\n"
              "Content-Type: application/%s\r\nContent-Length: %zu\r\n\r\n%s",
              path, type, strlen(body), body);
}

const char *burst_reply(int i)
{
    return connections[i].reply;
}

const char *burst_uuid(int i)
{
    static char text[37];

    snprintf(text, sizeof text, "%08x-0000-4000-8000-%012x", i * 0x9e3779b1u, i);
    return text;
}
