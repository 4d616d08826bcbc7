// SPDX-License-Identifier: GPL-2.0-or-later
//
// Decisions about accelerators: each answer (Ker-ONE's words), attach, detach and remap
// (vFPGAmanager's), order and age of waiters, failed steps, quotas, refusals. Random histories are
// in accel-histories.c.

#include "accel.h"

#include <string.h>

#define STEP 1000
#define TENURE 300
#define BACKOFF 200
#define AES 0
#define SHA 1
#define CRC 2 // the one that can be shared
#define ANY VF_ACCEL_NONE

static const VfAccelPolicy policy = {
    .age_step = STEP, .tenure = TENURE, .backoff = BACKOFF, .waiting = 10000, .sharers = 2};
static const VfAccelGroup everybody = {ANY, ANY, ANY, VF_ACCEL_PRIORITY_MAX};

static VfAccelDecision out[VF_ACCEL_OUT];

static const char *uuid_of(guint domain)
{
    static char text[16][37]; // more than one test names at a time
    static guint turn;

    turn = (turn + 1) % 16;
    g_snprintf(text[turn], sizeof(text[turn]), "%08x-0000-4000-8000-000000000000", domain);
    return text[turn];
}

// One card with some functions and regions, all of one kind, and an image of everything for it.
static VfAccel *make(guint functions, guint regions)
{
    VfAccel *accel = vf_accel_new(&policy, 12000);

    vf_accel_add_group(accel, &everybody);
    vf_accel_add_card(accel, functions);
    for (guint a = AES; a <= CRC; a++) {
        g_assert_cmpuint(vf_accel_add_accelerator(accel, a == CRC), ==, a);
        vf_accel_set_image(accel, a, 0, 10 + a, 0, out);
    }
    for (guint r = 0; r < regions; r++)
        g_assert_cmpuint(vf_accel_add_region(accel, 0, 0), ==, r);
    return accel;
}

static VfAccelAsk wish(guint domain, guint accelerator, guint priority)
{
    return (VfAccelAsk){.uuid = uuid_of(domain),
                        .device = "acc0",
                        .accelerator = accelerator,
                        .priority = priority,
                        .card = ANY,
                        .function = ANY,
                        .weight = 1};
}

static VfAccelDecision assert_answer(VfAccel *accel, const VfAccelAsk *ask, gint64 now,
                                     VfAccelAnswer answer)
{
    VfAccelDecision decision;

    g_assert_cmpint(vf_accel_request(accel, ask, now, &decision), ==, VF_ACCEL_OK);
    g_assert_cmpstr(vf_accel_answer_name(decision.answer), ==, vf_accel_answer_name(answer));
    return decision;
}

// A domain that gets a place, which is carried out, or that waits.
static VfAccelRequest *attach(VfAccel *accel, guint domain, guint accelerator, guint priority,
                              gint64 now)
{
    VfAccelAsk ask = wish(domain, accelerator, priority);
    VfAccelDecision decision;

    g_assert_cmpint(vf_accel_request(accel, &ask, now, &decision), ==, VF_ACCEL_OK);
    if (decision.answer != VF_ACCEL_WAIT)
        g_assert_cmpuint(vf_accel_done(accel, decision.request, now, out), ==, 0);
    return decision.request;
}

static void assert_refused(VfAccel *accel, const VfAccelAsk *ask, VfAccelVerdict verdict)
{
    VfAccelDecision decision;
    guint waiting = vf_accel_waiting(accel, ANY), functions = vf_accel_functions_free(accel, 0);
    gboolean known = vf_accel_find(accel, ask->uuid, ask->device) != NULL;

    g_assert_cmpint(vf_accel_request(accel, ask, 0, &decision), ==, verdict);
    g_assert_cmpuint(vf_accel_waiting(accel, ANY), ==, waiting);
    g_assert_cmpuint(vf_accel_functions_free(accel, 0), ==, functions);
    g_assert_cmpint(vf_accel_find(accel, ask->uuid, ask->device) != NULL, ==, known);
}

static void test_assign(void)
{
    g_autoptr(VfAccel) accel = make(4, 2);
    VfAccelAsk ask = wish(1, AES, 3);

    vf_accel_set_loaded(accel, 1, AES);
    VfAccelDecision decision = assert_answer(accel, &ask, 0, VF_ACCEL_ASSIGN);
    g_assert_cmpuint(decision.card, ==, 0);
    g_assert_cmpuint(decision.region, ==, 1);
    g_assert_cmpuint(decision.function, ==, 0);
    g_assert_cmpuint(decision.n_victims, ==, 0);
    g_assert_false(decision.restore);
    g_assert_cmpint(decision.request->state, ==, VF_ACCEL_TAKING);
    g_assert_cmpuint(vf_accel_done(accel, decision.request, 5, out), ==, 0);
    g_assert_cmpint(decision.request->state, ==, VF_ACCEL_HOLDING);
    g_assert_cmpint(decision.request->since, ==, 5);
    g_assert_true(vf_accel_region(accel, 1)->holders == decision.request);
}

