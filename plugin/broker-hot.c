// SPDX-License-Identifier: GPL-2.0-or-later
//
// A new device for a guest that runs: a function of the pool that the request names is leased,
// readied and plugged in (attach.c), and its device asks for the accelerator once it is there.
// Detaching such a device unplugs it, and ends its lease when the guest has given it back. The only
// part of the broker that needs libvirt.

#include "broker-parts.h"

#include <stdlib.h>
#include <string.h>

#include "domains.h"
#include "domxml.h"
#include "error.h"
#include "lifecycle.h"
#include "log.h"
#include "virconn.h"
#include "work.h"

typedef struct {
    VfBroker *broker;
    char *domain, *pool, *device;
    VfBrokerAsk ask;
    VfHotDone done;
    gpointer data;
    // What libvirt says.
    char uuid[VIR_UUID_STRING_BUFLEN];
    char *name;
} Hot;

static void hot_free(Hot *hot)
{
    vf_broker_ask_clear(&hot->ask);
    g_free(hot->domain);
    g_free(hot->pool);
    g_free(hot->device);
    g_free(hot->name);
    g_free(hot);
}

// ---- libvirt's thread

static virDomainPtr look_up(virConnectPtr connection, const char *domain)
{
    virDomainPtr found = virDomainLookupByUUIDString(connection, domain);

    return found != NULL ? found : virDomainLookupByName(connection, domain);
}

static void find_domain(virConnectPtr connection, gpointer data, GError **error)
{
    Hot *hot = data;
    virDomainPtr domain = look_up(connection, hot->domain);

    if (domain == NULL) {
        vf_virconn_error(error, hot->domain);
        return;
    }
    if (virDomainIsActive(domain) != 1)
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "domain '%s': it does not run" VF_REMEDY "start it first", hot->domain);
    virDomainGetUUIDString(domain, hot->uuid);
    hot->name = g_strdup(virDomainGetName(domain));
    virDomainFree(domain);
}

// ---- the lease

static void plugged(VfWork *work, const GError *error, gpointer data)
{
    VfDaemon *daemon = work->daemon;
    VfLease *lease =
        vf_allocator_find(daemon->allocator, work->provision->domain, work->provision->device);

    if (lease == NULL || lease->state != VF_LEASE_PREPARING)
        return; // its domain has ended
    if (error != NULL) {
        vf_log(G_LOG_LEVEL_WARNING, lease->domain, NULL, "domain '%s', device '%s': %s",
               lease->domain, lease->device, error->message);
        vf_lifecycle_release_lease(daemon, lease);
        return;
    }
    // Not there yet: `attach` keeps it from asking.
    vf_daemon_keep(daemon, lease, VF_LEASE_RUNNING, NULL);
    vf_domains_attach_lease(daemon, lease, NULL, NULL);
}

static char *free_name(const Hot *hot)
{
    for (guint n = 0;; n++) {
        char *name = g_strdup_printf("acc%u", n);

        if (vf_allocator_find(hot->broker->daemon->allocator, hot->uuid, name) == NULL)
            return name;
        g_free(name);
    }
}

static VfLease *lease_one(Hot *hot, GError **error)
{
    VfDaemon *daemon = hot->broker->daemon;
    VfLease *lease = NULL;
    guint pool;

    if (vf_inventory_pool(daemon->inventory, hot->pool, &pool) == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "pool '%.40s': there is no such pool" VF_REMEDY
                    "'virtfn list pools' names them",
                    hot->pool);
        return NULL;
    }
    if (hot->device == NULL)
        hot->device = free_name(hot);
    switch (
        vf_allocator_lease(daemon->allocator, pool, hot->uuid, hot->device, VF_NO_SLOT, &lease)) {
    case VF_GRANTED:
        return lease;
    case VF_HELD_ALREADY:
    case VF_HELD_ELSEWHERE:
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "domain '%s': it has a device '%s' already" VF_REMEDY
                    "give the new one another name",
                    hot->name, hot->device);
        return NULL;
    default: {
        g_autofree char *holders = vf_daemon_holders(daemon, pool);

        g_set_error(error, VF_ERROR, VF_ERROR_EXHAUSTED,
                    "pool '%s': no free function (%s)" VF_REMEDY
                    "stop one of these domains, or raise the pool's count",
                    hot->pool, holders);
        return NULL;
    }
    }
}

