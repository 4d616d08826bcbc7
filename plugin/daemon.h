// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon's state, in one place and in one thread: configuration, inventory, allocator, ledger,
// what is known of domains. Flows (lifecycle, domains, init) and views read and change it through
// the functions here, so that memory and ledger never part.
//
// A change of a lease is written to the ledger in the same breath and made durable once per turn
// of the main loop; vf_daemon_after_commit() is how an answer waits for that.

#pragma once

#include <glib.h>

#include "allocator.h"
#include "config.h"
#include "images.h"
#include "inventory.h"
#include "lanes.h"
#include "ledger.h"

// A lease whose function this host or the configuration no longer has: its domain may still run.
typedef struct {
    char uuid[37];
    char *device;
    char *problem;
} VfOrphan;

typedef struct VfVirconn VfVirconn;
typedef struct VfDomains VfDomains;
typedef struct VfSettle VfSettle;
typedef struct VfBroker VfBroker;
typedef struct VfEvents VfEvents;
typedef struct VfDoubts VfDoubts;

typedef struct {
    const char *root;       // "" on a real host
    const char *config_dir; // /etc/virtfn
    const char *run_dir;    // /run/virtfn
    const char *state_dir;  // /var/lib/virtfn
    const char *helper;     // virtfn-numvfs
    const char *uri;        // libvirt, NULL = as configured
    gboolean no_libvirt;    // never connect
} VfDaemonOptions;

typedef struct {
    VfDaemonOptions options;
    char *boot_id;
    char *qmp_dir;
    gint64 since; // microseconds since 1970
    VfConfig *config;
    char *config_error; // why the last load failed: nothing is given out until it is mended
    VfInventory *inventory;
    VfAllocator *allocator;
    VfLedger *ledger;
    char *ledger_note;       // a damaged ledger was replaced
    char *storage_error;     // why the last commit failed
    char *assignments_error; // the same for pointers
    guint64 generation;
    GHashTable *quarantine; // "PF#index" -> reason
    GHashTable *choices;    // see choices.h
    GHashTable *outages;    // PF -> gint64 *, microseconds: of its last reconf
    GHashTable *rests;      // PF -> gint64 *, monotonic: until then its guests deal with the last
    GHashTable *reconfs;    // PF -> gint *, which cancels the one that an operator asked for
    GHashTable *stuck;      // PF -> why its reconf could not be ended
    GPtrArray *nodedevs;    // of VfNodedev, as libvirt last told; may be empty
    GPtrArray *orphans;     // of VfOrphan
    VfLanes *lanes;
    VfDomains *domains;
    VfSettle *settle;
    VfImages *images; // NULL: the store cannot be had, see images_error
    char *images_error;
    VfBroker *broker; // NULL while the daemon is being made or freed
    VfEvents *events;
    VfDoubts *doubts;
    VfVirconn *virconn; // NULL without libvirt
    GQueue commits;     // of waiting answers
    guint commit_source;
    GQueue parked; // of prepares that wait for a release, see release.h
} VfDaemon;

// Loads configuration, inventory and ledger. A broken configuration is not an error: see
// config_error. VF_ERROR_INTERNAL when the ledger cannot be had at all.
VfDaemon *vf_daemon_new(const VfDaemonOptions *options, GError **error);
void vf_daemon_free(VfDaemon *daemon);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfDaemon, vf_daemon_free)

// Reads the configuration again (SIGHUP) and the inventory with it. The old one stays when the new
// one is broken.
void vf_daemon_reload(VfDaemon *daemon);

// Reads the inventory again; slot numbers may change when it returns TRUE.
gboolean vf_daemon_refresh(VfDaemon *daemon);

VfInvPool *vf_daemon_pool(const VfDaemon *daemon, guint number);
const VfSlot *vf_daemon_slot(const VfDaemon *daemon, guint pool, guint slot);
const VfPciAddr *vf_daemon_lease_pf(const VfDaemon *daemon, const VfLease *lease);

// What the functions of a pool on one of its PFs get before the claim's own settings: the profile
// that was chosen, or that of the configuration.
const VfSettings *vf_daemon_profile(const VfDaemon *daemon, guint pool, const VfPciAddr *pf);

// Gives a lease what its domain asks for (NULL = nothing), and the settings that its function gets
// by that and by its profile as it is now.
void vf_daemon_set_claim(const VfDaemon *daemon, VfLease *lease, const VfSettings *claim);

// FALSE when its function has other settings than a start would give it: they were changed since.
gboolean vf_daemon_is_current(const VfDaemon *daemon, const VfLease *lease);

// Stamps a lease with a new generation and the time, and writes it to the ledger. On failure this
// turn's commit will fail too, and make the table what the ledger has.
gboolean vf_daemon_keep(VfDaemon *daemon, VfLease *lease, VfLeaseState state, GError **error);

// Writes a lease to the ledger as it is: its state did not change.
gboolean vf_daemon_store(VfDaemon *daemon, const VfLease *lease, GError **error);

// Ends a lease in table and ledger.
void vf_daemon_drop(VfDaemon *daemon, VfLease *lease);

// Ends the orphaned leases of a domain, or one of them with `device`. Their functions are not
// virtfn's any more, so nothing is done to them.
void vf_daemon_drop_orphans(VfDaemon *daemon, const char *uuid, const char *device);

// Pointers, in table and ledger.
guint vf_daemon_point(VfDaemon *daemon, guint pool, const char *uuid, const char *device,
                      const guint *avoid, guint n_avoid);
void vf_daemon_unpoint(VfDaemon *daemon, const char *uuid, const char *device);

// Calls back when every change made so far is durable, error NULL, or was undone, error set.
typedef void (*VfCommitted)(const GError *error, gpointer data);
void vf_daemon_after_commit(VfDaemon *daemon, VfCommitted callback, gpointer data);

// Something was written to the ledger: it is made durable with the rest of this turn.
void vf_daemon_changed(VfDaemon *daemon);

// Makes all changes durable at once. FALSE: they were undone, storage_error says why.
gboolean vf_daemon_flush(VfDaemon *daemon);

// Sets a function aside / puts it back. reason NULL = back.
void vf_daemon_quarantine(VfDaemon *daemon, guint pool, guint slot, const char *reason);
const char *vf_daemon_quarantined(const VfDaemon *daemon, guint pool, guint slot);

// "VM 'g1' (net0)" style list of who holds the functions of a pool, at most a few. Caller frees.
char *vf_daemon_holders(const VfDaemon *daemon, guint pool);
