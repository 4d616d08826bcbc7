// SPDX-License-Identifier: GPL-2.0-or-later
//
// The daemon's state as JSON, as openapi.json describes it. Reads memory only, never sysfs: what
// a PF looks like is as old as the inventory. Every function returns a new reference.

#pragma once

#include <jansson.h>

#include "daemon.h"
#include "domains.h"

json_t *vf_view_status(const VfDaemon *daemon);
json_t *vf_view_pool(const VfDaemon *daemon, guint pool);
json_t *vf_view_pools(const VfDaemon *daemon);
json_t *vf_view_functions(const VfDaemon *daemon, guint pool); // of one pool
json_t *vf_view_lease(const VfDaemon *daemon, const VfLease *lease);
json_t *vf_view_leases(const VfDaemon *daemon);
json_t *vf_view_domain(const VfDaemon *daemon, const VfDomainRecord *record);
json_t *vf_view_domains(const VfDaemon *daemon);
