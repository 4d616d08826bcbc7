// SPDX-License-Identifier: GPL-2.0-or-later
//
// Profiles on a sysfs tree below a temporary root: MSI-X count, QDMA queues, when a function has to
// be unbound first, the order of events, and settings that a device cannot have.

#include "profile.h"

#include <string.h>
#include <unistd.h>

#include "../lib/scratch.h"
#include "error.h"
#include "io.h"

#define DEVICES "/sys/bus/pci/devices"
#define PF "0000:01:00.0"
#define VF "0000:01:10.2"

typedef struct {
    char *root;
    VfTarget target;
    VfSettings settings;
} Fixture;

static void add_file(const Fixture *fixture, const char *path, const char *text, gssize length)
{
    g_autofree char *full = g_strconcat(fixture->root, path, NULL);
    g_autofree char *directory = g_path_get_dirname(full);

    g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
    g_assert_true(g_file_set_contents(full, text, length, NULL));
}

static void add_link(const Fixture *fixture, const char *path, const char *to)
{
    g_autofree char *full = g_strconcat(fixture->root, path, NULL);

    g_assert_cmpint(symlink(to, full), ==, 0);
}

static void assert_file(const Fixture *fixture, const char *path, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *full = g_strconcat(fixture->root, path, NULL);
    g_autofree char *text = vf_io_read(full, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, expected);
}

// The configuration space of a VF with an MSI-X table of `vectors` behind another capability.
static void set_vectors(const Fixture *fixture, guint vectors)
{
    char config[256] = {0};

    config[0x34] = 0x70;
    config[0x70] = 0x10;
    config[0x71] = (char)0xa0;
    config[0xa0] = 0x11;
    config[0xa2] = (char)(vectors - 1);
    config[0xa3] = (char)((vectors - 1) >> 8);
    add_file(fixture, DEVICES "/" VF "/config", config, sizeof(config));
}

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture->root = g_dir_make_tmp("virtfn-profile-XXXXXX", NULL);
    g_assert_nonnull(fixture->root);
    fixture->target = (VfTarget){.root = fixture->root,
                                 .pf = {0, 1, 0, 0},
                                 .index = 1,
                                 .vf = {0, 1, 0x10, 2},
                                 .pool = "a",
                                 .domain = "",
                                 .device = ""};
    vf_settings_init(&fixture->settings);
    add_file(fixture, DEVICES "/" PF "/sriov_vf_total_msix", "64\n", -1);
    add_file(fixture, DEVICES "/" VF "/sriov_vf_msix_count", "-\n", -1);
    set_vectors(fixture, 300);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    vf_settings_clear(&fixture->settings);
    scratch_remove(fixture->root);
    g_free(fixture->root);
}

static void set(Fixture *fixture, const char *key, const char *value)
{
    g_autoptr(GError) error = NULL;

    vf_settings_set(&fixture->settings, key, value, &error);
    g_assert_no_error(error);
}

static gboolean needs_unbound(const Fixture *fixture)
{
    return vf_profile_needs_unbound(&fixture->target, &fixture->settings);
}

static void assert_pre(const Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    gboolean ok = vf_profile_pre(&fixture->target, &fixture->settings, &error);

    g_assert_no_error(error);
    g_assert_true(ok);
}

static void assert_refused(const Fixture *fixture, VfErrorCode code, const char *message)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(vf_profile_pre(&fixture->target, &fixture->settings, &error));
    g_assert_error(error, VF_ERROR, (int)code);
    g_assert_cmpstr(error->message, ==, message);
}

static void test_nothing(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(needs_unbound(fixture));
    assert_pre(fixture);
    g_assert_true(vf_profile_post(&fixture->target, &fixture->settings, &error));
    g_assert_true(vf_profile_release(&fixture->target, &fixture->settings, &error));
    g_assert_no_error(error);
    assert_file(fixture, DEVICES "/" VF "/sriov_vf_msix_count", "-");
}

static void test_msix(Fixture *fixture, gconstpointer data)
{
    set(fixture, "msix", "12");
    g_assert_true(needs_unbound(fixture));
    assert_pre(fixture);
    assert_file(fixture, DEVICES "/" VF "/sriov_vf_msix_count", "12");
}

