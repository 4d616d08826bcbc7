// SPDX-License-Identifier: GPL-2.0-or-later
//
// Random histories of the accelerator table against a model of its rules without any of its sets,
// queues and counters: every decision compared, and after every step what each request and each
// region is. Besides, at each step: a tick before vf_accel_due() answers nobody.
//
// Which free function is chosen is not modelled, only that it is free and, where it can be, the
// one from before.

#include "accel.h"

#include <string.h>

#define CARDS 2
#define FUNCTIONS 3
#define REGIONS 5
#define KINDS 2
#define ACCELERATORS 3
#define GROUPS 2
#define DOMAINS 6
#define DEVICES 2
#define REQUESTS (DOMAINS * DEVICES)
#define STEPS 300000
#define NONE VF_ACCEL_NONE

static const VfAccelPolicy policy = {
    .age_step = 100, .tenure = 150, .backoff = 70, .waiting = 8, .sharers = 2};
static const VfAccelGroup groups[GROUPS] = {
    {NONE, NONE, NONE, VF_ACCEL_PRIORITY_MAX},
    {.held = 3, .held_per_domain = 1, .waiting = 3, .ceiling = 2}};
static const char *const devices[DEVICES] = {"acc0", "acc1"};

typedef struct {
    gboolean known;
    VfAccelState state;
    VfAccelAsk ask;
    guint card, function, region, last_region, last_card, last_function, before;
    gint64 asked;
    guint64 ticket;
    gboolean idle, leaving, preempted, saved, fixed, takes, loads, lifted;
    int lender;
} Row;

typedef struct {
    guint card, kind, loaded;
    gboolean usable, failed[ACCELERATORS];
    int taking;
    gint64 since, guarded, avoided, failed_until;
} Region;

typedef struct {
    VfAccel *accel;
    GRand *random;
    gint64 now;
    guint64 ticket;
    gboolean settled; // nothing but requests since the queue was answered at `now`
    char uuids[DOMAINS][37];
    VfAccelRequest *handles[REQUESTS];
    Row rows[REQUESTS];
    Region regions[REGIONS];
    gboolean images[ACCELERATORS][KINDS];
    gboolean usable[CARDS][FUNCTIONS];
    guint answered[VF_ACCEL_WAIT + 1];
} World;

static guint roll(World *w, guint n)
{
    return (guint)g_rand_int_range(w->random, 0, (gint32)n);
}

static gboolean holds(const Row *row)
{
    return row->known && (row->state == VF_ACCEL_HOLDING || row->state == VF_ACCEL_YIELDING);
}

static gboolean holder_of(const World *w, int i, guint region)
{
    return holds(&w->rows[i]) && w->rows[i].region == region;
}

static gboolean function_free(const World *w, guint card, guint function)
{
    if (!w->usable[card][function])
        return FALSE;
    for (int i = 0; i < REQUESTS; i++)
        if (w->rows[i].known && w->rows[i].function == function && w->rows[i].card == card)
            return FALSE;
    return TRUE;
}

static gboolean any_function_free(const World *w, guint card)
{
    for (guint f = 0; f < FUNCTIONS; f++)
        if (function_free(w, card, f))
            return TRUE;
    return FALSE;
}

static guint level_of(const World *w, const Row *row)
{
    return row->ask.priority + (guint)((w->now - row->asked) / policy.age_step);
}

static gboolean over_quota(const World *w, int me)
{
    const Row *row = &w->rows[me];
    guint in_group = 0, in_domain = 0;

    for (int i = 0; i < REQUESTS; i++) {
        if (!holds(&w->rows[i]) && !(w->rows[i].known && w->rows[i].state == VF_ACCEL_TAKING))
            continue;
        in_group += w->rows[i].ask.group == row->ask.group;
        in_domain += i / DEVICES == me / DEVICES;
    }
    return in_group >= groups[row->ask.group].held ||
           in_domain >= groups[row->ask.group].held_per_domain;
}

// ---- places, one region at a time; the least rank wins

typedef struct {
    gint64 rank[5];
} Rank;

