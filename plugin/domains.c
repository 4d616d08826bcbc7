// SPDX-License-Identifier: GPL-2.0-or-later
//
// The render queue. One look at a domain is three hops: fetch its XML (libvirt's thread), decide
// and render (main thread, pure), define it again if that changed it (libvirt's thread). Our own
// define comes back as an event and ends there, because rendering is idempotent.

#include "domains.h"

#include <libvirt/virterror.h>
#include <string.h>

#include "error.h"
#include "lifecycle.h"
#include "log.h"
#include "virconn.h"

struct VfDomains {
    VfDaemon *daemon;
    GHashTable *records; // uuid -> VfDomainRecord
};

void vf_domain_claim_free(gpointer data)
{
    VfDomainClaim *claim = data;

    g_free(claim->device);
    g_free(claim->pool);
    g_free(claim);
}

static void record_free(gpointer data)
{
    VfDomainRecord *record = data;

    g_free(record->name);
    g_clear_error(&record->error);
    g_clear_error(&record->attach_error);
    g_ptr_array_unref(record->claims);
    g_free(record);
}

VfDomains *vf_domains_new(VfDaemon *daemon)
{
    VfDomains *domains = g_new0(VfDomains, 1);

    domains->daemon = daemon;
    domains->records = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, record_free);
    return domains;
}

void vf_domains_free(VfDomains *domains)
{
    g_hash_table_unref(domains->records);
    g_free(domains);
}

GHashTable *vf_domains_records(const VfDomains *domains)
{
    return domains->records;
}

VfDomainRecord *vf_domains_record(VfDomains *domains, const char *uuid, const char *name)
{
    VfDomainRecord *record = g_hash_table_lookup(domains->records, uuid);

    if (record == NULL) {
        record = g_new0(VfDomainRecord, 1);
        g_strlcpy(record->uuid, uuid, sizeof(record->uuid));
        record->claims = g_ptr_array_new_with_free_func(vf_domain_claim_free);
        g_hash_table_insert(domains->records, record->uuid, record);
    }
    if (name != NULL && g_strcmp0(record->name, name) != 0) {
        g_free(record->name);
        record->name = g_strdup(name);
    }
    return record;
}

// ---- one look at a domain

typedef struct {
    VfDomains *domains;
    char uuid[37];
    guint64 generation; // of the table when it was asked for
    gboolean gone, persistent, active;
    char *name, *xml; // inactive XML of a persistent domain
    char *rendered;
} Look;

static void look_free(Look *look)
{
    g_free(look->name);
    g_free(look->xml);
    g_free(look->rendered);
    g_free(look);
}

static void fetch(virConnectPtr connection, gpointer data, GError **error)
{
    Look *look = data;
    virDomainPtr domain = virDomainLookupByUUIDString(connection, look->uuid);

    if (domain == NULL) {
        vf_virconn_error(error, look->uuid);
        look->gone = g_error_matches(*error, VF_ERROR, VF_ERROR_NOT_FOUND);
        return;
    }
    look->name = g_strdup(virDomainGetName(domain));
    look->persistent = virDomainIsPersistent(domain) == 1;
    look->active = virDomainIsActive(domain) == 1;
    if (look->persistent) {
        char *xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);

        if (xml == NULL)
            vf_virconn_error(error, look->name);
        look->xml = g_strdup(xml);
        free(xml);
    }
    virDomainFree(domain);
}

static void define(virConnectPtr connection, gpointer data, GError **error)
{
    Look *look = data;
    virDomainPtr domain = virDomainDefineXMLFlags(connection, look->rendered, 0);

    if (domain == NULL)
        vf_virconn_error(error, look->name);
    else
        virDomainFree(domain);
}

static void end_look(VfDomains *domains, VfDomainRecord *record)
{
    record->queued = FALSE;
    if (!record->again)
        return;
    record->again = FALSE;
    vf_domains_queue(domains, record->uuid, NULL);
}

static void set_state(VfDomainRecord *record, VfRenderState state, const GError *error)
{
    record->state = state;
    if (error != NULL && g_strcmp0(error->message, record->error ? record->error->message : NULL))
        vf_log(G_LOG_LEVEL_WARNING, record->name, NULL, "%s", error->message);
    g_clear_error(&record->error);
    if (error != NULL)
        record->error = g_error_copy(error);
}

static void defined(gpointer data, const GError *error)
{
    Look *look = data;
    VfDomains *domains = look->domains;
    VfDomainRecord *record = g_hash_table_lookup(domains->records, look->uuid);

    if (record != NULL) {
        set_state(record, error == NULL ? VF_RENDER_RENDERED : VF_RENDER_FAILED, error);
        if (error == NULL)
            vf_log(G_LOG_LEVEL_INFO, record->name, NULL, "domain '%s': rendered", record->name);
        end_look(domains, record);
    }
    look_free(look);
}

static void forget_pointer(const VfPointer *pointer, gpointer data)
{
    g_ptr_array_add(data, g_strdup(pointer->device));
}

// Drops the pointers of devices that are no longer claimed.
static void unpoint_unclaimed(VfDaemon *daemon, const char *uuid, const GPtrArray *claims)
{
    g_autoptr(GPtrArray) devices = g_ptr_array_new_with_free_func(g_free);

    vf_allocator_each_pointer(daemon->allocator, uuid, forget_pointer, devices);
    for (guint i = 0; i < devices->len; i++) {
        const char *device = g_ptr_array_index(devices, i);
        gboolean claimed = FALSE;

        for (guint c = 0; claims != NULL && c < claims->len; c++)
            claimed |= strcmp(((VfDomainClaim *)g_ptr_array_index(claims, c))->device, device) == 0;
        if (!claimed)
            vf_daemon_unpoint(daemon, uuid, device);
    }
}