static void test_assign_load(void)
{
    g_autoptr(VfAccel) accel = make(4, 3);
    VfAccelAsk ask = wish(1, AES, 3);

    // A blank region before one with something in it that another might ask for.
    vf_accel_set_loaded(accel, 0, SHA);
    VfAccelDecision decision = assert_answer(accel, &ask, 0, VF_ACCEL_ASSIGN_LOAD);
    g_assert_cmpuint(decision.region, ==, 1);
    g_assert_cmpuint(decision.image, ==, 10 + AES);
    g_assert_cmpuint(vf_accel_region(accel, 1)->loaded, ==, ANY);
    vf_accel_done(accel, decision.request, 0, out);
    g_assert_cmpuint(vf_accel_region(accel, 1)->loaded, ==, AES);
}

static void test_preempt(void)
{
    g_autoptr(VfAccel) accel = make(8, 3);
    VfAccelRequest *high = attach(accel, 1, SHA, 4, 0), *other = attach(accel, 2, AES, 2, 1);
    VfAccelRequest *same = attach(accel, 3, SHA, 2, 0);
    VfAccelAsk ask = wish(4, SHA, 3);

    // The lowest priority; of the two that have it the one that needs no load, though it is older.
    VfAccelDecision decision = assert_answer(accel, &ask, 5, VF_ACCEL_PREEMPT);
    g_assert_cmpuint(decision.n_victims, ==, 1);
    g_assert_true(decision.victims[0] == same);
    g_assert_cmpint(same->state, ==, VF_ACCEL_YIELDING);
    g_assert_cmpint(high->state, ==, VF_ACCEL_HOLDING);
    g_assert_cmpint(other->state, ==, VF_ACCEL_HOLDING);
    vf_accel_done(accel, decision.request, 6, out);
    g_assert_cmpint(same->state, ==, VF_ACCEL_WAITING);
    g_assert_cmpuint(same->preemptions, ==, 1);
}

static void test_preempt_load(void)
{
    g_autoptr(VfAccel) accel = make(8, 2);
    VfAccelRequest *old = attach(accel, 1, SHA, 1, 0), *young = attach(accel, 2, SHA, 1, 1);
    VfAccelAsk ask = wish(3, AES, 2);
    VfAccelDecision decision = assert_answer(accel, &ask, 5, VF_ACCEL_PREEMPT_LOAD);

    g_assert_true(decision.victims[0] == young);
    g_assert_cmpuint(decision.image, ==, 10 + AES);
    g_assert_cmpint(old->state, ==, VF_ACCEL_HOLDING);
}

static void test_wait(void)
{
    g_autoptr(VfAccel) accel = make(8, 1);
    VfAccelRequest *holder = attach(accel, 1, SHA, 3, 0);
    VfAccelAsk equal = wish(2, SHA, 3), urgent = wish(3, AES, 7);
    VfAccelRequest *waiter = assert_answer(accel, &equal, 1, VF_ACCEL_WAIT).request;

    // No second change of a region before the first has ended: then whoever is strong enough.
    VfAccelDecision decision = assert_answer(accel, &urgent, 2, VF_ACCEL_PREEMPT_LOAD);
    VfAccelAsk more_urgent = wish(4, SHA, 9);
    VfAccelRequest *next = assert_answer(accel, &more_urgent, 3, VF_ACCEL_WAIT).request;
    g_assert_cmpuint(vf_accel_done(accel, decision.request, 4, out), ==, 1);
    g_assert_true(out[0].request == next);
    g_assert_cmpint(out[0].answer, ==, VF_ACCEL_PREEMPT_LOAD);
    g_assert_cmpint(holder->state, ==, VF_ACCEL_WAITING);
    g_assert_cmpuint(vf_accel_ahead(accel, holder, 4), ==, 0);
    g_assert_cmpuint(vf_accel_ahead(accel, waiter, 4), ==, 1);
}

