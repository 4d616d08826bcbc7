// SPDX-License-Identifier: GPL-2.0-or-later
//
// State of the daemon: loading, rebuilding and commits. Rebuilding is the one answer to start-up,
// to a changed inventory and to a commit that failed: a new table, filled from the ledger. What
// changes in the table while it serves is in daemon-leases.c.

#include "daemon.h"

#include "broker.h"
#include "choices.h"
#include "domains.h"
#include "doubts.h"
#include "error.h"
#include "events.h"
#include "io.h"
#include "log.h"
#include "nodedev.h"
#include "reconf-jobs.h"
#include "settle.h"
#include "sriov.h"
#include "virconn.h"

typedef struct {
    VfCommitted callback;
    gpointer data;
} Waiting;

VfInvPool *vf_daemon_pool(const VfDaemon *daemon, guint number)
{
    return g_ptr_array_index(daemon->inventory->pools, number);
}

const VfSlot *vf_daemon_slot(const VfDaemon *daemon, guint pool, guint slot)
{
    return &g_array_index(vf_daemon_pool(daemon, pool)->slots, VfSlot, slot);
}

const VfPciAddr *vf_daemon_lease_pf(const VfDaemon *daemon, const VfLease *lease)
{
    return &vf_daemon_slot(daemon, lease->pool, lease->slot)->pf->pci.address;
}

// ---- quarantine

static char *slot_key(const VfDaemon *daemon, guint pool, guint slot)
{
    const VfSlot *s = vf_daemon_slot(daemon, pool, slot);
    char address[VF_PCIADDR_BUFSIZE];

    return g_strdup_printf("%s#%u", vf_pciaddr_format(&s->pf->pci.address, address), s->index);
}

const char *vf_daemon_quarantined(const VfDaemon *daemon, guint pool, guint slot)
{
    g_autofree char *key = slot_key(daemon, pool, slot);

    return g_hash_table_lookup(daemon->quarantine, key);
}

static void settle_usable(VfDaemon *daemon, guint pool, guint slot)
{
    const VfSlot *s = vf_daemon_slot(daemon, pool, slot);
    gboolean usable = s->pf->problem == NULL && vf_daemon_quarantined(daemon, pool, slot) == NULL;

    vf_allocator_set_usable(daemon->allocator, pool, slot, usable);
}

void vf_daemon_quarantine(VfDaemon *daemon, guint pool, guint slot, const char *reason)
{
    g_autofree char *name = vf_inventory_name(vf_daemon_slot(daemon, pool, slot));
    char *key = slot_key(daemon, pool, slot);

    if (reason != NULL) {
        vf_log(G_LOG_LEVEL_WARNING, NULL, name, "%s is set aside: %s", name, reason);
        g_hash_table_replace(daemon->quarantine, key, g_strdup(reason));
    } else {
        if (g_hash_table_remove(daemon->quarantine, key))
            vf_log(G_LOG_LEVEL_MESSAGE, NULL, name, "%s is back in its pool", name);
        g_free(key);
    }
    settle_usable(daemon, pool, slot);
}

// ---- rebuilding

static void orphan_free(gpointer data)
{
    VfOrphan *orphan = data;

    g_free(orphan->device);
    g_free(orphan->problem);
    g_free(orphan);
}

static void add_orphan(VfDaemon *daemon, const VfLedgerRow *row)
{
    VfOrphan *orphan = g_new0(VfOrphan, 1);
    char pf[VF_PCIADDR_BUFSIZE];

    g_strlcpy(orphan->uuid, row->uuid, sizeof(orphan->uuid));
    orphan->device = g_strdup(row->device);
    orphan->problem =
        g_strdup_printf("lease of domain '%s', device '%s': pool '%s' no longer has VF %u of "
                        "%s" VF_REMEDY "stop the domain, or put the function back into the pool",
                        row->domain, row->device, row->pool, row->index,
                        vf_pciaddr_format(&row->pf, pf));
    g_ptr_array_add(daemon->orphans, orphan);
}

