// SPDX-License-Identifier: GPL-2.0-or-later
//
// Columns of each kind of object the API lists. Objects come from the daemon's JSON and are read
// tolerantly: what is missing is shown as absent, never guessed. Does no I/O.

#include "virtfn.h"

#include <string.h>

#include "table.h"

const char *vf_cell_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "-";
}

gint64 vf_cell_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void add_number(VfTable *table, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (json_is_integer(value))
        vf_table_addf(table, "%" G_GINT64_FORMAT, (gint64)json_integer_value(value));
    else
        vf_table_add(table, NULL);
}

char *vf_cell_function(const json_t *object)
{
    const char *pf = json_string_value(json_object_get(object, "pf"));
    const json_t *index = json_object_get(object, "index");

    if (pf == NULL || !json_is_integer(index))
        return NULL;
    return g_strdup_printf("%s#%" G_GINT64_FORMAT, pf, (gint64)json_integer_value(index));
}

char *vf_cell_device(const json_t *object)
{
    return g_strdup_printf("%s/%s", vf_cell_text(json_object_get(object, "domain"), "name"),
                           vf_cell_text(object, "device"));
}

char *vf_cell_holder(const json_t *function)
{
    const json_t *lease = json_object_get(function, "lease");

    return json_is_object(lease) ? vf_cell_device(lease) : NULL;
}

char *vf_cell_pause(const json_t *lease)
{
    const json_t *pause = json_object_get(lease, "paused");
    const char *reason = vf_cell_text(pause, "reason");

    if (!json_is_object(pause))
        return NULL;
    return g_strdup_printf("by %s, since %s%s%s", vf_cell_text(pause, "by"),
                           vf_cell_text(pause, "since"), *reason != '\0' ? ": " : "", reason);
}

static void add_pool(gpointer table, const json_t *pool)
{
    g_autoptr(GString) pfs = g_string_new(NULL);
    const json_t *pf;
    size_t i;

    json_array_foreach(json_object_get(pool, "pfs"), i, pf)
        g_string_append_printf(pfs, "%s%s", i > 0 ? "," : "", vf_cell_text(pf, "address"));
    vf_table_add(table, vf_cell_text(pool, "name"));
    vf_table_add(table, vf_cell_text(pool, "growth"));
    add_number(table, pool, "count");
    add_number(table, pool, "max");
    add_number(table, pool, "free");
    add_number(table, pool, "leased");
    vf_table_add(table, pfs->str);
}

static void add_function(gpointer table, const json_t *function)
{
    g_autofree char *name = vf_cell_function(function);
    g_autofree char *holder = vf_cell_holder(function);
    const json_t *exists = json_object_get(function, "exists");

    vf_table_add(table, name);
    vf_table_add(table, vf_cell_text(function, "pool"));
    vf_table_add(table, vf_cell_text(function, "address"));
    vf_table_add(table, !json_is_boolean(exists) ? NULL : json_is_true(exists) ? "yes" : "no");
    vf_table_add(table, vf_cell_text(function, "state"));
    vf_table_add(table, holder);
}

static void add_lease(gpointer table, const json_t *lease)
{
    g_autofree char *name = vf_cell_function(lease);
    g_autofree char *pause = vf_cell_pause(lease);
    const json_t *domain = json_object_get(lease, "domain");

    vf_table_add(table, vf_cell_text(domain, "name"));
    vf_table_add(table, vf_cell_text(domain, "uuid"));
    vf_table_add(table, vf_cell_text(lease, "device"));
    vf_table_add(table, vf_cell_text(lease, "pool"));
    vf_table_add(table, name);
    vf_table_add(table, vf_cell_text(lease, "state"));
    vf_table_add(table, vf_cell_text(lease, "origin"));
    vf_table_add(table, pause);
}

static void add_domain(gpointer table, const json_t *domain)
{
    g_autoptr(GString) claims = g_string_new(NULL);
    const json_t *claim;
    size_t i;

    json_array_foreach(json_object_get(domain, "claims"), i, claim)
    {
        g_autofree char *function = vf_cell_function(claim);
        g_string_append_printf(claims, "%s%s=%s", i > 0 ? "," : "", vf_cell_text(claim, "device"),
                               function != NULL ? function : vf_cell_text(claim, "pool"));
    }
    vf_table_add(table, vf_cell_text(domain, "name"));
    vf_table_add(table, vf_cell_text(domain, "uuid"));
    vf_table_add(table, vf_cell_text(domain, "state"));
    vf_table_add(table, claims->str);
}

static void add_image(gpointer table, const json_t *image)
{
    vf_table_add(table, vf_cell_text(image, "name"));
    vf_table_add(table, vf_cell_text(image, "accelerator"));
    add_number(table, image, "kind");
    add_number(table, image, "size");
    vf_table_add(table, vf_cell_text(image, "sha256"));
    vf_table_add(table, vf_cell_text(image, "since"));
}

// VM, VF, region, accelerator, image.
static void add_attachment(gpointer table, const json_t *attachment)
{
    g_autofree char *function = vf_cell_function(attachment);
    const json_t *domain = json_object_get(attachment, "domain");

    vf_table_add(table, vf_cell_text(domain, "name"));
    vf_table_add(table, vf_cell_text(domain, "uuid"));
    vf_table_add(table, vf_cell_text(attachment, "device"));
    vf_table_add(table, function);
    add_number(table, attachment, "region");
    vf_table_add(table, vf_cell_text(attachment, "accelerator"));
    vf_table_add(table, vf_cell_text(attachment, "image"));
    vf_table_add(table, vf_cell_text(attachment, "state"));
    vf_table_add(table, vf_cell_text(attachment, "since"));
    add_number(table, attachment, "priority");
    add_number(table, attachment, "ahead");
}

static const char *const function_titles[] = {"FUNCTION", "POOL",   "ADDRESS", "EXISTS",
                                              "STATE",    "HOLDER", NULL};
static const char *const pool_titles[] = {"POOL", "GROWTH", "COUNT", "MAX",
                                          "FREE", "LEASED", "PFS",   NULL};
static const char *const lease_titles[] = {"DOMAIN", "UUID",   "DEVICE", "POOL", "FUNCTION",
                                           "STATE",  "ORIGIN", "PAUSED", NULL};
static const char *const domain_titles[] = {"DOMAIN", "UUID", "STATE", "CLAIMS", NULL};

static const char *const image_titles[] = {"IMAGE",   "ACCELERATOR", "KIND", "SIZE",
                                           "SHA-256", "SINCE",       NULL};

static const char *const attachment_titles[] = {"DOMAIN", "UUID",        "DEVICE", "FUNCTION",
                                                "REGION", "ACCELERATOR", "IMAGE",  "STATE",
                                                "SINCE",  "PRIORITY",    "AHEAD",  NULL};

static const VfColumns all[] = {
    {"functions", function_titles, add_function},
    {"pools", pool_titles, add_pool},
    {"leases", lease_titles, add_lease},
    {"domains", domain_titles, add_domain},
    {"images", image_titles, add_image},
    {"attachments", attachment_titles, add_attachment},
};

const VfColumns *vf_columns_find(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(all); i++)
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    return NULL;
}

char *vf_columns_format(const VfColumns *columns, const json_t *objects, gboolean terminal,
                        const char *indent)
{
    g_autoptr(VfTable) table = vf_table_new(columns->titles);
    const json_t *object;
    size_t i;

    json_array_foreach(objects, i, object) columns->add_row(table, object);
    return vf_table_format(table, terminal, indent);
}
