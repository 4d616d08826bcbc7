// SPDX-License-Identifier: GPL-2.0-or-later
//
// The ledger: what is written comes back, whatever becomes of the files; a commit is whole or not
// at all. A full disk is played by a limit on the size of files, in a process of its own.

#include "ledger.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "error.h"

#define BOOT "boot-1"
#define UUID "6f1c2f5e-8a3b-4c59-9a61-2d8f5b7c0e11"

typedef struct {
    char *top, *run, *state;
    VfLedger *ledger;
    char *note;
} Fixture;

static void open_boot(Fixture *f, const char *boot)
{
    g_autoptr(GError) error = NULL;

    g_clear_pointer(&f->ledger, vf_ledger_close);
    g_clear_pointer(&f->note, g_free);
    f->ledger = vf_ledger_open(f->run, f->state, boot, &f->note, &error);
    g_assert_no_error(error);
}

static void set_up(Fixture *f, gconstpointer data)
{
    f->top = g_dir_make_tmp("virtfn-ledger-XXXXXX", NULL);
    f->run = g_build_filename(f->top, "run", NULL);
    f->state = g_build_filename(f->top, "state", NULL);
    open_boot(f, BOOT);
    g_assert_null(f->note);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    const char *argv[] = {"rm", "-rf", f->top, NULL};

    g_clear_pointer(&f->ledger, vf_ledger_close);
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL,
                 NULL);
    g_free(f->note);
    g_free(f->run);
    g_free(f->state);
    g_free(f->top);
}

static char *file_of(const Fixture *f, const char *name)
{
    return g_build_filename(g_str_has_prefix(name, "ledger") ? f->run : f->state, name, NULL);
}

// A lease that differs in everything by `n`.
static VfLease make_lease(guint n)
{
    VfLease lease = {.domain = (char *)"web", .generation = n, .since = 1000 + n};
    static char devices[64][8];

    g_snprintf(devices[n % 64], sizeof(devices[0]), "net%u", n);
    lease.device = devices[n % 64];
    g_strlcpy(lease.uuid, UUID, sizeof(lease.uuid));
    vf_settings_init(&lease.claim);
    vf_settings_init(&lease.settings);
    return lease;
}

static gboolean put(Fixture *f, const VfLease *lease, guint index, GError **error)
{
    VfPciAddr pf = {0, 0x3b, 0, 0};

    return vf_ledger_put_lease(f->ledger, lease, "uplink", &pf, index, error);
}

static void put_number(Fixture *f, guint n)
{
    VfLease lease = make_lease(n);
    g_autoptr(GError) error = NULL;

    put(f, &lease, n, &error);
    g_assert_no_error(error);
}

static void commit(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) pointers_error = NULL;

    g_assert_true(vf_ledger_commit(f->ledger, &pointers_error, &error));
    g_assert_no_error(error);
    g_assert_no_error(pointers_error);
    g_assert_false(vf_ledger_dirty(f->ledger));
}

static void describe(const VfLedgerRow *row, gpointer data)
{
    char pf[VF_PCIADDR_BUFSIZE];

    g_string_append_printf(data, "%s %s %s %s %s#%u", row->uuid, row->device,
                           row->domain ? row->domain : "-", row->pool,
                           vf_pciaddr_format(&row->pf, pf), row->index);
    if (row->domain != NULL)
        g_string_append_printf(data, " %s%s%s %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT,
                               vf_lease_state_name(row->state), row->reserved ? " reserved" : "",
                               row->attach ? " attach" : "", row->generation, row->since);
    for (guint i = 0; row->domain != NULL && vf_settings_keys[i] != NULL; i++) {
        g_autofree char *value = vf_settings_get(&row->settings, vf_settings_keys[i]);
        g_autofree char *claim = vf_settings_get(&row->claim, vf_settings_keys[i]);

        if (value != NULL)
            g_string_append_printf(data, " %s=%s", vf_settings_keys[i], value);
        if (claim != NULL)
            g_string_append_printf(data, " (%s=%s)", vf_settings_keys[i], claim);
    }
    if (row->paused_by != NULL)
        g_string_append_printf(data, " paused %" G_GINT64_FORMAT " by %s: %s", row->paused_since,
                               row->paused_by, row->paused_reason);
    g_string_append_c(data, '\n');
}

typedef gboolean (*Each)(VfLedger *, VfLedgerVisit, gpointer, guint *, GError **);

