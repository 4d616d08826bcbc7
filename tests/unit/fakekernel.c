// SPDX-License-Identifier: GPL-2.0-or-later
//
// The fake kernel itself: each rule of the model that other tests build on, shown with plain system
// calls. Where a rule is written down: Linux 6.12 drivers/pci/iov.c, drivers/base/bus.c,
// drivers/vfio/group.c and vfio_main.c.

#include "../lib/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices/"
#define PF DEVICES "0000:01:00.0/"
#define NUMVFS PF "sriov_numvfs"

#define assert_write(root, path, text, expected)                                                   \
    g_assert_cmpstr(g_strerror(fake_write(root, path, text)), ==, g_strerror(expected))

static void assert_text(const char *root, const char *path, const char *expected)
{
    g_autofree char *text = fake_read(root, path);

    g_assert_cmpstr(text, ==, expected);
}

static void assert_link(const char *root, const char *path, const char *expected)
{
    g_autofree char *name = fake_link(root, path);

    g_assert_cmpstr(name, ==, expected);
}

static int open_below(const char *root, const char *path, int flags)
{
    g_autofree char *full = g_strconcat(root, path, NULL);

    return open(full, flags | O_CLOEXEC, 0600);
}

// Binds VF `bdf` to vfio-pci as the daemon does.
static void bind_vfio(const char *root, const char *bdf)
{
    g_autofree char *override = g_strdup_printf(DEVICES "%s/driver_override", bdf);

    assert_write(root, override, "vfio-pci", 0);
    assert_write(root, "/sys/bus/pci/drivers_probe", bdf, 0);
}

// An igb PF with `count` VFs that no host driver takes.
static char *igb_host(const char *count)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);

    assert_write(root, PF "sriov_drivers_autoprobe", "0", 0);
    assert_write(root, NUMVFS, count, 0);
    return root;
}

static void test_numvfs_creates(void)
{
    char *root = igb_host("2\n");

    assert_link(root, PF "virtfn0", "0000:01:10.0");
    assert_link(root, PF "virtfn1", "0000:01:10.2");
    g_assert_false(fake_exists(root, PF "virtfn2"));
    assert_link(root, DEVICES "0000:01:10.2/physfn", "0000:01:00.0");
    assert_text(root, DEVICES "0000:01:10.2/vendor", "0x8086");
    assert_text(root, DEVICES "0000:01:10.2/device", "0x10ca");
    assert_text(root, DEVICES "0000:01:10.2/driver_override", "(null)");
    assert_link(root, DEVICES "0000:01:10.2/iommu_group", "2");
    g_assert_true(fake_exists(root, "/sys/kernel/iommu_groups/2/devices/0000:01:10.2/vendor"));
    assert_text(root, NUMVFS, "2");
    fake_host_free(root);
}

static void test_numvfs_removes(void)
{
    char *root = igb_host("2");

    bind_vfio(root, "0000:01:10.0");
    assert_write(root, NUMVFS, "0", 0);
    g_assert_false(fake_exists(root, PF "virtfn0"));
    g_assert_false(fake_exists(root, DEVICES "0000:01:10.0"));
    g_assert_false(fake_exists(root, "/sys/devices/pci0000:00/0000:01:10.0"));
    g_assert_false(fake_exists(root, "/sys/kernel/iommu_groups/1"));
    g_assert_false(fake_exists(root, "/dev/vfio/1"));
    g_assert_cmpint(fake_log_find(root, "remove 0000:01:10.0 unfenced", 0), >=, 0);
    g_assert_cmpint(fake_log_find(root, "remove 0000:01:10.2 unbound", 0), >=, 0);
    fake_host_free(root);
}

static void test_numvfs_refusals(void)
{
    char *root = igb_host("2");

    assert_write(root, NUMVFS, "2", 0);
    assert_write(root, NUMVFS, "3", EBUSY);
    assert_write(root, NUMVFS, "8", ERANGE);
    assert_write(root, NUMVFS, "-1", EINVAL);
    assert_write(root, NUMVFS, "two", EINVAL);
    assert_write(root, NUMVFS, "65536", EINVAL);
    assert_text(root, NUMVFS, "2");
    fake_host_free(root);
}

