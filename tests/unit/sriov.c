// SPDX-License-Identifier: GPL-2.0-or-later
//
// Looking functions up, binding them and making them, on the fake kernel: what is written in which
// order, and what each failure that a user can cause says. The fence is in fence.c, being killed
// in numvfs.c.

#include "sriov.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../lib/fake.h"
#include "error.h"

#define DEVICES "/sys/bus/pci/devices/"
#define PF DEVICES "0000:01:00.0/"

static const VfPciAddr pf = {0, 1, 0, 0}, vf0 = {0, 1, 0x10, 0}, vf1 = {0, 1, 0x10, 2};
static char *helper;

// The message of an error: a code, and words that must be in it.
static void assert_error(GError **error, VfErrorCode code, const char *word)
{
    g_assert_nonnull(*error);
    if (!g_error_matches(*error, VF_ERROR, (int)code) || strstr((*error)->message, word) == NULL)
        g_error("expected %s and '%s', got %s: %s", vf_error_word(code), word,
                vf_error_word(vf_error_code(*error)), (*error)->message);
    if (strchr((*error)->message, '\n') != NULL)
        g_error("more than one line: %s", (*error)->message);
    g_clear_error(error);
}

static void set_count(const char *root, guint count)
{
    g_autoptr(GError) error = NULL;

    vf_sriov_set_count(root, &pf, count, helper, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(vf_sriov_count(root, &pf), ==, count);
}

static void bind_vfio(const char *root, const VfPciAddr *vf)
{
    g_autoptr(GError) error = NULL;

    vf_sriov_bind(root, vf, "vfio-pci", &error);
    g_assert_no_error(error);
}

static void test_lookup(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    VfPciAddr found, owner;
    guint index, group;

    g_assert_cmpuint(vf_sriov_count(root, &pf), ==, 0);
    g_assert_false(vf_sriov_address(root, &pf, 0, &found));
    set_count(root, 3);
    g_assert_true(vf_sriov_address(root, &pf, 1, &found));
    g_assert_true(vf_pciaddr_equal(&found, &vf1));
    g_assert_false(vf_sriov_address(root, &pf, 3, &found));
    g_assert_true(vf_sriov_physfn(root, &vf1, &owner, &index));
    g_assert_true(vf_pciaddr_equal(&owner, &pf));
    g_assert_cmpuint(index, ==, 1);
    g_assert_false(vf_sriov_physfn(root, &pf, &owner, &index));
    g_assert_true(vf_sriov_group(root, &vf1, &group, NULL));
    g_assert_cmpuint(group, ==, 2);
    g_autofree char *driver = vf_sriov_driver(root, &pf);
    g_assert_cmpstr(driver, ==, "igb");
    g_assert_null(vf_sriov_driver(root, &vf1));
    fake_host_free(root);
}

// The attributes need not describe the VFs that are there (a driver may lay them out anew).
static void test_index_by_link(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    g_autofree char *stride = g_strconcat(root, PF "sriov_stride", NULL);
    g_autofree char *other = g_strconcat(root, "/other", NULL);
    VfPciAddr owner;
    guint index;

    set_count(root, 3);
    fake_append(root, "/other", "7");
    g_assert_cmpint(rename(other, stride), ==, 0);
    g_assert_true(vf_sriov_physfn(root, &vf1, &owner, &index));
    g_assert_cmpuint(index, ==, 1);
    g_assert_cmpint(unlink(stride), ==, 0);
    g_assert_true(vf_sriov_physfn(root, &vf1, &owner, &index));
    g_assert_cmpuint(index, ==, 1);
    fake_host_free(root);
}

static void test_same_count_writes_nothing(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);

    set_count(root, 2);
    int lines = fake_log_find(root, "write " PF "sriov_numvfs", 0) + 1;
    set_count(root, 2);
    g_assert_cmpint(fake_log_find(root, "", lines), ==, -1);
    fake_host_free(root);
}