// Of one accelerator, at several priorities and ages: as many ahead as are answered before.
static void test_ahead(void)
{
    enum { WAITERS = 40 };
    g_autoptr(VfAccel) accel = make(WAITERS + 1, 1);
    VfAccelRequest *holder = attach(accel, 99, SHA, VF_ACCEL_PRIORITY_MAX, 0);
    VfAccelRequest *waiters[WAITERS];
    gint64 now = WAITERS * STEP / 8;
    guint ahead[WAITERS];

    for (guint i = 0; i < WAITERS; i++)
        waiters[i] = attach(accel, i, SHA, i * 7 % 4, i * STEP / 8);
    for (guint i = 0; i < WAITERS; i++)
        ahead[i] = vf_accel_ahead(accel, waiters[i], now);
    for (guint turn = 0; turn < WAITERS; turn++) {
        guint next = 0;

        g_assert_cmpuint(vf_accel_release(accel, holder, now, out), ==, 1);
        holder = out[0].request;
        while (waiters[next] != holder)
            next++;
        g_assert_cmpuint(ahead[next], ==, turn);
        g_assert_cmpuint(vf_accel_done(accel, holder, now, out), ==, 0);
    }
}

static void test_detach_answers(void)
{
    g_autoptr(VfAccel) accel = make(8, 1);
    VfAccelRequest *holder = attach(accel, 1, SHA, 3, 0);
    VfAccelRequest *low = attach(accel, 2, AES, 1, 1), *high = attach(accel, 3, AES, 2, 2);

    vf_accel_leave(accel, holder);
    // Nobody preempts a device that is about to go.
    VfAccelAsk urgent = wish(4, SHA, 9);
    VfAccelRequest *late = assert_answer(accel, &urgent, 3, VF_ACCEL_WAIT).request;
    vf_accel_leave(accel, late);
    g_assert_cmpuint(vf_accel_release(accel, late, 3, out), ==, 0);
    g_assert_cmpuint(vf_accel_release(accel, holder, 4, out), ==, 1);
    g_assert_true(out[0].request == high);
    g_assert_cmpint(out[0].answer, ==, VF_ACCEL_ASSIGN_LOAD);
    g_assert_cmpint(low->state, ==, VF_ACCEL_WAITING);
    g_assert_null(vf_accel_find(accel, uuid_of(1), "acc0"));
    g_assert_null(vf_accel_domain(accel, uuid_of(4)));
}

static void test_remap(void)
{
    g_autoptr(VfAccel) accel = make(8, 2);
    VfAccelRequest *a = attach(accel, 1, SHA, 3, 0), *b = attach(accel, 2, AES, 3, 0);
    VfAccelRequest *waiter = attach(accel, 3, SHA, 1, 1);
    guint function = a->function;

    g_assert_cmpint(vf_accel_remap_check(accel, a, SHA), ==, VF_ACCEL_SAME);
    g_assert_cmpint(vf_accel_remap_check(accel, a, 9), ==, VF_ACCEL_UNKNOWN);
    g_assert_cmpint(vf_accel_remap_check(accel, a, AES), ==, VF_ACCEL_OK);
    // Its own region takes the other image: that is nobody else's before it.
    g_assert_cmpuint(vf_accel_remap(accel, a, AES, 2, out), ==, 1);
    g_assert_true(out[0].request == a);
    g_assert_cmpint(out[0].answer, ==, VF_ACCEL_ASSIGN_LOAD);
    g_assert_cmpuint(out[0].region, ==, 0);
    g_assert_cmpuint(out[0].function, ==, function);
    g_assert_cmpint(vf_accel_remap_check(accel, a, SHA), ==, VF_ACCEL_NOT_NOW);
    vf_accel_done(accel, a, 3, out);
    // With a better place for it, its own goes to who waits.
    vf_accel_release(accel, b, 4, out);
    g_assert_true(out[0].request == waiter);
    vf_accel_done(accel, waiter, 4, out);
    g_assert_cmpint(vf_accel_remap_check(accel, waiter, AES), ==, VF_ACCEL_OK);
    vf_accel_set_image(accel, CRC, 0, ANY, 4, out);
    g_assert_cmpint(vf_accel_remap_check(accel, waiter, CRC), ==, VF_ACCEL_NO_IMAGE);
}

static void test_place_kept(void)
{
    g_autoptr(VfAccel) accel = make(8, 1);
    VfAccelRequest *first = attach(accel, 1, SHA, 1, 0), *waiter = attach(accel, 2, SHA, 1, 10);
    guint function = first->function;
    VfAccelRequest *urgent = attach(accel, 3, AES, 5, 20);

    // It waits since later, but it was here before; and it finds its function and its context.
    g_assert_cmpuint(vf_accel_release(accel, urgent, 30, out), ==, 1);
    g_assert_true(out[0].request == first);
    g_assert_true(out[0].restore);
    g_assert_cmpuint(out[0].function, ==, function);
    g_assert_cmpint(waiter->state, ==, VF_ACCEL_WAITING);
    vf_accel_done(accel, first, 31, out);
    g_assert_false(first->preempted);
}

