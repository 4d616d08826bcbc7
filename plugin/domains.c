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

static VfDomainRecord *ensure_record(VfDomains *domains, const char *uuid, const char *name)
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

// ---- placing

static gboolean place_claim(VfDaemon *daemon, const VfDomain *domain, const VfClaim *claim,
                            GPtrArray *placed, GError **error)
{
    g_autofree guint *avoid = g_new(guint, placed->len + 1);
    guint pool_number, n_avoid = 0;
    VfInvPool *pool = vf_inventory_pool(daemon->inventory, claim->pool, &pool_number);

    if (pool == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "domain '%s', device '%s': there is no pool '%s'" VF_REMEDY
                    "'virtfn list pools' names them; pools are described in %s",
                    domain->name, claim->name, claim->pool, daemon->options.config_dir);
        return FALSE;
    }
    for (guint i = 0; i < placed->len; i++) {
        VfDomainClaim *other = g_ptr_array_index(placed, i);

        if (other->pool_number == pool_number)
            avoid[n_avoid++] = other->slot;
    }
    guint slot = vf_daemon_point(daemon, pool_number, domain->uuid, claim->name, avoid, n_avoid);
    if (slot == VF_NO_SLOT) {
        g_set_error(error, VF_ERROR, VF_ERROR_EXHAUSTED,
                    "domain '%s', device '%s': pool '%s' has %u functions, none of them left for "
                    "this device%s%s",
                    domain->name, claim->name, claim->pool, pool->slots->len,
                    pool->problem != NULL ? ": " : VF_REMEDY,
                    pool->problem != NULL ? pool->problem
                                          : "ask for fewer devices, or raise the pool's count");
        return FALSE;
    }
    VfDomainClaim *result = g_new(VfDomainClaim, 1);
    *result = (VfDomainClaim){g_strdup(claim->name), g_strdup(claim->pool), pool_number, slot};
    g_ptr_array_add(placed, result);
    return TRUE;
}

gboolean vf_domains_place(VfDaemon *daemon, const VfDomain *domain, GArray **placements,
                          GPtrArray *claims, GError **error)
{
    g_autoptr(GArray) result = g_array_new(FALSE, FALSE, sizeof(VfPlacement));

    if (daemon->config_error != NULL && daemon->config->pools->len == 0 &&
        domain->claims->len > 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG, "%s", daemon->config_error);
        return FALSE;
    }
    for (guint i = 0; i < domain->claims->len; i++) {
        const VfClaim *claim = g_ptr_array_index(domain->claims, i);
        VfPlacement placement = {claim->name, {0}};

        if (!place_claim(daemon, domain, claim, claims, error))
            return FALSE;
        const VfDomainClaim *placed = g_ptr_array_index(claims, i);
        if (!vf_inventory_address(vf_daemon_slot(daemon, placed->pool_number, placed->slot),
                                  &placement.address)) {
            g_set_error(error, VF_ERROR, VF_ERROR_SYSFS,
                        "pool '%s': its card does not say where its VFs will be (First VF Offset "
                        "is 0)" VF_REMEDY "run 'virtfn init %s' first",
                        claim->pool, claim->pool);
            return FALSE;
        }
        g_array_append_val(result, placement);
    }
    *placements = g_steal_pointer(&result);
    return TRUE;
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

static void forget(VfDomains *domains, const char *uuid)
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
            forget(domains, look->uuid);
        look_free(look);
        return;
    }
    ensure_record(domains, look->uuid, look->name);
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
    VfDomainRecord *record = ensure_record(domains, uuid, name);
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

// ---- hot attach

#define NO_PORT_REMEDY                                                                             \
    "give the domain a spare <controller type='pci' model='pcie-root-port'/>, or start it once "   \
    "it "                                                                                          \
    "is rendered"

typedef struct {
    VfDomains *domains;
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
    VfDaemon *daemon = a->domains->daemon;
    VfDomainRecord *record = g_hash_table_lookup(a->domains->records, a->uuid);
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

void vf_domains_attach(VfDomains *domains, const char *uuid)
{
    VfDaemon *daemon = domains->daemon;
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, uuid);

    for (guint i = 0; i < leases->len && daemon->virconn != NULL; i++) {
        VfLease *lease = g_ptr_array_index(leases, i);
        VfPlacement placement = {lease->device, {0}};

        if (!lease->attach || lease->state != VF_LEASE_RUNNING ||
            !vf_inventory_address(vf_daemon_slot(daemon, lease->pool, lease->slot),
                                  &placement.address))
            continue;
        Attach *a = g_new0(Attach, 1);
        a->domains = domains;
        g_strlcpy(a->uuid, uuid, sizeof(a->uuid));
        a->device = g_strdup(lease->device);
        a->xml = vf_domain_hostdev_xml(&placement);
        a->generation = lease->generation;
        ensure_record(domains, uuid, lease->domain)->attaching = TRUE;
        vf_virconn_submit(daemon->virconn, attach, attached, a);
    }
}

