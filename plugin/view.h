// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon's state as JSON, as openapi.json describes it. Reads memory only, never sysfs: what
// a PF looks like is as old as the inventory. Every function appends one value to `out`.

#pragma once

#include <glib.h>

#include "daemon.h"
#include "domains.h"

void vf_view_status(GString *out, const VfDaemon *daemon);
void vf_view_pool(GString *out, const VfDaemon *daemon, guint pool);
void vf_view_pools(GString *out, const VfDaemon *daemon);
// The functions of one pool, or of all with pool VF_NO_SLOT.
void vf_view_functions(GString *out, const VfDaemon *daemon, guint pool);
void vf_view_lease(GString *out, const VfDaemon *daemon, const VfLease *lease);
void vf_view_leases(GString *out, const VfDaemon *daemon);
void vf_view_domain(GString *out, const VfDaemon *daemon, const VfDomainRecord *record);
void vf_view_domains(GString *out, const VfDaemon *daemon);
