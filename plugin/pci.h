// SPDX-License-Identifier: GPL-2.0-or-later
//
// PCI configuration space through libpciaccess: the SR-IOV capability of physical functions. The
// only file that includes pciaccess.h; that library reads the host's /sys, so a test that wants
// another tree runs in a mount name space with it bound over /sys.

#pragma once

#include <glib.h>

#include "pciaddr.h"

// SR-IOV extended capability (PCIe base specification, section 9.3.3).
typedef struct {
    guint16 total_vfs, num_vfs;
    guint16 offset, stride; // First VF Offset and VF Stride: may change with num_vfs
    guint16 vf_device;      // VF Device ID
    gboolean ari;           // ARI Capable Hierarchy is set
} VfSriovCap;

typedef struct {
    VfPciAddr address;
    guint16 vendor, device;
    guint32 class_code; // 24 bits
    VfSriovCap cap;
} VfPf;

// Every physical function with an SR-IOV capability, in order of address. With a root other than
// "" the same facts come from the sysfs attributes (sriov_totalvfs, sriov_offset, …) below it.
GArray *vf_pci_list_pfs(const char *root, GError **error);

// The SR-IOV capability of one PF. VF_ERROR_NOT_FOUND: no such device, or no such capability.
gboolean vf_pci_read_pf(const char *root, const VfPciAddr *address, VfPf *pf, GError **error);

void vf_pci_cleanup(void);
