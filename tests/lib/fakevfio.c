// SPDX-License-Identifier: GPL-2.0-or-later
//
// Drivers and VFIO groups of the fake kernel. A group's node /dev/vfio/GROUP is there while one of
// its devices is bound to a vfio driver, is opened by one descriptor at a time, and has the lowest
// free minor, which stays taken as long as anybody has the node open (Linux drivers/vfio/group.c).
// Removing a driver waits until the device is closed (vfio_main.c); an open group does not hinder
// it.
//
// .state/minor/N is a second name of the node, so that its lock tells whether it is still open;
// .state/vfio/GROUP/BDF stands for a device, locked while open.

#include "fakekernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define WORD_SIZE 64

static bool is_vfio(const char *driver)
{
    return strstr(driver, "vfio") != NULL;
}

static bool group_of(const char *root, const char *bdf, char *group)
{
    return fk_link_name(group, WORD_SIZE, root, "/sys/bus/pci/devices/%s/iommu_group", bdf) > 0;
}

// Frees a minor whose node is gone, unless somebody still has it open.
static void free_minor(const char *root, int minor)
{
    char path[FK_PATH];

    fk_path(path, root, "/.state/minor/%d", minor);
    int fd = fk_open(path, O_RDWR, 0);
    bool unused = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (unused)
        fk_sys_unlink(path);
    fk_number_mark(root, "minors", minor, unused ? '.' : '~');
    if (fd >= 0)
        close(fd);
}

static int take_minor(const char *root)
{
    char marks[FK_TEXT];
    int count = fk_get(marks, sizeof(marks), root, "/.state/minors");

    for (int minor = 0; minor < count; minor++)
        if (marks[minor] == '~')
            free_minor(root, minor);
    return fk_number_take(root, "minors");
}

static int make_group(const char *root, const char *group)
{
    char number[WORD_SIZE], minor_path[FK_PATH], node[FK_PATH];
    int minor = take_minor(root);

    if (minor < 0)
        return minor;
    snprintf(number, sizeof(number), "%d", minor);
    fk_put(number, 0600, root, "/.state/minor/%d", minor);
    fk_path(minor_path, root, "/.state/minor/%d", minor);
    fk_path(node, root, "/dev/vfio/%s", group);
    fk_mkdir(root, "/sys/class/vfio/%s", group);
    snprintf(number, sizeof(number), "511:%d", minor);
    fk_put(number, 0444, root, "/sys/class/vfio/%s/dev", group);
    return link(minor_path, node) < 0 ? -errno : 0;
}

static int join_vfio(const char *root, const char *bdf)
{
    char group[WORD_SIZE];
    int result = 0;

    if (!group_of(root, bdf, group))
        return -EINVAL; // vfio_group_find_or_alloc(): no IOMMU group
    if (fk_mkdir(root, "/.state/vfio/%s", group) == 0)
        result = make_group(root, group);
    if (result == 0)
        fk_put("", 0600, root, "/.state/vfio/%s/%s", group, bdf);
    return result;
}

static void leave_vfio(const char *root, const char *bdf)
{
    char group[WORD_SIZE], device[WORD_SIZE] = "";

    if (!group_of(root, bdf, group))
        return;
    fk_unlink(root, "/.state/vfio/%s/%s", group, bdf);
    if (fk_rmdir(root, "/.state/vfio/%s", group) < 0)
        return; // another device of the group is still there
    fk_get(device, sizeof(device), root, "/sys/class/vfio/%s/dev", group);
    fk_unlink(root, "/sys/class/vfio/%s/dev", group);
    fk_rmdir(root, "/sys/class/vfio/%s", group);
    fk_unlink(root, "/dev/vfio/%s", group);
    const char *colon = strchr(device, ':');
    if (colon != NULL)
        free_minor(root, atoi(colon + 1));
}

int fk_bind(const char *root, const char *bdf, const char *driver)
{
    char target[FK_PATH];
    int lock = fk_lock(root, "state");
    int result = is_vfio(driver) ? join_vfio(root, bdf) : 0;

    if (result == 0) {
        snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", driver);
        fk_link(target, root, "/sys/bus/pci/devices/%s/driver", bdf);
        snprintf(target, sizeof(target), "../../../../devices/pci%.*s:00/%s",
                 (int)strcspn(bdf, ":"), bdf, bdf);
        fk_link(target, root, "/sys/bus/pci/drivers/%s/%s", driver, bdf);
    }
    close(lock);
    return result;
}

// Takes the device's lock, so that nobody opens it any more; waits while somebody has it open.
static int wait_until_closed(const char *root, const char *bdf)
{
    char group[WORD_SIZE], path[FK_PATH];

    if (!group_of(root, bdf, group))
        return -1;
    fk_path(path, root, "/.state/vfio/%s/%s", group, bdf);
    int fd = fk_open(path, O_RDWR, 0);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        fk_log(root, "blocked %s", bdf);
        flock(fd, LOCK_EX);
    }
    return fd;
}

int fk_unbind(const char *root, const char *bdf)
{
    char driver[WORD_SIZE];
    int device = -1;

    if (fk_link_name(driver, sizeof(driver), root, "/sys/bus/pci/devices/%s/driver", bdf) < 0)
        return -ENODEV;
    if (is_vfio(driver))
        device = wait_until_closed(root, bdf);
    int lock = fk_lock(root, "state");
    if (is_vfio(driver))
        leave_vfio(root, bdf);
    fk_unlink(root, "/sys/bus/pci/drivers/%s/%s", driver, bdf);
    fk_unlink(root, "/sys/bus/pci/devices/%s/driver", bdf);
    close(lock);
    if (device >= 0)
        close(device);
    return 0;
}

int fk_group_claim(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -EBUSY : 0;
}

// VFIO_GROUP_GET_DEVICE_FD.
int fk_group_device(const char *root, const char *group, const char *bdf)
{
    char path[FK_PATH];

    fk_path(path, root, "/.state/vfio/%s/%s", group, bdf);
    int fd = fk_open(path, O_RDWR, 0);
    if (fd < 0)
        return -ENODEV;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        return fd;
    close(fd);
    return -ENODEV;
}

static bool has_open(const char *pid, const char *path)
{
    char directory[FK_PATH], target[FK_PATH];
    bool found = false;

    fk_path(directory, "/proc/", "%s/fd", pid);
    DIR *fds = opendir(directory);
    for (struct dirent *fd; !found && fds != NULL && (fd = readdir(fds)) != NULL;) {
        ssize_t length = readlinkat(dirfd(fds), fd->d_name, target, sizeof(target) - 1);

        if (length <= 0)
            continue;
        target[length] = '\0';
        found = strcmp(target, path) == 0;
    }
    if (fds != NULL)
        closedir(fds);
    return found;
}

// Makes the processes that have a node open visible in the root's /proc, for whoever is refused.
// Runs in the caller's context, so it may allocate.
void fk_show_holders(const char *root, const char *path)
{
    char target[FK_PATH];
    DIR *processes = opendir("/proc");

    for (struct dirent *process; processes != NULL && (process = readdir(processes)) != NULL;) {
        const char *pid = process->d_name;

        if (pid[strspn(pid, "0123456789")] != '\0' || !has_open(pid, path))
            continue;
        fk_path(target, "/proc/", "%s", pid);
        fk_link(target, root, "/proc/%s", pid);
    }
    if (processes != NULL)
        closedir(processes);
}
