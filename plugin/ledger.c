// SPDX-License-Identifier: GPL-2.0-or-later
//
// The ledger on SQLite: two small databases with one prepared statement per verb. Knows rows, not
// policy.

#include "ledger.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"
#include "ledger-parts.h"

// claim is NULL in a row of an earlier virtfn: it is not known which of `settings` it was.
static const char leases_schema[] =
    "CREATE TABLE IF NOT EXISTS boot (id TEXT NOT NULL, generation INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS lease ("
    " uuid TEXT NOT NULL, device TEXT NOT NULL, domain TEXT NOT NULL, pool TEXT NOT NULL,"
    " pf TEXT NOT NULL, idx INTEGER NOT NULL, state TEXT NOT NULL, reserved INTEGER NOT NULL,"
    " attach INTEGER NOT NULL, generation INTEGER NOT NULL, since INTEGER NOT NULL,"
    " settings TEXT NOT NULL, paused_since INTEGER, paused_by TEXT, paused_reason TEXT,"
    " claim TEXT,"
    " PRIMARY KEY (uuid, device), UNIQUE (pf, idx)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS choice (pool TEXT NOT NULL, pf TEXT NOT NULL,"
    " profile TEXT NOT NULL, configured TEXT NOT NULL, PRIMARY KEY (pool, pf)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS outage (pf TEXT PRIMARY KEY, microseconds INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS attachment ("
    " uuid TEXT NOT NULL, device TEXT NOT NULL, domain TEXT NOT NULL, pf TEXT NOT NULL,"
    " idx INTEGER NOT NULL, accelerator TEXT NOT NULL, priority INTEGER NOT NULL,"
    " shared INTEGER NOT NULL, weight INTEGER NOT NULL, on_access INTEGER NOT NULL,"
    " hot INTEGER NOT NULL, region INTEGER, state TEXT NOT NULL, answer TEXT NOT NULL,"
    " since INTEGER NOT NULL, preempted INTEGER NOT NULL, preemptions INTEGER NOT NULL,"
    " failures INTEGER NOT NULL, PRIMARY KEY (uuid, device)) WITHOUT ROWID;";
static const char leases_put[] =
    "INSERT INTO lease (uuid, device, domain, pool, pf, idx, state, reserved, attach, generation,"
    " since, settings, paused_since, paused_by, paused_reason, claim) VALUES "
    "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)"
    " ON CONFLICT (uuid, device) DO UPDATE SET domain=?3, pool=?4, pf=?5, idx=?6, state=?7,"
    " reserved=?8, attach=?9, generation=?10, since=?11, settings=?12, paused_since=?13,"
    " paused_by=?14, paused_reason=?15, claim=?16";
static const char leases_delete[] = "DELETE FROM lease WHERE uuid = ?1 AND device = ?2";

static const char pointers_schema[] =
    "CREATE TABLE IF NOT EXISTS pointer ("
    " uuid TEXT NOT NULL, device TEXT NOT NULL, pool TEXT NOT NULL, pf TEXT NOT NULL,"
    " idx INTEGER NOT NULL, PRIMARY KEY (uuid, device)) WITHOUT ROWID;";
static const char pointers_put[] = "REPLACE INTO pointer VALUES (?1,?2,?3,?4,?5)";
static const char pointers_delete[] =
    "DELETE FROM pointer WHERE uuid = ?1 AND (?2 IS NULL OR device = ?2)";

static const char *remedy_for(int code)
{
    switch (code) {
    case SQLITE_FULL:
        return VF_REMEDY "free some space on its file system";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return VF_REMEDY "end the other virtfnd, or the program that has it open";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
        return VF_REMEDY "make the directory writable for virtfnd";
    case SQLITE_IOERR:
        return VF_REMEDY "see the kernel log, and whether its file system is full";
    default:
        return "";
    }
}

gboolean vf_ledger_fail(const VfLedgerFile *db, GError **error)
{
    g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL, "%s: %s%s", db->path,
                sqlite3_errmsg(db->handle), remedy_for(sqlite3_errcode(db->handle) & 0xff));
    return FALSE;
}

static void database_close(VfLedgerFile *db)
{
    sqlite3_finalize(db->put);
    sqlite3_finalize(db->delete);
    sqlite3_close(db->handle);
    g_free(db->path);
    g_free(db->failure);
    *db = (VfLedgerFile){0};
}

