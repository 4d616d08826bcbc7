/*
 * What a paused device was: its layout, and its config space
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_PAUSE_CONFIG_H
#define HW_VFIO_PAUSE_CONFIG_H

#include "pci.h"

/* A region: what the guest can see of it, and what a resume maps. */
typedef struct VFIOLayoutRegion {
    uint64_t size;
    uint32_t flags;     /* VFIO_REGION_INFO_FLAG_READ, _WRITE, _MMAP */
    bool msix_mappable;
    bool sparse;        /* only these areas can be mapped */
    uint32_t nr_areas;
    struct vfio_region_sparse_mmap_area *areas;
} VFIOLayoutRegion;

/* What must be equal for a host device to replace another one. */
typedef struct VFIOLayout {
    uint32_t config_size;
    uint32_t irq_count[VFIO_PCI_NUM_IRQS];
    VFIOLayoutRegion region[VFIO_PCI_CONFIG_REGION_INDEX];
    off_t region_offset[VFIO_PCI_NUM_REGIONS]; /* may differ */
    bool msix_noresize;                        /* may differ */
} VFIOLayout;

/*
 * Config space of a paused device, as the guest knows it.
 * @bits: its content.  @wmask: bits that a guest writes and a resume writes
 * to the new device.  @written: bits of @wmask that were set up by the guest,
 * before the pause or during it, since the last reset.  @writes: how often the
 * guest has changed it or what QEMU emulates of it.
 */
typedef struct VFIOShadow {
    uint32_t size, writes;
    uint8_t *bits, *wmask, *written;
} VFIOShadow;

/*
 * Read a running device's layout.  False with @errp set if it can't be read.
 * Free what it refers to with vfio_layout_clear().
 */
bool vfio_layout_read(VFIOPCIDevice *vdev, VFIOLayout *layout, Error **errp);
void vfio_layout_clear(VFIOLayout *layout);

/*
 * False, with the first difference in @errp, if a device with layout @now and
 * config space @now_config can't stand in for one with @was and @was_config.
 */
bool vfio_layout_check(const VFIOLayout *was, const uint8_t *was_config,
                       const VFIOLayout *now, const uint8_t *now_config,
                       Error **errp);

/* Read the config space of a running device; @to has @size bytes. */
bool vfio_read_config_space(VFIOPCIDevice *vdev, uint8_t *to, uint32_t size,
                            Error **errp);

/* Copy the config space of a running device.  Free with vfio_shadow_free(). */
bool vfio_shadow_read(VFIOPCIDevice *vdev, VFIOShadow *shadow, Error **errp);
void vfio_shadow_copy(VFIOShadow *to, const VFIOShadow *from);
void vfio_shadow_free(VFIOShadow *shadow);

/*
 * The guest writes to config space, or resets its device: then it finds
 * @initial where a function has defaults of its own.
 */
void vfio_shadow_write(VFIOShadow *shadow, uint32_t addr, uint32_t val,
                       int len);
void vfio_shadow_reset(VFIOShadow *shadow, const uint8_t *initial);

/* Take from a device's config space what its guest and its use left there. */
void vfio_config_clean(uint8_t *config, uint32_t size, const uint8_t *initial);

/* Offset of a capability, 0 if there is none.  Hostile chains end. */
uint32_t vfio_find_cap(const uint8_t *config, uint32_t size, uint16_t id,
                       bool extended);

/*
 * Write what the guest had set up to a device that was just opened: only
 * registers of an allow-list, whole registers, without status bits that a
 * write clears; COMMAND last.  BARs and COMMAND come from @emulated, QEMU's
 * own header.
 */
bool vfio_shadow_replay(VFIOPCIDevice *vdev, const VFIOShadow *shadow,
                        const uint8_t *emulated, Error **errp);

/* A copy was replayed: the next replay writes what that one has, too. */
void vfio_shadow_replayed(VFIOShadow *shadow, const VFIOShadow *copy);

#endif
