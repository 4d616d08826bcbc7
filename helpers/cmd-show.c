// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn show: everything about one thing. What the name means is found out by its form: an
// address is a PF or a function, PF#INDEX a function, a UUID a domain; any other word is a pool,
// a PF's network interface or a domain, in that order.

#include <stdio.h>
#include <string.h>

#include "error.h"
#include "pciaddr.h"
#include "table.h"
#include "virtfn.h"

// A scalar as text, NULL for what is no scalar. Caller frees.
static char *scalar_text(const json_t *value)
{
    if (json_is_string(value))
        return vf_text_clean(json_string_value(value));
    if (json_is_integer(value))
        return g_strdup_printf("%" G_GINT64_FORMAT, (gint64)json_integer_value(value));
    if (json_is_boolean(value))
        return g_strdup(json_is_true(value) ? "yes" : "no");
    return json_is_null(value) ? g_strdup("-") : NULL;
}

static void print_members(const json_t *object, const char *indent);

static void print_array(const char *key, const json_t *array, const char *indent)
{
    g_autofree char *deeper = g_strconcat(indent, "  ", NULL);
    const VfColumns *columns = vf_columns_find(key);
    const json_t *item;
    size_t i;

    printf("%s%s:%s\n", indent, key, json_array_size(array) == 0 ? " none" : "");
    if (json_array_size(array) > 0 && columns != NULL) {
        g_autofree char *table = vf_columns_format(columns, array, TRUE, deeper);
        fputs(table, stdout);
        return;
    }
    json_array_foreach(array, i, item)
    {
        g_autofree char *text = scalar_text(item);
        if (text != NULL)
            printf("%s%s\n", deeper, text);
        if (json_is_object(item) && i > 0)
            printf("\n");
        print_members(item, deeper);
    }
}

// One member a line, objects and arrays indented below their name.
static void print_members(const json_t *object, const char *indent)
{
    g_autofree char *deeper = g_strconcat(indent, "  ", NULL);
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        g_autofree char *name = vf_text_clean(key);
        g_autofree char *text = scalar_text(value);

        if (text != NULL) {
            printf("%s%s: %s\n", indent, name, text);
        } else if (json_is_array(value)) {
            print_array(name, value, indent);
        } else {
            printf("%s%s:%s\n", indent, name, json_object_size(value) == 0 ? " none" : "");
            print_members(value, deeper);
        }
    }
}

static void print_object(const VfCli *cli, const char *kind, const json_t *object)
{
    if (cli->json) {
        json_dumpf(object, stdout, JSON_COMPACT);
        printf("\n");
        return;
    }
    printf("%s%s%s\n", vf_cli_color(cli, VF_BOLD), kind, vf_cli_plain(cli));
    print_members(object, "  ");
}

// The objects of an array whose member `key` is `value`; new reference.
static json_t *select_by(const json_t *objects, const char *key, const char *value)
{
    json_t *found = json_array(), *object;
    size_t i;

    json_array_foreach(objects, i, object)
    {
        if (strcmp(vf_cell_text(object, key), value) == 0)
            json_array_append(found, object);
    }
    return found;
}

// A PF by address or network interface, with its functions. A PF may serve several pools.
static gboolean show_pf(const VfCli *cli, VfClient *client, const char *key, const char *name,
                        gboolean *found, GError **error)
{
    json_t *answer = vf_client_get(client, "/v1/pools", NULL, error), *pool;
    size_t i;

    if (answer == NULL)
        return FALSE;
    json_array_foreach(json_object_get(answer, "pools"), i, pool)
    {
        json_t *pfs = select_by(json_object_get(pool, "pfs"), key, name);
        json_t *pf = json_array_get(pfs, 0);
        if (pf != NULL) {
            json_object_set(pf, "pool", json_object_get(pool, "name"));
            json_object_set_new(pf, "functions",
                                select_by(json_object_get(pool, "functions"), "pf",
                                          vf_cell_text(pf, "address")));
            print_object(cli, "PF", pf);
            *found = TRUE;
        }
        json_decref(pfs);
    }
    json_decref(answer);
    return TRUE;
}

// A function is named by its PF's address or network interface and its index, or by its address.
static gboolean has_name(const json_t *function, const char *name)
{
    g_autofree char *by_pf = vf_cell_function(function);
    g_autofree char *by_netdev =
        g_strdup_printf("%s#%d", vf_cell_text(function, "netdev"),
                        (int)json_integer_value(json_object_get(function, "index")));

    return g_strcmp0(by_pf, name) == 0 || strcmp(by_netdev, name) == 0 ||
           strcmp(vf_cell_text(function, "address"), name) == 0;
}