static int compare_ranks(const Rank *a, const Rank *b)
{
    for (guint i = 0; i < G_N_ELEMENTS(a->rank); i++)
        if (a->rank[i] != b->rank[i])
            return a->rank[i] < b->rank[i] ? -1 : 1;
    return 0;
}

static gboolean rank_region(const World *w, const Row *row, guint r, VfAccelAnswer *answer,
                            Rank *rank)
{
    const Region *region = &w->regions[r];
    guint a = row->ask.accelerator, n = 0, grip = 0;
    gboolean has = region->loaded == a, shared = TRUE, leaving = FALSE, lends = FALSE;
    gboolean failed = region->failed[a] && region->failed_until > w->now;
    gboolean can = !has && w->images[a][region->kind] && !failed;
    gboolean function = row->function != NONE || any_function_free(w, region->card);

    if ((row->fixed || row->function != NONE) && row->card != region->card)
        return FALSE;
    if (!region->usable || region->taking >= 0 || region->avoided > w->now || (!has && !can))
        return FALSE;
    for (int i = 0; i < REQUESTS; i++) {
        const Row *other = &w->rows[i];

        if (!holder_of(w, i, r))
            continue;
        n++;
        grip = MAX(grip, other->idle ? 0 : other->ask.priority + 1);
        shared = shared && other->ask.shared;
        leaving = leaving || other->leaving;
        lends = lends || other->ask.movable;
    }
    if (n == 0) {
        *answer = has ? VF_ACCEL_ASSIGN : VF_ACCEL_ASSIGN_LOAD;
        *rank =
            (Rank){{has ? 0 : 1, row->last_region != r, region->loaded != NONE, region->since, r}};
        return function;
    }
    if (shared && row->ask.shared && n < policy.sharers && has && function) {
        *answer = VF_ACCEL_ASSIGN;
        *rank = (Rank){{2, n, r}};
        return TRUE;
    }
    *answer = has ? VF_ACCEL_PREEMPT : VF_ACCEL_PREEMPT_LOAD;
    *rank = (Rank){{3, grip, !has, -region->since, r}};
    return !leaving && region->guarded <= w->now && grip <= level_of(w, row) && (function || lends);
}

static VfAccelAnswer choose(const World *w, const Row *row, guint *place)
{
    VfAccelAnswer best = VF_ACCEL_WAIT;
    Rank least = {{0}};

    for (guint r = 0; r < REGIONS; r++) {
        VfAccelAnswer answer;
        Rank rank;

        if (!rank_region(w, row, r, &answer, &rank))
            continue;
        if (best == VF_ACCEL_WAIT || compare_ranks(&rank, &least) < 0) {
            best = answer;
            least = rank;
            *place = r;
        }
    }
    return best;
}

// ---- the model's changes

static void check_victims(World *w, const VfAccelDecision *decision, guint r, gboolean preempts)
{
    guint n = 0;

    for (int i = 0; preempts && i < REQUESTS; i++) {
        gboolean named = FALSE;

        if (!holder_of(w, i, r))
            continue;
        n++;
        for (guint v = 0; v < decision->n_victims; v++)
            named = named || decision->victims[v] == w->handles[i];
        g_assert_true(named);
        w->rows[i].state = VF_ACCEL_YIELDING;
    }
    g_assert_cmpuint(decision->n_victims, ==, n);
}

static void check_function(World *w, Row *row, const VfAccelDecision *decision, guint card)
{
    row->takes = row->function == NONE;
    row->lender = -1;
    g_assert_cmpuint(decision->card, ==, card);
    if (!row->takes) {
        g_assert_cmpuint(decision->function, ==, row->function);
        return;
    }
    if (row->last_card == card && row->last_function != NONE &&
        function_free(w, card, row->last_function))
        g_assert_cmpuint(decision->function, ==, row->last_function);
    if (any_function_free(w, card)) {
        g_assert_true(function_free(w, card, decision->function));
    } else {
        for (int i = 0; i < REQUESTS; i++)
            if (w->rows[i].known && w->rows[i].card == card &&
                w->rows[i].function == decision->function)
                row->lender = i;
        g_assert_cmpint(row->lender, >=, 0);
        Row *lender = &w->rows[row->lender];
        g_assert_cmpint(lender->state, ==, VF_ACCEL_YIELDING);
        g_assert_true(lender->ask.movable);
        lender->last_card = card;
        lender->last_function = lender->function;
        lender->function = NONE;
    }
    row->card = card;
    row->function = decision->function;
}

