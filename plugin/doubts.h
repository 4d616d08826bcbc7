// SPDX-License-Identifier: GPL-2.0-or-later
//
// Devices of which it is not known whether they are paused as the ledger has it: those of every
// domain that runs when the daemon starts, and of one that it finds running later. Each is in doubt
// until its QEMU was asked, whose word counts: a mark of a pause that is none goes, and a device
// that is paused although nobody wants it so is resumed. What wants it paused is an operator's
// mark, a reconf that has not ended, or its request for an accelerator, which broker.h looks after.
// Main thread.

#pragma once

#include <glib.h>

#include "daemon.h"

VfDoubts *vf_doubts_new(VfDaemon *daemon);
void vf_doubts_free(VfDoubts *doubts);

// Every device of the ledger that runs; asked about as soon as the broker has its table.
void vf_doubts_begin(VfDaemon *daemon);

// A device whose guest runs already, and which had no lease until now.
void vf_doubts_add(VfDaemon *daemon, const VfLease *lease);

// Somebody has paused or resumed it since, and knows.
void vf_doubts_settle(VfDaemon *daemon, const VfLease *lease);

// Asks again about those that are in doubt still: called now and then.
void vf_doubts_recheck(VfDaemon *daemon);

// Elements of a JSON array: what could not be found out or mended, and why.
void vf_doubts_view_problems(GString *out, const VfDaemon *daemon);
