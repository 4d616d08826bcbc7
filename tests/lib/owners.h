// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who has functions in tests of a reconf: two guests that take turns, function by function, so that
// the functions of one guest are never neighbours. The card is fakehost's igb at 0000:01:00.0, the
// device of function N is "netN". Boots nobody: QEMUs are in qmp-peer.h and crew.h.

#pragma once

#include "reconf.h"

#define OWNERS_GUESTS 2

// Which guest has the function.
guint owners_guest(guint index);

// Its device in QEMU. Caller frees.
char *owners_id(guint index);

// Adds the owners of functions 0 to `count` - 1; sockets: of the guests' monitors.
void owners_add(VfReconf *reconf, guint count, char *const *sockets);
