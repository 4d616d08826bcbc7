// SPDX-License-Identifier: GPL-2.0-or-later
//
// Requests for an accelerator all at once, by as many running domains: how long until the daemon
// has acknowledged the last one. The cases take turns within a round; requests are withdrawn,
// untimed, after each, and the next begins when the last one is gone.
//
//     attach SOCKET ROUNDS

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "burst.h"
#include "sample.h"

#define ROUNDS_MAX 1000
#define FUNCTIONS 252 // of each PF, the first at device number 4 of the bus

typedef struct {
    const char *name;
    int requests;
    const char *cpu_name;
    double ms[ROUNDS_MAX], cpu[ROUNDS_MAX];
} Case;

static Case cases[] = {
    {.name = "attach-1", .requests = 1},
    {.name = "attach-10", .requests = 10},
    {.name = "attach-100", .requests = 100},
    {.name = "attach-1000", .requests = BURST_MOST, .cpu_name = "attach-1000-cpu"},
};

// As the hook says it of a domain that has started; functions are spread over the PFs.
static void start_all(void)
{
    char xml[1024];

    for (int i = 0; i < BURST_MOST; i++) {
        int bus = 3 + i % 4, devfn = 4 + i / 4;

        snprintf(xml, sizeof xml,
                 "<domain type='kvm'><name>vm%d</name><uuid>%s</uuid><devices>"
                 "<hostdev mode='subsystem' type='pci' managed='no'><source>"
                 "<address domain='0x0000' bus='0x%02x' slot='0x%02x' function='0x%x'/></source>"
                 "<alias name='ua-virtfn-acc'/></hostdev></devices></domain>",
                 i, burst_uuid(i), bus, devfn / 8, devfn % 8);
        burst_set_post(i, "/v1/hooks/started", "xml", xml);
    }
    burst_exchange(BURST_MOST);
}

static void wait_until_gone(void)
{
    for (int tries = 0; tries < 3000; tries++) {
        burst_set(0, "GET /v1/attachments HTTP/1.1\r\nHost: localhost\r\n\r\n");
        burst_exchange(1);
        if (strstr(burst_reply(0), "{\"attachments\":[]}"))
            return;
        usleep(10000);
    }
    errx(1, "requests that were withdrawn are still there");
}

static void withdraw(int n)
{
    for (int i = 0; i < n; i++)
        burst_set(i, "DELETE /v1/attachments/%s/acc HTTP/1.1\r\nHost: localhost\r\n\r\n",
                  burst_uuid(i));
    burst_exchange(n);
    usleep(200000); // most of it; a look costs the daemon an answer of as many
    wait_until_gone();
}

static void run(Case *c, clockid_t daemon_clock, int round)
{
    char body[256];
    double ms, cpu;

    for (int i = 0; i < c->requests; i++) {
        snprintf(body, sizeof body,
                 "{\"domain\":\"%s\",\"device\":\"acc\",\"accelerator\":\"sha\"}", burst_uuid(i));
        burst_set_post(i, "/v1/attachments", "json", body);
    }
    cpu = bench_clock_ms(daemon_clock);
    ms = burst_exchange(c->requests);
    cpu = bench_clock_ms(daemon_clock) - cpu;
    if (round >= 0) {
        c->ms[round] = ms;
        c->cpu[round] = cpu;
    }
    withdraw(c->requests);
}

int main(int argc, char **argv)
{
    const size_t n = sizeof cases / sizeof cases[0];
    int rounds = argc == 3 ? atoi(argv[2]) : 0;
    clockid_t daemon_clock;

    if (rounds < 1 || rounds > ROUNDS_MAX)
        errx(2, "usage: attach SOCKET ROUNDS");
    burst_connect(argv[1]);
    daemon_clock = burst_daemon_clock();
    start_all();
    // The first round warms up.
    for (int round = -1; round < rounds; round++)
        for (size_t i = 0; i < n; i++)
            run(&cases[i], daemon_clock, round);
    for (size_t i = 0; i < n; i++) {
        bench_print(cases[i].name, "ms", cases[i].ms, rounds);
        if (cases[i].cpu_name)
            bench_print(cases[i].cpu_name, "ms", cases[i].cpu, rounds);
    }
    return 0;
}