static gboolean execute(VfLedgerFile *db, const char *sql, GError **error)
{
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK ||
           vf_ledger_fail(db, error);
}

// A ledger of the same boot that a virtfnd wrote which knew no pauses.
static gboolean has_column(const VfLedgerFile *db, const char *column)
{
    const char *type;

    return sqlite3_table_column_metadata(db->handle, NULL, "lease", column, &type, NULL, NULL, NULL,
                                         NULL) == SQLITE_OK;
}

static gboolean add_columns(VfLedgerFile *db, GError **error)
{
    static const char *const later[][2] = {{"paused_since", "INTEGER"},
                                           {"paused_by", "TEXT"},
                                           {"paused_reason", "TEXT"},
                                           {"claim", "TEXT"}};
    char sql[80];

    if (!has_column(db, "settings"))
        return TRUE;
    for (guint i = 0; i < G_N_ELEMENTS(later); i++) {
        g_snprintf(sql, sizeof(sql), "ALTER TABLE lease ADD COLUMN %s %s", later[i][0],
                   later[i][1]);
        if (!has_column(db, later[i][0]) && !execute(db, sql, error))
            return FALSE;
    }
    return TRUE;
}

// quick_check says one row "ok" for a sound file.
static gboolean check(VfLedgerFile *db, GError **error)
{
    sqlite3_stmt *statement = NULL;
    gboolean done = sqlite3_prepare_v2(db->handle, "PRAGMA quick_check(1)", -1, &statement, NULL) ==
                        SQLITE_OK &&
                    sqlite3_step(statement) == SQLITE_ROW;
    gboolean sound = done && g_strcmp0((const char *)sqlite3_column_text(statement, 0), "ok") == 0;

    if (!done)
        vf_ledger_fail(db, error);
    else if (!sound)
        g_set_error(error, VF_ERROR, VF_ERROR_INTERNAL, "%s: damaged", db->path);
    sqlite3_finalize(statement);
    return sound;
}

