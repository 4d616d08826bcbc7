// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn image: adds, lists and removes images, the files that put an accelerator into a kind of
// region. virtfnd reads the file itself, so it has to be on this host.

#include <string.h>

#include "virtfn.h"

// Copying and checking the largest image takes some seconds, its verification by a program 30.
#define ADD_SECONDS 300

static char *sha256;

static json_t *add_body(char **args, GError **error)
{
    json_t *body;
    guint64 kind;

    if (!g_ascii_string_to_unsigned(args[2], 10, 0, G_MAXINT32 - 1, &kind, NULL)) {
        vf_cli_bad_call(error, "%s: not a number of a kind", args[2]);
        return NULL;
    }
    body = json_pack("{s:I}", "kind", (json_int_t)kind);
    if (vf_cli_add_text(body, "name", args[0], error) &&
        vf_cli_add_text(body, "accelerator", args[1], error) &&
        vf_cli_add_path(body, "path", args[3], error) &&
        (sha256 == NULL || vf_cli_add_text(body, "sha256", sha256, error)))
        return body;
    json_decref(body);
    return NULL;
}

static gboolean run_add(const VfCli *cli, char **args, GError **error)
{
    VfClientRequest request = {.method = "POST", .path = "/v1/images", .seconds = ADD_SECONDS};
    json_t *body = add_body(args, error);
    json_t *image = body != NULL ? vf_cli_ask(cli, request, body, error) : NULL;

    json_decref(body);
    if (image != NULL && !cli->json)
        vf_cli_say("image %s: added, SHA-256 %s", args[0], vf_cell_text(image, "sha256"));
    json_decref(image);
    return image != NULL;
}

static gboolean run_remove(const VfCli *cli, char **args, GError **error)
{
    g_autofree char *name = g_uri_escape_string(args[0], NULL, FALSE);
    g_autofree char *path = g_strconcat("/v1/images/", name, NULL);

    if (args[0][0] == '\0')
        return vf_cli_bad_call(error, "the name is empty");
    if (!vf_cli_delete(cli, path, error))
        return FALSE;
    if (!cli->json)
        vf_cli_say("image %s: removed", args[0]);
    return TRUE;
}

static gboolean run(const VfCli *cli, char **args, GError **error)
{
    guint n = g_strv_length(args) - 1;

    if (strcmp(args[0], "add") != 0 && sha256 != NULL)
        return vf_cli_bad_call(error, "--sha256 belongs to image add");
    if (strcmp(args[0], "add") == 0)
        return n == 4 ? run_add(cli, args + 1, error)
                      : vf_cli_bad_call(error, "add needs NAME ACCELERATOR KIND FILE");
    if (strcmp(args[0], "list") == 0)
        return n == 0 ? vf_cli_list(cli, vf_columns_find("images"), error)
                      : vf_cli_bad_call(error, "list has no arguments");
    if (strcmp(args[0], "remove") == 0)
        return n == 1 ? run_remove(cli, args + 1, error)
                      : vf_cli_bad_call(error, "remove needs one NAME");
    return vf_cli_bad_call(error, "%s: not one of add, list, remove", args[0]);
}

static const GOptionEntry options[] = {
    {"sha256", 's', 0, G_OPTION_ARG_STRING, &sha256, "Refuse a file that has another digest",
     "DIGEST"},
    G_OPTION_ENTRY_NULL,
};

const VfCommand vf_command_image = {
    .name = "image",
    .arguments = "add NAME ACCELERATOR KIND FILE | list | remove NAME",
    .summary = "what puts an accelerator into a region of a card",
    .details =
        "KIND is the kind of region that the file is for. virtfnd keeps a copy and compares\n"
        "its digest before each load.",
    .options = options,
    .min_args = 1,
    .max_args = 5,
    .run = run,
};
