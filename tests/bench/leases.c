// SPDX-License-Identifier: GPL-2.0-or-later
//
// Leases asked for all at once: how long until the daemon has acknowledged the last one. A case of
// N is N connections, open beforehand and kept, with one HTTP request each; all requests are sent
// at t0, and the clock stops when the last reply is complete. The batch case is one request with
// an array. The cases take turns within a round; the leases are deleted, untimed, after each.
// lease-1000-cpu is the daemon's processor time in lease-1000: what is left when other work on the
// machine is not counted.
//
//     leases SOCKET POOL ROUNDS     ROUNDS 0: asks for 1,000 once, leaves them, prints nothing

#include <err.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "sample.h"

#define MOST 1000
#define ROUNDS_MAX 1000
#define REPLY_MAX 2048
#define BATCH_REPLY_MAX (1024 * 1024)
#define PAUSE_US 20000 // between cases, so that none pays for what the last one left to do

typedef struct {
    int fd;
    char *reply;
    size_t size, got;
} Connection;

typedef struct {
    const char *name;
    int leases;
    int batch;
    const char *cpu_name;
    double ms[ROUNDS_MAX], cpu[ROUNDS_MAX];
} Case;

static Case cases[] = {
    {.name = "lease-1", .leases = 1},
    {.name = "lease-10", .leases = 10},
    {.name = "lease-100", .leases = 100},
    {.name = "lease-1000", .leases = MOST, .cpu_name = "lease-1000-cpu"},
    {.name = "lease-1000-batch", .leases = MOST, .batch = 1},
};

static Connection connections[MOST];
static char *requests[MOST];
static int poller;
static clockid_t daemon_clock; // processor time

static void connect_all(const char *path)
{
    struct rlimit files = {4096, 4096};
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    setrlimit(RLIMIT_NOFILE, &files);
    if (strlen(path) >= sizeof address.sun_path)
        errx(2, "%s: too long", path);
    strcpy(address.sun_path, path);
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < MOST; i++) {
        Connection *c = &connections[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

        c->size = i == 0 ? BATCH_REPLY_MAX : REPLY_MAX;
        c->reply = malloc(c->size);
        c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (!c->reply || c->fd < 0 || connect(c->fd, (void *)&address, sizeof address) < 0 ||
            epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) < 0)
            err(1, "%s", path);
    }
}

static void find_daemon_clock(void)
{
    struct ucred peer;
    socklen_t length = sizeof peer;

    if (getsockopt(connections[0].fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 ||
        clock_getcpuclockid(peer.pid, &daemon_clock) != 0)
        errx(1, "no clock for the daemon's processor time");
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
static double exchange(int n)
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

__attribute__((format(printf, 2, 3))) static void set_request(int i, const char *format, ...)
{
    va_list args;

    free(requests[i]);
    va_start(args, format);
    if (vasprintf(&requests[i], format, args) < 0)
        err(1, "request");
    va_end(args);
}

// Spread like random UUIDs, and the same in every round; daemon-rss makes its domains alike.
static const char *uuid(int i)
{
    static char text[37];

    snprintf(text, sizeof text, "%08x-0000-4000-8000-%012x", i * 0x9e3779b1u, i);
    return text;
}

static void set_post(int i, const char *body)
{
    set_request(i,
                "POST /v1/leases HTTP/1.1\r\nHost: localhost\r\n"
                "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                strlen(body), body);
}

static int format_lease(char *text, size_t size, int i, const char *pool)
{
    return snprintf(text, size,
                    "{\"domain\":\"%s\",\"name\":\"vm%d\",\"device\":\"net0\",\"pool\":\"%s\"}",
                    uuid(i), i, pool);
}

static void ask_apart(int n, const char *pool)
{
    char body[512];

    for (int i = 0; i < n; i++) {
        format_lease(body, sizeof body, i, pool);
        set_post(i, body);
    }
}

static void ask_in_one(int n, const char *pool)
{
    size_t size = (size_t)n * 512;
    char *body = malloc(size), *at = body;

    if (!body)
        err(1, "body");
    for (int i = 0; i < n; i++) {
        *at++ = i == 0 ? '[' : ',';
        at += format_lease(at, size - (at - body), i, pool);
    }
    strcpy(at, "]");
    set_post(0, body);
    free(body);
}

static void delete_all(int n)
{
    for (int i = 0; i < n; i++)
        set_request(i, "DELETE /v1/leases/%s/net0 HTTP/1.1\r\nHost: localhost\r\n\r\n", uuid(i));
    exchange(n);
    usleep(PAUSE_US);
}

static void run(Case *c, const char *pool, int round)
{
    double ms, cpu;

    if (c->batch)
        ask_in_one(c->leases, pool);
    else
        ask_apart(c->leases, pool);
    cpu = bench_clock_ms(daemon_clock);
    ms = exchange(c->batch ? 1 : c->leases);
    cpu = bench_clock_ms(daemon_clock) - cpu;
    if (c->batch && strstr(connections[0].reply, "\"title\""))
        errx(1, "refused: %s", strstr(connections[0].reply, "\"title\""));
    if (round >= 0) {
        c->ms[round] = ms;
        c->cpu[round] = cpu;
    }
    delete_all(c->leases);
}

int main(int argc, char **argv)
{
    const size_t n = sizeof cases / sizeof cases[0];
    int rounds = argc == 4 ? atoi(argv[3]) : -1;

    if (rounds < 0 || rounds > ROUNDS_MAX)
        errx(2, "usage: leases SOCKET POOL ROUNDS");
    connect_all(argv[1]);
    find_daemon_clock();
    if (rounds == 0) {
        ask_apart(MOST, argv[2]);
        exchange(MOST);
        return 0;
    }
    // The first round warms up.
    for (int round = -1; round < rounds; round++)
        for (size_t i = 0; i < n; i++)
            run(&cases[i], argv[2], round);
    for (size_t i = 0; i < n; i++) {
        bench_print(cases[i].name, "ms", cases[i].ms, rounds);
        if (cases[i].cpu_name)
            bench_print(cases[i].cpu_name, "ms", cases[i].cpu, rounds);
    }
    return 0;
}