static gboolean database_try(VfLedgerFile *db, const char *path, const char *schema,
                             const char *put, const char *delete, GError **error)
{
    db->path = g_strdup(path);
    // One thread has it, so that SQLite need not lock it for each of a row's columns.
    if (sqlite3_open_v2(path, &db->handle,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        return vf_ledger_fail(db, error);
    sqlite3_busy_timeout(db->handle, 2000);
    // Exclusive: two daemons never share a ledger, and no shared memory file is needed.
    return execute(db,
                   "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;"
                   "PRAGMA synchronous=NORMAL;",
                   error) &&
           check(db, error) && execute(db, schema, error) && add_columns(db, error) &&
           (sqlite3_prepare_v2(db->handle, put, -1, &db->put, NULL) == SQLITE_OK ||
            vf_ledger_fail(db, error)) &&
           (sqlite3_prepare_v2(db->handle, delete, -1, &db->delete, NULL) == SQLITE_OK ||
            vf_ledger_fail(db, error));
}

// Moves PATH, PATH-wal and PATH-shm out of the way under the first free number.
static char *move_aside(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    g_autofree char *aside = NULL;

    for (guint n = 1; n < 1000; n++) {
        g_free(aside);
        aside = g_strdup_printf("%s.damaged-%u", path, n);
        if (!g_file_test(aside, G_FILE_TEST_EXISTS))
            break;
    }
    for (guint i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *from = g_strconcat(path, suffixes[i], NULL);
        g_autofree char *to = g_strconcat(aside, suffixes[i], NULL);

        if (g_rename(from, to) != 0 && errno != ENOENT)
            g_unlink(from);
    }
    return g_steal_pointer(&aside);
}

static void add_note(GString *notes, const char *text)
{
    g_string_append_printf(notes, "%s%s", notes->len > 0 ? ". " : "", text);
}

static gboolean database_open(VfLedgerFile *db, const char *dir, const char *name,
                              const char *schema, const char *put, const char *delete,
                              GString *notes, GError **error)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autoptr(GError) first = NULL;

    if (database_try(db, path, schema, put, delete, &first))
        return TRUE;
    int code = db->handle != NULL ? sqlite3_errcode(db->handle) : SQLITE_CANTOPEN;
    gboolean damaged = strstr(first->message, ": damaged") != NULL || code == SQLITE_CORRUPT ||
                       code == SQLITE_NOTADB || code == SQLITE_ERROR;
    database_close(db);
    if (!damaged) {
        g_propagate_error(error, g_steal_pointer(&first));
        return FALSE;
    }
    g_autofree char *aside = move_aside(path);
    g_autofree char *note =
        g_strdup_printf("%s; it was moved to %s and a new one begun", first->message, aside);
    add_note(notes, note);
    return database_try(db, path, schema, put, delete, error);
}

// Empties the leases of another boot; reads the generation of this one.
static gboolean enter_boot(VfLedger *ledger, const char *boot_id, GError **error)
{
    VfLedgerFile *db = &ledger->leases;
    sqlite3_stmt *statement = NULL;
    gboolean same = FALSE;

    if (sqlite3_prepare_v2(db->handle, "SELECT id, generation FROM boot", -1, &statement, NULL) !=
        SQLITE_OK)
        return vf_ledger_fail(db, error);
    if (sqlite3_step(statement) == SQLITE_ROW) {
        same = g_strcmp0((const char *)sqlite3_column_text(statement, 0), boot_id) == 0;
        if (same)
            ledger->generation = (guint64)sqlite3_column_int64(statement, 1);
    }
    sqlite3_finalize(statement);
    if (same)
        return TRUE;
    char sql[256];
    sqlite3_snprintf(sizeof(sql), sql,
                     "BEGIN; DELETE FROM lease; DELETE FROM choice; DELETE FROM attachment;"
                     "DELETE FROM outage; DELETE FROM boot;"
                     "INSERT INTO boot VALUES (%Q, 0); COMMIT;",
                     boot_id);
    return execute(db, sql, error);
}

// The daemon can do without stored pointers, which domains' XML has as well: then they are kept in
// memory, and the status says so.
static gboolean pointers_open(VfLedgerFile *db, const char *dir, GString *notes, GError **error)
{
    g_autoptr(GError) cause = NULL;

    if (database_open(db, dir, "assignments.db", pointers_schema, pointers_put, pointers_delete,
                      notes, &cause))
        return TRUE;
    add_note(notes, cause->message);
    database_close(db);
    return database_try(db, ":memory:", pointers_schema, pointers_put, pointers_delete, error);
}

VfLedger *vf_ledger_open(const char *run_dir, const char *state_dir, const char *boot_id,
                         char **note, GError **error)
{
    g_autoptr(VfLedger) ledger = g_new0(VfLedger, 1);
    g_autoptr(GString) notes = g_string_new(NULL);

    *note = NULL;
    // Clients pass through the run directory to the socket; the files are nobody's business.
    if (g_mkdir_with_parents(run_dir, 0755) != 0) {
        vf_error_set_errno(error, VF_ERROR_INTERNAL, errno, "%s", run_dir);
        return NULL;
    }
    g_mkdir_with_parents(state_dir, 0700);
    mode_t old = umask(0077);
    gboolean opened = database_open(&ledger->leases, run_dir, "ledger.db", leases_schema,
                                    leases_put, leases_delete, notes, error) &&
                      pointers_open(&ledger->pointers, state_dir, notes, error) &&
                      enter_boot(ledger, boot_id, error);
    umask(old);
    if (!opened)
        return NULL;
    if (notes->len > 0)
        *note = g_strdup(notes->str);
    return g_steal_pointer(&ledger);
}

void vf_ledger_close(VfLedger *ledger)
{
    sqlite3_finalize(ledger->put_attachment);
    sqlite3_finalize(ledger->delete_attachment);
    database_close(&ledger->leases);
    database_close(&ledger->pointers);
    g_free(ledger->pointers_failure);
    g_free(ledger);
}

// A write that failed makes the whole transaction fail: what was written before it may be gone
// already (SQLite rolls back by itself when the disk is full), and memory has gone ahead.
gboolean vf_ledger_fail_write(VfLedgerFile *db, GError **error)
{
    g_autoptr(GError) cause = NULL;

    vf_ledger_fail(db, &cause);
    if (db->failure == NULL)
        db->failure = g_strdup(cause->message);
    g_propagate_error(error, g_steal_pointer(&cause));
    return FALSE;
}

gboolean vf_ledger_begin(VfLedgerFile *db, GError **error)
{
    if (db->failure != NULL) {
        g_set_error_literal(error, VF_ERROR, VF_ERROR_INTERNAL, db->failure);
        return FALSE;
    }
    if (!db->open && !execute(db, "BEGIN IMMEDIATE", NULL))
        return vf_ledger_fail_write(db, error);
    db->open = TRUE;
    return TRUE;
}

gboolean vf_ledger_step(VfLedgerFile *db, sqlite3_stmt *statement, GError **error)
{
    int code = sqlite3_step(statement);
    gboolean done = code == SQLITE_DONE || vf_ledger_fail_write(db, error);

    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return done;
}

void vf_ledger_bind(sqlite3_stmt *statement, int column, const char *text)
{
    sqlite3_bind_text(statement, column, text, -1, SQLITE_STATIC);
}

// "key=value" lines of the settings that are set.
static char *settings_to_text(const VfSettings *settings)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; vf_settings_keys[i] != NULL; i++) {
        g_autofree char *value = vf_settings_nth(settings, i);

        if (value != NULL)
            g_string_append_printf(text, "%s=%s\n", vf_settings_keys[i], value);
    }
    return g_string_free(text, FALSE);
}

