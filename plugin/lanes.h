// SPDX-License-Identifier: GPL-2.0-or-later
//
// Slow work off the main loop, one lane per PF: jobs of a PF run one after the other in a worker
// thread, jobs of different PFs at the same time. State stays with the main thread: a job copies
// what it needs, and hands its result back in `done`.

#pragma once

#include <glib.h>

#include "pciaddr.h"

typedef struct VfLanes VfLanes;

VfLanes *vf_lanes_new(void);
// Waits for the jobs that run; those still queued are dropped without their `done`.
void vf_lanes_free(VfLanes *lanes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfLanes, vf_lanes_free)

typedef struct {
    void (*begin)(gpointer data); // main thread, right before run: last look at the state; or NULL
    void (*run)(gpointer data);   // worker thread
    void (*done)(gpointer data);  // main thread
    gpointer data;
} VfLaneJob;

void vf_lanes_submit(VfLanes *lanes, const VfPciAddr *pf, const VfLaneJob *job);

// Number of jobs queued or running.
guint vf_lanes_busy(const VfLanes *lanes);
