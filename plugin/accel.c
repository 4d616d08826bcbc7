// SPDX-License-Identifier: GPL-2.0-or-later
//
// What changes the accelerator table: requests, the ends of changes, departures. Invariant: between
// calls no waiter has a place, but for what only time has brought since (vf_accel_tick()). So a
// newcomer can be answered without a look at the queue.

#include <string.h>

#include "accel-table.h"

static gboolean off_the_card(const VfAccel *accel, const VfAccelAsk *ask)
{
    if (ask->card == VF_ACCEL_NONE)
        return ask->function != VF_ACCEL_NONE;
    return ask->card >= accel->n_cards ||
           (ask->function != VF_ACCEL_NONE && ask->function >= accel->cards[ask->card].n);
}

// What is wrong with an ask whatever the state of the table.
static VfAccelVerdict check_ask(const VfAccel *accel, const VfAccelAsk *ask)
{
    gsize device_length = strlen(ask->device);

    if (strlen(ask->uuid) != 36 || device_length == 0 ||
        device_length >= sizeof(((VfAccelRequest *)NULL)->device))
        return VF_ACCEL_BAD_ASK;
    if (ask->group >= accel->n_groups || off_the_card(accel, ask))
        return VF_ACCEL_BAD_ASK;
    if (ask->accelerator >= accel->n_accelerators)
        return VF_ACCEL_UNKNOWN;
    if (ask->priority > VF_ACCEL_PRIORITY_MAX ||
        ask->priority > accel->groups[ask->group].limits.ceiling)
        return VF_ACCEL_CEILING;
    if (ask->shared && (accel->shareable & VF_ACCEL_BIT(ask->accelerator)) == 0)
        return VF_ACCEL_NOT_SHARED;
    return VF_ACCEL_OK;
}

// The request as asked, with its function when it is to have that one and no other.
static VfAccelVerdict fill(VfAccel *accel, VfAccelRequest *request, const VfAccelAsk *ask,
                           gint64 now)
{
    if (request->accelerator != ask->accelerator) // a context of another one is of no use
        request->saved = request->preempted = FALSE;
    request->accelerator = ask->accelerator;
    request->priority = ask->priority;
    request->group = ask->group;
    request->weight = ask->weight;
    request->movable = ask->movable;
    request->shared = ask->shared;
    request->since = request->asked = now;
    request->ticket = accel->tickets++;
    request->idle = FALSE;
    if (request->function != VF_ACCEL_NONE)
        return VF_ACCEL_OK;
    request->fixed =
        ask->card != VF_ACCEL_NONE && !(ask->movable && ask->function != VF_ACCEL_NONE);
    request->card = request->fixed ? ask->card : VF_ACCEL_NONE;
    if (ask->function == VF_ACCEL_NONE)
        return VF_ACCEL_OK;
    if (ask->movable) {
        request->last_card = ask->card;
        request->last_function = ask->function;
        return VF_ACCEL_OK;
    }
    if (!vf_accel_function_free(accel, ask->card, ask->function))
        return VF_ACCEL_IN_USE;
    vf_accel_take_function(accel, request, ask->card, ask->function);
    return VF_ACCEL_OK;
}

// Decides; the request is in the queue when the answer is WAIT. FALSE: no room in the queue.
static gboolean decide(VfAccel *accel, VfAccelRequest *request, gint64 now,
                       VfAccelDecision *decision)
{
    VfAccelPlace place = {VF_ACCEL_WAIT, VF_ACCEL_NONE};
    guint level = vf_accel_level(accel, request, now);

    vf_accel_expire(accel, now);
    if (!vf_accel_over_quota(accel, request))
        place = vf_accel_choose(accel, request, level);
    if (place.answer != VF_ACCEL_WAIT) {
        vf_accel_grant(accel, request, &place, level, decision);
        return TRUE;
    }
    if (!request->preempted &&
        (accel->n_fresh >= accel->policy.waiting ||
         accel->groups[request->group].waiting >= accel->groups[request->group].limits.waiting))
        return FALSE;
    vf_accel_enqueue(accel, request);
    vf_accel_say_wait(request, decision);
    return TRUE;
}

