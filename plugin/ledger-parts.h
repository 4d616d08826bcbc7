// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the ledger-*.c files share with ledger.c: the open databases, and the three things that each
// write consists of. A write that fails makes the whole transaction fail, see fail_write().

#pragma once

#include <sqlite3.h>

#include "ledger.h"

typedef struct {
    sqlite3 *handle;
    char *path;
    sqlite3_stmt *put, *delete;
    gboolean open; // a transaction is
    char *failure; // of a write: nothing of the transaction may be committed
} VfLedgerFile;

struct VfLedger {
    VfLedgerFile leases, pointers;
    sqlite3_stmt *put_attachment, *delete_attachment; // of `leases`, prepared at first use
    guint64 generation;
    char *pointers_failure; // of the last commit that had any
};

// Opens the transaction if none is.
gboolean vf_ledger_begin(VfLedgerFile *db, GError **error);
// A string that lives until the step.
void vf_ledger_bind(sqlite3_stmt *statement, int column, const char *text);
// Runs a bound write, and makes the statement ready for the next.
gboolean vf_ledger_step(VfLedgerFile *db, sqlite3_stmt *statement, GError **error);

// Sets what SQLite says of the last call; returns FALSE.
gboolean vf_ledger_fail(const VfLedgerFile *db, GError **error);
gboolean vf_ledger_fail_write(VfLedgerFile *db, GError **error);
