// SPDX-License-Identifier: GPL-2.0-or-later
//
// The sysfs side of SR-IOV: how many VFs there are, making them, binding and resetting one, and
// the fence that proves that nobody has one open. Every function blocks (numvfs for a second and
// more), so the daemon calls them in worker threads only. `root` is "" on a real host.
//
// Rules kept here (design.md section 4): sriov_numvfs is never read while it may change, VFs are
// counted by their virtfnN links; numvfs is written by a helper process, only under a fence, and
// read back; drivers_autoprobe is 0 around it; driver_override + drivers_probe, never new_id.

#pragma once

#include <glib.h>

#include "pciaddr.h"

// Number of virtfnN links of the PF: what exists, whatever sriov_numvfs says.
guint vf_sriov_count(const char *root, const VfPciAddr *pf);

// Address of VF `index`, from its virtfnN link. FALSE without an error when it does not exist.
gboolean vf_sriov_address(const char *root, const VfPciAddr *pf, guint index, VfPciAddr *vf);

// The PF of a VF (physfn link) and the VF's index; FALSE when the address is not a VF.
gboolean vf_sriov_physfn(const char *root, const VfPciAddr *vf, VfPciAddr *pf, guint *index);

// Driver bound to a function, NULL when none. Caller frees.
char *vf_sriov_driver(const char *root, const VfPciAddr *addr);

// IOMMU group number. VF_ERROR_SYSFS when the function has none (IOMMU off).
gboolean vf_sriov_group(const char *root, const VfPciAddr *vf, guint *group, GError **error);

// Exclusive hold on the VFIO groups of every vfio-bound VF of a PF (/dev/vfio/N opens are exclusive: kernel
// drivers/vfio/group.c). VF_ERROR_BUSY names the function, the process and its pid when one is open.
typedef struct VfFence VfFence;
VfFence *vf_fence_acquire(const char *root, const VfPciAddr *pf, GError **error);
void vf_fence_release(VfFence *fence);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfFence, vf_fence_release)

// VF_ERROR_BUSY, naming process and pid, when the VF's VFIO group is open; TRUE when it is free or
// the VF is not bound to vfio-pci.
gboolean vf_sriov_check_unused(const char *root, const VfPciAddr *vf, GError **error);

// Makes the PF have `count` VFs: nothing to do when it has; otherwise 0 first (under a fence) and
// then `count`. Runs `helper` (virtfn-numvfs) for each write. On failure the PF has as many VFs as
// the kernel left; the message tells the errno in words (ERANGE, EBUSY, ENOENT, ENOSPC, ENOMEM) with
// a remedy. Reads back: fewer VFs than asked is VF_ERROR_SYSFS.
gboolean vf_sriov_set_count(const char *root, const VfPciAddr *pf, guint count, const char *helper,
                            GError **error);

// Binds a function to `driver` ("vfio-pci") if it is not already, and checks that it is after.
gboolean vf_sriov_bind(const char *root, const VfPciAddr *addr, const char *driver, GError **error);

// Unbinds from whatever driver has it and clears driver_override.
gboolean vf_sriov_unbind(const char *root, const VfPciAddr *addr, GError **error);

// Function-level reset through the `reset` attribute (100 ms and more).
gboolean vf_sriov_reset(const char *root, const VfPciAddr *vf, GError **error);