// The slot of a stored function: in its pool, or in the one that has it since the configuration
// changed, so that nobody else is given it while its domain runs.
static guint find_slot(const VfDaemon *daemon, const VfLedgerRow *row, guint *pool)
{
    VfInvPool *p = vf_inventory_pool(daemon->inventory, row->pool, pool);
    guint slot = p != NULL ? vf_inventory_slot(p, &row->pf, row->index) : VF_NO_SLOT;

    for (guint i = 0; slot == VF_NO_SLOT && i < daemon->inventory->pools->len; i++) {
        *pool = i;
        slot = vf_inventory_slot(vf_daemon_pool(daemon, i), &row->pf, row->index);
    }
    return slot;
}

static void restore_lease(const VfLedgerRow *row, gpointer data)
{
    VfDaemon *daemon = data;
    guint pool, slot = find_slot(daemon, row, &pool);
    VfLease *lease = NULL;

    // A function that cannot be given out any more keeps the lease that it has.
    if (slot != VF_NO_SLOT)
        vf_allocator_set_usable(daemon->allocator, pool, slot, TRUE);
    if (slot == VF_NO_SLOT || vf_allocator_lease(daemon->allocator, pool, row->uuid, row->device,
                                                 slot, &lease) != VF_GRANTED) {
        add_orphan(daemon, row);
        return;
    }
    settle_usable(daemon, pool, slot);
    lease->domain = g_strdup(row->domain);
    lease->state = row->state;
    lease->reserved = row->reserved;
    lease->attach = row->attach;
    lease->generation = row->generation;
    lease->since = row->since;
    vf_settings_merge(&lease->claim, &row->claim, &row->claim);
    vf_settings_merge(&lease->settings, &row->settings, &row->settings);
    vf_lease_set_pause(lease, row->paused_since, row->paused_by, row->paused_reason);
}

static void restore_pointer(const VfLedgerRow *row, gpointer data)
{
    VfDaemon *daemon = data;
    guint pool, slot;
    VfInvPool *p = vf_inventory_pool(daemon->inventory, row->pool, &pool);

    if (p != NULL && (slot = vf_inventory_slot(p, &row->pf, row->index)) != VF_NO_SLOT)
        vf_allocator_point_at(daemon->allocator, pool, row->uuid, row->device, slot);
}

static void rebuild(VfDaemon *daemon)
{
    g_autoptr(GError) error = NULL;
    guint skipped = 0, skipped_pointers = 0;

    g_clear_pointer(&daemon->allocator, vf_allocator_free);
    daemon->allocator = vf_allocator_new();
    g_ptr_array_set_size(daemon->orphans, 0);
    vf_choices_restore(daemon);
    for (guint p = 0; p < daemon->inventory->pools->len; p++) {
        const VfInvPool *pool = vf_daemon_pool(daemon, p);

        vf_allocator_add_pool(daemon->allocator, pool->slots->len);
        for (guint s = 0; s < pool->slots->len; s++)
            settle_usable(daemon, p, s);
    }
    if (!vf_ledger_each_lease(daemon->ledger, restore_lease, daemon, &skipped, &error) ||
        !vf_ledger_each_pointer(daemon->ledger, restore_pointer, daemon, &skipped_pointers, &error))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "ledger: %s", error->message);
    if (skipped + skipped_pointers > 0)
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "ledger: %u rows make no sense and were left out",
               skipped + skipped_pointers);
    vf_broker_reload(daemon);
}

// ---- loading

static void load_config(VfDaemon *daemon)
{
    g_autoptr(GError) error = NULL;
    VfConfig *config = vf_config_load(daemon->options.config_dir, &error);

    g_clear_pointer(&daemon->config_error, g_free);
    if (config == NULL) {
        daemon->config_error = g_strdup(error->message);
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "configuration: %s", error->message);
        if (daemon->config == NULL)
            daemon->config = vf_config_parse("", 0, "", NULL);
        return;
    }
    // Pool descriptions are borrowed by the inventory: it goes first.
    g_clear_pointer(&daemon->inventory, vf_inventory_free);
    g_clear_pointer(&daemon->config, vf_config_free);
    daemon->config = config;
}

