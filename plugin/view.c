// SPDX-License-Identifier: GPL-2.0-or-later
//
// State to JSON. One function per object of the API; no decisions.

#include "view.h"

#include <string.h>

#include "nodedev.h"
#include "server.h"
#include "virconn.h"

static json_t *address_json(const VfPciAddr *address)
{
    char text[VF_PCIADDR_BUFSIZE];

    return json_string(vf_pciaddr_format(address, text));
}

static json_t *slot_address(const VfSlot *slot)
{
    VfPciAddr address;

    return vf_inventory_address(slot, &address) ? address_json(&address) : json_null();
}

static json_t *time_json(gint64 microseconds)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(microseconds / G_USEC_PER_SEC);
    g_autofree char *text = g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ");

    return json_string(text);
}

// Names of files and interfaces need not be UTF-8.
static json_t *text_json(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    return json_string(valid);
}

static json_t *text_or_null(const char *text)
{
    return text != NULL ? text_json(text) : json_null();
}

json_t *vf_view_lease(const VfDaemon *daemon, const VfLease *lease)
{
    const VfSlot *slot = vf_daemon_slot(daemon, lease->pool, lease->slot);

    return json_pack("{s:s, s:{s:s, s:s}, s:s, s:s, s:o, s:i, s:o, s:s, s:s, s:I, s:o}", "id",
                     lease->key, "domain", "uuid", lease->uuid, "name",
                     lease->domain != NULL ? lease->domain : "", "device", lease->device, "pool",
                     vf_daemon_pool(daemon, lease->pool)->config->name, "pf",
                     address_json(&slot->pf->pci.address), "index", (int)slot->index, "address",
                     slot_address(slot), "origin", lease->reserved ? "api" : "hook", "state",
                     vf_lease_state_name(lease->state), "generation", (json_int_t)lease->generation,
                     "since", time_json(lease->since));
}

static const char *function_state(const VfDaemon *daemon, guint pool, guint slot,
                                  const VfLease *lease)
{
    if (lease != NULL)
        return lease->state == VF_LEASE_RELEASING ? "releasing" : "leased";
    return vf_daemon_quarantined(daemon, pool, slot) != NULL ? "quarantined" : "free";
}

static json_t *function_json(const VfDaemon *daemon, guint pool, guint slot)
{
    const VfSlot *s = vf_daemon_slot(daemon, pool, slot);
    const VfLease *lease = vf_allocator_at(daemon->allocator, pool, slot);
    const char *aside = vf_daemon_quarantined(daemon, pool, slot);

    return json_pack("{s:s, s:o, s:o, s:i, s:o, s:b, s:s, s:i, s:o, s:o}", "pool",
                     vf_daemon_pool(daemon, pool)->config->name, "pf",
                     address_json(&s->pf->pci.address), "netdev", text_or_null(s->pf->netdev),
                     "index", (int)s->index, "address", slot_address(s), "exists",
                     s->index < s->pf->vfs, "state", function_state(daemon, pool, slot, lease),
                     "pointed", (int)vf_allocator_pointers(daemon->allocator, pool, slot), "lease",
                     lease != NULL ? vf_view_lease(daemon, lease) : json_null(), "problem",
                     text_or_null(aside != NULL ? aside : s->pf->problem));
}

json_t *vf_view_functions(const VfDaemon *daemon, guint pool)
{
    json_t *array = json_array();

    for (guint s = 0; s < vf_daemon_pool(daemon, pool)->slots->len; s++)
        json_array_append_new(array, function_json(daemon, pool, s));
    return array;
}

static const VfNodedev *nodedev_of(const VfDaemon *daemon, const VfPciAddr *address)
{
    for (guint i = 0; i < daemon->nodedevs->len; i++) {
        const VfNodedev *nodedev = g_ptr_array_index(daemon->nodedevs, i);

        if (vf_pciaddr_equal(&nodedev->address, address))
            return nodedev;
    }
    return NULL;
}

static json_t *pf_json(const VfDaemon *daemon, const VfInvPf *pf)
{
    const VfNodedev *nodedev = nodedev_of(daemon, &pf->pci.address);
    char vendor[5], device[5];

    g_snprintf(vendor, sizeof(vendor), "%04x", pf->pci.vendor);
    g_snprintf(device, sizeof(device), "%04x", pf->pci.device);
    return json_pack("{s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:i, s:i, s:o}", "address",
                     address_json(&pf->pci.address), "netdev", text_or_null(pf->netdev), "vendor",
                     vendor, "device", device, "vendor_name",
                     text_or_null(nodedev ? nodedev->vendor : NULL), "product_name",
                     text_or_null(nodedev ? nodedev->product : NULL), "numa_node",
                     nodedev && nodedev->numa_node >= 0 ? json_integer(nodedev->numa_node)
                                                        : json_null(),
                     "driver", text_or_null(pf->driver), "total", (int)pf->pci.cap.total_vfs, "vfs",
                     (int)pf->vfs, "problem", text_or_null(pf->problem));
}

static json_t *settings_json(const VfSettings *settings)
{
    json_t *object = json_object();

    for (guint i = 0; vf_settings_keys[i] != NULL; i++) {
        g_autofree char *value = vf_settings_get(settings, vf_settings_keys[i]);

        if (value != NULL)
            json_object_set_new(object, vf_settings_keys[i], text_json(value));
    }
    return object;
}