static gboolean settings_from_text(VfSettings *settings, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    vf_settings_init(settings);
    for (guint i = 0; lines[i] != NULL && *lines[i] != '\0'; i++) {
        char *value = strchr(lines[i], '=');

        if (value == NULL)
            return FALSE;
        *value++ = '\0';
        if (!vf_settings_set(settings, lines[i], value, NULL))
            return FALSE;
    }
    return TRUE;
}

gboolean vf_ledger_put_lease(VfLedger *ledger, const VfLease *lease, const char *pool,
                             const VfPciAddr *pf, guint index, GError **error)
{
    VfLedgerFile *db = &ledger->leases;
    g_autofree char *settings = settings_to_text(&lease->settings);
    g_autofree char *claim = settings_to_text(&lease->claim);
    char address[VF_PCIADDR_BUFSIZE];

    if (!vf_ledger_begin(db, error))
        return FALSE;
    vf_ledger_bind(db->put, 1, lease->uuid);
    vf_ledger_bind(db->put, 2, lease->device);
    vf_ledger_bind(db->put, 3, lease->domain != NULL ? lease->domain : "");
    vf_ledger_bind(db->put, 4, pool);
    vf_ledger_bind(db->put, 5, vf_pciaddr_format(pf, address));
    sqlite3_bind_int64(db->put, 6, index);
    vf_ledger_bind(db->put, 7, vf_lease_state_name(lease->state));
    sqlite3_bind_int(db->put, 8, lease->reserved);
    sqlite3_bind_int(db->put, 9, lease->attach);
    sqlite3_bind_int64(db->put, 10, (gint64)lease->generation);
    sqlite3_bind_int64(db->put, 11, lease->since);
    vf_ledger_bind(db->put, 12, settings);
    if (lease->pause != NULL) {
        sqlite3_bind_int64(db->put, 13, lease->pause->since);
        vf_ledger_bind(db->put, 14, lease->pause->by);
        vf_ledger_bind(db->put, 15, lease->pause->reason);
    }
    vf_ledger_bind(db->put, 16, claim);
    ledger->generation = MAX(ledger->generation, lease->generation);
    return vf_ledger_step(db, db->put, error);
}

gboolean vf_ledger_delete_lease(VfLedger *ledger, const char *uuid, const char *device,
                                GError **error)
{
    VfLedgerFile *db = &ledger->leases;

    if (!vf_ledger_begin(db, error))
        return FALSE;
    vf_ledger_bind(db->delete, 1, uuid);
    vf_ledger_bind(db->delete, 2, device);
    return vf_ledger_step(db, db->delete, error);
}

gboolean vf_ledger_put_pointer(VfLedger *ledger, const VfPointer *pointer, const char *pool,
                               const VfPciAddr *pf, guint index, GError **error)
{
    VfLedgerFile *db = &ledger->pointers;
    char address[VF_PCIADDR_BUFSIZE];

    if (!vf_ledger_begin(db, error))
        return FALSE;
    vf_ledger_bind(db->put, 1, pointer->uuid);
    vf_ledger_bind(db->put, 2, pointer->device);
    vf_ledger_bind(db->put, 3, pool);
    vf_ledger_bind(db->put, 4, vf_pciaddr_format(pf, address));
    sqlite3_bind_int64(db->put, 5, index);
    return vf_ledger_step(db, db->put, error);
}

