// SPDX-License-Identifier: GPL-2.0-or-later
//
// A reconf on the fake kernel, with guests that have their groups open: what it does in which
// order, each thing that can go wrong, and a kill at each event that it tells. After every one of
// them the same is asked (assert_settled): one configuration or the other, each guest running on
// its own function, no journal, old values restored.

#include "reconf.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/fake.h"
#include "../lib/owners.h"
#include "../lib/qmp-peer.h"
#include "error.h"
#include "sriov.h"

#define PF_TEXT "0000:01:00.0"
#define PF_DIR "/sys/bus/pci/devices/" PF_TEXT "/"
#define VF0_DIR "/sys/bus/pci/devices/0000:01:10.0/"
#define PER_GUEST 2
#define OWNERS (OWNERS_GUESTS * PER_GUEST)
#define CHILD "VIRTFN_RECONF_CHILD"

static const VfPciAddr pf = {0, 1, 0, 0};
static char *helper;

// Two guests with two functions each, of four; the owners' functions are not in order of guest.
typedef struct {
    char *root, *journals, *top;
    char *sockets[OWNERS_GUESTS];
    QmpPeer *peers[OWNERS_GUESTS];
    VfReconf *reconf;
    GPtrArray *told; // "step event owner"
    gint cancelled;
    const char *cancel_at; // an event
    gint64 began;          // monotonic: the first event
} Fixture;

static int open_group(const char *root, const VfPciAddr *address)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfFence) fence = vf_fence_acquire_vf(root, address, &error);

    g_assert_no_error(error);
    return fcntl(vf_fence_fd(fence), F_DUPFD_CLOEXEC, 3);
}

static void boot_guest(Fixture *f, guint guest)
{
    g_autoptr(GError) error = NULL;

    f->peers[guest] = qmp_peer_new(f->sockets[guest]);
    for (guint i = guest; i < OWNERS; i += OWNERS_GUESTS) {
        VfPciAddr address = fake_igb_vf(&pf, i);
        g_autofree char *id = owners_id(i);
        char text[VF_PCIADDR_BUFSIZE];
        g_autofree char *path =
            g_strconcat("/sys/bus/pci/devices/", vf_pciaddr_format(&address, text), NULL);

        vf_sriov_bind(f->root, &address, "vfio-pci", &error);
        g_assert_no_error(error);
        qmp_peer_add(f->peers[guest], id, path);
        qmp_peer_hold(f->peers[guest], id, open_group(f->root, &address));
    }
}

static VfReconf *plan(Fixture *f, guint from, guint to)
{
    VfReconf *reconf = vf_reconf_new(&pf, from, to);

    owners_add(reconf, OWNERS, f->sockets);
    return reconf;
}

static void set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->root = fake_host("igb@" PF_TEXT, NULL);
    f->top = g_path_get_dirname(f->root);
    f->journals = g_build_filename(f->top, "journals", NULL);
    f->told = g_ptr_array_new_with_free_func(g_free);
    vf_sriov_set_count(f->root, &pf, OWNERS, helper, &error);
    g_assert_no_error(error);
    // Somebody had it on: it has to be on again.
    g_assert_cmpint(fake_write(f->root, PF_DIR "sriov_drivers_autoprobe", "1"), ==, 0);
    for (guint i = 0; i < OWNERS_GUESTS; i++) {
        f->sockets[i] = g_strdup_printf("%s/guest%u.sock", f->top, i);
        boot_guest(f, i);
    }
    f->reconf = plan(f, OWNERS, 7);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    for (guint i = 0; i < OWNERS_GUESTS; i++) {
        g_clear_pointer(&f->peers[i], qmp_peer_free);
        g_unlink(f->sockets[i]);
        g_free(f->sockets[i]);
    }
    g_rmdir(f->journals);
    vf_reconf_free(f->reconf);
    g_ptr_array_unref(f->told);
    g_free(f->journals);
    g_free(f->top);
    fake_host_free(f->root);
}

static void note(VfReconfStep step, const char *event, const char *owner, gpointer data)
{
    Fixture *f = data;
    char *told = g_strdup_printf("%s %s%s%s", vf_reconf_step_word(step), event,
                                 owner != NULL ? " " : "", owner != NULL ? owner : "");

    if (f->told->len == 0)
        f->began = g_get_monotonic_time();
    g_ptr_array_add(f->told, told);
    if (g_strcmp0(told, f->cancel_at) == 0)
        g_atomic_int_set(&f->cancelled, 1);
}