static void test_age(void)
{
    g_autoptr(VfAccel) accel = make(8, 1);
    VfAccelRequest *holder = attach(accel, 1, SHA, 2, 0), *low = attach(accel, 2, SHA, 0, 100);
    gint64 due = 100 + 3 * STEP;

    g_assert_cmpint(vf_accel_due(accel, 100), ==, due);
    g_assert_cmpuint(vf_accel_tick(accel, due - 1, out), ==, 0);
    g_assert_cmpuint(vf_accel_tick(accel, due, out), ==, 1);
    g_assert_cmpint(out[0].answer, ==, VF_ACCEL_PREEMPT);
    g_assert_true(out[0].request == low);
    g_assert_true(out[0].victims[0] == holder);
    g_assert_cmpint(vf_accel_due(accel, due), ==, VF_ACCEL_NEVER);
    // For its tenure nobody throws it out, then whoever is more.
    g_assert_cmpuint(vf_accel_done(accel, low, due, out), ==, 0);
    VfAccelAsk urgent = wish(3, SHA, 9);
    assert_answer(accel, &urgent, due, VF_ACCEL_WAIT);
    g_assert_cmpint(vf_accel_due(accel, due), ==, due + TENURE);
    g_assert_cmpuint(vf_accel_tick(accel, due + TENURE - 1, out), ==, 0);
    g_assert_cmpuint(vf_accel_tick(accel, due + TENURE, out), ==, 1);
}

// Whatever the priorities and however full: everybody holds again and again.
static void test_nobody_waits_for_ever(void)
{
    g_autoptr(VfAccel) accel = make(8, 1);
    guint times[5] = {0};
    gint64 now = 0;

    for (guint d = 0; d < 5; d++)
        attach(accel, d, d % 2 == 0 ? SHA : AES, d == 0 ? 0 : VF_ACCEL_PRIORITY_MAX, 0);
    for (guint i = 0; i < 500; i++) {
        gint64 due = vf_accel_due(accel, now);

        g_assert_cmpint(due, >, now);
        g_assert_cmpint(due, <, now + 20 * STEP);
        now = due;
        guint n = vf_accel_tick(accel, now, out);
        if (n == 0)
            continue;
        VfAccelRequest *request = out[0].request;
        for (guint d = 0; d < 5; d++)
            times[d] += strcmp(request->domain->uuid, uuid_of(d)) == 0;
        g_assert_cmpuint(vf_accel_done(accel, request, now, out), ==, 0);
    }
    for (guint d = 0; d < 5; d++)
        g_assert_cmpuint(times[d], >=, 5);
}

static void test_pause_fails(void)
{
    g_autoptr(VfAccel) accel = make(2, 1);
    VfAccelRequest *holder = attach(accel, 1, SHA, 1, 0);
    VfAccelAsk ask = wish(2, AES, 5);
    VfAccelDecision decision = assert_answer(accel, &ask, 10, VF_ACCEL_PREEMPT_LOAD);

    g_assert_cmpuint(vf_accel_failed(accel, decision.request, VF_ACCEL_STEP_PAUSE, 11, out), ==, 0);
    g_assert_cmpint(holder->state, ==, VF_ACCEL_HOLDING);
    g_assert_cmpuint(vf_accel_region(accel, 0)->loaded, ==, SHA);
    g_assert_cmpint(decision.request->state, ==, VF_ACCEL_WAITING);
    g_assert_cmpint(decision.request->asked, ==, 10);
    g_assert_cmpuint(decision.request->failures, ==, 1);
    g_assert_cmpuint(vf_accel_functions_free(accel, 0), ==, 1);
    g_assert_cmpint(vf_accel_due(accel, 11), ==, 11 + BACKOFF);
    g_assert_cmpuint(vf_accel_tick(accel, 11 + BACKOFF, out), ==, 1);
    g_assert_true(out[0].victims[0] == holder);
}

static void test_load_fails(void)
{
    g_autoptr(VfAccel) accel = make(4, 1);
    VfAccelRequest *holder = attach(accel, 1, SHA, 1, 0);
    VfAccelAsk ask = wish(2, AES, 5);
    VfAccelRequest *request = assert_answer(accel, &ask, 10, VF_ACCEL_PREEMPT_LOAD).request;

    // The region is blank, and the victim is the next that it can be made good for.
    g_assert_cmpuint(vf_accel_failed(accel, request, VF_ACCEL_STEP_LOAD, 11, out), ==, 1);
    g_assert_true(out[0].request == holder);
    g_assert_cmpint(out[0].answer, ==, VF_ACCEL_ASSIGN_LOAD);
    g_assert_true(out[0].restore);
    g_assert_cmpuint(vf_accel_done(accel, holder, 12, out), ==, 0);
    // A new image is a reason to try again before the backoff is over.
    g_assert_cmpuint(vf_accel_set_image(accel, AES, 0, 99, 13, out), ==, 1);
    g_assert_true(out[0].request == request);
    g_assert_cmpuint(out[0].image, ==, 99);
    // Given up by the daemon: it does not come again.
    vf_accel_leave(accel, request);
    g_assert_cmpuint(vf_accel_failed(accel, request, VF_ACCEL_STEP_LOAD, 14, out), ==, 1);
    g_assert_true(out[0].request == holder);
    g_assert_cmpint(request->state, ==, VF_ACCEL_OUTSIDE);
    g_assert_cmpuint(vf_accel_release(accel, request, 15, out), ==, 0);
}