// ---- everything

typedef struct {
    char uuid[37];
    char *name, *live_xml;
    gboolean active;
} Listed;

typedef struct {
    VfDomains *domains;
    guint64 generation; // of the table when the list was asked for
    GPtrArray *listed;
} Resync;

static void listed_free(gpointer data)
{
    Listed *listed = data;

    g_free(listed->name);
    g_free(listed->live_xml);
    g_free(listed);
}

static void list_all(virConnectPtr connection, gpointer data, GError **error)
{
    Resync *resync = data;
    virDomainPtr *domains = NULL;
    int n = virConnectListAllDomains(connection, &domains, 0);

    if (n < 0)
        vf_virconn_error(error, "list of domains");
    for (int i = 0; i < n; i++) {
        Listed *listed = g_new0(Listed, 1);

        virDomainGetUUIDString(domains[i], listed->uuid);
        listed->name = g_strdup(virDomainGetName(domains[i]));
        listed->active = virDomainIsActive(domains[i]) == 1;
        char *xml = listed->active ? virDomainGetXMLDesc(domains[i], 0) : NULL;
        listed->live_xml = g_strdup(xml);
        free(xml);
        g_ptr_array_add(resync->listed, listed);
        virDomainFree(domains[i]);
    }
    free(domains);
}

static void forget_missing(VfDomains *domains, GHashTable *present)
{
    g_autoptr(GPtrArray) gone = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer uuid;

    g_hash_table_iter_init(&iter, domains->records);
    while (g_hash_table_iter_next(&iter, &uuid, NULL))
        if (!g_hash_table_contains(present, uuid))
            g_ptr_array_add(gone, g_strdup(uuid));
    for (guint i = 0; i < gone->len; i++)
        forget(domains, g_ptr_array_index(gone, i));
}

static void collect_uuid(const VfPointer *pointer, gpointer data)
{
    g_hash_table_add(data, g_strdup(pointer->uuid));
}

// Pointers of domains that were undefined while the daemon was away.
static void unpoint_missing(VfDomains *domains, GHashTable *present)
{
    g_autoptr(GHashTable) pointing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GHashTableIter iter;
    gpointer uuid;

    vf_allocator_each_pointer(domains->daemon->allocator, NULL, collect_uuid, pointing);
    g_hash_table_iter_init(&iter, pointing);
    while (g_hash_table_iter_next(&iter, &uuid, NULL))
        if (!g_hash_table_contains(present, uuid))
            unpoint_unclaimed(domains->daemon, uuid, NULL);
}

static void listed_all(gpointer data, const GError *error)
{
    Resync *resync = data;
    VfDomains *domains = resync->domains;
    g_autoptr(GHashTable) active = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) present = g_hash_table_new(g_str_hash, g_str_equal);

    if (error != NULL) {
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "%s", error->message);
    } else {
        for (guint i = 0; i < resync->listed->len; i++) {
            Listed *listed = g_ptr_array_index(resync->listed, i);

            g_hash_table_add(present, listed->uuid);
            if (listed->active)
                g_hash_table_add(active, listed->uuid);
            if (listed->live_xml != NULL)
                vf_lifecycle_adopt(domains->daemon, listed->live_xml, strlen(listed->live_xml),
                                   NULL);
        }
        vf_lifecycle_sweep(domains->daemon, active, resync->generation);
        forget_missing(domains, present);
        unpoint_missing(domains, present);
        for (guint i = 0; i < resync->listed->len; i++) {
            Listed *listed = g_ptr_array_index(resync->listed, i);

            vf_domains_queue(domains, listed->uuid, listed->name);
            if (listed->active)
                vf_domains_attach(domains, listed->uuid);
        }
    }
    g_ptr_array_unref(resync->listed);
    g_free(resync);
}

void vf_domains_resync(VfDomains *domains)
{
    Resync *resync;

    if (domains->daemon->virconn == NULL)
        return;
    resync = g_new0(Resync, 1);
    resync->domains = domains;
    resync->generation = domains->daemon->generation;
    resync->listed = g_ptr_array_new_with_free_func(listed_free);
    vf_virconn_submit(domains->daemon->virconn, list_all, listed_all, resync);
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