static void test_numvfs_needs_driver(void)
{
    char *root = fake_host("igb@0000:01:00.0,nodriver", "igb@0000:02:00.0,pf=nosriov", NULL);

    assert_write(root, NUMVFS, "0", 0); // the same value comes before the driver
    assert_write(root, NUMVFS, "1", ENOENT);
    assert_write(root, DEVICES "0000:02:00.0/sriov_numvfs", "1", ENOENT);
    fake_host_free(root);
}

static void test_numvfs_short(void)
{
    char *root = fake_host("igb@0000:01:00.0,pf=short 3", NULL);

    assert_write(root, NUMVFS, "5", 0);
    assert_text(root, NUMVFS, "3");
    g_assert_true(fake_exists(root, PF "virtfn2"));
    g_assert_false(fake_exists(root, PF "virtfn3"));
    fake_host_free(root);
}

static void test_numvfs_moves(void)
{
    char *root = fake_host("igb@0000:01:00.0,pf=geometry 4 256 1", NULL);

    assert_write(root, NUMVFS, "3", 0);
    assert_link(root, PF "virtfn1", "0000:01:10.2");
    assert_write(root, NUMVFS, "0", 0);
    assert_write(root, NUMVFS, "4", 0);
    assert_link(root, PF "virtfn1", "0000:02:00.1");
    assert_text(root, PF "sriov_offset", "256");
    assert_text(root, PF "sriov_stride", "1");
    fake_host_free(root);
}

static void test_numvfs_bus_numbers(void)
{
    char *root = fake_host("igb@0000:ff:00.0,geometry=254/1", NULL);

    assert_write(root, DEVICES "0000:ff:00.0/sriov_numvfs", "3", ENOMEM);
    assert_text(root, DEVICES "0000:ff:00.0/sriov_numvfs", "0");
    g_assert_false(fake_exists(root, DEVICES "0000:ff:00.0/virtfn0"));
    g_assert_false(fake_exists(root, DEVICES "0000:ff:1f.6"));
    fake_host_free(root);
}

static void test_numvfs_full_house(void)
{
    char *root = fake_host("fpga@0000:03:00.0:252", "fpga@0000:04:00.0:252",
                           "fpga@0000:05:00.0:252", "fpga@0000:06:00.0:252", NULL);

    for (int bus = 3; bus <= 6; bus++) {
        g_autofree char *numvfs = g_strdup_printf(DEVICES "0000:%02x:00.0/sriov_numvfs", bus);
        assert_write(root, numvfs, "252", 0);
    }
    assert_link(root, DEVICES "0000:06:00.0/virtfn251", "0000:06:1f.7");
    assert_link(root, DEVICES "0000:06:1f.7/iommu_group", "1011");
    fake_host_free(root);
}

static void test_attributes(void)
{
    char *root =
        fake_host("igb@0000:01:00.0,pf=attr qdma/qmax 0,pf=attr sriov_vf_msix_count 3", NULL);

    assert_write(root, NUMVFS, "1", 0);
    assert_text(root, DEVICES "0000:01:10.0/qdma/qmax", "0");
    assert_write(root, DEVICES "0000:01:10.0/sriov_vf_msix_count", "12", 0);
    assert_write(root, DEVICES "0000:01:10.0/sriov_vf_msix_count", "4", 0);
    assert_text(root, DEVICES "0000:01:10.0/sriov_vf_msix_count", "4");
    assert_write(root, NUMVFS, "0", 0);
    g_assert_false(fake_exists(root, "/sys/devices/pci0000:00/0000:01:10.0"));
    fake_host_free(root);
}

static void test_autoprobe(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);

    assert_write(root, PF "sriov_drivers_autoprobe", "2", EINVAL);
    assert_write(root, NUMVFS, "1", 0);
    assert_link(root, DEVICES "0000:01:10.0/driver", "igbvf");
    assert_write(root, NUMVFS, "0", 0);
    assert_write(root, PF "sriov_drivers_autoprobe", "0", 0);
    assert_write(root, NUMVFS, "1", 0);
    assert_link(root, DEVICES "0000:01:10.0/driver", "");
    fake_host_free(root);
}

