// SPDX-License-Identifier: GPL-2.0-or-later
//
// The records of requests, found by domain and device: a hash of domains, open and with room for
// twice as many as there can be, so that it never grows; and each domain's few requests in a list.
// Records come from arrays made once, and go back to lists of spare ones.

#include "accel-table.h"

#include <string.h>

#define UUID_LENGTH 36

static guint hash(const char *uuid)
{
    guint64 part[4], sum = 0;

    memcpy(part, uuid, sizeof(part));
    for (guint i = 0; i < 4; i++)
        sum = (sum ^ part[i]) * 0x9e3779b97f4a7c15u;
    guint32 tail;
    memcpy(&tail, uuid + 32, sizeof(tail));
    sum = (sum ^ (sum >> 29) ^ tail) * 0x9e3779b97f4a7c15u;
    return (guint)(sum >> 32);
}

// The bucket of the domain, or the empty one where it would go.
static guint find_bucket(const VfAccel *accel, const char *uuid)
{
    guint i = hash(uuid) & accel->buckets_mask;

    while (accel->buckets[i] != 0 &&
           memcmp(accel->domains[accel->buckets[i] - 1].uuid, uuid, UUID_LENGTH) != 0)
        i = (i + 1) & accel->buckets_mask;
    return i;
}

VfAccelDomain *vf_accel_find_domain(const VfAccel *accel, const char *uuid)
{
    guint entry = accel->buckets[find_bucket(accel, uuid)];

    return entry == 0 ? NULL : &accel->domains[entry - 1];
}

static VfAccelDomain *make_domain(VfAccel *accel, const char *uuid)
{
    guint bucket = find_bucket(accel, uuid);
    VfAccelDomain *domain = accel->spare_domain;

    if (accel->buckets[bucket] != 0)
        return &accel->domains[accel->buckets[bucket] - 1];
    if (domain != NULL)
        accel->spare_domain = domain->spare;
    else
        domain = &accel->domains[accel->n_domains_used++];
    memcpy(domain->uuid, uuid, UUID_LENGTH + 1);
    domain->held = 0;
    domain->requests = NULL;
    accel->buckets[bucket] = (guint32)(domain - accel->domains) + 1;
    return domain;
}

// Empties a bucket and moves up what had to go past it.
static void empty_bucket(VfAccel *accel, guint hole)
{
    guint mask = accel->buckets_mask;

    accel->buckets[hole] = 0;
    for (guint i = (hole + 1) & mask; accel->buckets[i] != 0; i = (i + 1) & mask) {
        guint home = hash(accel->domains[accel->buckets[i] - 1].uuid) & mask;

        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        accel->buckets[hole] = accel->buckets[i];
        accel->buckets[i] = 0;
        hole = i;
    }
}

VfAccelRequest *vf_accel_new_record(VfAccel *accel, const char *uuid, const char *device)
{
    VfAccelRequest *request = accel->spare;

    if (request == NULL && accel->n_used == accel->n_requests_max)
        return NULL;
    if (request != NULL)
        accel->spare = request->next;
    else
        request = &accel->requests[accel->n_used++];
    *request = (VfAccelRequest){.state = VF_ACCEL_OUTSIDE,
                                .card = VF_ACCEL_NONE,
                                .function = VF_ACCEL_NONE,
                                .region = VF_ACCEL_NONE,
                                .last_region = VF_ACCEL_NONE,
                                .last_card = VF_ACCEL_NONE,
                                .last_function = VF_ACCEL_NONE};
    g_strlcpy(request->device, device, sizeof(request->device));
    request->domain = make_domain(accel, uuid);
    request->sibling = request->domain->requests;
    request->domain->requests = request;
    return request;
}

void vf_accel_drop_record(VfAccel *accel, VfAccelRequest *request)
{
    VfAccelDomain *domain = request->domain;
    VfAccelRequest **link = &domain->requests;

    while (*link != request)
        link = &(*link)->sibling;
    *link = request->sibling;
    if (domain->requests == NULL) {
        empty_bucket(accel, find_bucket(accel, domain->uuid));
        domain->spare = accel->spare_domain;
        accel->spare_domain = domain;
    }
    request->next = accel->spare;
    accel->spare = request;
}

VfAccelRequest *vf_accel_domain(const VfAccel *accel, const char *uuid)
{
    VfAccelDomain *domain = strlen(uuid) == UUID_LENGTH ? vf_accel_find_domain(accel, uuid) : NULL;

    return domain == NULL ? NULL : domain->requests;
}

VfAccelRequest *vf_accel_find(const VfAccel *accel, const char *uuid, const char *device)
{
    VfAccelRequest *request = vf_accel_domain(accel, uuid);

    while (request != NULL && strcmp(request->device, device) != 0)
        request = request->sibling;
    return request;
}
