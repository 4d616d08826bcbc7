// SPDX-License-Identifier: GPL-2.0-or-later
//
// PCI configuration space through libpciaccess: the SR-IOV capability of physical functions. The
// only module that uses pciaccess.h; that library reads the host's /sys, so a test that wants
// another tree runs in a mount name space with it bound over /sys.
//
// Thread-safe. Blocks: opens a file of every function of the host, and while a PF's VFs are being
// removed a read of its configuration space waits for the second that this takes (Linux
// drivers/pci/iov.c, pci_cfg_access_lock).

#pragma once

#include <glib.h>

#include "pciaddr.h"

// SR-IOV extended capability (PCIe base specification, section 9.3.3).
typedef struct {
    guint16 total_vfs, num_vfs;
    guint16 offset, stride; // First VF Offset and VF Stride: may change with num_vfs
    guint16 vf_device;      // VF Device ID
    gboolean ari;           // ARI Capable Hierarchy is set; sysfs does not tell: FALSE
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
// VF_ERROR_SYSFS: its configuration space cannot be read as far as that (not root).
gboolean vf_pci_read_pf(const char *root, const VfPciAddr *address, VfPf *pf, GError **error);

// Finds the SR-IOV capability in a configuration space of which `length` bytes are known. FALSE
// when there is none in them, or its chain of capabilities is broken.
gboolean vf_pci_parse_sriov(const guint8 *config, gsize length, VfSriovCap *cap);

// Frees libpciaccess's list of devices, at the end of a program.
void vf_pci_cleanup(void);
