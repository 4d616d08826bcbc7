// SPDX-License-Identifier: GPL-2.0-or-later
//
// The waiters. Of one accelerator and one priority there are two queues, those that were preempted
// and the others, each by the time they began to wait; so a queue's order does not change as time
// passes, and only the heads of queues are compared at `now`.
//
// Within a queue whoever comes later has no more than who came before: once one was refused a
// place, those behind it with the same needs are passed over.

#include "accel-table.h"

guint vf_accel_level(const VfAccel *accel, const VfAccelRequest *request, gint64 now)
{
    gint64 age = (now - request->asked) / accel->policy.age_step;

    return request->priority + (guint)CLAMP(age, 0, G_MAXINT32);
}

static VfAccelQueue *queue_of(VfAccel *accel, const VfAccelRequest *request, guint *number)
{
    *number = 2 * request->priority + (request->preempted ? 0 : 1);
    return &accel->queues[request->accelerator][*number];
}

static gboolean longer(const VfAccelRequest *a, const VfAccelRequest *b)
{
    return a->asked != b->asked ? a->asked < b->asked : a->ticket < b->ticket;
}

static void count(VfAccel *accel, VfAccelRequest *request, int by)
{
    accel->waiting[request->accelerator] += (guint)by;
    accel->n_waiting += (guint)by;
    if (request->preempted)
        return;
    accel->n_fresh += (guint)by;
    accel->groups[request->group].waiting += (guint)by;
}

void vf_accel_enqueue(VfAccel *accel, VfAccelRequest *request)
{
    guint number;
    VfAccelQueue *queue = queue_of(accel, request, &number);
    VfAccelRequest *after = queue->last;

    while (after != NULL && longer(request, after))
        after = after->previous;
    request->previous = after;
    request->next = after != NULL ? after->next : queue->first;
    if (request->next != NULL)
        request->next->previous = request;
    else
        queue->last = request;
    if (after != NULL)
        after->next = request;
    else
        queue->first = request;
    queue->length++;
    request->state = VF_ACCEL_WAITING;
    accel->queued[request->accelerator] |= (guint32)1 << number;
    count(accel, request, 1);
}

void vf_accel_dequeue(VfAccel *accel, VfAccelRequest *request)
{
    guint number;
    VfAccelQueue *queue = queue_of(accel, request, &number);

    if (request->previous != NULL)
        request->previous->next = request->next;
    else
        queue->first = request->next;
    if (request->next != NULL)
        request->next->previous = request->previous;
    else
        queue->last = request->previous;
    request->previous = request->next = NULL;
    queue->length--;
    if (queue->first == NULL)
        accel->queued[request->accelerator] &= ~((guint32)1 << number);
    request->state = VF_ACCEL_OUTSIDE;
    count(accel, request, -1);
}

// TRUE when `a` is answered before `b`, both waiting.
static gboolean before(const VfAccel *accel, const VfAccelRequest *a, const VfAccelRequest *b,
                       gint64 now)
{
    guint x = vf_accel_level(accel, a, now), y = vf_accel_level(accel, b, now);

    if (x != y)
        return x > y;
    if (a->preempted != b->preempted)
        return a->preempted;
    return longer(a, b);
}

// What decides, apart from its queue, whether a waiter finds a place, as one bit: the card that it
// is bound to, whether it has its function there, whether it shares.
static guint64 needs(const VfAccelRequest *request)
{
    guint own = request->function != VF_ACCEL_NONE ? 1 : 0;
    guint card = own || request->fixed ? request->card + 1 : 0;

    G_STATIC_ASSERT(4 * (VF_ACCEL_CARDS_MAX + 1) <= 64);
    return VF_ACCEL_BIT(4 * card + 2 * own + (request->shared ? 1 : 0));
}

// The first of a queue that has a place.
static VfAccelRequest *first_with_place(const VfAccel *accel, const VfAccelQueue *queue, gint64 now,
                                        VfAccelPlace *place)
{
    guint64 refused = 0;

    if (vf_accel_hopeless(accel, queue->first->accelerator,
                          vf_accel_level(accel, queue->first, now)))
        return NULL;
    for (VfAccelRequest *r = queue->first; r != NULL; r = r->next) {
        guint64 need = needs(r);

        if ((refused & need) != 0 || vf_accel_over_quota(accel, r))
            continue;
        *place = vf_accel_choose(accel, r, vf_accel_level(accel, r, now));
        if (place->answer != VF_ACCEL_WAIT)
            return r;
        refused |= need;
    }
    return NULL;
}

// The next waiter to be answered, NULL when none has a place.
static VfAccelRequest *next_answer(const VfAccel *accel, gint64 now, VfAccelPlace *place)
{
    VfAccelRequest *best = NULL;

    for (guint a = 0; a < accel->n_accelerators; a++) {
        for (guint32 left = accel->queued[a]; left != 0; left &= left - 1) {
            const VfAccelQueue *queue = &accel->queues[a][__builtin_ctz(left)];
            VfAccelPlace found = {VF_ACCEL_WAIT, VF_ACCEL_NONE};
            VfAccelRequest *r = NULL;

            if (best == NULL || before(accel, queue->first, best, now))
                r = first_with_place(accel, queue, now, &found);
            if (r != NULL && (best == NULL || before(accel, r, best, now))) {
                best = r;
                *place = found;
            }
        }
    }
    return best;
}