static VfReconfHost host_of(Fixture *f)
{
    return (VfReconfHost){.root = f->root,
                          .helper = helper,
                          .journals = f->journals,
                          .pause_ms = 30000,
                          .resume_ms = 30000,
                          .tell = note,
                          .data = f,
                          .cancelled = &f->cancelled};
}

static VfReconfOutcome run(Fixture *f, GError **error)
{
    VfReconfHost host = host_of(f);
    VfReconfOutcome outcome = vf_reconf_run(f->reconf, &host, NULL, error);

    if (*error != NULL)
        g_test_message("%s", (*error)->message);
    return outcome;
}

static void assert_running(Fixture *f, guint index)
{
    QmpPeer *peer = f->peers[owners_guest(index)];
    VfPciAddr address = fake_igb_vf(&pf, index);
    g_autofree char *id = owners_id(index), *driver = vf_sriov_driver(f->root, &address);
    g_autoptr(GError) error = NULL;

    g_assert_cmpstr(qmp_peer_state(peer, id), ==, "running");
    g_assert_cmpstr(driver, ==, "vfio-pci");
    // the guest has it open, not another one's
    g_assert_false(vf_sriov_check_unused(f->root, &address, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_BUSY);
}

// count 0: either the old or the new number.
static void assert_settled(Fixture *f, guint count)
{
    g_autofree char *autoprobe = fake_read(f->root, PF_DIR "sriov_drivers_autoprobe");
    g_autoptr(GArray) open = vf_reconf_open(f->journals);
    guint found = vf_sriov_count(f->root, &pf);

    g_assert_cmpuint(open->len, ==, 0);
    if (count > 0)
        g_assert_cmpuint(found, ==, count);
    else
        g_assert_true(found == f->reconf->from || found == f->reconf->to);
    for (guint i = 0; i < OWNERS; i++)
        if (f->peers[owners_guest(i)] != NULL)
            assert_running(f, i);
    for (guint i = 0; i < OWNERS_GUESTS; i++)
        if (f->peers[i] != NULL)
            g_assert_cmpuint(qmp_peer_named(f->peers[i]), ==, 0);
    g_assert_cmpstr(autoprobe, ==, "1");
}

static void assert_says(GError **error, int code, const char *words)
{
    g_assert_error(*error, VF_ERROR, code);
    if (strstr((*error)->message, words) == NULL)
        g_error("'%s' is not in: %s", words, (*error)->message);
    g_clear_error(error);
}

static int position(Fixture *f, const char *event)
{
    for (guint i = 0; i < f->told->len; i++)
        if (strcmp(g_ptr_array_index(f->told, i), event) == 0)
            return i;
    g_error("'%s' was not told", event);
}

// ---- what it does

static void test_done(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    VfReconfHost host = host_of(f);
    VfReconfTimes times;

    g_assert_cmpint(vf_reconf_run(f->reconf, &host, &times, &error), ==, VF_RECONF_DONE);
    g_assert_no_error(error);
    assert_settled(f, 7);
    for (guint i = 0; i < VF_RECONF_STEPS; i++)
        g_assert_cmpint(times.steps[i], >, 0);
    g_assert_cmpint(times.outage, >=, times.steps[VF_RECONF_STEP_REMOVE]);
    g_assert_cmpint(position(f, "pause paused web2/net3"), <, position(f, "fence begin"));
    g_assert_cmpint(position(f, "fence end"), <, position(f, "remove begin"));
    g_assert_cmpint(position(f, "ready ready web2/net3"), <, position(f, "resume begin"));
    g_assert_cmpint(position(f, "resume begin"), <, position(f, "resume resumed web1/net0"));
}

// The number stays; the functions are other ones.
static void test_same_count(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->reconf->to = OWNERS;
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_DONE);
    g_assert_no_error(error);
    assert_settled(f, OWNERS);
    g_assert_cmpint(fake_log_find(f->root, "write " PF_DIR "sriov_numvfs 0", 0), >=, 0);
}

