// SPDX-License-Identifier: GPL-2.0-or-later
//
// The fence: an open of /dev/vfio/N is exclusive (Linux drivers/vfio/group.c, also against users
// of the per-device nodes), so holding one for each VF proves that no guest has a VF open and keeps
// it so. Nothing is done with the group, and no reset happens at open or close. When somebody was
// first, /proc tells who.

#include "sriov.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "io.h"

struct VfFence {
    char *root;
    VfPciAddr pf; // or the one VF
    GArray *fds;
    GHashTable *groups; // numbers that are held: functions may share one
};

// One fd of /proc/PID/fd is an open of one of the nodes. Compared as files, because a guest has
// its nodes in a /dev of its own; the name is looked at first, because stat() of a file on a dead
// file server would hang.
static gboolean is_node(int fds, const char *fd, const struct stat *nodes, guint count)
{
    char target[4096];
    struct stat status;
    ssize_t length = readlinkat(fds, fd, target, sizeof(target) - 1);

    if (length < 0)
        return FALSE;
    target[length] = '\0';
    if (strstr(target, "/vfio/") == NULL || fstatat(fds, fd, &status, 0) < 0)
        return FALSE;
    for (guint i = 0; i < count; i++) {
        if (S_ISCHR(status.st_mode)
                ? status.st_rdev == nodes[i].st_rdev
                : status.st_dev == nodes[i].st_dev && status.st_ino == nodes[i].st_ino)
            return TRUE;
    }
    return FALSE;
}

static gboolean has_open(const char *root, const char *pid, const struct stat *nodes, guint count)
{
    g_autofree char *path = vf_path(root, "/proc/%s/fd", pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    gboolean found = FALSE;
    int fds = dir != NULL ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    while (!found && fds >= 0 && (name = g_dir_read_name(dir)) != NULL)
        found = is_node(fds, name, nodes, count);
    if (fds >= 0)
        close(fds);
    return found;
}

// "process 4711 (qemu-system-x86)". Caller frees.
static char *name_holder(const char *root, const struct stat *nodes, guint count)
{
    g_autofree char *path = vf_path(root, "/proc");
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *pid;

    while (dir != NULL && (pid = g_dir_read_name(dir)) != NULL) {
        if (!g_ascii_isdigit(*pid) || !has_open(root, pid, nodes, count))
            continue;
        g_autofree char *comm_path = vf_path(root, "/proc/%s/comm", pid);
        g_autofree char *comm = vf_io_read(comm_path, NULL);
        return g_strdup_printf("process %s (%s)", pid, comm != NULL ? comm : "?");
    }
    return g_strdup("a process that cannot be seen from here");
}

// The node of the one device, /dev/vfio/devices/vfioN, which excludes the group's as well.
static gboolean stat_device_node(const char *root, const char *address, struct stat *status)
{
    g_autofree char *path = vf_path(root, "/sys/bus/pci/devices/%s/vfio-dev", address);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name = dir != NULL ? g_dir_read_name(dir) : NULL;

    if (name == NULL)
        return FALSE;
    g_autofree char *node = vf_path(root, "/dev/vfio/devices/%s", name);
    return stat(node, status) == 0;
}

static void set_busy(const char *root, const char *address, guint group, const char *node,
                     GError **error)
{
    struct stat nodes[2];
    guint count = 0;

    count += stat(node, &nodes[count]) == 0;
    count += stat_device_node(root, address, &nodes[count]);
    g_autofree char *holder = name_holder(root, nodes, count);
    g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                "%s: VFIO group %u is open in %s" VF_REMEDY
                "pause or shut down that guest, then try again",
                address, group, holder);
}

// Opens the group's node. -1 without an error when it has none, which is right for a function that
// no vfio driver has.
static int open_group(const char *root, const VfPciAddr *vf, guint group, GError **error)
{
    static const char *const names[] = {"", "noiommu-"};
    char buf[VF_PCIADDR_BUFSIZE];

    vf_pciaddr_format(vf, buf);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *node = vf_path(root, "/dev/vfio/%s%u", names[i], group);
        int fd = open(node, O_RDWR | O_CLOEXEC);

        int saved_errno = errno;

        if (fd >= 0)
            return fd;
        if (saved_errno == ENOENT)
            continue;
        if (saved_errno == EBUSY)
            set_busy(root, buf, group, node, error);
        else
            vf_error_set_errno(error, VF_ERROR_SYSFS, saved_errno, "%s: opening %s", buf, node);
        return -1;
    }
    g_autofree char *driver = vf_sriov_driver(root, vf);
    if (vf_sriov_is_vfio(driver))
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                    "%s: is bound to %s but has no /dev/vfio/%u" VF_REMEDY
                    "virtfn needs a kernel with VFIO groups (CONFIG_VFIO_GROUP)",
                    buf, driver, group);
    return -1;
}

