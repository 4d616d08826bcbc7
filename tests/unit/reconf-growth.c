// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every point of a start that grows its card, and of the started and release after it, with the
// daemon's own: ledger, lanes, hooks that ask again. The daemon is killed there with -9, its helper
// is, or the call fails once. Then the hook asks the next daemon, and gets what it asked for;
// ledger, sysfs and QEMU say the same; no journal is open and no removal went unfenced.
// What reconf-crash.c shows of the reconf itself this shows of what is around it.
//
// `-l` lists the cases; VIRTFN_CRASH_EVERY=10 takes each tenth only.

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/crew.h"
#include "../lib/fake.h"
#include "../lib/forked.h"
#include "reconf.h"
#include "sriov.h"

#define PF_DIR "/sys/bus/pci/devices/" FORKED_PF "/"
#define BEFORE 2
#define AFTER 3
#define DEVICE "ua-virtfn-net0"

static const VfPciAddr pf = {0, 1, 0, 0};
static char *root;
static Forked *forked;
static Crew *crew;

// Guest 0 runs on function 0; guest 1 starts on function 2, which there is not.
typedef enum { PREPARE, ADOPT, RELEASE, REQUESTS } Request;

static const char *const requests[] = {"prepare 1 2", "adopt 1 2", "release 1"};

typedef struct {
    Request request;
    const char *action;
    guint nth;
    char *point;
} Case;

static GPtrArray *cases;
static guint killed;

static void drop(const char *path)
{
    g_autofree char *full = g_strconcat(root, path, NULL);

    g_unlink(full);
}

static void put(const char *path, const char *text)
{
    g_autofree char *full = g_strconcat(root, path, NULL);
    g_autoptr(GError) error = NULL;

    g_file_set_contents(full, text, -1, &error);
    g_assert_no_error(error);
}

static void must(const char *request)
{
    g_autofree char *said = forked_ask(forked, request);

    if (g_strcmp0(said, "ok") != 0)
        g_error("%s: %s", request, said != NULL ? said : "killed");
}

static void boot(guint guest, guint index)
{
    g_autofree char *socket = forked_socket(forked, guest);
    VfPciAddr address = forked_address(index);

    crew_boot(crew, guest, socket);
    g_assert_true(crew_add(crew, guest, DEVICE, root, &address));
}

// Everything up to it.
static void bring_about(Request request)
{
    for (Request i = PREPARE; i <= request; i++) {
        if (i == ADOPT)
            boot(1, 2);
        if (i == RELEASE)
            crew_off(crew, 1);
        if (i < request)
            must(requests[i]);
    }
}

static void check(Request request)
{
    static const char *const leases[] = {"ok 0:0 1:2", "ok 0:0 1:2", "ok 0:0"};
    g_autofree char *said = forked_ask(forked, "leases");
    g_autofree char *log = fake_read(root, "/.log");
    g_autofree char *autoprobe = fake_read(root, PF_DIR "sriov_drivers_autoprobe");
    g_autofree char *state = crew_state(crew, 0, DEVICE);
    VfPciAddr address = forked_address(2);
    g_autofree char *driver = vf_sriov_driver(root, &address);

    g_assert_cmpstr(said, ==, leases[request]);
    g_assert_cmpstr(state, ==, "running");
    g_assert_cmpstr(driver, ==, "vfio-pci");
    g_assert_cmpstr(autoprobe, ==, "1");
    g_assert_cmpuint(vf_sriov_count(root, &pf), ==, AFTER);
    g_assert_false(vf_reconf_has_journal(forked_journals(forked), &pf));
    if (strstr(log, "unfenced") != NULL)
        g_error("a function was removed that was not fenced");
}

// To where each case begins.
static void go_home(Request request)
{
    if (request == ADOPT)
        crew_off(crew, 1);
    if (request != RELEASE)
        must("release 1");
    must("reconf 2");
    put("/.log", "");
}

static void test_point(gconstpointer data)
{
    const Case *c = data;
    g_autofree char *order = g_strdup_printf("%s %u %s\n", c->action, c->nth, c->point);

    bring_about(c->request);
    drop("/.trace");
    put("/.points", order);
    g_autofree char *said = forked_ask(forked, requests[c->request]);
    drop("/.points");
    if (said == NULL) {
        killed++;
        forked_start(forked);
        must("look");
        must(requests[c->request]);
    } else if (strcmp(said, "ok") != 0) {
        must("look");
        must(requests[c->request]);
    }
    must("look");
    check(c->request);
    go_home(c->request);
}