static void test_probe(void)
{
    char *root = igb_host("1");

    assert_write(root, "/sys/bus/pci/drivers_probe", "0000:01:10.2", ENODEV);
    assert_write(root, "/sys/bus/pci/drivers_probe", "0000:01:10.0", 0);
    assert_link(root, DEVICES "0000:01:10.0/driver", ""); // a success all the same
    assert_write(root, DEVICES "0000:01:10.0/driver_override", "absent", 0);
    assert_write(root, "/sys/bus/pci/drivers_probe", "0000:01:10.0", 0);
    assert_link(root, DEVICES "0000:01:10.0/driver", "");
    bind_vfio(root, "0000:01:10.0");
    assert_link(root, DEVICES "0000:01:10.0/driver", "vfio-pci");
    g_assert_true(fake_exists(root, "/sys/bus/pci/drivers/vfio-pci/0000:01:10.0/vendor"));
    assert_write(root, DEVICES "0000:01:10.0/driver_override", "\n", 0);
    assert_text(root, DEVICES "0000:01:10.0/driver_override", "(null)");
    fake_host_free(root);
}

static void test_bind_unbind(void)
{
    char *root = igb_host("1");

    assert_write(root, "/sys/bus/pci/drivers/vfio-pci/bind", "0000:01:10.0", ENODEV);
    assert_write(root, "/sys/bus/pci/drivers/vfio-pci/unbind", "0000:01:10.0", ENODEV);
    assert_write(root, DEVICES "0000:01:10.0/driver_override", "vfio-pci", 0);
    assert_write(root, "/sys/bus/pci/drivers/vfio-pci/bind", "0000:01:10.0", 0);
    assert_write(root, "/sys/bus/pci/drivers/vfio-pci/bind", "0000:01:10.0", EBUSY);
    assert_write(root, "/sys/bus/pci/drivers/igbvf/unbind", "0000:01:10.0", ENODEV);
    assert_write(root, DEVICES "0000:01:10.0/driver/unbind", "0000:01:10.0", 0);
    assert_link(root, DEVICES "0000:01:10.0/driver", "");
    g_assert_false(fake_exists(root, "/dev/vfio/1"));
    fake_host_free(root);
}

static void test_vfio_needs_group(void)
{
    char *root = fake_host("igb@0000:01:00.0,pf=group none", NULL);

    assert_write(root, PF "sriov_drivers_autoprobe", "0", 0);
    assert_write(root, NUMVFS, "1", 0);
    bind_vfio(root, "0000:01:10.0");
    assert_link(root, DEVICES "0000:01:10.0/driver", "");
    fake_host_free(root);
}

static void test_groups_lowest_free(void)
{
    char *root = fake_host("igb@0000:01:00.0", "nvme@0000:02:00.0", NULL);

    assert_write(root, NUMVFS, "2", 0); // groups 2 and 3
    assert_write(root, DEVICES "0000:02:00.0/sriov_numvfs", "1", 0);
    assert_write(root, NUMVFS, "0", 0);
    assert_write(root, DEVICES "0000:02:00.0/sriov_numvfs", "0", 0);
    assert_write(root, DEVICES "0000:02:00.0/sriov_numvfs", "1", 0);
    assert_write(root, NUMVFS, "2", 0);
    assert_link(root, DEVICES "0000:02:00.1/iommu_group", "2");
    assert_link(root, DEVICES "0000:01:10.0/iommu_group", "3");
    fake_host_free(root);
}

static void test_group_shared(void)
{
    char *root = fake_host("igb@0000:01:00.0,pf=group one", NULL);

    assert_write(root, PF "sriov_drivers_autoprobe", "0", 0);
    assert_write(root, NUMVFS, "2", 0);
    assert_link(root, DEVICES "0000:01:10.2/iommu_group", "1");
    bind_vfio(root, "0000:01:10.0");
    bind_vfio(root, "0000:01:10.2");
    assert_write(root, DEVICES "0000:01:10.0/driver/unbind", "0000:01:10.0", 0);
    g_assert_true(fake_exists(root, "/dev/vfio/1"));
    assert_write(root, DEVICES "0000:01:10.2/driver/unbind", "0000:01:10.2", 0);
    g_assert_false(fake_exists(root, "/dev/vfio/1"));
    fake_host_free(root);
}

