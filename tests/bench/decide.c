// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a decision costs, apart from everything around it: the allocator in process, one pool of
// 4 PFs with 252 functions, 1,000 domains that point at functions. Leases and releases at random
// keep the table 95 % full. Every decision gives out a function: half of them to a claim that
// points at one, half to a claim that does not, so that the whole table must be searched.
//
// Each lease is timed by itself, with two readings of the monotonic clock; what these cost, the
// median of many pairs with nothing between, is taken off. Releases and bookkeeping are not timed.
//
//     decide DECISIONS

#include <err.h>
#include <stdlib.h>

#include "allocator.h"
#include "sample.h"

#define SLOTS (4 * 252)
#define DOMAINS 1000
#define CLAIMS (2 * DOMAINS)
#define FULL (SLOTS * 95 / 100)
#define DECISIONS_MAX 1000000

typedef struct {
    char uuid[37];
    const char *device;
    VfLease *lease;
} Claim;

static Claim claims[CLAIMS];
static Claim *held[FULL];
static guint n_held;
static double taken[DECISIONS_MAX];

// A claim without a lease.
static Claim *pick(GRand *random)
{
    Claim *claim;

    do
        claim = &claims[g_rand_int_range(random, 0, CLAIMS)];
    while (claim->lease != NULL);
    return claim;
}

static void release_one(VfAllocator *allocator, GRand *random)
{
    guint i = (guint)g_rand_int_range(random, 0, (gint32)n_held);

    vf_allocator_release(allocator, held[i]->lease);
    held[i]->lease = NULL;
    held[i] = held[--n_held];
}

static void run(VfAllocator *allocator, GRand *random, int n, double clock)
{
    for (int i = 0; i < n; i++) {
        if (n_held == FULL)
            release_one(allocator, random);
        Claim *claim = pick(random);
        double start = bench_now_ns();
        VfAnswer answer =
            vf_allocator_lease(allocator, 0, claim->uuid, claim->device, VF_NO_SLOT, &claim->lease);
        double ns = bench_now_ns() - start;

        if (answer != VF_GRANTED)
            errx(1, "%s/%s: answer %d, a function is free", claim->uuid, claim->device, answer);
        held[n_held++] = claim;
        taken[i] = MAX(ns - clock, 0) / 1000;
    }
}

int main(int argc, char **argv)
{
    g_autoptr(VfAllocator) allocator = vf_allocator_new();
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    int n = argc == 2 ? atoi(argv[1]) : 0;
    double clock = bench_clock_cost_ns();

    if (n < 1000 || n > DECISIONS_MAX)
        errx(2, "usage: decide DECISIONS");
    vf_allocator_add_pool(allocator, SLOTS);
    for (int i = 0; i < CLAIMS; i++) {
        Claim *claim = &claims[i];

        claim->device = i % 2 == 0 ? "net0" : "acc0";
        // Spread like random UUIDs, and the same each time.
        g_snprintf(claim->uuid, sizeof(claim->uuid), "%08x-0000-4000-8000-%012x",
                   (guint)(i / 2) * 0x9e3779b1u, (guint)(i / 2));
        if (i % 2 == 0)
            vf_allocator_point(allocator, 0, claim->uuid, claim->device, NULL, 0);
    }
    // Fills the table and the caches.
    run(allocator, random, 4 * SLOTS, clock);
    run(allocator, random, n, clock);
    g_printerr("decide: %d decisions, each timed by itself, %.0f ns of clock taken off\n", n,
               clock);
    bench_print("decide", "µs", taken, n);
    bench_print_one("decide-p99", "µs", taken[n / 100 * 99], n);
    return 0;
}
