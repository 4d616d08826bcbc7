// SPDX-License-Identifier: GPL-2.0-or-later
//
// Weighted time slices on one shared region: whose turn is next and for how long, and how fair it
// was. Pure: no clock, no I/O, no allocation; times are microseconds. The caller runs the turn
// (restore, connect, resume; then pause, save) and says with vf_slices_ran() how long it really
// was.
//
// Each sharer has a virtual time, which grows by what it ran divided by its weight; the least goes
// next. Who joins, or has work again, begins at the least of those who had work meanwhile: absence
// earns nothing. So of two sharers that both have work, neither gets ahead by more than two turns.

#pragma once

#include <glib.h>

#define VF_SLICES_MAX 8
#define VF_SLICES_WEIGHT_MAX 10000
#define VF_SLICES_NONE G_MAXUINT

typedef struct {
    gboolean used;
    gboolean ready; // has work
    guint weight;
    gint64 virtual_time;
    gint64 ran;      // in all
    gint64 entitled; // its weight's share of what all ran while it was ready
    guint64 turns;
} VfSharer;

typedef struct {
    gint64 period;    // in which everybody that is ready should have a turn
    gint64 minimum;   // slice; the period stretches for it
    gint64 switching; // in all
    guint64 switches;
    VfSharer sharers[VF_SLICES_MAX];
} VfSlices;

// period and minimum above 0.
void vf_slices_init(VfSlices *slices, gint64 period, gint64 minimum);

// Its number, VF_SLICES_NONE when the region is full. weight 1 to VF_SLICES_WEIGHT_MAX. It is
// ready.
guint vf_slices_join(VfSlices *slices, guint weight);
void vf_slices_leave(VfSlices *slices, guint sharer);
void vf_slices_set_weight(VfSlices *slices, guint sharer, guint weight);
// A sharer without work gets no turns.
void vf_slices_set_ready(VfSlices *slices, guint sharer, gboolean ready);

// Whose turn is next, VF_SLICES_NONE when nobody is ready. *length is G_MAXINT64 when nobody else
// is: until somebody gets ready.
guint vf_slices_next(const VfSlices *slices, gint64 *length);

// A turn of `took` ended, the switch before it cost `switching` more, which nobody is charged for.
void vf_slices_ran(VfSlices *slices, guint sharer, gint64 took, gint64 switching);

// What it got of what its weight entitled it to, 1 = exactly that; 1 for one that was never ready.
double vf_slices_share(const VfSlices *slices, guint sharer);
// Jain's index of the shares: 1 = all alike, 1/n = one has everything. Of those present.
double vf_slices_fairness(const VfSlices *slices);
// Part of the time that went into switching, 0 to 1.
double vf_slices_overhead(const VfSlices *slices);
