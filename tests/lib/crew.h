// SPDX-License-Identifier: GPL-2.0-or-later
//
// Guests' QEMUs (tests/lib/qmp-peer.h) and strangers, in a process of their own: whoever tests what
// a killed program leaves behind forks it from a process without threads, and QEMU outlives it.
// Order of use: fake_host(), crew_new(), then guests by number.

#pragma once

#include <glib.h>

#include "pciaddr.h"

#define CREW_GUESTS 8

typedef struct Crew Crew;

// Forks. A pause or a resume takes QEMU that long.
Crew *crew_new(guint microseconds);
void crew_free(Crew *crew);

// Guest `guest` has a monitor at `socket` and no devices.
void crew_boot(Crew *crew, guint guest, const char *socket);
void crew_off(Crew *crew, guint guest);

// It opens the VFIO group of a function, for a device. FALSE: somebody else has it, or there is
// none.
gboolean crew_add(Crew *crew, guint guest, const char *id, const char *root, const VfPciAddr *vf);

// "running", ... Caller frees.
char *crew_state(Crew *crew, guint guest, const char *id);
// Descriptors that have a name in its QEMU and were not taken.
guint crew_named(Crew *crew, guint guest);

// A stranger opens the function's group; crew_drop() makes all strangers go. FALSE as crew_add().
gboolean crew_hold(Crew *crew, const char *root, const VfPciAddr *vf);
void crew_drop(Crew *crew);
