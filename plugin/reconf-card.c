// SPDX-License-Identifier: GPL-2.0-or-later
//
// The connections of a card's functions with its regions, over a reconf: with its VFs a card
// forgets them, and guests are resumed only where they are as they were. Contexts stay in their
// regions. A connection that cannot be made is no reason to undo a reconf: the broker looks after
// it later, and until then that guest's device is one without an accelerator.

#include "reconf-card.h"

#include "card.h"
#include "log.h"

#define CONNECT_MS 5000

void vf_reconf_add_connection(VfReconf *reconf, const char *card, guint region, guint index)
{
    VfReconfConnection connection = {region, index};

    if (reconf->connections == NULL)
        reconf->connections = g_array_new(FALSE, FALSE, sizeof(VfReconfConnection));
    g_free(reconf->card);
    reconf->card = g_strdup(card);
    g_array_append_val(reconf->connections, connection);
}

static gboolean connect_one(VfCard *card, const GArray *regions, const VfReconfConnection *c,
                            GError **error)
{
    gint64 deadline = g_get_monotonic_time() + CONNECT_MS * G_TIME_SPAN_MILLISECOND;

    if (c->region < regions->len && g_array_index(regions, VfCardRegion, c->region).vf == c->index)
        return TRUE;
    return vf_card_connect(card, c->region, c->index, TRUE, deadline, error);
}

void vf_reconf_connect(const VfReconf *reconf, const char *root)
{
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(VfCardRegion));
    g_autoptr(GError) error = NULL;
    g_autoptr(VfCard) card = NULL;
    char pf[VF_PCIADDR_BUFSIZE];

    if (reconf->connections == NULL)
        return;
    vf_pciaddr_format(&reconf->pf, pf);
    card = vf_card_open(reconf->card, root, &reconf->pf, &error);
    if (card == NULL || !vf_card_query(card, regions, &error)) {
        vf_log(G_LOG_LEVEL_WARNING, NULL, pf, "%s", error->message);
        return;
    }
    for (guint i = 0; i < reconf->connections->len; i++) {
        const VfReconfConnection *c = &g_array_index(reconf->connections, VfReconfConnection, i);
        g_autoptr(GError) cause = NULL;

        if (!connect_one(card, regions, c, &cause))
            vf_log(G_LOG_LEVEL_WARNING, NULL, pf, "%s: VF %u and region %u: %s", pf, c->index,
                   c->region, cause->message);
    }
}

json_t *vf_reconf_connections_json(const VfReconf *reconf)
{
    json_t *list = json_array();

    for (guint i = 0; reconf->connections != NULL && i < reconf->connections->len; i++) {
        const VfReconfConnection *c = &g_array_index(reconf->connections, VfReconfConnection, i);

        json_array_append_new(list, json_pack("[i, i]", (int)c->region, (int)c->index));
    }
    return list;
}

gboolean vf_reconf_read_connections(VfReconf *reconf, const char *card, const json_t *json)
{
    for (gsize i = 0; i < json_array_size(json); i++) {
        int region, index;

        if (card == NULL ||
            json_unpack(json_array_get(json, i), "[i, i !]", &region, &index) != 0 || region < 0 ||
            index < 0)
            return FALSE;
        vf_reconf_add_connection(reconf, card, (guint)region, (guint)index);
    }
    return TRUE;
}
