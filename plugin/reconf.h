// SPDX-License-Identifier: GPL-2.0-or-later
//
// One reconfiguration of a PF under the guests that use its functions: pause all, destroy, create,
// ready, resume all; or all as it was before (design.md section 5, facts F-A6). Blocks for seconds,
// so it runs in the PF's lane. It knows a PF, its owners and a journal, and nothing of pools,
// leases or the daemon: the caller has decided whether it should be done and who owns what.
//
// The journal is a file for each PF, replaced as a whole and synced before each step that cannot be
// taken back. Its being there means that the reconf is not over; vf_reconf_recover() ends it,
// whatever was killed when.

#pragma once

#include <glib.h>

#include "pause.h"
#include "pciaddr.h"
#include "settings.h"

typedef enum {
    VF_RECONF_PAUSING,    // nothing was destroyed: back is resuming
    VF_RECONF_DISRUPTIVE, // VFs are being destroyed; only forward, to `to` or `from`
    VF_RECONF_CREATING,   // the card is set up and has none: as many as shall be are the right ones
    VF_RECONF_RESUMING,   // VFs are what they shall be, functions are ready
    VF_RECONF_UNDOING,    // as DISRUPTIVE, on the way back to `from`
} VfReconfPhase;

// Whether there is a QEMU that has the function.
typedef enum {
    VF_PRESENCE_RUNNING,  // unless the guest has ended
    VF_PRESENCE_STARTING, // in a moment: its monitor is waited for
    VF_PRESENCE_NONE,     // not yet: the function is only made ready again
} VfPresence;

// One function that a guest has.
typedef struct {
    char *uuid, *domain, *device; // its lease; the domain's name is for messages
    char *pool;
    char *socket;      // virtfn's own QMP socket of that guest
    guint index;       // of the VF
    VfPciAddr address; // where it is, and must be again: libvirt cannot be told of another place
    gboolean keep_link;
    VfPresence presence;
    VfSettings before, after; // what it gets with the old and with the new configuration
    // How the kernel may reset its function, "flr"; taken away for the time of the pause, which
    // would wait 100 ms for a reset of what is destroyed next (facts F-A3). NULL = left alone.
    char *reset_methods;
    gboolean stays_paused; // somebody had paused it before
    gboolean cannot_pause; // vf_reconf_look() with allow_detach says so
} VfReconfOwner;

// A function and the card's region that it is connected to.
typedef struct {
    guint region, index;
} VfReconfConnection;

typedef struct {
    VfPciAddr pf;
    guint from, to;           // number of VFs
    VfSettings before, after; // of the PF's pool, for vf_profile_prepare_pf()
    // Flashes the card while it has no VFs, as pool `pool` says; all three or none.
    char *pool, *program, *bitstream;
    char *card;            // as its pool names it, NULL = no accelerators
    GArray *connections;   // of VfReconfConnection, NULL = none, see reconf-card.h
    VfResumeSignal signal; // to the guests, at their resume
    VfPausePolicy policy;  // of their pauses; a recovery has the devices' own
    GPtrArray *owners;     // of VfReconfOwner, in order of index
    VfReconfPhase phase;
    char *autoprobe;       // what sriov_drivers_autoprobe was; NULL = not known
    char *note;            // the caller's own, kept in the journal; may be NULL
    gint64 since;          // microseconds since 1970
    gint64 not_before;     // monotonic: no guest is paused before; 0 = at once
    gboolean allow_detach; // of vf_reconf_look()
} VfReconf;

// Steps as they are told and timed.
typedef enum {
    VF_RECONF_STEP_LOOK,   // who owns what, and can it be paused
    VF_RECONF_STEP_PAUSE,  // of all guests, together
    VF_RECONF_STEP_FENCE,  // nobody else has a VF open
    VF_RECONF_STEP_REMOVE, // numvfs 0
    VF_RECONF_STEP_CARD,   // bitstream, resources of the PF
    VF_RECONF_STEP_CREATE, // numvfs N
    VF_RECONF_STEP_READY,  // settings and vfio-pci, function by function
    VF_RECONF_STEP_RESUME, // of all guests, together
    VF_RECONF_STEPS,
} VfReconfStep;

const char *vf_reconf_step_word(VfReconfStep step); // "remove"

// What a reconf needs of its host, and tells it. Borrowed for the call.
typedef struct {
    const char *root, *helper;
    const char *journals; // directory
    guint pause_ms;       // how long the guests may take to pause, all together
    guint resume_ms;
    // At the begin and at the end of each step, and for each owner ("paused", "ready", "resumed")
    // with its name; step by step but for owners in no order. Called in worker threads, one at a
    // time. May be NULL.
    void (*tell)(VfReconfStep step, const char *event, const char *owner, gpointer data);
    gpointer data;
    // The journal of a reconf that is done stays, as one that only has to be recovered: the caller
    // writes down what it means, then calls vf_reconf_forget().
    gboolean keep_done;
    gint *cancelled; // set to 1 by anybody, at any time: stops before the first irreversible step
} VfReconfHost;

typedef enum {
    VF_RECONF_DONE,   // the new configuration; each owner that lives has its function
    VF_RECONF_UNDONE, // the old one, likewise; *error says why
    VF_RECONF_STUCK,  // neither could be reached: guests may be paused, the journal stays
} VfReconfOutcome;

// Microseconds that each step took, 0 = it was not reached; the longest that any owner was without
// its function; and how long a recovery waited for a write that a killed virtfnd had begun.
typedef struct {
    gint64 steps[VF_RECONF_STEPS];
    gint64 outage;
    gint64 write;
} VfReconfTimes;

// error codes: VF_ERROR_BUSY a function is open in somebody else's hands, with his pid;
// VF_ERROR_STATE a guest cannot pause, its device was refused, or an address moved; VF_ERROR_QMP,
// VF_ERROR_SYSFS, VF_ERROR_INTERNAL (the journal). times may be NULL.
VfReconfOutcome vf_reconf_run(VfReconf *reconf, const VfReconfHost *host, VfReconfTimes *times,
                              GError **error);

// Only asks each guest whether it could be paused; changes nothing. Errors as above; with
// allow_detach a guest that cannot pause is none, but its owners are marked.
gboolean vf_reconf_look(VfReconf *reconf, const VfReconfHost *host, GError **error);

// Ends what a killed or stuck reconf left behind: what vf_reconf_load() gave. times may be NULL.
VfReconfOutcome vf_reconf_recover(VfReconf *reconf, const VfReconfHost *host, VfReconfTimes *times,
                                  GError **error);

VfReconf *vf_reconf_new(const VfPciAddr *pf, guint from, guint to);
void vf_reconf_free(VfReconf *reconf);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfReconf, vf_reconf_free)

// Adds an owner with nothing set but these; the rest is the caller's to fill in before the run.
VfReconfOwner *vf_reconf_add(VfReconf *reconf, const char *uuid, const char *device, guint index);

// reconf-journal.c
gboolean vf_reconf_save(const VfReconf *reconf, const char *journals, GError **error);
// The journal of a PF is gone: the reconf is over.
gboolean vf_reconf_forget(const VfReconf *reconf, const char *journals, GError **error);
// NULL without an error when there is none. VF_ERROR_INTERNAL: it cannot be read, or makes no
// sense.
VfReconf *vf_reconf_load(const char *journals, const VfPciAddr *pf, GError **error);
gboolean vf_reconf_has_journal(const char *journals, const VfPciAddr *pf);
// PF addresses (VfPciAddr) with a journal. Caller frees.
GArray *vf_reconf_open(const char *journals);