static void grant(World *w, int i, VfAccelAnswer answer, guint r, const VfAccelDecision *decision)
{
    Row *row = &w->rows[i];
    Region *region = &w->regions[r];

    w->answered[answer]++;
    g_assert_cmpint(decision->answer, ==, answer);
    g_assert_true(decision->request == w->handles[i]);
    g_assert_cmpuint(decision->region, ==, r);
    g_assert_cmpint(decision->restore, ==, row->saved);
    row->loads = answer == VF_ACCEL_ASSIGN_LOAD || answer == VF_ACCEL_PREEMPT_LOAD;
    g_assert_cmpuint(decision->image, ==,
                     row->loads ? 10 * row->ask.accelerator + region->kind : NONE);
    check_victims(w, decision, r, answer == VF_ACCEL_PREEMPT || answer == VF_ACCEL_PREEMPT_LOAD);
    check_function(w, row, decision, region->card);
    row->lifted = level_of(w, row) > row->ask.priority;
    row->before = region->loaded;
    if (row->loads)
        region->loaded = NONE;
    row->state = VF_ACCEL_TAKING;
    row->region = r;
    region->taking = i;
}

static gboolean sooner(const World *w, const Row *a, const Row *b)
{
    guint x = level_of(w, a), y = level_of(w, b);

    if (x != y)
        return x > y;
    if (a->preempted != b->preempted)
        return a->preempted;
    return a->asked != b->asked ? a->asked < b->asked : a->ticket < b->ticket;
}

// What the queue gets now, held against what the table says it gets.
static void settle(World *w, const VfAccelDecision *out, guint n)
{
    for (guint k = 0;; k++) {
        int best = -1;
        guint place = NONE, chosen = NONE;
        VfAccelAnswer answer = VF_ACCEL_WAIT;

        for (int i = 0; i < REQUESTS; i++) {
            Row *row = &w->rows[i];

            if (!row->known || row->state != VF_ACCEL_WAITING || over_quota(w, i) ||
                (best >= 0 && !sooner(w, row, &w->rows[best])))
                continue;
            VfAccelAnswer found = choose(w, row, &place);
            if (found == VF_ACCEL_WAIT)
                continue;
            best = i;
            answer = found;
            chosen = place;
        }
        if (best < 0) {
            g_assert_cmpuint(n, ==, k);
            break;
        }
        g_assert_cmpuint(n, >, k);
        grant(w, best, answer, chosen, &out[k]);
    }
    w->settled = TRUE;
}

static void give_function(Row *row)
{
    if (row->function == NONE)
        return;
    row->last_card = row->card;
    row->last_function = row->function;
    row->function = NONE;
    if (!row->fixed)
        row->card = NONE;
}

static gboolean is_free(const World *w, guint r)
{
    for (int i = 0; i < REQUESTS; i++)
        if (holder_of(w, i, r))
            return FALSE;
    return w->regions[r].taking < 0;
}

static void left_region(World *w, guint r)
{
    if (!is_free(w, r))
        return;
    w->regions[r].guarded = 0;
    w->regions[r].since = w->now;
}

static void evict(World *w, guint r)
{
    for (int i = 0; i < REQUESTS; i++) {
        Row *row = &w->rows[i];

        if (!holder_of(w, i, r) || row->state != VF_ACCEL_YIELDING)
            continue;
        row->state = row->leaving || row->idle ? VF_ACCEL_OUTSIDE : VF_ACCEL_WAITING;
        row->last_region = r;
        row->region = NONE;
        row->saved = row->preempted = TRUE;
        row->idle = FALSE;
        row->asked = w->now;
        if (row->ask.movable)
            give_function(row);
    }
}

// ---- steps

