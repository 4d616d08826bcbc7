/*
 * Descriptors of host devices that were opened ahead of vfio_attach_device()
 *
 * Opening a VFIO device resets it, which takes 100 ms for a function-level
 * reset.  A resume does that in a worker thread and hands the result to the
 * common code, which would do it under the BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include "handover.h"
#include "pause-memory.h"

static VFIOHandover *current;

void vfio_handover_begin(VFIOHandover *handover)
{
    assert(!current);
    current = handover;
}

void vfio_handover_end(void)
{
    assert(current);
    current = NULL;
}

static int vfio_handover_take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

int vfio_handover_open_group(const char *path, Error **errp)
{
    if (current && current->group_fd >= 0) {
        return vfio_handover_take(&current->group_fd);
    }
    return qemu_open(path, O_RDWR, errp);
}

bool vfio_handover_may_use(VFIOGroup *group, Error **errp)
{
    if (group->in_transit && !current) {
        error_setg(errp, "a device of group %d is being paused or resumed",
                   group->groupid);
        return false;
    }
    return true;
}

void vfio_handover_container(VFIOContainerBase *bcontainer)
{
    if (current && current->pin) {
        vfio_pin_attach(current->pin, bcontainer);
    }
}

int vfio_handover_get_device(int group_fd, const char *name)
{
    if (current && current->device_fd >= 0) {
        return vfio_handover_take(&current->device_fd);
    }
    return ioctl(group_fd, VFIO_GROUP_GET_DEVICE_FD, name);
}

int vfio_handover_bind(int device_fd, struct vfio_device_bind_iommufd *bind)
{
    if (current && current->devid >= 0) {
        bind->out_devid = vfio_handover_take(&current->devid);
        return 0;
    }
    return ioctl(device_fd, VFIO_DEVICE_BIND_IOMMUFD, bind);
}