static void test_backoffs_end_apart(void)
{
    g_autoptr(VfAccel) accel = make(4, 1);
    VfAccelAsk a = wish(1, SHA, 1), b = wish(2, AES, 1), again = wish(3, SHA, 1);
    VfAccelRequest *first = assert_answer(accel, &a, 0, VF_ACCEL_ASSIGN_LOAD).request;

    vf_accel_leave(accel, first);
    g_assert_cmpuint(vf_accel_failed(accel, first, VF_ACCEL_STEP_LOAD, 0, out), ==, 0);
    VfAccelRequest *second = assert_answer(accel, &b, BACKOFF - 1, VF_ACCEL_ASSIGN_LOAD).request;
    vf_accel_leave(accel, second);
    // A new failure does not prolong the old one's.
    g_assert_cmpuint(vf_accel_failed(accel, second, VF_ACCEL_STEP_LOAD, BACKOFF, out), ==, 0);
    assert_answer(accel, &again, BACKOFF, VF_ACCEL_ASSIGN_LOAD);
}

static void test_connect_fails(void)
{
    g_autoptr(VfAccel) accel = make(4, 2);
    VfAccelAsk ask = wish(1, AES, 5);
    VfAccelRequest *request = assert_answer(accel, &ask, 10, VF_ACCEL_ASSIGN_LOAD).request;

    // The region has what was loaded; another one is tried.
    g_assert_cmpuint(vf_accel_failed(accel, request, VF_ACCEL_STEP_CONNECT, 11, out), ==, 1);
    g_assert_cmpuint(vf_accel_region(accel, 0)->loaded, ==, AES);
    g_assert_true(out[0].request == request);
    g_assert_cmpuint(out[0].region, ==, 1);
    g_assert_cmpuint(vf_accel_failed(accel, request, VF_ACCEL_STEP_CONNECT, 12, out), ==, 0);
    g_assert_cmpint(vf_accel_due(accel, 12), ==, 11 + BACKOFF);
    g_assert_cmpuint(vf_accel_tick(accel, 11 + BACKOFF, out), ==, 1);
    g_assert_cmpint(out[0].answer, ==, VF_ACCEL_ASSIGN);
    g_assert_cmpuint(out[0].region, ==, 0);
}

static void test_victim_goes(void)
{
    g_autoptr(VfAccel) accel = make(4, 1);
    VfAccelRequest *holder = attach(accel, 1, SHA, 1, 0);
    VfAccelAsk ask = wish(2, SHA, 5);
    VfAccelRequest *request = assert_answer(accel, &ask, 10, VF_ACCEL_PREEMPT).request;

    // Its guest crashed while it was being paused; what remains is a free region.
    g_assert_cmpuint(vf_accel_release(accel, holder, 11, out), ==, 0);
    g_assert_cmpuint(vf_accel_failed(accel, request, VF_ACCEL_STEP_PAUSE, 12, out), ==, 1);
    g_assert_cmpint(out[0].answer, ==, VF_ACCEL_ASSIGN);
    g_assert_true(out[0].request == request);
}

static void test_shared(void)
{
    g_autoptr(VfAccel) accel = make(8, 1);
    VfAccelAsk a = wish(1, CRC, 1), b = wish(2, CRC, 2), c = wish(3, CRC, 2), d = wish(4, SHA, 3);

    a.shared = b.shared = c.shared = TRUE;
    VfAccelRequest *one = assert_answer(accel, &a, 0, VF_ACCEL_ASSIGN_LOAD).request;
    vf_accel_done(accel, one, 0, out);
    VfAccelDecision decision = assert_answer(accel, &b, 1, VF_ACCEL_ASSIGN);
    g_assert_cmpuint(decision.n_victims, ==, 0);
    vf_accel_done(accel, decision.request, 1, out);
    VfAccelRequest *third = assert_answer(accel, &c, 2, VF_ACCEL_WAIT).request;
    // Both go, and as soon as they can they share again; the third has no room there.
    VfAccelRequest *urgent = assert_answer(accel, &d, 3, VF_ACCEL_PREEMPT_LOAD).request;
    vf_accel_done(accel, urgent, 3, out);
    g_assert_cmpuint(vf_accel_waiting(accel, CRC), ==, 3);
    g_assert_cmpuint(vf_accel_release(accel, urgent, 4, out), ==, 1);
    g_assert_true(out[0].request == decision.request);
    g_assert_cmpuint(vf_accel_done(accel, decision.request, 4, out), ==, 1);
    g_assert_true(out[0].request == third);
    g_assert_cmpuint(vf_accel_done(accel, third, 4, out), ==, 0);
    g_assert_cmpint(one->state, ==, VF_ACCEL_WAITING);
}

