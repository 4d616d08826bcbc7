// SPDX-License-Identifier: GPL-2.0-or-later
//
// The place for a request: which of the five answers, which region, which function, which victims.
// The order of places is the one accel.h gives. Reads the table; only vf_accel_grant() changes it.

#include "accel-table.h"

// Regions of the card that the request is bound to, by its function or by its wish.
static VfAccelSet home_of(const VfAccel *accel, const VfAccelRequest *request)
{
    gboolean bound = request->fixed || request->function != VF_ACCEL_NONE;

    return bound ? accel->on_card[request->card] : ~(VfAccelSet)0;
}

VfAccelSet vf_accel_horizon(const VfAccel *accel, const VfAccelRequest *request)
{
    return (accel->reach[request->accelerator] | accel->loaded[request->accelerator]) &
           home_of(accel, request);
}

gboolean vf_accel_over_quota(const VfAccel *accel, const VfAccelRequest *request)
{
    const VfAccelGroup *limits = &accel->groups[request->group].limits;

    return accel->groups[request->group].held >= limits->held ||
           request->domain->held >= limits->held_per_domain;
}

static gboolean is_free_longer(const VfAccelRegion *a, const VfAccelRegion *b)
{
    return a->since < b->since;
}

static gboolean is_held_shorter(const VfAccelRegion *a, const VfAccelRegion *b)
{
    return a->since > b->since;
}

static gboolean has_fewer_sharers(const VfAccelRegion *a, const VfAccelRegion *b)
{
    return a->n_holders < b->n_holders;
}

// The first region of a set, not empty, that none of the others is better than.
static inline guint pick(const VfAccel *accel, VfAccelSet set,
                         gboolean (*is_better)(const VfAccelRegion *a, const VfAccelRegion *b))
{
    guint best = (guint)__builtin_ctzll(set);

    while ((set &= set - 1) != 0) {
        guint r = (guint)__builtin_ctzll(set);

        if (is_better(&accel->regions[r], &accel->regions[best]))
            best = r;
    }
    return best;
}

// Of free regions: where it was before, else a blank one, else the one that is free the longest.
static guint pick_free(const VfAccel *accel, const VfAccelRequest *request, VfAccelSet set)
{
    if (request->last_region != VF_ACCEL_NONE && (set & VF_ACCEL_BIT(request->last_region)) != 0)
        return request->last_region;
    if ((set & accel->blank) != 0)
        set &= accel->blank;
    return pick(accel, set, is_free_longer);
}

// The weakest grip that a level overcomes: a holder of priority p resists levels up to p.
static VfAccelSet weakest(const VfAccel *accel, VfAccelSet set, guint level)
{
    for (guint grip = 0; grip < VF_ACCEL_GRIPS && grip <= level; grip++)
        if ((accel->grip[grip] & set) != 0)
            return accel->grip[grip] & set;
    return 0;
}

gboolean vf_accel_hopeless(const VfAccel *accel, guint accelerator, guint level)
{
    VfAccelSet reach =
        (accel->reach[accelerator] & ~accel->failed[accelerator]) | accel->loaded[accelerator];
    VfAccelSet prey = 0;

    for (guint grip = 0; grip < VF_ACCEL_GRIPS && grip <= level; grip++)
        prey |= accel->grip[grip];
    return (reach & ~accel->avoided & (accel->free | accel->joinable | (prey & ~accel->guarded))) ==
           0;
}

