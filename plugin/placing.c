// SPDX-License-Identifier: GPL-2.0-or-later
//
// Points the claims of a domain at functions: what a rendering needs to know. Decisions are the
// allocator's; this says in words why one could not be had.

#include "domains.h"
#include "error.h"

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
