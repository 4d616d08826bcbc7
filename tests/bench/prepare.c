// SPDX-License-Identifier: GPL-2.0-or-later
//
// What `prepare` costs a guest whose function exists and is bound: the hook as libvirt runs it,
// from fork to its end, with the daemon's work in it. Each is followed by a `release`, untimed.
//
//     prepare HOOK SOCKET XML ROUNDS

#include <err.h>
#include <signal.h>
#include <stdlib.h>

#include "hook.h"
#include "sample.h"

#define ROUNDS_MAX 10000

int main(int argc, char **argv)
{
    static double ms[ROUNDS_MAX];
    int rounds = argc == 5 ? atoi(argv[4]) : 0;
    BenchHook prepare, release;
    size_t length;
    char *xml;

    if (rounds < 1 || rounds > ROUNDS_MAX)
        errx(2, "usage: prepare HOOK SOCKET XML ROUNDS");
    signal(SIGPIPE, SIG_IGN);
    xml = bench_load(argv[3], &length);
    prepare = (BenchHook){argv[1], "prepare", "begin", argv[2], xml, length};
    release = (BenchHook){argv[1], "release", "end", argv[2], xml, length};
    // The first one creates and binds the function.
    bench_hook(&prepare);
    bench_hook(&release);
    for (int round = 0; round < rounds; round++) {
        ms[round] = bench_hook(&prepare);
        bench_hook(&release);
    }
    bench_print("hook-prepare", "ms", ms, rounds);
    return 0;
}