// Done, and its caller is killed before he has written down what it means: he learns it again.
static void test_kept(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    VfReconfHost host = host_of(f);

    host.keep_done = TRUE;
    f->reconf->note = g_strdup("uplink=gold\n");
    g_assert_cmpint(vf_reconf_run(f->reconf, &host, NULL, &error), ==, VF_RECONF_DONE);
    g_assert_no_error(error);
    for (guint i = 0; i < OWNERS; i++)
        assert_running(f, i);
    g_autoptr(VfReconf) left = vf_reconf_load(f->journals, &pf, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(left->note, ==, "uplink=gold\n");
    g_assert_cmpint(vf_reconf_recover(left, &host, NULL, &error), ==, VF_RECONF_DONE);
    g_assert_no_error(error);
    g_assert_true(vf_reconf_has_journal(f->journals, &pf));
    g_assert_cmpuint(qmp_peer_count(f->peers[0], "vfio-pause"), ==, PER_GUEST);
    g_assert_true(vf_reconf_forget(left, f->journals, &error));
    assert_settled(f, 7);
}

// One that went back says nothing new: its journal goes at once.
static void test_undone_is_not_kept(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    VfReconfHost host = host_of(f);

    host.keep_done = TRUE;
    f->reconf->to = 8;
    g_assert_cmpint(vf_reconf_run(f->reconf, &host, NULL, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_SYSFS, PF_TEXT);
    assert_settled(f, OWNERS);
}

static void test_guest_is_gone(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_clear_pointer(&f->peers[1], qmp_peer_free);
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_DONE);
    g_assert_no_error(error);
    assert_settled(f, 7);
}

static gpointer close_later(gpointer group)
{
    g_usleep(150 * 1000);
    close(GPOINTER_TO_INT(group));
    return NULL;
}

// Its monitor is closed already, its function is not: it is not taken for one without a monitor.
static void test_guest_ends(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    VfPciAddr address = fake_igb_vf(&pf, 1);

    g_clear_pointer(&f->peers[1], qmp_peer_free);
    int group = open_group(f->root, &address);
    GThread *ending = g_thread_new("ending", close_later, GINT_TO_POINTER(group));
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_DONE);
    g_assert_no_error(error);
    g_thread_join(ending);
    assert_settled(f, 7);
}

static void test_keeps_paused(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    VfPciAddr address = fake_igb_vf(&pf, 0);

    qmp_peer_begin(f->peers[0], "ua-virtfn-net0", "pausing");
    while (strcmp(qmp_peer_state(f->peers[0], "ua-virtfn-net0"), "paused") != 0)
        g_usleep(1000);
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_DONE);
    g_assert_no_error(error);
    g_assert_cmpstr(qmp_peer_state(f->peers[0], "ua-virtfn-net0"), ==, "paused");
    g_autofree char *driver = vf_sriov_driver(f->root, &address);
    g_assert_cmpstr(driver, ==, "vfio-pci");
    for (guint i = 1; i < OWNERS; i++)
        assert_running(f, i);
}

// ---- what is refused before anything is touched

static void assert_untouched(Fixture *f)
{
    g_assert_cmpint(fake_log_find(f->root, "write " PF_DIR "sriov_numvfs 0", 0), <, 0);
    assert_settled(f, OWNERS);
}

static void test_no_monitor(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    VfReconfOwner *owner = g_ptr_array_index(f->reconf->owners, 0);

    g_clear_pointer(&owner->socket, g_free);
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_STATE, "domain 'web1', device 'net0': it was started without");
    assert_untouched(f);
}

static void test_cannot_pause(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_make_stock(f->peers[1]);
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_STATE, "domain 'web2'");
    assert_untouched(f);
}

// With allow_detach that is no error of a look, and told of that guest's functions only.
static void test_look_allows_detach(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    VfReconfHost host = host_of(f);

    qmp_peer_make_stock(f->peers[1]);
    f->reconf->allow_detach = TRUE;
    g_assert_true(vf_reconf_look(f->reconf, &host, &error));
    g_assert_no_error(error);
    for (guint i = 0; i < OWNERS; i++) {
        const VfReconfOwner *owner = g_ptr_array_index(f->reconf->owners, i);

        g_assert_cmpint(owner->cannot_pause, ==, owners_guest(owner->index) == 1);
    }
    assert_untouched(f);
}

