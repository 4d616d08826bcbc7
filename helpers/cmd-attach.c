// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn attach, detach and remap: accelerators for devices of running domains. virtfnd answers
// when a request is written down, with what it has decided; whoever wants to know how far it is
// asks virtfn status. A device that is not named is the domain's only one that fits.

#include <string.h>

#include "error.h"
#include "virtfn.h"

static int priority = -1, sharing;
static char *device, *pool;

// "web/crypt0: sha256: holding region 1 of 0000:3b:00.0"
static void print_attachment(const json_t *row)
{
    const json_t *region = json_object_get(row, "region"), *ahead = json_object_get(row, "ahead");
    const char *answer = vf_cell_text(row, "answer");
    g_autofree char *name = vf_cell_device(row);
    g_autoptr(GString) line = g_string_new(NULL);

    g_string_append_printf(line, "%s: %s: ", name, vf_cell_text(row, "accelerator"));
    if (json_is_integer(region))
        g_string_append_printf(line, "%s, region %d of %s", answer, (int)json_integer_value(region),
                               vf_cell_text(row, "pf"));
    else if (json_is_integer(ahead) && json_integer_value(ahead) > 0)
        g_string_append_printf(line, "%s, %d ahead", answer, (int)json_integer_value(ahead));
    else
        g_string_append(line, answer);
    vf_cli_say("%s", line->str);
}

static gboolean run_attach(const VfCli *cli, char **args, GError **error)
{
    VfClientRequest request = {.method = "POST", .path = "/v1/attachments"};
    json_t *body = json_object(), *answer = NULL;
    gboolean ok = vf_cli_add_text(body, "domain", args[0], error) &&
                  vf_cli_add_text(body, "accelerator", args[1], error) &&
                  (device == NULL || vf_cli_add_text(body, "device", device, error)) &&
                  (pool == NULL || vf_cli_add_text(body, "pool", pool, error));

    if (priority >= 0)
        json_object_set_new(body, "priority", json_integer(priority));
    if (sharing > 0) {
        json_object_set_new(body, "sharing", json_true());
        json_object_set_new(body, "weight", json_integer(sharing));
    }
    if (ok)
        answer = vf_cli_ask(cli, request, body, error);
    if (answer != NULL && !cli->json)
        print_attachment(answer);
    json_decref(body);
    json_decref(answer);
    return answer != NULL;
}

static gboolean is_of(const json_t *row, const char *domain)
{
    const json_t *named = json_object_get(row, "domain");

    return strcmp(vf_cell_text(named, "name"), domain) == 0 ||
           g_ascii_strcasecmp(vf_cell_text(named, "uuid"), domain) == 0;
}

// The domain's only device with an accelerator. Caller frees.
static char *only_device(const VfCli *cli, const char *domain, GError **error)
{
    g_autoptr(VfClient) client = vf_cli_connect(cli);
    g_autoptr(GString) names = g_string_new(NULL);
    g_autofree char *found = NULL;
    json_t *answer = vf_client_get(client, "/v1/attachments", NULL, error);
    const json_t *row;
    guint count = 0;
    size_t i;

    if (answer == NULL)
        return NULL;
    json_array_foreach(json_object_get(answer, "attachments"), i, row)
    {
        if (!is_of(row, domain))
            continue;
        g_string_append_printf(names, "%s%s", count++ > 0 ? ", " : "", vf_cell_text(row, "device"));
        g_free(found);
        found = g_strdup(vf_cell_text(row, "device"));
    }
    json_decref(answer);
    if (count == 1)
        return g_steal_pointer(&found);
    if (count == 0)
        g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND,
                    "domain '%s': none of its devices has asked for an accelerator" VF_REMEDY
                    "see `virtfn list attachments`",
                    domain);
    else
        g_set_error(error, VF_ERROR, VF_ERROR_INPUT,
                    "domain '%s': more than one device has asked for an accelerator" VF_REMEDY
                    "name one of %s",
                    domain, names->str);
    return NULL;
}

