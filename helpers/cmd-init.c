// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn init: makes the functions of the pools and shows each step when it is done, with a tick on
// a terminal. What failed goes to standard error, the rest goes on.

#include <string.h>

#include "error.h"
#include "virtfn.h"

static char *bitstream;

// Steps are told when they are done.
static void print_step(const VfCli *cli, const json_t *event)
{
    const char *pf = json_string_value(json_object_get(event, "pf"));

    if (cli->terminal)
        vf_cli_tick(cli);
    vf_cli_say("%s%s%s: %s", vf_cell_text(event, "pool"), pf != NULL ? " " : "",
               pf != NULL ? pf : "", vf_cell_text(event, "text"));
}

static void show(const VfCli *cli, const json_t *event, gpointer data)
{
    if (!cli->json && strcmp(vf_cell_text(event, "event"), "step") == 0)
        print_step(cli, event);
}

static json_t *new_body(char **pools, GError **error)
{
    json_t *body = json_object(), *names = json_array();
    gboolean ok = TRUE;

    for (guint i = 0; ok && pools[i] != NULL; i++)
        if (json_array_append_new(names, json_string(pools[i])) != 0) {
            g_set_error(error, VF_ERROR, VF_ERROR_NOT_FOUND, "%s: no such pool", pools[i]);
            ok = FALSE;
        }
    if (pools[0] != NULL)
        json_object_set(body, "pools", names);
    json_decref(names);
    if (ok && (bitstream == NULL || vf_cli_add_path(body, "bitstream", bitstream, error)))
        return body;
    json_decref(body);
    return NULL;
}

static gboolean run(const VfCli *cli, char **args, GError **error)
{
    static const VfCliStream stream = {
        .command = "init", .object = "pool", .remedy = "then repeat virtfn init", .show = show};
    json_t *body = new_body(args, error);
    gboolean ok = body != NULL && vf_cli_stream(cli, &stream, body, error);

    json_decref(body);
    return ok;
}

static const GOptionEntry options[] = {
    {"bitstream", 'b', 0, G_OPTION_ARG_FILENAME, &bitstream,
     "Load this file into the card before its functions are made", "FILE"},
    G_OPTION_ENTRY_NULL,
};

const VfCommand vf_command_init = {
    .name = "init",
    .arguments = "[POOL…]",
    .summary = "make the functions of all pools, or of those named",
    .details = "Does nothing where everything is as configured. --json prints one event a line.",
    .options = options,
    .max_args = G_MAXUINT,
    .run = run,
};
