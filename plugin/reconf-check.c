// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an operator's reconf may not ask. All of it is found before anybody is paused and before
// anything is written. Reads ledger and configuration as they are now, so it is asked in the lane
// of the PF. What a guest or the card cannot do is found out by the reconf itself.

#include <string.h>

#include "error.h"
#include "program.h"
#include "reconf-order.h"

gboolean vf_order_has_pool(const VfReconfOrder *order, const VfInvPool *pool)
{
    return g_ptr_array_find(pool->pfs, vf_inventory_pf(order->daemon->inventory, &order->pf), NULL);
}

static gboolean check_leases(const VfReconfOrder *order, guint count, GError **error)
{
    const VfDaemon *daemon = order->daemon;
    g_autoptr(GPtrArray) leases = vf_allocator_leases(daemon->allocator, NULL);

    for (guint i = 0; i < leases->len; i++) {
        const VfLease *lease = g_ptr_array_index(leases, i);
        const VfSlot *slot = vf_daemon_slot(daemon, lease->pool, lease->slot);
        g_autofree char *name = vf_inventory_name(slot);

        if (!vf_pciaddr_equal(&slot->pf->pci.address, &order->pf) || slot->index < count)
            continue;
        g_set_error(error, VF_ERROR, VF_ERROR_BUSY,
                    "%s: domain '%s' has it, and it would be gone with %u VFs" VF_REMEDY
                    "stop that domain first, or keep %u VFs",
                    name, vf_lease_holder(lease), count, slot->index + 1);
        return FALSE;
    }
    return TRUE;
}

const VfInvPool *vf_order_pool(const VfReconfOrder *order)
{
    const VfPoolConfig *first = vf_reconf_pool(order->daemon, &order->pf);
    const char *name = order->pool != NULL ? order->pool : first != NULL ? first->name : "";
    guint number;
    const VfInvPool *pool = vf_inventory_pool(order->daemon->inventory, name, &number);

    return pool != NULL && vf_order_has_pool(order, pool) ? pool : NULL;
}

// A profile is chosen for a pool; a PF says which one only when it has one.
static gboolean check_profile(const VfReconfOrder *order, GError **error)
{
    const VfDaemon *daemon = order->daemon;
    char address[VF_PCIADDR_BUFSIZE];
    guint pools = 0;

    if (order->profile == NULL)
        return TRUE;
    if (!g_hash_table_contains(daemon->config->profiles, order->profile)) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "profile '%.40s': there is no such profile" VF_REMEDY
                    "describe it as a group [profile NAME] in %s, then reload virtfnd",
                    order->profile, daemon->options.config_dir);
        return FALSE;
    }
    for (guint i = 0; i < daemon->inventory->pools->len; i++)
        pools += vf_order_has_pool(order, vf_daemon_pool(daemon, i));
    if (pools == 1 || order->pool != NULL)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                "%s: %u pools have functions on it" VF_REMEDY
                "name the pool that is to have profile '%s'",
                vf_pciaddr_format(&order->pf, address), pools, order->profile);
    return FALSE;
}

gboolean vf_order_check(const VfReconfOrder *order, guint count, GError **error)
{
    const VfInvPf *pf = vf_inventory_pf(order->daemon->inventory, &order->pf);
    const VfInvPool *pool = vf_order_pool(order);
    char address[VF_PCIADDR_BUFSIZE];

    vf_pciaddr_format(&order->pf, address);
    if (pool == NULL || pf->problem != NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG, "%s: %s", address,
                    pool != NULL ? pf->problem : "it is in no pool any more");
        return FALSE;
    }
    if (count < 1 || count > pf->pci.cap.total_vfs) {
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "%s: cannot have %u VFs" VF_REMEDY "ask for 1 to %u", address, count,
                    pf->pci.cap.total_vfs);
        return FALSE;
    }
    if (order->bitstream != NULL &&
        !vf_program_can_flash(pool->config->bitstream_program, pool->config->name, error))
        return FALSE;
    return check_profile(order, error) && check_leases(order, count, error);
}

gboolean vf_order_check_settings(const VfReconf *reconf, GError **error)
{
    for (guint i = 0; i < reconf->owners->len; i++) {
        const VfReconfOwner *owner = g_ptr_array_index(reconf->owners, i);

        if (vf_settings_check(&owner->after, error))
            continue;
        g_prefix_error(error, "domain '%s', device '%s': ", owner->domain, owner->device);
        return FALSE;
    }
    return TRUE;
}
