/*
 * What a paused device was: its layout, and its config space
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_PAUSE_CONFIG_H
#define HW_VFIO_PAUSE_CONFIG_H

#include "pci.h"

/* What must be equal for a host device to replace another one. */
typedef struct VFIOLayout {
    uint32_t config_size;
    uint32_t num_irqs;
    uint32_t irq_count[VFIO_PCI_NUM_IRQS];
    struct {
        uint64_t size;
        uint32_t flags;
        uint64_t areas; /* hash of the areas that can be mapped */
    } region[VFIO_PCI_CONFIG_REGION_INDEX];
    off_t region_offset[VFIO_PCI_NUM_REGIONS]; /* may differ */
} VFIOLayout;

/*
 * Config space of a paused device, as the guest knows it.
 * @bits: its content.  @wmask: bits that a guest writes and a resume writes
 * to the new device.  @written: bits of @wmask that were set up by the guest,
 * before the pause or during it, since the last reset.
 */
typedef struct VFIOShadow {
    uint32_t size;
    uint8_t *bits, *wmask, *written;
} VFIOShadow;

/* Read a running device's layout.  False with @errp set if it can't be read. */
bool vfio_layout_read(VFIOPCIDevice *vdev, VFIOLayout *layout, Error **errp);

/*
 * False, with the first difference in @errp, if a device with layout @now and
 * config space @now_config can't stand in for one with @was and @was_config.
 */
bool vfio_layout_check(const VFIOLayout *was, const uint8_t *was_config,
                       const VFIOLayout *now, const uint8_t *now_config,
                       Error **errp);

/* Copy the config space of a running device.  Free with vfio_shadow_free(). */
bool vfio_shadow_read(VFIOPCIDevice *vdev, VFIOShadow *shadow, Error **errp);
void vfio_shadow_free(VFIOShadow *shadow);

/* The guest writes to config space, or resets its device. */
void vfio_shadow_write(VFIOShadow *shadow, uint32_t addr, uint32_t val,
                       int len);
void vfio_shadow_reset(VFIOShadow *shadow);

/*
 * Write what the guest had set up to a device that was just opened: only
 * registers of an allow-list, whole registers, without status bits that a
 * write clears; COMMAND last.
 */
bool vfio_shadow_replay(VFIOPCIDevice *vdev, const VFIOShadow *shadow,
                        Error **errp);

#endif
