// SPDX-License-Identifier: GPL-2.0-or-later
//
// The table behind accel.h, for the files that make it up: accel-table.c and accel-records.c keep
// it, accel-choose.c finds places, accel-queue.c keeps order among waiters, accel.c changes it by
// their rules.
//
// Sets of regions are words of 64 bits, so that a decision is a few ands. Invariant: after each
// vf_accel_refresh_region() `free`, `joinable`, `lendable` and `grip` say of that region what its
// holders, its change and its usability do.

#pragma once

#include "accel.h"

typedef guint64 VfAccelSet; // of regions

#define VF_ACCEL_GRIPS (VF_ACCEL_PRIORITY_MAX + 2) // 0: idle; priority + 1
#define VF_ACCEL_QUEUES (2 * (VF_ACCEL_PRIORITY_MAX + 1))
#define VF_ACCEL_BIT(i) ((guint64)1 << (i))

typedef struct {
    guint n, n_free, from; // `from`: where the search for a free one goes on
    guint64 *free;         // bitmap: usable and nobody's
    guint64 *usable;
    guint64 *owned; // some request has it
} VfAccelCard;

typedef struct {
    VfAccelRequest *first, *last;
    guint length;
} VfAccelQueue;

struct VfAccel {
    VfAccelPolicy policy;
    guint n_accelerators, n_groups, n_cards, n_regions;
    VfAccelCard cards[VF_ACCEL_CARDS_MAX];
    VfAccelRegion regions[VF_ACCEL_REGIONS_MAX];
    struct {
        VfAccelGroup limits;
        guint held, waiting;
    } groups[VF_ACCEL_GROUPS_MAX];
    guint images[VF_ACCEL_ACCELERATORS_MAX][VF_ACCEL_KINDS_MAX];
    guint64 shareable; // accelerators

    VfAccelSet loaded[VF_ACCEL_ACCELERATORS_MAX];
    VfAccelSet reach[VF_ACCEL_ACCELERATORS_MAX]; // of a kind that it has an image for
    VfAccelSet failed[VF_ACCEL_ACCELERATORS_MAX];
    VfAccelSet of_kind[VF_ACCEL_KINDS_MAX];
    VfAccelSet on_card[VF_ACCEL_CARDS_MAX];
    VfAccelSet blank, free, joinable, lendable;
    VfAccelSet grip[VF_ACCEL_GRIPS];      // can be preempted by whom it does not resist
    VfAccelSet with_function;             // card has a free function
    VfAccelSet guarded, avoided, failing; // until a time that vf_accel_expire() looks at

    // By accelerator: queue 2 * priority of those that were preempted, + 1 of the others; a bit in
    // `queued` for each that is not empty.
    VfAccelQueue queues[VF_ACCEL_ACCELERATORS_MAX][VF_ACCEL_QUEUES];
    guint32 queued[VF_ACCEL_ACCELERATORS_MAX];
    guint waiting[VF_ACCEL_ACCELERATORS_MAX], n_waiting, n_fresh;
    guint64 tickets;

    // Records: those never used are behind `n_used`, given back ones in a list.
    VfAccelRequest *requests, *spare;
    VfAccelDomain *domains, *spare_domain;
    guint n_requests_max, n_used, n_domains_used;
    guint32 *buckets; // domain number + 1, 0 = empty; linear probing
    guint buckets_mask;
};

// ---- accel-records.c

// NULL when it is not there / when the table is full.
VfAccelDomain *vf_accel_find_domain(const VfAccel *accel, const char *uuid);
VfAccelRequest *vf_accel_new_record(VfAccel *accel, const char *uuid, const char *device);
void vf_accel_drop_record(VfAccel *accel, VfAccelRequest *request);

// ---- accel-table.c

void vf_accel_put_loaded(VfAccel *accel, guint region, guint accelerator);
void vf_accel_refresh_region(VfAccel *accel, guint region);
void vf_accel_enter(VfAccel *accel, VfAccelRequest *request, guint region); // as a holder
void vf_accel_exit(VfAccel *accel, VfAccelRequest *request);

// Takes a function of the card: `wanted` if that is free, else the next free one; there is one.
void vf_accel_take_function(VfAccel *accel, VfAccelRequest *request, guint card, guint wanted);
void vf_accel_give_function(VfAccel *accel, VfAccelRequest *request);
gboolean vf_accel_function_free(const VfAccel *accel, guint card, guint function);
// Counts what it holds, +1 or -1.
void vf_accel_count(VfAccel *accel, VfAccelRequest *request, int by);

// Ends the guards and backoffs whose time has come.
void vf_accel_expire(VfAccel *accel, gint64 now);

// ---- accel-choose.c

// Regions that could ever serve it.
VfAccelSet vf_accel_horizon(const VfAccel *accel, const VfAccelRequest *request);
gboolean vf_accel_over_quota(const VfAccel *accel, const VfAccelRequest *request);

typedef struct {
    VfAccelAnswer answer;
    guint region;
} VfAccelPlace;

// The place for a request at this level, quotas aside. Needs vf_accel_expire() before it.
VfAccelPlace vf_accel_choose(const VfAccel *accel, const VfAccelRequest *request, guint level);
// TRUE when no request for the accelerator has a place at this level or a lower one: a quick look
// that need not walk a long queue.
gboolean vf_accel_hopeless(const VfAccel *accel, guint accelerator, guint level);
// Makes it so, and says what has to be done.
void vf_accel_grant(VfAccel *accel, VfAccelRequest *request, const VfAccelPlace *place, guint level,
                    VfAccelDecision *decision);
void vf_accel_say_wait(VfAccelRequest *request, VfAccelDecision *decision);

// ---- accel-queue.c

guint vf_accel_level(const VfAccel *accel, const VfAccelRequest *request, gint64 now);
void vf_accel_enqueue(VfAccel *accel, VfAccelRequest *request);
void vf_accel_dequeue(VfAccel *accel, VfAccelRequest *request);
// Answers all waiters that can be; `n` decisions are in `out` already. Returns their number.
guint vf_accel_answer(VfAccel *accel, gint64 now, VfAccelDecision *out, guint n);