// "/v1/attachments/DOMAIN/DEVICE"; without a name the only one there is. Caller frees.
static char *attachment_path(const VfCli *cli, const char *domain, const char *name, GError **error)
{
    g_autofree char *only = NULL;

    if (*domain == '\0' || (name != NULL && *name == '\0')) {
        vf_cli_bad_call(error, "a name is empty");
        return NULL;
    }
    if (name == NULL)
        name = only = only_device(cli, domain, error);
    if (name == NULL)
        return NULL;
    g_autofree char *first = g_uri_escape_string(domain, NULL, FALSE);
    g_autofree char *second = g_uri_escape_string(name, NULL, FALSE);
    return g_strconcat("/v1/attachments/", first, "/", second, NULL);
}

static gboolean run_detach(const VfCli *cli, char **args, GError **error)
{
    g_autofree char *path = attachment_path(cli, args[0], args[1], error);

    if (path == NULL || !vf_cli_delete(cli, path, error))
        return FALSE;
    if (!cli->json) {
        g_autofree char *name = g_uri_unescape_string(strrchr(path, '/') + 1, NULL);

        vf_cli_say("%s/%s: detached", args[0], name);
    }
    return TRUE;
}

static gboolean run_remap(const VfCli *cli, char **args, GError **error)
{
    g_autofree char *path = attachment_path(cli, args[0], device, error);
    VfClientRequest request = {.method = "PUT", .path = path};
    json_t *body = json_object(), *answer = NULL;

    if (path != NULL && vf_cli_add_text(body, "accelerator", args[1], error))
        answer = vf_cli_ask(cli, request, body, error);
    if (answer != NULL && !cli->json)
        print_attachment(answer);
    json_decref(body);
    json_decref(answer);
    return answer != NULL;
}

// GLib's option parser takes any number; the daemon's limits are told by the daemon.
static gboolean read_count(const char *name, const char *value, gpointer data, GError **error)
{
    int *where = strcmp(name, "--sharing") == 0 || strcmp(name, "-s") == 0 ? &sharing : &priority;
    guint64 number;

    if (!g_ascii_string_to_unsigned(value, 10, where == &sharing, 100000, &number, NULL))
        return vf_cli_bad_call(error, "%s: %s is not valid", name, value);
    *where = (int)number;
    return TRUE;
}

static const GOptionEntry attach_options[] = {
    {"priority", 'p', 0, G_OPTION_ARG_CALLBACK, read_count, "From 0, lowest and default, to 15",
     "N"},
    {"sharing", 's', 0, G_OPTION_ARG_CALLBACK, read_count,
     "Take turns with others on one region, with this weight", "WEIGHT"},
    {"device", 'd', 0, G_OPTION_ARG_STRING, &device, "Which device of the domain", "NAME"},
    {"pool", 0, 0, G_OPTION_ARG_STRING, &pool,
     "Plug a new device with a function of this pool into the domain", "POOL"},
    G_OPTION_ENTRY_NULL,
};

static const GOptionEntry remap_options[] = {
    {"device", 'd', 0, G_OPTION_ARG_STRING, &device, "Which device of the domain", "NAME"},
    G_OPTION_ENTRY_NULL,
};

const VfCommand vf_command_attach = {
    .name = "attach",
    .arguments = "DOMAIN ACCELERATOR",
    .summary = "ask for an accelerator for a running domain",
    .details = "Tells what was decided: assign, assign+load, preempt, preempt+load or wait. Who\n"
               "waits gets it as soon as it can be had.",
    .options = attach_options,
    .min_args = 2,
    .max_args = 2,
    .run = run_attach,
};

const VfCommand vf_command_detach = {
    .name = "detach",
    .arguments = "DOMAIN [DEVICE]",
    .summary = "give the accelerator of a device back",
    .details = "The domain keeps the device and its function, which have no accelerator then; a\n"
               "device that attach --pool has plugged in is unplugged.",
    .min_args = 1,
    .max_args = 2,
    .run = run_detach,
};

const VfCommand vf_command_remap = {
    .name = "remap",
    .arguments = "DOMAIN ACCELERATOR",
    .summary = "ask for another accelerator for the same device",
    .details = "The one it has is given back first, with what was computed in it.",
    .options = remap_options,
    .min_args = 2,
    .max_args = 2,
    .run = run_remap,
};
