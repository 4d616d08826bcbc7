// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a hook costs: starts each program the way libvirt starts a hook and prints one JSON line of
// milliseconds for each. The programs take turns within a round, so that whatever else the machine
// does falls on all of them. In its turn each runs twice and the second run counts, so that none
// pays for the caches that its predecessor left. The ratio is that of the first program to the
// second, round by round.
//
//     spawn ROUNDS XML RATIO-NAME NAME=PROGRAM NAME=PROGRAM...

#include <err.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "hook.h"
#include "sample.h"

#define ROUNDS_MAX 10000
#define PROGRAMS_MAX 8

typedef struct {
    const char *name;
    BenchHook hook;
    double ms[ROUNDS_MAX];
} Program;

static Program programs[PROGRAMS_MAX];

int main(int argc, char **argv)
{
    static double ratios[ROUNDS_MAX];
    int rounds = argc > 1 ? atoi(argv[1]) : 0, n = argc - 4;
    size_t length;
    char *xml;

    if (n < 2 || n > PROGRAMS_MAX || rounds < 1 || rounds > ROUNDS_MAX)
        errx(2, "usage: spawn ROUNDS XML RATIO-NAME NAME=PROGRAM NAME=PROGRAM...");
    signal(SIGPIPE, SIG_IGN);
    xml = bench_load(argv[2], &length);
    for (int i = 0; i < n; i++) {
        char *path = strchr(argv[4 + i], '=');

        if (!path)
            errx(2, "%s: not NAME=PROGRAM", argv[4 + i]);
        *path++ = '\0';
        programs[i].name = argv[4 + i];
        programs[i].hook = (BenchHook){path, "prepare", "begin", NULL, xml, length};
    }
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < n; i++) {
            bench_hook(&programs[i].hook);
            programs[i].ms[round] = bench_hook(&programs[i].hook);
        }
        ratios[round] = programs[0].ms[round] / programs[1].ms[round];
    }
    for (int i = 0; i < n; i++)
        bench_print(programs[i].name, "ms", programs[i].ms, rounds);
    bench_print(argv[3], "ratio", ratios, rounds);
    return 0;
}