// A record of the ask that is OUTSIDE; a new one is dropped again by undo().
static VfAccelVerdict admit(VfAccel *accel, const VfAccelAsk *ask, gint64 now,
                            VfAccelRequest **request, VfAccelRequest *old)
{
    VfAccelVerdict verdict = check_ask(accel, ask);

    *request = vf_accel_find(accel, ask->uuid, ask->device);
    if (*request != NULL && verdict == VF_ACCEL_OK)
        verdict = (*request)->leaving                     ? VF_ACCEL_NOT_NOW
                  : (*request)->state != VF_ACCEL_OUTSIDE ? VF_ACCEL_ALREADY
                                                          : VF_ACCEL_OK;
    if (verdict != VF_ACCEL_OK)
        return verdict;
    if (*request == NULL)
        *request = vf_accel_new_record(accel, ask->uuid, ask->device);
    if (*request == NULL)
        return VF_ACCEL_TABLE_FULL;
    *old = **request;
    return fill(accel, *request, ask, now);
}

// Puts a record back as admit() found it. A new one has no ticket yet: those begin at 1.
static void undo(VfAccel *accel, VfAccelRequest *request, const VfAccelRequest *old)
{
    if (old->function == VF_ACCEL_NONE)
        vf_accel_give_function(accel, request);
    *request = *old;
    if (request->ticket == 0)
        vf_accel_drop_record(accel, request);
}

VfAccelVerdict vf_accel_request(VfAccel *accel, const VfAccelAsk *ask, gint64 now,
                                VfAccelDecision *decision)
{
    VfAccelRequest *request, old = {.device = ""};
    VfAccelVerdict verdict = admit(accel, ask, now, &request, &old);

    if (verdict != VF_ACCEL_OK && verdict != VF_ACCEL_IN_USE)
        return verdict;
    if (verdict == VF_ACCEL_OK && vf_accel_horizon(accel, request) == 0)
        verdict = VF_ACCEL_NO_IMAGE;
    if (verdict == VF_ACCEL_OK && !decide(accel, request, now, decision))
        verdict = VF_ACCEL_QUEUE_FULL;
    if (verdict != VF_ACCEL_OK)
        undo(accel, request, &old);
    return verdict;
}

// ---- the end of a change

// A region that nobody holds protects nobody.
static void settle_region(VfAccel *accel, guint region, gint64 now)
{
    VfAccelRegion *row = &accel->regions[region];

    if (row->holders == NULL && row->taking == NULL) {
        accel->guarded &= ~VF_ACCEL_BIT(region);
        row->since = now;
    }
    vf_accel_refresh_region(accel, region);
}

static void guard(VfAccel *accel, guint region, gint64 until)
{
    VfAccelRegion *row = &accel->regions[region];
    gboolean guarded = (accel->guarded & VF_ACCEL_BIT(region)) != 0;

    row->guarded_until = guarded ? MAX(row->guarded_until, until) : until;
    accel->guarded |= VF_ACCEL_BIT(region);
}

// The victims of a change have let go.
static void evict(VfAccel *accel, VfAccelRegion *row, gint64 now)
{
    VfAccelRequest *next;

    for (VfAccelRequest *victim = row->holders; victim != NULL; victim = next) {
        next = victim->neighbour;
        if (victim->state != VF_ACCEL_YIELDING)
            continue;
        vf_accel_exit(accel, victim);
        vf_accel_count(accel, victim, -1);
        victim->state = VF_ACCEL_OUTSIDE;
        victim->saved = victim->preempted = TRUE;
        victim->preemptions++;
        victim->since = victim->asked = now;
        if (victim->movable)
            vf_accel_give_function(accel, victim);
        if (!victim->leaving && !victim->idle)
            vf_accel_enqueue(accel, victim);
        victim->idle = FALSE;
    }
}

guint vf_accel_done(VfAccel *accel, VfAccelRequest *request, gint64 now, VfAccelDecision *out)
{
    guint region = request->region;
    VfAccelRegion *row = &accel->regions[region];

    g_assert(request->state == VF_ACCEL_TAKING);
    row->taking = NULL;
    evict(accel, row, now);
    if (request->loads)
        vf_accel_put_loaded(accel, region, request->accelerator);
    vf_accel_enter(accel, request, region);
    row->since = request->since = now;
    request->saved = request->preempted = FALSE;
    request->lender = NULL;
    if (!request->movable)
        request->fixed = TRUE;
    if (request->lifted)
        guard(accel, region, now + accel->policy.tenure);
    settle_region(accel, region, now);
    return vf_accel_answer(accel, now, out, 0);
}

