/*
 * Pausing vfio-pci devices: what the rest of hw/vfio calls
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_PAUSE_H
#define HW_VFIO_PAUSE_H

#include "hw/vfio/vfio-common.h"
#include "pci.h"

/*
 * Config space of a paused device: reads come from a shadow; writes go to the
 * shadow's guest-writable bits and to what QEMU emulates.  Call these instead
 * of an access to the host device when vbasedev->paused is set.
 */
uint32_t vfio_paused_read_config(VFIOPCIDevice *vdev, uint32_t addr, int len);
void vfio_paused_write_config(VFIOPCIDevice *vdev, uint32_t addr, uint32_t val,
                              int len);

/*
 * A guest's access to a BAR of a paused device.  Returns true if the device
 * is backed by the host again and the access is to be done there; otherwise
 * reads are all-ones and writes are dropped.  May drop the BQL.
 */
bool vfio_paused_access(VFIODevice *vbasedev, unsigned region, bool write);

/* The guest's device was reset while paused. */
void vfio_paused_reset(VFIOPCIDevice *vdev);

/*
 * Starting paused.  With an identity, vfio_identity_open() takes the place of
 * opening the host device, vfio_pause_realize() comes before anything else
 * that uses the device, and the config space it reads is the identity's.
 * vfio_pause_realized() is the end of a realize in any case.
 */
bool vfio_identity_open(VFIOPCIDevice *vdev, Error **errp);
void vfio_identity_close(VFIOPCIDevice *vdev);
uint64_t vfio_identity_rom_size(VFIOPCIDevice *vdev);
bool vfio_pause_realize(VFIOPCIDevice *vdev, Error **errp);
bool vfio_pause_realized(VFIOPCIDevice *vdev, Error **errp);

/* As pread(), at an offset in config space */
ssize_t vfio_pci_config_pread(VFIOPCIDevice *vdev, void *to, size_t len,
                              off_t offset);

/* The guest's device goes away, in whatever state. */
void vfio_pause_exit(VFIOPCIDevice *vdev);
void vfio_pause_finalize(VFIOPCIDevice *vdev);

/* Of pci.c */
void vfio_disable_interrupts(VFIOPCIDevice *vdev);
bool vfio_intx_enable(VFIOPCIDevice *vdev, Error **errp);
int vfio_msi_enable(VFIOPCIDevice *vdev);
int vfio_msix_enable(VFIOPCIDevice *vdev);
void vfio_sub_page_bar_update_mapping(PCIDevice *pdev, int bar);
void vfio_register_notifiers(VFIOPCIDevice *vdev);
void vfio_unregister_notifiers(VFIOPCIDevice *vdev);

/* Of container.c */
VFIOGroup *vfio_get_group(int groupid, AddressSpace *as, Error **errp);
void vfio_put_group(VFIOGroup *group);
int vfio_device_groupid(VFIODevice *vbasedev, Error **errp);

/* Of iommufd.c */
int iommufd_cdev_getfd(const char *sysfs_path, Error **errp);

#endif