static VfAttachment *plug(Hot *hot, GError **error)
{
    VfDaemon *daemon = hot->broker->daemon;
    VfLease *lease = lease_one(hot, error);
    VfAttachment *row;

    if (lease == NULL)
        return NULL;
    lease->domain = g_strdup(hot->name);
    lease->attach = TRUE;
    vf_daemon_set_claim(daemon, lease, NULL);
    if (!vf_daemon_keep(daemon, lease, VF_LEASE_PREPARING, error) ||
        !vf_broker_plan(daemon, lease, &hot->ask, error)) {
        vf_daemon_drop(daemon, lease);
        return NULL;
    }
    row = vf_broker_find(hot->broker, lease->uuid, lease->device);
    row->hot = TRUE;
    vf_broker_store(hot->broker, row);
    vf_work_prepare(daemon, lease, NULL, plugged, NULL);
    return row;
}

static void found_domain(gpointer data, const GError *error)
{
    Hot *hot = data;
    g_autoptr(GError) cause = NULL;
    VfAttachment *row = error == NULL ? plug(hot, &cause) : NULL;

    hot->done(row, error != NULL ? error : cause, hot->data);
    hot_free(hot);
}

void vf_broker_plug(VfBroker *broker, const char *domain, const char *pool, const char *device,
                    const VfBrokerAsk *ask, VfHotDone done, gpointer data)
{
    g_autoptr(GError) error = NULL;
    Hot *hot;

    if (broker->daemon->virconn == NULL) {
        g_set_error(&error, VF_ERROR, VF_ERROR_LIBVIRT,
                    "domain '%.40s': a new device needs libvirt, which virtfnd was told to leave "
                    "alone" VF_REMEDY "name a device that the domain has",
                    domain);
        done(NULL, error, data);
        return;
    }
    hot = g_new0(Hot, 1);
    hot->broker = broker;
    hot->domain = g_strdup(domain);
    hot->pool = g_strdup(pool);
    hot->device = g_strdup(device);
    vf_broker_ask_copy(&hot->ask, ask);
    hot->done = done;
    hot->data = data;
    vf_virconn_submit(broker->daemon->virconn, find_domain, found_domain, hot);
}

// ---- the way back

typedef struct {
    VfDaemon *daemon;
    char uuid[37];
    char *device, *alias;
} Unplug;

static void unplug(virConnectPtr connection, gpointer data, GError **error)
{
    const Unplug *u = data;
    virDomainPtr domain = virDomainLookupByUUIDString(connection, u->uuid);

    if (domain == NULL || virDomainDetachDeviceAlias(domain, u->alias, VIR_DOMAIN_AFFECT_LIVE) < 0)
        vf_virconn_error(error, u->device);
    if (domain != NULL)
        virDomainFree(domain);
}

static void unplug_asked(gpointer data, const GError *error)
{
    Unplug *u = data;

    if (error != NULL)
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL,
               "domain %s, device '%s': it stays with its guest until that ends: %s", u->uuid,
               u->device, error->message);
    g_free(u->device);
    g_free(u->alias);
    g_free(u);
}

void vf_broker_unplug(VfBroker *broker, const char *uuid, const char *device)
{
    VfDaemon *daemon = broker->daemon;
    Unplug *u;

    if (daemon->virconn == NULL)
        return;
    g_hash_table_add(broker->unplugging, g_strdup_printf("%s/%s", uuid, device));
    u = g_new0(Unplug, 1);
    u->daemon = daemon;
    g_strlcpy(u->uuid, uuid, sizeof(u->uuid));
    u->device = g_strdup(device);
    u->alias = g_strconcat(VF_ALIAS_PREFIX, device, NULL);
    vf_virconn_submit(daemon->virconn, unplug, unplug_asked, u);
}

// libvirt does not say here which device it was: a function that is still open is set aside by its
// release, until it is not.
void vf_broker_unplugged(VfDaemon *daemon, const char *uuid)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, uuid);

    for (guint i = 0; i < leases->len; i++) {
        VfLease *lease = g_ptr_array_index(leases, i);

        if (g_hash_table_remove(daemon->broker->unplugging, lease->key))
            vf_lifecycle_release_lease(daemon, lease);
    }
}
