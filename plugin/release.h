// SPDX-License-Identifier: GPL-2.0-or-later
//
// The end of leases: a lease is RELEASING while its function is reset, then gone (or back to
// RESERVED). Starts that met such a function wait here and decide again.

#pragma once

#include "daemon.h"

// Begins the release of a lease; no-op when it is under way.
void vf_release_begin(VfDaemon *daemon, VfLease *lease);

// Calls back, once, after the next release ended.
typedef void (*VfReleased)(gpointer data);
void vf_release_wait(VfDaemon *daemon, VfReleased callback, gpointer data);
