// SPDX-License-Identifier: GPL-2.0-or-later
//
// An operator's reconf while it is under way: what reconf-api.c, which runs it, shares with
// reconf-check.c, which says what may not be asked, and reconf-events.c, which tells what happens.
// Main thread, but for vf_order_tell_later().

#pragma once

#include "reconf-jobs.h"
#include "replug.h"
#include "server.h"

typedef struct {
    VfDaemon *daemon;
    VfStream *stream;
    GArray *pfs;   // of VfPciAddr, in order
    guint next;    // of them
    int count;     // VFs wanted, VF_UNSET = as configured
    char *pool;    // whose functions get another profile; NULL = those of all pools on the PFs
    char *profile; // its name, NULL = as configured
    char *bitstream;
    gboolean dry_run, allow_detach, failed;
    gboolean entered; // see settle.h
    // the PF at work
    VfPciAddr pf;
    VfReconf *reconf;
    VfReplug *replug; // of guests that cannot pause; NULL = there are none, or not looked yet
    VfReconfTimes times;
    gint cancelled;
    GError *error;
} VfReconfOrder;

// ---- reconf-check.c

// TRUE when a pool has functions on the PF at work.
gboolean vf_order_has_pool(const VfReconfOrder *order, const VfInvPool *pool);

// The pool that was named, or else the first on the PF; NULL: it is gone.
const VfInvPool *vf_order_pool(const VfReconfOrder *order);

// What is known before a plan: pool, PF, number of VFs, program, profile, leases.
gboolean vf_order_check(const VfReconfOrder *order, guint count, GError **error);

// What does not go together is found before anybody is paused; what the card cannot do is not.
gboolean vf_order_check_settings(const VfReconf *reconf, GError **error);

// ---- reconf-events.c: one event of the stream each

void vf_order_tell_plan(VfReconfOrder *order);
void vf_order_tell_step(VfReconfOrder *order, VfReconfStep step, const char *what,
                        const char *owner);
void vf_order_tell_times(VfReconfOrder *order);
// The order's error; it counts as failed.
void vf_order_tell_problem(VfReconfOrder *order);
// The last one.
void vf_order_tell_end(VfReconfOrder *order);

// As vf_order_tell_step(), in any thread: a VfReconfHost's `tell`, whose data is the order.
void vf_order_tell_later(VfReconfStep step, const char *what, const char *owner, gpointer data);
