// SPDX-License-Identifier: GPL-2.0-or-later
//
// What survives the daemon. Two SQLite files:
//   RUN_DIR/ledger.db          leases; their truth dies with the boot, so the file carries the boot
//                              id and is emptied when it is another one
//   STATE_DIR/assignments.db   pointers: which function an inactive domain's XML names
// Functions are written as PF address + index, never as a VF's address or a slot number.
//
// Writes open a transaction; vf_ledger_commit() ends it. So the daemon commits once per turn of
// its loop for all requests of that turn (group commit) and answers them after. WAL with
// synchronous=NORMAL: a committed lease survives kill -9 of the daemon; after a power cut no guest
// is left to own it. Main thread only.

#pragma once

#include <glib.h>

#include "allocator.h"
#include "pciaddr.h"

typedef struct VfLedger VfLedger;

// Creates the files as needed, and locks them: a second daemon gets VF_ERROR_INTERNAL. A damaged
// file is moved aside to NAME.damaged-N and a new one begun; assignments that cannot be stored are
// kept in memory; *note then says so (caller frees; NULL when all was well). VF_ERROR_INTERNAL
// names the file.
VfLedger *vf_ledger_open(const char *run_dir, const char *state_dir, const char *boot_id,
                         char **note, GError **error);
void vf_ledger_close(VfLedger *ledger);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfLedger, vf_ledger_close)

// A row as it was stored; strings are valid during the visit only.
typedef struct {
    const char *uuid, *device, *domain, *pool;
    VfPciAddr pf;
    guint index;
    VfLeaseState state;
    gboolean reserved, attach;
    guint64 generation;
    gint64 since;
    VfSettings settings, claim; // of a lease
    gint64 paused_since;
    const char *paused_by, *paused_reason; // both NULL: it is not paused
} VfLedgerRow;

typedef void (*VfLedgerVisit)(const VfLedgerRow *row, gpointer data);

gboolean vf_ledger_put_lease(VfLedger *ledger, const VfLease *lease, const char *pool,
                             const VfPciAddr *pf, guint index, GError **error);
gboolean vf_ledger_delete_lease(VfLedger *ledger, const char *uuid, const char *device,
                                GError **error);
// Visits every lease. Rows that make no sense (a damaged address) are skipped and counted.
gboolean vf_ledger_each_lease(VfLedger *ledger, VfLedgerVisit visit, gpointer data, guint *skipped,
                              GError **error);

gboolean vf_ledger_put_pointer(VfLedger *ledger, const VfPointer *pointer, const char *pool,
                               const VfPciAddr *pf, guint index, GError **error);
gboolean vf_ledger_delete_pointers(VfLedger *ledger, const char *uuid, const char *device,
                                   GError **error);
gboolean vf_ledger_each_pointer(VfLedger *ledger, VfLedgerVisit visit, gpointer data,
                                guint *skipped, GError **error);

// Which profile an operator chose for a pool on a PF, when the pool's file said `configured` ("" =
// none). profile NULL: as configured again. Gone with the boot, as leases are.
gboolean vf_ledger_put_choice(VfLedger *ledger, const char *pool, const VfPciAddr *pf,
                              const char *profile, const char *configured, GError **error);
typedef void (*VfLedgerChoiceVisit)(const char *pool, const VfPciAddr *pf, const char *profile,
                                    const char *configured, gpointer data);
gboolean vf_ledger_each_choice(VfLedger *ledger, VfLedgerChoiceVisit visit, gpointer data,
                               GError **error);

// How long the last reconf of a PF took its functions away, microseconds; ledger-outages.c. Gone
// with the boot, as leases are.
gboolean vf_ledger_put_outage(VfLedger *ledger, const VfPciAddr *pf, gint64 outage, GError **error);
typedef void (*VfLedgerOutageVisit)(const VfPciAddr *pf, gint64 outage, gpointer data);
gboolean vf_ledger_each_outage(VfLedger *ledger, VfLedgerOutageVisit visit, gpointer data,
                               GError **error);

// A device's request for an accelerator (broker.h), with the function that its lease has. Strings
// are valid during the visit only.
typedef struct {
    const char *uuid, *device, *domain, *accelerator;
    const char *state, *answer; // words of the broker's
    VfPciAddr pf;
    guint index;  // of the VF
    guint region; // of that card, G_MAXUINT = none
    guint priority, weight;
    gboolean shared;
    gboolean on_access; // asked for by the first access of the guest
    gboolean hot;       // its lease was made for it, and its device plugged into the running guest
    gboolean preempted;
    guint preemptions, failures;
    gint64 since; // g_get_monotonic_time(), which outlives the daemon as the boot does
} VfLedgerAttachment;

// ledger-attachments.c. Gone with the boot, as leases are.
gboolean vf_ledger_put_attachment(VfLedger *ledger, const VfLedgerAttachment *row, GError **error);
gboolean vf_ledger_delete_attachment(VfLedger *ledger, const char *uuid, const char *device,
                                     GError **error);
typedef void (*VfLedgerAttachmentVisit)(const VfLedgerAttachment *row, gpointer data);
gboolean vf_ledger_each_attachment(VfLedger *ledger, VfLedgerAttachmentVisit visit, gpointer data,
                                   guint *skipped, GError **error);

// Highest generation of any lease of this boot, 0 when there was none.
guint64 vf_ledger_generation(VfLedger *ledger);

// TRUE when writes wait for a commit.
gboolean vf_ledger_dirty(const VfLedger *ledger);

// Makes the writes since the last commit durable. On failure, or when one of these writes failed,
// they are undone as a whole.
// Leases and pointers commit apart: *pointers_error (may be NULL) is set when the last assignments
// could not be written (disk full), which loses nothing that the domains' XML does not say as well.
gboolean vf_ledger_commit(VfLedger *ledger, GError **pointers_error, GError **error);