static void log_problems(const VfDaemon *daemon)
{
    for (guint p = 0; p < daemon->inventory->pools->len; p++) {
        const VfInvPool *pool = vf_daemon_pool(daemon, p);

        if (pool->problem != NULL)
            vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "%s", pool->problem);
        for (guint i = 0; i < pool->pfs->len; i++) {
            const VfInvPf *pf = g_ptr_array_index(pool->pfs, i);

            if (pf->problem != NULL)
                vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "%s", pf->problem);
        }
    }
}

static gboolean commit_now(gpointer data);

// Leases are written before the table that holds them goes; who waits for that is told.
gboolean vf_daemon_flush(VfDaemon *daemon)
{
    if (!vf_ledger_dirty(daemon->ledger))
        return TRUE;
    if (daemon->commit_source != 0)
        g_source_remove(daemon->commit_source);
    commit_now(daemon);
    return daemon->storage_error == NULL;
}

gboolean vf_daemon_refresh(VfDaemon *daemon)
{
    VfInventory *fresh = vf_inventory_read(daemon->options.root, daemon->config);
    gboolean changed = !vf_inventory_same_slots(daemon->inventory, fresh);

    if (changed)
        vf_daemon_flush(daemon);
    vf_inventory_free(daemon->inventory);
    daemon->inventory = fresh;
    if (changed) {
        log_problems(daemon);
        rebuild(daemon);
    } else {
        for (guint p = 0; p < fresh->pools->len; p++)
            for (guint s = 0; s < vf_daemon_pool(daemon, p)->slots->len; s++)
                settle_usable(daemon, p, s);
    }
    return changed;
}

void vf_daemon_reload(VfDaemon *daemon)
{
    vf_daemon_flush(daemon);
    load_config(daemon);
    g_clear_pointer(&daemon->inventory, vf_inventory_free);
    daemon->inventory = vf_inventory_read(daemon->options.root, daemon->config);
    log_problems(daemon);
    rebuild(daemon);
    vf_choices_settle(daemon);
}

static char *read_boot_id(const char *root)
{
    g_autofree char *path = vf_path(root, "/proc/sys/kernel/random/boot_id");
    char *id = vf_io_read(path, NULL);

    return id != NULL ? id : g_strdup("unknown");
}

// Without it guests keep what they have, and nothing is loaded.
static void open_images(VfDaemon *daemon)
{
    g_autoptr(GPtrArray) notes = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;

    daemon->images = vf_images_open(daemon->options.state_dir, notes, &error);
    for (guint i = 0; i < notes->len; i++)
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "%s", (char *)g_ptr_array_index(notes, i));
    if (error == NULL)
        return;
    vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "%s", error->message);
    daemon->images_error = g_strdup(error->message);
}

VfDaemon *vf_daemon_new(const VfDaemonOptions *options, GError **error)
{
    VfDaemon *daemon = g_new0(VfDaemon, 1);

    daemon->options = *options;
    daemon->since = g_get_real_time();
    daemon->boot_id = read_boot_id(options->root);
    daemon->qmp_dir = g_build_filename(options->run_dir, "qmp", NULL);
    daemon->quarantine = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->choices = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->outages = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->rests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->reconfs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    daemon->stuck = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->orphans = g_ptr_array_new_with_free_func(orphan_free);
    daemon->nodedevs = g_ptr_array_new_with_free_func(vf_nodedev_free);
    daemon->lanes = vf_lanes_new();
    g_queue_init(&daemon->commits);
    g_queue_init(&daemon->parked);
    daemon->ledger = vf_ledger_open(options->run_dir, options->state_dir, daemon->boot_id,
                                    &daemon->ledger_note, error);
    if (daemon->ledger == NULL) {
        vf_daemon_free(daemon);
        return NULL;
    }
    if (daemon->ledger_note != NULL)
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "%s", daemon->ledger_note);
    daemon->generation = vf_ledger_generation(daemon->ledger);
    vf_reconf_restore_outages(daemon);
    load_config(daemon);
    daemon->inventory = vf_inventory_read(options->root, daemon->config);
    log_problems(daemon);
    rebuild(daemon);
    vf_choices_settle(daemon);
    daemon->domains = vf_domains_new(daemon);
    daemon->settle = vf_settle_new(daemon);
    open_images(daemon);
    daemon->events = vf_events_new(daemon);
    daemon->doubts = vf_doubts_new(daemon);
    daemon->broker = vf_broker_new(daemon);
    return daemon;
}