static void test_change_goes_through_zero(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);

    set_count(root, 2);
    bind_vfio(root, &vf0);
    set_count(root, 4);
    int autoprobe = fake_log_find(root, "write " PF "sriov_drivers_autoprobe 0 = 0", 0);
    int first = fake_log_find(root, "write " PF "sriov_numvfs 2 = 0", autoprobe);
    int fence = fake_log_find(root, "open /dev/vfio/1 = 0", first);
    int removal = fake_log_find(root, "remove 0000:01:10.0 fenced", fence);
    int zero = fake_log_find(root, "write " PF "sriov_numvfs 0 = 0", removal);
    int last = fake_log_find(root, "write " PF "sriov_numvfs 4 = 0", zero);
    g_assert_cmpint(MIN(MIN(autoprobe, first), MIN(fence, removal)), >=, 0);
    g_assert_cmpint(zero, >=, 0);
    g_assert_cmpint(last, >, zero);
    g_assert_cmpint(fake_log_find(root, "read", 0), ==, -1); // of sriov_numvfs
    g_assert_null(vf_sriov_driver(root, &vf0));
    fake_host_free(root);
}

static void test_refused_before_anything(void)
{
    char *root = fake_host("igb@0000:01:00.0", "plain@0000:02:00.0", NULL);
    const VfPciAddr plain = {0, 2, 0, 0}, absent = {0, 9, 0, 0};
    g_autoptr(GError) error = NULL;

    set_count(root, 2);
    g_assert_false(vf_sriov_set_count(root, &pf, 8, helper, &error));
    assert_error(&error, VF_ERROR_SYSFS, "cannot have 8 VFs, it has 2: that is more than");
    g_assert_false(vf_sriov_set_count(root, &plain, 1, helper, &error));
    assert_error(&error, VF_ERROR_NOT_FOUND, "0000:02:00.0: no such physical function");
    g_assert_false(vf_sriov_set_count(root, &absent, 1, helper, &error));
    assert_error(&error, VF_ERROR_NOT_FOUND, "0000:09:00.0");
    g_assert_cmpint(fake_write(root, PF "driver/unbind", "0000:01:00.0"), ==, 0);
    g_assert_false(vf_sriov_set_count(root, &pf, 3, helper, &error));
    assert_error(&error, VF_ERROR_SYSFS, "it has no driver");
    g_assert_cmpuint(vf_sriov_count(root, &pf), ==, 2);
    fake_host_free(root);
}

