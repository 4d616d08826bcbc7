// SPDX-License-Identifier: GPL-2.0-or-later
//
// The fence on the fake kernel: it keeps everybody out, it is not had while somebody is in, and
// the refusal names who that is.

#include "sriov.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/fake.h"
#include "error.h"

static const VfPciAddr pf = {0, 1, 0, 0}, vf0 = {0, 1, 0x10, 0}, vf1 = {0, 1, 0x10, 2};
static char *helper;

// A host whose PF has two VFs bound to vfio-pci, in groups 1 and 2 unless the card says otherwise.
static char *host_of(const char *card)
{
    char *root = fake_host(card, NULL);
    g_autoptr(GError) error = NULL;

    vf_sriov_set_count(root, &pf, 2, helper, &error);
    g_assert_no_error(error);
    g_assert_true(vf_sriov_bind(root, &vf0, "vfio-pci", &error));
    g_assert_true(vf_sriov_bind(root, &vf1, "vfio-pci", &error));
    return root;
}

static int open_group(const char *root, guint group)
{
    g_autofree char *path = g_strdup_printf("%s/dev/vfio/%u", root, group);

    return open(path, O_RDWR | O_CLOEXEC);
}

// A process "guest" that has a group open.
static pid_t start_guest(const char *root, guint group)
{
    int ready[2];
    char byte;

    g_assert_cmpint(pipe(ready), ==, 0);
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "guest");
        if (open_group(root, group) < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    close(ready[0]);
    return child;
}

static void stop_guest(pid_t child)
{
    kill(child, SIGKILL);
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
}

static void assert_busy(GError **error, const char *words)
{
    g_assert_error(*error, VF_ERROR, VF_ERROR_BUSY);
    if (strstr((*error)->message, words) == NULL)
        g_error("'%s' is not in: %s", words, (*error)->message);
    g_clear_error(error);
}

static void test_keeps_out(void)
{
    char *root = host_of("igb@0000:01:00.0");
    VfFence *fence = vf_fence_acquire(root, &pf, NULL);

    g_assert_nonnull(fence);
    for (guint group = 1; group <= 2; group++) {
        g_assert_cmpint(open_group(root, group), ==, -1);
        g_assert_cmpint(errno, ==, EBUSY);
    }
    vf_fence_release(fence);
    int fd = open_group(root, 2);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    fake_host_free(root);
}

static void test_names_holder(void)
{
    char *root = host_of("igb@0000:01:00.0");
    g_autoptr(GError) error = NULL;
    pid_t guest = start_guest(root, 2);
    g_autofree char *words =
        g_strdup_printf("0000:01:10.2: VFIO group 2 is open in process %d (guest) -- ", guest);

    g_assert_null(vf_fence_acquire(root, &pf, &error));
    assert_busy(&error, words);
    g_assert_false(vf_sriov_check_unused(root, &vf1, &error));
    assert_busy(&error, words);
    g_assert_true(vf_sriov_check_unused(root, &vf0, &error)); // nothing of the fence is left
    stop_guest(guest);
    g_assert_true(vf_sriov_check_unused(root, &vf1, &error));
    fake_host_free(root);
}

// A holder of another group in the same process list is not blamed.
static void test_names_the_right_holder(void)
{
    char *root = host_of("igb@0000:01:00.0");
    g_autoptr(GError) error = NULL;
    pid_t first = start_guest(root, 1), second = start_guest(root, 2);
    g_autofree char *words = g_strdup_printf("process %d (guest)", second);

    g_assert_false(vf_sriov_check_unused(root, &vf0, NULL)); // makes both visible
    g_assert_false(vf_sriov_check_unused(root, &vf1, &error));
    assert_busy(&error, words);
    stop_guest(first);
    stop_guest(second);
    fake_host_free(root);
}

static void test_invisible_holder(void)
{
    char *root = host_of("igb@0000:01:00.0");
    g_autofree char *proc = g_strconcat(root, "/proc", NULL);
    g_autofree char *hidden = g_strconcat(root, "/hidden", NULL);
    g_autoptr(GError) error = NULL;
    int fd = open_group(root, 1);

    g_assert_cmpint(rename(proc, hidden), ==, 0);
    g_assert_false(vf_sriov_check_unused(root, &vf0, &error));
    assert_busy(&error, "a process that cannot be seen");
    close(fd);
    fake_host_free(root);
}

