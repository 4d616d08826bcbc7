// SPDX-License-Identifier: GPL-2.0-or-later
//
// virtfn init: makes the functions of the pools and shows each step when it is done, with a tick on
// a terminal. What failed goes to standard error, the rest goes on.

#include <stdio.h>
#include <string.h>

#include "error.h"
#include "table.h"
#include "virtfn.h"

static char *bitstream;

typedef struct {
    const VfCli *cli;
    gboolean done, ok;
} Progress;

// Steps are told when they are done.
static void print_step(const VfCli *cli, const json_t *event)
{
    const char *pf = json_string_value(json_object_get(event, "pf"));
    g_autofree char *line =
        g_strdup_printf("%s%s%s: %s", vf_cell_text(event, "pool"), pf != NULL ? " " : "",
                        pf != NULL ? pf : "", vf_cell_text(event, "text"));
    g_autofree char *clean = vf_text_clean(line);

    if (cli->terminal)
        vf_cli_tick(cli);
    printf("%s\n", clean);
}

static gboolean on_event(const char *line, json_t *event, gpointer data, GError **error)
{
    Progress *progress = data;
    const char *kind = vf_cell_text(event, "event");

    if (strcmp(kind, "done") == 0) {
        progress->done = TRUE;
        progress->ok = json_is_true(json_object_get(event, "ok"));
    }
    if (progress->cli->json) {
        printf("%s\n", line);
    } else if (strcmp(kind, "step") == 0) {
        print_step(progress->cli, event);
    } else if (strcmp(kind, "problem") == 0) {
        const char *pool = vf_cell_text(event, "pool");
        g_autoptr(GError) problem = vf_client_problem(pool, json_object_get(event, "problem"));
        vf_cli_report(problem);
    }
    fflush(stdout);
    return TRUE;
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
    Progress progress = {.cli = cli};
    json_t *body = new_body(args, error);

    if (body == NULL)
        return FALSE;
    g_autoptr(VfClient) client = vf_cli_connect(cli);
    gboolean whole = vf_client_stream(client, "/v1/init", body, on_event, &progress, error);
    json_decref(body);
    if (!whole)
        return FALSE;
    if (!progress.done)
        g_set_error(error, VF_ERROR, VF_ERROR_STATE,
                    "init: ended without saying whether it is done" VF_REMEDY
                    "see why virtfnd stopped: journalctl -u virtfnd; then repeat virtfn init");
    return progress.done && progress.ok;
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