static void test_short_enable(void)
{
    char *root = fake_host("igb@0000:01:00.0,pf=short 3", NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(vf_sriov_set_count(root, &pf, 5, helper, &error));
    assert_error(&error, VF_ERROR_SYSFS, "asked for 5 VFs, the kernel reported success and made 3");
    fake_host_free(root);
}

static void test_errno_in_words(void)
{
    static const struct {
        const char *name;
        VfErrorCode code;
        const char *words;
    } cases[] = {
        {"ERANGE", VF_ERROR_SYSFS, "it has 0: that is more than its sriov_totalvfs (ERANGE) -- "},
        {"EBUSY", VF_ERROR_BUSY, "by somebody else meanwhile"},
        {"ENOENT", VF_ERROR_SYSFS, "one without SR-IOV support"},
        {"ENODEV", VF_ERROR_NOT_FOUND, "it is gone"},
        {"ENOMEM", VF_ERROR_SYSFS, "pci=realloc"},
        {"ENOSPC", VF_ERROR_SYSFS, "MSI-X"},
        {"EPERM", VF_ERROR_SYSFS, "its driver refuses"},
        {"EACCES", VF_ERROR_SYSFS, "run the daemon as root"},
        {"EIO", VF_ERROR_SYSFS, "the kernel or the PF's driver refused (EIO) -- "},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *root = fake_host("igb@0000:01:00.0", NULL);
        g_autofree char *rule = g_strdup_printf("*/sriov_numvfs %s", cases[i].name);
        g_autoptr(GError) error = NULL;

        fake_append(root, "/.fail", rule);
        g_assert_false(vf_sriov_set_count(root, &pf, 2, helper, &error));
        assert_error(&error, cases[i].code, cases[i].words);
        fake_host_free(root);
    }
}

static void test_driver_without_sriov(void)
{
    char *root = fake_host("igb@0000:01:00.0,pf=nosriov", NULL);
    g_autoptr(GError) error = NULL;

    g_assert_false(vf_sriov_set_count(root, &pf, 2, helper, &error));
    assert_error(&error, VF_ERROR_SYSFS, "pci-pf-stub");
    fake_host_free(root);
}

static void test_failure_after_zero(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    g_autoptr(GError) error = NULL;

    set_count(root, 2);
    fake_append(root, "/.fail", "*/sriov_numvfs ENOSPC 3");
    g_assert_false(vf_sriov_set_count(root, &pf, 4, helper, &error));
    assert_error(&error, VF_ERROR_SYSFS, "0000:01:00.0: cannot have 4 VFs, it has 0:");
    fake_host_free(root);
}

static void test_clear_under_fence(void)
{
    char *root = fake_host("igb@0000:01:00.0", "igb@0000:02:00.0", NULL);
    const VfPciAddr other = {0, 2, 0, 0};
    g_autoptr(GError) error = NULL;

    set_count(root, 2);
    bind_vfio(root, &vf0);
    VfFence *wrong = vf_fence_acquire(root, &other, NULL);
    g_assert_false(vf_sriov_clear(root, &pf, wrong, helper, &error));
    assert_error(&error, VF_ERROR_INTERNAL, "another PF's");
    vf_fence_release(wrong);
    g_autoptr(VfFence) fence = vf_fence_acquire(root, &pf, &error);
    g_assert_no_error(error);
    g_assert_true(vf_sriov_clear(root, &pf, fence, helper, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(vf_sriov_count(root, &pf), ==, 0);
    g_assert_true(vf_sriov_clear(root, &pf, fence, helper, &error));
    fake_host_free(root);
}

static void test_bind(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);

    set_count(root, 2);
    bind_vfio(root, &vf1);
    g_autofree char *driver = vf_sriov_driver(root, &vf1);
    g_assert_cmpstr(driver, ==, "vfio-pci");
    g_autofree char *override = fake_read(root, DEVICES "0000:01:10.2/driver_override");
    g_assert_cmpstr(override, ==, "vfio-pci");
    g_assert_true(fake_exists(root, "/dev/vfio/2"));
    bind_vfio(root, &vf1);
    int probe = fake_log_find(root, "write /sys/bus/pci/drivers_probe 0000:01:10.2 = 0", 0);
    g_assert_cmpint(probe, >=, 0);
    g_assert_cmpint(fake_log_find(root, "write /sys/bus/pci/drivers_probe", probe + 1), ==, -1);
    fake_host_free(root);
}

static void test_bind_takes_from_host_driver(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);

    g_assert_cmpint(fake_write(root, PF "sriov_numvfs", "1"), ==, 0);
    g_autofree char *before = vf_sriov_driver(root, &vf0);
    g_assert_cmpstr(before, ==, "igbvf");
    bind_vfio(root, &vf0);
    g_autofree char *after = vf_sriov_driver(root, &vf0);
    g_assert_cmpstr(after, ==, "vfio-pci");
    fake_host_free(root);
}

static void test_bind_to_host_driver_resets(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    g_autoptr(GError) error = NULL;

    set_count(root, 1);
    bind_vfio(root, &vf0);
    g_assert_true(vf_sriov_bind(root, &vf0, "igbvf", &error));
    g_assert_no_error(error);
    int unbind = fake_log_find(root, "write /sys/bus/pci/drivers/vfio-pci/unbind", 0);
    int reset = fake_log_find(root, "write " DEVICES "0000:01:10.0/reset 1 = 0", unbind);
    int probe = fake_log_find(root, "write /sys/bus/pci/drivers_probe", reset);
    g_assert_cmpint(unbind, >=, 0);
    g_assert_cmpint(reset, >, unbind);
    g_assert_cmpint(probe, >, reset);
    fake_host_free(root);
}

static void test_bind_failures(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    const VfPciAddr absent = {0, 1, 0x1f, 0};
    g_autoptr(GError) error = NULL;

    set_count(root, 2);
    g_assert_false(vf_sriov_bind(root, &pf, "vfio-pci", &error));
    assert_error(&error, VF_ERROR_STATE, "0000:01:00.0: is a physical function");
    g_assert_false(vf_sriov_unbind(root, &pf, &error));
    assert_error(&error, VF_ERROR_STATE, "is a physical function");
    g_assert_false(vf_sriov_bind(root, &absent, "vfio-pci", &error));
    assert_error(&error, VF_ERROR_NOT_FOUND, "0000:01:1f.0: no such PCI function");
    g_assert_false(vf_sriov_bind(root, &vf0, "vfio_absent", &error));
    assert_error(&error, VF_ERROR_SYSFS, "driver vfio_absent is not loaded -- run 'modprobe");
    fake_append(root, "/.fail", "/sys/bus/pci/drivers_probe ENODEV");
    g_assert_false(vf_sriov_bind(root, &vf0, "vfio-pci", &error));
    assert_error(&error, VF_ERROR_SYSFS, "drivers_probe");
    g_autofree char *driver = vf_sriov_driver(root, &pf);
    g_assert_cmpstr(driver, ==, "igb");
    fake_host_free(root);
}

// The kernel says success to the probe when the driver refuses.
static void test_bind_is_verified(void)
{
    char *root = fake_host("igb@0000:01:00.0,pf=group none", NULL);
    g_autoptr(GError) error = NULL;

    set_count(root, 1);
    g_assert_false(vf_sriov_bind(root, &vf0, "vfio-pci", &error));
    assert_error(&error, VF_ERROR_SYSFS, "0000:01:10.0: has no IOMMU group -- ");
    fake_host_free(root);
}

static void test_unbind(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    g_autoptr(GError) error = NULL;

    set_count(root, 1);
    bind_vfio(root, &vf0);
    for (int again = 0; again < 2; again++) {
        g_assert_true(vf_sriov_unbind(root, &vf0, &error));
        g_assert_no_error(error);
        g_assert_null(vf_sriov_driver(root, &vf0));
    }
    g_autofree char *override = fake_read(root, DEVICES "0000:01:10.0/driver_override");
    g_assert_cmpstr(override, ==, "(null)");
    fake_host_free(root);
}

static void test_reset(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);
    g_autofree char *attribute = g_strconcat(root, DEVICES "0000:01:10.0/reset", NULL);
    g_autoptr(GError) error = NULL;

    set_count(root, 1);
    g_assert_true(vf_sriov_reset(root, &vf0, &error));
    g_assert_cmpint(fake_write(root, DEVICES "0000:01:10.0/reset_method", "\n"), ==, 0);
    g_assert_false(vf_sriov_reset(root, &vf0, &error));
    assert_error(&error, VF_ERROR_SYSFS, "0000:01:10.0/reset");
    g_assert_cmpint(unlink(attribute), ==, 0);
    g_assert_false(vf_sriov_reset(root, &vf0, &error));
    assert_error(&error, VF_ERROR_SYSFS, "no way to be reset");
    fake_host_free(root);
}