static void test_busy_stops_everything(void)
{
    char *root = host_of("igb@0000:01:00.0");
    g_autoptr(GError) error = NULL;
    int fd = open_group(root, 2);

    g_assert_false(vf_sriov_set_count(root, &pf, 4, helper, &error));
    assert_busy(&error, "0000:01:10.2: VFIO group 2");
    g_assert_cmpint(fake_log_find(root, "remove", 0), ==, -1);
    g_assert_false(vf_sriov_unbind(root, &vf1, &error));
    assert_busy(&error, "VFIO group 2");
    g_assert_false(vf_sriov_bind(root, &vf1, "igbvf", &error));
    assert_busy(&error, "VFIO group 2");
    g_assert_cmpint(fake_log_find(root, "write /sys/bus/pci/drivers/vfio-pci/unbind", 0), ==, -1);
    g_assert_cmpuint(vf_sriov_count(root, &pf), ==, 2);
    close(fd);
    fake_host_free(root);
}

static void test_shared_group(void)
{
    char *root = host_of("igb@0000:01:00.0,pf=group one");
    g_autoptr(GError) error = NULL;
    g_autoptr(VfFence) fence = vf_fence_acquire(root, &pf, &error);

    g_assert_no_error(error);
    int first = fake_log_find(root, "open /dev/vfio/1 = 0", 0);
    g_assert_cmpint(first, >=, 0);
    g_assert_cmpint(fake_log_find(root, "open /dev/vfio", first + 1), ==, -1);
    g_assert_true(vf_sriov_clear(root, &pf, fence, helper, &error));
    fake_host_free(root);
}

// After a removal that has not finished the low indices are gone while others are still there.
static void test_gap(void)
{
    char *root = host_of("igb@0000:01:00.0");
    g_autofree char *link = g_strconcat(root, "/sys/bus/pci/devices/0000:01:00.0/virtfn0", NULL);
    g_autoptr(GError) error = NULL;
    int fd = open_group(root, 2);

    g_assert_cmpint(unlink(link), ==, 0);
    g_assert_null(vf_fence_acquire(root, &pf, &error));
    assert_busy(&error, "VFIO group 2");
    close(fd);
    fake_host_free(root);
}

static void test_no_node(void)
{
    char *root = host_of("igb@0000:01:00.0");
    g_autofree char *node = g_strconcat(root, "/dev/vfio/1", NULL);
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(unlink(node), ==, 0);
    g_assert_null(vf_fence_acquire(root, &pf, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
    g_assert_nonnull(strstr(error->message, "CONFIG_VFIO_GROUP"));
    fake_host_free(root);
}

static void test_open_refused(void)
{
    char *root = host_of("igb@0000:01:00.0");
    g_autoptr(GError) error = NULL;

    fake_append(root, "/.fail", "/dev/vfio/2 EPERM");
    g_assert_null(vf_fence_acquire(root, &pf, &error));
    g_assert_error(error, VF_ERROR, VF_ERROR_SYSFS);
    g_assert_nonnull(strstr(error->message, "/dev/vfio/2: Operation not permitted"));
    fake_host_free(root);
}

static void test_unbound_need_none(void)
{
    char *root = host_of("igb@0000:01:00.0");
    g_autoptr(GError) error = NULL;

    g_assert_true(vf_sriov_unbind(root, &vf0, &error));
    g_assert_true(vf_sriov_check_unused(root, &vf0, &error));
    g_autoptr(VfFence) fence = vf_fence_acquire(root, &pf, &error);
    g_assert_no_error(error);
    g_assert_true(vf_fence_covers(fence, root, &pf));
    g_assert_false(vf_fence_covers(fence, root, &vf0));
    g_assert_false(vf_fence_covers(fence, "", &pf));
    fake_host_free(root);
}

int main(int argc, char **argv)
{
    fake_kernel_start(argv);
    g_test_init(&argc, &argv, NULL);
    helper = fake_helper();
    g_test_add_func("/fence/keeps-out", test_keeps_out);
    g_test_add_func("/fence/names-holder", test_names_holder);
    g_test_add_func("/fence/names-the-right-holder", test_names_the_right_holder);
    g_test_add_func("/fence/invisible-holder", test_invisible_holder);
    g_test_add_func("/fence/busy-stops-everything", test_busy_stops_everything);
    g_test_add_func("/fence/shared-group", test_shared_group);
    g_test_add_func("/fence/gap", test_gap);
    g_test_add_func("/fence/no-node", test_no_node);
    g_test_add_func("/fence/open-refused", test_open_refused);
    g_test_add_func("/fence/unbound-need-none", test_unbound_need_none);
    int result = g_test_run();
    g_free(helper);
    return result;
}
