// SPDX-License-Identifier: GPL-2.0-or-later
//
// What ends leases and quarantine without a hook: the sweep against libvirt's list of running
// domains, a domain that is found inactive, and looking again at functions that were set aside.
// On the fake kernel, without libvirt; the hooks themselves are in tests/bats/daemon-hook.bats.

#include "lifecycle.h"

#include <fcntl.h>
#include <unistd.h>

#include "../lib/fake.h"
#include "error.h"

#define PF "0000:01:00.0"

static const char *const uuids[] = {
    "00000000-0000-4000-8000-000000000000",
    "11111111-0000-4000-8000-000000000000",
    "22222222-0000-4000-8000-000000000000",
};

typedef struct {
    char *root, *config, *run, *state, *helper;
    VfDaemon *daemon;
    gboolean answered;
    GError *error; // of the last answer
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->root = fake_host("igb@" PF ",net=eno1", NULL);
    f->config = g_build_filename(f->root, "config", NULL);
    f->run = g_build_filename(f->root, "run", NULL);
    f->state = g_build_filename(f->root, "state", NULL);
    f->helper = fake_helper();
    g_autofree char *file = g_build_filename(f->config, "pools.conf", NULL);
    g_assert_cmpint(g_mkdir_with_parents(f->config, 0755), ==, 0);
    g_file_set_contents(file, "[pool uplink]\npf=eno1\ncount=3\n", -1, &error);
    g_assert_no_error(error);
    VfDaemonOptions options = {.root = f->root,
                               .config_dir = f->config,
                               .run_dir = f->run,
                               .state_dir = f->state,
                               .helper = f->helper,
                               .no_libvirt = TRUE};
    f->daemon = vf_daemon_new(&options, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    vf_daemon_free(f->daemon);
    g_clear_error(&f->error);
    g_free(f->config);
    g_free(f->run);
    g_free(f->state);
    g_free(f->helper);
    fake_host_free(f->root);
}

static void answered(const GError *error, gpointer data)
{
    Fixture *f = data;

    f->answered = TRUE;
    g_clear_error(&f->error);
    if (error != NULL)
        f->error = g_error_copy(error);
}

// The loop until no lane has work and no commit waits.
static void settle(Fixture *f)
{
    while (vf_lanes_busy(f->daemon->lanes) > 0 || f->daemon->commit_source != 0)
        g_main_context_iteration(NULL, TRUE);
}

static char *domain_xml(guint n)
{
    return g_strdup_printf(
        "<domain><name>g%u</name><uuid>%s</uuid><metadata><v:devices xmlns:v='urn:"
        "virtfn:domain:1.0'><v:device name='net0' pool='uplink'/></v:devices>"
        "</metadata></domain>",
        n, uuids[n]);
}

static void prepare(Fixture *f, guint n)
{
    g_autofree char *xml = domain_xml(n);

    f->answered = FALSE;
    vf_lifecycle_prepare(f->daemon, xml, strlen(xml), answered, f);
    settle(f);
    g_assert_true(f->answered);
}

static void start(Fixture *f, guint n)
{
    g_autofree char *xml = domain_xml(n);
    g_autoptr(GError) error = NULL;

    prepare(f, n);
    g_assert_no_error(f->error);
    vf_lifecycle_adopt(f->daemon, xml, strlen(xml), &error);
    g_assert_no_error(error);
    settle(f);
}

static VfLease *lease_of(Fixture *f, guint n)
{
    return vf_allocator_find(f->daemon->allocator, uuids[n], "net0");
}

static void assert_state(Fixture *f, guint n, const char *expected)
{
    const VfLease *lease = lease_of(f, n);

    g_assert_cmpstr(lease != NULL ? vf_lease_state_name(lease->state) : "none", ==, expected);
}

static void sweep(Fixture *f, const char *active, guint64 generation)
{
    g_autoptr(GHashTable) running = g_hash_table_new(g_str_hash, g_str_equal);

    if (active != NULL)
        g_hash_table_add(running, (gpointer)active);
    vf_lifecycle_sweep(f->daemon, running, generation);
    settle(f);
}

static void test_sweep(Fixture *f, gconstpointer data)
{
    start(f, 0);
    start(f, 1);
    sweep(f, uuids[1], f->daemon->generation);
    assert_state(f, 0, "none");
    assert_state(f, 1, "running");
    // The function was reset before anybody could get it.
    g_assert_cmpint(
        fake_log_find(f->root, "write /sys/bus/pci/devices/0000:01:10.0/reset 1 = 0", 0), >=, 0);
}

// The list is as old as the moment in which it was asked for.
static void test_sweep_spares_newer(Fixture *f, gconstpointer data)
{
    guint64 asked = f->daemon->generation;

    start(f, 0);
    sweep(f, NULL, asked);
    assert_state(f, 0, "running");
}

// A domain between prepare and started does not run yet.
static void test_sweep_spares_starting(Fixture *f, gconstpointer data)
{
    prepare(f, 0);
    sweep(f, NULL, f->daemon->generation);
    assert_state(f, 0, "ready");
    // A minute later its start has failed, and its release was lost.
    lease_of(f, 0)->since -= 61 * G_USEC_PER_SEC;
    sweep(f, NULL, f->daemon->generation);
    assert_state(f, 0, "none");
}

static void test_sweep_spares_reserved(Fixture *f, gconstpointer data)
{
    start(f, 0);
    lease_of(f, 0)->reserved = TRUE;
    sweep(f, NULL, f->daemon->generation);
    assert_state(f, 0, "reserved");
    sweep(f, NULL, f->daemon->generation);
    assert_state(f, 0, "reserved");
}

static void test_inactive(Fixture *f, gconstpointer data)
{
    guint64 before = f->daemon->generation;

    start(f, 0);
    start(f, 1);
    vf_lifecycle_inactive(f->daemon, uuids[0], before);
    settle(f);
    assert_state(f, 0, "running");
    vf_lifecycle_inactive(f->daemon, uuids[0], f->daemon->generation);
    settle(f);
    assert_state(f, 0, "none");
    assert_state(f, 1, "running");
}

static void test_starting(Fixture *f, gconstpointer data)
{
    g_assert_false(vf_lifecycle_starting(f->daemon, uuids[0]));
    prepare(f, 0);
    g_assert_true(vf_lifecycle_starting(f->daemon, uuids[0]));
    start(f, 0);
    g_assert_false(vf_lifecycle_starting(f->daemon, uuids[0]));
}

static int hold(Fixture *f, const char *vf)
{
    g_autofree char *link = g_strdup_printf("/sys/bus/pci/devices/%s/iommu_group", vf);
    g_autofree char *group = fake_link(f->root, link);
    g_autofree char *path = g_strdup_printf("%s/dev/vfio/%s", f->root, group);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void test_recheck(Fixture *f, gconstpointer data)
{
    start(f, 0);
    int fd = hold(f, "0000:01:10.0");
    vf_lifecycle_release(f->daemon, uuids[0], answered, f);
    settle(f);
    assert_state(f, 0, "none");
    g_assert_nonnull(vf_daemon_quarantined(f->daemon, 0, 0));
    g_assert_cmpuint(vf_allocator_free_slots(f->daemon->allocator, 0), ==, 2);
    vf_lifecycle_recheck_quarantine(f->daemon);
    settle(f);
    g_assert_nonnull(vf_daemon_quarantined(f->daemon, 0, 0));
    close(fd);
    vf_lifecycle_recheck_quarantine(f->daemon);
    settle(f);
    g_assert_null(vf_daemon_quarantined(f->daemon, 0, 0));
    g_assert_cmpuint(vf_allocator_free_slots(f->daemon->allocator, 0), ==, 3);
}

// A release whose end was not written, as after a full disk, is done again.
static void test_recover(Fixture *f, gconstpointer data)
{
    start(f, 0);
    vf_daemon_keep(f->daemon, lease_of(f, 0), VF_LEASE_RELEASING, NULL);
    settle(f);
    vf_lifecycle_recover(f->daemon);
    // Its job is there already.
    vf_lifecycle_recover(f->daemon);
    g_assert_cmpuint(vf_lanes_busy(f->daemon->lanes), ==, 1);
    settle(f);
    assert_state(f, 0, "none");
}

static void test_two_jobs_of_one_domain(Fixture *f, gconstpointer data)
{
    f->answered = FALSE;
    for (guint i = 0; i < 2; i++) {
        g_autofree char *xml = domain_xml(0);

        vf_lifecycle_prepare(f->daemon, xml, strlen(xml), answered, f);
    }
    settle(f);
    g_assert_no_error(f->error);
    assert_state(f, 0, "ready");
    g_assert_cmpuint(vf_allocator_free_slots(f->daemon->allocator, 0), ==, 2);
}

// What is logged is not looked at here, and a warning is no failure.
static GLogWriterOutput drop(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer data)
{
    return G_LOG_WRITER_HANDLED;
}

#define ADD(name, function)                                                                        \
    g_test_add("/lifecycle/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    fake_kernel_start(argv);
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    g_log_set_writer_func(drop, NULL, NULL);
    ADD("sweep", test_sweep);
    ADD("sweep-spares-newer", test_sweep_spares_newer);
    ADD("sweep-spares-starting", test_sweep_spares_starting);
    ADD("sweep-spares-reserved", test_sweep_spares_reserved);
    ADD("inactive", test_inactive);
    ADD("starting", test_starting);
    ADD("recheck", test_recheck);
    ADD("recover", test_recover);
    ADD("two-prepares-at-once", test_two_jobs_of_one_domain);
    return g_test_run();
}
