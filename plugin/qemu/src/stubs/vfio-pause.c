/*
 * Pausing VFIO devices, for builds without vfio-pci
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-vfio-pause.h"

void qmp_vfio_pause(const char *id, bool has_access, VfioPausedAccess access,
                    bool has_hold_ms, uint32_t hold_ms, Error **errp)
{
    error_setg(errp, "This QEMU is built without vfio-pci");
}

void qmp_vfio_resume(const char *id, const char *host_device, const char *fd,
                     bool has_signal, VfioResumeSignal signal, Error **errp)
{
    error_setg(errp, "This QEMU is built without vfio-pci");
}

VfioPauseInfoList *qmp_query_vfio_pause(Error **errp)
{
    return NULL;
}

VfioIdentity *qmp_query_vfio_identity(const char *id, Error **errp)
{
    error_setg(errp, "This QEMU is built without vfio-pci");
    return NULL;
}