static void assert_rows(Fixture *f, Each each, const char *expected, guint expected_skipped)
{
    g_autoptr(GString) rows = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    guint skipped = 99;

    g_assert_true(each(f->ledger, describe, rows, &skipped, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(rows->str, ==, expected);
    g_assert_cmpuint(skipped, ==, expected_skipped);
}

#define assert_leases(f, expected) assert_rows(f, vf_ledger_each_lease, expected, 0)

static void test_round_trip(Fixture *f, gconstpointer data)
{
    static const char *const pairs[][2] = {{"mac", "52:54:00:12:34:56"},
                                           {"vlan", "42"},
                                           {"qos", "3"},
                                           {"trust", "on"},
                                           {"spoofchk", "off"},
                                           {"link-state", "enable"},
                                           {"min-rate", "10"},
                                           {"max-rate", "1000"},
                                           {"msix", "9"},
                                           {"queues", "2"},
                                           {"interrupts", "3"},
                                           {"qmax", "16"},
                                           {"program", "/opt/a b=c"}};
    VfLease lease = make_lease(7);
    g_autoptr(GError) error = NULL;

    G_STATIC_ASSERT(G_N_ELEMENTS(pairs) == 13); // as many as vf_settings_keys
    for (guint i = 0; i < G_N_ELEMENTS(pairs); i++)
        g_assert_true(vf_settings_set(&lease.settings, pairs[i][0], pairs[i][1], NULL));
    g_assert_null(vf_settings_keys[G_N_ELEMENTS(pairs)]);
    lease.claim.vlan = 42;
    lease.state = VF_LEASE_RUNNING;
    lease.reserved = lease.attach = TRUE;
    g_assert_true(put(f, &lease, 3, &error));
    commit(f);
    open_boot(f, BOOT);
    g_assert_null(f->note);
    assert_leases(f, UUID " net7 web uplink 0000:3b:00.0#3 running reserved attach 7 1007"
                          " mac=52:54:00:12:34:56 vlan=42 (vlan=42) qos=3 trust=on spoofchk=off"
                          " link-state=enable min-rate=10 max-rate=1000 msix=9 queues=2"
                          " interrupts=3 qmax=16 program=/opt/a b=c\n");
    vf_settings_clear(&lease.settings);
}

static void test_paused(Fixture *f, gconstpointer data)
{
    VfLeasePause pause = {2000, (char *)"root", (char *)"cable swap"};
    VfLease lease = make_lease(1);

    lease.pause = &pause;
    g_assert_true(put(f, &lease, 1, NULL));
    put_number(f, 2);
    commit(f);
    assert_leases(f, UUID " net1 web uplink 0000:3b:00.0#1 reserved 1 1001"
                          " paused 2000 by root: cable swap\n" UUID
                          " net2 web uplink 0000:3b:00.0#2 reserved 2 1002\n");
    lease.pause = NULL;
    g_assert_true(put(f, &lease, 1, NULL));
    commit(f);
    open_boot(f, BOOT);
    assert_leases(f, UUID " net1 web uplink 0000:3b:00.0#1 reserved 1 1001\n" UUID
                          " net2 web uplink 0000:3b:00.0#2 reserved 2 1002\n");
}

static void execute(const char *path, const char *sql)
{
    sqlite3 *db;

    g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
    sqlite3_close(db);
}

// virtfnd was replaced by a newer one while guests run: their leases are kept.
static void test_before_pauses(Fixture *f, gconstpointer data)
{
    g_autofree char *path = file_of(f, "ledger.db");

    put_number(f, 1);
    commit(f);
    g_clear_pointer(&f->ledger, vf_ledger_close);
    execute(path, "ALTER TABLE lease DROP COLUMN paused_since;"
                  "ALTER TABLE lease DROP COLUMN paused_by;"
                  "ALTER TABLE lease DROP COLUMN paused_reason;");
    open_boot(f, BOOT);
    g_assert_null(f->note);
    assert_leases(f, UUID " net1 web uplink 0000:3b:00.0#1 reserved 1 1001\n");
    test_paused(f, data);
}

static void test_replace_and_delete(Fixture *f, gconstpointer data)
{
    VfLease lease = make_lease(1);

    put_number(f, 1);
    put_number(f, 2);
    commit(f);
    lease.state = VF_LEASE_READY;
    g_assert_true(put(f, &lease, 5, NULL));
    g_assert_true(vf_ledger_delete_lease(f->ledger, UUID, "net2", NULL));
    // The function that it left is free for another in the same transaction.
    lease = make_lease(3);
    g_assert_true(put(f, &lease, 2, NULL));
    commit(f);
    assert_leases(f, UUID " net1 web uplink 0000:3b:00.0#5 ready 1 1001\n" UUID
                          " net3 web uplink 0000:3b:00.0#2 reserved 3 1003\n");
    g_assert_true(vf_ledger_delete_lease(f->ledger, UUID, "none", NULL));
}

static void test_other_boot(Fixture *f, gconstpointer data)
{
    put_number(f, 9);
    commit(f);
    g_assert_cmpuint(vf_ledger_generation(f->ledger), ==, 9);
    open_boot(f, BOOT);
    g_assert_cmpuint(vf_ledger_generation(f->ledger), ==, 9);
    open_boot(f, "boot-2");
    g_assert_cmpuint(vf_ledger_generation(f->ledger), ==, 0);
    assert_leases(f, "");
    open_boot(f, BOOT);
    assert_leases(f, "");
}

static void test_generation_outlives_leases(Fixture *f, gconstpointer data)
{
    put_number(f, 9);
    commit(f);
    g_assert_true(vf_ledger_delete_lease(f->ledger, UUID, "net9", NULL));
    commit(f);
    open_boot(f, BOOT);
    g_assert_cmpuint(vf_ledger_generation(f->ledger), ==, 9);
}

static void test_uncommitted(Fixture *f, gconstpointer data)
{
    put_number(f, 1);
    g_assert_true(vf_ledger_dirty(f->ledger));
    open_boot(f, BOOT);
    assert_leases(f, "");
}

static void test_pointers(Fixture *f, gconstpointer data)
{
    VfPointer pointer = {UUID, "net0", 0, 0};
    VfPciAddr pf = {1, 0x3b, 0x1f, 7};

    g_assert_true(vf_ledger_put_pointer(f->ledger, &pointer, "uplink", &pf, 4, NULL));
    pointer.device = "net1";
    g_assert_true(vf_ledger_put_pointer(f->ledger, &pointer, "uplink", &pf, 4, NULL));
    g_assert_true(vf_ledger_put_pointer(f->ledger, &pointer, "lab", &pf, 5, NULL));
    commit(f);
    // Pointers are not the boot's.
    open_boot(f, "boot-2");
    assert_rows(f, vf_ledger_each_pointer,
                UUID " net0 - uplink 0001:3b:1f.7#4\n" UUID " net1 - lab 0001:3b:1f.7#5\n", 0);
    g_assert_true(vf_ledger_delete_pointers(f->ledger, UUID, "net1", NULL));
    assert_rows(f, vf_ledger_each_pointer, UUID " net0 - uplink 0001:3b:1f.7#4\n", 0);
    g_assert_true(vf_ledger_delete_pointers(f->ledger, UUID, NULL, NULL));
    assert_rows(f, vf_ledger_each_pointer, "", 0);
    commit(f);
}

static void test_locked(Fixture *f, gconstpointer data)
{
    g_autofree char *path = file_of(f, "ledger.db");
    g_autofree char *expected =
        g_strdup_printf("%s: database is locked -- end the other virtfnd, or the program that has "
                        "it open",
                        path);
    g_autoptr(GError) error = NULL;
    g_autofree char *note = NULL;

    g_assert_null(vf_ledger_open(f->run, f->state, BOOT, &note, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_INTERNAL);
    g_assert_cmpstr(error->message, ==, expected);
    put_number(f, 1);
    commit(f);
}

static void test_modes(Fixture *f, gconstpointer data)
{
    static const char *const names[] = {"ledger.db", "assignments.db"};
    struct stat status;

    g_assert_cmpint(stat(f->run, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 0777, ==, 0755);
    g_assert_cmpint(stat(f->state, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 0777, ==, 0700);
    for (guint i = 0; i < 2; i++) {
        g_autofree char *path = file_of(f, names[i]);

        g_assert_cmpint(stat(path, &status), ==, 0);
        g_assert_cmpint(status.st_mode & 0777, ==, 0600);
    }
}

// ---- damage

static void damage(Fixture *f, const char *name, const char *text)
{
    g_autofree char *path = file_of(f, name);

    g_clear_pointer(&f->ledger, vf_ledger_close);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void test_garbage(Fixture *f, gconstpointer name)
{
    g_autofree char *path = file_of(f, name);
    g_autofree char *kept = NULL;

    for (guint n = 1; n <= 2; n++) {
        g_autofree char *aside = g_strdup_printf("%s.damaged-%u", path, n);
        g_autofree char *expected =
            g_strdup_printf("%s: file is not a database; it was moved to %s and a new one begun",
                            path, aside);

        damage(f, name, "no database\n");
        open_boot(f, BOOT);
        g_assert_cmpstr(f->note, ==, expected);
        g_clear_pointer(&kept, g_free);
        g_assert_true(g_file_get_contents(aside, &kept, NULL, NULL));
        g_assert_cmpstr(kept, ==, "no database\n");
        put_number(f, n);
        commit(f);
    }
}

static void test_truncated(Fixture *f, gconstpointer data)
{
    g_autofree char *path = file_of(f, "ledger.db");

    for (guint n = 0; n < 40; n++)
        put_number(f, n);
    commit(f);
    g_clear_pointer(&f->ledger, vf_ledger_close);
    g_assert_cmpint(truncate(path, 6000), ==, 0);
    open_boot(f, BOOT);
    g_assert_nonnull(strstr(f->note, "; it was moved to "));
    assert_leases(f, "");
}

static void test_emptied(Fixture *f, gconstpointer data)
{
    put_number(f, 1);
    commit(f);
    damage(f, "ledger.db", "");
    open_boot(f, BOOT);
    assert_leases(f, "");
    put_number(f, 2);
    commit(f);
}

static void test_other_schema(Fixture *f, gconstpointer data)
{
    g_autofree char *path = file_of(f, "ledger.db");
    sqlite3 *db;

    g_clear_pointer(&f->ledger, vf_ledger_close);
    g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(db, "DROP TABLE lease; CREATE TABLE lease (x)", NULL, NULL, NULL),
                    ==, SQLITE_OK);
    sqlite3_close(db);
    open_boot(f, BOOT);
    g_assert_nonnull(strstr(f->note, "; it was moved to "));
}

// What of the settings a guest asked for is not known of leases that an earlier virtfn wrote.
static void test_before_claims(Fixture *f, gconstpointer data)
{
    g_autofree char *path = file_of(f, "ledger.db");
    VfLease lease = make_lease(4);

    lease.settings.vlan = 42;
    g_assert_true(put(f, &lease, 3, NULL));
    commit(f);
    g_clear_pointer(&f->ledger, vf_ledger_close);
    execute(path, "ALTER TABLE lease DROP COLUMN claim");
    open_boot(f, BOOT);
    g_assert_null(f->note);
    assert_leases(f, UUID " net4 web uplink 0000:3b:00.0#3 reserved 4 1004 vlan=42 (vlan=42)\n");
    lease.claim.vlan = 7;
    g_assert_true(put(f, &lease, 3, NULL));
    commit(f);
    open_boot(f, BOOT);
    assert_leases(f, UUID " net4 web uplink 0000:3b:00.0#3 reserved 4 1004 vlan=42 (vlan=7)\n");
}

static void test_rows_without_sense(Fixture *f, gconstpointer data)
{
    static const char *const changes[] = {
        "pf = 'nowhere'",     "idx = -1",
        "idx = 70000",        "state = 'asleep'",
        "uuid = 'web'",       "settings = 'vlan'",
        "settings = 'x=1\n'", "settings = 'vlan=9999\n'",
        "claim = 'vlan'",     "device = '012345678901234567890123456789012'"};
    g_autofree char *path = file_of(f, "ledger.db");
    sqlite3 *db;

    for (guint n = 0; n <= G_N_ELEMENTS(changes); n++)
        put_number(f, n);
    commit(f);
    g_clear_pointer(&f->ledger, vf_ledger_close);
    g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
    for (guint n = 0; n < G_N_ELEMENTS(changes); n++) {
        g_autofree char *sql =
            g_strdup_printf("UPDATE lease SET %s WHERE device = 'net%u'", changes[n], n);

        g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
        g_assert_cmpint(sqlite3_changes(db), ==, 1);
    }
    sqlite3_close(db);
    open_boot(f, BOOT);
    assert_rows(f, vf_ledger_each_lease,
                UUID " net10 web uplink 0000:3b:00.0#10 reserved 10 1010\n", G_N_ELEMENTS(changes));
}

// ---- failures

static void test_two_leases_of_one_function(Fixture *f, gconstpointer data)
{
    VfLease lease = make_lease(2);
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) commit_error = NULL;

    put_number(f, 1);
    commit(f);
    put_number(f, 3);
    g_assert_false(put(f, &lease, 1, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_INTERNAL);
    // Memory has gone ahead of the ledger: all of the transaction is undone.
    g_assert_true(vf_ledger_dirty(f->ledger));
    g_assert_false(vf_ledger_commit(f->ledger, NULL, &commit_error));
    g_assert_cmpstr(commit_error->message, ==, error->message);
    assert_leases(f, UUID " net1 web uplink 0000:3b:00.0#1 reserved 1 1001\n");
    put_number(f, 4);
    commit(f);
}

static void test_no_run_directory(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *note = NULL;

    g_assert_null(vf_ledger_open("/proc/none", f->state, BOOT, &note, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_INTERNAL);
    g_assert_cmpstr(error->message, ==, "/proc/none: No such file or directory");
}

static void test_no_state_directory(Fixture *f, gconstpointer data)
{
    VfPointer pointer = {UUID, "net0", 0, 0};
    VfPciAddr pf = {0};

    g_clear_pointer(&f->ledger, vf_ledger_close);
    g_free(f->state);
    f->state = g_strdup("/proc/none");
    open_boot(f, BOOT);
    g_assert_cmpstr(f->note, ==,
                    "/proc/none/assignments.db: unable to open database file"
                    " -- make the directory writable for virtfnd");
    g_assert_true(vf_ledger_put_pointer(f->ledger, &pointer, "uplink", &pf, 4, NULL));
    commit(f);
    assert_rows(f, vf_ledger_each_pointer, UUID " net0 - uplink 0000:00:00.0#4\n", 0);
}

// From here on no file may grow beyond what the write-ahead log needs for a few rows.
static void limit_files(rlim_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};

    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

static void test_full(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    gboolean done = TRUE;
    guint n = 2;

    put_number(f, 1);
    commit(f);
    limit_files(64 * 1024);
    while (done && n < 60) {
        put_number(f, n++);
        done = vf_ledger_commit(f->ledger, NULL, &error);
    }
    g_assert_false(done);
    g_assert_error(error, VF_ERROR, VF_ERROR_INTERNAL);
    g_assert_true(g_str_has_suffix(error->message, "ledger.db: disk I/O error -- see the kernel "
                                                   "log, and whether its file system is full"));
    g_assert_false(vf_ledger_dirty(f->ledger));
    limit_files(RLIM_INFINITY);
    // All but the last are there, here and after a restart.
    for (guint opened = 0; opened < 2; opened++) {
        g_autoptr(GString) rows = g_string_new(NULL);
        guint skipped, lines = 0;

        g_assert_true(vf_ledger_each_lease(f->ledger, describe, rows, &skipped, NULL));
        for (const char *p = rows->str; (p = strchr(p, '\n')) != NULL; p++)
            lines++;
        g_assert_cmpuint(lines, ==, n - 2);
        open_boot(f, BOOT);
        g_assert_null(f->note);
    }
    put_number(f, n);
    commit(f);
}

static void test_full_for_pointers(Fixture *f, gconstpointer data)
{
    VfPointer pointer = {UUID, "net0", 0, 0};
    VfPciAddr pf = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) again = NULL;

    put_number(f, 1);
    g_assert_true(vf_ledger_put_pointer(f->ledger, &pointer, "uplink", &pf, 4, NULL));
    limit_files(512);
    g_assert_false(vf_ledger_commit(f->ledger, NULL, NULL));
    limit_files(RLIM_INFINITY);
    // Leases without pointers: the failure stands until pointers could be written.
    put_number(f, 1);
    g_assert_true(vf_ledger_commit(f->ledger, &error, NULL));
    g_assert_error(error, VF_ERROR, VF_ERROR_INTERNAL);
    g_assert_nonnull(strstr(error->message, "assignments.db: disk I/O error"));
    g_assert_true(vf_ledger_put_pointer(f->ledger, &pointer, "uplink", &pf, 4, NULL));
    g_assert_true(vf_ledger_commit(f->ledger, &again, NULL));
    g_assert_no_error(again);
}

// ---- requests for accelerators

static VfLedgerAttachment make_attachment(guint n)
{
    static char devices[64][8];

    g_snprintf(devices[n % 64], sizeof(devices[0]), "acc%u", n);
    return (VfLedgerAttachment){.uuid = UUID,
                                .device = devices[n % 64],
                                .domain = "web",
                                .accelerator = "sha256",
                                .state = "holding",
                                .answer = "preempt+load",
                                .pf = {0, 0x3b, 0, 1},
                                .index = n,
                                .region = n == 0 ? G_MAXUINT : n + 100,
                                .priority = n + 200,
                                .weight = n + 300,
                                .shared = TRUE,
                                .on_access = n % 2,
                                .hot = n % 3 == 1,
                                .preempted = n % 2 == 0,
                                .preemptions = n + 400,
                                .failures = n + 500,
                                .since = 1000 - (gint64)n};
}

static void describe_attachment(const VfLedgerAttachment *row, gpointer data)
{
    char pf[VF_PCIADDR_BUFSIZE];

    g_string_append_printf(
        data, "%s %s %s %s %s %s %s#%u r%d p%u w%u%s%s%s%s %u %u %" G_GINT64_FORMAT "\n", row->uuid,
        row->device, row->domain, row->accelerator, row->state, row->answer,
        vf_pciaddr_format(&row->pf, pf), row->index, (int)row->region, row->priority, row->weight,
        row->shared ? " shared" : "", row->on_access ? " on-access" : "", row->hot ? " hot" : "",
        row->preempted ? " preempted" : "", row->preemptions, row->failures, row->since);
}

static char *attachments(Fixture *f)
{
    GString *text = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    guint skipped;

    g_assert_true(
        vf_ledger_each_attachment(f->ledger, describe_attachment, text, &skipped, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(skipped, ==, 0);
    return g_string_free(text, FALSE);
}

static void put_attachment(Fixture *f, guint n)
{
    VfLedgerAttachment row = make_attachment(n);
    g_autoptr(GError) error = NULL;

    g_assert_true(vf_ledger_put_attachment(f->ledger, &row, &error));
    g_assert_no_error(error);
}

// Oldest first, whole, and only what was committed.
static void test_attachments(Fixture *f, gconstpointer data)
{
    g_autofree char *both = NULL, *one = NULL, *none = NULL;
    g_autoptr(GError) error = NULL;

    put_attachment(f, 0);
    put_attachment(f, 1);
    put_attachment(f, 1);
    g_assert_true(vf_ledger_dirty(f->ledger));
    commit(f);
    put_attachment(f, 2);
    open_boot(f, BOOT);
    both = attachments(f);
    g_assert_cmpstr(both, ==,
                    UUID " acc1 web sha256 holding preempt+load 0000:3b:00.1#1 r101 p201 w301"
                         " shared on-access hot 401 501 999\n" UUID
                         " acc0 web sha256 holding preempt+load 0000:3b:00.1#0 r-1 p200 w300"
                         " shared preempted 400 500 1000\n");
    g_assert_true(vf_ledger_delete_attachment(f->ledger, UUID, "acc1", &error));
    g_assert_no_error(error);
    commit(f);
    one = attachments(f);
    g_assert_true(g_str_has_prefix(one, UUID " acc0 "));
    open_boot(f, "boot-2");
    none = attachments(f);
    g_assert_cmpstr(none, ==, "");
}

#define ADD(name, data, function)                                                                  \
    g_test_add("/ledger/" name, Fixture, data, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("round-trip", NULL, test_round_trip);
    ADD("paused", NULL, test_paused);
    ADD("before-pauses", NULL, test_before_pauses);
    ADD("replace-and-delete", NULL, test_replace_and_delete);
    ADD("attachments", NULL, test_attachments);
    ADD("other-boot", NULL, test_other_boot);
    ADD("generation-outlives-leases", NULL, test_generation_outlives_leases);
    ADD("uncommitted", NULL, test_uncommitted);
    ADD("pointers", NULL, test_pointers);
    ADD("locked", NULL, test_locked);
    ADD("modes", NULL, test_modes);
    ADD("garbage/leases", "ledger.db", test_garbage);
    ADD("garbage/pointers", "assignments.db", test_garbage);
    ADD("truncated", NULL, test_truncated);
    ADD("emptied", NULL, test_emptied);
    ADD("other-schema", NULL, test_other_schema);
    ADD("before-claims", NULL, test_before_claims);
    ADD("rows-without-sense", NULL, test_rows_without_sense);
    ADD("two-leases-of-one-function", NULL, test_two_leases_of_one_function);
    ADD("no-run-directory", NULL, test_no_run_directory);
    ADD("no-state-directory", NULL, test_no_state_directory);
    ADD("full", NULL, test_full);
    ADD("full-for-pointers", NULL, test_full_for_pointers);
    return g_test_run();
}