// Whatever else a guest does: named, and nobody was asked to pause.
static void test_busy_guest(Fixture *f, gconstpointer data)
{
    static const struct {
        const char *state, *migration, *word;
    } busy[] = {{"running", "setup", "(setup)"},
                {"running", "active", "(active)"},
                {"running", "cancelling", "(cancelling)"},
                {"running", "postcopy-active", "(postcopy-active)"},
                {"paused", "device", "(device)"},
                {"finish-migrate", "active", "(finish-migrate)"},
                {"postmigrate", "completed", "(postmigrate)"},
                {"inmigrate", NULL, "(inmigrate)"},
                {"save-vm", NULL, "(save-vm)"},
                {"restore-vm", NULL, "(restore-vm)"}};

    for (guint i = 0; i < G_N_ELEMENTS(busy); i++) {
        g_autoptr(GError) error = NULL;

        qmp_peer_set_status(f->peers[1], busy[i].state, busy[i].migration);
        g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
        g_assert_nonnull(strstr(error->message, busy[i].word));
        assert_says(&error, VF_ERROR_BUSY, "domain 'web2': it is being migrated");
        VfReconfHost host = host_of(f);
        g_assert_false(vf_reconf_look(f->reconf, &host, &error));
        assert_says(&error, VF_ERROR_BUSY, "domain 'web2'");
    }
    g_assert_cmpuint(qmp_peer_count(f->peers[0], "vfio-pause"), ==, 0);
    assert_untouched(f);
}

// A guest that stands still is paused and resumed all the same, and stands still after it.
static void test_standing_guest(Fixture *f, gconstpointer data)
{
    static const char *const states[] = {"paused",   "prelaunch", "shutdown",      "suspended",
                                         "io-error", "watchdog",  "guest-panicked"};
    static const char *const before[] = {NULL, "none", "completed", "failed", "cancelled"};
    guint to = 7;

    for (guint i = 0; i < G_N_ELEMENTS(states); i++) {
        g_autoptr(GError) error = NULL;

        qmp_peer_set_status(f->peers[0], states[i], before[i % G_N_ELEMENTS(before)]);
        g_assert_cmpint(run(f, &error), ==, VF_RECONF_DONE);
        g_assert_no_error(error);
        assert_settled(f, to);
        vf_reconf_free(f->reconf);
        f->reconf = plan(f, to, to == 7 ? OWNERS : 7);
        to = f->reconf->to;
    }
}

static void test_pause_is_refused(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_order(f->peers[1], "vfio-pause", QMP_REFUSE, 1);
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_QMP, "domain 'web2'");
    assert_untouched(f);
}

static void assert_reset_methods(const Fixture *f, guint index, const char *expected)
{
    VfPciAddr address = fake_igb_vf(&pf, index);
    g_autofree char *methods = vf_sriov_reset_methods(f->root, &address);

    g_assert_cmpstr(methods, ==, expected);
}

// A close need not reset what is destroyed next; if it is not destroyed, all is as it was, also
// what somebody else had taken away.
static void test_close_without_reset(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    VfPciAddr spared = fake_igb_vf(&pf, 1);

    g_assert_true(vf_sriov_set_reset_methods(f->root, &spared, "", &error));
    qmp_peer_order(f->peers[1], "vfio-pause", QMP_REFUSE, 1);
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_settled(f, OWNERS);
    int taken = fake_log_find(f->root, "write " VF0_DIR "reset_method \"\"", 0);
    int given = fake_log_find(f->root, "write " VF0_DIR "reset_method flr", 0);
    g_assert_cmpint(taken, >=, 0);
    g_assert_cmpint(taken, <, given);
    assert_reset_methods(f, 0, "flr");
    assert_reset_methods(f, 1, "");

    f->reconf->to = OWNERS;
    g_clear_error(&error);
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_DONE);
    g_assert_no_error(error);
    for (guint i = 0; i < OWNERS; i++)
        assert_reset_methods(f, i, "flr");
}

static void test_stranger(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    // its owner is nobody virtfn knows of
    VfReconfOwner *last = g_ptr_array_steal_index(f->reconf->owners, OWNERS - 1);
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_BUSY, "is open in process");
    assert_untouched(f);
    g_ptr_array_add(f->reconf->owners, last);
}

static void test_cancelled(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->cancel_at = "pause paused web1/net0";
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_STATE, "was cancelled");
    assert_untouched(f);
}

// Guests may still be at what the last one told them.
static void test_not_before(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->reconf->not_before = g_get_monotonic_time() + 300 * G_TIME_SPAN_MILLISECOND;
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_DONE);
    g_assert_no_error(error);
    g_assert_cmpint(f->began, >=, f->reconf->not_before);
}