// Without an IOMMU there is no group that anybody could have open. FALSE with *error when that
// cannot be told.
static gboolean has_group(const char *root, const VfPciAddr *vf, GError **error)
{
    char buf[VF_PCIADDR_BUFSIZE];
    g_autofree char *path =
        vf_path(root, "/sys/bus/pci/devices/%s/iommu_group", vf_pciaddr_format(vf, buf));
    g_autofree char *name = vf_io_link_name(path, error);

    return name != NULL;
}

static gboolean hold(VfFence *fence, const VfPciAddr *vf, GError **error)
{
    g_autoptr(GError) cause = NULL;
    guint group;

    if (!has_group(fence->root, vf, &cause)) {
        gboolean none = cause == NULL;

        if (!none)
            g_propagate_error(error, g_steal_pointer(&cause));
        return none;
    }
    if (!vf_sriov_group(fence->root, vf, &group, error))
        return FALSE;
    if (g_hash_table_contains(fence->groups, GUINT_TO_POINTER(group)))
        return TRUE;
    int fd = open_group(fence->root, vf, group, &cause);
    if (cause != NULL) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return FALSE;
    }
    if (fd >= 0) {
        g_array_append_val(fence->fds, fd);
        g_hash_table_add(fence->groups, GUINT_TO_POINTER(group));
    }
    return TRUE;
}

static VfFence *fence_new(const char *root, const VfPciAddr *addr)
{
    VfFence *fence = g_new0(VfFence, 1);

    fence->root = g_strdup(root);
    fence->pf = *addr;
    fence->fds = g_array_new(FALSE, FALSE, sizeof(int));
    fence->groups = g_hash_table_new(NULL, NULL);
    return fence;
}

static gint compare_numbers(gconstpointer a, gconstpointer b)
{
    return *(const guint *)a < *(const guint *)b ? -1 : 1;
}

// Numbers of the VFs that there are, lowest first: a removal that the kernel has not finished
// leaves gaps.
static GArray *list_vfs(const char *root, const char *pf, GError **error)
{
    g_autofree char *path = vf_path(root, "/sys/bus/pci/devices/%s", pf);
    g_autoptr(GError) cause = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &cause);
    GArray *numbers;
    const char *name;

    if (dir == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "its VFs cannot be listed: %s",
                    cause->message);
        return NULL;
    }
    numbers = g_array_new(FALSE, FALSE, sizeof(guint));
    while ((name = g_dir_read_name(dir)) != NULL) {
        guint number;

        if (sscanf(name, "virtfn%u", &number) == 1)
            g_array_append_val(numbers, number);
    }
    g_array_sort(numbers, compare_numbers);
    return numbers;
}

static gboolean hold_number(VfFence *fence, const char *pf, guint number, GError **error)
{
    g_autofree char *path = vf_path(fence->root, "/sys/bus/pci/devices/%s/virtfn%u", pf, number);
    g_autoptr(GError) cause = NULL;
    g_autofree char *name = vf_io_link_name(path, &cause);
    VfPciAddr vf;

    if (cause != NULL) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return FALSE;
    }
    // Gone since it was listed.
    return name == NULL || !vf_pciaddr_parse(name, &vf) || hold(fence, &vf, error);
}

VfFence *vf_fence_acquire(const char *root, const VfPciAddr *pf, GError **error)
{
    g_autoptr(VfFence) fence = fence_new(root, pf);
    char address[VF_PCIADDR_BUFSIZE];
    g_autoptr(GArray) numbers = list_vfs(root, vf_pciaddr_format(pf, address), error);

    for (guint i = 0; numbers != NULL && i < numbers->len; i++)
        if (!hold_number(fence, address, g_array_index(numbers, guint, i), error))
            return NULL;
    return numbers != NULL ? g_steal_pointer(&fence) : NULL;
}

VfFence *vf_fence_acquire_vf(const char *root, const VfPciAddr *vf, GError **error)
{
    g_autoptr(VfFence) fence = fence_new(root, vf);

    return hold(fence, vf, error) ? g_steal_pointer(&fence) : NULL;
}

gboolean vf_fence_covers(const VfFence *fence, const char *root, const VfPciAddr *pf)
{
    return vf_pciaddr_equal(&fence->pf, pf) && strcmp(fence->root, root) == 0;
}

int vf_fence_fd(const VfFence *fence)
{
    return fence->fds->len == 1 ? g_array_index(fence->fds, int, 0) : -1;
}

const GArray *vf_fence_fds(const VfFence *fence)
{
    return fence->fds;
}

void vf_fence_release(VfFence *fence)
{
    if (fence == NULL)
        return;
    for (guint i = 0; i < fence->fds->len; i++)
        close(g_array_index(fence->fds, int, i));
    g_array_unref(fence->fds);
    g_hash_table_unref(fence->groups);
    g_free(fence->root);
    g_free(fence);
}

gboolean vf_sriov_check_unused(const char *root, const VfPciAddr *vf, GError **error)
{
    g_autoptr(VfFence) fence = vf_fence_acquire_vf(root, vf, error);

    return fence != NULL;
}
