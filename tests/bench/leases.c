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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "burst.h"
#include "sample.h"

#define ROUNDS_MAX 1000
#define PAUSE_US 20000 // between cases, so that none pays for what the last one left to do

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
    {.name = "lease-1000", .leases = BURST_MOST, .cpu_name = "lease-1000-cpu"},
    {.name = "lease-1000-batch", .leases = BURST_MOST, .batch = 1},
};

static clockid_t daemon_clock; // processor time

static void set_post(int i, const char *body)
{
    burst_set_post(i, "/v1/leases", "json", body);
}

static int format_lease(char *text, size_t size, int i, const char *pool)
{
    return snprintf(text, size,
                    "{\"domain\":\"%s\",\"name\":\"vm%d\",\"device\":\"net0\",\"pool\":\"%s\"}",
                    burst_uuid(i), i, pool);
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
        burst_set(i, "DELETE /v1/leases/%s/net0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
                  burst_uuid(i));
    burst_exchange(n);
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
    ms = burst_exchange(c->batch ? 1 : c->leases);
    cpu = bench_clock_ms(daemon_clock) - cpu;
    if (c->batch && strstr(burst_reply(0), "\"title\""))
        errx(1, "refused: %s", strstr(burst_reply(0), "\"title\""));
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
    burst_connect(argv[1]);
    daemon_clock = burst_daemon_clock();
    if (rounds == 0) {
        ask_apart(BURST_MOST, argv[2]);
        burst_exchange(BURST_MOST);
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