gboolean vf_ledger_delete_pointers(VfLedger *ledger, const char *uuid, const char *device,
                                   GError **error)
{
    VfLedgerFile *db = &ledger->pointers;

    if (!vf_ledger_begin(db, error))
        return FALSE;
    vf_ledger_bind(db->delete, 1, uuid);
    if (device != NULL)
        vf_ledger_bind(db->delete, 2, device);
    return vf_ledger_step(db, db->delete, error);
}

// Columns 0..4 are the same in both tables.
static gboolean read_function(sqlite3_stmt *statement, VfLedgerRow *row)
{
    const char *pf = (const char *)sqlite3_column_text(statement, 3);
    gint64 index = sqlite3_column_int64(statement, 4);

    row->uuid = (const char *)sqlite3_column_text(statement, 0);
    row->device = (const char *)sqlite3_column_text(statement, 1);
    row->pool = (const char *)sqlite3_column_text(statement, 2);
    row->index = (guint)index;
    return row->uuid != NULL && row->device != NULL && row->pool != NULL && pf != NULL &&
           vf_pciaddr_parse(pf, &row->pf) && index >= 0 && index <= G_MAXUINT16 &&
           g_uuid_string_is_valid(row->uuid) && strlen(row->device) <= 32;
}

static gboolean read_lease(sqlite3_stmt *statement, VfLedgerRow *row)
{
    const char *state = (const char *)sqlite3_column_text(statement, 6);
    const char *settings = (const char *)sqlite3_column_text(statement, 11);
    const char *claim = (const char *)sqlite3_column_text(statement, 15);

    row->domain = (const char *)sqlite3_column_text(statement, 5);
    row->reserved = sqlite3_column_int(statement, 7) != 0;
    row->attach = sqlite3_column_int(statement, 8) != 0;
    row->generation = (guint64)sqlite3_column_int64(statement, 9);
    row->since = sqlite3_column_int64(statement, 10);
    row->paused_since = sqlite3_column_int64(statement, 12);
    row->paused_by = (const char *)sqlite3_column_text(statement, 13);
    row->paused_reason = (const char *)sqlite3_column_text(statement, 14);
    return row->domain != NULL && state != NULL && settings != NULL &&
           vf_lease_state_parse(state, &row->state) &&
           settings_from_text(&row->settings, settings) &&
           settings_from_text(&row->claim, claim != NULL ? claim : settings);
}

static gboolean each_row(VfLedgerFile *db, const char *sql,
                         gboolean (*read)(sqlite3_stmt *, VfLedgerRow *), VfLedgerVisit visit,
                         gpointer data, guint *skipped, GError **error)
{
    sqlite3_stmt *statement = NULL;
    int code;

    *skipped = 0;
    if (sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL) != SQLITE_OK)
        return vf_ledger_fail(db, error);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        VfLedgerRow row = {0};

        vf_settings_init(&row.settings);
        vf_settings_init(&row.claim);
        if (read_function(statement, &row) && (read == NULL || read(statement, &row)))
            visit(&row, data);
        else
            (*skipped)++;
        vf_settings_clear(&row.settings);
        vf_settings_clear(&row.claim);
    }
    if (code != SQLITE_DONE)
        vf_ledger_fail(db, error);
    sqlite3_finalize(statement);
    return code == SQLITE_DONE;
}

gboolean vf_ledger_each_lease(VfLedger *ledger, VfLedgerVisit visit, gpointer data, guint *skipped,
                              GError **error)
{
    return each_row(&ledger->leases,
                    "SELECT uuid, device, pool, pf, idx, domain, state, reserved, attach,"
                    " generation, since, settings, paused_since, paused_by, paused_reason,"
                    " claim FROM lease",
                    read_lease, visit, data, skipped, error);
}

