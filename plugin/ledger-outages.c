// SPDX-License-Identifier: GPL-2.0-or-later
//
// How long the last reconf of each PF took its functions away: a row per PF, in the file of the
// leases, whose boot it shares. Rare, so no statement is kept.

#include "ledger-parts.h"

gboolean vf_ledger_put_outage(VfLedger *ledger, const VfPciAddr *pf, gint64 outage, GError **error)
{
    VfLedgerFile *db = &ledger->leases;
    sqlite3_stmt *statement = NULL;
    char address[VF_PCIADDR_BUFSIZE];
    gboolean done;

    if (!vf_ledger_begin(db, error))
        return FALSE;
    if (sqlite3_prepare_v2(db->handle, "REPLACE INTO outage VALUES (?1,?2)", -1, &statement,
                           NULL) != SQLITE_OK)
        return vf_ledger_fail_write(db, error);
    vf_ledger_bind(statement, 1, vf_pciaddr_format(pf, address));
    sqlite3_bind_int64(statement, 2, outage);
    done = vf_ledger_step(db, statement, error);
    sqlite3_finalize(statement);
    return done;
}

gboolean vf_ledger_each_outage(VfLedger *ledger, VfLedgerOutageVisit visit, gpointer data,
                               GError **error)
{
    VfLedgerFile *db = &ledger->leases;
    sqlite3_stmt *statement = NULL;
    int code;

    if (sqlite3_prepare_v2(db->handle, "SELECT pf, microseconds FROM outage", -1, &statement,
                           NULL) != SQLITE_OK)
        return vf_ledger_fail(db, error);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *pf = (const char *)sqlite3_column_text(statement, 0);
        gint64 outage = sqlite3_column_int64(statement, 1);
        VfPciAddr address;

        if (pf != NULL && vf_pciaddr_parse(pf, &address) && outage > 0)
            visit(&address, outage, data);
    }
    if (code != SQLITE_DONE)
        vf_ledger_fail(db, error);
    sqlite3_finalize(statement);
    return code == SQLITE_DONE;
}