static void test_msix_same(Fixture *fixture, gconstpointer data)
{
    add_link(fixture, DEVICES "/" VF "/driver", "../drivers/vfio-pci");
    set(fixture, "msix", "300");
    g_assert_false(needs_unbound(fixture));
    assert_pre(fixture);
    assert_file(fixture, DEVICES "/" VF "/sriov_vf_msix_count", "-");
}

// 0 is the driver's default, which the size of the table does not tell.
static void test_msix_default(Fixture *fixture, gconstpointer data)
{
    set(fixture, "msix", "0");
    g_assert_true(needs_unbound(fixture));
    assert_pre(fixture);
    assert_file(fixture, DEVICES "/" VF "/sriov_vf_msix_count", "0");
}

// Capabilities that point at each other, and a file that ends before the table does.
static void test_msix_config_broken(Fixture *fixture, gconstpointer data)
{
    char config[256] = {[0x34] = 0x40, [0x40] = 0x10, [0x41] = 0x50, [0x50] = 0x10, [0x51] = 0x40};

    set(fixture, "msix", "1");
    add_file(fixture, DEVICES "/" VF "/config", config, sizeof(config));
    g_assert_true(needs_unbound(fixture));
    config[0x40] = 0x11;
    add_file(fixture, DEVICES "/" VF "/config", config, sizeof(config));
    g_assert_false(needs_unbound(fixture));
    add_file(fixture, DEVICES "/" VF "/config", config, 0x42);
    g_assert_true(needs_unbound(fixture));
    add_file(fixture, DEVICES "/" VF "/config", "", 0);
    g_assert_true(needs_unbound(fixture));
}

static void test_msix_bound(Fixture *fixture, gconstpointer data)
{
    add_link(fixture, DEVICES "/" VF "/driver", "../drivers/vfio-pci");
    set(fixture, "msix", "12");
    g_assert_true(needs_unbound(fixture));
    assert_refused(fixture, VF_ERROR_STATE,
                   PF " VF 1: msix cannot change while the driver vfio-pci has the function -- end "
                      "the guest that uses it, then try again");
    assert_file(fixture, DEVICES "/" VF "/sriov_vf_msix_count", "-");
}

static void test_msix_unsupported(Fixture *fixture, gconstpointer data)
{
    add_file(fixture, DEVICES "/" PF "/sriov_vf_total_msix", "0\n", -1);
    set(fixture, "msix", "12");
    assert_refused(fixture, VF_ERROR_CONFIG,
                   PF " VF 1: msix: the PF's driver cannot change the number of vectors -- remove "
                      "msix from the profile or the claim");
}

static void test_qmax(Fixture *fixture, gconstpointer data)
{
    add_link(fixture, DEVICES "/" VF "/driver", "../drivers/qdma-vf");
    add_file(fixture, DEVICES "/" VF "/qdma/qmax", "0\n", -1);
    set(fixture, "qmax", "8");
    g_assert_true(needs_unbound(fixture));
    assert_pre(fixture);
    assert_file(fixture, DEVICES "/" VF "/qdma/qmax", "8");
    g_assert_false(needs_unbound(fixture));
    assert_pre(fixture);
}

static void test_qmax_bound(Fixture *fixture, gconstpointer data)
{
    add_link(fixture, DEVICES "/" VF "/driver", "../drivers/vfio-pci");
    set(fixture, "qmax", "8");
    assert_refused(fixture, VF_ERROR_STATE,
                   PF " VF 1: qmax cannot change while the driver vfio-pci has the function -- end "
                      "the guest that uses it, then try again");
}

static void test_qmax_no_driver(Fixture *fixture, gconstpointer data)
{
    set(fixture, "qmax", "8");
    assert_refused(fixture, VF_ERROR_CONFIG,
                   PF " VF 1: qmax: the driver qdma-vf is not loaded on the host -- load it, or "
                      "remove qmax and let the guest's driver ask for its queues");
}

