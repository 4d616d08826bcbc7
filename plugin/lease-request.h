// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a request for a lease says, read from JSON text in one of two ways: a scan of the form that
// clients send, and jansson for all else. Both give the same; the scan takes a tenth of the time,
// which was a quarter of what the daemon did for a lease.

#pragma once

#include <glib.h>
#include <jansson.h>

// The strings belong to what the request was read from.
typedef struct {
    const char *domain, *device, *pool;
    const char *name; // of the domain, "" when it was not given
} VfLeaseRequest;

// Reads an object whose members and values are strings of printable ASCII without escapes, and
// overwrites `text` (ended by a NUL at `length`) in doing so. FALSE for everything else, right or
// wrong: vf_lease_request_unpack() decides then.
gboolean vf_lease_request_scan(char *text, gsize length, VfLeaseRequest *request);

// VF_ERROR_INPUT names the member.
gboolean vf_lease_request_unpack(json_t *json, VfLeaseRequest *request, GError **error);

// Whether domain, device and name are such. VF_ERROR_INPUT.
gboolean vf_lease_request_check(const VfLeaseRequest *request, GError **error);
