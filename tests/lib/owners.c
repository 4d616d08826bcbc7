// SPDX-License-Identifier: GPL-2.0-or-later
//
// The owners of a reconf's functions, as vf_reconf_plan() would find them in the ledger.

#include "owners.h"

#include "fake.h"

guint owners_guest(guint index)
{
    return index % OWNERS_GUESTS;
}

char *owners_id(guint index)
{
    return g_strdup_printf("ua-virtfn-net%u", index);
}

void owners_add(VfReconf *reconf, guint count, char *const *sockets)
{
    for (guint i = 0; i < count; i++) {
        guint guest = owners_guest(i);
        g_autofree char *uuid = g_strdup_printf("%08u-0000-4000-8000-000000000000", guest + 1);
        g_autofree char *device = g_strdup_printf("net%u", i);
        VfReconfOwner *owner = vf_reconf_add(reconf, uuid, device, i);

        owner->domain = g_strdup_printf("web%u", guest + 1);
        owner->pool = g_strdup("uplink");
        owner->socket = g_strdup(sockets[guest]);
        owner->address = fake_igb_vf(&reconf->pf, i);
    }
}
