// SPDX-License-Identifier: GPL-2.0-or-later
//
// Leases, orphans and pointers of the daemon: every change in memory is paired here with its row in
// the ledger. Commits nothing itself: whoever needs a change to be durable waits for the turn's
// commit (vf_daemon_after_commit()), and one that fails undoes table and ledger together.

#include <string.h>

#include "broker.h"
#include "choices.h"
#include "daemon.h"
#include "error.h"
#include "log.h"

gboolean vf_daemon_store(VfDaemon *daemon, const VfLease *lease, GError **error)
{
    const VfSlot *slot = vf_daemon_slot(daemon, lease->pool, lease->slot);

    vf_daemon_changed(daemon);
    return vf_ledger_put_lease(daemon->ledger, lease,
                               vf_daemon_pool(daemon, lease->pool)->config->name,
                               &slot->pf->pci.address, slot->index, error);
}

gboolean vf_daemon_keep(VfDaemon *daemon, VfLease *lease, VfLeaseState state, GError **error)
{
    lease->state = state;
    lease->generation = ++daemon->generation;
    lease->since = g_get_real_time();
    // The QEMU that had it paused is gone.
    if (state != VF_LEASE_RUNNING)
        vf_lease_set_pause(lease, 0, NULL, NULL);
    if (!vf_daemon_store(daemon, lease, error))
        return FALSE;
    vf_broker_lease_changed(daemon, lease);
    return TRUE;
}

const VfSettings *vf_daemon_profile(const VfDaemon *daemon, guint pool, const VfPciAddr *pf)
{
    const VfPoolConfig *config = vf_daemon_pool(daemon, pool)->config;
    const char *chosen = vf_choice_find(daemon, config->name, pf);

    return chosen != NULL ? g_hash_table_lookup(daemon->config->profiles, chosen)
                          : &config->settings;
}

gboolean vf_daemon_is_current(const VfDaemon *daemon, const VfLease *lease)
{
    const VfSlot *slot = vf_daemon_slot(daemon, lease->pool, lease->slot);
    VfSettings due;
    gboolean same;

    vf_settings_merge(&due, vf_daemon_profile(daemon, lease->pool, &slot->pf->pci.address),
                      &lease->claim);
    same = vf_settings_equal(&due, &lease->settings);
    vf_settings_clear(&due);
    return same;
}

void vf_daemon_set_claim(const VfDaemon *daemon, VfLease *lease, const VfSettings *claim)
{
    const VfSlot *slot = vf_daemon_slot(daemon, lease->pool, lease->slot);

    vf_settings_clear(&lease->claim);
    vf_settings_clear(&lease->settings);
    if (claim != NULL)
        vf_settings_merge(&lease->claim, claim, claim);
    vf_settings_merge(&lease->settings,
                      vf_daemon_profile(daemon, lease->pool, &slot->pf->pci.address),
                      &lease->claim);
}

void vf_daemon_drop(VfDaemon *daemon, VfLease *lease)
{
    g_autoptr(GError) error = NULL;

    vf_broker_lease_gone(daemon, lease);
    vf_daemon_changed(daemon);
    if (!vf_ledger_delete_lease(daemon->ledger, lease->uuid, lease->device, &error))
        vf_log(G_LOG_LEVEL_WARNING, lease->domain, NULL, "ledger: %s", error->message);
    vf_allocator_release(daemon->allocator, lease);
}

void vf_daemon_drop_orphans(VfDaemon *daemon, const char *uuid, const char *device)
{
    for (guint i = daemon->orphans->len; i-- > 0;) {
        const VfOrphan *orphan = g_ptr_array_index(daemon->orphans, i);
        g_autoptr(GError) error = NULL;

        if (strcmp(orphan->uuid, uuid) != 0 ||
            (device != NULL && strcmp(orphan->device, device) != 0))
            continue;
        vf_daemon_changed(daemon);
        if (!vf_ledger_delete_lease(daemon->ledger, uuid, orphan->device, &error))
            vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "ledger: %s", error->message);
        g_ptr_array_remove_index(daemon->orphans, i);
    }
}

guint vf_daemon_point(VfDaemon *daemon, guint pool, const char *uuid, const char *device,
                      const guint *avoid, guint n_avoid)
{
    guint slot = vf_allocator_point(daemon->allocator, pool, uuid, device, avoid, n_avoid);
    g_autoptr(GError) error = NULL;

    if (slot == VF_NO_SLOT) {
        vf_daemon_unpoint(daemon, uuid, device);
        return slot;
    }
    const VfSlot *s = vf_daemon_slot(daemon, pool, slot);
    VfPointer pointer = {.device = device, .pool = pool, .slot = slot};
    g_strlcpy(pointer.uuid, uuid, sizeof(pointer.uuid));
    vf_daemon_changed(daemon);
    if (!vf_ledger_put_pointer(daemon->ledger, &pointer, vf_daemon_pool(daemon, pool)->config->name,
                               &s->pf->pci.address, s->index, &error))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "assignments: %s", error->message);
    return slot;
}

void vf_daemon_unpoint(VfDaemon *daemon, const char *uuid, const char *device)
{
    g_autoptr(GError) error = NULL;

    vf_allocator_unpoint(daemon->allocator, uuid, device);
    vf_daemon_changed(daemon);
    if (!vf_ledger_delete_pointers(daemon->ledger, uuid, device, &error))
        vf_log(G_LOG_LEVEL_WARNING, NULL, NULL, "assignments: %s", error->message);
}

char *vf_daemon_holders(const VfDaemon *daemon, guint pool)
{
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);
    GString *text = g_string_new(NULL);
    guint n = 0;

    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);

        if (lease->pool != pool || n++ >= 8)
            continue;
        g_autofree char *name = vf_inventory_name(vf_daemon_slot(daemon, pool, lease->slot));
        g_string_append_printf(text, "%s%s by '%s'", text->len > 0 ? ", " : "", name,
                               vf_lease_holder(lease));
    }
    if (n > 8)
        g_string_append_printf(text, " and %u more", n - 8);
    return g_string_free(text, FALSE);
}