static void test_functions_overcommitted(void)
{
    g_autoptr(VfAccel) accel = make(1, 1);
    VfAccelAsk low = wish(1, SHA, 1), high = wish(2, SHA, 5);

    low.movable = high.movable = TRUE;
    VfAccelRequest *lender = assert_answer(accel, &low, 0, VF_ACCEL_ASSIGN_LOAD).request;
    vf_accel_done(accel, lender, 0, out);
    VfAccelDecision decision = assert_answer(accel, &high, 1, VF_ACCEL_PREEMPT);
    g_assert_cmpuint(decision.function, ==, 0);
    g_assert_cmpuint(lender->function, ==, ANY);
    g_assert_cmpuint(vf_accel_failed(accel, decision.request, VF_ACCEL_STEP_PAUSE, 2, out), ==, 0);
    g_assert_cmpuint(lender->function, ==, 0);
    g_assert_cmpuint(vf_accel_tick(accel, 2 + BACKOFF, out), ==, 1);
    vf_accel_done(accel, decision.request, 300, out);
    g_assert_cmpuint(vf_accel_release(accel, decision.request, 301, out), ==, 1);
    g_assert_true(out[0].request == lender);
    g_assert_cmpuint(out[0].function, ==, 0);
}

static void test_idle(void)
{
    g_autoptr(VfAccel) accel = make(4, 1);
    VfAccelRequest *idler = attach(accel, 1, SHA, 9, 0), *low = attach(accel, 2, SHA, 0, 1);

    g_assert_cmpuint(vf_accel_set_idle(accel, idler, TRUE, 2, out), ==, 1);
    g_assert_true(out[0].request == low);
    g_assert_cmpuint(vf_accel_done(accel, low, 3, out), ==, 0);
    g_assert_cmpint(idler->state, ==, VF_ACCEL_OUTSIDE);
    // It is touched again.
    VfAccelAsk again = wish(1, SHA, 9);
    VfAccelDecision decision = assert_answer(accel, &again, 4, VF_ACCEL_PREEMPT);
    g_assert_true(decision.request == idler);
    g_assert_true(decision.restore);
}

static void test_quotas(void)
{
    g_autoptr(VfAccel) accel = make(8, 3);
    VfAccelGroup small = {.held = 2, .held_per_domain = 1, .waiting = 2, .ceiling = 3};
    guint group = vf_accel_add_group(accel, &small);
    VfAccelAsk a = wish(1, SHA, 1), again = wish(1, SHA, 1), b = wish(2, SHA, 1);
    VfAccelAsk c = wish(3, SHA, 1), d = wish(4, SHA, 1), high = wish(5, SHA, 4);

    again.device = "acc1";
    a.group = again.group = b.group = c.group = d.group = high.group = group;
    VfAccelRequest *first = assert_answer(accel, &a, 0, VF_ACCEL_ASSIGN_LOAD).request;
    vf_accel_done(accel, first, 0, out);
    VfAccelRequest *second = assert_answer(accel, &again, 1, VF_ACCEL_WAIT).request;
    vf_accel_done(accel, assert_answer(accel, &b, 2, VF_ACCEL_ASSIGN_LOAD).request, 2, out);
    assert_answer(accel, &c, 3, VF_ACCEL_WAIT);
    assert_refused(accel, &d, VF_ACCEL_QUEUE_FULL);
    assert_refused(accel, &high, VF_ACCEL_CEILING);
    // A free region all the while; what the first gives back, its other device may have.
    g_assert_cmpuint(vf_accel_release(accel, first, 4, out), ==, 1);
    g_assert_true(out[0].request == second);
}

