// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hot attach: a domain that started before it was rendered holds leases for functions that its
// XML does not have. They are attached once it runs; one that cannot be is given back, and the
// domain's record says why.

#include <string.h>

#include "domains.h"
#include "error.h"
#include "lifecycle.h"
#include "log.h"
#include "virconn.h"

#define NO_PORT_REMEDY                                                                             \
    "give the domain a spare <controller type='pci' model='pcie-root-port'/>, or start it once "   \
    "it "                                                                                          \
    "is rendered"

typedef struct {
    VfDaemon *daemon;
    char uuid[37];
    char *device, *xml;
    guint64 generation;
} Attach;

static void attach(virConnectPtr connection, gpointer data, GError **error)
{
    Attach *a = data;
    virDomainPtr domain = virDomainLookupByUUIDString(connection, a->uuid);

    if (domain == NULL || virDomainAttachDeviceFlags(domain, a->xml, VIR_DOMAIN_AFFECT_LIVE) < 0) {
        vf_virconn_error(error, a->device);
        // A q35 guest has no place to plug into but the root ports of its XML.
        if (strstr((*error)->message, "No more available PCI slots") != NULL) {
            char *message = g_strconcat((*error)->message, VF_REMEDY NO_PORT_REMEDY, NULL);

            g_free((*error)->message);
            (*error)->message = message;
        }
    }
    if (domain != NULL)
        virDomainFree(domain);
}

static void attached(gpointer data, const GError *error)
{
    Attach *a = data;
    VfDaemon *daemon = a->daemon;
    VfDomainRecord *record = g_hash_table_lookup(vf_domains_records(daemon->domains), a->uuid);
    VfLease *lease = vf_allocator_find(daemon->allocator, a->uuid, a->device);
    const char *name = record != NULL ? record->name : a->uuid;

    if (record != NULL) {
        record->attaching = FALSE;
        g_clear_error(&record->attach_error);
    }
    if (error != NULL) {
        vf_log(G_LOG_LEVEL_WARNING, name, NULL,
               "domain '%s' runs without device '%s', which it gets at its next start: %s", name,
               a->device, error->message);
        if (record != NULL)
            record->attach_error = g_error_copy(error);
    } else {
        vf_log(G_LOG_LEVEL_MESSAGE, name, NULL, "domain '%s': device '%s' attached", name,
               a->device);
    }
    if (lease != NULL && lease->generation == a->generation) {
        lease->attach = FALSE;
        if (error == NULL)
            vf_daemon_keep(daemon, lease, VF_LEASE_RUNNING, NULL);
        else
            vf_lifecycle_release_lease(daemon, lease);
    }
    g_free(a->device);
    g_free(a->xml);
    g_free(a);
}

void vf_domains_attach(VfDaemon *daemon, const char *uuid)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, uuid);

    for (guint i = 0; i < leases->len && daemon->virconn != NULL; i++) {
        VfLease *lease = g_ptr_array_index(leases, i);
        VfPlacement placement = {lease->device, {0}};

        if (!lease->attach || lease->state != VF_LEASE_RUNNING ||
            !vf_inventory_address(vf_daemon_slot(daemon, lease->pool, lease->slot),
                                  &placement.address))
            continue;
        Attach *a = g_new0(Attach, 1);
        a->daemon = daemon;
        g_strlcpy(a->uuid, uuid, sizeof(a->uuid));
        a->device = g_strdup(lease->device);
        a->xml = vf_domain_hostdev_xml(&placement);
        a->generation = lease->generation;
        vf_domains_record(daemon->domains, uuid, lease->domain)->attaching = TRUE;
        vf_virconn_submit(daemon->virconn, attach, attached, a);
    }
}
