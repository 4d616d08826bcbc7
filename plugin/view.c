// SPDX-License-Identifier: GPL-2.0-or-later
//
// State to JSON. One function per object of the API; no decisions.

#include "view.h"

#include "broker.h"
#include "choices.h"
#include "doubts.h"
#include "jsontext.h"
#include "nodedev.h"
#include "server.h"
#include "settle.h"
#include "virconn.h"

// NULL when the slot's VF will have no address.
static const VfPciAddr *slot_address(const VfSlot *slot, VfPciAddr *address)
{
    return vf_inventory_address(slot, address) ? address : NULL;
}

void vf_view_lease(GString *out, const VfDaemon *daemon, const VfLease *lease)
{
    const VfSlot *slot = vf_daemon_slot(daemon, lease->pool, lease->slot);
    VfPciAddr address;

    vf_json_append(
        out,
        "{'id':%s,'domain':{'uuid':%s,'name':%s},'device':%s,'pool':%s,'pf':%a,"
        "'index':%i,'address':%a,'origin':%s,'state':%s,'generation':%I,'since':%t,'paused':",
        lease->key, lease->uuid, lease->domain != NULL ? lease->domain : "", lease->device,
        vf_daemon_pool(daemon, lease->pool)->config->name, &slot->pf->pci.address, slot->index,
        slot_address(slot, &address), lease->reserved ? "api" : "hook",
        vf_lease_state_name(lease->state), (gint64)lease->generation, lease->since);
    if (lease->pause != NULL)
        vf_json_append(out, "{'since':%t,'by':%s,'reason':%s}}", lease->pause->since,
                       lease->pause->by, lease->pause->reason);
    else
        vf_json_append(out, "null}");
}

static const char *function_state(const VfDaemon *daemon, guint pool, guint slot,
                                  const VfLease *lease)
{
    if (lease != NULL)
        return lease->state == VF_LEASE_RELEASING ? "releasing" : "leased";
    return vf_daemon_quarantined(daemon, pool, slot) != NULL ? "quarantined" : "free";
}

static void append_function(GString *out, const VfDaemon *daemon, guint pool, guint slot)
{
    const VfSlot *s = vf_daemon_slot(daemon, pool, slot);
    const VfLease *lease = vf_allocator_at(daemon->allocator, pool, slot);
    const char *aside = vf_daemon_quarantined(daemon, pool, slot);
    VfPciAddr address;

    vf_json_append(out,
                   "{'pool':%s,'pf':%a,'netdev':%s,'index':%i,'address':%a,'exists':%b,'state':%s,"
                   "'pointed':%i,'lease':",
                   vf_daemon_pool(daemon, pool)->config->name, &s->pf->pci.address, s->pf->netdev,
                   s->index, slot_address(s, &address), s->index < s->pf->vfs,
                   function_state(daemon, pool, slot, lease),
                   vf_allocator_pointers(daemon->allocator, pool, slot));
    if (lease != NULL)
        vf_view_lease(out, daemon, lease);
    else
        vf_json_append(out, "null");
    vf_json_append(out, ",'problem':%s}", aside != NULL ? aside : s->pf->problem);
}

static void append_functions(GString *out, const VfDaemon *daemon, guint pool)
{
    for (guint s = 0; s < vf_daemon_pool(daemon, pool)->slots->len; s++) {
        vf_json_next(out);
        append_function(out, daemon, pool, s);
    }
}

