// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a decision about an accelerator costs, apart from everything around it: the table of accel.h
// in process, 64 regions on 4 cards of 252 functions, 1,000 domains. 16 regions are held by the
// highest priority and 936 domains wait for them; the other 48 change hands. Before each decision
// one of these is released, or none, so that the answer is the wanted one; after it the change is
// ended and undone. Only the request is timed, less the cost of reading the clock.
//
//     decide-region DECISIONS             of each kind

#include <err.h>
#include <stdlib.h>

#include "accel.h"
#include "sample.h"

#define CARDS 4
#define FUNCTIONS 252
#define REGIONS 64
#define DOMAINS 1000
#define KINDS 4 // the last is that of the regions that are waited for
#define CROWDED (KINDS - 1)
#define ACCELERATORS 15
#define OPEN_ACCELERATORS 12
#define DECISIONS_MAX 1000000
#define KINDS_OF_ANSWER 4

static char uuids[DOMAINS][37];
static VfAccel *accel;
static GRand *rand_source;
static gint64 now;
static VfAccelDecision out[VF_ACCEL_OUT];
static double taken[KINDS_OF_ANSWER][DECISIONS_MAX];
static int n_taken[KINDS_OF_ANSWER];

static guint roll(guint n)
{
    return (guint)g_rand_int_range(rand_source, 0, (gint32)n);
}

// Ends the changes of an out list and of all that follow from them.
static void finish(guint n)
{
    VfAccelRequest *queue[VF_ACCEL_OUT];

    for (guint i = 0; i < n; i++)
        queue[i] = out[i].request;
    for (guint i = 0; i < n; i++)
        if (vf_accel_done(accel, queue[i], now, out) != 0)
            errx(1, "a change that ended answered somebody: the queue was not settled");
}

static VfAccelDecision ask(guint domain, const char *device, guint accelerator, guint priority)
{
    VfAccelAsk wish = {.uuid = uuids[domain],
                       .device = device,
                       .accelerator = accelerator,
                       .priority = priority,
                       .card = VF_ACCEL_NONE,
                       .function = VF_ACCEL_NONE,
                       .movable = TRUE,
                       .weight = 1};
    VfAccelDecision decision;
    VfAccelVerdict verdict = vf_accel_request(accel, &wish, now, &decision);

    if (verdict != VF_ACCEL_OK)
        errx(1, "request of domain %u: verdict %d", domain, (int)verdict);
    return decision;
}

static gboolean reaches(guint accelerator, guint kind)
{
    return kind == accelerator % CROWDED || kind == (accelerator + 1) % CROWDED;
}

static void fill(void)
{
    static const VfAccelPolicy policy = {.age_step = G_USEC_PER_SEC * G_GINT64_CONSTANT(86400),
                                         .tenure = 0,
                                         .backoff = 0,
                                         .waiting = 10000,
                                         .sharers = 4};
    static const VfAccelGroup group = {VF_ACCEL_NONE, VF_ACCEL_NONE, VF_ACCEL_NONE,
                                       VF_ACCEL_PRIORITY_MAX};

    accel = vf_accel_new(&policy, 10000);
    vf_accel_add_group(accel, &group);
    for (guint c = 0; c < CARDS; c++)
        vf_accel_add_card(accel, FUNCTIONS);
    for (guint a = 0; a < ACCELERATORS; a++)
        vf_accel_add_accelerator(accel, FALSE);
    for (guint r = 0; r < REGIONS; r++)
        vf_accel_add_region(accel, r % CARDS, r / CARDS % KINDS);
    for (guint a = 0; a < ACCELERATORS; a++)
        for (guint k = 0; k < KINDS; k++)
            if (a < OPEN_ACCELERATORS ? k != CROWDED && reaches(a, k) : k == CROWDED)
                vf_accel_set_image(accel, a, k, 100 * a + k, now, out);
    for (guint d = 0; d < DOMAINS; d++) {
        // Spread like random UUIDs, and the same each time.
        g_snprintf(uuids[d], sizeof(uuids[d]), "%08x-0000-4000-8000-%012x", d * 0x9e3779b1u, d);
        gboolean open = d < REGIONS / KINDS * (KINDS - 1);
        guint accelerator = open ? d % OPEN_ACCELERATORS
                                 : OPEN_ACCELERATORS + d % (ACCELERATORS - OPEN_ACCELERATORS);

        out[0] = ask(d, "acc0", accelerator, open ? 2 + roll(4) : VF_ACCEL_PRIORITY_MAX);
        now++;
        if (out[0].answer != VF_ACCEL_WAIT)
            finish(1);
    }
}