// The function that the change gave to a request goes back, to the victim it came from if that
// keeps its region.
static void return_function(VfAccel *accel, VfAccelRequest *request, gboolean to_lender)
{
    VfAccelRequest *lender = request->lender;

    request->lender = NULL;
    if (!request->takes)
        return;
    if (to_lender && lender != NULL) {
        lender->card = request->card;
        lender->function = request->function;
        request->function = VF_ACCEL_NONE;
        if (!request->fixed)
            request->card = VF_ACCEL_NONE;
        return;
    }
    vf_accel_give_function(accel, request);
}

guint vf_accel_failed(VfAccel *accel, VfAccelRequest *request, VfAccelStep step, gint64 now,
                      VfAccelDecision *out)
{
    guint region = request->region;
    VfAccelRegion *row = &accel->regions[region];
    VfAccelSet bit = VF_ACCEL_BIT(region);

    g_assert(request->state == VF_ACCEL_TAKING);
    vf_accel_expire(accel, now); // a new backoff must not prolong old ones that are over
    row->taking = NULL;
    return_function(accel, request, step == VF_ACCEL_STEP_PAUSE);
    switch (step) {
    case VF_ACCEL_STEP_PAUSE:
        vf_accel_put_loaded(accel, region, row->before);
        for (VfAccelRequest *victim = row->holders; victim != NULL; victim = victim->neighbour)
            victim->state = VF_ACCEL_HOLDING;
        guard(accel, region, now + accel->policy.backoff);
        break;
    case VF_ACCEL_STEP_LOAD:
        evict(accel, row, now);
        accel->failed[request->accelerator] |= bit;
        accel->failing |= bit;
        row->failed_until = now + accel->policy.backoff;
        break;
    case VF_ACCEL_STEP_CONNECT:
        evict(accel, row, now);
        if (request->loads)
            vf_accel_put_loaded(accel, region, request->accelerator);
        accel->avoided |= bit;
        row->avoided_until = now + accel->policy.backoff;
        break;
    }
    vf_accel_count(accel, request, -1);
    request->region = VF_ACCEL_NONE;
    request->state = VF_ACCEL_OUTSIDE;
    request->failures++;
    if (!request->leaving)
        vf_accel_enqueue(accel, request);
    settle_region(accel, region, now);
    return vf_accel_answer(accel, now, out, 0);
}

// ---- departures

void vf_accel_leave(VfAccel *accel, VfAccelRequest *request)
{
    request->leaving = TRUE;
    if (request->state == VF_ACCEL_WAITING)
        vf_accel_dequeue(accel, request);
    else if (request->state == VF_ACCEL_HOLDING)
        vf_accel_refresh_region(accel, request->region);
}

// Out of the queue or off its region.
static void withdraw(VfAccel *accel, VfAccelRequest *request, gint64 now)
{
    guint region = request->region;

    if (request->state == VF_ACCEL_WAITING)
        vf_accel_dequeue(accel, request);
    if (region == VF_ACCEL_NONE)
        return;
    if (accel->regions[region].taking != NULL && accel->regions[region].taking->lender == request)
        accel->regions[region].taking->lender = NULL;
    vf_accel_exit(accel, request);
    vf_accel_count(accel, request, -1);
    request->state = VF_ACCEL_OUTSIDE;
    settle_region(accel, region, now);
}

guint vf_accel_release(VfAccel *accel, VfAccelRequest *request, gint64 now, VfAccelDecision *out)
{
    g_assert(request->state != VF_ACCEL_TAKING);
    withdraw(accel, request, now);
    vf_accel_give_function(accel, request);
    vf_accel_drop_record(accel, request);
    return vf_accel_answer(accel, now, out, 0);
}

