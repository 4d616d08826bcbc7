// SPDX-License-Identifier: GPL-2.0-or-later
//
// Queues of a QDMA function that no driver has: qdma-vf gets it for as long as it takes, under the
// fake kernel. The attribute's directory is a link into that of the driver, so that it comes and
// goes with the binding, as that of the real driver does.

#include "../lib/fake.h"

#include <glib/gstdio.h>
#include <unistd.h>

#include "error.h"
#include "profile.h"

#define PF "/sys/bus/pci/devices/0000:03:00.0/"
#define VF "/sys/bus/pci/devices/0000:03:00.5/"
#define DRIVER "/sys/bus/pci/drivers/qdma-vf/"

typedef struct {
    char *root;
    VfTarget target;
    VfSettings settings;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture->root = fake_host("fpga@0000:03:00.0", NULL);
    g_assert_cmpint(fake_write(fixture->root, PF "sriov_drivers_autoprobe", "0"), ==, 0);
    g_assert_cmpint(fake_write(fixture->root, PF "sriov_numvfs", "2"), ==, 0);
    fixture->target = (VfTarget){.root = fixture->root,
                                 .pf = {0, 3, 0, 0},
                                 .index = 1,
                                 .vf = {0, 3, 0, 5},
                                 .pool = "fpga0",
                                 .domain = "",
                                 .device = ""};
    vf_settings_init(&fixture->settings);
    g_assert_true(vf_settings_set(&fixture->settings, "qmax", "8", NULL));
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    vf_settings_clear(&fixture->settings);
    fake_host_free(fixture->root);
}

// Gives the driver the attribute qmax for the function it has.
static void add_attribute(const Fixture *fixture)
{
    g_autofree char *directory = g_strconcat(fixture->root, DRIVER "attributes", NULL);
    g_autofree char *link = g_strconcat(fixture->root, VF "qdma", NULL);

    g_assert_cmpint(g_mkdir(directory, 0700), ==, 0);
    fake_append(fixture->root, DRIVER "attributes/qmax", "0");
    g_assert_cmpint(symlink("driver/attributes", link), ==, 0);
}

static void assert_unbound(const Fixture *fixture)
{
    g_autofree char *driver = fake_link(fixture->root, VF "driver");

    g_assert_cmpstr(driver, ==, "");
}

static void test_borrowed(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *qmax = NULL;

    add_attribute(fixture);
    g_assert_true(vf_profile_needs_unbound(&fixture->target, &fixture->settings));
    vf_profile_pre(&fixture->target, &fixture->settings, &error);
    g_assert_no_error(error);
    qmax = fake_read(fixture->root, DRIVER "attributes/qmax");
    g_assert_cmpstr(qmax, ==, "8");
    assert_unbound(fixture);
}

// A driver of that name without the attribute: the function is given back all the same.
static void test_no_attribute(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(vf_profile_pre(&fixture->target, &fixture->settings, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
    g_assert_true(g_str_has_prefix(error->message, "0000:03:00.0 VF 1: qmax: "));
    assert_unbound(fixture);
}

int main(int argc, char **argv)
{
    fake_kernel_start(argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add("/qdma/borrowed", Fixture, NULL, set_up, test_borrowed, tear_down);
    g_test_add("/qdma/no-attribute", Fixture, NULL, set_up, test_no_attribute, tear_down);
    return g_test_run();
}
