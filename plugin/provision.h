// SPDX-License-Identifier: GPL-2.0-or-later
//
// One function made ready for a guest, or given back: VFs, profile, driver. Blocks; runs in a
// lane's worker thread on copies of what it needs.

#pragma once

#include <glib.h>

#include "pciaddr.h"
#include "settings.h"

typedef struct {
    const char *root;
    const char *helper; // path of virtfn-numvfs
    VfPciAddr pf;
    guint index;
    guint count;           // VFs the PF shall have when it has too few
    gboolean may_recreate; // none of the PF's VFs has an owner: they may be destroyed
    gboolean keep_link;
    char *pool, *domain, *device; // domain: UUID, "" for none
    VfSettings settings;
    // out
    VfPciAddr address; // of the function
} VfProvision;

void vf_provision_free(VfProvision *provision);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfProvision, vf_provision_free)

// Creates the VF if it does not exist, checks that nobody has it open, applies the settings and
// binds it to vfio-pci. Idempotent. Sets `address`. VF_ERROR_BUSY: somebody has it open, or the
// PF would have to be reconfigured under its owners.
gboolean vf_provision_prepare(VfProvision *provision, GError **error);

// Takes the settings back and resets the function; it stays bound to vfio-pci. A function that is
// gone is fine. VF_ERROR_BUSY: somebody still has it open, nothing was done.
gboolean vf_provision_release(VfProvision *provision, GError **error);

// Creates the PF's VFs only (`count`), without touching those there are when there are enough.
gboolean vf_provision_create(VfProvision *provision, GError **error);