static void test_refusals(void)
{
    g_autoptr(VfAccel) accel = make(2, 1);
    guint unloved = vf_accel_add_accelerator(accel, FALSE);
    char long_name[80];
    VfAccelAsk ask = wish(1, 40, 1);

    assert_refused(accel, &ask, VF_ACCEL_UNKNOWN);
    ask.accelerator = unloved;
    assert_refused(accel, &ask, VF_ACCEL_NO_IMAGE);
    // Of the wrong kind for all there is.
    vf_accel_set_image(accel, unloved, 1, 5, 0, out);
    assert_refused(accel, &ask, VF_ACCEL_NO_IMAGE);
    ask = wish(1, SHA, VF_ACCEL_PRIORITY_MAX + 1);
    assert_refused(accel, &ask, VF_ACCEL_CEILING);
    ask = wish(1, SHA, 1);
    ask.shared = TRUE;
    assert_refused(accel, &ask, VF_ACCEL_NOT_SHARED);
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    const char *const bad_devices[] = {"", long_name};
    for (guint i = 0; i < G_N_ELEMENTS(bad_devices); i++) {
        ask = wish(1, SHA, 1);
        ask.device = bad_devices[i];
        assert_refused(accel, &ask, VF_ACCEL_BAD_ASK);
    }
    ask = wish(1, SHA, 1);
    ask.function = 0;
    assert_refused(accel, &ask, VF_ACCEL_BAD_ASK);
    ask.card = 0;
    ask.function = 2;
    assert_refused(accel, &ask, VF_ACCEL_BAD_ASK);
    ask = wish(1, SHA, 1);
    ask.group = 1;
    assert_refused(accel, &ask, VF_ACCEL_BAD_ASK);
    VfAccelRequest *holder = attach(accel, 1, SHA, 1, 0);
    ask = wish(1, AES, 2);
    assert_refused(accel, &ask, VF_ACCEL_ALREADY);
    ask = wish(2, SHA, 2);
    ask.card = 0;
    ask.function = holder->function;
    assert_refused(accel, &ask, VF_ACCEL_IN_USE);
}

static void test_ten_thousand(void)
{
    g_autoptr(VfAccel) accel = make(8, 1);
    VfAccelRequest *holder = attach(accel, 1, SHA, 1, 0);

    for (guint d = 2; d < 10002; d++)
        attach(accel, d, d % 3, 1, d);
    VfAccelAsk late = wish(10002, SHA, 1);
    assert_refused(accel, &late, VF_ACCEL_QUEUE_FULL);
    // The queue is for others too: who needs no place in it is answered.
    VfAccelAsk urgent = wish(10003, SHA, 2);
    VfAccelRequest *request = assert_answer(accel, &urgent, 10003, VF_ACCEL_PREEMPT).request;
    g_assert_cmpuint(vf_accel_done(accel, request, 10003, out), >=, 1);
    g_assert_cmpint(holder->state, ==, VF_ACCEL_WAITING);
    // Each is found and goes, in whatever order.
    for (guint d = 2; d < 10002; d += 2) {
        VfAccelRequest *r = vf_accel_find(accel, uuid_of(d), "acc0");

        if (r->state == VF_ACCEL_WAITING)
            vf_accel_release(accel, r, 10004, out);
    }
    for (guint d = 3; d < 10002; d += 2)
        g_assert_nonnull(vf_accel_find(accel, uuid_of(d), "acc0"));
}

static void test_table_full(void)
{
    g_autoptr(VfAccel) accel = vf_accel_new(&policy, 1);
    VfAccelAsk a = wish(1, 0, 1), b = wish(2, 0, 1);

    vf_accel_add_group(accel, &everybody);
    vf_accel_add_card(accel, 2);
    vf_accel_add_accelerator(accel, FALSE);
    vf_accel_add_region(accel, 0, 0);
    vf_accel_set_image(accel, 0, 0, 7, 0, out);
    VfAccelRequest *only = assert_answer(accel, &a, 0, VF_ACCEL_ASSIGN_LOAD).request;
    assert_refused(accel, &b, VF_ACCEL_TABLE_FULL);
    vf_accel_done(accel, only, 0, out);
    vf_accel_release(accel, only, 0, out);
    assert_answer(accel, &b, 0, VF_ACCEL_ASSIGN);
}