static void test_no_nvme(Fixture *fixture, gconstpointer data)
{
    set(fixture, "queues", "2");
    g_assert_false(needs_unbound(fixture));
    assert_refused(fixture, VF_ERROR_CONFIG,
                   PF
                   " VF 1: queues and interrupts are for NVMe, and the nvme driver does not have "
                   "the PF -- bind the PF to nvme or remove them from the profile");
}

static void test_nvme_no_device(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *expected =
        g_strconcat(fixture->root, "/dev/nvme3: No such file or directory", NULL);

    add_file(fixture, DEVICES "/" PF "/nvme/nvme3/cntlid", "0\n", -1);
    // Nothing is set and the drive cannot be asked: it stays as it is.
    g_assert_false(needs_unbound(fixture));
    assert_pre(fixture);
    set(fixture, "queues", "2");
    g_assert_true(needs_unbound(fixture));
    assert_refused(fixture, VF_ERROR_SYSFS, expected);
    g_assert_false(
        vf_profile_prepare_pf(fixture->root, &fixture->target.pf, 2, &fixture->settings, &error));
    g_assert_cmpstr(error->message, ==, expected);
}

static void test_prepare_with_vfs(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    add_link(fixture, DEVICES "/" PF "/virtfn0", "../" VF);
    g_assert_false(
        vf_profile_prepare_pf(fixture->root, &fixture->target.pf, 2, &fixture->settings, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_STATE);
    g_assert_cmpstr(error->message, ==,
                    PF ": the PF has VFs, which its reset would take away -- use `virtfn reconf`");
}

static void test_no_interface(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    set(fixture, "mac", "52:54:00:12:34:56");
    g_assert_false(needs_unbound(fixture));
    assert_refused(fixture, VF_ERROR_CONFIG,
                   PF " VF 1: mac, vlan, trust, spoofchk, link-state and rates are for network "
                      "cards, and the PF has no interface here -- remove them, or see that the PF "
                      "has its driver and is in this network namespace");
    g_assert_false(vf_profile_release(&fixture->target, &fixture->settings, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
}

static void test_contradiction(Fixture *fixture, gconstpointer data)
{
    set(fixture, "qos", "3");
    assert_refused(fixture, VF_ERROR_INPUT,
                   PF " VF 1: qos: 3 is given without a vlan -- add a vlan or leave qos out");
}

// Programs are checked at each use; this one cannot even be found.
static void test_program(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    set(fixture, "program", "/nonexistent/tool");
    set(fixture, "msix", "12");
    g_assert_false(vf_profile_pre(&fixture->target, &fixture->settings, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
    g_assert_true(g_str_has_prefix(error->message, "/nonexistent/tool: No such file"));
    // The program is first: nothing has changed.
    assert_file(fixture, DEVICES "/" VF "/sriov_vf_msix_count", "-");
    g_clear_error(&error);
    g_assert_false(vf_profile_post(&fixture->target, &fixture->settings, &error));
    g_clear_error(&error);
    g_assert_false(vf_profile_release(&fixture->target, &fixture->settings, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_CONFIG);
}

static void add(const char *name, void (*test)(Fixture *, gconstpointer))
{
    g_test_add(name, Fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/profile/nothing", test_nothing);
    add("/profile/msix", test_msix);
    add("/profile/msix-same", test_msix_same);
    add("/profile/msix-default", test_msix_default);
    add("/profile/msix-config-broken", test_msix_config_broken);
    add("/profile/msix-bound", test_msix_bound);
    add("/profile/msix-unsupported", test_msix_unsupported);
    add("/profile/qmax", test_qmax);
    add("/profile/qmax-bound", test_qmax_bound);
    add("/profile/qmax-no-driver", test_qmax_no_driver);
    add("/profile/no-nvme", test_no_nvme);
    add("/profile/nvme-no-device", test_nvme_no_device);
    add("/profile/prepare-with-vfs", test_prepare_with_vfs);
    add("/profile/no-interface", test_no_interface);
    add("/profile/contradiction", test_contradiction);
    add("/profile/program", test_program);
    return g_test_run();
}
