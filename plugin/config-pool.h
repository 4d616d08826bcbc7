// SPDX-License-Identifier: GPL-2.0-or-later
//
// One [pool NAME] group while it is read: its keys one by one, then what must hold between them.
// Order: vf_pool_draft_new(), _set() for each key, _finish(); config.c then looks up the profile.

#pragma once

#include <glib.h>

#include "config-scan.h"
#include "config.h"

typedef struct {
    VfPoolConfig *pool; // taken by the configuration at the end
    char *profile;      // name, NULL when the pool has none
    guint profile_line, pf_line, count_line, max_line, growth_line; // 0 = key not given
} VfPoolDraft;

VfPoolDraft *vf_pool_draft_new(const char *name, const char *file, guint line);
void vf_pool_draft_free(VfPoolDraft *draft);

// One key. VF_ERROR_CONFIG for an unknown key or a bad value.
gboolean vf_pool_draft_set(VfPoolDraft *draft, const VfConfigEntry *entry, GError **error);

// Checks the keys against each other and fills what follows from them. VF_ERROR_CONFIG.
gboolean vf_pool_draft_finish(VfPoolDraft *draft, GError **error);

void vf_pool_config_free(VfPoolConfig *pool);