// Neither way could be gone: nobody touches the card until the next look has ended it.
static void test_stuck(void)
{
    static const char *const point = "before write drivers_probe 0000:01:10.0";
    g_autofree char *orders = g_strdup_printf("EIO 1 %s\nEIO 2 %s\n", point, point);

    drop("/.trace");
    put("/.points", orders);
    g_autofree char *said = forked_ask(forked, "reconf 3");
    drop("/.points");
    g_assert_nonnull(strstr(said, "neither the new nor the old configuration"));
    for (guint i = 0; i < 2; i++) {
        g_autofree char *refused = forked_ask(forked, i == 0 ? "reconf 4" : requests[PREPARE]);
        g_autofree char *state = crew_state(crew, 0, DEVICE);

        if (strstr(refused, "its last reconf has not ended") == NULL)
            g_error("not refused: %s", refused);
        g_assert_cmpstr(state, ==, "paused");
    }
    must("look");
    must(requests[PREPARE]);
    check(PREPARE);
    go_home(PREPARE);
}

// ---- the list

static void add_case(Request request, const char *action, guint nth, const char *point)
{
    const char *every = g_getenv("VIRTFN_CRASH_EVERY");
    Case *c = g_new(Case, 1);

    *c = (Case){request, action, nth, g_strdup(point)};
    g_ptr_array_add(cases, c);
    if (every != NULL && cases->len % (guint)strtoul(every, NULL, 10) != 0)
        return;
    g_autofree char *verb = g_strndup(requests[request], strcspn(requests[request], " "));
    g_autofree char *object = g_strdelimit(g_strdup(point), "/", '+');
    g_autofree char *name =
        g_strdup_printf("/reconf-growth/%s: %s %s (%u)", verb, action, object, nth);
    g_test_add_data_func(name, c, test_point);
}

// What changes something: reconf-crash.c has the rest, of the reconf.
static void add_cases(Request request, guint nth, const char *point)
{
    static const char *const calls[] = {" write ",  " sync ",  " rename ",   " unlink ",
                                        " create ", " claim ", " send vfio-"};
    gboolean of_helper = strstr(point, ": ") != NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(calls); i++) {
        if (strstr(point, calls[i]) == NULL)
            continue;
        add_case(request, "kill", nth, point);
        if (of_helper)
            add_case(request, "orphan", nth, point);
        if (strstr(point, "before ") != NULL)
            add_case(request, strstr(point, "ledger") != NULL ? "ENOSPC" : "EIO", nth, point);
        return;
    }
}

static void list_points(Request request)
{
    g_autoptr(GHashTable) counts = g_hash_table_new(g_str_hash, g_str_equal);

    bring_about(request);
    drop("/.trace");
    put("/.points", "");
    must(requests[request]);
    drop("/.points");
    go_home(request);
    g_autofree char *trace = fake_read(root, "/.trace");
    g_auto(GStrv) lines = g_strsplit(trace, "\n", 0);
    for (char **line = lines; *line != NULL; line++) {
        guint nth = GPOINTER_TO_UINT(g_hash_table_lookup(counts, *line)) + 1;

        g_hash_table_insert(counts, *line, GUINT_TO_POINTER(nth));
        add_cases(request, nth, *line);
    }
}

static void test_all_reached(void)
{
    g_test_message("%u cases, %u kills of the daemon", cases->len, killed);
    g_assert_cmpuint(killed, >, 0);
}

// ----

static void make_host(void)
{
    root = fake_host("igb@" FORKED_PF, NULL);
    forked = forked_new(root);
    crew = crew_new(100);
    forked_start(forked);
    must("prepare 0 0");
    boot(0, 0);
    must("adopt 0 0");
    // Somebody had it on: it has to be on again.
    g_assert_cmpint(fake_write(root, PF_DIR "sriov_drivers_autoprobe", "1"), ==, 0);
    g_assert_cmpuint(vf_sriov_count(root, &pf), ==, BEFORE);
}

static void case_free(gpointer data)
{
    g_free(((Case *)data)->point);
    g_free(data);
}

// What is logged is not looked at here, and a warning is no failure.
static GLogWriterOutput drop_log(GLogLevelFlags level, const GLogField *fields, gsize n,
                                 gpointer data)
{
    return (level & G_LOG_FLAG_FATAL) != 0 ? g_log_writer_default(level, fields, n, data)
                                           : G_LOG_WRITER_HANDLED;
}

int main(int argc, char **argv)
{
    fake_kernel_start(argv);
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    g_log_set_writer_func(drop_log, NULL, NULL);
    make_host();
    cases = g_ptr_array_new_with_free_func(case_free);
    for (Request i = PREPARE; i < REQUESTS; i++)
        list_points(i);
    g_test_add_func("/reconf-growth/stuck/nobody-touches-it", test_stuck);
    g_test_add_func("/reconf-growth/list/all-reached", test_all_reached);
    int result = g_test_run();
    forked_free(forked);
    crew_free(crew);
    g_ptr_array_unref(cases);
    fake_host_free(root);
    return result;
}