// A region that changes hands, held by somebody.
static VfAccelRequest *holder(void)
{
    const VfAccelRegion *region;

    do
        region = vf_accel_region(accel, roll(REGIONS));
    while (region->kind == CROWDED);
    return region->holders;
}

// One request, timed when `kept`; it and what it changed is undone.
static void decide(VfAccelAnswer wanted, gboolean kept, double clock)
{
    gboolean preempts = wanted == VF_ACCEL_PREEMPT || wanted == VF_ACCEL_PREEMPT_LOAD;
    gboolean loads = wanted == VF_ACCEL_ASSIGN_LOAD;
    guint accelerator = roll(OPEN_ACCELERATORS), domain = roll(DOMAINS);
    const VfAccelRequest *victim = holder();
    VfAccelRequest former = *victim;
    guint region = victim->region;

    if (!preempts) {
        while (loads ? accelerator == victim->accelerator ||
                           !reaches(accelerator, vf_accel_region(accel, region)->kind)
                     : accelerator != victim->accelerator)
            accelerator = roll(OPEN_ACCELERATORS);
        if (vf_accel_release(accel, vf_accel_region(accel, region)->holders, now, out) != 0)
            errx(1, "somebody waited for region %u", region);
    }
    now += 1 + roll(100);
    double start = bench_now_ns();
    VfAccelDecision decision = ask(domain, "acc1", accelerator, preempts ? 8 : former.priority);
    double us = MAX(bench_now_ns() - start - clock, 0) / 1000;

    if (decision.answer == VF_ACCEL_WAIT || (!preempts && decision.answer != wanted))
        errx(1, "answer %s, wanted %s", vf_accel_answer_name(decision.answer),
             vf_accel_answer_name(wanted));
    if (kept && n_taken[decision.answer] < DECISIONS_MAX)
        taken[decision.answer][n_taken[decision.answer]++] = us;
    out[0] = decision;
    finish(1);
    // A victim gets its place back; else the region goes to whoever had it, with what is in it.
    guint n = vf_accel_release(accel, decision.request, now, out);
    if (preempts) {
        finish(n);
        return;
    }
    VfAccelDecision back = ask((guint)g_ascii_strtoull(former.domain->uuid + 24, NULL, 16), "acc0",
                               accelerator, former.priority);
    out[0] = back;
    finish(1);
}

int main(int argc, char **argv)
{
    static const char *const names[KINDS_OF_ANSWER][2] = {
        {"decide-assign", "decide-assign-p99"},
        {"decide-load", "decide-load-p99"},
        {"decide-preempt", "decide-preempt-p99"},
        {"decide-preempt-load", "decide-preempt-load-p99"},
    };
    int n = argc == 2 ? atoi(argv[1]) : 0;
    double clock = bench_clock_cost_ns();

    if (n < 1000 || n > DECISIONS_MAX / 4)
        errx(2, "usage: decide-region DECISIONS");
    rand_source = g_rand_new_with_seed(1);
    fill();
    g_printerr("decide-region: %u wait, %.0f ns of clock taken off\n",
               vf_accel_waiting(accel, VF_ACCEL_NONE), clock);
    for (int i = -1000; i < n; i++)
        for (VfAccelAnswer answer = VF_ACCEL_ASSIGN; answer <= VF_ACCEL_PREEMPT_LOAD; answer++)
            decide(answer, i >= 0, clock);
    for (int k = 0; k < KINDS_OF_ANSWER; k++) {
        if (n_taken[k] < 100)
            errx(1, "%s: only %d decisions", names[k][0], n_taken[k]);
        bench_print(names[k][0], "µs", taken[k], n_taken[k]);
        bench_print_one(names[k][1], "µs", taken[k][n_taken[k] / 100 * 99], n_taken[k]);
    }
    vf_accel_free(accel);
    g_rand_free(rand_source);
    return 0;
}
