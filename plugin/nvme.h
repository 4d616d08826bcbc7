// SPDX-License-Identifier: GPL-2.0-or-later
//
// NVMe admin commands for virtualization enhancements: encoding and decoding, no I/O. Section
// numbers are those of the NVM Express Base Specification 1.4.

#pragma once

#include <glib.h>
#include <linux/nvme_ioctl.h>

#define VF_NVME_DATA_BYTES 4096
#define VF_NVME_LIST_MAX 127 // entries in one secondary controller list

#define VF_NVME_CNS_PRIMARY_CAPS 0x14   // Primary Controller Capabilities (5.15.2.12)
#define VF_NVME_CNS_SECONDARY_LIST 0x15 // Secondary Controller List (5.15.2.13)

// Actions of Virtualization Management (5.22).
typedef enum {
    VF_NVME_PRIMARY_ALLOCATE = 1, // flexible resources of the primary, from its next reset on
    VF_NVME_OFFLINE = 7,
    VF_NVME_ASSIGN = 8,
    VF_NVME_ONLINE = 9,
} VfNvmeAction;

typedef enum { VF_NVME_VQ, VF_NVME_VI, VF_NVME_RESOURCES } VfNvmeResource;

typedef struct {
    guint16 id, primary;
    gboolean online;
    guint16 vfn; // Virtual Function Number: VF index + 1, 0 = not a VF
    guint16 assigned[VF_NVME_RESOURCES];
} VfNvmeSecondary;

typedef struct {
    guint16 id;
    struct {
        gboolean supported;
        guint32 total;         // flexible resources of the primary and its secondaries
        guint32 assigned;      // of these, to secondaries
        guint16 primary;       // of these, to the primary
        guint16 secondary_max; // most that one secondary can have
    } resource[VF_NVME_RESOURCES];
} VfNvmeCaps;

// Identify (5.15) into data, VF_NVME_DATA_BYTES. The list starts at the first controller id >=
// cntid.
void vf_nvme_identify(struct nvme_admin_cmd *command, guint8 cns, guint16 cntid, void *data);

// Virtualization Management (5.22); resource and number matter for the two allocating actions.
void vf_nvme_manage(struct nvme_admin_cmd *command, VfNvmeAction action, guint16 cntid,
                    VfNvmeResource resource, guint16 number);

// Entry i of a secondary controller list; FALSE behind its end.
gboolean vf_nvme_list_entry(const guint8 *data, guint i, VfNvmeSecondary *entry);

void vf_nvme_parse_caps(const guint8 *data, VfNvmeCaps *caps);

// Flexible resources that nobody has.
guint vf_nvme_free(const VfNvmeCaps *caps, VfNvmeResource resource);

// A completion status, as the ioctl returns it, in words; static text.
const char *vf_nvme_status_text(int status);
