// SPDX-License-Identifier: GPL-2.0-or-later
//
// The sysfs side of SR-IOV: how many VFs there are, making them, binding and resetting one, and
// the fence that proves that nobody has one open. Every function blocks (numvfs for a second and
// more), so the daemon calls them in worker threads only. `root` is "" on a real host.
//
// Rules kept here (design.md section 4): sriov_numvfs is never read while it may change, VFs are
// counted by their virtfnN links; numvfs is written by a helper process, only under a fence, and
// read back; drivers_autoprobe is 0 around it; driver_override + drivers_probe, never new_id; the
// driver of a PF is never touched.

#pragma once

#include <glib.h>

#include "pciaddr.h"

// Number of virtfnN links of the PF: what exists, whatever sriov_numvfs says.
// 0 when that cannot be told, so it is not for deciding what may be destroyed.
guint vf_sriov_count(const char *root, const VfPciAddr *pf);
gboolean vf_sriov_read_count(const char *root, const VfPciAddr *pf, guint *count, GError **error);

// Address of VF `index`, from its virtfnN link. FALSE without an error when it does not exist.
gboolean vf_sriov_address(const char *root, const VfPciAddr *pf, guint index, VfPciAddr *vf);

// The PF of a VF (physfn link) and the VF's index; FALSE when the address is not a VF.
gboolean vf_sriov_physfn(const char *root, const VfPciAddr *vf, VfPciAddr *pf, guint *index);

// Driver bound to a function, NULL when none. Caller frees.
char *vf_sriov_driver(const char *root, const VfPciAddr *addr);

// TRUE for vfio-pci and its variants (mlx5_vfio_pci, ...), whose functions have a VFIO group.
gboolean vf_sriov_is_vfio(const char *driver);

// IOMMU group number. VF_ERROR_SYSFS when the function has none (IOMMU off).
gboolean vf_sriov_group(const char *root, const VfPciAddr *vf, guint *group, GError **error);

// Exclusive hold on the VFIO groups of every vfio-bound VF of a PF (/dev/vfio/N opens are
// exclusive: kernel drivers/vfio/group.c). VF_ERROR_BUSY names the function, the process and its
// pid when one is open. A held group hinders neither the removal of its VFs nor a bind, but its
// minor stays taken and nobody else can open it: release the fence once the VFs are gone, before
// new ones are made.
typedef struct VfFence VfFence;
VfFence *vf_fence_acquire(const char *root, const VfPciAddr *pf, GError **error);

// The same for the group of one VF.
VfFence *vf_fence_acquire_vf(const char *root, const VfPciAddr *vf, GError **error);

// TRUE when the fence was acquired for this PF.
gboolean vf_fence_covers(const VfFence *fence, const char *root, const VfPciAddr *pf);

// The open VFIO group of vf_fence_acquire_vf(), the fence's; -1 when the VF has none.
int vf_fence_fd(const VfFence *fence);

// All open VFIO groups, the fence's: int.
const GArray *vf_fence_fds(const VfFence *fence);

void vf_fence_release(VfFence *fence);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfFence, vf_fence_release)

// VF_ERROR_BUSY, naming process and pid, when the VF's VFIO group is open; TRUE when it is free or
// the VF is not bound to vfio-pci. Opens the group for a moment: a guest that opens it in the same
// moment is refused, so ask only for functions that no domain is starting with.
gboolean vf_sriov_check_unused(const char *root, const VfPciAddr *vf, GError **error);

// Makes the PF have `count` VFs: nothing to do when it has; otherwise 0 first (under a fence) and
// then `count`. Runs `helper` (absolute path of virtfn-numvfs) for each write. What can be known
// before (too many, no driver) is refused before anything is touched. On failure the PF has as many
// VFs as the kernel left, which the message tells, with the errno in words (ERANGE, EBUSY, ENOENT,
// ENOSPC, ENOMEM) and a remedy. Reads back: fewer VFs than asked is VF_ERROR_SYSFS.
// VF_ERROR_BUSY: a VF is open, or somebody else wrote numvfs. VF_ERROR_NOT_FOUND: not a PF.
// Writes 0 to sriov_drivers_autoprobe and leaves it: who wants the old value back reads it before.
gboolean vf_sriov_set_count(const char *root, const VfPciAddr *pf, guint count, const char *helper,
                            GError **error);

// Removes all VFs under a fence that the caller holds and still holds after. For a reconf, which
// needs the proof before it journals the point of no return; then vf_fence_release() and
// vf_sriov_set_count().
gboolean vf_sriov_clear(const char *root, const VfPciAddr *pf, const VfFence *fence,
                        const char *helper, GError **error);

// Waits until no helper of a daemon that was killed is at work on the PF. VF_ERROR_SYSFS: it takes
// longer than a helper may.
gboolean vf_sriov_await_helper(const char *root, const VfPciAddr *pf, GError **error);

// How long a helper may take before it is given up (VF_ERROR_SYSFS; it is killed, which has an
// effect once the kernel lets go of it). 120 s unless told; one value for the process.
void vf_sriov_set_helper_timeout(guint milliseconds);

// Binds a function to `driver` ("vfio-pci") if it is not already, and checks that it is after.
// driver_override stays set. VF_ERROR_STATE: it is a PF. VF_ERROR_BUSY: it would have to leave a
// vfio driver while open, for which the kernel would wait without end. A driver other than vfio's
// gets the function only after a reset (a closed VFIO device need not have had one).
gboolean vf_sriov_bind(const char *root, const VfPciAddr *addr, const char *driver, GError **error);

// Unbinds from whatever driver has it and clears driver_override. Errors as vf_sriov_bind().
gboolean vf_sriov_unbind(const char *root, const VfPciAddr *addr, GError **error);

// Function-level reset through the `reset` attribute (100 ms and more). Does not look whether
// somebody has the function open.
gboolean vf_sriov_reset(const char *root, const VfPciAddr *vf, GError **error);

// The ways in which the kernel may reset a function, as its reset_method attribute lists them; "" =
// none. NULL: there is no such function, or a kernel before 5.15 does not tell. Freed by the
// caller.
char *vf_sriov_reset_methods(const char *root, const VfPciAddr *vf);

// Sets them; with "" neither an open nor a close of its VFIO device resets it.
gboolean vf_sriov_set_reset_methods(const char *root, const VfPciAddr *vf, const char *methods,
                                    GError **error);