static gboolean show_function(const VfCli *cli, VfClient *client, const char *name, gboolean *found,
                              GError **error)
{
    json_t *answer = vf_client_get(client, "/v1/functions", NULL, error), *function;
    size_t i;

    if (answer == NULL)
        return FALSE;
    json_array_foreach(json_object_get(answer, "functions"), i, function)
    {
        if (has_name(function, name)) {
            print_object(cli, "function", function);
            *found = TRUE;
            break;
        }
    }
    json_decref(answer);
    return TRUE;
}

// Adds what a domain holds to its object.
static gboolean add_leases(VfClient *client, json_t *domain, GError **error)
{
    json_t *answer = vf_client_get(client, "/v1/leases", NULL, error), *held, *lease;
    size_t i;

    if (answer == NULL)
        return FALSE;
    held = json_array();
    json_array_foreach(json_object_get(answer, "leases"), i, lease)
    {
        if (strcmp(vf_cell_text(json_object_get(lease, "domain"), "uuid"),
                   vf_cell_text(domain, "uuid")) == 0)
            json_array_append(held, lease);
    }
    json_object_set_new(domain, "leases", held);
    json_decref(answer);
    return TRUE;
}

// A pool or a domain: one resource of the API that may be missing.
static gboolean show_resource(const VfCli *cli, VfClient *client, const char *collection,
                              const char *name, gboolean *found, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autofree char *escaped = g_uri_escape_string(name, NULL, FALSE);
    g_autofree char *path = g_strdup_printf("/v1/%ss/%s", collection, escaped);
    g_autofree char *text = NULL;
    json_t *object = vf_client_get(client, path, &text, &cause);

    if (object == NULL && g_error_matches(cause, VF_ERROR, VF_ERROR_NOT_FOUND))
        return TRUE;
    if (object == NULL) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return FALSE;
    }
    gboolean ok =
        cli->json || strcmp(collection, "domain") != 0 || add_leases(client, object, error);
    *found = TRUE;
    if (ok && cli->json)
        fputs(text, stdout);
    else if (ok)
        print_object(cli, collection, object);
    json_decref(object);
    return ok;
}

static gboolean show(const VfCli *cli, const char *name, gboolean *found, GError **error)
{
    g_autoptr(VfClient) client = vf_cli_connect(cli);
    g_auto(GStrv) parts = g_strsplit(name, "#", 2);
    char address[VF_PCIADDR_BUFSIZE];
    VfPciAddr addr;

    if (vf_pciaddr_parse(parts[0], &addr)) {
        vf_pciaddr_format(&addr, address);
        g_autofree char *function =
            parts[1] != NULL ? g_strdup_printf("%s#%s", address, parts[1]) : g_strdup(address);
        if (parts[1] == NULL && !show_pf(cli, client, "address", address, found, error))
            return FALSE;
        return *found || show_function(cli, client, function, found, error);
    }
    if (parts[1] != NULL)
        return show_function(cli, client, name, found, error);
    if (g_uuid_string_is_valid(name))
        return show_resource(cli, client, "domain", name, found, error);
    if (!show_resource(cli, client, "pool", name, found, error))
        return FALSE;
    if (!*found && !show_pf(cli, client, "netdev", name, found, error))
        return FALSE;
    return *found || show_resource(cli, client, "domain", name, found, error);
}

static gboolean run(const VfCli *cli, char **args, GError **error)
{
    gboolean found = FALSE;

    if (args[0][0] == '\0')
        return vf_cli_bad_call(error, "the name is empty");
    if (!show(cli, args[0], &found, error))
        return FALSE;
    if (!found)
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "%s: no such pool, PF, function or domain" VF_REMEDY
                    "see: virtfn list pools; virtfn list; virtfn list domains",
                    args[0]);
    return found;
}

const VfCommand vf_command_show = {
    .name = "show",
    .arguments = "POOL|PF|PF#INDEX|DOMAIN|UUID",
    .summary = "show everything about one thing",
    .details = "A PF is named by its address or its network interface, a function by PF#INDEX or\n"
               "its own address. A word is taken for a pool first: name a domain by its UUID then.",
    .min_args = 1,
    .max_args = 1,
    .run = run,
};
