// SPDX-License-Identifier: GPL-2.0-or-later
//
// The profile that an operator chose for a pool on one of its PFs (`virtfn reconf --profile`), over
// what the pool's file says. It counts for each start from then on and outlives the daemon, not the
// boot. A pool whose `profile` key is changed, or a profile that is removed, ends it: the file is
// the younger word.

#pragma once

#include <glib.h>

#include "daemon.h"

// Name of the chosen profile, NULL: as configured.
const char *vf_choice_find(const VfDaemon *daemon, const char *pool, const VfPciAddr *pf);

// Name of the profile that counts, chosen or configured; NULL = none.
const char *vf_choice_name(const VfDaemon *daemon, guint pool, const VfPciAddr *pf);

// Chooses, in table and ledger. profile NULL, or the configured one: as configured.
void vf_choice_set(VfDaemon *daemon, guint pool, const VfPciAddr *pf, const char *profile);

// Fills the table from the ledger with the choices that hold.
void vf_choices_restore(VfDaemon *daemon);

// Ends, in the ledger too, those that the configuration as it was loaded last contradicts.
void vf_choices_settle(VfDaemon *daemon);