void vf_domains_forget(VfDomains *domains, const char *uuid)
{
    unpoint_unclaimed(domains->daemon, uuid, NULL);
    g_hash_table_remove(domains->records, uuid);
}

// Renders what was fetched. FALSE with error when the claims cannot be met; *changed tells whether
// look->rendered has to be defined.
static gboolean render(Look *look, VfDomainRecord *record, gboolean *changed, GError **error)
{
    VfDaemon *daemon = look->domains->daemon;
    g_autoptr(VfDomain) domain = vf_domain_parse(look->xml, strlen(look->xml), error);
    g_autoptr(GPtrArray) claims = g_ptr_array_new_with_free_func(vf_domain_claim_free);
    g_autoptr(GArray) placements = NULL;

    if (domain == NULL || !vf_domains_place(daemon, domain, &placements, claims, error))
        return FALSE;
    unpoint_unclaimed(daemon, look->uuid, claims);
    g_ptr_array_unref(record->claims);
    record->claims = g_steal_pointer(&claims);
    look->rendered = vf_domain_render(look->xml, strlen(look->xml),
                                      (const VfPlacement *)(void *)placements->data,
                                      placements->len, daemon->qmp_dir, changed, error);
    return look->rendered != NULL;
}

static void fetched(gpointer data, const GError *error)
{
    Look *look = data;
    VfDomains *domains = look->domains;
    VfDomainRecord *record = g_hash_table_lookup(domains->records, look->uuid);
    g_autoptr(GError) failure = NULL;
    gboolean changed = FALSE;

    if (look->gone || (error == NULL && !look->active))
        vf_lifecycle_inactive(domains->daemon, look->uuid, look->generation);
    if (record == NULL || look->gone) {
        if (record != NULL && look->gone)
            vf_domains_forget(domains, look->uuid);
        look_free(look);
        return;
    }
    vf_domains_record(domains, look->uuid, look->name);
    if (error != NULL) {
        set_state(record, VF_RENDER_FAILED, error);
    } else if (look->xml == NULL) {
        set_state(record, VF_RENDER_NONE, NULL); // transient: nothing to define
    } else if (vf_lifecycle_starting(domains->daemon, look->uuid)) {
        set_state(record, VF_RENDER_PENDING, NULL); // `started` or `release` queues it again
    } else if (!render(look, record, &changed, &failure)) {
        set_state(record, VF_RENDER_FAILED, failure);
    } else if (changed) {
        set_state(record, VF_RENDER_PENDING, NULL);
        vf_virconn_submit(domains->daemon->virconn, define, defined, look);
        return;
    } else {
        set_state(record, record->claims->len > 0 ? VF_RENDER_RENDERED : VF_RENDER_NONE, NULL);
    }
    end_look(domains, record);
    look_free(look);
}

void vf_domains_queue(VfDomains *domains, const char *uuid, const char *name)
{
    VfDomainRecord *record = vf_domains_record(domains, uuid, name);
    Look *look;

    if (record->queued) {
        record->again = TRUE;
        return;
    }
    if (domains->daemon->virconn == NULL || !vf_virconn_connected(domains->daemon->virconn)) {
        record->state = VF_RENDER_PENDING; // the resync on connection comes by
        return;
    }
    record->queued = TRUE;
    look = g_new0(Look, 1);
    look->domains = domains;
    look->generation = domains->daemon->generation;
    g_strlcpy(look->uuid, uuid, sizeof(look->uuid));
    vf_virconn_submit(domains->daemon->virconn, fetch, fetched, look);
}

typedef struct {
    guint pool, slot;
    const char *but_uuid;
    GPtrArray *uuids;
} Pointing;

static void collect_pointing(const VfPointer *pointer, gpointer data)
{
    Pointing *pointing = data;

    if (pointer->pool == pointing->pool && pointer->slot == pointing->slot &&
        strcmp(pointer->uuid, pointing->but_uuid) != 0)
        g_ptr_array_add(pointing->uuids, g_strdup(pointer->uuid));
}

void vf_domains_queue_pointing(VfDomains *domains, guint pool, guint slot, const char *but_uuid)
{
    g_autoptr(GPtrArray) uuids = g_ptr_array_new_with_free_func(g_free);
    Pointing pointing = {pool, slot, but_uuid, uuids};

    vf_allocator_each_pointer(domains->daemon->allocator, NULL, collect_pointing, &pointing);
    for (guint i = 0; i < uuids->len; i++)
        vf_domains_queue(domains, g_ptr_array_index(uuids, i), NULL);
}

void vf_domains_event(VfDomains *domains, const char *uuid, const char *name, int event, int detail)
{
    switch (event) {
    case VIR_DOMAIN_EVENT_UNDEFINED:
        // A running domain lives on as a transient one; looking at it finds out.
    case VIR_DOMAIN_EVENT_DEFINED:
        vf_domains_queue(domains, uuid, name);
        break;
    case VIR_DOMAIN_EVENT_STOPPED: // its release hook may have been lost
        vf_domains_queue(domains, uuid, name);
        break;
    default:
        break;
    }
}
