/*
 * Pinning and unpinning the guest's memory without the BQL
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_PAUSE_MEMORY_H
#define HW_VFIO_PAUSE_MEMORY_H

#include "hw/vfio/vfio-common.h"
#include "handover.h"

/*
 * For the memory listener, with the BQL held.  Without a pause or resume at
 * work on the container these do what they are named after at once.
 */

/* Map a section of @mr.  0 may mean that it is done later. */
int vfio_pin_map(VFIOContainerBase *bcontainer, MemoryRegion *mr, hwaddr iova,
                 ram_addr_t size, void *vaddr, bool readonly);

/* True if the range is unmapped later, else it is for the caller to do. */
bool vfio_pin_unmap(VFIOContainerBase *bcontainer, hwaddr iova,
                    ram_addr_t size);

/* Wait until nothing is to be done later in the range. */
void vfio_pin_settle(VFIOContainerBase *bcontainer, hwaddr iova,
                     ram_addr_t size);

/* From here on mappings and unmappings of the container wait in @pin. */
void vfio_pin_attach(VFIOPin *pin, VFIOContainerBase *bcontainer);

/*
 * For whoever wants to attach a device to a container that there is, with the
 * BQL held: waits for a resume that is mapping the memory, or for a pause
 * that is unmapping it.  False: take another container.
 */
bool vfio_pin_join(VFIOContainerBase *bcontainer);

/*
 * For a pause or resume.  These may yield; they run one after the other, so
 * that devices resumed at the same time pin the memory once.
 */

/*
 * Open the group, or take it from @handover, and connect it to a container.
 * The group is then kept even without devices, and no other device gets into
 * it, until its in_transit is cleared or it is given back.
 */
VFIOGroup *coroutine_fn vfio_group_take_co(int groupid, AddressSpace *as,
                                           VFIOHandover *handover,
                                           Error **errp);

/* Close a group that has no device and is in transit. */
void coroutine_fn vfio_group_give_co(VFIOGroup *group);

/* vfio_attach_device() for iommufd; the device's fd is -1 if it fails. */
bool coroutine_fn vfio_cdev_attach_co(char *name, VFIODevice *vbasedev,
                                      AddressSpace *as, VFIOHandover *handover,
                                      Error **errp);

/* vfio_detach_device() for iommufd, and the last close of the device */
void coroutine_fn vfio_cdev_release_co(VFIODevice *vbasedev);

/*
 * Run @worker in a thread of its own, without the BQL.  (QEMU's thread pool
 * lets several calls wait for one idle thread, and their resets add up.)
 */
typedef void VFIOWorker(void *opaque);
void coroutine_fn vfio_worker_co(VFIOWorker *worker, void *opaque);

/* close() takes as long as a reset if it is the device's last one. */
void coroutine_fn vfio_close_co(int fd);

#endif
