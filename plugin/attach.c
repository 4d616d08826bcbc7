// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hot attach: a domain that started before it was rendered holds leases for functions that its
// XML does not have, and a reconf may have detached some. They are attached once the domain runs
// and that reconf is over; one that cannot be is given back, and the domain's record says why.

#include <stdlib.h>
#include <string.h>

#include "domains.h"
#include "error.h"
#include "lifecycle.h"
#include "log.h"
#include "reconf-jobs.h"
#include "replug.h"
#include "virconn.h"

#define NO_PORT_REMEDY                                                                             \
    "give the domain a spare <controller type='pci' model='pcie-root-port'/>, or start it once "   \
    "it "                                                                                          \
    "is rendered"

typedef struct {
    VfDaemon *daemon;
    char uuid[37];
    char *device, *xml;
    VfPciAddr address;
    guint64 generation;
    VfAttached done; // may be NULL
    gpointer data;
} Attach;

// It was never detached, or somebody else was quicker.
static gboolean is_there(virDomainPtr domain, const Attach *a)
{
    char *xml = virDomainGetXMLDesc(domain, 0);
    g_autofree char *device =
        xml != NULL ? vf_domain_device_xml(xml, strlen(xml), &a->address, NULL, NULL) : NULL;

    free(xml);
    return device != NULL;
}

static void attach(virConnectPtr connection, gpointer data, GError **error)
{
    Attach *a = data;
    virDomainPtr domain = virDomainLookupByUUIDString(connection, a->uuid);

    if (domain == NULL ||
        (!is_there(domain, a) &&
         virDomainAttachDeviceFlags(domain, a->xml, VIR_DOMAIN_AFFECT_LIVE) < 0)) {
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

// Without a connection nothing was tried: the look at all domains after the next one comes by.
static gboolean comes_again(const Attach *a, const GError *error)
{
    return error != NULL && !vf_virconn_connected(a->daemon->virconn) &&
           g_error_matches(error, VF_ERROR, VF_ERROR_LIBVIRT);
}

static void attached(gpointer data, const GError *error)
{
    Attach *a = data;
    gboolean later = comes_again(a, error);
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
               "domain '%s' runs without device '%s', which it gets %s: %s", name, a->device,
               later ? "once libvirt is back" : "at its next start", error->message);
        if (record != NULL)
            record->attach_error = g_error_copy(error);
    } else {
        vf_log(G_LOG_LEVEL_MESSAGE, name, NULL, "domain '%s': device '%s' attached", name,
               a->device);
    }
    if (lease != NULL && lease->generation == a->generation && !later) {
        lease->attach = FALSE;
        if (error == NULL)
            vf_daemon_keep(daemon, lease, VF_LEASE_RUNNING, NULL);
        else
            vf_lifecycle_release_lease(daemon, lease);
    }
    if (!later)
        vf_replug_forget(daemon, a->uuid, a->device, &a->address);
    if (a->done != NULL)
        a->done(error, a->data);
    g_free(a->device);
    g_free(a->xml);
    g_free(a);
}

void vf_domains_attach_lease(VfDaemon *daemon, VfLease *lease, VfAttached done, gpointer data)
{
    VfPlacement placement = {lease->device, {0}};
    gboolean known =
        vf_inventory_address(vf_daemon_slot(daemon, lease->pool, lease->slot), &placement.address);
    Attach *a = g_new0(Attach, 1);

    a->daemon = daemon;
    g_strlcpy(a->uuid, lease->uuid, sizeof(a->uuid));
    a->device = g_strdup(lease->device);
    a->address = placement.address;
    a->generation = lease->generation;
    a->done = done;
    a->data = data;
    if (known)
        a->xml = vf_replug_kept(daemon, a->uuid, a->device, &a->address);
    if (a->xml == NULL)
        a->xml = vf_domain_hostdev_xml(&placement);
    vf_domains_record(daemon->domains, a->uuid, lease->domain)->attaching = TRUE;
    vf_virconn_submit(daemon->virconn, attach, attached, a);
}

void vf_domains_attach_note(VfDaemon *daemon, const VfLease *lease)
{
    VfDomainRecord *record = vf_domains_record(daemon->domains, lease->uuid, lease->domain);

    g_clear_error(&record->attach_error);
    g_set_error(&record->attach_error, VF_ERROR, VF_ERROR_BUSY,
                "device '%s' was detached for a reconf of its PF; it is attached again when that "
                "is over",
                lease->device);
}

void vf_domains_attach_clear(VfDaemon *daemon, const VfLease *lease)
{
    g_clear_error(&vf_domains_record(daemon->domains, lease->uuid, lease->domain)->attach_error);
}

// TRUE while a reconf works on the function's PF, or has got stuck there.
static gboolean is_away(VfDaemon *daemon, const VfLease *lease, const VfPciAddr *address)
{
    const VfPciAddr *pf = vf_daemon_lease_pf(daemon, lease);
    g_autofree char *kept = vf_replug_kept(daemon, lease->uuid, lease->device, address);
    char text[VF_PCIADDR_BUFSIZE];

    return kept != NULL && (g_hash_table_contains(daemon->reconfs, vf_pciaddr_format(pf, text)) ||
                            !vf_reconf_is_over(daemon->options.run_dir, pf, NULL));
}

void vf_domains_attach(VfDaemon *daemon, const char *uuid)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, uuid);

    for (guint i = 0; i < leases->len && daemon->virconn != NULL; i++) {
        VfLease *lease = g_ptr_array_index(leases, i);
        VfPciAddr address;

        if (!lease->attach || lease->state != VF_LEASE_RUNNING ||
            !vf_inventory_address(vf_daemon_slot(daemon, lease->pool, lease->slot), &address))
            continue;
        if (is_away(daemon, lease, &address))
            vf_domains_attach_note(daemon, lease);
        else
            vf_domains_attach_lease(daemon, lease, NULL, NULL);
    }
}

void vf_domains_unplugged(VfDaemon *daemon, const char *uuid)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, uuid);

    for (guint i = 0; i < leases->len; i++) {
        VfLease *lease = g_ptr_array_index(leases, i);
        g_autofree char *kept = NULL;
        VfPciAddr address;

        if (lease->attach || lease->state != VF_LEASE_RUNNING ||
            !vf_inventory_address(vf_daemon_slot(daemon, lease->pool, lease->slot), &address))
            continue;
        kept = vf_replug_kept(daemon, uuid, lease->device, &address);
        if (kept == NULL || is_away(daemon, lease, &address))
            continue;
        lease->attach = TRUE;
        vf_daemon_keep(daemon, lease, VF_LEASE_RUNNING, NULL);
        vf_domains_attach_lease(daemon, lease, NULL, NULL);
    }
}