static void test_adopt(void)
{
    g_autoptr(VfAccel) accel = make(4, 1);
    VfAccelAsk a = wish(1, SHA, 1), b = wish(2, AES, 1), c = wish(3, AES, 1), d = wish(4, SHA, 1);
    VfAccelRequest *holder, *late, *early, *none;

    vf_accel_set_loaded(accel, 0, SHA);
    a.card = d.card = 0;
    a.function = 2;
    d.function = 1;
    g_assert_cmpint(vf_accel_adopt(accel, &a, 0, 50, FALSE, &holder), ==, VF_ACCEL_OK);
    g_assert_cmpint(vf_accel_adopt(accel, &d, 0, 50, FALSE, &none), ==, VF_ACCEL_IN_USE);
    g_assert_null(vf_accel_find(accel, d.uuid, "acc0"));
    g_assert_cmpint(vf_accel_adopt(accel, &b, ANY, 60, FALSE, &late), ==, VF_ACCEL_OK);
    g_assert_cmpint(vf_accel_adopt(accel, &c, ANY, 55, FALSE, &early), ==, VF_ACCEL_OK);
    g_assert_cmpint(vf_accel_adopt(accel, &c, ANY, 55, FALSE, &none), ==, VF_ACCEL_ALREADY);
    g_assert_cmpuint(holder->function, ==, 2);
    g_assert_cmpuint(vf_accel_functions_free(accel, 0), ==, 3);
    g_assert_cmpuint(vf_accel_tick(accel, 70, out), ==, 0);
    g_assert_cmpuint(vf_accel_release(accel, holder, 71, out), ==, 1);
    g_assert_true(out[0].request == early);
    g_assert_cmpuint(vf_accel_ahead(accel, late, 71), ==, 0);
}

static void test_not_usable(void)
{
    g_autoptr(VfAccel) accel = make(1, 1);
    VfAccelAsk ask = wish(1, SHA, 1);

    vf_accel_set_function(accel, 0, 0, FALSE, 0, out);
    VfAccelRequest *request = assert_answer(accel, &ask, 0, VF_ACCEL_WAIT).request;
    vf_accel_set_usable(accel, 0, FALSE, 0, out);
    g_assert_cmpuint(vf_accel_set_function(accel, 0, 0, TRUE, 1, out), ==, 0);
    g_assert_cmpuint(vf_accel_set_usable(accel, 0, TRUE, 2, out), ==, 1);
    g_assert_true(out[0].request == request);
}

static void test_limits(void)
{
    g_autoptr(VfAccel) accel = make(1, VF_ACCEL_REGIONS_MAX);

    g_assert_cmpuint(vf_accel_add_region(accel, 0, 0), ==, VF_ACCEL_NONE);
    for (guint i = CRC + 1; i < VF_ACCEL_ACCELERATORS_MAX; i++)
        g_assert_cmpuint(vf_accel_add_accelerator(accel, TRUE), ==, i);
    g_assert_cmpuint(vf_accel_add_accelerator(accel, TRUE), ==, VF_ACCEL_NONE);
    for (guint i = 1; i < VF_ACCEL_CARDS_MAX; i++)
        g_assert_cmpuint(vf_accel_add_card(accel, 0), ==, i);
    g_assert_cmpuint(vf_accel_add_card(accel, 1), ==, VF_ACCEL_NONE);
    for (guint i = 1; i < VF_ACCEL_GROUPS_MAX; i++)
        g_assert_cmpuint(vf_accel_add_group(accel, &everybody), ==, i);
    g_assert_cmpuint(vf_accel_add_group(accel, &everybody), ==, VF_ACCEL_NONE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/accel/assign", test_assign);
    g_test_add_func("/accel/assign-load", test_assign_load);
    g_test_add_func("/accel/preempt", test_preempt);
    g_test_add_func("/accel/preempt-load", test_preempt_load);
    g_test_add_func("/accel/wait", test_wait);
    g_test_add_func("/accel/ahead", test_ahead);
    g_test_add_func("/accel/detach-answers", test_detach_answers);
    g_test_add_func("/accel/remap", test_remap);
    g_test_add_func("/accel/place-kept", test_place_kept);
    g_test_add_func("/accel/age", test_age);
    g_test_add_func("/accel/nobody-waits-for-ever", test_nobody_waits_for_ever);
    g_test_add_func("/accel/pause-fails", test_pause_fails);
    g_test_add_func("/accel/load-fails", test_load_fails);
    g_test_add_func("/accel/backoffs-end-apart", test_backoffs_end_apart);
    g_test_add_func("/accel/connect-fails", test_connect_fails);
    g_test_add_func("/accel/victim-goes", test_victim_goes);
    g_test_add_func("/accel/shared", test_shared);
    g_test_add_func("/accel/functions-overcommitted", test_functions_overcommitted);
    g_test_add_func("/accel/idle", test_idle);
    g_test_add_func("/accel/quotas", test_quotas);
    g_test_add_func("/accel/refusals", test_refusals);
    g_test_add_func("/accel/ten-thousand-waiters", test_ten_thousand);
    g_test_add_func("/accel/table-full", test_table_full);
    g_test_add_func("/accel/adopt", test_adopt);
    g_test_add_func("/accel/not-usable", test_not_usable);
    g_test_add_func("/accel/limits", test_limits);
    return g_test_run();
}
