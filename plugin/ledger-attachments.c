// SPDX-License-Identifier: GPL-2.0-or-later
//
// The ledger's rows of requests for accelerators. They are in the file of the leases and commit
// with them, so that a request is never durable without the lease of its device. Knows rows, not
// what their words mean.

#include <string.h>

#include "ledger-parts.h"

static const char put[] = "REPLACE INTO attachment VALUES "
                          "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18)";
static const char remove_one[] = "DELETE FROM attachment WHERE uuid = ?1 AND device = ?2";
static const char each[] =
    "SELECT uuid, device, domain, pf, idx, accelerator, priority, shared, weight, on_access, hot,"
    " region, state, answer, since, preempted, preemptions, failures FROM attachment"
    " ORDER BY since, uuid, device";

static gboolean prepare(VfLedgerFile *db, sqlite3_stmt **statement, const char *sql, GError **error)
{
    return *statement != NULL ||
           sqlite3_prepare_v2(db->handle, sql, -1, statement, NULL) == SQLITE_OK ||
           vf_ledger_fail_write(db, error);
}

gboolean vf_ledger_put_attachment(VfLedger *ledger, const VfLedgerAttachment *row, GError **error)
{
    VfLedgerFile *db = &ledger->leases;
    char pf[VF_PCIADDR_BUFSIZE];

    if (!vf_ledger_begin(db, error) || !prepare(db, &ledger->put_attachment, put, error))
        return FALSE;
    sqlite3_stmt *statement = ledger->put_attachment;
    vf_ledger_bind(statement, 1, row->uuid);
    vf_ledger_bind(statement, 2, row->device);
    vf_ledger_bind(statement, 3, row->domain != NULL ? row->domain : "");
    vf_ledger_bind(statement, 4, vf_pciaddr_format(&row->pf, pf));
    sqlite3_bind_int64(statement, 5, row->index);
    vf_ledger_bind(statement, 6, row->accelerator);
    sqlite3_bind_int64(statement, 7, row->priority);
    sqlite3_bind_int(statement, 8, row->shared);
    sqlite3_bind_int64(statement, 9, row->weight);
    sqlite3_bind_int(statement, 10, row->on_access);
    sqlite3_bind_int(statement, 11, row->hot);
    if (row->region != G_MAXUINT)
        sqlite3_bind_int64(statement, 12, row->region);
    vf_ledger_bind(statement, 13, row->state);
    vf_ledger_bind(statement, 14, row->answer);
    sqlite3_bind_int64(statement, 15, row->since);
    sqlite3_bind_int(statement, 16, row->preempted);
    sqlite3_bind_int64(statement, 17, row->preemptions);
    sqlite3_bind_int64(statement, 18, row->failures);
    return vf_ledger_step(db, statement, error);
}

gboolean vf_ledger_delete_attachment(VfLedger *ledger, const char *uuid, const char *device,
                                     GError **error)
{
    VfLedgerFile *db = &ledger->leases;

    if (!vf_ledger_begin(db, error) || !prepare(db, &ledger->delete_attachment, remove_one, error))
        return FALSE;
    vf_ledger_bind(ledger->delete_attachment, 1, uuid);
    vf_ledger_bind(ledger->delete_attachment, 2, device);
    return vf_ledger_step(db, ledger->delete_attachment, error);
}

static const char *text(sqlite3_stmt *statement, int column)
{
    return (const char *)sqlite3_column_text(statement, column);
}

static guint number(sqlite3_stmt *statement, int column)
{
    return (guint)sqlite3_column_int64(statement, column);
}

static gboolean read_row(sqlite3_stmt *statement, VfLedgerAttachment *row)
{
    const char *pf = text(statement, 3);

    *row = (VfLedgerAttachment){
        .uuid = text(statement, 0),
        .device = text(statement, 1),
        .domain = text(statement, 2),
        .index = number(statement, 4),
        .accelerator = text(statement, 5),
        .priority = number(statement, 6),
        .shared = sqlite3_column_int(statement, 7) != 0,
        .weight = number(statement, 8),
        .on_access = sqlite3_column_int(statement, 9) != 0,
        .hot = sqlite3_column_int(statement, 10) != 0,
        .region =
            sqlite3_column_type(statement, 11) == SQLITE_NULL ? G_MAXUINT : number(statement, 11),
        .state = text(statement, 12),
        .answer = text(statement, 13),
        .since = sqlite3_column_int64(statement, 14),
        .preempted = sqlite3_column_int(statement, 15) != 0,
        .preemptions = number(statement, 16),
        .failures = number(statement, 17),
    };
    return row->uuid != NULL && row->device != NULL && row->domain != NULL &&
           row->accelerator != NULL && row->state != NULL && row->answer != NULL && pf != NULL &&
           vf_pciaddr_parse(pf, &row->pf) && g_uuid_string_is_valid(row->uuid) &&
           strlen(row->device) <= 32;
}

gboolean vf_ledger_each_attachment(VfLedger *ledger, VfLedgerAttachmentVisit visit, gpointer data,
                                   guint *skipped, GError **error)
{
    VfLedgerFile *db = &ledger->leases;
    sqlite3_stmt *statement = NULL;
    VfLedgerAttachment row;
    int code;

    *skipped = 0;
    if (sqlite3_prepare_v2(db->handle, each, -1, &statement, NULL) != SQLITE_OK)
        return vf_ledger_fail(db, error);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (read_row(statement, &row))
            visit(&row, data);
        else
            (*skipped)++;
    }
    if (code != SQLITE_DONE)
        vf_ledger_fail(db, error);
    sqlite3_finalize(statement);
    return code == SQLITE_DONE;
}