// A child that has the group open until it is killed.
static pid_t open_in_child(const char *root, const char *path)
{
    int ready[2];
    char byte;

    g_assert_cmpint(pipe(ready), ==, 0);
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // also when an assertion ends the test
        if (open_below(root, path, O_RDWR) < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    close(ready[0]);
    return child;
}

static void kill_child(pid_t child)
{
    kill(child, SIGKILL);
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
}

static void test_group_exclusive(void)
{
    char *root = igb_host("1");

    bind_vfio(root, "0000:01:10.0");
    int first = open_below(root, "/dev/vfio/1", O_RDWR);
    g_assert_cmpint(first, >=, 0);
    g_assert_cmpint(open_below(root, "/dev/vfio/1", O_RDWR), ==, -1);
    g_assert_cmpint(errno, ==, EBUSY);
    close(first);
    pid_t child = open_in_child(root, "/dev/vfio/1");
    g_assert_cmpint(open_below(root, "/dev/vfio/1", O_RDWR), ==, -1);
    g_assert_cmpint(errno, ==, EBUSY);
    g_autofree char *comm = g_strdup_printf("/proc/%d/comm", child);
    assert_text(root, comm, "fakekernel");
    kill_child(child);
    first = open_below(root, "/dev/vfio/1", O_RDWR);
    g_assert_cmpint(first, >=, 0);
    close(first);
    int container = open_below(root, "/dev/vfio/vfio", O_RDWR);
    int other = open_below(root, "/dev/vfio/vfio", O_RDWR);
    g_assert_cmpint(MIN(container, other), >=, 0);
    close(container);
    close(other);
    fake_host_free(root);
}

static void test_minor_lowest_free(void)
{
    char *root = igb_host("3");

    bind_vfio(root, "0000:01:10.4"); // group 3 is first
    bind_vfio(root, "0000:01:10.0");
    assert_text(root, "/sys/class/vfio/3/dev", "511:0");
    assert_text(root, "/sys/class/vfio/1/dev", "511:1");
    assert_write(root, DEVICES "0000:01:10.4/driver/unbind", "0000:01:10.4", 0);
    bind_vfio(root, "0000:01:10.2");
    assert_text(root, "/sys/class/vfio/2/dev", "511:0");
    fake_host_free(root);
}

static void test_minor_held_while_open(void)
{
    char *root = igb_host("2");

    bind_vfio(root, "0000:01:10.0");
    int fence = open_below(root, "/dev/vfio/1", O_RDWR);
    assert_write(root, DEVICES "0000:01:10.0/driver/unbind", "0000:01:10.0", 0);
    g_assert_false(fake_exists(root, "/dev/vfio/1"));
    bind_vfio(root, "0000:01:10.2");
    assert_text(root, "/sys/class/vfio/2/dev", "511:1");
    close(fence);
    bind_vfio(root, "0000:01:10.0");
    assert_text(root, "/sys/class/vfio/1/dev", "511:0");
    fake_host_free(root);
}

static void test_fence_does_not_block(void)
{
    char *root = igb_host("1");

    bind_vfio(root, "0000:01:10.0");
    int fence = open_below(root, "/dev/vfio/1", O_RDWR);
    assert_write(root, NUMVFS, "0", 0);
    g_assert_cmpint(fake_log_find(root, "remove 0000:01:10.0 fenced", 0), >=, 0);
    g_assert_cmpint(fake_log_find(root, "blocked", 0), ==, -1);
    close(fence);
    fake_host_free(root);
}

static gpointer remove_all(gpointer root)
{
    return GINT_TO_POINTER(fake_write(root, NUMVFS, "0"));
}

static void wait_for_log(const char *root, const char *prefix)
{
    for (int tries = 0; fake_log_find(root, prefix, 0) < 0; tries++) {
        if (tries > 1000)
            g_error("'%s' does not come into the log", prefix);
        g_usleep(5000);
    }
}

static void test_open_device_blocks(void)
{
    char *root = igb_host("1");

    bind_vfio(root, "0000:01:10.0");
    int group = open_below(root, "/dev/vfio/1", O_RDWR);
    int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:10.0");
    g_assert_cmpint(device, >=, 0);
    g_assert_cmpint(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:10.2"), ==, -1);
    g_assert_cmpint(errno, ==, ENODEV);
    GThread *writer = g_thread_new("writer", remove_all, root);
    wait_for_log(root, "blocked 0000:01:10.0");
    g_assert_true(fake_exists(root, DEVICES "0000:01:10.0"));
    close(device);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(writer)), ==, 0);
    g_assert_false(fake_exists(root, DEVICES "0000:01:10.0"));
    close(group);
    fake_host_free(root);
}

