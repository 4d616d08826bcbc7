// SPDX-License-Identifier: GPL-2.0-or-later
//
// Turns on shared regions: slices.h says whose turn is next and for how long, a switch
// (broker-change.c) gives it to them. A region that one holds alone has no turns, and one that is
// being taken from its sharers has none any more.

#include "broker-parts.h"

static void stop(VfTurns *turns)
{
    g_clear_handle_id(&turns->timer, g_source_remove);
}

// Its sharers, and whether all that is under way there are turns.
static guint count_sharers(const VfBroker *broker, guint region, gboolean *quiet)
{
    const VfAccelRegion *row = vf_accel_region(broker->accel, region);
    guint n = 0;

    *quiet = row->taking == NULL;
    for (const VfAccelRequest *holder = row->holders; holder != NULL; holder = holder->neighbour) {
        *quiet = *quiet && holder->state == VF_ACCEL_HOLDING;
        n++;
    }
    return n;
}

static VfAttachment *sharer_row(const VfBroker *broker, guint region, guint sharer)
{
    const VfAccelRegion *row = vf_accel_region(broker->accel, region);

    for (const VfAccelRequest *holder = row->holders; holder != NULL; holder = holder->neighbour) {
        VfAttachment *attachment = vf_broker_row_of(broker, holder);

        if (attachment->sharer == sharer)
            return attachment;
    }
    return NULL;
}

static VfAttachment *active_row(const VfBroker *broker, guint region)
{
    const VfAccelRegion *row = vf_accel_region(broker->accel, region);

    for (const VfAccelRequest *holder = row->holders; holder != NULL; holder = holder->neighbour) {
        VfAttachment *attachment = vf_broker_row_of(broker, holder);

        if (attachment->active)
            return attachment;
    }
    return NULL;
}

// Who came gets a number, who went loses it.
static void sync_sharers(VfBroker *broker, VfTurns *turns)
{
    const VfAccelRegion *row = vf_accel_region(broker->accel, turns->region);
    guint64 there = 0;

    for (const VfAccelRequest *holder = row->holders; holder != NULL; holder = holder->neighbour) {
        VfAttachment *attachment = vf_broker_row_of(broker, holder);

        if (attachment->sharer == VF_SLICES_NONE || attachment->sharing_region != turns->region) {
            attachment->sharer = vf_slices_join(&turns->slices, attachment->ask.weight);
            attachment->sharing_region = turns->region;
        }
        there |= (guint64)1 << attachment->sharer;
    }
    for (guint i = 0; i < VF_SLICES_MAX; i++)
        if (turns->slices.sharers[i].used && (there & ((guint64)1 << i)) == 0) {
            vf_slices_leave(&turns->slices, i);
            if (turns->turn == i)
                turns->turn = VF_SLICES_NONE;
        }
}

static gboolean turn_over(gpointer data);

static void arm(VfTurns *turns, gint64 length)
{
    stop(turns);
    if (length < G_MAXINT64)
        turns->timer = g_timeout_add((guint)CLAMP(length / 1000, 1, G_MAXINT), turn_over, turns);
}

// The turn that runs is written down, and the next one begins.
static void next_turn(VfBroker *broker, VfTurns *turns)
{
    VfAttachment *from = active_row(broker, turns->region), *to;
    gint64 now = vf_broker_now(), length;
    guint next;

    if (from != NULL && turns->turn != VF_SLICES_NONE && turns->turn == from->sharer)
        vf_slices_ran(&turns->slices, turns->turn, now - turns->began, turns->switching);
    turns->switching = 0;
    turns->began = now;
    next = vf_slices_next(&turns->slices, &length);
    to = next != VF_SLICES_NONE ? sharer_row(broker, turns->region, next) : NULL;
    turns->turn = next;
    if (to == NULL || to == from) {
        arm(turns, length);
        return;
    }
    turns->length = length;
    turns->switching_now = TRUE;
    vf_broker_switch(broker, turns, from, to);
}

static gboolean turn_over(gpointer data)
{
    VfTurns *turns = data;
    gboolean quiet;

    turns->timer = 0;
    if (!turns->switching_now && vf_broker_ready(turns->broker) &&
        count_sharers(turns->broker, turns->region, &quiet) > 1 && quiet)
        next_turn(turns->broker, turns);
    return G_SOURCE_REMOVE;
}

void vf_broker_turn_ended(VfBroker *broker, VfTurns *turns, gint64 switching, gboolean ok)
{
    turns->switching_now = FALSE;
    turns->switching = switching;
    turns->began = vf_broker_now();
    // After a failure whoever is next in any case, but not at once.
    arm(turns, ok ? turns->length : turns->slices.period);
    if (!ok)
        turns->turn = VF_SLICES_NONE;
}

static void look(VfBroker *broker, guint region)
{
    VfTurns *turns = &broker->turns[region];
    gboolean quiet;
    guint n = count_sharers(broker, region, &quiet);
    const VfAccelConfig *config = &broker->daemon->config->accel;

    if (n < 2) {
        stop(turns);
        turns->used = FALSE;
        // Who is left has the region for itself.
        if (n == 1 && quiet) {
            VfAttachment *row =
                vf_broker_row_of(broker, vf_accel_region(broker->accel, region)->holders);

            row->sharer = VF_SLICES_NONE;
            if (!row->active && !row->settling)
                vf_broker_settle(broker, row);
        }
        return;
    }
    if (!turns->used) {
        *turns = (VfTurns){.broker = broker,
                           .region = region,
                           .used = TRUE,
                           .turn = VF_SLICES_NONE,
                           .switching_now = turns->switching_now};
        vf_slices_init(&turns->slices, config->slice_period, config->slice_minimum);
        for (const VfAccelRequest *holder = vf_accel_region(broker->accel, region)->holders;
             holder != NULL; holder = holder->neighbour)
            vf_broker_row_of(broker, holder)->sharer = VF_SLICES_NONE;
    }
    sync_sharers(broker, turns);
    if (quiet && !turns->switching_now && turns->timer == 0)
        next_turn(broker, turns);
}

void vf_broker_turns(VfBroker *broker, guint region)
{
    if (!vf_broker_ready(broker) || broker->quiet)
        return;
    for (guint r = 0; r < vf_accel_regions(broker->accel); r++)
        if (r == region || region == VF_ACCEL_NONE)
            look(broker, r);
}

void vf_broker_turns_clear(VfBroker *broker)
{
    for (guint r = 0; r < VF_ACCEL_REGIONS_MAX; r++) {
        stop(&broker->turns[r]);
        broker->turns[r].used = FALSE;
    }
}