guint vf_accel_answer(VfAccel *accel, gint64 now, VfAccelDecision *out, guint n)
{
    VfAccelPlace place;
    VfAccelRequest *request;

    if (accel->n_waiting == 0)
        return n;
    vf_accel_expire(accel, now);
    while ((request = next_answer(accel, now, &place)) != NULL) {
        guint level = vf_accel_level(accel, request, now);

        vf_accel_dequeue(accel, request);
        vf_accel_grant(accel, request, &place, level, &out[n++]);
    }
    return n;
}

// When a waiter's level exceeds the weakest grip on its regions, or `now` if it does already and
// only a guard, a backoff or a change is in its way.
static gint64 when_strong(const VfAccel *accel, const VfAccelRequest *request)
{
    VfAccelSet horizon = vf_accel_horizon(accel, request);

    for (guint grip = 0; grip < VF_ACCEL_GRIPS; grip++)
        if ((accel->grip[grip] & horizon) != 0)
            return grip <= request->priority ? request->asked
                                             : request->asked + (gint64)(grip - request->priority) *
                                                                    accel->policy.age_step;
    return VF_ACCEL_NEVER;
}

// The earliest end of a guard or backoff behind `now`.
static gint64 next_expiry(const VfAccel *accel, gint64 now)
{
    VfAccelSet timed = accel->guarded | accel->avoided | accel->failing;
    gint64 due = VF_ACCEL_NEVER;

    for (; timed != 0; timed &= timed - 1) {
        guint r = (guint)__builtin_ctzll(timed);
        const VfAccelRegion *row = &accel->regions[r];

        if ((accel->guarded & VF_ACCEL_BIT(r)) != 0 && row->guarded_until > now)
            due = MIN(due, row->guarded_until);
        if ((accel->avoided & VF_ACCEL_BIT(r)) != 0 && row->avoided_until > now)
            due = MIN(due, row->avoided_until);
        if ((accel->failing & VF_ACCEL_BIT(r)) != 0 && row->failed_until > now)
            due = MIN(due, row->failed_until);
    }
    return due;
}

// The earliest time at which one of a queue may find a place by its age.
static gint64 queue_due(const VfAccel *accel, const VfAccelQueue *queue, gint64 now)
{
    gint64 due = VF_ACCEL_NEVER, step = accel->policy.age_step;
    guint64 seen = 0;

    for (const VfAccelRequest *r = queue->first; r != NULL; r = r->next) {
        if ((seen & needs(r)) != 0 || vf_accel_over_quota(accel, r))
            continue;
        gint64 strong = when_strong(accel, r);

        seen |= needs(r);
        if (strong == VF_ACCEL_NEVER)
            continue;
        // The region of that grip may not do after all; the next level may reach another.
        if (strong <= now && vf_accel_level(accel, r, now) <= VF_ACCEL_PRIORITY_MAX)
            strong = now + step - (now - r->asked) % step;
        if (strong > now)
            due = MIN(due, strong);
    }
    return due;
}

gint64 vf_accel_due(const VfAccel *accel, gint64 now)
{
    gint64 due;

    if (accel->n_waiting == 0)
        return VF_ACCEL_NEVER;
    due = next_expiry(accel, now);
    for (guint a = 0; a < accel->n_accelerators; a++)
        for (guint32 left = accel->queued[a]; left != 0; left &= left - 1)
            due = MIN(due, queue_due(accel, &accel->queues[a][__builtin_ctz(left)], now));
    return due;
}

guint vf_accel_tick(VfAccel *accel, gint64 now, VfAccelDecision *out)
{
    return vf_accel_answer(accel, now, out, 0);
}

guint vf_accel_waiting(const VfAccel *accel, guint accelerator)
{
    return accelerator == VF_ACCEL_NONE ? accel->n_waiting : accel->waiting[accelerator];
}

// Of a queue, those that are answered before the request. Looked for from both ends: who has just
// asked is near one of them in each queue, however many wait.
static guint ahead_in(const VfAccel *accel, const VfAccelQueue *queue,
                      const VfAccelRequest *request, gint64 now)
{
    const VfAccelRequest *head = queue->first, *tail = queue->last;
    guint from = 0, to = queue->length;

    while (from < to) {
        if (!before(accel, head, request, now))
            return from;
        if (before(accel, tail, request, now))
            return to;
        from++, to--;
        head = head->next;
        tail = tail->previous;
    }
    return to;
}

guint vf_accel_ahead(const VfAccel *accel, const VfAccelRequest *request, gint64 now)
{
    guint n = 0;

    for (guint32 left = accel->queued[request->accelerator]; left != 0; left &= left - 1)
        n += ahead_in(accel, &accel->queues[request->accelerator][__builtin_ctz(left)], request,
                      now);
    return n;
}