static void test_cancelled_before(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->cancelled = 1;
    f->reconf->not_before = G_MAXINT64;
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_STATE, "was cancelled");
    assert_untouched(f);
}

static void test_no_journal(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_free(f->journals);
    f->journals = g_build_filename(f->root, ".log", "journals", NULL);
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_INTERNAL, "/journals/" PF_TEXT ".json");
    assert_untouched(f);
}

// ---- what fails later, and goes back

static void test_too_many(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->reconf->to = 8;
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_SYSFS, PF_TEXT);
    assert_settled(f, OWNERS);
}

static void test_create_fails(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    fake_append(f->root, "/.fail", PF_DIR "sriov_numvfs ENOMEM 3");
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_SYSFS, "ENOMEM");
    assert_settled(f, OWNERS);
}

static void test_remove_fails(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    fake_append(f->root, "/.fail", PF_DIR "sriov_numvfs EBUSY 2");
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_BUSY, PF_TEXT);
    assert_settled(f, OWNERS);
}

static void test_bind_fails(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    fake_append(f->root, "/.fail", "/sys/bus/pci/drivers_probe EIO 6");
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_SYSFS, "domain 'web2', device 'net1'");
    assert_settled(f, OWNERS);
}

static void test_resume_fails(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    qmp_peer_order(f->peers[1], "vfio-resume", QMP_FAIL_LATER, 1);
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_QMP, "region 0 has another size");
    assert_settled(f, OWNERS);
}

static void test_address_moves(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    VfReconfOwner *owner = g_ptr_array_index(f->reconf->owners, OWNERS - 1);
    VfPciAddr right = owner->address;

    // with 7 VFs the capability gives another offset
    fake_append(f->root, "/.pf/" PF_TEXT, "geometry 1 128 2");
    fake_append(f->root, "/.pf/" PF_TEXT, "geometry 7 130 2");
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_UNDONE);
    assert_says(&error, VF_ERROR_STATE, "would move from");
    g_assert_true(vf_pciaddr_equal(&right, &owner->address));
    assert_settled(f, OWNERS);
}

// Each store and each command of both ways fails for good: stuck, and mended later.
static void test_stuck(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *fail = g_build_filename(f->root, "/.fail", NULL);
    VfReconfHost host = host_of(f);

    fake_append(f->root, "/.fail", "/sys/bus/pci/drivers_probe EIO");
    g_assert_cmpint(run(f, &error), ==, VF_RECONF_STUCK);
    assert_says(&error, VF_ERROR_SYSFS, "neither the new nor the old configuration");
    g_autoptr(GArray) open = vf_reconf_open(f->journals);
    g_assert_cmpuint(open->len, ==, 1);
    g_unlink(fail);
    g_autoptr(VfReconf) left = vf_reconf_load(f->journals, &pf, &error);
    g_assert_no_error(error);
    g_assert_cmpint(vf_reconf_recover(left, &host, NULL, &error), ==, VF_RECONF_UNDONE);
    assert_settled(f, OWNERS);
}

// ---- kills

// The child: runs what the journal in the file's directory says, and is killed at an event.
static guint countdown;

static void kill_at(VfReconfStep step, const char *event, const char *owner, gpointer data)
{
    if (countdown-- == 1)
        kill(getpid(), SIGKILL);
}

// PLANS JOURNALS ROOT EVENT
static int child(char **words)
{
    g_autoptr(VfReconf) reconf = vf_reconf_load(words[0], &pf, NULL);
    VfReconfHost host = {.root = words[2],
                         .helper = helper,
                         .journals = words[1],
                         .pause_ms = 30000,
                         .resume_ms = 30000,
                         .tell = kill_at};

    countdown = atoi(words[3]);
    return vf_reconf_run(reconf, &host, NULL, NULL) == VF_RECONF_DONE ? 0 : 1;
}

// TRUE when it was killed.
static gboolean run_killed(Fixture *f, guint event)
{
    g_autofree char *plans = g_build_filename(f->top, "plans", NULL);
    g_autofree char *words = g_strdup_printf("%s %s %s %u", plans, f->journals, f->root, event);
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    char *argv[] = {self, NULL};
    g_autoptr(GError) error = NULL;
    int status;

    g_assert_true(vf_reconf_save(f->reconf, plans, &error));
    g_setenv(CHILD, words, TRUE);
    g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &status, &error);
    g_unsetenv(CHILD);
    g_assert_no_error(error);
    g_assert_true(vf_reconf_forget(f->reconf, plans, &error));
    g_rmdir(plans);
    if (WIFSIGNALED(status))
        return TRUE;
    g_assert_cmpint(status, ==, 0);
    return FALSE;
}

