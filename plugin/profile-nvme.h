// SPDX-License-Identifier: GPL-2.0-or-later
//
// The schedule of NVMe admin commands, apart from the device file, so that tests can be the
// controller.

#pragma once

#include <glib.h>

#include "nvme.h"
#include "settings.h"

typedef struct {
    // Sends one admin command: 0, a positive NVMe status, or -errno.
    int (*submit)(gpointer data, struct nvme_admin_cmd *command);
    gpointer data;
    const char *object; // of messages
} VfNvmePort;

// Finds the secondary controller of VF `index`; *found is FALSE when the controller lists none.
gboolean vf_nvme_find(const VfNvmePort *port, guint index, VfNvmeSecondary *secondary,
                      gboolean *found, GError **error);

gboolean vf_nvme_read_caps(const VfNvmePort *port, guint16 primary, VfNvmeCaps *caps,
                           GError **error);

// TRUE when it is online with the wanted resources already.
gboolean vf_nvme_is_ready(const VfNvmeSecondary *secondary, const VfSettings *settings);

// Takes the controller offline, gives it the wanted resources (those not set stay as they are),
// takes it online and reads it back. VF_ERROR_CONFIG: more than this controller can have;
// VF_ERROR_EXHAUSTED: others have them; VF_ERROR_SYSFS: the controller refused.
gboolean vf_nvme_apply(const VfNvmePort *port, const VfNvmeSecondary *secondary,
                       const VfSettings *settings, GError **error);

// Whether `count` secondaries could have these settings each, if the primary left them what it can.
// VF_ERROR_CONFIG: they could not.
gboolean vf_nvme_check(const VfNvmePort *port, guint16 primary, guint count,
                       const VfSettings *settings, GError **error);

// Leaves the primary only what `count` secondaries do not need. *changed: the primary has to be
// reset for it. VF_ERROR_CONFIG when there is not enough in all.
gboolean vf_nvme_shrink_primary(const VfNvmePort *port, guint16 primary, guint count,
                                const VfSettings *settings, gboolean *changed, GError **error);