static void test_reset(void)
{
    char *root = igb_host("1");

    assert_write(root, DEVICES "0000:01:10.0/reset", "0", EINVAL);
    assert_write(root, DEVICES "0000:01:10.0/reset", "1", 0);
    g_assert_cmpint(fake_log_find(root, "write " DEVICES "0000:01:10.0/reset 1 = 0", 0), >=, 0);
    assert_write(root, DEVICES "0000:01:10.0/reset_method", "\n", 0);
    assert_write(root, DEVICES "0000:01:10.0/reset", "1", ENOTTY);
    assert_write(root, DEVICES "0000:01:10.0/reset_method", "voodoo", EINVAL);
    assert_write(root, DEVICES "0000:01:10.0/reset_method", "default", 0);
    assert_write(root, DEVICES "0000:01:10.0/reset", "1", 0);
    fake_host_free(root);
}

static void test_open_like_sysfs(void)
{
    char *root = igb_host("1");

    int fd = open_below(root, NUMVFS, O_WRONLY | O_CREAT | O_TRUNC);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    assert_text(root, NUMVFS, "1");
    g_assert_cmpint(open_below(root, PF "new", O_WRONLY | O_CREAT), ==, -1);
    g_assert_cmpint(errno, ==, EACCES);
    g_assert_cmpint(open_below(root, PF "sriov_totalvfs", O_WRONLY), ==, -1);
    g_assert_cmpint(errno, ==, EACCES);
    g_assert_cmpint(open_below(root, PF "reset", O_RDONLY), ==, -1);
    g_assert_cmpint(errno, ==, EACCES);
    fd = open_below(root, NUMVFS, O_RDONLY);
    close(fd);
    g_assert_cmpint(fake_log_find(root, "read " NUMVFS, 0), >=, 0);
    fake_host_free(root);
}

static void test_gone_while_open(void)
{
    char *root = igb_host("1");
    int fd = open_below(root, DEVICES "0000:01:10.0/driver_override", O_WRONLY);

    assert_write(root, NUMVFS, "0", 0);
    g_assert_cmpint(write(fd, "vfio-pci", 8), ==, -1);
    g_assert_cmpint(errno, ==, ENODEV);
    close(fd);
    fake_host_free(root);
}

static void test_scripted_failure(void)
{
    char *root = igb_host("1");

    fake_append(root, "/.fail", "*/0000:01:10.0/reset EIO 2");
    fake_append(root, "/.fail", "*/sriov_numvfs ENOSPC");
    fake_append(root, "/.fail", "/dev/vfio/* EPERM");
    assert_write(root, DEVICES "0000:01:10.0/reset", "1", 0);
    assert_write(root, DEVICES "0000:01:10.0/reset", "1", EIO);
    assert_write(root, DEVICES "0000:01:10.0/reset", "1", 0);
    assert_write(root, NUMVFS, "0", ENOSPC);
    bind_vfio(root, "0000:01:10.0");
    g_assert_cmpint(open_below(root, "/dev/vfio/1", O_RDWR), ==, -1);
    g_assert_cmpint(errno, ==, EPERM);
    g_assert_cmpint(fake_log_find(root, "write " NUMVFS " 0 = ENOSPC", 0), >=, 0);
    g_assert_cmpint(fake_log_find(root, "open /dev/vfio/1 = EPERM", 0), >=, 0);
    fake_host_free(root);
}