static void recover(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfReconf) left = vf_reconf_load(f->journals, &pf, &error);
    VfReconfHost host = host_of(f);

    g_assert_no_error(error);
    if (left == NULL)
        return;
    VfReconfOutcome outcome = vf_reconf_recover(left, &host, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(outcome, !=, VF_RECONF_STUCK);
}

// The VFs that shall be are there, although the journal does not say yet that they are.
static gboolean has_created(const Fixture *f)
{
    g_autoptr(VfReconf) left = vf_reconf_load(f->journals, &pf, NULL);

    return left != NULL && left->phase == VF_RECONF_CREATING &&
           vf_sriov_count(f->root, &pf) == left->to;
}

static void test_killed(Fixture *f, gconstpointer data)
{
    g_autofree char *log = g_build_filename(f->root, "/.log", NULL);
    guint kills = 0, kept = 0;

    for (guint event = 1; run_killed(f, event); event++, kills++) {
        guint toward = f->reconf->to;
        gboolean created = has_created(f);

        g_assert_true(g_file_set_contents(log, "", 0, NULL));
        recover(f);
        assert_settled(f, 0);
        // They are not made anew once more.
        if (created)
            g_assert_cmpint(fake_log_find(f->root, "write " PF_DIR "sriov_numvfs", 0), ==, -1);
        kept += created;
        // from where it is now to the other number
        vf_reconf_free(f->reconf);
        guint count = vf_sriov_count(f->root, &pf);
        f->reconf = plan(f, count, count == toward ? OWNERS + OWNERS + 3 - toward : toward);
    }
    g_test_message("%u kills", kills);
    g_assert_cmpuint(kills, >=, 28);
    g_assert_cmpuint(kept, >=, 3);
    assert_settled(f, 0);
}

// Killed, and killed again in its recovery, which another recovery ends.
static void test_damaged_journal(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(f->journals, PF_TEXT ".json", NULL);

    g_assert_cmpint(g_mkdir_with_parents(f->journals, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, "{\"version\": 1}", -1, NULL));
    g_assert_null(vf_reconf_load(f->journals, &pf, &error));
    assert_says(&error, VF_ERROR_INTERNAL, "cannot be understood");
    g_unlink(path);
    g_assert_null(vf_reconf_load(f->journals, &pf, &error));
    g_assert_no_error(error);
}

#define ADD(name, function) g_test_add("/reconf/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    fake_kernel_start(argv);
    helper = fake_helper();
    if (g_getenv(CHILD) != NULL) {
        g_auto(GStrv) words = g_strsplit(g_getenv(CHILD), " ", 4);

        return child(words);
    }
    g_test_init(&argc, &argv, NULL);
    ADD("done", test_done);
    ADD("same-count", test_same_count);
    ADD("kept", test_kept);
    ADD("undone-is-not-kept", test_undone_is_not_kept);
    ADD("guest-is-gone", test_guest_is_gone);
    ADD("guest-ends", test_guest_ends);
    ADD("keeps-paused", test_keeps_paused);
    ADD("no-monitor", test_no_monitor);
    ADD("cannot-pause", test_cannot_pause);
    ADD("look-allows-detach", test_look_allows_detach);
    ADD("busy-guest", test_busy_guest);
    ADD("standing-guest", test_standing_guest);
    ADD("pause-is-refused", test_pause_is_refused);
    ADD("close-without-reset", test_close_without_reset);
    ADD("stranger", test_stranger);
    ADD("cancelled", test_cancelled);
    ADD("not-before", test_not_before);
    ADD("cancelled-before", test_cancelled_before);
    ADD("no-journal", test_no_journal);
    ADD("too-many", test_too_many);
    ADD("create-fails", test_create_fails);
    ADD("remove-fails", test_remove_fails);
    ADD("bind-fails", test_bind_fails);
    ADD("resume-fails", test_resume_fails);
    ADD("address-moves", test_address_moves);
    ADD("stuck", test_stuck);
    ADD("killed", test_killed);
    ADD("damaged-journal", test_damaged_journal);
    int result = g_test_run();
    g_free(helper);
    return result;
}
