// SPDX-License-Identifier: GPL-2.0-or-later
//
// The groups [accelerator NAME], [group NAME] and [accelerators] while they are read. Order:
// vf_accel_draft_init(), then for each group _open() and _set() for its keys, _finish() when all
// files were read, which hands everything to the configuration; _clear() in any case.

#pragma once

#include <glib.h>

#include "config-scan.h"
#include "config.h"

typedef struct {
    GPtrArray *accelerators; // of VfAcceleratorConfig
    GPtrArray *groups;       // of VfGroupConfig
    VfAccelConfig accel;
    char *file; // where [accelerators] stands, NULL = not seen yet
    guint line, minimum_line;
    // Of the group being read: one of them, or neither in [accelerators].
    VfAcceleratorConfig *accelerator;
    VfGroupConfig *group;
} VfAccelDraft;

typedef enum {
    VF_ACCEL_DRAFT_ACCELERATOR,
    VF_ACCEL_DRAFT_GROUP,
    VF_ACCEL_DRAFT_POLICY,
} VfAccelDraftKind;

void vf_accel_draft_init(VfAccelDraft *draft);
void vf_accel_draft_clear(VfAccelDraft *draft);

// A group's header. `name` is NULL for [accelerators]. VF_ERROR_CONFIG: bad name, used twice, too
// many.
gboolean vf_accel_draft_open(VfAccelDraft *draft, VfAccelDraftKind kind, const char *name,
                             const VfConfigEntry *entry, const char *file, GError **error);

// One key of the group that was opened last. VF_ERROR_CONFIG for an unknown key or a bad value.
gboolean vf_accel_draft_set(VfAccelDraft *draft, const VfConfigEntry *entry, const char *file,
                            GError **error);

// Checks what takes all groups to see and fills the members of `config`. VF_ERROR_CONFIG.
gboolean vf_accel_draft_finish(VfAccelDraft *draft, VfConfig *config, GError **error);

void vf_accel_config_clear(VfConfig *config);