json_t *vf_view_pool(const VfDaemon *daemon, guint number)
{
    const VfInvPool *pool = vf_daemon_pool(daemon, number);
    const VfPoolConfig *config = pool->config;
    json_t *pfs = json_array();
    guint leased = 0;

    for (guint i = 0; i < pool->pfs->len; i++)
        json_array_append_new(pfs, pf_json(daemon, g_ptr_array_index(pool->pfs, i)));
    for (guint s = 0; s < pool->slots->len; s++)
        leased += vf_allocator_at(daemon->allocator, number, s) != NULL;
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:o}", "name",
                     config->name, "file", text_json(config->file), "growth",
                     config->growth == VF_GROWTH_GROW ? "grow" : "static", "count",
                     config->count != VF_UNSET ? json_integer(config->count) : json_null(), "max",
                     config->max != VF_UNSET ? json_integer(config->max) : json_null(), "settings",
                     settings_json(&config->settings), "pfs", pfs, "functions",
                     vf_view_functions(daemon, number), "free",
                     (int)vf_allocator_free_slots(daemon->allocator, number), "leased", (int)leased,
                     "problem", text_or_null(pool->problem));
}

json_t *vf_view_pools(const VfDaemon *daemon)
{
    json_t *array = json_array();

    for (guint p = 0; p < daemon->inventory->pools->len; p++)
        json_array_append_new(array, vf_view_pool(daemon, p));
    return array;
}

json_t *vf_view_leases(const VfDaemon *daemon)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);
    json_t *array = json_array();

    for (guint i = 0; i < leases->len; i++)
        json_array_append_new(array, vf_view_lease(daemon, g_ptr_array_index(leases, i)));
    return array;
}

static json_t *claim_json(const VfDaemon *daemon, const VfDomainClaim *claim)
{
    guint number;
    const VfInvPool *pool = vf_inventory_pool(daemon->inventory, claim->pool, &number);
    const VfSlot *slot = NULL;

    if (pool != NULL && claim->slot < pool->slots->len)
        slot = vf_daemon_slot(daemon, number, claim->slot);
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "device", claim->device, "pool", claim->pool,
                     "pf", slot ? address_json(&slot->pf->pci.address) : json_null(), "index",
                     slot ? json_integer(slot->index) : json_null(), "address",
                     slot ? slot_address(slot) : json_null());
}

json_t *vf_view_domain(const VfDaemon *daemon, const VfDomainRecord *record)
{
    static const char *const states[] = {"none", "pending", "rendered", "failed"};
    json_t *claims = json_array();
    json_t *attach = json_null();

    for (guint i = 0; i < record->claims->len; i++)
        json_array_append_new(claims, claim_json(daemon, g_ptr_array_index(record->claims, i)));
    if (record->attaching)
        attach = json_string("pending");
    else if (record->attach_error != NULL)
        attach = vf_problem_json(record->attach_error);
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "uuid", record->uuid, "name",
                     record->name != NULL ? record->name : "", "state", states[record->state],
                     "claims", claims, "error",
                     record->error != NULL ? vf_problem_json(record->error) : json_null(), "attach",
                     attach);
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(((const VfDomainRecord *)a)->name, ((const VfDomainRecord *)b)->name);
}

// Domains that have something to do with virtfn, in order of name.
json_t *vf_view_domains(const VfDaemon *daemon)
{
    g_autoptr(GList) records = g_hash_table_get_values(vf_domains_records(daemon->domains));
    json_t *array = json_array();

    records = g_list_sort(records, by_name);
    for (GList *i = records; i != NULL; i = i->next) {
        const VfDomainRecord *record = i->data;

        if (record->claims->len > 0 || record->error != NULL)
            json_array_append_new(array, vf_view_domain(daemon, record));
    }
    return array;
}

static void append_text(json_t *array, const char *text)
{
    if (text != NULL)
        json_array_append_new(array, text_json(text));
}

static json_t *problems_json(const VfDaemon *daemon)
{
    json_t *array = json_array();

    append_text(array, daemon->config_error);
    append_text(array, daemon->ledger_note);
    append_text(array, daemon->storage_error);
    append_text(array, daemon->assignments_error);
    for (guint i = 0; i < daemon->orphans->len; i++)
        append_text(array, ((VfOrphan *)g_ptr_array_index(daemon->orphans, i))->problem);
    for (guint p = 0; p < daemon->inventory->pools->len; p++)
        append_text(array, vf_daemon_pool(daemon, p)->problem);
    for (guint i = 0; i < daemon->inventory->pfs->len; i++)
        append_text(array, ((VfInvPf *)g_ptr_array_index(daemon->inventory->pfs, i))->problem);
    return array;
}

static json_t *quarantined_json(const VfDaemon *daemon)
{
    json_t *array = json_array();

    for (guint p = 0; p < daemon->inventory->pools->len; p++)
        for (guint s = 0; s < vf_daemon_pool(daemon, p)->slots->len; s++)
            if (vf_daemon_quarantined(daemon, p, s) != NULL)
                json_array_append_new(array, function_json(daemon, p, s));
    return array;
}

json_t *vf_view_status(const VfDaemon *daemon)
{
    const char *uri = daemon->options.uri != NULL ? daemon->options.uri : daemon->config->uri;
    gboolean connected = daemon->virconn != NULL && vf_virconn_connected(daemon->virconn);
    const char *problem =
        daemon->virconn != NULL ? vf_virconn_problem(daemon->virconn) : "not asked to connect";

    return json_pack("{s:s, s:s, s:o, s:{s:s, s:b, s:o}, s:o, s:o, s:o, s:o, s:o}", "version",
                     VF_VERSION, "boot_id", daemon->boot_id, "since", time_json(daemon->since),
                     "libvirt", "uri", uri, "connected", connected, "error",
                     text_or_null(connected ? NULL : problem), "pools", vf_view_pools(daemon),
                     "domains", vf_view_domains(daemon), "leases", vf_view_leases(daemon),
                     "quarantined", quarantined_json(daemon), "problems", problems_json(daemon));
}