gboolean vf_ledger_each_pointer(VfLedger *ledger, VfLedgerVisit visit, gpointer data,
                                guint *skipped, GError **error)
{
    return each_row(&ledger->pointers, "SELECT uuid, device, pool, pf, idx FROM pointer", NULL,
                    visit, data, skipped, error);
}

// Rare, so the statement is not kept.
gboolean vf_ledger_put_choice(VfLedger *ledger, const char *pool, const VfPciAddr *pf,
                              const char *profile, const char *configured, GError **error)
{
    const char *sql = profile != NULL ? "REPLACE INTO choice VALUES (?1,?2,?3,?4)"
                                      : "DELETE FROM choice WHERE pool = ?1 AND pf = ?2";
    VfLedgerFile *db = &ledger->leases;
    sqlite3_stmt *statement = NULL;
    char address[VF_PCIADDR_BUFSIZE];
    gboolean done;

    if (!vf_ledger_begin(db, error))
        return FALSE;
    if (sqlite3_prepare_v2(db->handle, sql, -1, &statement, NULL) != SQLITE_OK)
        return vf_ledger_fail_write(db, error);
    vf_ledger_bind(statement, 1, pool);
    vf_ledger_bind(statement, 2, vf_pciaddr_format(pf, address));
    if (profile != NULL) {
        vf_ledger_bind(statement, 3, profile);
        vf_ledger_bind(statement, 4, configured);
    }
    done = vf_ledger_step(db, statement, error);
    sqlite3_finalize(statement);
    return done;
}

gboolean vf_ledger_each_choice(VfLedger *ledger, VfLedgerChoiceVisit visit, gpointer data,
                               GError **error)
{
    VfLedgerFile *db = &ledger->leases;
    sqlite3_stmt *statement = NULL;
    int code;

    if (sqlite3_prepare_v2(db->handle, "SELECT pool, pf, profile, configured FROM choice", -1,
                           &statement, NULL) != SQLITE_OK)
        return vf_ledger_fail(db, error);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *text[4];
        VfPciAddr pf;

        for (int i = 0; i < 4; i++)
            text[i] = (const char *)sqlite3_column_text(statement, i);
        if (text[0] != NULL && text[1] != NULL && text[2] != NULL && text[3] != NULL &&
            vf_pciaddr_parse(text[1], &pf))
            visit(text[0], &pf, text[2], text[3], data);
    }
    if (code != SQLITE_DONE)
        vf_ledger_fail(db, error);
    sqlite3_finalize(statement);
    return code == SQLITE_DONE;
}

guint64 vf_ledger_generation(VfLedger *ledger)
{
    return ledger->generation;
}

gboolean vf_ledger_dirty(const VfLedger *ledger)
{
    return ledger->leases.open || ledger->pointers.open || ledger->leases.failure != NULL ||
           ledger->pointers.failure != NULL;
}

static gboolean commit(VfLedgerFile *db, GError **error)
{
    g_autofree char *failure = g_steal_pointer(&db->failure);
    gboolean done = FALSE;

    if (failure != NULL)
        g_set_error_literal(error, VF_ERROR, VF_ERROR_INTERNAL, failure);
    else
        done = !db->open || execute(db, "COMMIT", error);
    if (!done)
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    db->open = FALSE;
    return done;
}

static void commit_pointers(VfLedger *ledger, GError **error)
{
    VfLedgerFile *pointers = &ledger->pointers;
    g_autoptr(GError) cause = NULL;

    if (pointers->open || pointers->failure != NULL) {
        g_clear_pointer(&ledger->pointers_failure, g_free);
        if (!commit(pointers, &cause))
            ledger->pointers_failure = g_strdup(cause->message);
    }
    if (ledger->pointers_failure != NULL)
        g_set_error_literal(error, VF_ERROR, VF_ERROR_INTERNAL, ledger->pointers_failure);
}

gboolean vf_ledger_commit(VfLedger *ledger, GError **pointers_error, GError **error)
{
    VfLedgerFile *leases = &ledger->leases;

    commit_pointers(ledger, pointers_error);
    if (leases->open && leases->failure == NULL) {
        char sql[80];

        g_snprintf(sql, sizeof(sql), "UPDATE boot SET generation = %" G_GUINT64_FORMAT,
                   ledger->generation);
        if (!execute(leases, sql, NULL))
            vf_ledger_fail_write(leases, NULL);
    }
    return commit(leases, error);
}
