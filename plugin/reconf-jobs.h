// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reconfs as the daemon's: from leases to a plan, and journals that a killed or stuck one left.
// Main thread, but for vf_reconf_do().

#pragma once

#include <glib.h>

#include "daemon.h"
#include "reconf.h"

// The pool whose profile and bitstream-program count for a PF: the first that has it, NULL = none.
const VfPoolConfig *vf_reconf_pool(const VfDaemon *daemon, const VfPciAddr *address);

// What guests are told when a function of this PF, which may be in no pool any more, was reset: as
// its pool says, else what stock drivers of its class recover from (man/virtfn-qemu.7, SIGNALS).
VfResumeSignal vf_reconf_signal(const VfDaemon *daemon, const VfPciAddr *address);

// What a PF's change to `count` VFs means for the leases as they are now. `starting`: UUID of the
// domain whose start wants it, whose own functions are readied after it; NULL = none.
VfReconf *vf_reconf_plan(const VfDaemon *daemon, const VfPciAddr *pf, guint count,
                         const char *starting);

// Adds a lease's function as it is now, with the same settings before and after.
void vf_reconf_add_lease(const VfDaemon *daemon, VfReconf *reconf, const VfLease *lease);
// The same, and its functions get `profile` of the configuration, NULL = the configured one, under
// what their guests ask for: those of `pool`, or all with NULL. It is in the plan's note.
void vf_reconf_plan_profile(const VfDaemon *daemon, VfReconf *reconf, const VfInvPool *pool,
                            const char *profile);

// FALSE when the PF has what the plan says.
gboolean vf_reconf_is_needed(const VfReconf *reconf);

// The end of a plan that was done with keep_done: what it gave to whom is written down, durably,
// and its journal goes. VF_ERROR_INTERNAL: it could not be, and the journal stays, to be recovered.
gboolean vf_reconf_end(VfDaemon *daemon, const VfReconf *reconf, GError **error);

// Microseconds that a reconf of the PF took its functions away for the last time, 0 = not known.
// Survives the daemon, not the boot.
gint64 vf_reconf_last_outage(const VfDaemon *daemon, const VfPciAddr *pf);
void vf_reconf_note_outage(VfDaemon *daemon, const VfPciAddr *pf, gint64 outage);
// Guests got functions back, so the next reconf of the PF leaves them some time.
void vf_reconf_note_resume(VfDaemon *daemon, const VfPciAddr *pf, gint64 outage);
void vf_reconf_restore_outages(VfDaemon *daemon); // from the ledger

// Within the ten seconds that a hook waits, numvfs included.
#define VF_RECONF_PAUSE_MS 4000
#define VF_RECONF_RESUME_MS 8000

// What a reconf needs of this daemon, but for who is told; `journals` is the caller's to free.
VfReconfHost vf_reconf_host(const VfDaemonOptions *options, char **journals);

// Runs a plan and logs how it ended; worker thread, in the PF's lane. Errors as vf_reconf_run(); a
// reconf that was undone is one.
gboolean vf_reconf_do(VfReconf *reconf, const VfReconfHost *host, VfReconfTimes *times,
                      GError **error);

// VF_ERROR_STATE when the last reconf of this PF has not ended: its functions are not to be
// touched. Any thread.
gboolean vf_reconf_is_over(const char *run_dir, const VfPciAddr *pf, GError **error);

// Ends every reconf that is open and that no lane works on: at start, before anything else, and now
// and then for those that got stuck.
void vf_reconf_recover_all(VfDaemon *daemon);