VfAccelPlace vf_accel_choose(const VfAccel *accel, const VfAccelRequest *request, guint level)
{
    guint a = request->accelerator;
    VfAccelSet at = home_of(accel, request) & ~accel->avoided;
    VfAccelSet have = at & accel->loaded[a];
    VfAccelSet can = at & accel->reach[a] & ~accel->failed[a] & ~accel->loaded[a];
    VfAccelSet function =
        request->function != VF_ACCEL_NONE ? ~(VfAccelSet)0 : accel->with_function;
    VfAccelSet open = accel->free & function;

    if ((open & have) != 0)
        return (VfAccelPlace){VF_ACCEL_ASSIGN, pick_free(accel, request, open & have)};
    if ((open & can) != 0)
        return (VfAccelPlace){VF_ACCEL_ASSIGN_LOAD, pick_free(accel, request, open & can)};
    if (request->shared && (accel->joinable & have & function) != 0)
        return (VfAccelPlace){VF_ACCEL_ASSIGN,
                              pick(accel, accel->joinable & have & function, has_fewer_sharers)};
    // A victim that can do with another function lends its own.
    if (request->function == VF_ACCEL_NONE)
        function |= accel->lendable;
    VfAccelSet prey = weakest(accel, (have | can) & function & ~accel->guarded, level);
    // Who holds for the shortest time loses the least.
    if ((prey & have) != 0)
        return (VfAccelPlace){VF_ACCEL_PREEMPT, pick(accel, prey & have, is_held_shorter)};
    if (prey != 0)
        return (VfAccelPlace){VF_ACCEL_PREEMPT_LOAD, pick(accel, prey, is_held_shorter)};
    return (VfAccelPlace){VF_ACCEL_WAIT, VF_ACCEL_NONE};
}

// A free function of the card, the one it had before if that is one, else a victim's.
static void find_function(VfAccel *accel, VfAccelRequest *request, const VfAccelRegion *row)
{
    VfAccelRequest *lender = row->holders;

    if (accel->cards[row->card].n_free > 0) {
        vf_accel_take_function(accel, request, row->card,
                               request->last_card == row->card ? request->last_function
                                                               : VF_ACCEL_NONE);
        return;
    }
    while (!lender->movable)
        lender = lender->neighbour;
    request->lender = lender;
    request->card = row->card;
    request->function = lender->function;
    lender->last_card = row->card;
    lender->last_function = lender->function;
    lender->function = VF_ACCEL_NONE;
}

void vf_accel_grant(VfAccel *accel, VfAccelRequest *request, const VfAccelPlace *place, guint level,
                    VfAccelDecision *decision)
{
    VfAccelRegion *row = &accel->regions[place->region];
    gboolean preempts = place->answer == VF_ACCEL_PREEMPT || place->answer == VF_ACCEL_PREEMPT_LOAD;

    request->loads =
        place->answer == VF_ACCEL_ASSIGN_LOAD || place->answer == VF_ACCEL_PREEMPT_LOAD;
    request->lender = NULL;
    request->takes = request->function == VF_ACCEL_NONE;
    if (request->takes)
        find_function(accel, request, row);
    decision->n_victims = 0;
    for (VfAccelRequest *holder = row->holders; preempts && holder != NULL;
         holder = holder->neighbour) {
        holder->state = VF_ACCEL_YIELDING;
        decision->victims[decision->n_victims++] = holder;
    }
    row->before = row->loaded;
    if (request->loads)
        vf_accel_put_loaded(accel, place->region, VF_ACCEL_NONE);
    row->taking = request;
    request->state = VF_ACCEL_TAKING;
    request->region = place->region;
    request->lifted = level > request->priority;
    vf_accel_count(accel, request, 1);
    vf_accel_refresh_region(accel, place->region);
    decision->answer = place->answer;
    decision->request = request;
    decision->card = row->card;
    decision->region = place->region;
    decision->function = request->function;
    decision->image =
        request->loads ? accel->images[request->accelerator][row->kind] : VF_ACCEL_NONE;
    decision->restore = request->saved;
}

void vf_accel_say_wait(VfAccelRequest *request, VfAccelDecision *decision)
{
    decision->answer = VF_ACCEL_WAIT;
    decision->request = request;
    decision->card = decision->region = decision->function = decision->image = VF_ACCEL_NONE;
    decision->restore = FALSE;
    decision->n_victims = 0;
}