void vf_daemon_free(VfDaemon *daemon)
{
    g_clear_pointer(&daemon->virconn, vf_virconn_free);
    g_clear_pointer(&daemon->lanes, vf_lanes_free);
    g_clear_pointer(&daemon->events, vf_events_free);
    g_clear_pointer(&daemon->doubts, vf_doubts_free);
    g_clear_pointer(&daemon->broker, vf_broker_free);
    if (daemon->commit_source != 0)
        g_source_remove(daemon->commit_source);
    if (daemon->ledger != NULL && vf_ledger_dirty(daemon->ledger))
        vf_ledger_commit(daemon->ledger, NULL, NULL);
    g_queue_clear_full(&daemon->commits, g_free);
    g_clear_pointer(&daemon->images, vf_images_free);
    g_free(daemon->images_error);
    g_clear_pointer(&daemon->settle, vf_settle_free);
    g_clear_pointer(&daemon->domains, vf_domains_free);
    g_clear_pointer(&daemon->allocator, vf_allocator_free);
    g_clear_pointer(&daemon->inventory, vf_inventory_free);
    g_clear_pointer(&daemon->config, vf_config_free);
    g_clear_pointer(&daemon->ledger, vf_ledger_close);
    g_hash_table_unref(daemon->quarantine);
    g_hash_table_unref(daemon->choices);
    g_hash_table_unref(daemon->outages);
    g_hash_table_unref(daemon->rests);
    g_hash_table_unref(daemon->reconfs);
    g_hash_table_unref(daemon->stuck);
    g_ptr_array_unref(daemon->nodedevs);
    g_ptr_array_unref(daemon->orphans);
    g_free(daemon->config_error);
    g_free(daemon->ledger_note);
    g_free(daemon->storage_error);
    g_free(daemon->assignments_error);
    g_free(daemon->boot_id);
    g_free(daemon->qmp_dir);
    g_free(daemon);
}

// ---- commits

static void note_failure(char **note, const GError *error)
{
    if (error != NULL && g_strcmp0(*note, error->message) != 0)
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "ledger: %s", error->message);
    g_clear_pointer(note, g_free);
    if (error != NULL)
        *note = g_strdup(error->message);
}

static gboolean commit_now(gpointer data)
{
    VfDaemon *daemon = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) pointers_error = NULL;
    Waiting *waiting;

    gboolean dirty = vf_ledger_dirty(daemon->ledger);

    daemon->commit_source = 0;
    if (!vf_ledger_commit(daemon->ledger, &pointers_error, &error))
        rebuild(daemon); // back to what is durable
    if (dirty)
        note_failure(&daemon->storage_error, error);
    note_failure(&daemon->assignments_error, pointers_error);
    for (guint n = g_queue_get_length(&daemon->commits); n > 0; n--) {
        waiting = g_queue_pop_head(&daemon->commits);
        waiting->callback(error, waiting->data);
        g_free(waiting);
    }
    return G_SOURCE_REMOVE;
}

// Once per turn of the loop, before the server reads on: the requests that came together share a
// commit, and are answered by the server's next turn.
void vf_daemon_changed(VfDaemon *daemon)
{
    if (daemon->commit_source == 0)
        daemon->commit_source = g_idle_add_full(G_PRIORITY_HIGH, commit_now, daemon, NULL);
}

void vf_daemon_after_commit(VfDaemon *daemon, VfCommitted callback, gpointer data)
{
    Waiting *waiting = g_new(Waiting, 1);

    *waiting = (Waiting){callback, data};
    g_queue_push_tail(&daemon->commits, waiting);
    vf_daemon_changed(daemon);
}
