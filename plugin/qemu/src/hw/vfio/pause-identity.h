/*
 * What a guest is shown of a device that is not there
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_PAUSE_IDENTITY_H
#define HW_VFIO_PAUSE_IDENTITY_H

#include "pause-config.h"

/* A device without hardware: what the kernel would tell about it. */
struct VFIOIdentity {
    VFIOLayout layout;
    uint8_t *config; /* layout.config_size bytes */
};

/* Largest region: what fits into the offsets that vfio-pci uses */
#define VFIO_IDENTITY_REGION_MAX (1ULL << 40)
#define VFIO_IDENTITY_ROM_MAX (16 * MiB)
#define VFIO_IDENTITY_IRQS_MAX 2048

/*
 * False, with the reason in @errp, unless QEMU can show the guest such a
 * device.  The code that does so trusts the kernel: what is checked here is
 * not checked there.
 */
bool vfio_identity_check(const VFIOIdentity *identity, Error **errp);

/* As QAPI has it; @config is of layout->config_size bytes. */
VfioIdentity *vfio_identity_describe(const VFIOLayout *layout,
                                     const uint8_t *config);

#endif
