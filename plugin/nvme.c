// SPDX-License-Identifier: GPL-2.0-or-later
//
// NVMe commands and data structures as bytes; all fields are little-endian. Decoding takes whatever
// a controller says: counts are bounded by the size of the buffer.

#include "nvme.h"

#include <string.h>

#define OPCODE_IDENTIFY 0x06
#define OPCODE_VIRTUALIZATION_MANAGEMENT 0x1c

// Secondary Controller List (5.15.2.13): count, then entries of 32 bytes from byte 32 on.
#define LIST_HEADER 32
#define LIST_ENTRY 32

static guint16 le16(const guint8 *bytes)
{
    return (guint16)(bytes[0] | bytes[1] << 8);
}

static guint32 le32(const guint8 *bytes)
{
    return le16(bytes) | (guint32)le16(bytes + 2) << 16;
}

void vf_nvme_identify(struct nvme_admin_cmd *command, guint8 cns, guint16 cntid, void *data)
{
    memset(command, 0, sizeof(*command));
    command->opcode = OPCODE_IDENTIFY;
    command->addr = (guint64)(gsize)data;
    command->data_len = VF_NVME_DATA_BYTES;
    command->cdw10 = (guint32)cntid << 16 | cns;
}

void vf_nvme_manage(struct nvme_admin_cmd *command, VfNvmeAction action, guint16 cntid,
                    VfNvmeResource resource, guint16 number)
{
    memset(command, 0, sizeof(*command));
    command->opcode = OPCODE_VIRTUALIZATION_MANAGEMENT;
    command->cdw10 = (guint32)cntid << 16 | (guint32)resource << 8 | (guint32)action;
    command->cdw11 = number;
}

gboolean vf_nvme_list_entry(const guint8 *data, guint i, VfNvmeSecondary *entry)
{
    const guint8 *bytes = data + LIST_HEADER + i * LIST_ENTRY;

    if (i >= MIN(data[0], VF_NVME_LIST_MAX))
        return FALSE;
    *entry = (VfNvmeSecondary){
        .id = le16(bytes),
        .primary = le16(bytes + 2),
        .online = (bytes[4] & 1) != 0,
        .vfn = le16(bytes + 8),
        .assigned = {le16(bytes + 10), le16(bytes + 12)},
    };
    return TRUE;
}

void vf_nvme_parse_caps(const guint8 *data, VfNvmeCaps *caps)
{
    caps->id = le16(data);
    for (int i = 0; i < VF_NVME_RESOURCES; i++) {
        // VQ resources from byte 32, VI resources in the same layout from byte 64 (5.15.2.12).
        const guint8 *bytes = data + 32 * (i + 1);

        caps->resource[i].supported = (data[4] >> i & 1) != 0;
        caps->resource[i].total = le32(bytes);
        caps->resource[i].assigned = le32(bytes + 4);
        caps->resource[i].primary = le16(bytes + 8);
        caps->resource[i].secondary_max = le16(bytes + 12);
    }
}

guint vf_nvme_free(const VfNvmeCaps *caps, VfNvmeResource resource)
{
    guint64 used = (guint64)caps->resource[resource].assigned + caps->resource[resource].primary;
    guint32 total = caps->resource[resource].total;

    return used < total ? (guint)(total - used) : 0;
}

const char *vf_nvme_status_text(int status)
{
    // Status code type and status code (4.6.1) without Do Not Retry and More.
    switch (status & 0x7ff) {
    case 0x001:
        return "the controller does not know the command";
    case 0x002:
        return "the controller refuses a field of the command";
    case 0x11f:
        return "invalid controller identifier";
    case 0x120:
        return "the secondary controller is not in a state that allows this";
    case 0x121:
        return "invalid number of resources";
    case 0x122:
        return "there are not enough resources";
    default:
        return "the controller refused";
    }
}