static guint fresh_waiting(const World *w, guint group)
{
    guint n = 0;

    for (int i = 0; i < REQUESTS; i++)
        n += w->rows[i].known && w->rows[i].state == VF_ACCEL_WAITING && !w->rows[i].preempted &&
             (group == NONE || w->rows[i].ask.group == group);
    return n;
}

static gboolean reachable(const World *w, const Row *row)
{
    for (guint r = 0; r < REGIONS; r++) {
        const Region *region = &w->regions[r];

        if ((row->fixed || row->function != NONE) && row->card != region->card)
            continue;
        if (region->loaded == row->ask.accelerator || w->images[row->ask.accelerator][region->kind])
            return TRUE;
    }
    return FALSE;
}

// A request that is neither refused nor given a place waits.
static gboolean decide(World *w, int i, const VfAccelDecision *decision, gboolean full_counts)
{
    Row *row = &w->rows[i];
    guint place = NONE;
    VfAccelAnswer answer = over_quota(w, i) ? VF_ACCEL_WAIT : choose(w, row, &place);

    if (answer != VF_ACCEL_WAIT) {
        grant(w, i, answer, place, decision);
        return TRUE;
    }
    if (full_counts && !row->preempted &&
        (fresh_waiting(w, NONE) >= policy.waiting ||
         fresh_waiting(w, row->ask.group) >= groups[row->ask.group].waiting))
        return FALSE;
    w->answered[VF_ACCEL_WAIT]++;
    g_assert_cmpint(decision->answer, ==, VF_ACCEL_WAIT);
    row->state = VF_ACCEL_WAITING;
    return TRUE;
}

static VfAccelVerdict model_request(World *w, int i, const VfAccelAsk *ask,
                                    const VfAccelDecision *decision, VfAccelVerdict said)
{
    Row *row = &w->rows[i], old = *row;

    if (ask->priority > groups[ask->group].ceiling)
        return VF_ACCEL_CEILING;
    if (ask->shared && ask->accelerator != 0)
        return VF_ACCEL_NOT_SHARED;
    if (row->known && row->leaving)
        return VF_ACCEL_NOT_NOW;
    if (row->known && row->state != VF_ACCEL_OUTSIDE)
        return VF_ACCEL_ALREADY;
    if (!row->known)
        *row = (Row){.known = TRUE,
                     .card = NONE,
                     .function = NONE,
                     .region = NONE,
                     .last_region = NONE,
                     .last_card = NONE,
                     .last_function = NONE};
    else if (row->ask.accelerator != ask->accelerator)
        row->saved = row->preempted = FALSE;
    row->ask = *ask;
    row->state = VF_ACCEL_OUTSIDE;
    row->asked = w->now;
    row->ticket = w->ticket++;
    row->idle = FALSE;
    VfAccelVerdict verdict = VF_ACCEL_OK;
    if (row->function == NONE) {
        gboolean hint = ask->movable && ask->function != NONE;

        row->fixed = ask->card != NONE && !hint;
        row->card = row->fixed ? ask->card : NONE;
        if (hint) {
            row->last_card = ask->card;
            row->last_function = ask->function;
        } else if (ask->function != NONE && !function_free(w, ask->card, ask->function)) {
            verdict = VF_ACCEL_IN_USE;
        } else if (ask->function != NONE) {
            row->function = ask->function;
        }
    }
    if (verdict == VF_ACCEL_OK && !reachable(w, row))
        verdict = VF_ACCEL_NO_IMAGE;
    // Before the grant is compared: the record that it names.
    if (said == VF_ACCEL_OK)
        w->handles[i] = vf_accel_find(w->accel, ask->uuid, ask->device);
    if (verdict == VF_ACCEL_OK && !decide(w, i, decision, TRUE))
        verdict = VF_ACCEL_QUEUE_FULL;
    if (verdict != VF_ACCEL_OK)
        *row = old;
    return verdict;
}

