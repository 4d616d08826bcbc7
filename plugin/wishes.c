// SPDX-License-Identifier: GPL-2.0-or-later
//
// From a domain's XML to wishes. A claim whose hostdev names a function wishes for that one,
// because a starting domain's XML cannot be changed any more (design.md, rule 2); any other will do
// for a claim without a hostdev.

#include "wishes.h"

#include "domains.h"
#include "error.h"

static void wish_clear(gpointer data)
{
    VfWish *wish = data;

    g_free(wish->device);
    g_free(wish->pool);
    vf_settings_clear(&wish->claim);
    vf_broker_ask_clear(&wish->ask);
}

gboolean vf_wishes_has_uuid(const VfDomain *domain, GError **error)
{
    if (domain->uuid[0] != '\0')
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_INPUT, "domain '%s': its XML has no <uuid>",
                domain->name);
    return FALSE;
}

GArray *vf_wishes_new(void)
{
    GArray *wishes = g_array_new(FALSE, FALSE, sizeof(VfWish));

    g_array_set_clear_func(wishes, wish_clear);
    return wishes;
}

static const VfHostdev *hostdev_of(const VfDomain *domain, const char *claim)
{
    for (guint i = 0; i < domain->hostdevs->len; i++) {
        const VfHostdev *hostdev = &g_array_index(domain->hostdevs, VfHostdev, i);

        if (g_strcmp0(hostdev->claim, claim) == 0)
            return hostdev;
    }
    return NULL;
}

static gboolean wish_of_claim(VfDaemon *daemon, const VfDomain *domain, const VfClaim *claim,
                              VfWish *wish, GError **error)
{
    const VfHostdev *hostdev = hostdev_of(domain, claim->name);
    VfInvPool *pool = vf_inventory_pool(daemon->inventory, claim->pool, &wish->pool_number);
    char address[VF_PCIADDR_BUFSIZE];
    guint pool_number;

    if (pool == NULL) {
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "domain '%s', device '%s': there is no pool '%s'" VF_REMEDY
                    "'virtfn list pools' names them; pools are described in %s",
                    domain->name, claim->name, claim->pool, daemon->options.config_dir);
        return FALSE;
    }
    wish->device = g_strdup(claim->name);
    wish->pool = g_strdup(claim->pool);
    wish->wanted = VF_NO_SLOT;
    wish->rendered = hostdev != NULL;
    vf_settings_merge(&wish->claim, &claim->settings, &claim->settings);
    vf_broker_ask_copy(&wish->ask, &claim->ask);
    if (hostdev == NULL)
        return TRUE;
    wish->address = hostdev->address;
    if (vf_inventory_find(daemon->inventory, &hostdev->address, &pool_number, &wish->wanted) &&
        pool_number == wish->pool_number)
        return TRUE;
    vf_domains_queue(daemon->domains, domain->uuid, domain->name);
    g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                "domain '%s', device '%s': its XML names %s, which is no function of pool '%s'%s%s",
                domain->name, claim->name, vf_pciaddr_format(&hostdev->address, address),
                claim->pool, pool->problem != NULL ? ": " : VF_REMEDY,
                pool->problem != NULL ? pool->problem
                                      : "it is being rendered again: start it again");
    return FALSE;
}

char *vf_wish_plain_device(const VfPciAddr *address)
{
    char text[VF_PCIADDR_BUFSIZE];

    return g_strdup_printf("pci-%s", vf_pciaddr_format(address, text));
}

gboolean vf_wishes_find(VfDaemon *daemon, const VfDomain *domain, GArray *wishes, GError **error)
{
    if (daemon->config_error != NULL && domain->claims->len > 0) {
        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG, "%s", daemon->config_error);
        return FALSE;
    }
    for (guint i = 0; i < domain->claims->len; i++) {
        VfWish wish = {0};
        gboolean ok;

        vf_settings_init(&wish.claim);
        ok = wish_of_claim(daemon, domain, g_ptr_array_index(domain->claims, i), &wish, error);
        g_array_append_val(wishes, wish);
        if (!ok)
            return FALSE;
    }
    for (guint i = 0; i < domain->hostdevs->len; i++) {
        const VfHostdev *hostdev = &g_array_index(domain->hostdevs, VfHostdev, i);
        VfWish wish = {.rendered = TRUE, .address = hostdev->address};

        if (hostdev->claim != NULL || !vf_inventory_find(daemon->inventory, &hostdev->address,
                                                         &wish.pool_number, &wish.wanted))
            continue;
        wish.device = vf_wish_plain_device(&hostdev->address);
        wish.pool = g_strdup(vf_daemon_pool(daemon, wish.pool_number)->config->name);
        vf_settings_init(&wish.claim);
        g_array_append_val(wishes, wish);
    }
    return TRUE;
}
