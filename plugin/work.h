// SPDX-License-Identifier: GPL-2.0-or-later
//
// Provisioning in a PF's lane: from a lease to a job, and its result back on the main thread.

#pragma once

#include <glib.h>

#include "card.h"
#include "daemon.h"
#include "provision.h"
#include "reconf.h"

typedef struct VfWork VfWork;
typedef void (*VfWorkDone)(VfWork *work, const GError *error, gpointer data);

struct VfWork {
    VfDaemon *daemon;
    VfProvision *provision;
    gboolean has_expected;
    VfPciAddr expected; // address that the domain's XML names
    VfReconf *reconf;   // how the PF gets more VFs under its owners, NULL = it may not, or need not
    gboolean at_door;   // it waits until a libvirt daemon has started (settle.h)
    gboolean waited;    // it has
    gint64 outage;      // of that reconf, 0 = it was not done
    VfCard *card;       // of the PF, NULL = it has none
    gboolean held;      // out: the function is open in somebody's hands
    gboolean (*run)(VfProvision *, GError **);
    VfWorkDone done;
    gpointer data;
    GError *error;
};

// Readies the lease's function. expected may be NULL. The lease's settings are copied.
void vf_work_prepare(VfDaemon *daemon, const VfLease *lease, const VfPciAddr *expected,
                     VfWorkDone done, gpointer data);

// Resets it for the next owner.
void vf_work_release(VfDaemon *daemon, const VfLease *lease, VfWorkDone done, gpointer data);

// Readies a function that nobody has, with its pool's settings (`virtfn init`, and to see whether
// it is free again).
void vf_work_ready_slot(VfDaemon *daemon, guint pool, guint slot, VfWorkDone done, gpointer data);