void vf_view_functions(GString *out, const VfDaemon *daemon, guint pool)
{
    vf_json_append(out, "[");
    for (guint p = 0; p < daemon->inventory->pools->len; p++)
        if (pool == VF_NO_SLOT || p == pool)
            append_functions(out, daemon, p);
    vf_json_append(out, "]");
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

static void append_pf(GString *out, const VfDaemon *daemon, const VfInvPf *pf)
{
    const VfNodedev *nodedev = nodedev_of(daemon, &pf->pci.address);
    char vendor[5], device[5];

    g_snprintf(vendor, sizeof(vendor), "%04x", pf->pci.vendor);
    g_snprintf(device, sizeof(device), "%04x", pf->pci.device);
    vf_json_append(out,
                   "{'address':%a,'netdev':%s,'vendor':%s,'device':%s,'vendor_name':%s,"
                   "'product_name':%s,'numa_node':%n,'driver':%s,'total':%i,'vfs':%i,'problem':%s}",
                   &pf->pci.address, pf->netdev, vendor, device, nodedev ? nodedev->vendor : NULL,
                   nodedev ? nodedev->product : NULL,
                   nodedev && nodedev->numa_node >= 0 ? nodedev->numa_node : VF_UNSET, pf->driver,
                   pf->pci.cap.total_vfs, pf->vfs, pf->problem);
}

static void append_settings(GString *out, const VfSettings *settings)
{
    const char *separator = "";

    vf_json_append(out, "{");
    for (guint i = 0; vf_settings_keys[i] != NULL; i++) {
        g_autofree char *value = vf_settings_nth(settings, i);

        if (value == NULL)
            continue;
        g_string_append(out, separator);
        vf_json_append(out, "%s:%s", vf_settings_keys[i], value);
        separator = ",";
    }
    vf_json_append(out, "}");
}

static void append_chosen(GString *out, const VfDaemon *daemon, const VfInvPool *pool)
{
    const char *separator = "";

    vf_json_append(out, ",'chosen':{");
    for (guint i = 0; i < pool->pfs->len; i++) {
        const VfInvPf *pf = g_ptr_array_index(pool->pfs, i);
        const char *profile = vf_choice_find(daemon, pool->config->name, &pf->pci.address);

        if (profile == NULL)
            continue;
        g_string_append(out, separator);
        vf_json_append(out, "%a:%s", &pf->pci.address, profile);
        separator = ",";
    }
    vf_json_append(out, "}");
}

void vf_view_pool(GString *out, const VfDaemon *daemon, guint number)
{
    const VfInvPool *pool = vf_daemon_pool(daemon, number);
    const VfPoolConfig *config = pool->config;
    guint leased = 0, outdated = 0;

    for (guint s = 0; s < pool->slots->len; s++) {
        const VfLease *lease = vf_allocator_at(daemon->allocator, number, s);

        leased += lease != NULL;
        outdated += lease != NULL && lease->state == VF_LEASE_RUNNING &&
                    !vf_daemon_is_current(daemon, lease);
    }
    vf_json_append(out,
                   "{'name':%s,'file':%s,'growth':%s,'count':%n,'max':%n,'signal':%s,'profile':%s,"
                   "'settings':",
                   config->name, config->file, config->growth == VF_GROWTH_GROW ? "grow" : "static",
                   config->count, config->max, vf_signal_words[config->signal], config->profile);
    append_settings(out, &config->settings);
    append_chosen(out, daemon, pool);
    vf_json_append(out, ",'pfs':[");
    for (guint i = 0; i < pool->pfs->len; i++) {
        vf_json_next(out);
        append_pf(out, daemon, g_ptr_array_index(pool->pfs, i));
    }
    vf_json_append(out, "],'functions':");
    vf_view_functions(out, daemon, number);
    vf_json_append(out, ",'free':%i,'leased':%i,'outdated':%i,'problem':%s}",
                   vf_allocator_free_slots(daemon->allocator, number), leased, outdated,
                   pool->problem);
}

void vf_view_pools(GString *out, const VfDaemon *daemon)
{
    vf_json_append(out, "[");
    for (guint p = 0; p < daemon->inventory->pools->len; p++) {
        vf_json_next(out);
        vf_view_pool(out, daemon, p);
    }
    vf_json_append(out, "]");
}

void vf_view_leases(GString *out, const VfDaemon *daemon)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);

    vf_json_append(out, "[");
    for (guint i = 0; i < leases->len; i++) {
        vf_json_next(out);
        vf_view_lease(out, daemon, g_ptr_array_index(leases, i));
    }
    vf_json_append(out, "]");
}

static void append_claim(GString *out, const VfDaemon *daemon, const VfDomainClaim *claim)
{
    guint number;
    const VfInvPool *pool = vf_inventory_pool(daemon->inventory, claim->pool, &number);
    const VfSlot *slot = NULL;
    VfPciAddr address;

    if (pool != NULL && claim->slot < pool->slots->len)
        slot = vf_daemon_slot(daemon, number, claim->slot);
    vf_json_append(out, "{'device':%s,'pool':%s,'pf':%a,'index':%n,'address':%a}", claim->device,
                   claim->pool, slot ? &slot->pf->pci.address : NULL,
                   slot ? (int)slot->index : VF_UNSET, slot ? slot_address(slot, &address) : NULL);
}

static void append_problem(GString *out, const GError *error)
{
    if (error != NULL)
        vf_problem_json(out, error);
    else
        vf_json_append(out, "null");
}