static void test_scripted_delay(void)
{
    char *root = igb_host("1");

    fake_append(root, "/.delay", "*/reset 60");
    gint64 before = g_get_monotonic_time();
    assert_write(root, DEVICES "0000:01:10.0/reset", "1", 0);
    g_assert_cmpint(g_get_monotonic_time() - before, >=, 60000);
    fake_host_free(root);
}

static void test_store_survives_kill(void)
{
    char *root = fake_host("igb@0000:01:00.0", NULL);

    fake_append(root, "/.delay", "*/sriov_numvfs 400");
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0)
        _exit(fake_write(root, NUMVFS, "7"));
    g_usleep(200000);
    kill_child(child);
    g_assert_false(fake_exists(root, PF "virtfn0"));
    wait_for_log(root, "write " NUMVFS " 7 = 0");
    g_assert_true(fake_exists(root, PF "virtfn6"));
    assert_write(root, NUMVFS, "0", 0);
    fake_host_free(root);
}

static void test_outside_is_untouched(void)
{
    char *root = igb_host("1");
    g_autofree char *top = g_path_get_dirname(root);
    g_autofree char *sys = g_build_filename(top, "sys", NULL);
    g_autofree char *file = g_build_filename(sys, "sriov_numvfs", NULL);

    g_assert_cmpint(g_mkdir_with_parents(sys, 0700), ==, 0);
    g_assert_true(g_file_set_contents(file, "old value", -1, NULL));
    int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
    g_assert_cmpint(write(fd, "1\n", 2), ==, 2);
    close(fd);
    assert_text(sys, "/sriov_numvfs", "1");
    g_assert_cmpint(fake_log_find(root, "write " NUMVFS " 1", 1), ==, 1);
    g_assert_cmpint(fake_log_find(root, "", 2), ==, -1);
    fake_host_free(root);
}

int main(int argc, char **argv)
{
    fake_kernel_start(argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fakekernel/numvfs/creates", test_numvfs_creates);
    g_test_add_func("/fakekernel/numvfs/removes", test_numvfs_removes);
    g_test_add_func("/fakekernel/numvfs/refusals", test_numvfs_refusals);
    g_test_add_func("/fakekernel/numvfs/needs-driver", test_numvfs_needs_driver);
    g_test_add_func("/fakekernel/numvfs/short", test_numvfs_short);
    g_test_add_func("/fakekernel/numvfs/moves", test_numvfs_moves);
    g_test_add_func("/fakekernel/numvfs/bus-numbers", test_numvfs_bus_numbers);
    g_test_add_func("/fakekernel/numvfs/full-house", test_numvfs_full_house);
    g_test_add_func("/fakekernel/attributes", test_attributes);
    g_test_add_func("/fakekernel/autoprobe", test_autoprobe);
    g_test_add_func("/fakekernel/probe", test_probe);
    g_test_add_func("/fakekernel/bind-unbind", test_bind_unbind);
    g_test_add_func("/fakekernel/group/needed-by-vfio", test_vfio_needs_group);
    g_test_add_func("/fakekernel/group/lowest-free", test_groups_lowest_free);
    g_test_add_func("/fakekernel/group/shared", test_group_shared);
    g_test_add_func("/fakekernel/group/exclusive", test_group_exclusive);
    g_test_add_func("/fakekernel/minor/lowest-free", test_minor_lowest_free);
    g_test_add_func("/fakekernel/minor/held-while-open", test_minor_held_while_open);
    g_test_add_func("/fakekernel/removal/fence-does-not-block", test_fence_does_not_block);
    g_test_add_func("/fakekernel/removal/open-device-blocks", test_open_device_blocks);
    g_test_add_func("/fakekernel/reset", test_reset);
    g_test_add_func("/fakekernel/sysfs/open", test_open_like_sysfs);
    g_test_add_func("/fakekernel/sysfs/gone-while-open", test_gone_while_open);
    g_test_add_func("/fakekernel/script/failure", test_scripted_failure);
    g_test_add_func("/fakekernel/script/delay", test_scripted_delay);
    g_test_add_func("/fakekernel/store-survives-kill", test_store_survives_kill);
    g_test_add_func("/fakekernel/outside-is-untouched", test_outside_is_untouched);
    return g_test_run();
}
