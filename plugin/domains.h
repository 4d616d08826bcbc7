// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is known of libvirt's domains, and keeping their XML rendered: on each event a domain is
// queued, looked at, and defined again when its claims do not match its XML. A rendering never
// happens while that domain starts. Hooks never wait for anything in here.

#pragma once

#include <glib.h>

#include "daemon.h"
#include "domxml.h"

typedef enum {
    VF_RENDER_NONE,     // no claims
    VF_RENDER_PENDING,  // waits for libvirt, or for the end of a start
    VF_RENDER_RENDERED, // XML and claims agree
    VF_RENDER_FAILED,   // see error
} VfRenderState;

typedef struct {
    char *device, *pool;
    guint pool_number, slot; // valid with VF_RENDER_RENDERED until slots change
} VfDomainClaim;

typedef struct {
    char uuid[37];
    char *name;
    VfRenderState state;
    GError *error;        // of the last rendering
    GPtrArray *claims;    // of VfDomainClaim
    gboolean attaching;   // a hot attach is under way
    GError *attach_error; // of the last one
    gboolean queued;      // a look at it is under way
    gboolean again;       // … and another one is due after it
} VfDomainRecord;

VfDomains *vf_domains_new(VfDaemon *daemon);
void vf_domains_free(VfDomains *domains);

// Queues a domain for a look at its XML. name may be NULL.
void vf_domains_queue(VfDomains *domains, const char *uuid, const char *name);

// Queues every domain that points at a slot, but for one.
void vf_domains_queue_pointing(VfDomains *domains, guint pool, guint slot, const char *but_uuid);

// Attaches the running domain's functions that its XML did not have (leases with `attach`).
// Those that a reconf took wait until it is over. In attach.c, as the next four.
void vf_domains_attach(VfDaemon *daemon, const char *uuid);

// Attaches that one, now.
typedef void (*VfAttached)(const GError *error, gpointer data);
void vf_domains_attach_lease(VfDaemon *daemon, VfLease *lease, VfAttached done, gpointer data);

// A guest has given a device back: when a reconf had asked for it, and had given up waiting, it is
// attached again.
void vf_domains_unplugged(VfDaemon *daemon, const char *uuid);

// The domain's record says that the guest is without this device for the time of a reconf.
void vf_domains_attach_note(VfDaemon *daemon, const VfLease *lease);
void vf_domains_attach_clear(VfDaemon *daemon, const VfLease *lease);

// Looks at every domain of libvirt again: on connection, and when pools changed.
void vf_domains_resync(VfDaemon *daemon); // resync.c

// Events from the connection.
void vf_domains_event(VfDomains *domains, const char *uuid, const char *name, int event,
                      int detail);

// Points every claim of a domain at a function and tells where they are: what rendering needs.
// *placements (free with g_array_unref) borrows names from `domain`. Errors: NOT_FOUND (pool),
// EXHAUSTED (more claims than the pool has functions), CONFIG. In placing.c.
gboolean vf_domains_place(VfDaemon *daemon, const VfDomain *domain, GArray **placements,
                          GPtrArray *claims, GError **error);

// The record of a domain, made if there is none; name may be NULL.
VfDomainRecord *vf_domains_record(VfDomains *domains, const char *uuid, const char *name);

// Drops a domain that libvirt does not have: its record and its pointers.
void vf_domains_forget(VfDomains *domains, const char *uuid);

// Records by UUID (const char * -> VfDomainRecord), for views.
GHashTable *vf_domains_records(const VfDomains *domains);

void vf_domain_claim_free(gpointer claim);
