// SPDX-License-Identifier: GPL-2.0-or-later
//
// The table of card drivers and what holds for all of them: numbers are checked before a driver
// sees them, and every message begins with the card. Nothing is retried and nothing is remembered
// between calls.

#include "card.h"

#include <string.h>

#include "card-driver.h"
#include "error.h"
#include "quote.h"

const char *const vf_region_state_words[] = {"empty", "loading", "ready", "broken", NULL};

static const VfCardDriver *const drivers[] = {
    &vf_card_test,
    &vf_card_dfl,
    &vf_card_program,
};

static const VfCardDriver *find_driver(const char *spec, const char **argument)
{
    for (guint i = 0; i < G_N_ELEMENTS(drivers); i++) {
        gsize length = strlen(drivers[i]->name);

        if (strncmp(spec, drivers[i]->name, length) != 0)
            continue;
        *argument = spec[length] == ':' ? spec + length + 1 : NULL;
        if (spec[length] == ':' || spec[length] == '\0')
            return drivers[i];
    }
    return NULL;
}

VfCard *vf_card_open(const char *spec, const char *root, const VfPciAddr *pf, GError **error)
{
    const char *argument = NULL;
    const VfCardDriver *driver = find_driver(spec, &argument);
    char address[VF_PCIADDR_BUFSIZE];
    VfCard *card;

    vf_pciaddr_format(pf, address);
    if (driver == NULL) {
        g_autofree char *quoted = vf_quote(spec, -1);

        g_set_error(error, VF_ERROR, VF_ERROR_CONFIG,
                    "%s: no card driver is called %s" VF_REMEDY "mend the pool's key card", address,
                    quoted);
        return NULL;
    }
    card = driver->open(argument, root, pf, error);
    if (card == NULL) {
        g_prefix_error(error, "%s: ", address);
        return NULL;
    }
    card->driver = driver;
    memcpy(card->pf, address, sizeof(address));
    return card;
}

void vf_card_close(VfCard *card)
{
    card->driver->close(card);
}

gboolean vf_card_can_save(const VfCard *card)
{
    return card->can_save;
}

// Adds the card to a message; returns `ok`.
static gboolean named(const VfCard *card, gboolean ok, GError **error)
{
    if (!ok)
        g_prefix_error(error, "%s: ", card->pf);
    return ok;
}

static gboolean check_region(const VfCard *card, guint region, GError **error)
{
    if (region < card->regions)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_STATE, "%s: there is no region %u, the card has %u",
                card->pf, region, card->regions);
    return FALSE;
}

static gboolean check_save(const VfCard *card, guint region, GError **error)
{
    if (!check_region(card, region, error))
        return FALSE;
    if (card->can_save)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                "%s: the card cannot save what an accelerator has in mind" VF_REMEDY
                "do not make its accelerators shareable",
                card->pf);
    return FALSE;
}

gboolean vf_card_query(VfCard *card, GArray *regions, GError **error)
{
    g_array_set_size(regions, 0);
    if (!named(card, card->driver->query(card, regions, error), error))
        return FALSE;
    if (regions->len == card->regions)
        return TRUE;
    g_set_error(error, VF_ERROR, VF_ERROR_SYSFS, "%s: the card had %u regions and says %u",
                card->pf, card->regions, regions->len);
    return FALSE;
}

gboolean vf_card_load(VfCard *card, guint region, const char *image_path, gint64 deadline,
                      GError **error)
{
    return check_region(card, region, error) &&
           named(card, card->driver->load(card, region, image_path, deadline, error), error);
}

gboolean vf_card_connect(VfCard *card, guint region, guint vf, gboolean keep_context,
                         gint64 deadline, GError **error)
{
    return check_region(card, region, error) &&
           named(card, card->driver->connect(card, region, vf, keep_context, deadline, error),
                 error);
}

gboolean vf_card_disconnect(VfCard *card, guint vf, gint64 deadline, GError **error)
{
    return named(card, card->driver->disconnect(card, vf, deadline, error), error);
}

gboolean vf_card_save(VfCard *card, guint region, GBytes **context, gint64 deadline, GError **error)
{
    return check_save(card, region, error) &&
           named(card, card->driver->save(card, region, context, deadline, error), error);
}

gboolean vf_card_restore(VfCard *card, guint region, GBytes *context, gint64 deadline,
                         GError **error)
{
    return check_save(card, region, error) &&
           named(card, card->driver->restore(card, region, context, deadline, error), error);
}
