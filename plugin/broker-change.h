// SPDX-License-Identifier: GPL-2.0-or-later
//
// A change of a region as a job: broker-change.c begins and ends it on the main thread,
// broker-carry.c does it in the lane of its PF. What the lane needs is copied, since the daemon
// goes on meanwhile.

#pragma once

#include "broker-parts.h"

typedef struct {
    char *key, *context;
    guint index;
    gboolean active;       // its function is connected
    gboolean disconnected; // by this change
} VfVictim;

typedef struct {
    VfBroker *broker;
    VfTurns *turns; // of a turn; NULL: a decision is carried out
    char *key;      // who gets the region; NULL: nobody does
    GPtrArray *victims;
    VfAccelAnswer answer;
    VfPciAddr pf;
    guint region, local; // in the table, on the card
    gboolean loads;
    VfImage *image; // NULL, when it loads: it has been removed
    // from begin on
    VfCard *card;
    char *verify; // program that has to agree to the image, NULL = none
    char *context;
    guint index;
    VfReconf *owner, *owners, *actives; // of the taker, of all victims, of those that ran
    gint64 began;
    // out
    VfAccelStep step;
    GError *error;
    gboolean lost; // a victim could not be put back
    gint64 parts[VF_PARTS];
} VfChange;

// Does it, and sets `step` and `error` as accel.h has them; blocks.
void vf_change_run(gpointer change);
