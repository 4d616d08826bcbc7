// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a reconf does for the accelerators of its card: connections are in the plan, hence in the
// journal, and are made again after functions are ready and before guests are resumed.

#pragma once

#include <jansson.h>

#include "reconf.h"

// `card` is the pool's, as vf_card_open() takes it.
void vf_reconf_add_connection(VfReconf *reconf, const char *card, guint region, guint index);

// Blocks, in the PF's lane. Idempotent. What fails is logged.
void vf_reconf_connect(const VfReconf *reconf, const char *root);

// For the journal. FALSE: it makes no sense.
json_t *vf_reconf_connections_json(const VfReconf *reconf);
gboolean vf_reconf_read_connections(VfReconf *reconf, const char *card, const json_t *json);
