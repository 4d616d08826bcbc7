// SPDX-License-Identifier: GPL-2.0-or-later
//
// Leases of what runs already: told by the hook (started, reconnect), by libvirt's list of domains,
// or by `start` for what libvirt picked itself. Nothing is created or configured here, and nobody
// loses a function.

#include "lifecycle.h"

#include <string.h>

#include "broker.h"
#include "domains.h"
#include "domxml.h"
#include "doubts.h"
#include "error.h"
#include "log.h"
#include "wishes.h"

gboolean vf_lifecycle_starting(const VfDaemon *daemon, const char *uuid)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, uuid);

    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);

        if (lease->state == VF_LEASE_PREPARING || lease->state == VF_LEASE_READY)
            return TRUE;
    }
    return FALSE;
}

// What the domain asks for with the claim that a hostdev was rendered for, NULL = nothing.
static const VfClaim *claimed(const VfDomain *domain, const VfHostdev *hostdev)
{
    for (guint i = 0; hostdev->claim != NULL && i < domain->claims->len; i++) {
        const VfClaim *claim = g_ptr_array_index(domain->claims, i);

        if (strcmp(claim->name, hostdev->claim) == 0)
            return claim;
    }
    return NULL;
}

static gboolean adopt_hostdev(VfDaemon *daemon, const VfDomain *domain, const VfHostdev *hostdev,
                              VfLeaseState state, GError **error)
{
    g_autofree char *device =
        hostdev->claim != NULL ? g_strdup(hostdev->claim) : vf_wish_plain_device(&hostdev->address);
    g_autoptr(GError) cause = NULL;
    const VfClaim *claim;
    guint pool, slot;
    VfLease *lease;
    gboolean found;

    if (!vf_inventory_find(daemon->inventory, &hostdev->address, &pool, &slot))
        return TRUE;
    lease = vf_allocator_at(daemon->allocator, pool, slot);
    if (lease != NULL && strcmp(lease->uuid, domain->uuid) != 0) {
        g_autofree char *name = vf_inventory_name(vf_daemon_slot(daemon, pool, slot));

        g_set_error(error, VF_ERROR, VF_ERROR_BUSY, "domain '%s': %s is leased to domain '%s'",
                    domain->name, name, vf_lease_holder(lease));
        return FALSE;
    }
    found = lease == NULL;
    if (found) {
        // Its own old lease, of another function, is of an earlier run.
        VfLease *old = vf_allocator_find(daemon->allocator, domain->uuid, device);

        if (old != NULL)
            vf_daemon_drop(daemon, old);
        vf_allocator_set_usable(daemon->allocator, pool, slot, TRUE);
        if (vf_allocator_lease(daemon->allocator, pool, domain->uuid, device, slot, &lease) !=
            VF_GRANTED)
            return TRUE;
        vf_daemon_quarantine(daemon, pool, slot, NULL);
        lease->domain = g_strdup(domain->name);
        claim = claimed(domain, hostdev);
        vf_daemon_set_claim(daemon, lease, claim != NULL ? &claim->settings : NULL);
        if (claim != NULL && claim->ask.accelerator != NULL &&
            !vf_broker_plan(daemon, lease, &claim->ask, &cause))
            vf_log(G_LOG_LEVEL_WARNING, domain->name, NULL, "%s", cause->message);
    } else if (lease->state == state || lease->state == VF_LEASE_RELEASING) {
        return TRUE;
    }
    if (!vf_daemon_keep(daemon, lease, state, error))
        return FALSE;
    if (found && state == VF_LEASE_RUNNING)
        vf_doubts_add(daemon, lease);
    return TRUE;
}

static gboolean adopt(VfDaemon *daemon, const char *xml, gsize length, VfLeaseState state,
                      GError **error)
{
    g_autoptr(VfDomain) domain = vf_domain_parse(xml, length, error);
    gboolean ok = domain != NULL && vf_wishes_has_uuid(domain, error);

    for (guint i = 0; ok && i < domain->hostdevs->len; i++)
        ok = adopt_hostdev(daemon, domain, &g_array_index(domain->hostdevs, VfHostdev, i), state,
                           error);
    if (ok && state == VF_LEASE_RUNNING) {
        g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, domain->uuid);

        for (guint i = 0; i < leases->len; i++) {
            VfLease *lease = g_ptr_array_index(leases, i);

            if (lease->state == VF_LEASE_READY)
                vf_daemon_keep(daemon, lease, VF_LEASE_RUNNING, NULL);
        }
        vf_domains_attach(daemon, domain->uuid);
        vf_domains_queue(daemon->domains, domain->uuid, domain->name);
    }
    return ok;
}

gboolean vf_lifecycle_start(VfDaemon *daemon, const char *xml, gsize length, GError **error)
{
    return adopt(daemon, xml, length, VF_LEASE_READY, error);
}

gboolean vf_lifecycle_adopt(VfDaemon *daemon, const char *xml, gsize length, GError **error)
{
    return adopt(daemon, xml, length, VF_LEASE_RUNNING, error);
}