static void step_request(World *w, int i)
{
    gboolean with_card = roll(w, 3) == 0;
    VfAccelAsk ask = {.uuid = w->uuids[i / DEVICES],
                      .device = devices[i % DEVICES],
                      .accelerator = roll(w, ACCELERATORS),
                      .priority = roll(w, 4),
                      .group = (guint)(i / DEVICES) % GROUPS,
                      .card = with_card ? roll(w, CARDS) : NONE,
                      .function = with_card && roll(w, 2) ? roll(w, FUNCTIONS) : NONE,
                      .movable = roll(w, 2) == 0,
                      .weight = 1};
    VfAccelDecision decision = {.answer = VF_ACCEL_WAIT};

    ask.shared = roll(w, 3) == 0 || (ask.accelerator == 0 && roll(w, 2));
    VfAccelVerdict said = vf_accel_request(w->accel, &ask, w->now, &decision);
    g_assert_cmpint(said, ==, model_request(w, i, &ask, &decision, said));
}

static void step_end(World *w, int i, VfAccelDecision *out)
{
    Row *row = &w->rows[i];
    guint r = row->region, n;
    Region *region = &w->regions[r];
    gboolean good = roll(w, 3) != 0;
    VfAccelStep step = roll(w, 3);

    n = good ? vf_accel_done(w->accel, w->handles[i], w->now, out)
             : vf_accel_failed(w->accel, w->handles[i], step, w->now, out);
    region->taking = -1;
    if (good) {
        evict(w, r);
        if (row->loads)
            region->loaded = row->ask.accelerator;
        row->state = VF_ACCEL_HOLDING;
        row->preempted = row->saved = FALSE;
        row->fixed = row->fixed || !row->ask.movable;
        region->since = w->now;
        if (row->lifted)
            region->guarded = MAX(region->guarded, w->now + policy.tenure);
        settle(w, out, n);
        return;
    }
    if (row->takes && row->lender >= 0 && step == VF_ACCEL_STEP_PAUSE) {
        w->rows[row->lender].card = row->card;
        w->rows[row->lender].function = row->function;
        row->function = NONE;
        row->card = row->fixed ? row->card : NONE;
    } else if (row->takes) {
        give_function(row);
    }
    if (step == VF_ACCEL_STEP_PAUSE) {
        region->loaded = row->before;
        for (int v = 0; v < REQUESTS; v++)
            if (holder_of(w, v, r))
                w->rows[v].state = VF_ACCEL_HOLDING;
        region->guarded = MAX(region->guarded, w->now + policy.backoff);
    } else {
        evict(w, r);
    }
    if (step == VF_ACCEL_STEP_LOAD) {
        if (region->failed_until <= w->now)
            memset(region->failed, 0, sizeof(region->failed));
        region->failed[row->ask.accelerator] = TRUE;
        region->failed_until = w->now + policy.backoff;
    }
    if (step == VF_ACCEL_STEP_CONNECT) {
        if (row->loads)
            region->loaded = row->ask.accelerator;
        region->avoided = w->now + policy.backoff;
    }
    row->region = NONE;
    row->state = row->leaving ? VF_ACCEL_OUTSIDE : VF_ACCEL_WAITING;
    left_region(w, r);
    settle(w, out, n);
}

static void withdraw(World *w, int i)
{
    Row *row = &w->rows[i];
    guint r = row->region;

    for (int t = 0; t < REQUESTS; t++)
        if (w->rows[t].known && w->rows[t].lender == i)
            w->rows[t].lender = -1;
    row->state = VF_ACCEL_OUTSIDE;
    row->region = NONE;
    if (r == NONE)
        return;
    row->last_region = r;
    left_region(w, r);
}

static void step_leave(World *w, int i)
{
    vf_accel_leave(w->accel, w->handles[i]);
    w->rows[i].leaving = TRUE;
    if (w->rows[i].state == VF_ACCEL_WAITING)
        w->rows[i].state = VF_ACCEL_OUTSIDE;
}

static void step_release(World *w, int i, VfAccelDecision *out)
{
    guint n = vf_accel_release(w->accel, w->handles[i], w->now, out);

    withdraw(w, i);
    w->rows[i].known = FALSE;
    settle(w, out, n);
}