int main(int argc, char **argv)
{
    fake_kernel_start(argv);
    g_test_init(&argc, &argv, NULL);
    helper = fake_helper();
    g_test_add_func("/sriov/lookup", test_lookup);
    g_test_add_func("/sriov/index-by-link", test_index_by_link);
    g_test_add_func("/sriov/count/same-writes-nothing", test_same_count_writes_nothing);
    g_test_add_func("/sriov/count/change-goes-through-zero", test_change_goes_through_zero);
    g_test_add_func("/sriov/count/refused-before-anything", test_refused_before_anything);
    g_test_add_func("/sriov/count/short-enable", test_short_enable);
    g_test_add_func("/sriov/count/errno-in-words", test_errno_in_words);
    g_test_add_func("/sriov/count/driver-without-sriov", test_driver_without_sriov);
    g_test_add_func("/sriov/count/failure-after-zero", test_failure_after_zero);
    g_test_add_func("/sriov/clear-under-fence", test_clear_under_fence);
    g_test_add_func("/sriov/bind/vfio", test_bind);
    g_test_add_func("/sriov/bind/takes-from-host-driver", test_bind_takes_from_host_driver);
    g_test_add_func("/sriov/bind/to-host-driver-resets", test_bind_to_host_driver_resets);
    g_test_add_func("/sriov/bind/failures", test_bind_failures);
    g_test_add_func("/sriov/bind/is-verified", test_bind_is_verified);
    g_test_add_func("/sriov/unbind", test_unbind);
    g_test_add_func("/sriov/reset", test_reset);
    int result = g_test_run();
    g_free(helper);
    return result;
}