void vf_view_domain(GString *out, const VfDaemon *daemon, const VfDomainRecord *record)
{
    static const char *const states[] = {"none", "pending", "rendered", "failed"};

    vf_json_append(out, "{'uuid':%s,'name':%s,'state':%s,'claims':[", record->uuid,
                   record->name != NULL ? record->name : "", states[record->state]);
    for (guint i = 0; i < record->claims->len; i++) {
        vf_json_next(out);
        append_claim(out, daemon, g_ptr_array_index(record->claims, i));
    }
    vf_json_append(out, "],'error':");
    append_problem(out, record->error);
    vf_json_append(out, ",'attach':");
    if (record->attaching)
        vf_json_append(out, "'pending'");
    else
        append_problem(out, record->attach_error);
    vf_json_append(out, "}");
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(((const VfDomainRecord *)a)->name, ((const VfDomainRecord *)b)->name);
}

// Domains that have something to do with virtfn, in order of name.
void vf_view_domains(GString *out, const VfDaemon *daemon)
{
    g_autoptr(GList) records = g_hash_table_get_values(vf_domains_records(daemon->domains));

    records = g_list_sort(records, by_name);
    vf_json_append(out, "[");
    for (GList *i = records; i != NULL; i = i->next) {
        const VfDomainRecord *record = i->data;

        if (record->claims->len == 0 && record->error == NULL && !record->attaching &&
            record->attach_error == NULL)
            continue;
        vf_json_next(out);
        vf_view_domain(out, daemon, record);
    }
    vf_json_append(out, "]");
}

static void append_text(GString *out, const char *text)
{
    if (text == NULL)
        return;
    vf_json_next(out);
    vf_json_append(out, "%s", text);
}

static void append_stuck(GString *out, const VfDaemon *daemon)
{
    GHashTableIter iter;
    gpointer pf, reason;

    g_hash_table_iter_init(&iter, daemon->stuck);
    while (g_hash_table_iter_next(&iter, &pf, &reason)) {
        g_autofree char *text = g_strdup_printf("%s: %s", (char *)pf, (char *)reason);

        append_text(out, text);
    }
}

static void append_problems(GString *out, const VfDaemon *daemon)
{
    append_text(out, daemon->config_error);
    append_text(out, daemon->ledger_note);
    append_text(out, daemon->storage_error);
    append_text(out, daemon->assignments_error);
    for (guint i = 0; i < daemon->orphans->len; i++)
        append_text(out, ((VfOrphan *)g_ptr_array_index(daemon->orphans, i))->problem);
    append_stuck(out, daemon);
    vf_doubts_view_problems(out, daemon);
    vf_broker_view_problems(out, daemon);
    for (guint p = 0; p < daemon->inventory->pools->len; p++)
        append_text(out, vf_daemon_pool(daemon, p)->problem);
    for (guint i = 0; i < daemon->inventory->pfs->len; i++)
        append_text(out, ((VfInvPf *)g_ptr_array_index(daemon->inventory->pfs, i))->problem);
}

static void append_quarantined(GString *out, const VfDaemon *daemon)
{
    for (guint p = 0; p < daemon->inventory->pools->len; p++) {
        for (guint s = 0; s < vf_daemon_pool(daemon, p)->slots->len; s++) {
            if (vf_daemon_quarantined(daemon, p, s) == NULL)
                continue;
            vf_json_next(out);
            append_function(out, daemon, p, s);
        }
    }
}

void vf_view_status(GString *out, const VfDaemon *daemon)
{
    const char *uri = daemon->options.uri != NULL ? daemon->options.uri : daemon->config->uri;
    gboolean connected = daemon->virconn != NULL && vf_virconn_connected(daemon->virconn);
    const char *problem =
        daemon->virconn != NULL ? vf_virconn_problem(daemon->virconn) : "not asked to connect";

    vf_json_append(out,
                   "{'version':%s,'boot_id':%s,'since':%t,"
                   "'libvirt':{'uri':%s,'connected':%b,'error':%s},'pools':",
                   VF_VERSION, daemon->boot_id, daemon->since, uri, connected,
                   connected ? NULL : problem);
    vf_view_pools(out, daemon);
    vf_json_append(out, ",'settling':");
    vf_settle_view(out, daemon);
    vf_json_append(out, ",'domains':");
    vf_view_domains(out, daemon);
    vf_json_append(out, ",'leases':");
    vf_view_leases(out, daemon);
    vf_json_append(out, ",'cards':");
    vf_broker_view_cards(out, daemon);
    vf_json_append(out, ",'attachments':");
    vf_broker_view(out, daemon);
    vf_json_append(out, ",'quarantined':[");
    append_quarantined(out, daemon);
    vf_json_append(out, "],'problems':[");
    append_problems(out, daemon);
    vf_json_append(out, "]}");
}