static void step_remap(World *w, int i, VfAccelDecision *out)
{
    Row *row = &w->rows[i];
    guint a = roll(w, ACCELERATORS);
    VfAccelVerdict verdict = vf_accel_remap_check(w->accel, w->handles[i], a);
    Row wish = *row;

    wish.ask.accelerator = a;
    if (row->ask.movable)
        give_function(&wish);
    if (a == row->ask.accelerator) {
        g_assert_cmpint(verdict, ==, VF_ACCEL_SAME);
    } else if (row->leaving || (row->state != VF_ACCEL_WAITING && row->state != VF_ACCEL_HOLDING)) {
        g_assert_cmpint(verdict, ==, VF_ACCEL_NOT_NOW);
    } else if (row->ask.shared && a != 0) {
        g_assert_cmpint(verdict, ==, VF_ACCEL_NOT_SHARED);
    } else {
        g_assert_cmpint(verdict, ==, reachable(w, &wish) ? VF_ACCEL_OK : VF_ACCEL_NO_IMAGE);
    }
    if (verdict != VF_ACCEL_OK)
        return;
    guint n = vf_accel_remap(w->accel, w->handles[i], a, w->now, out);
    withdraw(w, i);
    if (row->ask.movable)
        give_function(row);
    row->ask.accelerator = a;
    row->asked = w->now;
    row->idle = row->preempted = row->saved = FALSE;
    g_assert_cmpuint(n, >=, 1);
    decide(w, i, &out[0], FALSE);
    settle(w, out + 1, n - 1);
}

static void step_time(World *w, VfAccelDecision *out)
{
    gint64 due = vf_accel_due(w->accel, w->now);
    gboolean was_settled = w->settled;

    w->now += 1 + roll(w, 60);
    if (roll(w, 4) == 0) {
        w->settled = FALSE;
        return;
    }
    guint n = vf_accel_tick(w->accel, w->now, out);
    if (was_settled && w->now < due)
        g_assert_cmpuint(n, ==, 0);
    settle(w, out, n);
}

static void step_hardware(World *w, VfAccelDecision *out)
{
    guint r = roll(w, REGIONS), card = roll(w, CARDS), f = roll(w, FUNCTIONS), n = 0;
    guint a = roll(w, ACCELERATORS), kind = roll(w, KINDS);

    switch (roll(w, 3)) {
    case 0:
        w->regions[r].usable = roll(w, 4) != 0;
        n = vf_accel_set_usable(w->accel, r, w->regions[r].usable, w->now, out);
        break;
    case 1:
        w->usable[card][f] = roll(w, 4) != 0;
        n = vf_accel_set_function(w->accel, card, f, w->usable[card][f], w->now, out);
        break;
    default:
        w->images[a][kind] = roll(w, 5) != 0;
        for (guint i = 0; i < REGIONS; i++)
            if (w->regions[i].kind == kind)
                w->regions[i].failed[a] = FALSE;
        n = vf_accel_set_image(w->accel, a, kind, w->images[a][kind] ? 10 * a + kind : NONE, w->now,
                               out);
        break;
    }
    settle(w, out, n);
}

static void step_idle(World *w, int i, VfAccelDecision *out)
{
    w->rows[i].idle = roll(w, 2) == 0;
    guint n = vf_accel_set_idle(w->accel, w->handles[i], w->rows[i].idle, w->now, out);
    settle(w, out, n);
}

static void step(World *w)
{
    VfAccelDecision out[VF_ACCEL_OUT];
    int i = (int)roll(w, REQUESTS);
    Row *row = &w->rows[i];

    switch (roll(w, 12)) {
    case 0:
        step_hardware(w, out);
        return;
    case 1:
    case 2:
        step_time(w, out);
        return;
    case 3:
    case 4:
    case 5:
        step_request(w, i);
        return;
    case 6:
        if (row->known && row->state == VF_ACCEL_HOLDING)
            step_idle(w, i, out);
        return;
    case 7:
        if (row->known)
            step_remap(w, i, out);
        return;
    case 8:
        if (row->known && row->state != VF_ACCEL_TAKING && roll(w, 2))
            step_release(w, i, out);
        else if (row->known && roll(w, 3) == 0)
            step_leave(w, i);
        return;
    default:
        if (row->known && row->state == VF_ACCEL_TAKING)
            step_end(w, i, out);
        return;
    }
}

