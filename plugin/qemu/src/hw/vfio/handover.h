/*
 * Descriptors of host devices that were opened ahead of vfio_attach_device()
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_HANDOVER_H
#define HW_VFIO_HANDOVER_H

#include <linux/vfio.h>
#include "hw/vfio/vfio-common.h"
#include "qapi/error.h"

/*
 * What is handed over, -1 where nothing is.  Whoever uses a descriptor sets
 * its member to -1: it owns it from then on.
 */
typedef struct VFIOHandover {
    int group_fd;   /* /dev/vfio/GROUP, as a client passed it */
    int device_fd;  /* device of a group, already open: its reset is done */
    int devid;      /* iommufd: the device is already bound, with this id */
    VFIOPin *pin;   /* where a new container leaves what it wants mapped */
} VFIOHandover;

/*
 * Between begin and end the functions below take from @handover.  Both are
 * called with the BQL held, and nothing in between drops it.
 */
void vfio_handover_begin(VFIOHandover *handover);
void vfio_handover_end(void);

/* Open a group, or take the one handed over. */
int vfio_handover_open_group(const char *path, Error **errp);

/* False if nobody but a pause or resume at work on the group may use it. */
bool vfio_handover_may_use(VFIOGroup *group, Error **errp);

/* A container was made, its memory listener comes next. */
void vfio_handover_container(VFIOContainerBase *bcontainer);

/* VFIO_GROUP_GET_DEVICE_FD, or the device handed over. */
int vfio_handover_get_device(int group_fd, const char *name);

/* VFIO_DEVICE_BIND_IOMMUFD, unless that is done. */
int vfio_handover_bind(int device_fd, struct vfio_device_bind_iommufd *bind);

#endif