VfAccelVerdict vf_accel_remap_check(const VfAccel *accel, const VfAccelRequest *request,
                                    guint accelerator)
{
    VfAccelRequest wish = *request;

    if (accelerator >= accel->n_accelerators)
        return VF_ACCEL_UNKNOWN;
    if (accelerator == request->accelerator)
        return VF_ACCEL_SAME;
    if (request->leaving ||
        (request->state != VF_ACCEL_WAITING && request->state != VF_ACCEL_HOLDING))
        return VF_ACCEL_NOT_NOW;
    if (request->shared && (accel->shareable & VF_ACCEL_BIT(accelerator)) == 0)
        return VF_ACCEL_NOT_SHARED;
    wish.accelerator = accelerator;
    if (wish.movable)
        wish.function = VF_ACCEL_NONE;
    return vf_accel_horizon(accel, &wish) == 0 ? VF_ACCEL_NO_IMAGE : VF_ACCEL_OK;
}

guint vf_accel_remap(VfAccel *accel, VfAccelRequest *request, guint accelerator, gint64 now,
                     VfAccelDecision *out)
{
    VfAccelVerdict verdict = vf_accel_remap_check(accel, request, accelerator);

    g_assert(verdict == VF_ACCEL_OK);
    withdraw(accel, request, now);
    if (request->movable)
        vf_accel_give_function(accel, request);
    request->accelerator = accelerator;
    request->since = request->asked = now;
    request->idle = request->preempted = request->saved = FALSE;
    if (!decide(accel, request, now, &out[0])) { // it was in already: no queue is too full for it
        vf_accel_enqueue(accel, request);
        vf_accel_say_wait(request, &out[0]);
    }
    return vf_accel_answer(accel, now, out, 1);
}

guint vf_accel_set_idle(VfAccel *accel, VfAccelRequest *request, gboolean idle, gint64 now,
                        VfAccelDecision *out)
{
    g_assert(request->state == VF_ACCEL_HOLDING);
    request->idle = idle;
    vf_accel_refresh_region(accel, request->region);
    return vf_accel_answer(accel, now, out, 0);
}

guint vf_accel_set_usable(VfAccel *accel, guint region, gboolean usable, gint64 now,
                          VfAccelDecision *out)
{
    g_assert(region < accel->n_regions);
    accel->regions[region].usable = usable;
    vf_accel_refresh_region(accel, region);
    return vf_accel_answer(accel, now, out, 0);
}

// ---- what was

static gboolean fits(const VfAccel *accel, guint region, const VfAccelAsk *ask)
{
    const VfAccelRegion *row = &accel->regions[region];

    if (row->taking != NULL || row->card != ask->card || ask->function == VF_ACCEL_NONE ||
        row->loaded != ask->accelerator)
        return FALSE;
    for (const VfAccelRequest *holder = row->holders; holder != NULL; holder = holder->neighbour)
        if (!holder->shared || !ask->shared || row->n_holders == VF_ACCEL_SHARERS_MAX)
            return FALSE;
    return TRUE;
}

VfAccelVerdict vf_accel_adopt(VfAccel *accel, const VfAccelAsk *ask, guint region, gint64 since,
                              gboolean preempted, VfAccelRequest **request)
{
    VfAccelRequest old = {.device = ""};
    VfAccelVerdict verdict = admit(accel, ask, since, request, &old);

    if (verdict != VF_ACCEL_OK && verdict != VF_ACCEL_IN_USE)
        return verdict;
    if (verdict == VF_ACCEL_OK && region != VF_ACCEL_NONE &&
        (region >= accel->n_regions || !fits(accel, region, ask)))
        verdict = VF_ACCEL_IN_USE;
    if (verdict == VF_ACCEL_OK && region != VF_ACCEL_NONE &&
        (*request)->function == VF_ACCEL_NONE) {
        if (vf_accel_function_free(accel, ask->card, ask->function))
            vf_accel_take_function(accel, *request, ask->card, ask->function);
        else
            verdict = VF_ACCEL_IN_USE;
    }
    if (verdict != VF_ACCEL_OK) {
        undo(accel, *request, &old);
        return verdict;
    }
    (*request)->preempted = (*request)->saved = preempted;
    if (region == VF_ACCEL_NONE) {
        vf_accel_enqueue(accel, *request);
        return VF_ACCEL_OK;
    }
    (*request)->fixed = !ask->movable;
    vf_accel_enter(accel, *request, region);
    vf_accel_count(accel, *request, 1);
    accel->regions[region].since = MAX(accel->regions[region].since, since);
    vf_accel_refresh_region(accel, region);
    return VF_ACCEL_OK;
}