static void compare(const World *w)
{
    guint waiting = 0;

    for (int i = 0; i < REQUESTS; i++) {
        const Row *row = &w->rows[i];
        const VfAccelRequest *request =
            vf_accel_find(w->accel, w->uuids[i / DEVICES], devices[i % DEVICES]);

        g_assert_cmpint(request != NULL, ==, row->known);
        if (request == NULL)
            continue;
        g_assert_true(request == w->handles[i]);
        g_assert_cmpstr(request->domain->uuid, ==, w->uuids[i / DEVICES]);
        g_assert_cmpint(request->state, ==, row->state);
        g_assert_cmpuint(request->function, ==, row->function);
        g_assert_cmpuint(request->region, ==, row->region);
        g_assert_cmpint(request->asked, ==, row->asked);
        g_assert_cmpint(request->preempted, ==, row->preempted);
        waiting += row->state == VF_ACCEL_WAITING;
    }
    g_assert_cmpuint(vf_accel_waiting(w->accel, NONE), ==, waiting);
    for (guint r = 0; r < REGIONS; r++) {
        const VfAccelRegion *region = vf_accel_region(w->accel, r);

        g_assert_cmpuint(region->loaded, ==, w->regions[r].loaded);
        g_assert_cmpint(region->since, ==, w->regions[r].since);
        g_assert_cmpint(region->taking != NULL, ==, w->regions[r].taking >= 0);
    }
    for (guint c = 0; c < CARDS; c++) {
        guint n = 0;

        for (guint f = 0; f < FUNCTIONS; f++)
            n += function_free(w, c, f);
        g_assert_cmpuint(vf_accel_functions_free(w->accel, c), ==, n);
    }
}

static void set_up(World *w)
{
    VfAccelDecision out[VF_ACCEL_OUT];

    w->accel = vf_accel_new(&policy, REQUESTS);
    w->ticket = 1;
    w->settled = TRUE;
    for (guint d = 0; d < DOMAINS; d++)
        g_snprintf(w->uuids[d], sizeof(w->uuids[d]), "%08x-0000-4000-8000-000000000000", d);
    for (guint g = 0; g < GROUPS; g++)
        vf_accel_add_group(w->accel, &groups[g]);
    for (guint c = 0; c < CARDS; c++) {
        vf_accel_add_card(w->accel, FUNCTIONS);
        for (guint f = 0; f < FUNCTIONS; f++)
            w->usable[c][f] = TRUE;
    }
    for (guint a = 0; a < ACCELERATORS; a++)
        vf_accel_add_accelerator(w->accel, a == 0);
    for (guint r = 0; r < REGIONS; r++) {
        w->regions[r] = (Region){
            .card = r % CARDS, .kind = r / 2 % KINDS, .loaded = NONE, .usable = TRUE, .taking = -1};
        vf_accel_add_region(w->accel, r % CARDS, r / 2 % KINDS);
    }
    for (guint a = 0; a < ACCELERATORS; a++) {
        for (guint k = 0; k < KINDS; k++) {
            w->images[a][k] = TRUE;
            vf_accel_set_image(w->accel, a, k, 10 * a + k, 0, out);
        }
    }
}

static void test_histories(void)
{
    g_autofree World *w = g_new0(World, 1);

    w->random = g_rand_new_with_seed((guint32)g_test_rand_int());
    set_up(w);
    for (guint i = 0; i < STEPS; i++) {
        step(w);
        compare(w);
    }
    for (VfAccelAnswer answer = VF_ACCEL_ASSIGN; answer <= VF_ACCEL_WAIT; answer++) {
        g_test_message("%s: %u", vf_accel_answer_name(answer), w->answered[answer]);
        g_assert_cmpuint(w->answered[answer], >, 100);
    }
    vf_accel_free(w->accel);
    g_rand_free(w->random);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/accel/histories", test_histories);
    return g_test_run();
}
